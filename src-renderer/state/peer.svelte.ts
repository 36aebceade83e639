import { SvelteMap } from 'svelte/reactivity';
import type { PeerService, PeerStatus, WatchEvent } from '../../shared/ipc/contract.ts';
import { Link, type LinkState } from '../carrier/link.ts';
import type { OpenWire } from '../carrier/wire.ts';
import { isCancelled, isLost, wordsOf } from './failure.ts';
import { LogState } from './log.svelte.ts';
import { notices } from './notices.svelte.ts';

/** A watch that failed by itself is begun again after this. Milliseconds. */
const AGAIN_MS = 1_000;

/** The peer on this machine, as far as this window knows it: one watch tells all of it. */
export class PeerState {
  readonly #link: Link;
  #connection = $state.raw<LinkState>({ kind: 'connecting', sinceMs: Date.now() });
  #watching: AbortController | null = null;
  status = $state.raw<PeerStatus | null>(null);
  /** By group. Logs stay while the connection is lost, so that one can read and write on. */
  readonly logs = new SvelteMap<string, LogState>();

  constructor(open: OpenWire) {
    this.#link = new Link(open, (state) => this.#follow(state));
  }

  get connection(): LinkState {
    return this.#connection;
  }

  get service(): PeerService | null {
    return this.#connection.kind === 'connected' ? this.#connection.service : null;
  }

  start(): void {
    this.#link.start();
    window.addEventListener('online', () => this.#link.hurry());
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'visible') this.#link.hurry();
      else this.saveDrafts();
    });
    window.addEventListener('pagehide', () => this.saveDrafts());
  }

  saveDrafts(): void {
    for (const log of this.logs.values()) {
      void log.draft.save();
      void log.editing?.draft.save();
    }
  }

  #follow(state: LinkState): void {
    this.#connection = state;
    this.#watching?.abort();
    this.#watching = null;
    if (state.kind === 'connected') {
      this.#watching = new AbortController();
      for (const log of this.logs.values()) log.attach();
      void this.#watch(state.service, this.#watching.signal);
    } else {
      for (const log of this.logs.values()) log.detach();
    }
  }

  async #watch(service: PeerService, signal: AbortSignal): Promise<void> {
    try {
      for await (const event of service.watch({}, signal)) this.#take(event);
    } catch (error) {
      if (isCancelled(error) || isLost(error)) return;
      notices.say(wordsOf(error), 'wrong');
      setTimeout(() => {
        if (!signal.aborted) void this.#watch(service, signal);
      }, AGAIN_MS);
    }
  }

  #take(event: WatchEvent): void {
    if (event.kind === 'status') {
      this.status = event.status;
      for (const group of event.status.groups) this.log(group.group).status = group;
    } else if (event.kind === 'gone') {
      this.logs.get(event.group)?.detach();
      this.logs.delete(event.group);
    } else {
      this.log(event.group).take(event);
    }
  }

  /** The log of a group; from now on it is kept up to date. */
  log(group: string): LogState {
    let log = this.logs.get(group);
    if (!log) {
      log = new LogState(() => this.service, group);
      this.logs.set(group, log);
      log.attach();
    }
    return log;
  }
}
