/** Above this the stream is paused. Bytes of frames that wait for the handler. */
export const INBOX_PAUSE_BYTES = 1024 * 1024;
/** Below this it is resumed. Bytes. */
export const INBOX_RESUME_BYTES = 256 * 1024;

/** What a waiting frame costs beside its bytes, so that empty ones are bounded too. Bytes. */
const FRAME_COST_BYTES = 64;

/** The reading end of a stream, as far as backpressure goes. */
export interface Source {
  pause(): void;
  resume(): void;
}

/**
 * Delivers the frames of one peer and purpose one after the other, waiting for the handler. It outlives connections: a handler
 * still busy with a frame of the last connection holds up the frames of the next.
 */
export class Inbox {
  readonly #handler: (frame: Uint8Array) => void | Promise<void>;
  readonly #onFailed: (error: unknown) => void;
  #source: Source | null = null;
  #frames: Uint8Array[] = [];
  #head = 0;
  #bytes = 0;
  #open = false;
  #busy = false;
  #paused = false;

  constructor(handler: (frame: Uint8Array) => void | Promise<void>, onFailed: (error: unknown) => void) {
    this.#handler = handler;
    this.#onFailed = onFailed;
  }

  /** Frames of a new stream from now on; they wait until `open`. */
  attach(source: Source): void {
    this.#drop();
    this.#source = source;
  }

  /** The connection is in use: deliver. */
  open(): void {
    this.#open = true;
    this.#deliver();
  }

  /** The stream is gone, and with it what was not delivered. */
  detach(): void {
    this.#drop();
    this.#source = null;
    this.#open = false;
  }

  push(frame: Uint8Array): void {
    this.#frames.push(frame);
    this.#bytes += frame.length + FRAME_COST_BYTES;
    this.#deliver();
    if (this.#bytes > INBOX_PAUSE_BYTES && !this.#paused) {
      this.#paused = true;
      this.#source?.pause();
    }
  }

  #drop(): void {
    this.#frames = [];
    this.#head = 0;
    this.#bytes = 0;
    this.#paused = false;
  }

  #deliver(): void {
    while (this.#open && !this.#busy && this.#head < this.#frames.length) {
      const frame = this.#take();
      let result: void | Promise<void> | null = null;
      this.#busy = true; // a handler that makes more frames arrive must not be entered again
      try {
        result = this.#handler(frame);
      } catch (error) {
        this.#onFailed(error);
      }
      if (result instanceof Promise) {
        result.catch(this.#onFailed).then(() => this.#done());
        return;
      }
      this.#busy = false;
      this.#resumeWhenLow();
    }
  }

  #done(): void {
    this.#busy = false;
    this.#resumeWhenLow();
    this.#deliver();
  }

  #take(): Uint8Array {
    const frame = this.#frames[this.#head++] as Uint8Array;
    this.#bytes -= frame.length + FRAME_COST_BYTES;
    if (this.#head === this.#frames.length || this.#head > 1024) {
      this.#frames = this.#frames.slice(this.#head);
      this.#head = 0;
    }
    return frame;
  }

  #resumeWhenLow(): void {
    if (!this.#paused || this.#bytes > INBOX_RESUME_BYTES) return;
    this.#paused = false;
    this.#source?.resume();
  }
}
