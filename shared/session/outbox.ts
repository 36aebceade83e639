import { assert } from '../base/assert.ts';
import { equal, toHex } from '../base/bytes.ts';
import type { RandomBytes, Signer } from '../base/crypto.ts';
import { ZERO_HASH } from '../base/hash.ts';
import { type EntryId, type Incarnation, type Seq, seq as seqOf } from '../base/ids.ts';
import { type KvOp, present } from '../base/kv.ts';
import {
  type Body,
  chainOf,
  type DocumentReader,
  isRefused,
  KINDS,
  normalizeText,
  type Outcome,
  payloadHashOf,
  placeCommand,
  type Refused,
  type Run,
  SALT_BYTES,
  type SessionId,
  type SingleBody,
  signRun,
  tagOf,
  textProblem,
  type Verdict,
} from '../document/index.ts';
import { agreedText, editBody, rootTextOf } from './edits.ts';
import { verdictOf } from './evidence.ts';
import {
  baseOf,
  type Doomed,
  entryOf,
  type Item,
  placedBodies,
  sameBase,
  type Tip,
  type Written,
  walk,
} from './items.ts';
import { type Merged, mergeTexts } from './merge.ts';
import { type FormerRow, firstTime, itemsOf, Moving, remainder } from './moving.ts';
import { type PendingView, pendingView } from './pending.ts';
import {
  type Base,
  decodeRefused,
  decodeRunRow,
  decodeSettled,
  encodeRefused,
  encodeRunRow,
  encodeSettled,
  OUTBOX_PREFIX,
  REFUSED_PREFIX,
  type RefusedItem,
  type Row,
  type RunRow,
  refusedKey,
  runKey,
  settledKey,
} from './rows.ts';
import type { Tail } from './tail.ts';
import { normalized, portions, problemOf, sealed, writtenOf } from './wishes.ts';

export interface OutboxInit extends SessionId {
  /** Where the session has come to, as its store knows: the rows may not tell. */
  readonly tail?: Tail | null;
  /** For salts. */
  readonly random: RandomBytes;
}

/** A command that was added. It is *saved* once the operations of the next `cut` are on the disk. */
export interface Pending {
  /** Names the wish, not the command: whatever takes its place after a merge has the same handle. */
  readonly handle: number;
  readonly seq: Seq;
  readonly hash: Uint8Array;
  /** The entries it makes or changes, one for each body; null for a body about no entry. */
  readonly entries: readonly (EntryId | null)[];
}

/** What at last became of a handle. */
export interface Settled {
  readonly handle: number;
  /** Of the command that decided it: the last successor. */
  readonly seq: Seq;
  readonly verdict: Verdict;
}

export interface Settling {
  /** For the same atomic write as the state that the outcomes came with. */
  readonly ops: readonly KvOp[];
  readonly settled: readonly Settled[];
  /** Somebody else writes as this incarnation: the store was copied, or lost what it wrote. The peer must stop. */
  readonly forked: boolean;
}

export interface Cut {
  readonly runs: readonly Run[];
  readonly ops: readonly KvOp[];
}

export interface EditWish {
  readonly entry: EntryId;
  readonly text: string;
  /** The revision that the text was made on; without it, the one that is current here, own pending ones included. */
  readonly base?: Base;
}

export interface AddOptions {
  /** Not kept when it is refused: for what the peer does by itself. */
  readonly quiet?: boolean;
}

interface Fate extends AddOptions {
  readonly handle?: number;
  readonly root?: Base | null;
  readonly supersedes?: Seq;
}

/** An own edit that another command stands for: an editor may still be open on it. */
interface Superseded {
  readonly text: string;
  readonly rootText: string;
  readonly by: Base;
}
const SUPERSEDED_KEPT = 64;

/**
 * This peer's own commands that are not settled yet, durable before anybody says *saved*. Sans-IO: bytes in, operations out.
 *
 * A turn: `add`, `edit` (any number) and `onOutcomes`; then `cut`, and its operations into the turn's atomic write. Only then may
 * its runs leave the machine. A crash before that write forgets the adds of the turn and nothing else.
 */
export class Outbox {
  readonly #session: SessionId;
  readonly #chain: ReturnType<typeof chainOf>;
  readonly #random: RandomBytes;

