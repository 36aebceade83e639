import { SvelteMap, SvelteSet } from 'svelte/reactivity';
import type { BrokenGroup, GroupStatus, PeerService, PeerStatus, WatchEvent } from '../../shared/ipc/contract.ts';
import { Link, type LinkState } from '../carrier/link.ts';
import { takeToken } from '../carrier/token.ts';
import type { OpenWire } from '../carrier/wire.ts';
import { isCancelled, isLost, wordsOf } from './failure.ts';
import { LogState } from './log.svelte.ts';
import { notices } from './notices.svelte.ts';
import { takeWindowId } from './window-id.ts';

/** A watch that failed by itself is begun again after this. Milliseconds. */
const AGAIN_MS = 1_000;

/** The peer on this machine, as far as this window knows it: one watch tells all of it. */
export class PeerState {
  readonly #link: Link;
  #connection = $state.raw<LinkState>({ kind: 'connecting', sinceMs: Date.now() });
  readonly #window = takeWindowId();
  #watching: AbortController | null = null;
  status = $state.raw<PeerStatus | null>(null);
  /** By group. Logs stay while the connection is lost, so that one can read and write on. */
  readonly logs = new SvelteMap<string, LogState>();
  /** Opened by this window, and not told of by the peer yet. */
  readonly #opened = new SvelteSet<string>();

  constructor(open: OpenWire) {
    this.#link = new Link(open, (state) => this.#follow(state));
  }

  /** How each log stands, or stood when it was last known: one that is closed for a moment stays where it is. */
  readonly groups = $derived.by<readonly GroupStatus[]>(() => {
    const ids = new Set(this.broken.map(({ group }) => group));
    return [...this.logs.values()].flatMap(({ group, status }) => (status === null || ids.has(group) ? [] : [status]));
  });

  /** Logs that can't be opened, and won't be by themselves. */
  get broken(): readonly BrokenGroup[] {
    return this.status?.broken?.filter((each) => !isPassing(each)) ?? [];
  }

  get connection(): LinkState {
    return this.#connection;
  }

  get service(): PeerService | null {
    return this.#connection.kind === 'connected' ? this.#connection.service : null;
  }

  start(): void {
    this.#link.start();
    // The same page was given another address, with another token in it.
    window.addEventListener('hashchange', () => {
      if (takeToken() !== null) this.#link.renew();
    });
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
      // First of all, so that the peer knows whose drafts are whose.
      void this.#watch(state.service, this.#watching.signal);
      for (const log of this.logs.values()) log.attach();
    } else {
      for (const log of this.logs.values()) log.detach();
    }
  }

  async #watch(service: PeerService, signal: AbortSignal): Promise<void> {
    try {
      for await (const event of service.watch({ window: this.#window }, signal)) this.#take(event);
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
      this.#takeStatus(event.status);
    } else if (event.kind === 'gone') {
      this.#drop(event.group);
    } else {
      this.log(event.group).take(event);
    }
  }

  #takeStatus(status: PeerStatus): void {
    this.status = status;
    for (const group of status.groups) {
      this.log(group.group).stand(group);
      this.#opened.delete(group.group);
    }
    const broken = status.broken ?? [];
    for (const each of broken.filter(isPassing)) {
      const log = this.logs.get(each.group);
      if (log?.status && each.code === 'DISK_FULL') {
        log.status = { ...log.status, canCommit: false, whyCode: 'DISK_FULL', why: each.message };
      }
    }
    const known = new Set([...status.groups, ...broken].map(({ group }) => group));
    for (const group of this.logs.keys()) if (!known.has(group) && !this.#opened.has(group)) this.#drop(group);
  }

  #drop(group: string): void {
    const log = this.logs.get(group);
    void log?.draft.save();
    void log?.editing?.draft.save();
    log?.detach();
    this.logs.delete(group);
  }

  /** A log that was just made or joined: one can write in it before the peer told how it stands. */
  opened(group: string, title: string): void {
    if (this.status?.groups.some((each) => each.group === group)) return;
    this.#opened.add(group);
    this.log(group, title);
  }

  isHere(group: string): boolean {
    return this.#opened.has(group) || this.groups.some((each) => each.group === group);
  }

  /** The log of a group; from now on it is kept up to date. */
  log(group: string, title = ''): LogState {
    let log = this.logs.get(group);
    if (!log) {
      log = new LogState(() => this.service, this.#window, group, title);
      this.logs.set(group, log);
      log.attach();
    }
    return log;
  }
}

/** Closed to be opened again by itself: the disk is full, or a fault was found and is looked after. */
const isPassing = ({ code }: BrokenGroup): boolean => code === 'DISK_FULL' || code === 'BUSY' || code === 'STOPPING';
