import type { Stream } from '@libp2p/interface';
import type { PeerId } from '../../shared/base/ids.ts';
import { encodeFrame } from './framing.ts';
import { JOIN_FRAME_BYTES_MAX, type JoinStream } from './network.ts';
import { readFrames, streamSource } from './stream-frames.ts';

/** Frames kept for `receive`; reading pauses at the first. */
const WAITING_MAX = 16;
/** What one conversation may take in, in all. Bytes. */
const CONVERSATION_BYTES_MAX = 4 * 1024 * 1024;
/** For what was sent to leave. Milliseconds. */
const CLOSE_MS = 2_000;

interface Waiter {
  resolve(frame: Uint8Array | null): void;
  reject(error: Error): void;
}

/** A join conversation over one libp2p stream. */
export class Libp2pJoinStream implements JoinStream {
  readonly peer: PeerId;
  readonly address: string;
  readonly #stream: Stream;
  readonly #source: { pause(): void; resume(): void };
  readonly #onClosed: () => void;
  #frames: Uint8Array[] = [];
  #received = 0;
  #waiter: Waiter | null = null;
  #ended = false;
  #broken: Error | null = null;
  #closed = false;

  /** `onClosed`: neither side will say anything more. */
  constructor(peer: PeerId, address: string, stream: Stream, onClosed: () => void) {
    this.peer = peer;
    this.address = address;
    this.#stream = stream;
    this.#source = streamSource(stream);
    this.#onClosed = onClosed;
    readFrames(stream, {
      bodyBytesMax: JOIN_FRAME_BYTES_MAX,
      onBytes: (bytes) => this.#count(bytes),
      onBody: (body) => this.#take(body),
      onBad: (error) => this.#break(error),
    });
    // Only what the other side ended itself has ended well; a broken line raises 'end' too. And libp2p may have raised it
    // already, while the last bytes were still being pushed back from the protocol's negotiation.
    let finished = stream.remoteWriteStatus === 'closed';
    const endWhenRead = (): void => {
      if (stream.readBufferLength > 0) return;
      if (finished) this.#end();
      else if (stream.readableEnded) this.#break(new Error('the join conversation was broken off'));
    };
    stream.addEventListener('remoteCloseWrite', () => {
      finished = true;
      endWhenRead();
    });
    stream.addEventListener('message', endWhenRead);
    stream.addEventListener('end', endWhenRead);
    stream.addEventListener('close', ({ error }) => {
      if (error) this.#break(error);
      else endWhenRead();
      this.#onClosed();
    });
    if (stream.status === 'reset' || stream.status === 'aborted') this.#break(new Error('the join stream was reset'));
    else endWhenRead();
  }

  send(frame: Uint8Array): void {
    if (frame.length > JOIN_FRAME_BYTES_MAX) {
      throw new RangeError(`a join frame of ${frame.length} bytes, over ${JOIN_FRAME_BYTES_MAX}`);
    }
    if (this.#closed || this.#broken !== null || this.#stream.writeStatus !== 'writable') {
      throw this.#broken ?? new Error('the join stream is closed');
    }
    this.#stream.send(encodeFrame(frame));
  }

  receive(signal: AbortSignal): Promise<Uint8Array | null> {
    if (signal.aborted) return Promise.reject(signal.reason);
    if (this.#waiter !== null) return Promise.reject(new Error('one receive at a time'));
    const next = this.#frames.shift();
    if (next !== undefined) {
      if (this.#frames.length === 0) this.#source.resume();
      return Promise.resolve(next);
    }
    if (this.#broken !== null) return Promise.reject(this.#broken);
    if (this.#ended || this.#closed) return Promise.resolve(null);
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiter = null;
        reject(signal.reason);
      };
      const settle = (): void => {
        this.#waiter = null;
        signal.removeEventListener('abort', onAbort);
      };
      this.#waiter = {
        resolve: (frame) => {
          settle();
          resolve(frame);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      };
      signal.addEventListener('abort', onAbort);
    });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#waiter?.resolve(null);
    try {
      await this.#stream.close({ signal: AbortSignal.timeout(CLOSE_MS) });
    } catch (error) {
      this.#stream.abort(error as Error);
    }
    this.#onClosed();
  }

  abort(error: Error): void {
    this.#break(error);
  }

  #count(bytes: number): void {
    this.#received += bytes;
    if (this.#received > CONVERSATION_BYTES_MAX) this.#break(new Error('the join conversation is too long'));
  }

  #take(frame: Uint8Array): void {
    if (this.#broken !== null || this.#closed) return;
    if (this.#waiter !== null) {
      this.#waiter.resolve(frame);
      return;
    }
    this.#frames.push(frame);
    if (this.#frames.length > WAITING_MAX) this.#break(new Error('too many join frames at once'));
    else this.#source.pause();
  }

  #end(): void {
    this.#ended = true;
    this.#waiter?.resolve(null);
  }

  #break(error: Error): void {
    if (this.#broken !== null) return;
    this.#broken = error;
    this.#frames = [];
    if (this.#stream.status === 'open') this.#stream.abort(error);
    this.#waiter?.reject(error);
  }
}
