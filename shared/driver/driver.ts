import { assert, unreachable } from '../base/assert.ts';
import type { Cbor } from '../base/cbor.ts';
import { type Incarnation, type PeerId, type Slot, slot } from '../base/ids.ts';
import { type KvOp, MissingRecordError } from '../base/kv.ts';
import { type Ballot, encodeBallot } from '../consensus/ballot.ts';
import type { Core } from '../consensus/core.ts';
import type { Effect, Input } from '../consensus/io.ts';
import type { Message } from '../consensus/messages.ts';
import type { HashPayload, Value } from '../consensus/value.ts';
import { decodeDigest, decodeLogRecord, digestKey, logKey, logOps } from './layout.ts';
import type { Missing } from './missing.ts';
import { type Overlay, sealed } from './overlay.ts';

/** What the driver drives above the core: the state machine and the author's own commands. */
export interface Application {
  /** The last slot that the state machine has applied, as its records say. */
  readonly applied: Slot;
  /** False while something newer than this program waits to be applied. */
  readonly canApply: boolean;
  /** Own commands wait to be signed and saved. */
  hasWork(): boolean;
  /** Before the turn's inputs. What comes back is in this turn's batch, so it is saved when `persisted` is called. */
  beginTurn(nowMs: number): readonly KvOp[];
  /** The next value for a free slot, while this peer leads. `afterBatch`: it holds commands that this turn's batch is still to save. */
  nextValue(nowMs: number): NextValue | null;
  /** As a batch with everything applied so far is being put together, after all of the turn's inputs: what else goes with it. */
  beforeWrite(): readonly KvOp[];
  /** The turn's batch is on the disk. */
  persisted(): void;
  /** In order, every slot once. What is written can be read at once, and joins a batch before long. */
  apply(at: Slot, value: Value, digest: Uint8Array, write: (ops: readonly KvOp[]) => void): void;
  /** All of the turn's commits are applied. */
  turnApplied(): void;
  onLeader(leader: PeerId | null, ballot: Ballot | null, self: boolean): void;
  onBarrier(id: number, at: Slot): void;
  /** The last slot that `peer` may be given; null for all. */
  serveLimit(peer: PeerId): Slot | null;
  /** What of the prefix is not here. */
  readonly missing: Missing;
  /** A stored value can't be read; somebody else will have to serve it. */
  onDamage(key: string, error: unknown): void;
  /** The number of the last own command that is on its way to the disk with this batch; 0 where there is none. */
  readonly lastOwnSeq: number;
}

export type NextValue = Omit<Extract<Input, { type: 'propose' }>, 'type'>;

export interface Outgoing {
  readonly to: readonly PeerId[];
  readonly message: Message;
}

/** One atomic batch and what the mark says after it. */
export interface TurnWrite {
  readonly ops: readonly KvOp[];
  /** `[slot, ballot, value hash]` of everything accepted above the prefix. */
  readonly accepted: readonly Cbor[];
  readonly promise: Cbor;
  readonly lastOwnSeq: number;
  /** Something leaves as soon as the batch is on the disk (`batchLanded`), and others wait for that. */
  readonly speaksOnceSaved: boolean;
}

export interface Turn {
  /** May leave before the write, in any order with it. */
  readonly send: readonly Outgoing[];
  /** Null: nothing has to reach the disk in this turn. */
  readonly write: TurnWrite | null;
}

const INPUTS_PER_TURN_MAX = 512;
/** Records that follow from the log (the applied state) are written together, now and then: so much of them is enough. Bytes. */
const LAZY_BYTES_MAX = 1024 * 1024;
/** One answer to a Fetch. Bytes of values (a larger one goes alone), and values. */
const SERVE_BYTES_MAX = 256 * 1024;
const SERVE_VALUES_MAX = 256;
const REPLAY_PER_TURN = 256;
/** And this is long enough. */
const LAZY_TICKS_MAX = 1;

/**
 * Turns the core's effects into ordered batches: persist, then send, then apply. Sans-I/O, so that the order that the simulator checks is the
 * order that production runs. The caller loops: `begin`, send `turn.send`, write `turn.write`, `batchLanded`, send what that returns, write the mark,
 * `finish`, send what that returns, `apply`; without a write `finish` follows `begin`.
 * All inputs that came meanwhile share the next turn, and so one write (group commit).
 */
export class Driver {
  readonly #core: Core;
  readonly #app: Application;
  readonly #self: PeerId;
  readonly #incarnation: Incarnation;
  readonly #overlay: Overlay;
  readonly #hash: HashPayload;
  #inputs: Input[] = [];
  #underWay: { turn: Turn; effects: readonly Effect[]; hasLanded: boolean } | null = null;
  /** Ticks since something waits to be written. */
  #lazyTicks = 0;
  /** Own commands are among what waits, so this turn writes. */
  #ownSaved = false;
  /** Slots up to here were chosen before the start; those not yet applied are replayed first. */
  readonly #replayUpTo: Slot;

