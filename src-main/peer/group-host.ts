import { InvariantError } from '../../shared/base/assert.ts';
import type { EntryId, GroupId, PeerId, Slot } from '../../shared/base/ids.ts';
import { TICK_MS } from '../../shared/consensus/constants.ts';
import type { Change, Refused } from '../../shared/document/index.ts';
import { StoreError } from '../../shared/driver/store.ts';
import type { Replica } from '../../shared/replica/replica.ts';
import type { Pending } from '../../shared/session/index.ts';
import type { Envelope } from '../../shared/wire/envelope.ts';
import { restoreBallast } from '../storage/ballast.ts';
import type { StoreSnapshot } from '../storage/level-store.ts';
import { storeFailure } from './failures.ts';
import { GroupListeners } from './group-listeners.ts';
import { isDamage } from './group-store.ts';
import { NotAlone, Renewal, type RenewalInit, type Trouble } from './renewal.ts';

export interface GroupHostInit extends RenewalInit {
  /** The group can't go on, and so neither can the peer. */
  readonly onFatal: (error: Error) => void;
}

/** Frames wait outside while so many inputs are queued, so a flood costs no memory. */
const QUEUED_INPUTS_MAX = 2048;
const RECENT_ENTRIES = 1_000;
/** What is held back for a full disk grows with the store: looked after every hour. */
const BALLAST_TICKS: number = (60 * 60 * 1000) / TICK_MS;
const HAND_OVER_MS = 2_000;
const FLUSH_MS = 2_000;
/** A turn that takes longer waits for a disk that hangs. Milliseconds. */
const STALLED_MS = 10_000;

/** One group in this process: the loop that drives its replica turn by turn, and what the peer around it may ask of it. */
export class GroupHost {
  readonly #init: GroupHostInit;
  readonly #listeners = new GroupListeners();
  readonly #stop = new AbortController();
  readonly #renewal: Renewal;
  #timer: NodeJS.Timeout | null = null;
  #wake: (() => void) | null = null;
  #loop: Promise<void> = Promise.resolve();
  #drained: (() => void)[] = [];
  #ticks = 0;
  /** Of them, since a turn ended last: counted, so that a machine that slept counts as one that did not. */
  #ticksSinceTurn = 0;
  /** For those who want the store as it is between two turns. */
  #betweenTurns: (() => Promise<void>)[] = [];
  /** Damage that a reader met, or a verdict on this store, for the loop to look after. */
  #found: unknown = null;
  /** Entries created of late: they may not be on the disk yet, where prefixes are looked up. */
  readonly #recent: EntryId[] = [];

