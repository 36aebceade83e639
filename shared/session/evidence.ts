import { equal } from '../base/bytes.ts';
import {
  type DocumentReader,
  REFUSALS_KEPT,
  type SessionId,
  type SessionRecord,
  type Took,
  tagOf,
  type Verdict,
} from '../document/index.ts';
import { entryOf, type Item, type PlacedBody, placedBodies } from './items.ts';

/** What became of a command that was judged, as far as the state still tells. */
export function verdictOf(reader: DocumentReader, session: SessionId, item: Item, record: SessionRecord): Verdict {
  const { seq } = item.command;
  const refusal = record.refusals.find((each) => each.seq === seq);
  if (refusal) return { refused: refusal.code, detail: 'judged while this store was not looking' };
  const oldest = record.refusals[0];
  const forgotten = record.refusals.length === REFUSALS_KEPT && oldest !== undefined && seq < oldest.seq;
  const bodies = placedBodies(item.body);
  if (forgotten && !bodies.every((placed) => leftTrace(reader, session, item, placed))) {
    const refused = bodies.some(({ body }) => body.kind === 'edit') ? 'STALE_BASE' : 'NO_RIGHTS';
    return { refused, detail: 'refused so long ago that the reason is gone' };
  }
  return { took: bodies.map((placed) => tookNow(reader, session, item, placed)) };
}

/**
 * Whether it was this very command that was judged under its number, as far as the state still tells. A store that was put back may have given a number a second
 * time, and then the other command is in the log.
 */
export function wasJudged(
  reader: DocumentReader,
  session: SessionId,
  item: Item,
  record: SessionRecord,
  isOfTheChain: boolean,
): boolean {
  const { seq, hash } = item.command;
  if (seq > record.lastSeq) return false;
  if (seq === record.lastSeq) return equal(hash, record.lastHash);
  if (isOfTheChain || record.refusals.some((each) => each.seq === seq)) return true;
  return placedBodies(item.body).every((placed) => {
    if (placed.body.kind !== 'create' || placed.body.key !== null) {
      return placed.body.kind !== 'edit' || leftTrace(reader, session, item, placed);
    }
    const entry = entryOf(session, seq, placed);
    const first = entry === null ? undefined : reader.history(entry)[0];
    return first !== undefined && equal(first.tag, tagOf(hash, placed.index));
  });
}

function leftTrace(reader: DocumentReader, session: SessionId, item: Item, placed: PlacedBody): boolean {
  const { body, index } = placed;
  const entry = entryOf(session, item.command.seq, placed);
  if (entry === null) return true;
  if (body.kind === 'create') return reader.entry(entry) !== undefined;
  const tag = tagOf(item.command.hash, index);
  return reader.history(entry).some((revision) => equal(revision.tag, tag));
}

function tookNow(reader: DocumentReader, session: SessionId, item: Item, placed: PlacedBody): Took {
  const id = entryOf(session, item.command.seq, placed);
  const entry = id === null ? undefined : reader.entry(id);
  if (id === null || !entry) return { entry: null, position: null, slot: null, revision: null };
  const { position } = entry;
  if (placed.body.kind === 'create') return { entry: id, position, slot: entry.slot, revision: entry.revision };
  const tag = tagOf(item.command.hash, placed.index);
  const revisions = reader.history(id);
  const made = revisions.findIndex((revision) => equal(revision.tag, tag));
  const at = made < 0 ? revisions.length - 1 : made;
  return { entry: id, position, slot: revisions[at]?.slot ?? entry.slot, revision: at + 1 };
}