  constructor(init: {
    readonly core: Core;
    readonly app: Application;
    readonly self: PeerId;
    readonly incarnation: Incarnation;
    readonly overlay: Overlay;
    readonly hash: HashPayload;
  }) {
    this.#core = init.core;
    this.#app = init.app;
    this.#self = init.self;
    this.#incarnation = init.incarnation;
    this.#overlay = init.overlay;
    this.#hash = init.hash;
    this.#replayUpTo = init.core.prefix;
  }

  enqueue(input: Input): void {
    this.#inputs.push(input);
  }

  get queuedInputs(): number {
    return this.#inputs.length;
  }

  /** Something to do, and no turn under way. */
  get isReady(): boolean {
    if (this.#underWay !== null) return false;
    return this.#inputs.length > 0 || this.#app.hasWork() || this.#mustReplay || this.#mustFlush;
  }

  /** The last turns before a stop: nothing is left waiting. */
  flush(): void {
    this.#lazyTicks = LAZY_TICKS_MAX;
  }

  /** Everything that was decided is on the disk. */
  get isFlushed(): boolean {
    return this.#overlay.isEmpty && this.#underWay === null;
  }

  get #mustFlush(): boolean {
    return this.#lazyTicks >= LAZY_TICKS_MAX && !this.#overlay.isEmpty;
  }

