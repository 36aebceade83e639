import { equal, toHex } from '../base/bytes.ts';
import type { EntryId, Incarnation } from '../base/ids.ts';
import {
  type Body,
  type DocumentReader,
  isRefused,
  type Refused,
  type SessionId,
  type SessionRecord,
  type SingleBody,
  tagOf,
} from '../document/index.ts';
import { verdictOf, wasJudged } from './evidence.ts';
import { entryOf, type Item, itemsOf, placedBodies, type Tip } from './items.ts';
import type { Base, StoredRun } from './rows.ts';

/** What is left to do of former incarnations whose sessions are closed, in the order in which it was written. */
export function* remainder(
  rows: readonly StoredRun[],
  own: SessionId,
  reader: DocumentReader,
  onRefused: (from: Incarnation, item: Item, verdict: Refused) => void,
): Generator<{ readonly session: SessionId; readonly item: Item }> {
  const replaced = new Set(
    rows.flatMap(({ run, extras }) => extras.map(({ supersedes }) => `${run.incarnation}/${supersedes}`)),
  );
  for (const { run, extras, settled } of rows) {
    const session: SessionId = { group: own.group, peer: own.peer, incarnation: run.incarnation };
    const record = reader.session(own.peer, run.incarnation);
    const isOfTheChain = record !== undefined && chains(rows, run.incarnation, record);
    for (const item of itemsOf(run, extras)) {
      const { seq } = item.command;
      const over = seq <= settled || item.body.kind === 'openSession' || replaced.has(`${run.incarnation}/${seq}`);
      if (over) continue;
      const judged = record !== undefined && wasJudged(reader, session, item, record, isOfTheChain);
      const verdict = judged ? verdictOf(reader, session, item, record) : null;
      if (verdict === null) yield { session, item };
      else if (isRefused(verdict)) {
        if (verdict.refused === 'STALE_BASE' || verdict.refused === 'SESSION_CLOSED') yield { session, item };
        else if (!item.quiet) onRefused(run.incarnation, item, verdict);
      }
    }
  }
}

/** One of these commands is the last that was judged, or follows on it: so all before it are those that were. */
function chains(rows: readonly StoredRun[], incarnation: Incarnation, { lastSeq, lastHash }: SessionRecord): boolean {
  return rows.some(
    ({ run }) =>
      run.incarnation === incarnation &&
      run.commands.some(({ seq, hash, prev }) => {
        return (seq === lastSeq && equal(hash, lastHash)) || (seq === lastSeq + 1 && equal(prev, lastHash));
      }),
  );
}

/** Follows what commands call each other by while they get new seqs: entries without a key, and the revisions edits are made on. */
export class Moving {
  readonly #own: SessionId;
  readonly #entries = new Map<EntryId, EntryId>();
  readonly #bases = new Map<string, Base>();

  constructor(own: SessionId) {
    this.#own = own;
  }

  translate(body: Body): Body {
    if (body.kind === 'bundle') return { kind: 'bundle', bodies: body.bodies.map((each) => this.#translateOne(each)) };
    return this.#translateOne(body);
  }

  /** `item` was signed again as `now`. */
  moved(from: SessionId, item: Item, now: Item, tipOf: (entry: EntryId) => Tip | undefined): void {
    const fresh = placedBodies(now.body);
    for (const [i, placed] of placedBodies(item.body).entries()) {
      const counterpart = fresh[i];
      if (!counterpart) continue;
      const before = entryOf(from, item.command.seq, placed);
      const after = entryOf(this.#own, now.command.seq, counterpart);
      if (before === null || after === null) continue;
      this.#entries.set(before, after);
      const tip = tipOf(after);
      const tag = tagOf(now.command.hash, counterpart.index);
      if (tip && toHex(tip.tag) === toHex(tag)) {
        this.#bases.set(toHex(tagOf(item.command.hash, placed.index)), { revision: tip.revision, tag });
      }
    }
  }

  #translateOne(body: SingleBody): SingleBody {
    if (body.kind !== 'edit' && body.kind !== 'remove' && body.kind !== 'restore') return body;
    const entry = this.#entries.get(body.entry) ?? body.entry;
    if (body.kind !== 'edit') return { ...body, entry };
    const base = this.#bases.get(toHex(body.baseTag));
    return base ? { ...body, entry, baseRevision: base.revision, baseTag: base.tag } : { ...body, entry };
  }
}
