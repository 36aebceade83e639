import { makePeerClient, type PeerClient } from '../../shared/ipc/client.ts';
import type { PeerService } from '../../shared/ipc/contract.ts';
import { PeerError } from '../../shared/ipc/errors.ts';
import { backoffMs } from './backoff.ts';
import type { OpenWire, Wire } from './wire.ts';

export type LinkState =
  /** The first time: nothing was there yet that could be missed. */
  | { readonly kind: 'connecting'; readonly sinceMs: number }
  | { readonly kind: 'connected'; readonly service: PeerService }
  | { readonly kind: 'lost'; readonly sinceMs: number }
  /** The peer does not let this page in. Nothing is tried until `renew`. */
  | { readonly kind: 'refused' };

/** Keeps a client of the peer, and makes another one whenever the wire breaks. Nothing of the old client goes on: who uses it attaches anew. */
export class Link {
  readonly #open: OpenWire;
  readonly #tell: (state: LinkState) => void;
  #wire: Wire | null = null;
  #client: PeerClient | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;
  #lostSinceMs: number | null = null;
  #isStopped = false;
  #isRefused = false;

  constructor(open: OpenWire, tell: (state: LinkState) => void) {
    this.#open = open;
    this.#tell = tell;
  }

  start(): void {
    this.#tell({ kind: 'connecting', sinceMs: Date.now() });
    this.#connect();
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    this.#client?.fail(lost());
    this.#wire?.close();
  }

  /** Tries at once where it would wait, as when the machine woke up. */
  hurry(): void {
    if (this.#timer === undefined) return;
    this.#again();
  }

  /** Also after a refusal: there is another token now. */
  renew(): void {
    if (this.#isRefused || this.#timer !== undefined) this.#again();
  }

  #again(): void {
    this.#isRefused = false;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#connect();
  }

  #connect(): void {
    this.#timer = undefined;
    this.#wire = this.#open({
      opened: () => this.#opened(),
      text: (text) => this.#received(text),
      ended: () => this.#ended(),
      refused: () => this.#refused(),
    });
  }

  #opened(): void {
    const wire = this.#wire;
    if (!wire || this.#isStopped) return;
    const client = makePeerClient(wire);
    this.#client = client;
    this.#lostSinceMs = null;
    this.#tell({ kind: 'connected', service: client.service });
  }

  #received(text: string): void {
    // Only an answer shows that the peer is well: a wire that opens and breaks again must not be tried without end.
    this.#failures = 0;
    try {
      this.#client?.receive(text);
    } catch (error) {
      this.#client?.fail(error instanceof PeerError ? error : lost());
      this.#wire?.close();
      this.#ended();
    }
  }

  #refused(): void {
    if (this.#isStopped) return;
    this.#letGo();
    this.#isRefused = true;
    this.#tell({ kind: 'refused' });
  }

  #letGo(): void {
    this.#client?.fail(lost());
    this.#client = null;
    this.#wire = null;
  }

  #ended(): void {
    if (this.#isStopped) return;
    const wasConnected = this.#client !== null;
    this.#letGo();
    this.#lostSinceMs ??= Date.now();
    if (wasConnected || this.#failures > 1) this.#tell({ kind: 'lost', sinceMs: this.#lostSinceMs });
    this.#timer = setTimeout(() => this.#connect(), backoffMs(this.#failures, Math.random()));
    this.#failures += 1;
  }
}

const lost = (): PeerError =>
  new PeerError('PEER_LOST', 'The connection to Synod on this machine broke. What it saved is kept; trying again.');
