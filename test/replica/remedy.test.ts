import { expect, test } from 'vitest';
import { isWholeDespite, type Remedy, remedyFor } from '../../shared/replica/remedy.ts';

const cases: readonly [what: string, problems: readonly string[], isSettled: boolean, Remedy][] = [
  ['nothing', [], false, 'none'],
  ['nothing, and a person said so', [], true, 'none'],
  ['turns are gone from the end', ['BEHIND_MARK'], false, 'rebirth'],
  ['an accepted value is gone', ['ACCEPTED_MISSING'], false, 'rebirth'],
  ['the mark is missing', ['MARK_MISSING'], false, 'rebirth'],
  ['damage was found before, and what it was is lost', ['DAMAGED_BEFORE'], false, 'rebirth'],
  ['the database was repaired, with a verdict', ['DAMAGED_BEFORE', 'DATABASE_BROKEN'], false, 'rebirth'],
  ['it was put back', ['ROLLED_BACK'], false, 'rebirth'],
  ['it was rebuilt', ['REBUILT'], false, 'rebirth'],
  ['it runs twice', ['DAMAGED_BEFORE', 'COPIED'], false, 'ask'],
  ['it runs twice, and this one is to go on', ['DAMAGED_BEFORE', 'COPIED'], true, 'rebirth'],
  ['it was replaced', ['REPLACED'], false, 'ask'],
  ['it was replaced, and this one is to go on', ['REPLACED'], true, 'rebirth'],
  ['it lies elsewhere', ['OTHER_PLACE'], false, 'ask'],
  ['it was moved', ['OTHER_PLACE'], true, 'none'],
  ['it lies elsewhere and is damaged', ['MARK_MISSING', 'OTHER_PLACE'], false, 'ask'],
  ['it was moved and is damaged', ['MARK_MISSING', 'OTHER_PLACE'], true, 'rebirth'],
];

test.each(cases)('%s', (_what, problems, isSettled, remedy) => {
  expect(remedyFor({ problems, isSettled })).toBe(remedy);
});

test.each([
  [[], false],
  [['DAMAGED_BEFORE'], false],
  [['ROLLED_BACK'], true],
  [['DAMAGED_BEFORE', 'REBUILT'], true],
  [['DAMAGED_BEFORE', 'COPIED', 'BEHIND_MARK'], false],
  [['MARK_OLD'], false],
])('%j: its log and its state are believed: %s', (problems, isWhole) => {
  expect(isWholeDespite(problems)).toBe(isWhole);
});