  /** Unsettled, in the order of their seqs. */
  readonly #items = new Map<Seq, Item>();
  readonly #itemsOf = new Map<EntryId, Set<Item>>();
  /** What each makes or changes: ids are hashes, and are asked for several times. */
  readonly #entries = new Map<Item, readonly (EntryId | null)[]>();
  /** Unsettled commands whose text lives on in a later one; they only wait for their seq to be consumed. */
  readonly #replaced = new Set<Seq>();
  readonly #superseded = new Map<string, Superseded>();
  #changes = 0;
  #uncut: Item[] = [];
  #runs: Run[] = [];
  #lastSeq: Seq = seqOf(0);
  #lastHash: Uint8Array = ZERO_HASH;
  #settled: Seq = seqOf(0);
  /** Bookkeeping that must not be on the disk before the commands that stand in for the settled ones are. */
  #held: KvOp[] = [];
  #mustHold = false;
  /** Settled while an edit was added; told with the next outcomes. */
  readonly #early: Settled[] = [];

  readonly #refused = new Map<string, RefusedItem>();
  /** What former incarnations left, until this one's session is open. */
  #former: FormerRow[] = [];
  /** What of them still waits, worked out when it is looked at; null where it has to be again. */
  #formerLeft: readonly { readonly session: SessionId; readonly item: Item }[] | null = null;
  #reader: DocumentReader | null = null;
  #nextHandle = 1;

  constructor(init: OutboxInit) {
    const { group, peer, incarnation } = init;
    this.#session = { group, peer, incarnation };
    this.#chain = chainOf(this.#session);
    this.#random = init.random;
    if (init.tail) {
      this.#lastSeq = seqOf(init.tail.seq);
      this.#lastHash = init.tail.hash;
    }
  }

