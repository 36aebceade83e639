import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { LONGEST } from '../longest.ts';

test('the files that begin first are there, and each is named once', () => {
  const gone = LONGEST.filter((path) => !existsSync(new URL(`../../${path}`, import.meta.url)));
  expect(gone).toEqual([]);
  expect(new Set(LONGEST).size).toBe(LONGEST.length);
});
