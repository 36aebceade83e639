/**
 * How many bytes of one stream may be on their way at once. Streams share a connection, and what the kernel has taken can't be
 * overtaken: on a slow line a few megabytes of bulk would hold up consensus for many seconds. So the window follows the time
 * that bytes take to arrive: it grows while that is short and halves while it is long.
 */
export const WINDOW_BYTES_MIN = 32 * 1024;
export const WINDOW_BYTES_START = 64 * 1024;
export const WINDOW_BYTES_MAX = 4 * 1024 * 1024;
/** Arrival within this over the bare round trip: the line is not full. Milliseconds. */
const QUICK_MS = 40;
/** Arrival later than this over the bare round trip: it is too full. Milliseconds. */
const SLOW_MS = 120;
/** Smaller rests of the window are not used, or slices would become tiny. Bytes. */
const SLICE_BYTES_MIN = 4 * 1024;

interface Slice {
  readonly end: number;
  readonly sentMs: number;
}

export class SendWindow {
  #bytes = WINDOW_BYTES_START;
  #sent = 0;
  #acked = 0;
  #slices: Slice[] = [];
  #head = 0;
  #halvedMs = Number.NEGATIVE_INFINITY;

  /** The window now. Bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Bytes that may be sent now; 0 until more are acknowledged. */
  allowance(): number {
    const inFlight = this.#sent - this.#acked;
    const free = this.#bytes - inFlight;
    return free >= SLICE_BYTES_MIN ? free : 0;
  }

  sent(bytes: number, nowMs: number): void {
    this.#sent += bytes;
    this.#slices.push({ end: this.#sent, sentMs: nowMs });
  }

  /**
   * The other side has received `total` bytes in all. `roundTripMs` is the bare round trip, or null while unknown.
   * @throws RangeError for a total that can't be.
   */
  acked(total: number, nowMs: number, roundTripMs: number | null): void {
    if (total < this.#acked || total > this.#sent) {
      throw new RangeError(`${total} bytes acknowledged, between ${this.#acked} and ${this.#sent} expected`);
    }
    if (total === this.#acked) return;
    const wasFull = this.allowance() === 0;
    const gained = total - this.#acked;
    this.#acked = total;
    const sentMs = this.#takeUpTo(total);
    const delayMs = nowMs - sentMs - (roundTripMs ?? 0);
    if (delayMs > SLOW_MS) this.#halve(nowMs, sentMs);
    else if (delayMs < QUICK_MS && wasFull) this.#bytes = Math.min(WINDOW_BYTES_MAX, this.#bytes + gained);
  }

  /** Once per round: slices that were sent before the last halving say nothing about the window since. */
  #halve(nowMs: number, sentMs: number): void {
    if (sentMs < this.#halvedMs) return;
    this.#halvedMs = nowMs;
    this.#bytes = Math.max(WINDOW_BYTES_MIN, Math.floor(this.#bytes / 2));
  }

  /** When the slice was sent that holds the last acknowledged byte. */
  #takeUpTo(total: number): number {
    let slice = this.#slices[this.#head] as Slice;
    while (slice.end < total) slice = this.#slices[++this.#head] as Slice;
    if (slice.end === total) this.#head++;
    if (this.#head > 64 && this.#head * 2 > this.#slices.length) {
      this.#slices = this.#slices.slice(this.#head);
      this.#head = 0;
    }
    return slice.sentMs;
  }
}
