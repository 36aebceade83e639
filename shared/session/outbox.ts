import { assert } from '../base/assert.ts';
import { equal } from '../base/bytes.ts';
import type { RandomBytes, Signer } from '../base/crypto.ts';
import { type EntryId, type Incarnation, type Seq, seq as seqOf } from '../base/ids.ts';
import type { KvOp } from '../base/kv.ts';
import {
  type Body,
  type DocumentReader,
  KINDS,
  normalizeText,
  type Outcome,
  type Refused,
  type Run,
  type SessionId,
} from '../document/index.ts';
import { Editing, type EditWish } from './editing.ts';
import { verdictOf } from './evidence.ts';
import { Former, type FormerItem } from './former.ts';
import type { Pending, Settled, Tip, Written } from './items.ts';
import { type PendingView, pendingView } from './pending.ts';
import { decodeRows, type RefusedItem, type Row } from './rows.ts';
import { Books, RefusedCommands, Settlement, type Settling } from './settling.ts';
import { type Cut, SignedRuns } from './signed-runs.ts';
import type { Tail } from './tail.ts';
import { type AddOptions, Unsettled } from './unsettled.ts';
import { normalized, problemOf } from './wishes.ts';

export interface OutboxInit extends SessionId {
  /** Where the session has come to, as its store knows: the rows may not tell. */
  readonly tail?: Tail | null;
  /** For salts. */
  readonly random: RandomBytes;
  /** Incarnations that this store had before, the oldest first: the order of what they left, whatever the clock said. */
  readonly formers?: readonly Incarnation[];
}

/**
 * This peer's own commands that are not settled yet, durable before anybody says *saved*. Sans-IO: bytes in, operations out.
 *
 * A turn: `add`, `edit` (any number) and `onOutcomes`; then `cut`, and its operations into the turn's atomic write. Only then may
 * its runs leave the machine. A crash before that write forgets the adds of the turn and nothing else.
 */
export class Outbox {
  readonly #own: Unsettled;
  readonly #runs: SignedRuns;
  readonly #editing: Editing;
  readonly #refused = new RefusedCommands();
  readonly #settlement: Settlement;
  readonly #former: Former;
  /** Settled while an edit was added; told with the next outcomes. */
  readonly #early: Settled[] = [];
  #reader: DocumentReader | null = null;

  constructor({ group, peer, incarnation, random, tail, formers }: OutboxInit) {
    const session: SessionId = { group, peer, incarnation };
    this.#runs = new SignedRuns(session);
    this.#own = new Unsettled(session, random, this.#runs);
    if (tail?.hash) this.#own.goOnBehind(seqOf(tail.seq), tail.hash);
    this.#editing = new Editing(this.#own, this.#runs);
    this.#settlement = new Settlement(this.#own, this.#runs, this.#editing, this.#refused);
    this.#former = new Former(this.#own, this.#runs, this.#editing, this.#refused, formers ?? []);
  }

  /**
   * Takes in the rows under `o/` and `x/`, once, at the start; then `reconcile`.
   * @throws FormatError where a row is damaged
   */
  load(rows: readonly Row[], reader: DocumentReader): Settling {
    this.#reader = reader;
    const { incarnation } = this.#own.session;
    const { runs, settledOf, refused } = decodeRows(rows);
    const settled = settledOf(incarnation);
    this.#refused.load(refused);
    this.#settlement.load(settled);
    for (const row of runs) {
      if (row.run.incarnation !== incarnation) continue;
      this.#runs.load(row.run);
      this.#own.load(row, settled);
    }
    this.#former.load(runs.filter(({ run }) => run.incarnation !== incarnation));
    return this.reconcile(reader);
  }