  get #mustReplay(): boolean {
    return this.#app.canApply && this.#app.applied < this.#replayUpTo;
  }

  /** Starts a turn. @param nowMs the wall clock, for people to read. @throws InvariantError: the group must stop. */
  begin(nowMs: number): Turn {
    assert(this.#underWay === null, 'one turn at a time');
    const effects: Effect[] = this.#mustReplay ? this.#replay() : this.#stepAll(nowMs);
    const send: Outgoing[] = [];
    let hasToPersist = false;
    for (const e of effects) {
      switch (e.type) {
        case 'persist':
          this.#overlay.add(logOps(e.op));
          // A promise or an acceptance is what others will count on; the rest follows from values that a quorum holds.
          if (e.op.type === 'promise' || e.op.type === 'accept') hasToPersist = true;
          break;
        case 'send':
          send.push(e);
          break;
        case 'sendAfterBatch':
        case 'sendAfterPersist':
          hasToPersist ||= this.#overlay.isWaiting;
          break;
        case 'serve':
        case 'commit':
        case 'leader':
        case 'barrier':
          break;
        default:
          unreachable(e);
      }
    }
    // Once all of the turn's records can be read: what it chose may be asked for in this very turn.
    // One answer to each, however often it asked.
    const asked = new Map(effects.flatMap((e) => (e.type === 'serve' ? [[e.to, e.from] as const] : [])));
    for (const [to, from] of asked) {
      const message = this.#serve(from, this.#app.serveLimit(to));
      if (message !== null) send.push({ to: [to], message });
    }
    const everything = this.#overlay.waitingBytes > LAZY_BYTES_MAX || this.#lazyTicks >= LAZY_TICKS_MAX;
    const writes = (hasToPersist || this.#ownSaved || everything) && !this.#overlay.isEmpty;
    if (writes && everything) this.#overlay.add(this.#app.beforeWrite());
    const ops = writes ? this.#overlay.take(everything) : [];
    if (this.#overlay.isEmpty) this.#lazyTicks = 0;
    const speaksOnceSaved = effects.some(({ type }) => type === 'sendAfterBatch');
    const write = ops.length > 0 ? this.#turnWrite(ops, speaksOnceSaved) : null;
    this.#ownSaved = false;
    const turn: Turn = { send, write };
    this.#underWay = { turn, effects, hasLanded: false };
    return turn;
  }

  #stepAll(nowMs: number): Effect[] {
    const own = this.#app.beginTurn(nowMs);
    if (own.length > 0) {
      this.#overlay.add(own);
      this.#ownSaved = true;
    }
    const effects: Effect[] = [];
    const step = (input: Input): void => {
      for (const effect of this.#core.step(input)) {
        effects.push(effect);
        if (effect.type === 'leader') this.#app.onLeader(effect.leader, effect.ballot, effect.self);
      }
    };
    const inputs = this.#inputs;
    this.#inputs = inputs.length > INPUTS_PER_TURN_MAX ? inputs.splice(INPUTS_PER_TURN_MAX) : [];
    for (const input of inputs) {
      if (input.type === 'tick') this.#lazyTicks++;
      step(input);
    }
    while (this.#core.room() > 0) {
      const next = this.#app.nextValue(nowMs);
      if (next === null) break;
      step({ type: 'propose', ...next });
    }
    step({ type: 'turn-end' });
    return effects;
  }

  /**
   * Between two turns, the last words of this driver: everything that waits, and `ops` over it, in one batch. Then the store is opened anew.
   * @param prefix the chosen prefix that the store then has; what was accepted up to it is listed no more
   */
  last(ops: readonly KvOp[], prefix: Slot): TurnWrite {
    assert(this.#underWay === null, 'a store changes between turns only');
    this.#overlay.add(ops);
    return this.#turnWrite(this.#overlay.take(true), false, prefix);
  }

  #turnWrite(ops: readonly KvOp[], speaksOnceSaved: boolean, above = this.#core.prefix): TurnWrite {
    const accepted = [...this.#core.accepted].filter(([at]) => at > above);
    return {
      ops: ops.map(sealed),
      accepted: accepted.map(([at, a]) => [at, encodeBallot(a.ballot), a.value.hash]),
      promise: encodeBallot(this.#core.promised),
      lastOwnSeq: this.#app.lastOwnSeq,
      speaksOnceSaved,
    };
  }

  /** The turn's batch is on the disk, its mark not yet. Returns what may be said now. */
  batchLanded(): readonly Outgoing[] {
    const underWay = this.#underWay;
    assert(underWay !== null && !underWay.hasLanded, 'a batch lands once');
    underWay.hasLanded = true;
    return underWay.effects.flatMap((e) => (e.type === 'sendAfterBatch' ? [e] : []));
  }

  /** The turn's write is on the disk, the mark too, or there was none. Returns what may be said now; then comes `apply`. @throws InvariantError */
  finish(): readonly Outgoing[] {
    const underWay = this.#underWay;
    assert(underWay !== null, 'a turn is under way');
    assert(underWay.hasLanded || underWay.turn.write === null, 'the batch comes before its mark');
    this.#overlay.landed();
    const send: Outgoing[] = [];
    this.#app.persisted();
    for (const e of underWay.effects) {
      if (e.type !== 'sendAfterPersist') continue;
      const others = e.to.filter((peer) => peer !== this.#self);
      if (others.length < e.to.length) this.#inputs.push(selfInput(this.#self, this.#incarnation, e.message));
      if (others.length > 0) send.push({ to: others, message: e.message });
    }
    return send;
  }

  /** What the turn chose is applied, after all that others wait for has left; then the turn is over. @throws InvariantError */
  apply(): void {
    const underWay = this.#underWay;
    assert(underWay !== null, 'a turn is under way');
    this.#underWay = null;
    for (const e of underWay.effects) {
      if (e.type === 'commit') this.#app.apply(e.slot, e.value, e.digest, (ops) => this.#overlay.defer(ops));
      else if (e.type === 'barrier') this.#app.onBarrier(e.id, e.slot);
    }
    this.#app.turnApplied();
  }

  /** Chosen before the start, applied or not: the state machine's records say how far it came. */
  #replay(): Effect[] {
    const effects: Effect[] = [];
    const last = Math.min(this.#replayUpTo, this.#app.applied + REPLAY_PER_TURN);
    for (let at = this.#app.applied + 1; at <= last; at++) {
      const { value, digest } = this.#read(slot(at));
      effects.push({ type: 'commit', slot: slot(at), value, digest });
    }
    return effects;
  }

  /** @throws RecordError, FormatError, MissingRecordError */
  #read(at: Slot): { value: Value; digest: Uint8Array } {
    const record = this.#overlay.get(logKey(at));
    const digest = this.#overlay.get(digestKey(at));
    if (!record) throw new MissingRecordError(logKey(at));
    if (!digest) throw new MissingRecordError(digestKey(at));
    return {
      value: decodeLogRecord(record, this.#hash).value,
      digest: decodeDigest(digest),
    };
  }

  #serve(from: Slot, limit: Slot | null): Message | null {
    const gap = this.#app.missing.at(from);
    if (gap !== null) return { type: 'not-held', from, held: slot(gap.to + 1) };
    // Not to be had here: said, so that others are asked and not this one again.
    if (limit !== null && from > limit) return { type: 'not-held', from, held: slot(this.#core.prefix + 1) };
    const values: Value[] = [];
    const prefix = limit === null ? this.#core.prefix : slot(Math.min(limit, this.#core.prefix));
    let bytes = 0;
    let digest: Uint8Array | null = null;
    for (let at = from as number; at <= prefix && values.length < SERVE_VALUES_MAX; at++) {
      if (this.#app.missing.at(at) !== null) break;
      try {
        const read = this.#read(slot(at));
        if (bytes > 0 && bytes + read.value.bytes.length > SERVE_BYTES_MAX) break;
        bytes += read.value.bytes.length;
        values.push(read.value);
        digest = read.digest;
      } catch (error) {
        this.#app.onDamage(logKey(at), error);
        break;
      }
    }
    return digest === null ? null : { type: 'values', from, values, digest, prefix };
  }
}

function selfInput(from: PeerId, incarnation: Incarnation, message: Message): Input {
  return { type: 'message', from, incarnation, message };
}
