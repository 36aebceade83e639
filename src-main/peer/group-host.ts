import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { InvariantError } from '../../shared/base/assert.ts';
import { equal } from '../../shared/base/bytes.ts';
import { FormatError } from '../../shared/base/cbor.ts';
import type { Signer } from '../../shared/base/crypto.ts';
import {
  type EntryId,
  type GroupId,
  type Incarnation,
  incarnationBytes,
  incarnationFromBytes,
  type PeerId,
  type Slot,
} from '../../shared/base/ids.ts';
import { MissingRecordError } from '../../shared/base/kv.ts';
import { TICK_MS } from '../../shared/consensus/constants.ts';
import { type Change, LEVEL, type Refused } from '../../shared/document/index.ts';
import type { TurnWrite } from '../../shared/driver/driver.ts';
import { JournalCore } from '../../shared/driver/journal.ts';
import { damagedVerdict, type Prepared, type Problem } from '../../shared/driver/journal-format.ts';
import { RecordError } from '../../shared/driver/records.ts';
import { StoreError, type StorePort } from '../../shared/driver/store.ts';
import type { IdentityVerdict } from '../../shared/replica/identity.ts';
import {
  type Answer,
  firstTurn,
  GROUP_KEY,
  isGroupRecord,
  type OpenedStore,
  type OpeningInit,
  openStore,
} from '../../shared/replica/opening.ts';
import type { Candidate } from '../../shared/replica/recovery-exchange.ts';
import { identityCodes } from '../../shared/replica/remedy.ts';
import { type Outgoing, Replica, type ReplicaEvents } from '../../shared/replica/replica.ts';
import type { Pending } from '../../shared/session/index.ts';
import type { Envelope } from '../../shared/wire/envelope.ts';
import { platformRandom } from '../group/keys.ts';
import { writePrivateFile } from '../group/private-file.ts';
import type { BatchVerifier } from '../group/verifier.ts';
import type { Network } from '../network/network.ts';
import { freeBallast, restoreBallast } from '../storage/ballast.ts';
import { createStore, type LevelStore, openLevelStore, type StoreSnapshot } from '../storage/level-store.ts';
import { repairLevelStore } from '../storage/repair.ts';
import { endRepair, isRepairOpen, startRepair } from '../storage/repair-marker.ts';
import { damagedTables } from '../storage/tables.ts';
import { storeFailure } from './failures.ts';
import type { GroupMeter } from './meter.ts';
import { makeSuccessor, setAside, swap } from './recovery-aside.ts';

export type Log = (level: 'debug' | 'info' | 'warn' | 'error', message: string, detail?: object) => void;

export interface GroupHostInit {
  readonly dir: string;
  readonly self: PeerId;
  readonly signer: Signer;
  readonly verifier: BatchVerifier;
  readonly network: () => Network;
  readonly staysOn: boolean;
  readonly log: Log;
  /** Membership, hello, leadership: what the peer around it needs to know. */
  readonly events: Pick<ReplicaEvents, 'onPeers' | 'onHello'>;
  /** What was found wrong about the directory as a whole: no group of it votes or writes until a person settles it. */
  readonly doubts?: readonly Problem[];
  /** A person said that no other copy of this directory runs. */
  readonly isSettled?: boolean;
  /** The group can't go on, and so neither can the peer. */
  readonly onFatal: (error: Error) => void;
  /** Told of what passes, where somebody measures; null: nothing is measured. */
  readonly meter: GroupMeter | null;
}

/** Why nothing more can be saved here for now. */
export type Trouble = 'DISK_FULL';

/** Frames wait outside while so many inputs are queued, so a flood costs no memory. */
const QUEUED_INPUTS_MAX = 2048;
const FEW_SIGNATURES = 2;
const RECENT_ENTRIES = 1_000;
/** What is held back for a full disk grows with the store: looked after every hour. */
const BALLAST_TICKS: number = (60 * 60 * 1000) / TICK_MS;
const HAND_OVER_MS = 2_000;
const FLUSH_MS = 2_000;
/** LevelDB's sync leaves a batch in the disk's own cache on macOS, the mark's does not: what waits for the batch waits for the mark there. */
const SYNC_IS_FLUSH: boolean = process.platform !== 'darwin';
/** A disk that is full to the last byte is tried again after this. */
const FULL_DISK_PAUSE_MS = 2_000;
/** A turn that takes longer waits for a disk that hangs. Milliseconds. */
const STALLED_MS = 10_000;

