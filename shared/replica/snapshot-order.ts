import { numberKey } from '../document/index.ts';
import type { KvRange } from '../driver/store.ts';
import type { SnapshotCursor } from '../wire/snapshot-messages.ts';
import { type Area, placed } from './area.ts';

/** These come before the older ones, so that whoever joins sees what is going on now; the very newest first of all, as they may be long. Entries. */
const NEWEST = [50, 450] as const;
const NEWEST_IN_ALL = 500;
/** The older ones follow in so many blocks at most, the newest block first. A cursor counts ranges up to 64. */
const OLDER_BLOCKS = 24;

/** Positions, both inclusive. */
export interface Positions {
  readonly from: number;
  readonly to: number;
}

interface KeyRange {
  readonly gte: string;
  readonly lt: string;
}

/** All that is small: members, sessions, the title. */
const SMALL: readonly KeyRange[] = [
  { gte: 's/', lt: 's/e/' },
  { gte: 's/e0', lt: 's/p/' },
  { gte: 's/p0', lt: 's/r/' },
  { gte: 's/r0', lt: 's0' },
];

/** An entry's rows, in the order of the ranges of a block. */
const ENTRY_PREFIXES = ['s/p/', 's/r/'] as const;

/** The entries in the order in which they travel: the newest block first, and ascending in each, as they stand in the store. One at least. */
function blocks(positions: number): readonly Positions[] {
  const older = Math.max(NEWEST_IN_ALL, Math.ceil((positions - NEWEST_IN_ALL) / OLDER_BLOCKS));
  const all: Positions[] = [];
  let to = positions;
  do {
    const from = Math.max(1, to - (NEWEST[all.length] ?? older) + 1);
    all.push({ from, to });
    to = from - 1;
  } while (to >= 1);
  return all;
}

/** Everything under a prefix from one position to another; the first and the last range go to the ends of it. */
const between = (prefix: string, { from, to }: Positions, positions: number): KeyRange => ({
  gte: from === 1 ? prefix : prefix + numberKey(from),
  lt: to === positions ? `${prefix.slice(0, -1)}0` : prefix + numberKey(to + 1),
});

/**
 * The order in which a snapshot's rows travel: all that is small, then the entries by blocks, each as its entries and then their revisions, and the index of ids
 * last. Every state row lies in exactly one of these ranges, also those of kinds that are yet to come.
 */
export function snapshotRanges(positions: number): readonly KeyRange[] {
  return [
    ...SMALL,
    ...blocks(positions).flatMap((each) => ENTRY_PREFIXES.map((prefix) => between(prefix, each, positions))),
    { gte: 's/e/', lt: 's/e0' },
  ];
}

/** All that is small is there: what is said of the group and its members can be read. */
export const isSmallThere = (cursor: SnapshotCursor | null): boolean => cursor === null || cursor.range >= SMALL.length;

const REVISION_KEY = /^s\/r\/([0-9a-f]{13})\//;

/** The entries of which every row has come, in the order in which they came. @param cursor after which the next rows follow; null: all are there */
export function wholeEntries(positions: number, cursor: SnapshotCursor | null): readonly Positions[] {
  const all = blocks(positions);
  if (cursor === null) return all;
  const ranges = cursor.range - SMALL.length;
  const count = Math.max(0, Math.floor(ranges / ENTRY_PREFIXES.length));
  const whole = all.slice(0, count);
  const next = all[count];
  // In the middle of a block's revisions: those of the entry at the cursor may not all be there.
  const at = ranges % ENTRY_PREFIXES.length === 1 ? REVISION_KEY.exec(cursor.after)?.[1] : undefined;
  if (next === undefined || at === undefined) return whole;
  const to = Math.min(next.to, Number.parseInt(at, 16) - 1);
  return to < next.from ? whole : [...whole, { from: next.from, to }];
}

/** What is left of the cursor's range, as it stands in an area; null after the last range. */
export function rangeAfter(positions: number, cursor: SnapshotCursor, area: Area, limit: number): KvRange | null {
  const range = snapshotRanges(positions)[cursor.range];
  if (range === undefined) return null;
  const gte = cursor.after >= range.gte && cursor.after < range.lt ? `${cursor.after}\0` : range.gte;
  return { gte: placed(area, gte), lt: placedEnd(area, range.lt), limit };
}

/** The end of a range may be the end of the whole area. */
const placedEnd = (area: Area, key: string): string => area + key.slice(1);

export const FIRST_CURSOR: SnapshotCursor = { range: 0, after: '' };

export const nextRange = (cursor: SnapshotCursor): SnapshotCursor => ({ range: cursor.range + 1, after: '' });