  private constructor(init: GroupHostInit) {
    this.#init = init;
    this.#renewal = new Renewal(init, {
      listeners: this.#listeners,
      stopping: this.#stop.signal,
      fail: (error) => this.#fail(error),
      onChanges: (changes) => this.#onChanges(changes),
      onNews: () => this.wake(),
      onDamage: (error) => this.damaged(error),
      onVerdict: (verdict) => {
        this.#found = new NotAlone(verdict);
        this.wake();
      },
    });
  }

  /** @throws StoreError where the store can't be opened at all */
  static async open(init: GroupHostInit): Promise<GroupHost> {
    const host = new GroupHost(init);
    await host.#renewal.open();
    host.#timer = setInterval(() => host.#tick(), TICK_MS);
    host.#loop = host.#run();
    return host;
  }

  /** As `Replica.meet`, and again whenever the store is opened anew. */
  meet(peers: readonly PeerId[], at: Slot): void {
    this.#renewal.meet(peers, at);
  }

  get replica(): Replica {
    return this.#renewal.replica;
  }
  get group(): GroupId {
    return this.replica.group;
  }
  /** False while the store is closed to be opened again: nothing may be read from it then. */
  get isOpen(): boolean {
    return this.#renewal.isOpen;
  }
  get isStopping(): boolean {
    return this.#stop.signal.aborted;
  }
  /** Takes commands, as far as is known. */
  get isWell(): boolean {
    return this.isOpen && !this.isStopping && this.trouble === null;
  }
  /** Resolves once the store is open, or can't be opened for now: the disk is full, or the group stops. */
  whenOpen(): Promise<void> {
    if (this.isOpen || this.isStopping || this.trouble !== null) return Promise.resolve();
    return this.#listeners.whenOpen();
  }
  get trouble(): Trouble | null {
    return this.#renewal.trouble;
  }
  /** Folders with older logs of this group that others went on without (R12). */
  get asides(): readonly string[] {
    return this.#renewal.asides;
  }
  get turn(): number {
    return this.#renewal.current.lastTurn;
  }
  /** For how long no turn has ended, while the store is open: each tick makes one. Milliseconds. */
  get turnAgeMs(): number {
    return this.#ticksSinceTurn * TICK_MS;
  }
  /** A write to the disk hangs. */
  get isStalled(): boolean {
    return this.turnAgeMs > STALLED_MS;
  }

  /** Looks for work soon: after everything else that this round of the event loop brings, so that it shares a turn. */
  wake(): void {
    const wake = this.#wake;
    if (wake === null) return;
    this.#wake = null;
    setImmediate(wake);
  }

  /** Called after every turn that applied something. Returns how to stop. */
  watch(watcher: (changes: readonly Change[]) => void): () => void {
    return this.#listeners.watch(watcher);
  }

  /** `onError` is called where the disk fails before the caller's command is safe. Returns how to stop. */
  waiting(onError: (error: Error) => void): () => void {
    return this.#listeners.waiting(onError);
  }

  /** Ids of agreed entries that begin so; a few are enough to see that a prefix is not unique. */
  async entriesWithPrefix(prefix: string): Promise<EntryId[]> {
    const from = this.replica.stateKey(`s/e/${prefix}`);
    const rows = await this.#renewal.port.kv.scan({ gte: from, lt: `${from}~`, limit: 8 });
    const found = new Set(rows.map(([key]) => key.slice('s/e/'.length) as EntryId));
    for (const id of this.#recent) if (id.startsWith(prefix)) found.add(id);
    return [...found];
  }

  /** The store as it is between two turns, as a crash would leave it. The next turn waits for two short reads. @throws StoreError */
  snapshot(): Promise<StoreSnapshot> {
    if (this.isStopping || !this.isOpen) return Promise.reject(new StoreError('CLOSED', 'the store is closed'));
    return new Promise((resolve, reject) => {
      this.#betweenTurns.push(() => this.#renewal.port.snapshot().then(resolve, reject));
      this.wake();
    });
  }

  isPeer(peer: PeerId): boolean {
    return this.replica.peers.includes(peer);
  }

  receive(from: PeerId, envelope: Envelope): void | Promise<void> {
    if (this.isStopping || !this.isOpen || !this.isPeer(from)) return;
    try {
      const done = this.replica.receiveEnvelope(from, envelope);
      this.wake();
      if (done instanceof Promise) {
        return done.then(
          () => this.wake(),
          (error: unknown) => this.#failOr(error),
        );
      }
      if (this.replica.queuedInputs > QUEUED_INPUTS_MAX) {
        return new Promise((resolve) => this.#drained.push(resolve));
      }
    } catch (error) {
      this.#failOr(error);
    }
  }

  connection(peer: PeerId, connected: boolean): void {
    if (!this.isOpen) return;
    this.replica.connection(peer, connected);
    this.wake();
  }

  #tick(): void {
    if (this.isStopping || !this.isOpen) return;
    this.#ticksSinceTurn++;
    try {
      this.replica.tick();
      this.wake();
      if (++this.#ticks % BALLAST_TICKS === 0) void restoreBallast(this.#init.dir).catch(() => false);
    } catch (error) {
      this.#failOr(error);
    }
  }

  async #run(): Promise<void> {
    while (!this.isStopping) {
      if (this.#found !== null) {
        const found = this.#found;
        this.#found = null;
        await this.#renewal.recover(found);
        continue;
      }
      if (this.#betweenTurns.length > 0) {
        for (const work of this.#betweenTurns.splice(0)) await work();
        continue;
      }
      const { outcast } = this.replica;
      if (outcast !== null) {
        await this.#renewal.beginAnew(outcast);
        continue;
      }
      if (this.replica.wantsReopening) {
        await this.#renewal.renew();
        continue;
      }
      if (!this.replica.isReady) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        continue;
      }
      try {
        await this.#turn();
      } catch (error) {
        await this.#renewal.recover(error);
      }
    }
  }

  async #turn(): Promise<void> {
    await this.#renewal.current.turn();
    this.#ticksSinceTurn = 0;
    if (this.#drained.length > 0) {
      for (const resolve of this.#drained) resolve();
      this.#drained = [];
    }
  }

  #onChanges(changes: readonly Change[]): void {
    for (const c of changes) if (c.type === 'entry' && c.what === 'create') this.#recent.push(c.entry);
    if (this.#recent.length > 2 * RECENT_ENTRIES) this.#recent.splice(0, RECENT_ENTRIES);
    this.#listeners.tellChanges(changes);
  }

  /** Between turns: damage has a way on, once the turn under way is over. */
  #failOr(error: unknown): void {
    if (isDamage(error)) this.damaged(error);
    else this.#fail(error);
  }

  /** Somebody who reads for a client, or for another member, met a damaged record: the loop goes through what it does for its own. */
  damaged(error: unknown): void {
    if (!isDamage(error)) return;
    this.#found ??= error;
    this.wake();
  }

  /** After a failed write: is the command there all the same? */
  holds(pending: Pending | Refused | null): boolean {
    return pending !== null && !('refused' in pending) && !this.isStopping && this.replica.outbox.holds(pending);
  }

  #fail(error: unknown): void {
    if (this.isStopping) return;
    this.#stop.abort();
    const known = error instanceof Error ? error : new Error(String(error));
    const words =
      known instanceof InvariantError
        ? `stopped by a fault of the program; what was saved is kept; please report it: ${known.message}`
        : storeFailure(known).message;
    this.#init.log('error', words, { error: known.stack });
    this.#listeners.tellWaiters(known);
    this.#listeners.tellOpen();
    this.wake();
    this.#init.onFatal(known);
  }

  /** Hands leadership over where somebody can take it, finishes the turn under way, and lets go of the files. */
  async close(): Promise<void> {
    if (!this.isStopping && this.replica.inspect().leads) await this.#handOver();
    if (!this.isStopping) await this.#flush();
    this.#stop.abort();
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#listeners.tellWaiters(new StoreError('CLOSED', 'the peer is stopping'));
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
    await this.#loop;
    for (const work of this.#betweenTurns.splice(0)) await work();
    await this.#renewal.close();
  }

  async #flush(): Promise<void> {
    const until = Date.now() + FLUSH_MS;
    do {
      this.replica.flush();
      this.wake();
      await new Promise((resolve) => setTimeout(resolve, 5));
    } while (!this.replica.isFlushed && !this.isStopping && this.trouble === null && Date.now() < until);
  }

  async #handOver(): Promise<void> {
    this.replica.handOver(null);
    this.wake();
    const until = Date.now() + HAND_OVER_MS;
    const others = (): boolean => this.replica.peers.some((peer) => this.#init.network().isConnected(peer));
    while (this.replica.inspect().leads && others() && Date.now() < until) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
