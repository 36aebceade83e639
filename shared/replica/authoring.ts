import { toHex } from '../base/bytes.ts';
import type { Signer } from '../base/crypto.ts';
import type { GroupId, Incarnation, PeerId } from '../base/ids.ts';
import type { KvOp } from '../base/kv.ts';
import { commandsValue } from '../consensus/value.ts';
import {
  type Applied,
  type Body,
  batchHash,
  type DocumentReader,
  decodeRun,
  encodeBatch,
  type Refused,
  type Run,
} from '../document/index.ts';
import type { NextValue } from '../driver/driver.ts';
import {
  type EditWish,
  encodeTail,
  type Outbox,
  type Pending,
  Pool,
  type Settling,
  TAIL_KEY,
  type Written,
} from '../session/index.ts';
import type { SessionMessage } from '../wire/session-messages.ts';
import { evidenceOf, mayFollow } from './authoring-evidence.ts';
import type { Verdicts } from './ingress.ts';
import { Offers } from './offers.ts';
import type { OpenedStore } from './opening.ts';
import type { Carried, Outcomes } from './ports.ts';
import { Rescue } from './recovery-rescue.ts';

/**
 * With two values on their way a further one waits until it is worth a round of signing, syncing and sending: small ones would cost a busy
 * leader more than they bring. Values, commands, bytes.
 */
const BUSY_VALUES = 2;
const WORTH_COMMANDS = 128;
const WORTH_BYTES = 64 * 1024;

const WRITE_REFUSED_DAMAGED: Refused = { refused: 'SESSION_CLOSED', detail: 'this store is damaged' };
/** It would never learn what became of it. */
const WRITE_REFUSED_WITNESS: Refused = {
  refused: 'SESSION_CLOSED',
  detail: 'this machine is a witness and keeps no entries',
};

export interface AuthoringInit {
  readonly self: PeerId;
  readonly group: GroupId;
  readonly incarnation: Incarnation;
  readonly store: OpenedStore;
  readonly outbox: Outbox;
  readonly reader: DocumentReader;
  readonly verdicts: Verdicts;
  readonly signer: Signer;
  readonly leader: () => PeerId | null;
  /** Values of this leader that are not chosen yet. */
  readonly inFlight: () => number;
  readonly isWitness: () => boolean;
  readonly say: (to: PeerId, message: SessionMessage) => void;
  /** The group knows commands of this store that it does not know itself. */
  readonly onForked: () => void;
  readonly onProblem: (code: string, message: string) => void;
}

/**
 * Commands on their way into the log: this peer's own, from the wish over the disk to the leader and back to whoever waits (R8), and at the leader everybody's,
 * until they are in a value.
 */
export class Authoring {
  readonly #init: AuthoringInit;
  readonly #outbox: Outbox;
  readonly #pool: Pool;
  readonly #offers: Offers;
  readonly #rescue: Rescue;
  readonly #waiting = new Map<number, Outcomes>();
  /** Handles whose command is in the batch of the turn under way. */
  #cutHandles: number[] = [];
  #uncutHandles: number[] = [];
  #cutSeq: number;
  #savedSeq: number;
  /** Since the last turn began. */
  #hasTicked = false;
  /** What the next turn has to write down beside the commands: what loading the outbox left, what was dismissed. */
  #ownOps: KvOp[];
  /** Something came in that is no input of the core: the next turn has to look at it. */
  #hasNews = false;

  constructor(init: AuthoringInit) {
    const { store, outbox, reader } = init;
    this.#init = init;
    this.#outbox = outbox;
    this.#pool = new Pool((session) => reader.session(session.peer, session.incarnation)?.lastSeq ?? 0);
    this.#offers = new Offers(outbox);
    this.#rescue = new Rescue(store.rescued);
    const loaded = outbox.load([...store.outbox, ...store.refused], reader);
    this.#cutSeq = outbox.lastSeq;
    this.#savedSeq = outbox.lastSeq;
    this.#ownOps = [...loaded.ops];
    this.#takeSettling(loaded);
  }

  get lastOwnSeq(): number {
    return Math.max(this.#outbox.lastSeq, this.#init.store.markedOwnSeq);
  }

  get hasWork(): boolean {
    return this.#mayCut || this.#ownOps.length > 0 || this.#hasNews;
  }

  get hasOwnOps(): boolean {
    return this.#ownOps.length > 0;
  }

  /** In the next batch. */
  write(ops: readonly KvOp[]): void {
    this.#ownOps.push(...ops);
  }

  // --- this peer's wishes

  add(body: Body, written: Written, outcomes: Outcomes, options: { readonly quiet?: boolean }): Pending | Refused {
    return this.#refusal ?? this.#await(this.#begin(written).add(body, written, options), outcomes);
  }

  edit(wish: EditWish, written: Written, outcomes: Outcomes): Pending | Refused {
    return this.#refusal ?? this.#await(this.#begin(written).edit(this.#init.reader, wish, written), outcomes);
  }

  get #refusal(): Refused | null {
    if (!this.#isSound) return WRITE_REFUSED_DAMAGED;
    return this.#init.isWitness() ? WRITE_REFUSED_WITNESS : null;
  }

  get #isSound(): boolean {
    return this.#init.store.problems.length === 0;
  }

