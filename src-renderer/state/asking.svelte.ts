import type { PeerService } from '../../shared/ipc/contract.ts';
import { isCancelled, wordsOf } from './failure.ts';
import type { PeerState } from './peer.svelte.ts';

/** What a dialog asks of the peer: whether it is under way, and what went wrong. One request at a time; another one takes its place. */
export class Asking {
  readonly #peer: PeerState;
  #running = $state.raw<AbortController | null>(null);
  /** For people; empty while nothing is wrong. */
  failed = $state('');

  constructor(peer: PeerState) {
    this.#peer = peer;
  }

  get isUnderWay(): boolean {
    return this.#running !== null;
  }

  /** @param words what an error is called here; one that says nothing of its own has the peer's words */
  async run(
    ask: (service: PeerService, signal: AbortSignal) => Promise<void>,
    words: (error: unknown) => string = wordsOf,
  ): Promise<void> {
    this.stop();
    const { service } = this.#peer;
    this.failed = service ? '' : 'Not connected to Synod on this machine. Try again in a moment.';
    if (!service) return;
    const controller = new AbortController();
    this.#running = controller;
    try {
      await ask(service, controller.signal);
    } catch (error) {
      if (!isCancelled(error)) this.failed = words(error);
    }
    if (this.#running === controller) this.#running = null;
  }

  /** Ends the wait. What was asked may still be done. */
  stop(): void {
    this.#running?.abort();
    this.#running = null;
  }
}
