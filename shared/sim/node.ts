import { InvariantError } from '../base/assert.ts';
import type { Signer } from '../base/crypto.ts';
import type { Incarnation, PeerId } from '../base/ids.ts';
import { incarnationFromBytes, peerFromKey } from '../base/ids.ts';
import type { Random } from '../base/random.ts';
import type { TurnWrite } from '../driver/driver.ts';
import type { JournalCore } from '../driver/journal.ts';
import type { UnderWay } from '../driver/memory-store.ts';
import { StoreError } from '../driver/store.ts';
import type { IdentityVerdict } from '../replica/identity.ts';
import type { OpenedStore } from '../replica/opening.ts';
import { consentTo } from '../replica/recovery-offline.ts';
import {
  type FrameHead,
  type Outgoing,
  Replica,
  type ReplicaEvents,
  type ReplicaSettings,
} from '../replica/replica.ts';
import { check } from './check.ts';
import { DiskView, type Landed } from './disk-view.ts';
import { simSigner, simVerifier } from './keys.ts';
import { type Finding, isDamage, LOGGED_BATCHES, NodeStore } from './node-store.ts';
import type { Plan, Step } from './plan.ts';
import type { Scheduler } from './scheduler.ts';

export interface DiskTimes {
  batchMinMs: number;
  batchMaxMs: number;
  markMaxMs: number;
}

export interface NodeSurroundings {
  send(from: SimNode, out: Outgoing): void;
  /** A batch is on the disk, or was found there after a crash. */
  landed(node: SimNode, landed: Landed): void;
  /** Called between the steps of a turn; the node may die in it. */
  reached(node: SimNode, step: Step): void;
  /** Before a turn is applied: after how many reads the node dies in the middle of it; null: it doesn't. */
  diesApplying(node: SimNode): number | null;
  /** It died there. */
  died(node: SimNode): void;
  /** The disk failed: the peer stops, and somebody has to start it again. */
  stopped(node: SimNode): void;
  /** The store was found damaged for the first time. */
  damaged(node: SimNode): void;
  /** After every finished turn. */
  turned(node: SimNode): void;
  ticked(node: SimNode, replica: Replica): void;
  events(node: SimNode): ReplicaEvents;
  /** With whom it has a connection: a store that is opened anew is told again. */
  connections(node: SimNode): readonly PeerId[];
  note(line: string): void;
  readonly disk: DiskTimes;
  /** How a node's replica is set up: what it keeps, whether it stays on, how patient its policy about voters is. */
  settings(node: SimNode): ReplicaSettings;
  readonly failure: Plan['failure'];
  /** Stores keep what it takes to damage them. */
  readonly damages: boolean;
}

const TICK_MS = 50;
/** Frames that wait for a node that stands still; the links drop what is more. */
const MAILBOX_MAX = 500;
/** A disk that is full to the last byte is tried again after this. */
const FULL_DISK_PAUSE_MS = 2000;

/** Thrown into a process that dies in the middle of its work. */
class Died extends Error {
  override readonly name = 'Died';
}

