import { FRAME_HEADER_BYTES, writeFrameHeader } from './framing.ts';
import type { SendWindow } from './send-window.ts';

/** Most that is handed to a stream at once: frames of one tick share an encrypted packet, and a long frame leaves gaps for other lanes. Bytes. */
export const SLICE_BYTES_MAX = 64 * 1024;

/** The writing end of a stream. */
export interface Sink {
  readonly writableNeedsDrain: boolean;
  /** False: what was given is kept, and nothing more should be given before the next drain. */
  send(bytes: Uint8Array): boolean;
}

interface Waiter {
  readonly bytes: number;
  readonly resolve: (below: boolean) => void;
}

/** The frames that wait for one stream. Cuts them into slices and hands those over as fast as stream and window take them. */
export class SendLane {
  readonly #sink: Sink;
  readonly #window: SendWindow | null;
  readonly #onSent: (bytes: number) => void;
  #frames: Uint8Array[] = [];
  #head = 0;
  /** Bytes of the head frame, header included, that are already in a slice. */
  #headTaken = 0;
  #unsliced = 0;
  /** The last slice, while the stream keeps it. */
  #stalled = 0;
  #closed = false;
  #waiters: Waiter[] = [];

  /** `onSent` gets the bytes, headers included, that left this lane. */
  constructor(sink: Sink, window: SendWindow | null, onSent: (bytes: number) => void) {
    this.#sink = sink;
    this.#window = window;
    this.#onSent = onSent;
  }

  /** Waiting here or in the stream, headers included. Bytes. */
  get bytes(): number {
    return this.#unsliced + this.#stalled;
  }

  push(frame: Uint8Array): void {
    this.#frames.push(frame);
    this.#unsliced += FRAME_HEADER_BYTES + frame.length;
  }

  /** Sends what may be sent, in so many slices at the most. True where more may be sent at once. @throws what the stream throws once it is closed. */
  flush(nowMs: number, slicesMax: number = Number.POSITIVE_INFINITY): boolean {
    let slices = 0;
    for (let allowance = this.#allowance(); allowance > 0; allowance = this.#allowance()) {
      if (slices++ === slicesMax) return true;
      const slice = this.#takeSlice(Math.min(SLICE_BYTES_MAX, allowance));
      this.#window?.sent(slice.length, nowMs);
      if (this.#sink.send(slice)) this.#left(slice.length);
      else this.#stalled = slice.length;
    }
    return false;
  }

  #allowance(): number {
    if (this.#closed || this.#unsliced === 0 || this.#stalled > 0 || this.#sink.writableNeedsDrain) return 0;
    return this.#window === null ? SLICE_BYTES_MAX : this.#window.allowance();
  }

  /** The stream has taken what it kept. */
  drained(): void {
    const bytes = this.#stalled;
    this.#stalled = 0;
    if (bytes > 0) this.#left(bytes);
  }

  whenBelow(bytes: number): Promise<boolean> {
    if (this.#closed) return Promise.resolve(false);
    if (this.bytes < bytes) return Promise.resolve(true);
    return new Promise((resolve) => this.#waiters.push({ bytes, resolve }));
  }

  close(): void {
    this.#closed = true;
    this.#frames = [];
    this.#head = 0;
    this.#unsliced = 0;
    this.#stalled = 0;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.resolve(false);
  }

  #left(bytes: number): void {
    this.#onSent(bytes);
    if (this.#waiters.length === 0) return;
    const below = this.#waiters.filter((waiter) => this.bytes < waiter.bytes);
    this.#waiters = this.#waiters.filter((waiter) => this.bytes >= waiter.bytes);
    for (const waiter of below) waiter.resolve(true);
  }

  /** Up to `limit` bytes of headers and bodies; a header is never cut. */
  #takeSlice(limit: number): Uint8Array {
    const slice = Buffer.allocUnsafe(Math.min(limit, this.#unsliced));
    let filled = 0;
    while (this.#head < this.#frames.length) {
      const frame = this.#frames[this.#head] as Uint8Array;
      if (this.#headTaken === 0) {
        if (slice.length - filled < FRAME_HEADER_BYTES) break;
        writeFrameHeader(slice, filled, frame.length);
        filled += FRAME_HEADER_BYTES;
        this.#headTaken = FRAME_HEADER_BYTES;
      }
      const from = this.#headTaken - FRAME_HEADER_BYTES;
      const take = Math.min(frame.length - from, slice.length - filled);
      slice.set(frame.subarray(from, from + take), filled);
      filled += take;
      this.#headTaken += take;
      if (from + take < frame.length) break;
      this.#headTaken = 0;
      this.#head++;
    }
    this.#forgetSent();
    this.#unsliced -= filled;
    return slice.subarray(0, filled);
  }

  #forgetSent(): void {
    if (this.#head === this.#frames.length || this.#head > 1024) {
      this.#frames = this.#frames.slice(this.#head);
      this.#head = 0;
    }
  }
}