/** One group in this process: its store, its replica, and the loop that carries the replica's turns to disk and network. */
export class GroupHost {
  readonly #init: GroupHostInit;
  readonly #nonce = randomBytes(8);
  #port!: LevelStore;
  #journal!: JournalCore;
  #replica!: Replica;
  #timer: NodeJS.Timeout | null = null;
  #wake: (() => void) | null = null;
  #stopping = false;
  #loop: Promise<void> = Promise.resolve();
  #trouble: Trouble | null = null;
  #isOpen = false;
  /** Whoever waits for a command: told when the disk did not take it. */
  readonly #waiters = new Set<(error: Error) => void>();
  readonly #watchers = new Set<(changes: readonly Change[]) => void>();
  #drained: (() => void)[] = [];
  #whenOpen: (() => void)[] = [];
  #asides: readonly string[] = [];
  #ticks = 0;
  /** Of them, since a turn ended last: counted, so that a machine that slept counts as one that did not. */
  #ticksSinceTurn = 0;
  /** For those who want the store as it is between two turns. */
  #betweenTurns: (() => Promise<void>)[] = [];
  /** Damage that a reader met, for the loop to look after. */
  #found: unknown = null;
  /** A person's word holds once. */
  #isSettled: boolean;
  /** Members known from elsewhere, for a store that loses its log. */
  #met: { readonly peers: readonly PeerId[]; readonly at: Slot } | null = null;
  /** Entries created of late: they may not be on the disk yet, where prefixes are looked up. */
  readonly #recent: EntryId[] = [];

  private constructor(init: GroupHostInit) {
    this.#init = init;
    this.#isSettled = init.isSettled ?? false;
  }

  /** Makes a new store, whole or not at all. */
  static async create(dir: string, genesis: Uint8Array, incarnation: Incarnation): Promise<void> {
    await createStore(dir, async (port) => {
      const { prepared } = JournalCore.create(incarnationBytes(incarnation), firstTurn(genesis, incarnation));
      await write(port, prepared);
    });
  }

  /** @throws StoreError where the store can't be opened at all */
  static async open(init: GroupHostInit): Promise<GroupHost> {
    const host = new GroupHost(init);
    await host.#open(await damageBefore(init.dir));
    host.#timer = setInterval(() => host.#tick(), TICK_MS);
    host.#loop = host.#run();
    return host;
  }