/** One simulated machine: a production replica on a memory disk, with a clock of its own. Everything that is lost in a crash is lost here. */
export class SimNode {
  readonly index: number;
  readonly name: string;
  readonly peer: PeerId;
  readonly signer: Signer;
  incarnation: Incarnation;
  clockSkewMs: number;
  /** How long its ticks take, as a part of what they should. */
  drift = 1;
  replica: Replica | null = null;
  /** Starts so far. */
  life = 0;
  /** Snapshots that became its own. */
  installs = 0;
  /** How often its store was mended in its place. */
  mends = 0;
  /** Writes that its disk did not take. */
  failedWrites = 0;
  /** It lost its store and is a new incarnation. */
  wiped = false;
  /** Its writes take so much longer. */
  slownessMs = 0;
  /** Until then a write doesn't come back; for ever only until the process ends. */
  hungUntilMs = 0;
  /** Its disk failed, so it stays down until somebody starts it. */
  isStopped = false;
  /** Processes so far. A store that is closed and opened again by its peer stays in the same one. */
  process = 0;
  /** There is one. */
  isRunning = false;
  /** The last one ended with the machine's power, so nobody was told. */
  lostPower = false;
  /** Another machine runs, or ran, a copy of its store. */
  wasCopied = false;
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  readonly #around: NodeSurroundings;
  #store: NodeStore | null = null;
  #journal: JournalCore | null = null;
  #nonce: Uint8Array;
  #busy = false;
  #diesAfterReads: number | null = null;
  #fullUntilMs = 0;
  #underWay: readonly UnderWay[] = [];
  #pumpPlanned = false;
  #pausedUntilMs = 0;
  #mailbox: ((replica: Replica) => void)[] = [];
  /** What others say of its store, for when the turn under way is over. */
  #verdict: IdentityVerdict | null = null;
  #damage: unknown = null;

  /** @param copied the data directory of another machine that was copied to this one: the same keys, the same place in the network */
  constructor(
    index: number,
    scheduler: Scheduler,
    random: Random,
    around: NodeSurroundings,
    copied: { readonly of: SimNode; readonly store: NodeStore } | null = null,
  ) {
    const twinOf = copied?.of ?? null;
    this.index = index;
    this.name = twinOf === null ? `n${index}` : `n${index}'`;
    this.#scheduler = scheduler;
    this.#random = random;
    this.#around = around;
    const key = random.bytes(32);
    this.signer = twinOf?.signer ?? simSigner(key);
    this.peer = twinOf?.peer ?? peerFromKey(key);
    this.incarnation = copied?.store.incarnation ?? incarnationFromBytes(random.bytes(16));
    this.#store = copied?.store ?? null;
    this.wasCopied = copied !== null;
    this.#nonce = random.bytes(8);
    this.clockSkewMs = random.chance(0.3) ? (random.number() - 0.5) * 2e9 : 0;
  }

  get isUp(): boolean {
    return this.replica !== null;
  }
  get hasStore(): boolean {
    return this.#store !== null;
  }
  get prefix(): number {
    return this.replica?.prefix ?? 0;
  }

  /** What the checks hold its words against. */
  get disk(): DiskView {
    return this.#store?.view ?? NOTHING;
  }
  get store(): NodeStore | null {
    return this.#store;
  }
  /** It found its store damaged, and reads only. */
  get isDamaged(): boolean {
    return this.#store?.isDamaged === true;
  }
  get forgot(): string | null {
    return this.#store?.forgot ?? null;
  }
  /** What it shows may be wrong. */
  get lostState(): boolean {
    return this.#store?.lostState === true;
  }
  /** Its store may turn out to be damaged at any time. */
  get isTreated(): boolean {
    return this.#store?.isTreated === true;
  }
  /** Its store was put back or copied, and it doesn't know that. */
  get isOld(): boolean {
    return this.#store?.isOld === true;
  }
  /** The last turn of its store, as far as it was told to anybody. */
  get turn(): number {
    return this.#journal?.lastTurn ?? 0;
  }
  get isHung(): boolean {
    return this.#scheduler.nowMs < this.hungUntilMs;
  }

  /** A new store, whole before it counts (production makes it aside and renames it). */
  found(genesisBytes: Uint8Array): void {
    const store = NodeStore.create(this.incarnation, genesisBytes);
    const { failure, damages } = this.#around;
    if (failure?.node === this.index && !this.wiped) store.failAt(failure);
    store.wasCopied = this.wasCopied;
    if (damages) store.memory.keepLog(LOGGED_BATCHES);
    this.#store = store;
    this.start();
  }

