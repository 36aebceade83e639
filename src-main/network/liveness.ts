/** How often each side pings. Milliseconds. */
export const PING_INTERVAL_MS = 1_000;
/** Silence after which a steady line counts as dead. Milliseconds. */
export const SILENCE_MS = 5_000;
/** The same for a line that has been losing packets: TCP's resends alone cause gaps of seconds there. Milliseconds. */
export const SILENCE_MAX_MS = 15_000;
/** A gap this many times over is silence. */
const GAP_FACTOR = 3;
/** For how long a gap is remembered. Milliseconds. */
const GAP_MEMORY_MS = 60_000;

/** Judges one connection by what was heard on it. Times are of a monotonic clock, in milliseconds. */
export class Liveness {
  #heardMs: number;
  #gapMs = 0;
  #gapSeenMs = 0;

  constructor(nowMs: number) {
    this.#heardMs = nowMs;
  }

  get heardMs(): number {
    return this.#heardMs;
  }

  heard(nowMs: number): void {
    const gapMs = nowMs - this.#heardMs;
    this.#heardMs = nowMs;
    if (gapMs >= this.#gapMs || nowMs - this.#gapSeenMs > GAP_MEMORY_MS) {
      this.#gapMs = gapMs;
      this.#gapSeenMs = nowMs;
    }
  }

  /** This process stood still (sleep, a hung loop): silence before now proves nothing. */
  forgive(nowMs: number): void {
    this.#heardMs = nowMs;
  }

  silenceLimitMs(): number {
    return Math.min(SILENCE_MAX_MS, Math.max(SILENCE_MS, this.#gapMs * GAP_FACTOR));
  }

  isSilent(nowMs: number): boolean {
    return nowMs - this.#heardMs > this.silenceLimitMs();
  }
}
