import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeCbor, FormatError } from '../../shared/base/cbor.ts';
import { slot } from '../../shared/base/ids.ts';
import { Missing } from '../../shared/driver/missing.ts';

const SLOTS = 40;
const range = fc.tuple(fc.integer({ min: 1, max: SLOTS }), fc.integer({ min: 1, max: SLOTS })).map(([a, b]) => ({
  from: slot(Math.min(a, b)),
  to: slot(Math.max(a, b)),
}));
const steps = fc.array(fc.record({ range, isAdded: fc.boolean() }), { maxLength: 30 });

/** The same by hand: a set of slots. */
function played(list: readonly { range: { from: number; to: number }; isAdded: boolean }[]): {
  missing: Missing;
  set: Set<number>;
} {
  let missing = Missing.NONE;
  const set = new Set<number>();
  for (const step of list) {
    const { from, to } = step.range;
    missing = step.isAdded
      ? missing.with({ from: slot(from), to: slot(to) })
      : missing.without({ from: slot(from), to: slot(to) });
    for (let at = from; at <= to; at++) {
      if (step.isAdded) set.add(at);
      else set.delete(at);
    }
  }
  return { missing, set };
}

describe('the slots that a store does not hold', () => {
  it('are what was added and not taken away, in ranges apart from each other', () => {
    fc.assert(
      fc.property(steps, (list) => {
        const { missing, set } = played(list);
        for (let at = 1; at <= SLOTS; at++) expect(missing.at(at) !== null).toBe(set.has(at));
        missing.ranges.forEach(({ from, to }, i) => {
          expect(from).toBeLessThanOrEqual(to);
          const next = missing.ranges[i + 1];
          if (next) expect(next.from).toBeGreaterThan(to + 1);
        });
      }),
    );
  });

  it('meet a stretch where one of its slots is among them', () => {
    fc.assert(
      fc.property(steps, range, (list, { from, to }) => {
        const { missing, set } = played(list);
        const isMet = Array.from({ length: to - from + 1 }, (_, i) => from + i).some((at) => set.has(at));
        expect(missing.meets(from, to)).toBe(isMet);
      }),
    );
  });

  it('are read as they were written', () => {
    fc.assert(
      fc.property(steps, (list) => {
        const { missing } = played(list);
        expect(Missing.decode(missing.encode()).ranges).toEqual(missing.ranges);
      }),
    );
  });

  it.each([
    [
      'touching',
      [
        [1, 2],
        [3, 4],
      ],
    ],
    [
      'overlapping',
      [
        [1, 3],
        [2, 4],
      ],
    ],
    [
      'out of order',
      [
        [5, 6],
        [1, 2],
      ],
    ],
    ['backwards', [[4, 2]]],
    ['of slot 0', [[0, 2]]],
  ])('refuse records with ranges %s', (_, ranges) => {
    expect(() => Missing.decode(encodeCbor(ranges))).toThrow(FormatError);
  });
});
