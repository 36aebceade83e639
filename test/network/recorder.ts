import type { PeerId } from '../../shared/base/ids.ts';
import type { NetworkEvents, NetworkProblem, Purpose } from '../../src-main/network/network.ts';

export interface ReceivedFrame {
  readonly from: PeerId;
  readonly purpose: Purpose;
  readonly frame: Uint8Array;
}

/** Network events as lists, and a handler for frames that a test may put in. */
export class Recorder implements NetworkEvents {
  readonly frames: ReceivedFrame[] = [];
  readonly connections: { readonly peer: PeerId; readonly connected: boolean }[] = [];
  readonly addresses: { readonly peer: PeerId; readonly addresses: readonly string[] }[] = [];
  readonly problems: NetworkProblem[] = [];
  handler: ((received: ReceivedFrame) => void | Promise<void>) | null = null;
  keepFrames = true;

  onFrame(from: PeerId, purpose: Purpose, frame: Uint8Array): void | Promise<void> {
    const received = { from, purpose, frame };
    if (this.keepFrames) this.frames.push(received);
    return this.handler?.(received);
  }

  onConnection(peer: PeerId, connected: boolean): void {
    this.connections.push({ peer, connected });
  }

  onAddresses(peer: PeerId, addresses: readonly string[]): void {
    this.addresses.push({ peer, addresses });
  }

  onProblem(problem: NetworkProblem): void {
    this.problems.push(problem);
  }

  /** The connection events of one peer, oldest first. */
  connectionsOf(peer: PeerId): boolean[] {
    return this.connections.filter((event) => event.peer === peer).map(({ connected }) => connected);
  }

  problemCodes(): string[] {
    return this.problems.map(({ code }) => code);
  }
}

const PATIENCE_MS = 25_000;

/** Waits for a condition, not for a time; the limit is there for a hang only. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited in vain for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
}

/** Lets everything that is under way come to rest, where a test asserts that nothing happens. */
export const rest = (ms = 300): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export function deferred<T = void>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
