import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Heights } from '../../src-renderer/list/heights.ts';
import { ROWS_MAX, spanOf } from '../../src-renderer/list/window.ts';

const GUESS = 33;

describe('heights', () => {
  test('are what a plain sum says, however they come', () => {
    const change = fc.record({ count: fc.nat(2_000), row: fc.nat(2_000), height: fc.integer({ min: 1, max: 5_000 }) });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 60 }), fc.nat(2_000), (changes, at) => {
        const heights = new Heights(GUESS);
        let plain: number[] = [];
        for (const { count, row, height } of changes) {
          plain = Array.from({ length: count }, (_, i) => plain[i] ?? GUESS);
          heights.resize(count);
          heights.set(row, height);
          if (row < count) plain[row] = height;
        }
        const sum = (end: number): number => plain.slice(0, end).reduce((all, each) => all + each, 0);
        expect(heights.total).toBe(sum(plain.length));
        expect(heights.offsetOf(at)).toBe(sum(at));
      }),
    );
  });

  test('find the row that covers a place', () => {
    const heights = new Heights(10);
    heights.resize(5);
    heights.set(1, 100);
    expect([-5, 0, 9, 10, 109, 110, 139, 500].map((place) => heights.rowAt(place))).toEqual([0, 0, 0, 1, 1, 2, 4, 4]);
  });

  test('a million rows are found at once', () => {
    const heights = new Heights(GUESS);
    heights.resize(1_000_000);
    for (let row = 0; row < 1_000_000; row += 1_000) heights.set(row, 500);
    expect(heights.offsetOf(heights.rowAt(20_000_000))).toBeLessThanOrEqual(20_000_000);
    expect(heights.total).toBe(1_000_000 * GUESS + 1_000 * (500 - GUESS));
  });
});

test('the rows cover what is seen and stay few, whatever the heights and wherever one looks', () => {
  const shape = fc.record({
    count: fc.nat(3_000),
    tall: fc.array(fc.tuple(fc.nat(3_000), fc.integer({ min: 20, max: 4_000 })), { maxLength: 100 }),
    view: fc.integer({ min: 50, max: 2_000 }),
    share: fc.double({ min: 0, max: 1, noNaN: true }),
  });
  fc.assert(
    fc.property(shape, ({ count, tall, view, share }) => {
      const heights = new Heights(GUESS);
      heights.resize(count);
      for (const [row, height] of tall) heights.set(row, height);
      const top = Math.max(0, heights.total - view) * share;
      const { from, to } = spanOf(heights, top, view);
      expect(to - from).toBeLessThanOrEqual(ROWS_MAX);
      expect(to > from).toBe(count > 0);
      expect(heights.offsetOf(from)).toBeLessThanOrEqual(top);
      expect(heights.offsetOf(to)).toBeGreaterThanOrEqual(Math.min(top + view, heights.total));
    }),
  );
});
