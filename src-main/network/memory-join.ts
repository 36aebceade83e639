import type { PeerId } from '../../shared/base/ids.ts';
import { JOIN_FRAME_BYTES_MAX, type JoinStream } from './network.ts';

interface Party {
  readonly peer: PeerId;
  readonly address: string;
}

interface Waiter {
  resolve(frame: Uint8Array | null): void;
  reject(error: unknown): void;
}

class MemoryJoinStream implements JoinStream {
  readonly peer: PeerId;
  readonly address: string;
  other!: MemoryJoinStream;
  #frames: Uint8Array[] = [];
  #waiter: Waiter | null = null;
  #isClosed = false;
  #isEnded = false;
  #broken: Error | null = null;

  constructor({ peer, address }: Party) {
    this.peer = peer;
    this.address = address;
  }

  send(frame: Uint8Array): void {
    if (frame.length > JOIN_FRAME_BYTES_MAX) {
      throw new RangeError(`a join frame of ${frame.length} bytes, over ${JOIN_FRAME_BYTES_MAX}`);
    }
    if (this.#isClosed || this.#broken !== null) throw this.#broken ?? new Error('the join stream is closed');
    this.other.#take(frame.slice());
  }

  receive(signal: AbortSignal): Promise<Uint8Array | null> {
    if (signal.aborted) return Promise.reject(signal.reason);
    const next = this.#frames.shift();
    if (next !== undefined) return Promise.resolve(next);
    if (this.#broken !== null) return Promise.reject(this.#broken);
    if (this.#isEnded || this.#isClosed) return Promise.resolve(null);
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiter = null;
        reject(signal.reason);
      };
      signal.addEventListener('abort', onAbort);
      const settled = (): void => {
        this.#waiter = null;
        signal.removeEventListener('abort', onAbort);
      };
      this.#waiter = {
        resolve: (frame) => {
          settled();
          resolve(frame);
        },
        reject: (error) => {
          settled();
          reject(error);
        },
      };
    });
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#waiter?.resolve(null);
    this.other.#end();
  }

  break(error: Error): void {
    this.#broken ??= error;
    this.#frames = [];
    this.#waiter?.reject(error);
  }

  #take(frame: Uint8Array): void {
    if (this.#isClosed || this.#broken !== null) return;
    if (this.#waiter !== null) this.#waiter.resolve(frame);
    else this.#frames.push(frame);
  }

  #end(): void {
    this.#isEnded = true;
    this.#waiter?.resolve(null);
  }
}

/** The two ends of a join conversation; `end` breaks it off. */
export function joinPair(host: Party, guest: Party): { host: JoinStream; guest: JoinStream; end: () => void } {
  const atHost = new MemoryJoinStream(guest);
  const atGuest = new MemoryJoinStream(host);
  atHost.other = atGuest;
  atGuest.other = atHost;
  const end = (): void => {
    const error = new Error('the join conversation was broken off');
    atHost.break(error);
    atGuest.break(error);
  };
  return { host: atHost, guest: atGuest, end };
}
