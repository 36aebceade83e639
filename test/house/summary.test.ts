import { expect, test } from 'vitest';
import { summarise } from './summary.ts';

const file = (status: string, ...tests: string[]) => ({
  name: 'a.test.ts',
  status,
  assertionResults: tests.map((each) => ({ status: each })),
});
const report = (...testResults: ReturnType<typeof file>[]) => ({ testResults });

test('passed, failed and skipped tests are counted apart', () => {
  const summary = summarise(report(file('failed', 'passed', 'failed', 'skipped'), file('passed', 'passed')), 1);
  expect(summary).toEqual({ passed: 2, failed: 1, ok: false, notes: ['1 skipped'] });
});

test('all passed is the only good end', () => {
  expect(summarise(report(file('passed', 'passed')), 0)).toEqual({ passed: 1, failed: 0, ok: true, notes: [] });
});

test.each([
  ['a file that could not be loaded', report(file('passed', 'passed'), file('failed')), 1, 1],
  ['an error outside of every test', report(file('passed', 'passed')), 1, 1],
  ['no report', undefined, 0, 1],
  ['no test at all', report(), 0, 0],
  ['skipped tests alone', report(file('passed', 'skipped')), 0, 0],
])('%s is no success', (_name, given, exitCode, failed) => {
  const summary = summarise(given, exitCode);
  expect(summary.ok).toBe(false);
  expect(summary.failed).toBe(failed);
  expect(summary.notes).not.toEqual([]);
});

test('what passed at the second try counts as passed, and is named with what went wrong', () => {
  const second = { status: 'passed', fullName: 'a leader dies', failureMessages: ['Error: too late\n    at a.ts:1'] };
  const one = { name: 'a.test.ts', status: 'passed', assertionResults: [second, { status: 'passed' }] };
  const notes = ['at the second try: a leader dies\n  Error: too late'];
  expect(summarise({ testResults: [one] }, 0)).toEqual({ passed: 2, failed: 0, ok: true, notes });
});
