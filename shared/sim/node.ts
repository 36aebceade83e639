import type { Signer } from '../base/crypto.ts';
import type { Incarnation, PeerId } from '../base/ids.ts';
import { incarnationBytes, incarnationFromBytes, peerFromKey } from '../base/ids.ts';
import type { Random } from '../base/random.ts';
import type { Prepared } from '../driver/journal.ts';
import { JournalCore } from '../driver/journal.ts';
import { MemoryStore, type UnderWay } from '../driver/memory-store.ts';
import { type Answer, type Ask, firstTurn, type OpenedStore, openStore } from '../replica/opening.ts';
import { type Outgoing, Replica, type ReplicaEvents } from '../replica/replica.ts';
import { simSigner, simVerifier } from './keys.ts';
import type { Scheduler } from './scheduler.ts';

export interface DiskTimes {
  batchMinMs: number;
  batchMaxMs: number;
  markMaxMs: number;
}

export interface NodeSurroundings {
  send(from: SimNode, out: Outgoing): void;
  /** After every finished turn. */
  turned(node: SimNode): void;
  events(node: SimNode): ReplicaEvents;
  note(line: string): void;
  readonly disk: DiskTimes;
}

/** One simulated machine: a production replica on a memory disk, with a clock of its own. Everything that is lost in a crash is lost here. */
export class SimNode {
  readonly index: number;
  readonly peer: PeerId;
  readonly signer: Signer;
  readonly incarnation: Incarnation;
  readonly clockSkewMs: number;
  replica: Replica | null = null;
  /** Starts so far. */
  life = 0;
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  readonly #around: NodeSurroundings;
  #store: MemoryStore | null = null;
  #journal: JournalCore | null = null;
  #busy = false;
  #underWay: UnderWay | null = null;
  #pumpPlanned = false;

  constructor(index: number, scheduler: Scheduler, random: Random, around: NodeSurroundings) {
    this.index = index;
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

  /** A new store, whole before it counts (production makes it aside and renames it). */
  found(genesisBytes: Uint8Array): void {
    this.#store = MemoryStore.create();
    const { prepared } = JournalCore.create(
      incarnationBytes(this.incarnation),
      firstTurn(genesisBytes, this.incarnation),
    );
    this.#write(prepared);
    this.start();
  }

  #write({ ops, mark }: Prepared): void {
    const store = this.#store as MemoryStore;
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
      },
      events: this.#around.events(this),
    });
    this.#around.note(`n${this.index} starts at prefix ${this.replica.prefix}`);
    const { life } = this;
    const tick = (): void => {
      if (this.life !== life || this.replica === null) return;
      this.replica.tick();
      this.pump();
      this.#scheduler.after(50, tick);
    };
    this.#scheduler.after(random.number() * 50, tick);
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
        this.#write(ask.prepared);
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
      `n${this.index} crashes${powerCut ? ', power cut' : ''}${during ? ` during a ${during.type}` : ''}`,
    );
  }

  /** Runs a turn soon, if there is something to do. Inputs of one moment share it. */
  pump(): void {
    if (this.#pumpPlanned) return;
    this.#pumpPlanned = true;
    this.#scheduler.after(0, () => {
      this.#pumpPlanned = false;
      this.#turn();
    });
  }

  #turn(): void {
    const { replica, life } = this;
    if (replica === null || this.#busy || !replica.isReady) return;
    const turn = replica.begin(Math.max(0, Math.round(this.#scheduler.nowMs + 1.7e12 + this.clockSkewMs)));
    for (const out of turn.send) this.#around.send(this, out);
    if (turn.write === null) return this.#finish(replica);
    const journal = this.#journal as JournalCore;
    const prepared = journal.prepare(turn.write);
    this.#busy = true;
    const { batchMinMs, batchMaxMs, markMaxMs } = this.#around.disk;
    this.#underWay = { type: 'batch', ops: prepared.ops };
    this.#scheduler.after(batchMinMs + this.#random.number() * (batchMaxMs - batchMinMs), () => {
      if (this.life !== life) return;
      (this.#store as MemoryStore).writeSync(prepared.ops, { sync: true });
      this.#underWay = { type: 'mark', ...prepared.mark };
      this.#scheduler.after(this.#random.number() * markMaxMs, () => {
        if (this.life !== life) return;
        (this.#store as MemoryStore).markWriteSync(prepared.mark.place, prepared.mark.bytes);
        this.#underWay = null;
        journal.committed();
        this.#busy = false;
        this.#finish(replica);
      });
    });
  }

  #finish(replica: Replica): void {
    for (const out of replica.finish()) this.#around.send(this, out);
    this.#around.turned(this);
    this.pump();
  }

  /** A frame's worth of bytes or a message comes in. */
  deliver(receive: (replica: Replica) => void): void {
    if (this.replica === null) return;
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