  /** A store that was reborn begins with a session of its own, whatever of the log it has: it ends its former one (R8). */
  #begin(written: Written): Outbox {
    if (this.#init.store.reborn !== null && this.#isSound && this.#outbox.lastSeq === 0) {
      this.#outbox.openSession({ ...written, writer: '' });
    }
    return this.#outbox;
  }

  #await(made: Pending | Refused, outcomes: Outcomes): Pending | Refused {
    if ('refused' in made) return made;
    this.#waiting.set(made.handle, outcomes);
    this.#uncutHandles.push(made.handle);
    return made;
  }

  /** @see Replica.rejoin */
  rejoin(pending: Pending, outcomes: Outcomes): Pending | null {
    const handle = this.#outbox.handleOf(pending);
    if (handle === null) return null;
    this.#waiting.set(handle, outcomes);
    return { ...pending, handle };
  }

  forget(handle: number): void {
    this.#waiting.delete(handle);
  }

  // --- a turn

  tick(): void {
    this.#hasTicked = true;
    this.#offers.tick();
    this.#pumpOffers();
  }

  /** What this turn's batch saves of one's own. @param written what a session that begins by itself says */
  beginTurn(written: Written): readonly KvOp[] {
    this.#hasNews = false;
    this.#begin(written);
    const ops = [...this.#ownOps];
    this.#ownOps = [];
    const mayCut = this.#mayCut;
    this.#hasTicked = false;
    if (mayCut) {
      const cut = this.#outbox.cut(this.#init.signer);
      for (const run of cut.runs) this.#init.verdicts.trust(run);
      this.#cutSeq = this.#outbox.lastSeq;
      ops.push(...cut.ops, {
        type: 'put',
        key: TAIL_KEY,
        value: encodeTail({ seq: this.#outbox.lastSeq, hash: this.#outbox.lastHash }),
      });
    }
    if (mayCut || !this.#outbox.needsCut) {
      this.#cutHandles = this.#uncutHandles;
      this.#uncutHandles = [];
    }
    return ops;
  }

  get #leads(): boolean {
    return this.#init.leader() === this.#init.self;
  }

  get #isBusy(): boolean {
    return this.#leads && this.#init.inFlight() >= BUSY_VALUES;
  }

  /** Saving never waits for the group: a busy leader's own commands are held back until the next tick at most. */
  get #mayCut(): boolean {
    if (!this.#outbox.needsCut) return false;
    return this.#hasTicked || !this.#isBusy || this.#outbox.uncut >= WORTH_COMMANDS;
  }

  /** The turn's batch is on the disk, and its mark. */
  persisted(): void {
    this.#savedSeq = this.#cutSeq;
    for (const handle of this.#cutHandles) this.#waiting.get(handle)?.saved?.();
    this.#cutHandles = [];
    this.#pumpOffers();
  }

  /** What a slot did to sessions, before anybody is told. */
  applied({ outcomes }: Applied, write: (ops: readonly KvOp[]) => void): void {
    if (outcomes.length === 0) return;
    const settling = this.#outbox.onOutcomes(outcomes, this.#init.reader);
    write(settling.ops);
    this.#takeSettling(settling);
    for (const { peer, incarnation, seq } of outcomes) {
      if (peer === this.#init.self && incarnation === this.#init.incarnation) this.#offers.onSettled(seq);
    }
  }

  #takeSettling({ settled, forked }: Settling): void {
    if (forked) this.#init.onForked();
    for (const { handle, verdict } of settled) {
      const outcomes = this.#waiting.get(handle);
      this.#waiting.delete(handle);
      outcomes?.settled?.(verdict);
    }
  }

  // --- to the leader

  onLeader(): void {
    this.#pool.reset();
    this.#offers.onLeader(this.#init.leader());
  }

  onConnected(peer: PeerId): void {
    this.#offers.onConnected(peer);
  }

  #pumpOffers(): void {
    if (this.#init.leader() === null || this.#leads) return;
    const next = this.#offers.next(this.#savedSeq);
    if (next !== null) this.#offer(next.to, next.runs);
  }

  #offer(to: PeerId, runs: readonly Run[]): void {
    this.#init.say(to, { type: 'offer', runs: runs.map((run) => run.bytes) });
  }

  /** What a log held that others went on without, and that this one may not have yet. */
  offerRescued(): void {
    const leader = this.#init.leader();
    if (leader === null || this.#rescue.isEmpty) return;
    const runs = this.#rescue.tick(this.#init.reader, (ops) => this.write(ops));
    if (runs.length === 0) return;
    if (!this.#leads) this.#offer(leader, runs);
    else for (const run of runs) if (this.#init.verdicts.of(run)) this.#pool.offer(run);
  }

  // --- signed commands that people carry

  /** Signed commands that are here and not agreed: own ones that are on the disk, and others' that wait in the pool. */
  carriedRuns(): readonly Run[] {
    const own = this.#outbox
      .carriedRuns()
      .filter((run) => run.incarnation !== this.#init.incarnation || run.lastSeq <= this.#savedSeq);
    return [...own, ...this.#pool.waiting().filter((run) => !this.#isOwn(run))];
  }

  #isOwn(run: Run): boolean {
    return run.peer === this.#init.self && run.incarnation === this.#init.incarnation;
  }

  /** @see Replica.relay */
  relay(runs: readonly Run[], then: (carried: readonly Carried[] | null) => void): void | Promise<void> {
    return this.#init.verdicts.ensure(runs, () => {
      const leader = this.#init.leader();
      if (leader === null) return then(null);
      const carried = this.#carry(runs);
      const sent = runs.filter((_, i) => carried[i] === 'new');
      if (!this.#leads && sent.length > 0) this.#offer(leader, sent);
      this.#hasNews = true;
      then(carried);
    });
  }

  /** The last first: what proves a run proves those that it follows on. */
  #carry(runs: readonly Run[]): readonly Carried[] {
    const proved = new Set<string>();
    const judged = runs.toReversed().map((run): Carried | null => this.#judged(run, proved));
    return judged.toReversed().map((carried, i) => carried ?? this.#handOver(runs[i] as Run));
  }

  /** What the applied state says of a run; null where it is still to be judged. @param proved the hashes of commands that surely were judged, added to */
  #judged(run: Run, proved: Set<string>): Carried | null {
    const { reader } = this.#init;
    if (run.group !== this.#init.group || !this.#init.verdicts.of(run)) return 'refused';
    const session = reader.session(run.peer, run.incarnation);
    if (session !== undefined) {
      const { took, isOfTheChain } = evidenceOf(reader, run, session, proved.has(toHex(run.lastHash)));
      if (isOfTheChain) proved.add(toHex(run.prev));
      if (took) return 'known';
      if (session.closed || run.lastSeq <= session.lastSeq || !mayFollow(run, session)) return 'refused';
    }
    return reader.member(run.peer)?.expelledSlot === null ? null : 'refused';
  }

  /** What waits here, or is on its way, is not agreed yet. */
  #handOver(run: Run): Carried {
    if (!this.#leads) return 'new';
    const offered = this.#pool.offer(run);
    return offered === 'kept' || offered === 'duplicate' ? 'new' : 'refused';
  }

  // --- at the leader

  /** Somebody's commands came in. @throws FormatError */
  onOffer(from: PeerId, bytes: readonly Uint8Array[]): void | Promise<void> {
    const runs = bytes.map(decodeRun).filter((run) => run.group === this.#init.group);
    return this.#init.verdicts.ensure(runs, () => {
      if (!this.#leads) return;
      for (const run of runs) {
        if (!this.#init.verdicts.of(run)) {
          return this.#init.onProblem('BAD_SIGNATURE', `${from} offered a command whose signature is wrong`);
        }
        const offered = this.#pool.offer(run);
        if (offered === 'gap' || offered === 'full') return;
      }
      this.#hasNews = true;
    });
  }

  nextValue(nowMs: number): NextValue | null {
    this.#feedPool();
    if (this.#isBusy && this.#pool.bytes < WORTH_BYTES) return null;
    const runs = this.#pool.take();
    if (runs.length === 0) return null;
    return {
      value: commandsValue(encodeBatch(nowMs, runs), batchHash),
      afterBatch: runs.some((run) => this.#isOwn(run) && run.lastSeq > this.#savedSeq),
      awaitedBy: [...new Set(runs.map((run) => run.peer))],
    };
  }

  /** Own runs go to the pool where this peer leads. Those of this very turn too: their Accept waits for the disk. */
  #feedPool(): void {
    if (!this.#leads) return;
    for (let next = this.#offers.next(this.#cutSeq); next !== null; next = this.#offers.next(this.#cutSeq)) {
      for (const run of next.runs) {
        const offered = this.#pool.offer(run);
        if (offered === 'full' || offered === 'gap') return this.#offers.notTaken(run.firstSeq - 1);
      }
    }
  }
}
