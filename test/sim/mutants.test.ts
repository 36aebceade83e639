import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { MUTANTS } from './mutants.ts';

/**
 * The simulator is worth what it catches. Each bug is planted in the production source as a child process loads it, and seeds run until one fails; a
 * bug that no longer fits its source fails too. `npm run sim -- --mutant NAME` tries any of the others.
 */
const SEEDS_MAX = 600;
const REQUIRED = [
  'reply-before-persist',
  'ignore-highest-accepted-ballot',
  'count-acceptances-across-ballots',
  'phase-1-ignores-configuration',
  'ballot-reused-after-restart',
  'watermark-trusted-alone',
  'accept-does-not-promise',
  'quorum-one-short',
];

const root = fileURLToPath(new URL('../..', import.meta.url));

test.each(REQUIRED)('%s is caught', { timeout: 240_000 }, (name) => {
  expect(MUTANTS.map((mutant) => mutant.name)).toContain(name);
  const ran = spawnSync(
    process.execPath,
    [
      '--import',
      './test/sim/mutate.ts',
      'test/sim/run.ts',
      '--seeds',
      String(SEEDS_MAX),
      '--stop-after',
      '1',
      '--json',
    ],
    { cwd: root, encoding: 'utf8', env: { ...process.env, SYNOD_MUTANT: name } },
  );
  const report = JSON.parse(ran.stdout.trim().split('\n').at(-1) ?? '{}') as {
    ran: number;
    failed: { seed: number; by: string; message: string }[];
  };
  const [caught] = report.failed;
  expect(caught, ran.stderr).toBeDefined();
  console.log(`${name}: caught after ${report.ran} seeds by ${caught?.by}: ${caught?.message.slice(0, 140)}`);
});
