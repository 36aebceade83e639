import fc from 'fast-check';
import { expect, test } from 'vitest';
import { backoffMs } from '../../src-renderer/carrier/backoff.ts';

test('doubles from a quarter of a second to five seconds', () => {
  expect([0, 1, 2, 3, 4, 5, 6].map((failures) => backoffMs(failures, 0))).toEqual([
    250, 500, 1_000, 2_000, 4_000, 5_000, 5_000,
  ]);
});

test('stays between both, whatever chance says and however long it lasts', () => {
  fc.assert(
    fc.property(fc.nat(), fc.double({ min: 0, max: 1, noNaN: true }), (failures, chance) => {
      const ms = backoffMs(failures, chance);
      expect(ms).toBeGreaterThanOrEqual(250);
      expect(ms).toBeLessThanOrEqual(5_000);
    }),
  );
});
