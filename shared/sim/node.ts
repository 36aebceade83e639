import type { Signer } from '../base/crypto.ts';
import type { Incarnation, PeerId } from '../base/ids.ts';
import { incarnationBytes, incarnationFromBytes, peerFromKey } from '../base/ids.ts';
import type { KvOp } from '../base/kv.ts';
import type { Random } from '../base/random.ts';
import type { TurnWrite } from '../driver/driver.ts';
import { JournalCore } from '../driver/journal.ts';
import type { Prepared } from '../driver/journal-format.ts';
import { MemoryStore, type UnderWay } from '../driver/memory-store.ts';
import { type Answer, type Ask, firstTurn, type OpenedStore, openStore } from '../replica/opening.ts';
import { type Outgoing, Replica, type ReplicaEvents, type ReplicaSettings } from '../replica/replica.ts';
import { DiskView, type Landed } from './disk-view.ts';
import { simSigner, simVerifier } from './keys.ts';
import type { Step } from './plan.ts';
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
  /** After every finished turn. */
  turned(node: SimNode): void;
  ticked(node: SimNode, replica: Replica): void;
  events(node: SimNode): ReplicaEvents;
  note(line: string): void;
  readonly disk: DiskTimes;
  /** How a node's replica is set up, where that is not as usual: whether it stays on, how patient its policy about voters is. */
  settings?(node: SimNode): ReplicaSettings;
}

