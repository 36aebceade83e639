import { assert } from '../base/assert.ts';
import { equal } from '../base/bytes.ts';
import { FormatError } from '../base/cbor.ts';
import type { Verifier } from '../base/crypto.ts';
import { ZERO_HASH } from '../base/hash.ts';
import { groupIdOf, type Incarnation, type PeerId, type Seq, type Slot, slot as slotOf } from '../base/ids.ts';
import { type KvOp, type KvReader, present } from '../base/kv.ts';
import { type Batch, NewerBatchError, takeBatch } from './batch.ts';
import { decodePayload, type Payload, UnknownKindError } from './bodies.ts';
import { clockMark, notePlaced } from './clock.ts';
import type { Command } from './command.ts';
import { decodeGenesis } from './genesis.ts';
import { judge } from './judge.ts';
import { type Change, isRefused, type Outcome, refuse, type Verdict } from './judging.ts';
import { KINDS } from './kinds.ts';
import { admitMember, keepersAmong, memberOf, metaOf, NEW_SESSION } from './membership.ts';
import { Overlay } from './overlay.ts';
import {
  type AppliedRecord,
  appliedPlace,
  type ClockRecord,
  clockPlace,
  memberPlace,
  metaPlace,
  REFUSALS_KEPT,
  type SessionRecord,
  sessionPlace,
} from './records.ts';
import type { Run } from './run.ts';
import { StateSum } from './sum.ts';

/**
 * Why a command left no trace. None of these consumes a seq: the author sends again, or there is nothing to send.
 * - `format`: the value is no batch at all
 * - `group`: signed for another group
 * - `signature`: not by the peer it names
 * - `stranger`: the peer never was a member, or the session was not opened by its first command
 * - `duplicate`: judged before
 * - `gap`: an earlier command is missing
 * - `fork`: another command than this one's predecessor was judged
 */
export type IgnoredWhy = 'format' | 'group' | 'signature' | 'stranger' | 'duplicate' | 'gap' | 'fork';

export interface Ignored {
  readonly why: IgnoredWhy;
  readonly peer: PeerId | null;
  readonly incarnation: Incarnation | null;
  /** Null where it is about a whole run or value. */
  readonly seq: Seq | null;
}

/** The value took effect. `ops` move state, sessions, applied slot and state hash together: one atomic write. */
export interface Applied {
  readonly type: 'applied';
  readonly ops: readonly KvOp[];
  readonly outcomes: readonly Outcome[];
  readonly changes: readonly Change[];
  readonly ignored: readonly Ignored[];
}

/**
 * The value holds something that this build does not know, and nothing of it was applied. Applying stops here until the
 * program is updated; voting and serving go on (R10).
 */
export interface UpdateNeeded {
  readonly type: 'update-needed';
  readonly slot: Slot;
  readonly why: string;
}

export interface DocumentPorts {
  /** Reads what was applied before, through writes that are not on the disk yet. */
  readonly reader: KvReader;
  /** The verdict on a run's signature, reached before. Must be the same on every peer. */
  verifyRun(run: Run): boolean;
  /** For the one signature that is judged at apply: a joiner's. */
  readonly verifier: Verifier;
}

/** The replicated state machine: a function of the log alone. It holds no state of its own: all of it is in the records. */
export class Document {
  readonly #ports: DocumentPorts;

  constructor(ports: DocumentPorts) {
    this.#ports = ports;
  }