  /** @param isSettled a person said that no other copy of its store runs */
  start(found: Finding | null = null, isSettled = false): void {
    const store = this.#store;
    if (this.replica !== null || store === null) return;
    store.isFull = this.#scheduler.nowMs < this.#fullUntilMs;
    try {
      const newIncarnation = (): Incarnation => incarnationFromBytes(this.#random.bytes(16));
      const { opened, isNews } = store.open(found, { newIncarnation, isSettled });
      const isReborn = opened.incarnation !== this.incarnation;
      if (isReborn) {
        this.incarnation = opened.incarnation;
        this.wiped = true;
        this.#around.note(`${this.name} is ${this.incarnation.slice(0, 4)} now: ${said(opened.reborn?.problems)}`);
        this.#around.landed(this, store.look());
      }
      if (opened.mended !== null) {
        const { slots, isStateLost } = opened.mended;
        this.#around.note(`${this.name} is mended: ${slots} values${isStateLost ? ', its state' : ''}`);
        this.#around.landed(this, store.look());
        this.mends++;
      }
      this.#run(store, opened);
      if (!isNews) return;
      if (isReborn) return this.#around.damaged(this);
      this.#around.note(`${this.name} is damaged: ${said(opened.problems)}`);
      this.#around.landed(this, store.look());
      this.#around.damaged(this);
    } catch (error) {
      this.#onTrouble(error);
    }
  }

  #run(store: NodeStore, opened: OpenedStore): void {
    const random = this.#random;
    if (!this.isRunning) {
      this.isRunning = true;
      this.process++;
      this.#nonce = random.bytes(8);
    }
    const replica = new Replica({
      self: this.peer,
      store: opened,
      presence: { nonce: this.#nonce, turn: () => opened.journal.lastTurn },
      ports: {
        signer: this.signer,
        verifier: simVerifier,
        verifyAll: (list) => list.map((signed) => simVerifier.verify(signed)),
        randomBytes: (length) => random.bytes(length),
        random: () => random.number(),
        kv: { get: (key) => this.#read(store, key) },
        snapshot: () => store.memory.snapshotSync(),
      },
      events: {
        ...this.#around.events(this),
        onVerdict: (verdict) => this.#onVerdict(verdict),
        onDamage: (error) => this.#onDamage(error),
      },
      ...this.#around.settings(this),
    });
    this.life++;
    this.#journal = opened.journal;
    this.#busy = false;
    this.#pausedUntilMs = 0;
    this.#mailbox = [];
    this.isStopped = false;
    this.replica = replica;
    this.#around.note(`${this.name} starts at prefix ${replica.prefix}`);
    for (const peer of this.#around.connections(this)) replica.connection(peer, true);
    this.#tickAfter(random.number() * TICK_MS, this.life);
  }

  #read(store: NodeStore, key: string): Uint8Array | undefined {
    if (this.#diesAfterReads !== null && this.#diesAfterReads-- === 0) throw new Died();
    return store.get(key);
  }

  #tickAfter(delayMs: number, life: number): void {
    this.#scheduler.after(delayMs, () => {
      const { replica } = this;
      if (this.life !== life || replica === null) return;
      if (this.isPaused) return this.#tickAfter(this.#pausedUntilMs - this.#scheduler.nowMs, life);
      this.#take(() => {
        replica.tick();
        this.#around.ticked(this, replica);
      }, replica);
      this.pump();
      this.#tickAfter(TICK_MS * this.drift, life);
    });
  }

  /** What becomes of a running peer where its disk or one of its records is not what it must be. Anything else is a bug. */
  #onTrouble(error: unknown): void {
    this.#diesAfterReads = null;
    if (error instanceof Died) return this.#around.died(this);
    const isFull = error instanceof StoreError && error.code === 'DISK_FULL';
    const store = this.#store;
    const isLost = error instanceof InvariantError && store?.lostState === true;
    const isFailed = isLost || (error instanceof StoreError && error.code === 'DISK_FAILED');
    if (store === null || !(isFull || isFailed || isDamage(error))) throw error;
    check(isFull || isFailed || store.isTreated, () => `${this.name} finds damage where nobody did any: ${error}`);
    this.#around.note(`${this.name}: ${error.name}: ${error.message}`);
    if (error instanceof StoreError) this.failedWrites++;
    // The other half of a turn that failed may get there.
    const during = this.#underWay;
    this.#end();
    store.leave(this.#random, false, during);
    this.#around.landed(this, store.look());
    if (isFailed) return this.#stop();
    if (!isFull) return this.start({ code: 'RECORD_DAMAGED', message: error.message });
    const { life } = this;
    // The ballast was freed, or there is no room at all.
    const pauseMs = this.#scheduler.nowMs < this.#fullUntilMs ? FULL_DISK_PAUSE_MS : 0;
    this.#scheduler.after(pauseMs, () => {
      if (this.life === life) this.start();
    });
  }

  /** A record that somebody asked for: looked after once the turn under way is over. */
  #onDamage(error: unknown): void {
    if (!isDamage(error)) return;
    this.#damage ??= error;
    this.pump();
  }

  /** Others know of a later turn of this store, of another run of it, or of one in its place. */
  #onVerdict(verdict: IdentityVerdict): void {
    const { isTreated, wasCopied } = this;
    check(isTreated || wasCopied, () => `${this.name} is told that ${verdict.message}, and nobody did any of that`);
    this.#verdict = verdict;
    this.pump();
  }

  /** Silent already; its store is closed, and opened with what it was told, which stays. */
  #closeWith(verdict: IdentityVerdict): void {
    this.#around.note(`${this.name} is silent: ${verdict.code}, ${verdict.message}`);
    this.replica?.end();
    this.#end();
    this.#store?.leave(this.#random, false, []);
    this.start(verdict);
  }

  #stop(): void {
    this.isStopped = true;
    this.isRunning = false;
    this.lostPower = false;
    this.#around.stopped(this);
  }

  #end(): void {
    this.replica = null;
    this.life++;
    this.#underWay = [];
    this.#verdict = null;
    this.#damage = null;
  }

  /** Quick, with room, and nothing fails any more. */
  repairDisk(): void {
    this.slownessMs = 0;
    this.#fullUntilMs = 0;
    this.#store?.repair();
    if (this.hungUntilMs === Infinity) this.crash(false);
    this.hungUntilMs = 0;
  }

  /** No room for so long, from one of the next writes on. */
  fill(forMs: number, writes: number): void {
    this.#fullUntilMs = this.#scheduler.nowMs + forMs;
    this.#store?.failSoon(writes, 'DISK_FULL');
  }

  /** The process is gone, at whatever point it was; with `powerCut` unsynced writes may be, too. */
  crash(powerCut: boolean): void {
    if (this.replica === null || this.#store === null) return;
    const during = this.#underWay;
    this.#end();
    this.isRunning = false;
    this.lostPower = powerCut;
    this.hungUntilMs = 0;
    this.#store.leave(this.#random, powerCut, during);
    this.#around.note(
      `${this.name} crashes${powerCut ? ', power cut' : ''}${during.map(({ type }) => ` during a ${type}`).join(' and')}`,
    );
    this.#around.landed(this, this.#store.look());
  }

  /** A person says that no other copy of its store runs, and starts it with that. */
  settle(): void {
    this.crash(false);
    this.start(null, true);
  }

  /** The machine is gone for good. */
  retire(): void {
    this.crash(true);
    this.#store = null;
  }

  /** Somebody consents to go on with these alone (R12), while the machine is down. `stepsDone`: cut off after so many writes. */
  recover(survivors: readonly PeerId[], stepsDone = Number.POSITIVE_INFINITY): void {
    const store = this.#store as NodeStore;
    const newIncarnation = (): Incarnation => incarnationFromBytes(this.#random.bytes(16));
    const { opened } = store.open(null, { newIncarnation, isSettled: false });
    const nonce = this.#random.bytes(16);
    const { consent, settle } = consentTo(opened, { self: this.peer, signer: this.signer, survivors, nonce });
    for (const turn of [consent, settle].filter((each) => each !== null).slice(0, stepsDone)) {
      store.write(opened.journal.prepare(turn));
      opened.journal.committed();
    }
    this.#around.landed(this, store.look());
  }

  /** The machine comes back with an empty disk, as a new incarnation. */
  wipe(genesisBytes: Uint8Array): void {
    this.crash(true);
    this.incarnation = incarnationFromBytes(this.#random.bytes(16));
    this.wiped = true;
    this.isStopped = false;
    this.#around.note(`${this.name} lost its disk and is ${this.incarnation.slice(0, 4)} now`);
    this.found(genesisBytes);
  }

  get isPaused(): boolean {
    return this.#scheduler.nowMs < this.#pausedUntilMs;
  }

  /** Stands still, as a sleeping laptop or a process that is out of memory does; frames wait for it, as far as there is room. */
  pause(forMs: number): void {
    if (this.replica === null || this.isPaused) return;
    this.#pausedUntilMs = this.#scheduler.nowMs + forMs;
    const { life } = this;
    this.#scheduler.after(forMs, () => {
      const waiting = this.#mailbox;
      this.#mailbox = [];
      if (this.life !== life || this.replica === null) return;
      const { replica } = this;
      for (const receive of waiting) if (this.life === life) this.#take(receive, replica);
      this.pump();
    });
  }

  /** Later, once the node is not paused any more, if it still lives this life. */
  #later(delayMs: number, life: number, run: () => void): void {
    this.#scheduler.after(delayMs, () => {
      if (this.life !== life) return;
      if (this.isPaused) this.#later(this.#pausedUntilMs - this.#scheduler.nowMs, life, run);
      else run();
    });
  }

  /** Runs a turn soon, if there is something to do. Inputs of one moment share it. */
  pump(): void {
    if (this.#pumpPlanned || this.#busy) return;
    this.#pumpPlanned = true;
    this.#scheduler.after(0, () => {
      this.#pumpPlanned = false;
      this.#turn();
    });
  }

  #turn(): void {
    const { replica } = this;
    if (replica === null || this.#busy || this.isPaused) return;
    this.#guarded(() => {
      if (this.#damage !== null) this.#onTrouble(this.#damage);
      else if (this.#verdict !== null) this.#closeWith(this.#verdict);
      else if (replica.wantsReopening) this.#reopen(replica, this.life);
      else if (replica.isReady) this.#begin(replica, this.life);
    });
  }

  #guarded(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#onTrouble(error);
    }
  }

  #begin(replica: Replica, life: number): void {
    const turn = replica.begin(Math.max(0, Math.round(this.#scheduler.nowMs + 1.7e12 + this.clockSkewMs)));
    this.#sendAll(turn.send, life);
    this.#around.reached(this, 'begun');
    if (this.life !== life) return;
    if (turn.write === null) return this.#finish(replica, life);
    this.#carry(
      turn.write,
      life,
      () => this.#sendAll(replica.batchLanded(), life),
      () => this.#finish(replica, life),
    );
  }

  /** The store changed under its replica: the next one starts from what is on the disk. Who waits for something it wrote is not told any more. */
  #reopen(replica: Replica, life: number): void {
    const write = replica.lastWrite();
    this.#around.note(`${this.name} opens its store anew${write === null ? '' : ', with a snapshot'}`);
    const again = (): void => {
      replica.end();
      this.#end();
      if (write !== null) this.installs++;
      this.start();
    };
    if (write === null) again();
    else this.#carry(write, life, () => undefined, again);
  }

  /**
   * A batch to the disk, then its mark, or both at once where the mark carries the batch, with whatever may come between.
   * @param saved the first of them is there that holds the batch
   * @param done both are. Both calls only in this life
   */
  #carry(write: TurnWrite, life: number, saved: () => void, done: () => void): void {
    const journal = this.#journal as JournalCore;
    const store = this.#store as NodeStore;
    const { ops, mark, isCarried } = journal.prepare(write, true);
    const batch: UnderWay = { type: 'batch', ops };
    const marking: UnderWay = { type: 'mark', ...mark };
    const { batchMinMs, batchMaxMs, markMaxMs } = this.#around.disk;
    let left = 2;
    const wrote = (which: UnderWay): void => {
      this.#underWay = this.#underWay.filter((each) => each !== which);
      left--;
      if (left === 1) {
        if (!isCarried) this.#underWay = [marking];
        this.#around.landed(this, store.view.take(ops));
        saved();
      } else journal.committed();
      this.#around.reached(this, which.type);
      if (this.life !== life) return;
      if (left === 0) {
        this.#busy = false;
        done();
      } else if (!isCarried) writeMark();
    };
    const writeMark = (): void =>
      this.#write(this.slownessMs + this.#random.number() * markMaxMs, life, () => {
        store.writeMark(mark);
        wrote(marking);
      });
    this.#busy = true;
    this.#underWay = isCarried ? [batch, marking] : [batch];
    this.#write(this.slownessMs + batchMinMs + this.#random.number() * (batchMaxMs - batchMinMs), life, () => {
      store.writeBatch(ops);
      wrote(batch);
    });
    if (isCarried) writeMark();
  }

  /** Takes so long, or as long as the disk hangs. */
  #write(forMs: number, life: number, run: () => void): void {
    this.#later(forMs, life, () => {
      if (!this.isHung) return this.#guarded(run);
      if (this.hungUntilMs < Infinity) this.#write(this.hungUntilMs - this.#scheduler.nowMs, life, run);
    });
  }

  #sendAll(list: readonly Outgoing[], life: number): void {
    for (const out of list) {
      if (this.life !== life) return;
      this.#around.send(this, out);
      this.#around.reached(this, 'sending');
    }
  }

  #finish(replica: Replica, life: number): void {
    this.#sendAll(replica.finish(), life);
    if (this.life === life) this.#around.reached(this, 'sent');
    if (this.life !== life) return;
    this.#diesAfterReads = this.#around.diesApplying(this);
    replica.applyTurn();
    this.#diesAfterReads = null;
    this.#around.turned(this);
    this.#around.reached(this, 'applied');
    this.pump();
  }

  /** A frame's worth of bytes or a message comes in. */
  deliver(receive: (replica: Replica) => void): void {
    if (this.replica === null) return;
    if (this.isPaused) {
      if (this.#mailbox.length < MAILBOX_MAX) this.#mailbox.push(receive);
      return;
    }
    this.#take(receive, this.replica);
    this.pump();
  }

  /** What isn't met in a turn of its own ends the peer in production; whoever starts it again looks at the store first. */
  #take(receive: (replica: Replica) => void, replica: Replica): void {
    try {
      receive(replica);
    } catch (error) {
      this.#onTrouble(isDamage(error) ? new StoreError('DISK_FAILED', error.message) : error);
    }
  }

  /** Somebody reads or writes here. Damage that is met then is looked after as if a turn had met it. */
  use(replica: Replica, run: () => void): void {
    if (this.replica !== replica) return;
    this.#guarded(run);
    this.pump();
  }

  frameOf(out: Outgoing): Uint8Array {
    return (this.replica as Replica).frameOf(out, this.#nonce, this.turn);
  }

  /** What stands on its frames now. */
  get head(): FrameHead {
    return (this.replica as Replica).headOf(this.#nonce, this.turn);
  }
}

const NOTHING = new DiskView();

const said = (problems: readonly Finding[] = []): string => problems.map(({ message }) => message).join('; ');
