import { expect, test } from 'vitest';
import { survivedBy } from '../../shared/ipc/survived.ts';

const voters = (full: number, witnesses: number): { witness: boolean }[] =>
  Array.from({ length: full + witnesses }, (_, i) => ({ witness: i >= full }));

test.each([
  [3, 0, 2, 2, { writing: 1, electing: 1 }],
  [1, 2, 2, 2, { writing: 0, electing: 0 }],
  [2, 1, 2, 2, { writing: 1, electing: 1 }],
  [2, 3, 3, 3, { writing: 1, electing: 1 }],
  [3, 2, 3, 3, { writing: 2, electing: 2 }],
  [3, 0, 3, 2, { writing: 1, electing: 0 }],
  [1, 0, 1, 1, { writing: 0, electing: 0 }],
])('%i that can lead and %i witnesses, quorums of %i and %i', (full, witnesses, q1, q2, survives) => {
  expect(survivedBy({ voters: voters(full, witnesses), q1, q2 })).toEqual(survives);
});