  /** The next slot's value: a batch of commands. Slots come one after the other. */
  apply(slot: Slot, payload: Uint8Array): Applied | UpdateNeeded {
    const batch = readBatch(payload);
    if (batch === 'newer') return { type: 'update-needed', slot, why: 'a value in a newer format' };
    const applying = new Applying(this.#ports, slot, payload.length);
    if (batch === 'bad') applying.ignored.push({ why: 'format', peer: null, incarnation: null, seq: null });
    else {
      try {
        applying.batch(batch);
      } catch (error) {
        if (error instanceof Unknown) return { type: 'update-needed', slot, why: error.message };
        throw error;
      }
    }
    return applying.finish();
  }

  /** The next slot's value is a no-op or a configuration: only the applied slot moves. */
  skip(slot: Slot): Applied {
    return new Applying(this.#ports, slot).finish();
  }

  /** The next slot's value is the configuration with which these go on by a forced recovery. */
  recovered(slot: Slot, survivors: readonly PeerId[]): Applied {
    const applying = new Applying(this.#ports, slot);
    applying.recovered(survivors);
    return applying.finish();
  }
}

/** The state that a group begins with: slot 0, its founder the only member and keeper. */
export function genesisOps(bytes: Uint8Array): KvOp[] {
  const genesis = decodeGenesis(bytes);
  const state = new Overlay({ get: () => undefined });
  state.put(metaPlace, {
    group: groupIdOf(bytes),
    alpha: genesis.alpha,
    level: genesis.level,
    title: null,
    positions: 0,
    judged: 0,
    keepers: 0,
    quorum: null,
  });
  const { founder, incarnation } = genesis;
  admitMember(state, founder, { name: '', rights: 'keeper', pinned: null, incarnation, slot: slotOf(0) });
  state.put(clockPlace, notePlaced([], slotOf(0), genesis.timeMs));
  return close(state, { slot: slotOf(0), stateHash: ZERO_HASH, logBytes: 0, stateBytes: 0 });
}

/** @param before with the slot and the size of the log as they are afterwards */
function close(state: Overlay, before: AppliedRecord): KvOp[] {
  const sum = new StateSum(before.stateHash);
  const { ops, grownBytes } = state.finish(sum);
  const stateBytes = Math.max(0, before.stateBytes + grownBytes);
  const value = appliedPlace.codec.encode({ ...before, stateHash: sum.toBytes(), stateBytes });
  ops.push({ type: 'put', key: appliedPlace.key, value });
  return ops;
}

function readBatch(payload: Uint8Array): Batch | 'newer' | 'bad' {
  try {
    return takeBatch(payload);
  } catch (error) {
    if (error instanceof NewerBatchError) return 'newer';
    if (error instanceof FormatError) return 'bad';
    throw error;
  }
}

/** Ends the application of a value in the middle, with nothing written. */
class Unknown extends Error {}

/** One slot's application. */
class Applying {
  readonly outcomes: Outcome[] = [];
  readonly changes: Change[] = [];
  readonly ignored: Ignored[] = [];
  readonly #ports: DocumentPorts;
  readonly #slot: Slot;
  readonly #state: Overlay;
  readonly #before: AppliedRecord;
  readonly #valueBytes: number;
  #clock: ClockRecord = [];

  constructor(ports: DocumentPorts, slot: Slot, valueBytes = 0) {
    this.#ports = ports;
    this.#slot = slot;
    this.#valueBytes = valueBytes;
    this.#state = new Overlay(ports.reader);
    const bytes = present(ports.reader.get(appliedPlace.key), appliedPlace.key);
    this.#before = appliedPlace.codec.decode(bytes);
    assert(slot === this.#before.slot + 1, 'slots are applied one after the other', [this.#before.slot, slot]);
  }

  batch(batch: Batch): void {
    this.#clock = this.#state.get(clockPlace) ?? [];
    for (const run of batch.runs) this.#run(run, batch.placedMs);
    this.#state.put(clockPlace, notePlaced(this.#clock, this.#slot, batch.placedMs));
  }

  recovered(survivors: readonly PeerId[]): void {
    for (const peer of keepersAmong(this.#state, survivors)) {
      this.changes.push({ type: 'member', what: 'changed', peer });
    }
  }

  finish(): Applied {
    const logBytes = this.#before.logBytes + this.#valueBytes;
    const ops = close(this.#state, { ...this.#before, slot: this.#slot, logBytes });
    return { type: 'applied', ops, outcomes: this.outcomes, changes: this.changes, ignored: this.ignored };
  }

  #run(run: Run, placedMs: number): void {
    const why = this.#wrong(run);
    if (why) {
      this.ignored.push({ why, peer: run.peer, incarnation: run.incarnation, seq: null });
      return;
    }
    for (const command of run.commands) this.#command(run, command, placedMs);
  }

  #wrong(run: Run): IgnoredWhy | null {
    if (run.group !== metaOf(this.#state).group) return 'group';
    return this.#ports.verifyRun(run) ? null : 'signature';
  }

  #command(run: Run, command: Command, placedMs: number): void {
    const { peer, incarnation } = run;
    const place = sessionPlace(peer, incarnation);
    const session = this.#state.get(place) ?? this.#newSession(run, command);
    const why = session ? outOfOrder(session, command) : 'stranger';
    if (why || !session) {
      this.ignored.push({ why: why ?? 'stranger', peer, incarnation, seq: command.seq });
      return;
    }
    const verdict = this.#verdict(run, command, session, placedMs);
    this.#state.put(place, afterCommand(session, command, verdict));
    const meta = metaOf(this.#state);
    this.#state.put(metaPlace, { ...meta, judged: meta.judged + 1 });
    this.outcomes.push({ slot: this.#slot, peer, incarnation, seq: command.seq, hash: command.hash, verdict });
  }

  /** A member's new incarnation begins with `openSession`; nothing else opens a session here. */
  #newSession(run: Run, command: Command): SessionRecord | undefined {
    return command.kind === KINDS.openSession && memberOf(this.#state, run.peer) ? NEW_SESSION : undefined;
  }

  #verdict(run: Run, command: Command, session: SessionRecord, placedMs: number): Verdict {
    const { group, level } = metaOf(this.#state);
    // A session belongs to somebody who was admitted.
    const author = this.#state.must(memberPlace(run.peer));
    // One session of a peer is open; only `openSession` itself may come in another, to take its place.
    const other = author.incarnation !== run.incarnation && command.kind !== KINDS.openSession;
    if (session.closed || other) return refuse('SESSION_CLOSED', run.incarnation);
    if (author.expelledSlot !== null) return refuse('NOT_MEMBER', run.peer);
    if (command.level > level) return refuse('LEVEL_NOT_AGREED', `written in level ${command.level} of ${level}`);
    const payload = payloadOf(command);
    if (payload === null) return refuse('MALFORMED', `kind ${command.kind}`);
    return judge(
      {
        state: this.#state,
        verifier: this.#ports.verifier,
        group,
        slot: this.#slot,
        placedMs,
        run,
        command,
        author,
        writer: payload.writer,
        clock: clockMark(this.#clock, command.saw, command.timeMs, placedMs),
        index: null,
        changes: this.changes,
      },
      payload.body,
    );
  }
}

function outOfOrder(session: SessionRecord, command: Command): IgnoredWhy | null {
  if (command.seq <= session.lastSeq) return 'duplicate';
  if (command.seq > session.lastSeq + 1) return 'gap';
  return equal(command.prev, session.lastHash) ? null : 'fork';
}

function afterCommand(session: SessionRecord, command: Command, verdict: Verdict): SessionRecord {
  const { seq } = command;
  const refusals = isRefused(verdict)
    ? [...session.refusals, { seq, code: verdict.refused }].slice(-REFUSALS_KEPT)
    : session.refusals;
  return { lastSeq: seq, lastHash: command.hash, closed: session.closed, refusals };
}

/** Null for a payload that its kind does not allow. */
function payloadOf(command: Command): Payload | null {
  if (command.payload === null) throw new Unknown('a command whose content was deleted before it was applied here');
  try {
    return decodePayload(command.kind, command.payload);
  } catch (error) {
    if (error instanceof UnknownKindError) throw new Unknown(error.message);
    if (error instanceof FormatError) return null;
    throw error;
  }
}
