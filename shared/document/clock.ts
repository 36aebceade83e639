import type { Slot } from '../base/ids.ts';
import type { ClockMark, ClockRecord } from './records.ts';

/** How far a clock may be off before it is marked. */
const TOLERANCE_MS = 5 * 60_000;
/** Points closer together in time than this are not kept: they could not move a mark by more than this. */
const SPACING_MS = 60_000;
const POINTS_MAX = 128;

/** Notes when a slot was placed. Past the limit the older half is thinned out, so the past is known more coarsely. */
export function notePlaced(points: ClockRecord, slot: Slot, placedMs: number): ClockRecord {
  const last = points.at(-1);
  if (last && Math.abs(placedMs - last[1]) < SPACING_MS) return points;
  const grown = [...points, [slot, placedMs] as const];
  return grown.length <= POINTS_MAX ? grown : grown.filter((_, i) => i % 2 === 0 || i >= POINTS_MAX / 2);
}

/** `saw`: the slot the author had applied. What was placed then is known at most a little too early, never too late. */
export function clockMark(points: ClockRecord, saw: Slot, timeMs: number, placedMs: number): ClockMark {
  if (timeMs > placedMs + TOLERANCE_MS) return 'ahead';
  const seen = points.findLast(([slot]) => slot <= saw);
  return seen && timeMs < seen[1] - TOLERANCE_MS ? 'behind' : null;
}
