import { assert } from '../base/assert.ts';
import { equal } from '../base/bytes.ts';
import { type EntryId, type Incarnation, type Seq, seq as seqOf } from '../base/ids.ts';
import type { KvOp } from '../base/kv.ts';
import { type DocumentReader, isRefused, type Outcome, type Refused, type Verdict } from '../document/index.ts';
import type { Editing } from './editing.ts';
import type { Doomed, Item, Settled } from './items.ts';
import { encodeRefused, type RefusedItem, refusedKey } from './rows.ts';
import type { SignedRuns } from './signed-runs.ts';
import type { Unsettled } from './unsettled.ts';

export interface Settling {
  /** For the same atomic write as the state that the outcomes came with. */
  readonly ops: readonly KvOp[];
  readonly settled: readonly Settled[];
  /** Somebody else writes as this incarnation: the store was copied, or lost what it wrote. The peer must stop. */
  readonly forked: boolean;
}

/** What one call of `onOutcomes` comes to. */
export class Books implements Settling {
  readonly ops: KvOp[] = [];
  readonly settled: Settled[] = [];
  forked = false;
}

/** Refused commands with their text and the reason, until they are dismissed. */
export class RefusedCommands {
  readonly #items = new Map<string, RefusedItem>();
  #changes = 0;

  /** Grows whenever there is one more or less. */
  get changes(): number {
    return this.#changes;
  }

  load(refused: ReadonlyMap<string, RefusedItem>): void {
    for (const [key, item] of refused) this.#items.set(key, item);
  }

  all(): RefusedItem[] {
    return [...this.#items.values()];
  }

  keep(incarnation: Incarnation, item: Item, { refused: code, detail }: Refused, ops: KvOp[]): void {
    const { seq, hash, kind, payload, timeMs, offsetMinutes, saw } = item.command;
    assert(payload !== null, 'an own command has its payload', seq);
    this.#changes++;
    const key = refusedKey(incarnation, seq);
    const fields = { incarnation, seq, hash, code, detail, timeMs, offsetMinutes, saw };
    ops.push({ type: 'put', key, value: encodeRefused({ ...fields, kind, payload }) });
    this.#items.set(key, { key, ...fields, writer: item.writer, body: item.body });
  }

  dismiss(key: string): KvOp[] {
    this.#changes++;
    return this.#items.delete(key) ? [{ type: 'del', key }] : [];
  }
}

/** Takes in what became of this session's commands. */
export class Settlement {
  readonly #own: Unsettled;
  readonly #runs: SignedRuns;
  readonly #editing: Editing;
  readonly #refused: RefusedCommands;
  #settled: Seq = seqOf(0);

  constructor(own: Unsettled, runs: SignedRuns, editing: Editing, refused: RefusedCommands) {
    this.#own = own;
    this.#runs = runs;
    this.#editing = editing;
    this.#refused = refused;
  }

  /** The last own seq whose outcome was taken in. */
  get settled(): Seq {
    return this.#settled;
  }

  load(settled: Seq): void {
    this.#settled = settled;
  }

  /** All outcomes of one slot, with the state after it. Others' outcomes are passed over. */
  takeIn(outcomes: readonly Outcome[], reader: DocumentReader, books: Books): void {
    const decided = outcomes.flatMap((outcome) => this.#decide(outcome, books));
    const stale: Item[] = [];
    for (const [item, verdict] of decided) {
      if (isRefused(verdict) && verdict.refused === 'STALE_BASE' && !this.#own.isReplaced(item.command.seq))
        stale.push(item);
      else this.#settle(item, verdict, books);
    }
    this.#mergeStale(stale, reader, books);
    if (decided.length > 0) this.#runs.settle(this.#settled, books.ops);
  }

  #decide(outcome: Outcome, books: Books): [Item, Verdict][] {
    const { peer, incarnation } = this.#own.session;
    if (outcome.peer !== peer || outcome.incarnation !== incarnation) return [];
    const item = this.#own.get(outcome.seq);
    if (!item) {
      books.forked ||= outcome.seq > this.#own.lastSeq;
      return [];
    }
    if (!equal(item.command.hash, outcome.hash)) {
      books.forked = true;
      return [];
    }
    // This store was replaced. What it had saved stays as it is: should it go on after all, under another incarnation, it is signed again.
    if (isRefused(outcome.verdict) && outcome.verdict.refused === 'SESSION_CLOSED') return [];
    this.#own.drop(item);
    this.#settled = seqOf(Math.max(this.#settled, outcome.seq));
    return [[item, outcome.verdict]];
  }

  #settle(item: Item, verdict: Verdict, books: Books): void {
    const { seq } = item.command;
    if (this.#own.consume(seq)) return;
    if (isRefused(verdict)) this.#refuse(item, verdict, books);
    else books.settled.push({ handle: item.handle, seq, verdict });
  }

  /** All of one slot's at once: edits that were made on each other must be merged as one line of edits. */
  #mergeStale(items: readonly Item[], reader: DocumentReader, books: Books): void {
    const doomed = new Map<EntryId, Doomed[]>();
    for (const item of items) {
      if (item.body.kind !== 'edit') continue;
      doomed.set(item.body.entry, [...(doomed.get(item.body.entry) ?? []), { item, body: item.body }]);
    }
    for (const [entry, each] of doomed) {
      for (const [item, refused] of this.#editing.heal(reader, entry, each, books.settled))
        this.#refuse(item, refused, books);
    }
    for (const item of items) {
      const refused = item.body.kind === 'bundle' && this.#editing.again(reader, item, books.settled);
      if (refused) this.#refuse(item, refused, books);
    }
  }

  #refuse(item: Item, verdict: Refused, books: Books): void {
    const { seq } = item.command;
    books.settled.push({ handle: item.handle, seq, verdict });
    if (!item.quiet) this.#refused.keep(this.#own.session.incarnation, item, verdict, books.ops);
  }
}
