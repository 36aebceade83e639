import { numberKey } from '../document/index.ts';
import type { KvRange } from '../driver/store.ts';
import type { SnapshotCursor } from '../wire/snapshot-messages.ts';
import { type Area, placed } from './area.ts';

/** These come before the older ones, so that whoever joins sees what is going on now. Entries. */
const NEWEST = 500;

/**
 * The order in which a snapshot's rows travel: all that is small (members, sessions, the title), the newest entries, the older ones, and the index of ids
 * last. Every state row lies in exactly one of these ranges, also those of kinds that are yet to come.
 */
export function snapshotRanges(positions: number): readonly { readonly gte: string; readonly lt: string }[] {
  const first = numberKey(Math.max(1, positions - NEWEST + 1));
  return [
    { gte: 's/', lt: 's/e/' },
    { gte: 's/e0', lt: 's/p/' },
    { gte: 's/p0', lt: 's/r/' },
    { gte: 's/r0', lt: 's0' },
    { gte: `s/p/${first}`, lt: 's/p0' },
    { gte: `s/r/${first}`, lt: 's/r0' },
    { gte: 's/p/', lt: `s/p/${first}` },
    { gte: 's/r/', lt: `s/r/${first}` },
    { gte: 's/e/', lt: 's/e0' },
  ];
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
