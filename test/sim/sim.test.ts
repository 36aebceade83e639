import { hash } from 'node:crypto';
import { expect, test } from 'vitest';
import { installSha256 } from '../../shared/base/hash.ts';
import { World } from '../../shared/sim/world.ts';

const OF_THE_LINKS = new Set([
  'sent',
  'lost',
  'duplicated',
  'replayed',
  'cut',
  'late',
  'connection opened',
  'connection closed',
]);

installSha256((bytes) => hash('sha256', bytes, 'buffer'));

test('one seed is one story: the same messages at the same moments', () => {
  for (const seed of [3, 17, 40]) {
    const first = new World({ seed }).run();
    const again = new World({ seed }).run();
    expect(again).toEqual(first);
  }
  expect(new World({ seed: 3 }).run().fingerprint).not.toBe(new World({ seed: 4 }).run().fingerprint);
});

test('the transcript changes nothing', () => {
  const quiet = new World({ seed: 5, transcriptLines: 1 }).run();
  const verbose = new World({ seed: 5, transcriptLines: 100_000 }).run();
  expect(verbose.fingerprint).toBe(quiet.fingerprint);
});

test('of the injections only those happen that are asked for, and what is left out changes nothing for the others', () => {
  const all = new World({ seed: 5 }).run();
  const none = new World({ seed: 5, only: [] }).run();
  const injected = (faults: Readonly<Record<string, number>>): number =>
    Object.entries(faults).reduce((sum, [kind, n]) => (OF_THE_LINKS.has(kind) ? sum : sum + n), 0);
  expect(all.injections).toBeGreaterThan(0);
  expect(injected(all.faults)).toBe(all.injections);
  expect(injected(none.faults)).toBe(0);
  const numbers = Array.from({ length: all.injections }, (_, n) => n);
  expect(new World({ seed: 5, only: numbers }).run().fingerprint).toBe(all.fingerprint);
});

test('chaos is no calm sea: leaders change, and slots are fought for', () => {
  let ballots = 0;
  let contested = 0;
  for (let seed = 1; seed <= 60; seed++) {
    const report = new World({ seed }).run();
    ballots += report.ballots;
    contested += report.slotsContested;
  }
  expect(ballots).toBeGreaterThan(120);
  expect(contested).toBeGreaterThan(3);
});
