import { FrameDecoder } from './framing.ts';
import { Inbox } from './inbox.ts';
import { FRAME_BYTES_MAX, type Purpose } from './network.ts';
import { isPaced, PURPOSES, SendQueue } from './send-queue.ts';

const soon = setImmediate;
/** What a wire holds before its sender has to wait. Bytes. */
const WIRE_BYTES_MAX = 256 * 1024;

/** One direction of one purpose: takes slices, and carries them over in the next turn of the loop unless the reader pauses. */
class Wire {
  #slices: Uint8Array[] = [];
  #bytes = 0;
  #carried = 0;
  #isPaused = false;
  #isPlanned = false;
  #isClosed = false;
  readonly #decoder = new FrameDecoder(FRAME_BYTES_MAX);
  readonly #onFrame: (frame: Uint8Array) => void;
  readonly #onCarried: (total: number) => void;

  constructor(onFrame: (frame: Uint8Array) => void, onCarried: (total: number) => void) {
    this.#onFrame = onFrame;
    this.#onCarried = onCarried;
  }

  get writableNeedsDrain(): boolean {
    return this.#bytes > WIRE_BYTES_MAX;
  }

  send(slice: Uint8Array): boolean {
    this.#slices.push(slice);
    this.#bytes += slice.length;
    this.#plan();
    return !this.writableNeedsDrain;
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#plan();
  }

  close(): void {
    this.#isClosed = true;
    this.#slices = [];
  }

  #plan(): void {
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    soon(() => {
      this.#isPlanned = false;
      this.#carry();
    });
  }

  #carry(): void {
    const slices = this.#slices;
    let taken = 0;
    while (taken < slices.length && !this.#isPaused && !this.#isClosed) {
      const slice = slices[taken++] as Uint8Array;
      this.#bytes -= slice.length;
      this.#carried += slice.length;
      this.#decoder.push(slice, this.#onFrame);
    }
    if (this.#isClosed) return;
    this.#slices = this.#slices.slice(taken);
    if (taken > 0) this.#onCarried(this.#carried);
  }
}

/** One end of a connection between two memory networks. */
export class MemoryPipe {
  readonly #onClosed: () => void;
  #queue!: SendQueue;
  #wires!: Readonly<Record<Purpose, Wire>>;
  #other!: MemoryPipe;
  #inboxes: Readonly<Record<Purpose, Inbox>> | null = null;
  #early: [Purpose, Uint8Array][] = [];
  #isClosed = false;

  private constructor(onClosed: () => void) {
    this.#onClosed = onClosed;
  }

  static pair(onClosedHere: () => void, onClosedThere: () => void): [MemoryPipe, MemoryPipe] {
    const here = new MemoryPipe(onClosedHere);
    const there = new MemoryPipe(onClosedThere);
    here.#lead(there);
    there.#lead(here);
    return [here, there];
  }

  /** Deliver what comes. */
  open(
    handler: (purpose: Purpose, frame: Uint8Array) => void | Promise<void>,
    onFailed: (error: unknown) => void,
  ): void {
    const inbox = (purpose: Purpose): Inbox => {
      const made = new Inbox((frame) => handler(purpose, frame), onFailed);
      made.attach(this.#other.#wires[purpose]);
      made.open();
      return made;
    };
    this.#inboxes = { consensus: inbox('consensus'), session: inbox('session'), bulk: inbox('bulk') };
    for (const [purpose, frame] of this.#early.splice(0)) this.#inboxes[purpose].push(frame);
  }

  send(purpose: Purpose, frame: Uint8Array): boolean {
    return !this.#isClosed && this.#queue.push(purpose, frame);
  }

  /** Waiting to leave, over all purposes. */
  get totalBytes(): number {
    return this.#queue.bytes;
  }

  queuedBytes(purpose: Purpose): number {
    return this.#queue.bytesOf(purpose);
  }

  whenBelow(purpose: Purpose, bytes: number): Promise<boolean> {
    return this.#queue.whenBelow(purpose, bytes);
  }

  /** Both ends, now. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#queue.close();
    for (const purpose of PURPOSES) {
      this.#wires[purpose].close();
      this.#inboxes?.[purpose].detach();
    }
    this.#onClosed();
    this.#other.close();
  }

  #lead(other: MemoryPipe): void {
    this.#other = other;
    const wire = (purpose: Purpose): Wire =>
      new Wire(
        (frame) => other.#take(purpose, frame),
        (total) => {
          if (isPaced(purpose)) this.#queue.acked(purpose, total, 0);
          this.#queue.drained(purpose);
        },
      );
    this.#wires = { consensus: wire('consensus'), session: wire('session'), bulk: wire('bulk') };
    this.#queue = new SendQueue({ sinks: this.#wires, now: () => 0, onFailed: () => this.close() });
  }

  #take(purpose: Purpose, frame: Uint8Array): void {
    if (this.#isClosed) return;
    if (this.#inboxes === null) this.#early.push([purpose, frame]);
    else this.#inboxes[purpose].push(frame);
  }
}