const TICK_MS = 50;
/** Frames that wait for a node that stands still; the links drop what is more. */
const MAILBOX_MAX = 500;
const EVERYTHING = { gte: 'c/', lt: 'n', limit: 1_000_000 };

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
  disk = new DiskView();
  /** Starts so far. */
  life = 0;
  /** Snapshots that became its own. */
  installs = 0;
  /** It lost its store and is a new incarnation. */
  wiped = false;
  /** Its writes take so much longer. */
  slownessMs = 0;
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  readonly #around: NodeSurroundings;
  #store: MemoryStore | null = null;
  #journal: JournalCore | null = null;
  #busy = false;
  #underWay: UnderWay | null = null;
  #pumpPlanned = false;
  #pausedUntilMs = 0;
  #mailbox: ((replica: Replica) => void)[] = [];

  constructor(index: number, scheduler: Scheduler, random: Random, around: NodeSurroundings) {
    this.index = index;
    this.name = `n${index}`;
    this.#scheduler = scheduler;
    this.#random = random;
    this.#around = around;
    const key = random.bytes(32);
    this.signer = simSigner(key);
    this.peer = peerFromKey(key);
    this.incarnation = incarnationFromBytes(random.bytes(16));
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

  /** A new store, whole before it counts (production makes it aside and renames it). */
  found(genesisBytes: Uint8Array): void {
    this.#store = MemoryStore.create();
    const { prepared } = JournalCore.create(
      incarnationBytes(this.incarnation),
      firstTurn(genesisBytes, this.incarnation),
    );
    this.#write(this.#store, prepared);
    this.start();
  }

  #write(store: MemoryStore, { ops, mark }: Prepared): void {
    if (ops.length > 0) store.writeSync(ops, { sync: true });
    store.markWriteSync(mark.place, mark.bytes);
  }

  start(): void {
    if (this.replica !== null || this.#store === null) return;
    const opened = this.#open(this.#store);
    if (opened.problems.length > 0)
      throw new Error(`node ${this.index} found damage: ${JSON.stringify(opened.problems)}`);
    this.life++;
    this.#journal = opened.journal;
    this.#busy = false;
    this.#pausedUntilMs = 0;
    this.#mailbox = [];
    const random = this.#random;
    const store = this.#store;
    this.replica = new Replica({
      self: this.peer,
      store: opened,
      ports: {
        signer: this.signer,
        verifier: simVerifier,
        verifyAll: (list) => list.map((signed) => simVerifier.verify(signed)),
        randomBytes: (length) => random.bytes(length),
        random: () => random.number(),
        kv: { get: (key) => store.get(key) },
        snapshot: () => store.snapshotSync(),
      },
      events: this.#around.events(this),
      ...this.#around.settings?.(this),
    });
    this.#around.note(`${this.name} starts at prefix ${this.replica.prefix}`);
    this.#tickAfter(random.number() * TICK_MS, this.life);
  }

  #tickAfter(delayMs: number, life: number): void {
    this.#scheduler.after(delayMs, () => {
      const { replica } = this;
      if (this.life !== life || replica === null) return;
      if (this.isPaused) return this.#tickAfter(this.#pausedUntilMs - this.#scheduler.nowMs, life);
      replica.tick();
      this.#around.ticked(this, replica);
      this.pump();
      this.#tickAfter(TICK_MS * this.drift, life);
    });
  }

  #open(store: MemoryStore): OpenedStore {
    const opening: Generator<Ask, OpenedStore, Answer> = openStore({ get: (key) => store.get(key) });
    let answer: Answer;
    for (;;) {
      const step = opening.next(answer);
      if (step.done) return step.value;
      const ask = step.value;
      if (ask.type === 'scan') answer = store.scanSync(ask.range);
      else if (ask.type === 'marks') answer = store.markReadSync();
      else {
        this.#write(store, ask.prepared);
        answer = undefined;
      }
    }
  }

  /** The process is gone, at whatever point it was; with `powerCut` unsynced writes may be, too. */
  crash(powerCut: boolean): void {
    if (this.replica === null || this.#store === null) return;
    this.replica = null;
    this.life++;
    const during = this.#underWay;
    this.#underWay = null;
    const choice = this.#random;
    if (powerCut || during) this.#store = this.#store.crash(during ? { choice, during } : { choice });
    else this.#store = this.#store.reopen(choice);
    this.#around.note(
      `${this.name} crashes${powerCut ? ', power cut' : ''}${during ? ` during a ${during.type}` : ''}`,
    );
    this.#look();
  }

  /** What is on the disk now, whatever became of the write that was under way. */
  #look(): void {
    const store = this.#store as MemoryStore;
    const applied = ['s/applied', 'z/applied'].flatMap((key) => store.scanSync({ gte: key, lt: `${key}!`, limit: 1 }));
    const rows = [...store.scanSync(EVERYTHING), ...applied];
    const ops = rows.map(([key, value]): KvOp => ({ type: 'put', key, value }));
    this.#around.landed(this, this.disk.take(ops));
  }

  /** The machine comes back with an empty disk, as a new incarnation. */
  wipe(genesisBytes: Uint8Array): void {
    this.crash(true);
    this.incarnation = incarnationFromBytes(this.#random.bytes(16));
    this.disk = new DiskView();
    this.wiped = true;
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
      for (const receive of waiting) receive(this.replica);
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
    if (replica.wantsReopening) return this.#reopen(replica);
    if (!replica.isReady) return;
    const turn = replica.begin(Math.max(0, Math.round(this.#scheduler.nowMs + 1.7e12 + this.clockSkewMs)));
    for (const out of turn.send) this.#around.send(this, out);
    if (turn.write === null) return this.#finish(replica);
    this.#writeTurn(
      turn.write,
      () => {
        for (const out of replica.batchLanded()) this.#around.send(this, out);
      },
      () => this.#finish(replica),
    );
  }

  /** A batch and its mark, with whatever may come between. Both calls only in this life. */
  #writeTurn(write: TurnWrite, landed: () => void, done: () => void): void {
    const { life } = this;
    const journal = this.#journal as JournalCore;
    const { ops, mark } = journal.prepare(write);
    this.#busy = true;
    const { batchMinMs, batchMaxMs, markMaxMs } = this.#around.disk;
    this.#underWay = { type: 'batch', ops };
    const batchMs = this.slownessMs + batchMinMs + this.#random.number() * (batchMaxMs - batchMinMs);
    this.#later(batchMs, life, () => {
      (this.#store as MemoryStore).writeSync(ops, { sync: true });
      this.#underWay = { type: 'mark', ...mark };
      this.#around.landed(this, this.disk.take(ops));
      if (this.life === life) landed();
      this.#around.reached(this, 'batch');
      this.#later(this.#random.number() * markMaxMs, life, () => {
        (this.#store as MemoryStore).markWriteSync(mark.place, mark.bytes);
        this.#underWay = null;
        journal.committed();
        this.#around.reached(this, 'mark');
        if (this.life !== life) return;
        this.#busy = false;
        done();
      });
    });
  }

  /** The store changed under its replica: the next one starts from what is on the disk. Who waits for something it wrote is not told any more. */
  #reopen(replica: Replica): void {
    const write = replica.lastWrite();
    const again = (): void => {
      replica.end();
      this.replica = null;
      if (write !== null) this.installs++;
      this.start();
    };
    this.#around.note(`${this.name} opens its store anew${write === null ? '' : ', with a snapshot'}`);
    if (write === null) again();
    else this.#writeTurn(write, () => undefined, again);
  }

  #finish(replica: Replica): void {
    for (const out of replica.finish()) this.#around.send(this, out);
    replica.applyTurn();
    this.#around.turned(this);
    this.#around.reached(this, 'sent');
    this.pump();
  }

  /** A frame's worth of bytes or a message comes in. */
  deliver(receive: (replica: Replica) => void): void {
    if (this.replica === null) return;
    if (this.isPaused) {
      if (this.#mailbox.length < MAILBOX_MAX) this.#mailbox.push(receive);
      return;
    }
    receive(this.replica);
    this.pump();
  }

  frameOf(out: Outgoing): Uint8Array {
    return (this.replica as Replica).frameOf(
      out,
      incarnationBytes(this.incarnation).slice(0, 8),
      this.#journal?.lastTurn ?? 0,
    );
  }
}
