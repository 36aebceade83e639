import type { Heights } from './heights.ts';

/** Rows to have in the page, `from` up to but not with `to`. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

/** Never more rows than this, however low they are and however tall the window is. */
export const ROWS_MAX = 120;
/** Shown beyond the edges, so that a flick of the wheel meets no blank. Pixels. */
const BEYOND = 400;

/** Which rows cover what is seen of a list, and a little more on both sides. */
export function spanOf(heights: Heights, scrollTop: number, viewHeight: number): Span {
  if (heights.count === 0) return { from: 0, to: 0 };
  const first = heights.rowAt(scrollTop);
  const last = heights.rowAt(scrollTop + viewHeight);
  const seen = Math.min(last - first + 1, ROWS_MAX);
  const spare = Math.floor((ROWS_MAX - seen) / 2);
  const from = Math.max(heights.rowAt(scrollTop - BEYOND), first - spare, 0);
  const to = Math.min(heights.rowAt(scrollTop + viewHeight + BEYOND) + 1, first + seen + spare, heights.count);
  return { from, to };
}
