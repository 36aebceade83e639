import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { REFUSALS } from '../../shared/document/codes.ts';
import { joinSteps } from '../../shared/ipc/contract.ts';
import { damageCodes, errorCodes, exitCodeOf, refusalCodes, waitingCodes } from '../../shared/ipc/errors.ts';

const page = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8');

test('every refusal of the state machine has its name here', () => {
  const names = Object.keys(REFUSALS).map((code) => (code === 'KEY_REUSED' ? code : `REFUSED_${code}`));
  expect(names.toSorted()).toEqual([...refusalCodes].toSorted());
});

test('docs/errors.md names every error with its exit code, every reason to wait, every step of joining and all that verify finds', () => {
  const errors = Array.from(page.matchAll(/^\| `([A-Z_]+)` \| ([0-9]+) \|/gm), ([, code, exit]) => `${code} ${exit}`);
  expect(errors.toSorted()).toEqual(errorCodes.map((code) => `${code} ${exitCodeOf(code)}`).toSorted());
  const others = Array.from(page.matchAll(/^\| `([A-Z_]+)` \| (?![0-9]+ \|)/gm), ([, code]) => code);
  expect(others.toSorted()).toEqual([...waitingCodes, ...joinSteps, ...damageCodes].toSorted());
});