  /**
   * Takes in the rows under `o/` and `x/`, once, at the start; then `reconcile`.
   * @throws FormatError where a row is damaged
   */
  load(rows: readonly Row[], reader: DocumentReader): Settling {
    this.#reader = reader;
    const settledOf = new Map<string, Seq>();
    const found: FormerRow[] = [];
    for (const [key, value] of rows) {
      if (key.startsWith(REFUSED_PREFIX)) this.#refused.set(key, decodeRefused(value));
      else if (key.endsWith('/settled'))
        settledOf.set(key.slice(OUTBOX_PREFIX.length, -'/settled'.length), decodeSettled(value));
      else if (key.startsWith(OUTBOX_PREFIX)) found.push({ key, settled: seqOf(0), ...decodeRunRow(value) });
    }
    const inOrder = found
      .map((row) => ({ ...row, settled: settledOf.get(row.run.incarnation) ?? seqOf(0) }))
      .sort((a, b) => a.run.firstSeq - b.run.firstSeq);
    this.#settled = settledOf.get(this.#session.incarnation) ?? seqOf(0);
    for (const row of inOrder) {
      if (row.run.incarnation === this.#session.incarnation) this.#loadRun(row);
      else this.#former.push(row);
    }
    this.#former.sort((a, b) => firstTime(a.run) - firstTime(b.run) || a.run.firstSeq - b.run.firstSeq);
    return this.reconcile(reader);
  }

  /**
   * Holds the outbox against the state: what was judged without an outcome having come here (a snapshot, a crash) is settled by
   * what the state tells of it.
   */
  reconcile(reader: DocumentReader): Settling {
    if (!reader.exists()) return { ops: [], settled: [], forked: false };
    const { peer, incarnation } = this.#session;
    const session = reader.session(peer, incarnation);
    if (!session) return { ops: [], settled: [], forked: false };
    if (session.lastSeq > this.#lastSeq) {
      // The rows are gone, and what was in them was judged: the session goes on behind it.
      this.#lastSeq = session.lastSeq;
      this.#lastHash = session.lastHash;
    }
    const last = this.#items.get(session.lastSeq);
    if (last && !equal(last.command.hash, session.lastHash)) return { ops: [], settled: [], forked: true };
    const outcomes: Outcome[] = [];
    for (const item of this.#items.values()) {
      if (item.command.seq > session.lastSeq) break;
      const { seq, hash } = item.command;
      const verdict = verdictOf(reader, this.#session, item, session);
      outcomes.push({ slot: reader.appliedSlot(), peer, incarnation, seq, hash, verdict });
    }
    return this.onOutcomes(outcomes, reader);
  }

  /** The seq of the newest own command; 0 before the first. */
  get lastSeq(): Seq {
    return this.#lastSeq;
  }

  get lastHash(): Uint8Array {
    return this.#lastHash;
  }

  /** Own commands that are not settled, a former incarnation's among them, without those that others stand for. */
  get pending(): number {
    return this.#items.size - this.#replaced.size + this.#waitingFormers().length;
  }

  #waitingFormers(): readonly { readonly session: SessionId; readonly item: Item }[] {
    if (this.#former.length === 0 || this.#reader === null) return [];
    this.#formerLeft ??= [...remainder(this.#former, this.#session, this.#reader, () => undefined)].map(
      ({ session, item }, i) => ({ session, item: { ...item, handle: -1 - i } }),
    );
    return this.#formerLeft;
  }

  /** Commands that wait to be signed. */
  get uncut(): number {
    return this.#uncut.length;
  }

  /** After a failed write and another start: whether this very command is on the disk all the same. Its number alone may be another's by now. */
  holds({ seq, hash }: Pending): boolean {
    if (this.#former.some(({ run }) => run.commands.some((command) => equal(command.hash, hash)))) return true;
    const item = this.#items.get(seq);
    return item === undefined ? seq <= this.#settled : equal(item.command.hash, hash);
  }

  /** There is something for `cut` to do. */
  get needsCut(): boolean {
    return this.#uncut.length > 0 || this.#held.length > 0;
  }

  /** True for a member's new incarnation that has not asked for its session yet. Call `openSession` before any other command. */
  needsOpenSession(reader: DocumentReader): boolean {
    const { peer, incarnation } = this.#session;
    if (this.#lastSeq > 0 || !reader.exists()) return false;
    const member = reader.member(peer);
    return member !== undefined && member.expelledSlot === null && !reader.session(peer, incarnation);
  }

  openSession(written: Written): Pending | Refused {
    assert(this.#lastSeq === 0, 'a session is opened by its first command', this.#lastSeq);
    return this.add({ kind: 'openSession' }, written, { quiet: true });
  }

  /** Adds a command. Refused at once where no peer would take it; an edit of a whole text goes through `edit`. */
  add(body: Body, written: Written, options: AddOptions = {}): Pending | Refused {
    const normal = normalized(body);
    return problemOf(normal) ?? this.#append(normal, written, options);
  }

  /** Adds a whole new text for an entry. What was made on another revision than the current one is merged before it is sent. */
  edit(reader: DocumentReader, wish: EditWish, written: Written, options: AddOptions = {}): Pending | Refused {
    return this.#edit(reader, { ...wish, text: normalizeText(wish.text) }, written, options, this.#early);
  }

  /** The entry as it will be once the own pending commands took effect: what an editor is opened on. */
  current(reader: DocumentReader, entry: EntryId): Tip | undefined {
    return this.#walk(reader, entry).tip;
  }

  /** The text with which an own pending command creates the entry; null where none does. */
  pendingCreation(entry: EntryId): string | null {
    for (const item of this.#itemsOf.get(entry) ?? []) {
      for (const { body } of placedBodies(item.body)) if (body.kind === 'create') return body.text;
    }
    return null;
  }

  /** Signs all that was added since the last cut. The runs may be sent once the operations are on the disk. */
  cut(signer: Signer): Cut {
    const runs: Run[] = [];
    // First what was held: it may delete a row whose key is used again.
    const ops: KvOp[] = [...this.#held];
    for (const items of portions(this.#uncut)) {
      const commands = items.map((item) => item.command);
      const run = signRun(this.#session, commands, signer);
      const extras = items.map(({ command, root, supersedes, quiet }) => ({
        seq: command.seq,
        root,
        supersedes,
        quiet,
      }));
      ops.push({ type: 'put', key: runKey(run.incarnation, run.firstSeq), value: encodeRunRow({ run, extras }) });
      runs.push(run);
    }
    this.#runs.push(...runs);
    this.#uncut = [];
    this.#held = [];
    this.#mustHold = false;
    return { runs, ops };
  }

  /** Takes in what became of commands: all outcomes of one slot, with the state after it. Others' outcomes are passed over. */
  onOutcomes(outcomes: readonly Outcome[], reader: DocumentReader): Settling {
    const settling = new Books();
    settling.settled.push(...this.#early.splice(0));
    const decided = outcomes.flatMap((outcome) => this.#decide(outcome, settling));
    const stale: Item[] = [];
    for (const [item, verdict] of decided) {
      if (isRefused(verdict) && verdict.refused === 'STALE_BASE' && !this.#replaced.has(item.command.seq))
        stale.push(item);
      else this.#settle(item, verdict, settling);
    }
    this.#mergeStale(stale, reader, settling);
    if (decided.length > 0) this.#closeRows(settling);
    if (this.#former.length > 0) {
      if (outcomes.some(({ peer }) => peer === this.#session.peer)) this.#formerLeft = null;
      this.#adopt(reader, settling);
    }
    return { ops: this.#release(settling.ops), settled: settling.settled, forked: settling.forked };
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
    return this.#former.length > 0 ? this.#former.map(({ run }) => run) : this.#runs;
  }

  /** The own pending commands about entries, in their order, as they will look; the last so many. */
  pendingView(reader: DocumentReader, limit: number = Number.POSITIVE_INFINITY): PendingView[] {
    const all = [...this.#items.values()].filter((item) => !this.#replaced.has(item.command.seq));
    const items = all.slice(Math.max(0, all.length - limit));
    const tipOf = (entry: EntryId): Tip | undefined => this.#walk(reader, entry).tip;
    const formers = this.#waitingFormers();
    const shown = formers.slice(Math.max(0, formers.length - Math.max(0, limit - items.length)));
    return [
      ...shown.flatMap(({ session, item }) => pendingView(reader, session, [item], tipOf)),
      ...pendingView(reader, this.#session, items, tipOf),
    ];
  }

  /** Refused commands with their text and the reason, until they are dismissed. */
  refusedView(): RefusedItem[] {
    return [...this.#refused.values()];
  }

  dismiss(key: string): KvOp[] {
    this.#changes++;
    return this.#refused.delete(key) ? [{ type: 'del', key }] : [];
  }

  /** Grows whenever what is pending or refused is another. */
  get changes(): number {
    return this.#changes;
  }

  // --- adding

  #append(body: Body, written: Written, fate: Fate): Pending | Refused {
    const { writer, ...fields } = written;
    const payload = sealed(body, writer);
    if (!(payload instanceof Uint8Array)) return payload;
    const salt = this.#random(SALT_BYTES);
    const seq = seqOf(this.#lastSeq + 1);
    const command = placeCommand(
      this.#chain,
      seq,
      this.#lastHash,
      { ...fields, kind: KINDS[body.kind], salt, payload },
      payloadHashOf(salt, payload),
    );
    const item: Item = {
      handle: fate.handle ?? this.#nextHandle++,
      command,
      body,
      writer,
      root: fate.root ?? null,
      supersedes: fate.supersedes ?? null,
      quiet: fate.quiet ?? false,
    };
    this.#lastSeq = seq;
    this.#lastHash = command.hash;
    this.#uncut.push(item);
    this.#put(item);
    return { handle: item.handle, seq, hash: command.hash, entries: this.#entriesOf(item) };
  }

  #put(item: Item): void {
    this.#changes++;
    this.#items.set(item.command.seq, item);
    const entries = this.#entriesOf(item);
    this.#entries.set(item, entries);
    for (const entry of entries) {
      if (entry === null) continue;
      const items = this.#itemsOf.get(entry);
      if (items) items.add(item);
      else this.#itemsOf.set(entry, new Set([item]));
    }
  }

  #drop(item: Item): void {
    this.#changes++;
    this.#items.delete(item.command.seq);
    for (const entry of this.#entriesOf(item)) {
      if (entry === null) continue;
      const items = this.#itemsOf.get(entry);
      items?.delete(item);
      if (items?.size === 0) this.#itemsOf.delete(entry);
    }
    this.#entries.delete(item);
  }

  #entriesOf(item: Item): readonly (EntryId | null)[] {
    return (
      this.#entries.get(item) ??
      placedBodies(item.body).map((placed) => entryOf(this.#session, item.command.seq, placed))
    );
  }

  #walk(reader: DocumentReader, entry: EntryId) {
    const items = [...(this.#itemsOf.get(entry) ?? [])].filter((item) => !this.#replaced.has(item.command.seq));
    return walk(reader, this.#session, entry, items);
  }

  // --- editing

  #edit(reader: DocumentReader, wish: EditWish, written: Written, fate: Fate, settled: Settled[]): Pending | Refused {
    const problem = textProblem(wish.text);
    if (problem) return { refused: problem, detail: 'the text of an edit' };
    // What was current before own edits that came too late are put on top of it: the text was made on that.
    const base = wish.base ?? this.#walk(reader, wish.entry).tip;
    this.#heal(reader, wish.entry, [], settled);
    const { tip } = this.#walk(reader, wish.entry);
    if (!tip || !base) return { refused: 'NO_SUCH_ENTRY', detail: wish.entry };
    if (tip.removed) return { refused: 'ENTRY_REMOVED', detail: wish.entry };
    const merged = this.#mergeOnto(reader, tip, { ...wish, base });
    const tooLong = textProblem(merged.text);
    if (tooLong) return { refused: tooLong, detail: 'the text of an edit, merged' };
    return this.#append(editBody(wish.entry, tip, merged), written, { ...fate, root: tip.agreed });
  }

  #mergeOnto(reader: DocumentReader, tip: Tip, { entry, text, base }: Required<EditWish>): Merged {
    if (sameBase(base, tip)) return { text, overlap: false };
    const superseded = this.#superseded.get(toHex(base.tag));
    if (superseded && sameBase(superseded.by, tip) && tip.agreed) {
      // Made on an own wording that was merged since. It holds that wording already, so it takes its place in the merge.
      return mergeTexts(superseded.rootText, text, reader.textOf(entry, tip.agreed.revision) ?? '');
    }
    const baseText = superseded?.text ?? agreedText(reader, entry, base) ?? this.#pendingText(entry, base);
    return mergeTexts(baseText ?? '', text, tip.text ?? '');
  }

  #pendingText(entry: EntryId, base: Base): string | null {
    for (const item of this.#itemsOf.get(entry) ?? []) {
      for (const { body, index } of placedBodies(item.body)) {
        if ((body.kind === 'edit' || body.kind === 'create') && equal(tagOf(item.command.hash, index), base.tag)) {
          return body.text;
        }
      }
    }
    return null;
  }

  /**
   * Puts merged successors in the place of own edits that can't take effect: those just refused, and those that were made on
   * them or on what is past. Each is merged from the agreed text that its line of edits began with, so that a wording which the
   * author replaced does not come back, and all that the others wrote is in.
   */
  #heal(reader: DocumentReader, entry: EntryId, refused: readonly Doomed[], settled: Settled[]): [Item, Refused][] {
    const { tip, doomed } = this.#walk(reader, entry);
    if (!tip || tip.removed) {
      const why: Refused = { refused: 'ENTRY_REMOVED', detail: 'removed before this edit arrived' };
      return refused.map(({ item }) => [item, why]);
    }
    const roots = new Map<string, string>();
    const lost: [Item, Refused][] = [];
    let base: Base = tip;
    for (const each of [...refused, ...doomed]) {
      const { item, body } = each;
      const rootText = roots.get(toHex(body.baseTag)) ?? rootTextOf(reader, each);
      const ownTag = toHex(tagOf(item.command.hash, null));
      roots.set(ownTag, rootText);
      const merged = mergeTexts(rootText, body.text, tip.text ?? '');
      const waits = this.#items.has(item.command.seq);
      const problem = textProblem(merged.text);
      if (problem) {
        if (!waits) lost.push([item, { refused: problem, detail: 'the text, merged' }]);
        continue;
      }
      if (merged.text === tip.text && tip.agreed && sameBase(base, tip.agreed)) {
        settled.push({ handle: item.handle, seq: item.command.seq, verdict: { took: [this.#took(reader, entry)] } });
      } else {
        const next = editBody(entry, base, { text: merged.text, overlap: merged.overlap || body.overlap });
        const made = this.#append(next, writtenOf(item), {
          handle: item.handle,
          quiet: item.quiet,
          root: tip.agreed,
          supersedes: item.command.seq,
        });
        assert(!isRefused(made), 'a merged edit can be sent', made);
        base = { revision: base.revision + 1, tag: tagOf(this.#lastHash, null) };
        this.#remember(ownTag, { text: body.text, rootText, by: base });
      }
      if (waits) this.#replaced.add(item.command.seq);
      this.#mustHold = true;
    }
    return lost;
  }

  #took(reader: DocumentReader, id: EntryId) {
    const entry = present(reader.entry(id), id);
    const { slot } = reader.revisionOf(entry, entry.revision);
    return { entry: id, position: entry.position, slot, revision: entry.revision };
  }

  #remember(tag: string, superseded: Superseded): void {
    this.#superseded.set(tag, superseded);
    for (const oldest of this.#superseded.keys()) {
      if (this.#superseded.size <= SUPERSEDED_KEPT) break;
      this.#superseded.delete(oldest);
    }
  }

  // --- settling

  #decide(outcome: Outcome, settling: Books): [Item, Verdict][] {
    if (outcome.peer !== this.#session.peer || outcome.incarnation !== this.#session.incarnation) return [];
    const item = this.#items.get(outcome.seq);
    if (!item) {
      settling.forked ||= outcome.seq > this.#lastSeq;
      return [];
    }
    if (!equal(item.command.hash, outcome.hash)) {
      settling.forked = true;
      return [];
    }
    // This store was replaced. What it had saved stays as it is: should it go on after all, under another incarnation, it is signed again.
    if (isRefused(outcome.verdict) && outcome.verdict.refused === 'SESSION_CLOSED') return [];
    this.#drop(item);
    this.#settled = seqOf(Math.max(this.#settled, outcome.seq));
    return [[item, outcome.verdict]];
  }

  #settle(item: Item, verdict: Verdict, settling: Books): void {
    const { seq } = item.command;
    if (this.#replaced.delete(seq)) return;
    if (isRefused(verdict)) this.#refuse(item, verdict, settling);
    else settling.settled.push({ handle: item.handle, seq, verdict });
  }

  /** All of one slot's at once: edits that were made on each other must be merged as one line of edits. */
  #mergeStale(items: readonly Item[], reader: DocumentReader, settling: Books): void {
    const doomed = new Map<EntryId, Doomed[]>();
    for (const item of items) {
      if (item.body.kind !== 'edit') continue;
      doomed.set(item.body.entry, [...(doomed.get(item.body.entry) ?? []), { item, body: item.body }]);
    }
    for (const [entry, each] of doomed) {
      for (const [item, refused] of this.#heal(reader, entry, each, settling.settled))
        this.#refuse(item, refused, settling);
    }
    for (const item of items) {
      const refused = item.body.kind === 'bundle' && this.#again(item, reader, settling);
      if (refused) this.#refuse(item, refused, settling);
    }
  }

  /** A bundle whose edit came too late is sent again as a whole, with its edits merged. */
  #again(item: Item, reader: DocumentReader, settling: Books): Refused | null {
    assert(item.body.kind === 'bundle', 'a bundle', item.body.kind);
    const bodies: SingleBody[] = [];
    for (const body of item.body.bodies) {
      if (body.kind !== 'edit') {
        bodies.push(body);
        continue;
      }
      this.#heal(reader, body.entry, [], settling.settled);
      const { tip } = this.#walk(reader, body.entry);
      if (!tip || tip.removed) return { refused: 'ENTRY_REMOVED', detail: body.entry };
      const rootText = rootTextOf(reader, { item, body });
      const merged = sameBase(tip, baseOf(body)) ? body : mergeTexts(rootText, body.text, tip.text ?? '');
      bodies.push(editBody(body.entry, tip, { text: merged.text, overlap: merged.overlap || body.overlap }));
    }
    const body: Body = { kind: 'bundle', bodies };
    const fate: Fate = { handle: item.handle, quiet: item.quiet, root: item.root, supersedes: item.command.seq };
    const made = problemOf(body) ?? this.#append(body, writtenOf(item), fate);
    if (isRefused(made)) return made;
    this.#mustHold = true;
    return null;
  }

  #refuse(item: Item, verdict: Refused, settling: Books): void {
    const { seq } = item.command;
    settling.settled.push({ handle: item.handle, seq, verdict });
    if (!item.quiet) this.#keepRefused(this.#session.incarnation, item, verdict, settling.ops);
  }

  #keepRefused(incarnation: Incarnation, item: Item, { refused: code, detail }: Refused, ops: KvOp[]): void {
    const { seq, hash, kind, payload, timeMs, offsetMinutes, saw } = item.command;
    assert(payload !== null, 'an own command has its payload', seq);
    this.#changes++;
    const key = refusedKey(incarnation, seq);
    const fields = { incarnation, seq, hash, code, detail, timeMs, offsetMinutes, saw };
    ops.push({ type: 'put', key, value: encodeRefused({ ...fields, kind, payload }) });
    this.#refused.set(key, { key, ...fields, writer: item.writer, body: item.body });
  }

  #closeRows(settling: Books): void {
    const { incarnation } = this.#session;
    const open = this.#runs.filter((run) => {
      if (run.lastSeq > this.#settled) return true;
      settling.ops.push({ type: 'del', key: runKey(incarnation, run.firstSeq) });
      return false;
    });
    this.#runs = open;
    settling.ops.push({ type: 'put', key: settledKey(incarnation), value: encodeSettled(this.#settled) });
  }

  #release(ops: readonly KvOp[]): readonly KvOp[] {
    if (!this.#mustHold) return ops;
    this.#held.push(...ops);
    return [];
  }

  // --- incarnations

  #loadRun({ run, extras }: RunRow): void {
    this.#runs.push(run);
    if (run.lastSeq > this.#lastSeq) {
      this.#lastSeq = run.lastSeq;
      this.#lastHash = run.lastHash;
    }
    for (const item of itemsOf(run, extras)) {
      if (item.command.seq <= this.#settled) continue;
      if (item.supersedes !== null && this.#items.has(item.supersedes)) this.#replaced.add(item.supersedes);
      this.#put({ ...item, handle: this.#nextHandle++ });
    }
  }

  /** Until former incarnations' commands are signed again, only the opening of the session goes out: the order is the author's. */
  #sendable(): readonly Run[] {
    const [first] = this.#runs;
    if (this.#former.length === 0) return this.#runs;
    return first?.commands[0]?.kind === KINDS.openSession ? [first] : [];
  }

  /** This incarnation's session is open, so nothing of a former one can take effect any more: the remainder is signed again. */
  #adopt(reader: DocumentReader, settling: Books): void {
    const { peer, incarnation } = this.#session;
    const session = reader.session(peer, incarnation);
    if (!session || session.closed || reader.member(peer)?.incarnation !== incarnation) return;
    const former = this.#former;
    const held = [...this.#items.values()].filter((item) => !this.#replaced.has(item.command.seq));
    this.#former = [];
    for (const run of this.#runs) settling.ops.push({ type: 'del', key: runKey(incarnation, run.firstSeq) });
    for (const row of former) {
      settling.ops.push({ type: 'del', key: row.key }, { type: 'del', key: settledKey(row.run.incarnation) });
    }
    this.#forget(session.lastSeq, session.lastHash);

    const moving = new Moving(this.#session);
    for (const { session: from, item } of remainder(former, this.#session, reader, (old, each, verdict) =>
      this.#keepRefused(old, each, verdict, settling.ops),
    )) {
      this.#move(moving, from, { ...item, handle: this.#nextHandle++ }, reader, settling);
    }
    for (const item of held) this.#move(moving, this.#session, item, reader, settling);
    this.#mustHold = true;
  }

  /** The commands that follow were never sent: their seqs are free again. */
  #forget(lastSeq: Seq, lastHash: Uint8Array): void {
    this.#changes++;
    this.#items.clear();
    this.#entries.clear();
    this.#itemsOf.clear();
    this.#replaced.clear();
    this.#superseded.clear();
    this.#uncut = [];
    this.#runs = [];
    this.#lastSeq = lastSeq;
    this.#lastHash = lastHash;
  }

  #move(moving: Moving, from: SessionId, item: Item, reader: DocumentReader, settling: Books): void {
    const body = moving.translate(item.body);
    const fate: Fate = { handle: item.handle, quiet: item.quiet };
    const made =
      body.kind === 'edit'
        ? this.#edit(
            reader,
            { entry: body.entry, text: body.text, base: baseOf(body) },
            writtenOf(item),
            fate,
            settling.settled,
          )
        : this.#append(body, writtenOf(item), fate);
    if (isRefused(made)) {
      settling.settled.push({ handle: item.handle, seq: item.command.seq, verdict: made });
      if (!item.quiet) this.#keepRefused(from.incarnation, item, made, settling.ops);
      return;
    }
    const now = this.#items.get(made.seq);
    assert(now !== undefined, 'what was added is there', made.seq);
    moving.moved(from, item, now, (entry) => this.#walk(reader, entry).tip);
  }
}

/** What one call of `onOutcomes` comes to. */
class Books {
  readonly ops: KvOp[] = [];
  readonly settled: Settled[] = [];
  forked = false;
}
