import type { PeerId } from '../../shared/base/ids.ts';
import type { JoinStream } from '../../src-main/network/network.ts';

/** Two ends of one join stream in memory: a close is seen after what was sent before it, a break at once. */
export interface StreamEnd extends JoinStream {
  /** As when the process dies: the other side's receive throws. */
  break(): void;
  readonly closed: boolean;
}

type Item = Uint8Array | null;

class End implements StreamEnd {
  readonly peer: PeerId;
  readonly address: string;
  other: End | undefined;
  closed = false;
  broken = false;
  readonly #items: Item[] = [];
  #wake: (() => void) | undefined;

  constructor(peer: PeerId, address: string) {
    this.peer = peer;
    this.address = address;
  }

  send(frame: Uint8Array): void {
    if (this.closed || this.broken || this.other?.closed) throw new Error('closed');
    this.other?.push(frame.slice());
  }

  async receive(signal: AbortSignal): Promise<Uint8Array | null> {
    for (;;) {
      if (this.broken) throw new Error('broken');
      if (this.#items.length > 0) {
        const item = this.#items[0] as Item;
        if (item !== null) this.#items.shift();
        return item;
      }
      if (signal.aborted) throw new Error('aborted');
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
    }
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    this.other?.push(null);
  }

  break(): void {
    this.closed = true;
    if (!this.other) return;
    this.other.broken = true;
    this.other.push(null);
  }

  push(item: Item): void {
    this.#items.push(item);
    this.#wake?.();
  }
}

/** `guest` is the end that `guestPeer` holds: its `peer` is the host's. */
export function streamPair(guestPeer: PeerId, hostPeer: PeerId): { guest: StreamEnd; host: StreamEnd } {
  const guest = new End(hostPeer, '/ip4/10.20.4.17/tcp/4747');
  const host = new End(guestPeer, '/ip4/10.20.4.99/tcp/50000');
  guest.other = host;
  host.other = guest;
  return { guest, host };
}
