import { expect, test } from 'vitest';
import { Lab } from './lab.ts';
test('smoke', () => {
  const lab = new Lab({ voters: 'ABC' });
  lab.electByTime();
  const l = lab.leaders[0]!;
  lab.propose(l, 'x', 'y');
  lab.settle();
  lab.tick(3);
  console.log(lab.log.join('\n'), lab.describe());
  expect(1).toBe(1);
});