  /**
   * Holds the outbox against the state: what was judged without an outcome having come here (a snapshot, a crash) is settled by
   * what the state tells of it.
   */
  reconcile(reader: DocumentReader): Settling {
    if (!reader.exists()) return { ops: [], settled: [], forked: false };
    const { peer, incarnation } = this.#own.session;
    const session = reader.session(peer, incarnation);
    if (!session) return { ops: [], settled: [], forked: false };
    // The rows are gone, and what was in them was judged: the session goes on behind it.
    if (session.lastSeq > this.lastSeq) this.#own.goOnBehind(session.lastSeq, session.lastHash);
    const last = this.#own.get(session.lastSeq);
    if (last && !equal(last.command.hash, session.lastHash)) return { ops: [], settled: [], forked: true };
    const outcomes: Outcome[] = [];
    for (const item of this.#own.items()) {
      if (item.command.seq > session.lastSeq) break;
      const { seq, hash } = item.command;
      const verdict = verdictOf(reader, this.#own.session, item, session);
      outcomes.push({ slot: reader.appliedSlot(), peer, incarnation, seq, hash, verdict });
    }
    return this.onOutcomes(outcomes, reader);
  }

  /** The seq of the newest own command; 0 before the first. */
  get lastSeq(): Seq {
    return this.#own.lastSeq;
  }

  get lastHash(): Uint8Array {
    return this.#own.lastHash;
  }

  /** Own commands that are not settled, a former incarnation's among them, without those that others stand for. */
  get pending(): number {
    return this.#own.count + this.#waitingFormers().length;
  }

  /** Commands that wait to be signed. */
  get uncut(): number {
    return this.#runs.uncut;
  }

  /** After a failed write and another start: whether this very command is on the disk all the same. Its number alone may be another's by now. */
  holds({ seq, hash }: Pending): boolean {
    if (this.#former.holds(hash)) return true;
    const item = this.#own.get(seq);
    return item === undefined ? seq <= this.#settlement.settled : equal(item.command.hash, hash);
  }

  /** The handle of this very command after another start; null where it is settled, or not here. */
  handleOf({ seq, hash }: Pending): number | null {
    const item = this.#own.get(seq);
    return item !== undefined && equal(item.command.hash, hash) ? item.handle : null;
  }

  /** There is something for `cut` to do. */
  get needsCut(): boolean {
    return this.#runs.needsCut;
  }

  /** True for a member's new incarnation that has not asked for its session yet. Call `openSession` before any other command. */
  needsOpenSession(reader: DocumentReader): boolean {
    const { peer, incarnation } = this.#own.session;
    if (this.lastSeq > 0 || !reader.exists()) return false;
    const member = reader.member(peer);
    return member !== undefined && member.expelledSlot === null && !reader.session(peer, incarnation);
  }

  openSession(written: Written): Pending | Refused {
    assert(this.lastSeq === 0, 'a session is opened by its first command', this.lastSeq);
    return this.add({ kind: 'openSession' }, written, { quiet: true });
  }

  /** Adds a command. Refused at once where no peer would take it; an edit of a whole text goes through `edit`. */
  add(body: Body, written: Written, options: AddOptions = {}): Pending | Refused {
    const normal = normalized(body);
    return problemOf(normal) ?? this.#own.append(normal, written, options);
  }

  /** Adds a whole new text for an entry. What was made on another revision than the current one is merged before it is sent. */
  edit(reader: DocumentReader, wish: EditWish, written: Written, options: AddOptions = {}): Pending | Refused {
    return this.#editing.edit(reader, { ...wish, text: normalizeText(wish.text) }, written, options, this.#early);
  }

  /** The entry as it will be once the own pending commands took effect: what an editor is opened on. */
  current(reader: DocumentReader, entry: EntryId): Tip | undefined {
    return this.#own.walk(reader, entry).tip;
  }

  /** The text with which an own pending command creates the entry; null where none does. */
  pendingCreation(entry: EntryId): string | null {
    return this.#own.textCreating(entry);
  }

  /** Signs all that was added since the last cut. The runs may be sent once the operations are on the disk. */
  cut(signer: Signer): Cut {
    return this.#runs.cut(signer);
  }

  /** Takes in what became of commands: all outcomes of one slot, with the state after it. Others' outcomes are passed over. */
  onOutcomes(outcomes: readonly Outcome[], reader: DocumentReader): Settling {
    const books = new Books();
    books.settled.push(...this.#early.splice(0));
    this.#settlement.takeIn(outcomes, reader, books);
    if (!this.#former.isEmpty) {
      if (outcomes.some(({ peer }) => peer === this.#own.session.peer)) this.#former.onJudged();
      this.#former.adopt(reader, books);
    }
    return { ops: this.#runs.release(books.ops), settled: books.settled, forked: books.forked };
  }

  /** Signed runs that are not settled, in order and without a gap after `afterSeq`, up to `maxBytes`; one at least, where there is one. */
  runsToSend(afterSeq: number, maxBytes: number): Run[] {
    const runs: Run[] = [];
    let bytes = 0;
    for (const run of this.#sendable()) {
      if (run.lastSeq <= afterSeq) continue;
      if (runs.length > 0 && bytes + run.bytes.length > maxBytes) break;
      runs.push(run);
      bytes += run.bytes.length;
    }
    return runs;
  }

  /** Signed runs that are not settled and that somebody else may carry: a former incarnation's as long as its session is not known to be closed. */
  carriedRuns(): readonly Run[] {
    return this.#former.isEmpty ? this.#runs.signed : this.#former.runs();
  }

  /** The own pending commands about entries, in their order, as they will look; the last so many. */
  pendingView(reader: DocumentReader, limit: number = Number.POSITIVE_INFINITY): PendingView[] {
    const all = this.#own.waiting();
    const items = all.slice(Math.max(0, all.length - limit));
    const tipOf = (entry: EntryId): Tip | undefined => this.#own.walk(reader, entry).tip;
    const formers = this.#waitingFormers();
    const shown = formers.slice(Math.max(0, formers.length - Math.max(0, limit - items.length)));
    return [
      ...shown.flatMap(({ session, item }) => pendingView(reader, session, [item], tipOf)),
      ...pendingView(reader, this.#own.session, items, tipOf),
    ];
  }

  /** Refused commands with their text and the reason, until they are dismissed. */
  refusedView(): RefusedItem[] {
    return this.#refused.all();
  }

  dismiss(key: string): KvOp[] {
    return this.#refused.dismiss(key);
  }

  /** Grows whenever what is pending or refused is another. */
  get changes(): number {
    return this.#own.changes + this.#refused.changes;
  }

  #waitingFormers(): readonly FormerItem[] {
    return this.#reader === null ? [] : this.#former.waiting(this.#reader);
  }

  /** Until former incarnations' commands are signed again, only the opening of the session goes out: the order is the author's. */
  #sendable(): readonly Run[] {
    const { signed } = this.#runs;
    const [first] = signed;
    if (this.#former.isEmpty) return signed;
    return first?.commands[0]?.kind === KINDS.openSession ? [first] : [];
  }
}
