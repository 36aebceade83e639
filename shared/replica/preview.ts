import { equal } from '../base/bytes.ts';
import { FormatError } from '../base/cbor.ts';
import { type GroupId, position as positionOf, type Slot } from '../base/ids.ts';
import { type KvReader, MissingRecordError } from '../base/kv.ts';
import { DocumentReader, type EntryRecord, textProblem } from '../document/index.ts';
import type { Staging } from './snapshot-fetch.ts';
import { isSmallThere, type Positions, wholeEntries } from './snapshot-order.ts';

/**
 * What of a snapshot has come, for people to read before the rest is here. None of it is verified: a row's truth shows only once all rows add up to the state's
 * hash, and a snapshot carries no signatures. So it is looked at and nothing else; whatever decides, counts or is handed on reads the applied state.
 */
export class Preview {
  /** The snapshot's. */
  readonly slot: Slot;
  /** Entries in the snapshot. */
  readonly positions: number;
  /** The entries that have come whole, in the order in which they came. */
  readonly ranges: readonly Positions[];
  readonly #reader: DocumentReader;

  private constructor(reader: DocumentReader, { header, cursor }: Staging) {
    this.slot = header.slot;
    this.positions = header.positions;
    this.ranges = wholeEntries(header.positions, cursor);
    this.#reader = reader;
  }

  /** Null where nothing can be read yet, or where what came is not of this group. @param rows the area that the snapshot is fetched into */
  static of(group: GroupId, rows: KvReader, staging: Staging): Preview | null {
    const reader = new DocumentReader(rows);
    const isOfUse = isSmallThere(staging.cursor) && orNull(() => isOwn(reader, group, staging));
    return isOfUse === true ? new Preview(reader, staging) : null;
  }

  /** How many of the entries after a position have come whole. */
  countAfter(position: number): number {
    return this.ranges.reduce((sum, { from, to }) => sum + Math.max(0, to - Math.max(from, position + 1) + 1), 0);
  }

  /** `view` of the entry at a position; null where it has not come whole, or is not what an entry can be. */
  show<T>(position: number, view: (reader: DocumentReader, entry: EntryRecord) => T): T | null {
    if (!this.ranges.some(({ from, to }) => from <= position && position <= to)) return null;
    return orNull(() => {
      const entry = this.#reader.entryAt(positionOf(position));
      return entry !== undefined && this.#isPlausible(entry, position) ? view(this.#reader, entry) : null;
    });
  }

  /** All that can be said of an entry by itself: that its records fit each other, its place and the snapshot's slot. */
  #isPlausible(entry: EntryRecord, position: number): boolean {
    const { revision, textRevision, removed } = entry;
    if (entry.position !== position || entry.slot < 1 || entry.slot > this.slot || textRevision > revision)
      return false;
    const first = this.#reader.revisionOf(entry, 1);
    const wording = this.#reader.revisionOf(entry, textRevision);
    const last = this.#reader.revisionOf(entry, revision);
    if (first.kind !== 'create' || first.slot !== entry.slot) return false;
    if (!equal(last.tag, entry.tag) || (last.kind === 'remove') !== removed) return false;
    return [first, wording, last].every(
      ({ slot, text }) => slot >= entry.slot && slot <= this.slot && (text === null || textProblem(text) === null),
    );
  }
}

/** The record that counts the entries says the same as the header. */
function isOwn(reader: DocumentReader, group: GroupId, { header }: Staging): boolean {
  const meta = reader.meta();
  return meta.group === group && meta.positions === header.positions && reader.appliedSlot() === header.slot;
}

/** What somebody else sent may be anything, and is no damage of this disk. */
function orNull<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    if (error instanceof FormatError || error instanceof MissingRecordError) return null;
    throw error;
  }
}