  /** @param damage what was found before, for the verdict that stays */
  async #open(damage: Damage | null = null): Promise<void> {
    await restoreBallast(this.#init.dir).catch(() => false);
    const { port, store } = await this.#openStore(damage).catch((error: unknown) => {
      if (!isBroken(error)) throw error;
      return this.#openStore({ code: 'DATABASE_BROKEN', message: error.message, isBroken: true });
    });
    this.#port = port;
    this.#asides = await setAside(this.#init.dir);
    this.#begin(store);
  }

  /** A replica on what the store holds now. */
  #begin(store: OpenedStore): void {
    const { self, signer, verifier, log } = this.#init;
    this.#tellOf(store);
    this.#journal = store.journal;
    this.#replica = new Replica({
      self,
      store,
      staysOn: this.#init.staysOn,
      presence: { nonce: this.#nonce, turn: () => this.#journal.lastTurn },
      ports: {
        signer,
        verifier,
        // One or two are checked sooner than another thread would be woken.
        verifyAll: (list) =>
          list.length <= FEW_SIGNATURES ? list.map((signed) => verifier.verify(signed)) : verifier.verifyAll(list),
        randomBytes: platformRandom,
        random: Math.random,
        kv: { get: (key) => this.#port.kv.get(key) },
        snapshot: () => this.#port.kv.snapshot(),
      },
      events: {
        ...this.#init.events,
        onApplied: (_applied, changes) => {
          for (const c of changes) if (c.type === 'entry' && c.what === 'create') this.#recent.push(c.entry);
          if (this.#recent.length > 2 * RECENT_ENTRIES) this.#recent.splice(0, RECENT_ENTRIES);
          for (const watcher of this.#watchers) watcher(changes);
          this.#init.meter?.applied(this.#replica, changes);
        },
        onLeader: (leader) => {
          log('info', leader === null ? 'nobody leads; what is written waits until somebody does' : 'somebody leads', {
            leader,
          });
          this.#init.meter?.leader(leader);
        },
        onProblem: ({ code, message }) => {
          log('warn', message, { code });
          this.#init.meter?.problem(code);
        },
        onVerdict: (verdict) => {
          this.#found = new NotAlone(verdict);
          this.wake();
        },
        onDamage: (error) => this.damaged(error),
        onNews: () => this.wake(),
      },
    });
    openSession(this.#replica);
    this.#init.meter?.opened(this.#replica);
    if (this.#met !== null) this.#replica.meet(this.#met.peers, this.#met.at);
    const network = this.#init.network();
    for (const peer of this.#replica.peers) if (network.isConnected(peer)) this.#replica.connection(peer, true);
    this.#isOpen = true;
  }

  /** With damage, the verdict is on the disk before anything is read; where the database itself is broken, what is whole of it is gathered first. */
  async #openStore(damage: Damage | null): Promise<{ port: LevelStore; store: OpenedStore }> {
    const { dir, log } = this.#init;
    if (damage?.isBroken) {
      log('error', 'the database is damaged; what is whole of it is kept, the rest is fetched again', {
        dir,
        error: damage.message,
      });
      await startRepair(dir);
      await repairLevelStore(dir);
    }
    const port = await openLevelStore(dir, { create: false });
    try {
      const isGroupLost = await keepGroupRecord(port, dir);
      if (damage !== null) await markDamaged(port, damage.code, damage.message);
      else if (isGroupLost) await markDamaged(port, 'RECORD_DAMAGED', 'the record of the group was missing');
      if (damage?.isBroken) await endRepair(dir);
      const store = await this.#read(port);
      if (store.isNewborn) await keepGroupRecord(port, dir);
      return { port, store };
    } catch (error) {
      await port.close().catch(() => undefined);
      throw error;
    }
  }

  async #read(port: StorePort): Promise<OpenedStore> {
    const store = await readStore(port, {
      newIncarnation: () => incarnationFromBytes(platformRandom(16)),
      doubts: this.#init.doubts ?? [],
      isSettled: this.#isSettled,
    });
    this.#isSettled = false;
    return store;
  }

  #tellOf({ group, problems, reborn, isNewborn, mended }: OpenedStore): void {
    const { log } = this.#init;
    if (mended !== null) {
      const { slots, isStateLost } = mended;
      const values = slots === 0 ? [] : [`${slots} values of its log are fetched again`];
      const state = isStateLost ? ['what is shown is made anew from the log'] : [];
      const what = [...values, ...state].join(', and ') || 'nothing of it is missing';
      log(
        'error',
        `this copy was damaged: ${what}; all that nobody else has is whole, and it goes on; look at the disk`,
        {
          code: 'RECORD_DAMAGED',
          group,
        },
      );
    }
    for (const { code, message } of problems)
      log('error', `this copy does not vote or write: ${message}`, { code, group });
    if (!isNewborn) return;
    for (const { code, message } of reborn?.problems ?? []) {
      const what = isIdentityCode(code) ? 'this copy could not go on as it was' : 'this copy was damaged';
      const then = 'what of it is whole is kept, and it votes again once the others have agreed';
      log('error', `${what}: ${message}; ${then}`, { code, group });
    }
  }

  /** As `Replica.meet`, and again whenever the store is opened anew. */
  meet(peers: readonly PeerId[], at: Slot): void {
    this.#met = { peers, at };
    this.#replica.meet(peers, at);
  }

  get replica(): Replica {
    return this.#replica;
  }
  get group(): GroupId {
    return this.#replica.group;
  }
  /** False while the store is closed to be opened again: nothing may be read from it then. */
  get isOpen(): boolean {
    return this.#isOpen;
  }
  get isStopping(): boolean {
    return this.#stopping;
  }
  /** Takes commands, as far as is known. */
  get isWell(): boolean {
    return this.#isOpen && !this.#stopping && this.#trouble === null;
  }
  /** Resolves once the store is open, or can't be opened for now: the disk is full, or the group stops. */
  whenOpen(): Promise<void> {
    if (this.#isOpen || this.#stopping || this.#trouble !== null) return Promise.resolve();
    return new Promise((resolve) => this.#whenOpen.push(resolve));
  }
  get trouble(): Trouble | null {
    return this.#trouble;
  }
  /** Folders with older logs of this group that others went on without (R12). */
  get asides(): readonly string[] {
    return this.#asides;
  }
  get turn(): number {
    return this.#journal.lastTurn;
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
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** `onError` is called where the disk fails before the caller's command is safe. Returns how to stop. */
  waiting(onError: (error: Error) => void): () => void {
    this.#waiters.add(onError);
    return () => this.#waiters.delete(onError);
  }

  /** Ids of agreed entries that begin so; a few are enough to see that a prefix is not unique. */
  async entriesWithPrefix(prefix: string): Promise<EntryId[]> {
    const from = this.#replica.stateKey(`s/e/${prefix}`);
    const rows = await this.#port.kv.scan({ gte: from, lt: `${from}~`, limit: 8 });
    const found = new Set(rows.map(([key]) => key.slice('s/e/'.length) as EntryId));
    for (const id of this.#recent) if (id.startsWith(prefix)) found.add(id);
    return [...found];
  }

  /** The store as it is between two turns, as a crash would leave it. The next turn waits for two short reads. @throws StoreError */
  snapshot(): Promise<StoreSnapshot> {
    if (this.#stopping || !this.#isOpen) return Promise.reject(new StoreError('CLOSED', 'the store is closed'));
    return new Promise((resolve, reject) => {
      this.#betweenTurns.push(() => this.#port.snapshot().then(resolve, reject));
      this.wake();
    });
  }

  isPeer(peer: PeerId): boolean {
    return this.#replica.peers.includes(peer);
  }

  receive(from: PeerId, envelope: Envelope): void | Promise<void> {
    if (this.#stopping || !this.#isOpen || !this.isPeer(from)) return;
    try {
      const done = this.#replica.receiveEnvelope(from, envelope);
      this.wake();
      if (done instanceof Promise) {
        return done.then(
          () => this.wake(),
          (error: unknown) => this.#failOr(error),
        );
      }
      if (this.#replica.queuedInputs > QUEUED_INPUTS_MAX) {
        return new Promise((resolve) => this.#drained.push(resolve));
      }
    } catch (error) {
      this.#failOr(error);
    }
  }

  connection(peer: PeerId, connected: boolean): void {
    if (!this.#isOpen) return;
    this.#replica.connection(peer, connected);
    this.wake();
  }

  #tick(): void {
    if (this.#stopping || !this.#isOpen) return;
    this.#ticksSinceTurn++;
    try {
      this.#replica.tick();
      this.wake();
      if (++this.#ticks % BALLAST_TICKS === 0) void restoreBallast(this.#init.dir).catch(() => false);
    } catch (error) {
      this.#failOr(error);
    }
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      if (this.#found !== null) {
        const found = this.#found;
        this.#found = null;
        await this.#recover(found);
        continue;
      }
      if (this.#betweenTurns.length > 0) {
        for (const work of this.#betweenTurns.splice(0)) await work();
        continue;
      }
      const { outcast } = this.#replica;
      if (outcast !== null) {
        await this.#beginAnew(outcast);
        continue;
      }
      if (this.#replica.wantsReopening) {
        await this.#renew();
        continue;
      }
      if (!this.#replica.isReady) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        continue;
      }
      try {
        await this.#turn();
      } catch (error) {
        await this.#recover(error);
      }
    }
  }

  /** A snapshot takes its place, or what could not be applied can be now: the replica starts anew on what is on the disk, as after a stop. */
  async #renew(): Promise<void> {
    try {
      const turn = this.#replica.lastWrite();
      if (turn !== null) await this.#write(turn, () => undefined);
      this.#isOpen = false;
      this.#replica.end();
      const { recovered } = this.#replica;
      this.#begin(await this.#read(this.#port));
      const isRecovered = this.#replica.recovered.length > recovered.length;
      const installed = isRecovered ? 'the log goes on after a forced recovery' : 'a snapshot was installed';
      this.#init.log('info', turn === null ? 'applying goes on' : installed, { applied: this.#replica.applied });
      // What they wrote may be there or not: they look.
      this.#tellWaiters(new StoreError('CLOSED', 'the store was opened anew'));
      this.#tellOpen();
      for (const watcher of this.#watchers) watcher([]);
    } catch (error) {
      await this.#recover(error);
    }
  }

  /** The others went on by a forced recovery, with another log than this one: it is kept aside, and this machine begins anew with theirs. */
  async #beginAnew(candidate: Candidate): Promise<void> {
    const { dir, log } = this.#init;
    const before = this.#replica;
    try {
      const turn = before.lastWrite();
      if (turn !== null) await this.#write(turn, () => undefined);
      this.#isOpen = false;
      await makeSuccessor(dir, this.#port, before, candidate, incarnationFromBytes(new Uint8Array(randomBytes(16))));
      before.end();
      await this.#port.close();
      const aside = await swap(dir, candidate);
      log(
        'warn',
        'others went on by a forced recovery, with another log; the old one is kept, and what only it has is offered again',
        {
          aside,
        },
      );
      await this.#open();
      this.#replica.meet(before.peers, candidate.slot);
      this.#tellWaiters(new StoreError('CLOSED', 'the store was set aside'));
      this.#tellOpen();
      for (const watcher of this.#watchers) watcher([]);
    } catch (error) {
      this.#fail(error);
    }
  }

  async #write(turn: TurnWrite, landed: () => void): Promise<void> {
    const { ops, mark } = this.#journal.prepare(turn);
    const { meter } = this.#init;
    meter?.writing(turn);
    try {
      await this.#port.kv.write(ops, { sync: true });
      meter?.landed();
      if (SYNC_IS_FLUSH) landed();
      await this.#port.mark.write(mark.place, mark.bytes);
      if (!SYNC_IS_FLUSH) landed();
    } catch (error) {
      this.#journal.failed();
      throw error;
    }
    this.#journal.committed();
    meter?.written();
    this.#trouble = null;
  }

  async #turn(): Promise<void> {
    const replica = this.#replica;
    const turn = replica.begin(Date.now());
    this.#send(turn.send);
    if (turn.write !== null) await this.#write(turn.write, () => this.#send(replica.batchLanded()));
    this.#send(replica.finish());
    replica.applyTurn();
    this.#ticksSinceTurn = 0;
    if (this.#drained.length > 0) {
      for (const resolve of this.#drained) resolve();
      this.#drained = [];
    }
  }

  /** On its way before the disk or the applying takes its time. */
  #send(messages: readonly Outgoing[]): void {
    if (messages.length === 0) return;
    const network = this.#init.network();
    const { meter } = this.#init;
    for (const out of messages) {
      const frame = this.#replica.frameOf(out, this.#nonce, this.#journal.lastTurn);
      for (const peer of out.to) {
        if (!network.send(peer, out.purpose, frame) && network.isConnected(peer)) meter?.dropped();
      }
    }
    network.flush();
  }

  /** A full disk and a damaged record have a way on: the store is closed, opened and verified again. Nothing else has. */
  async #recover(error: unknown): Promise<void> {
    const isFull = error instanceof StoreError && error.code === 'DISK_FULL';
    if (!isFull && !isDamage(error) && !(error instanceof NotAlone)) return this.#fail(error);
    const { dir, log } = this.#init;
    try {
      const freed = isFull && (await freeBallast(dir));
      this.#trouble = isFull && !freed ? 'DISK_FULL' : null;
      const { message } = error as Error;
      if (isFull) {
        const words = 'the disk is full: free some space; what was saved is kept';
        log('warn', freed ? `${words}, and what was held back for this day is used now` : words, { dir, freed });
      } else if (error instanceof NotAlone) {
        log('error', 'this store is not what it was taken for', { dir, error: message });
      } else {
        log('error', 'a record is damaged: it is fetched again; look at the disk', { dir, error: message });
        this.#init.meter?.problem('RECORD_DAMAGED');
      }
      // Reading goes on meanwhile; nothing is written to a store whose write failed.
      if (this.#trouble !== null) await this.#pause();
      this.#isOpen = false;
      this.#replica.end();
      await this.#port.close().catch(() => undefined);
      if (isFull) await this.#reopen();
      else if (error instanceof NotAlone) await this.#open({ ...error.verdict, isBroken: false });
      else {
        const found = { code: 'RECORD_DAMAGED', message, isBroken: isBroken(error) };
        await this.#open((await brokenTablesIn(dir)) ?? found);
      }
    } catch (again) {
      this.#fail(again);
    } finally {
      // First those whose command may be there or not, then those who have not written yet.
      try {
        this.#tellWaiters(error as Error);
      } finally {
        this.#tellOpen();
      }
    }
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

  /** As long as there is no room not even to open, it is tried again. */
  async #reopen(): Promise<void> {
    while (!this.#stopping) {
      try {
        return await this.#open();
      } catch (error) {
        if (!(error instanceof StoreError) || error.code !== 'DISK_FULL') throw error;
        this.#trouble = 'DISK_FULL';
        this.#tellOpen();
        await this.#pause();
      }
    }
  }

  /** Between two tries on a full disk; a stop cuts it short. */
  async #pause(): Promise<void> {
    for (let waitedMs = 0; waitedMs < FULL_DISK_PAUSE_MS && !this.#stopping; waitedMs += 100) {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** After a failed write: is the command there all the same? */
  holds(pending: Pending | Refused | null): boolean {
    return pending !== null && !('refused' in pending) && !this.#stopping && this.#replica.outbox.holds(pending);
  }

  #tellOpen(): void {
    for (const resolve of this.#whenOpen.splice(0)) resolve();
  }

  #tellWaiters(error: Error): void {
    // Some of them wait again, for another try.
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const waiter of waiters) waiter(error);
  }

  #fail(error: unknown): void {
    if (this.#stopping) return;
    this.#stopping = true;
    const known = error instanceof Error ? error : new Error(String(error));
    const words =
      known instanceof InvariantError
        ? `stopped by a fault of the program; what was saved is kept; please report it: ${known.message}`
        : storeFailure(known).message;
    this.#init.log('error', words, { error: known.stack });
    this.#tellWaiters(known);
    this.#tellOpen();
    this.wake();
    this.#init.onFatal(known);
  }

  /** Hands leadership over where somebody can take it, finishes the turn under way, and lets go of the files. */
  async close(): Promise<void> {
    if (!this.#stopping && this.#replica.inspect().leads) await this.#handOver();
    if (!this.#stopping) await this.#flush();
    this.#stopping = true;
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#tellWaiters(new StoreError('CLOSED', 'the peer is stopping'));
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
    await this.#loop;
    for (const work of this.#betweenTurns.splice(0)) await work();
    this.#replica.end();
    await this.#port.close();
  }

  async #flush(): Promise<void> {
    const until = Date.now() + FLUSH_MS;
    do {
      this.#replica.flush();
      this.wake();
      await new Promise((resolve) => setTimeout(resolve, 5));
    } while (!this.#replica.isFlushed && !this.#stopping && this.#trouble === null && Date.now() < until);
  }

  async #handOver(): Promise<void> {
    this.#replica.handOver(null);
    this.wake();
    const until = Date.now() + HAND_OVER_MS;
    const others = (): boolean => this.#replica.peers.some((peer) => this.#init.network().isConnected(peer));
    while (this.#replica.inspect().leads && others() && Date.now() < until) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** A store that was made anew begins by asking for its session: its own earlier commands wait for that. A newcomer's has one, and asking again changes nothing. */
function openSession(replica: Replica): void {
  const { outbox, applied } = replica;
  if (!replica.isSuccessor) return;
  const written = { writer: '', timeMs: Date.now(), offsetMinutes: 0, saw: applied, level: LEVEL };
  outbox.openSession(written);
}

/** What the last run left, as far as the database itself does not show it. */
async function damageBefore(dir: string): Promise<Damage | null> {
  // What was repaired looks whole, and is not: the verdict is still to be written.
  if (await isRepairOpen(dir)) return { code: 'DATABASE_BROKEN', message: 'a repair was cut short', isBroken: true };
  return brokenTablesIn(dir);
}

/** LevelDB trusts its tables, and where one is not whole it may end the process: they are looked at before every opening. */
async function brokenTablesIn(dir: string): Promise<Damage | null> {
  const names = await damagedTables(join(dir, 'db'));
  if (names.length === 0) return null;
  return {
    code: 'DATABASE_BROKEN',
    message: `tables of the database are damaged (${names.join(', ')})`,
    isBroken: true,
  };
}

/**
 * The one record that nobody else can give back is kept in a file beside the database, too. Where the database has lost it, it is put back, and that is told
 * by true; where the file is missing or older, it is made.
 */
async function keepGroupRecord(port: StorePort, dir: string): Promise<boolean> {
  const path = join(dir, 'group');
  const kept = await readFile(path).catch(() => null);
  const record = port.kv.get(GROUP_KEY);
  if (record !== undefined && isGroupRecord(record)) {
    // A full disk keeps it from being made; the next opening tries again.
    if (kept === null || !equal(kept, record)) await writePrivateFile(path, record).catch(() => undefined);
    return false;
  }
  if (kept === null || !isGroupRecord(kept)) return false; // the reading of the store says what is wrong
  await port.kv.write([{ type: 'put', key: GROUP_KEY, value: new Uint8Array(kept) }], { sync: true });
  return true;
}

/** Batch and mark, both on the disk. */
export async function write(port: StorePort, { ops, mark }: Prepared): Promise<void> {
  if (ops.length > 0) await port.kv.write(ops, { sync: true });
  await port.mark.write(mark.place, mark.bytes);
}

/** Opens and verifies without writing anything: the verdict only. */
export const inspectStore = (port: StorePort): Promise<OpenedStore> => readStore(port, {}, async () => undefined);

/** Answers what the opening asks from a real disk. */
export async function readStore(
  port: StorePort,
  init: OpeningInit,
  put: (port: StorePort, prepared: Prepared) => Promise<void> = write,
): Promise<OpenedStore> {
  const opening = openStore({ get: (key) => port.kv.get(key) }, init);
  let answer: Answer;
  for (;;) {
    const step = opening.next(answer);
    if (step.done) return step.value;
    const ask = step.value;
    if (ask.type === 'scan') answer = await port.kv.scan(ask.range);
    else if (ask.type === 'marks') answer = await port.mark.read();
    else {
      await put(port, ask.prepared);
      answer = undefined;
    }
  }
}

/** From now on this store is a reader's, whatever becomes of this process. */
async function markDamaged(port: StorePort, code: string, message: string): Promise<void> {
  await port.kv.write([damagedVerdict([{ code, message }])], { sync: true });
}

interface Damage {
  readonly code: string;
  readonly message: string;
  /** The database itself, not a record in it. */
  readonly isBroken: boolean;
}

/** The group, or a member, says that this store is not the only one or not the newest of its incarnation. */
class NotAlone extends Error {
  override readonly name = 'NotAlone';
  readonly verdict: IdentityVerdict;
  constructor(verdict: IdentityVerdict) {
    super(verdict.message);
    this.verdict = verdict;
  }
}

const isIdentityCode = (code: string): boolean => identityCodes.some((each) => each === code);

const isBroken = (error: unknown): error is StoreError => error instanceof StoreError && error.code === 'CORRUPT';

/** A record that is not what it was, or the database below it. */
export function isDamage(error: unknown): boolean {
  return (
    error instanceof RecordError ||
    error instanceof FormatError ||
    error instanceof MissingRecordError ||
    isBroken(error)
  );
}
