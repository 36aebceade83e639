import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { Random } from '../../shared/base/random.ts';
import type { Replay } from '../../shared/sim/minimise.ts';
import { drawPlan } from '../../shared/sim/plan-draw.ts';

const MUTANT = 'watermark-trusted-alone';
const SEED = 11;
const dir = mkdtempSync(join(tmpdir(), 'synod-sim-'));
afterAll(() => rmSync(dir, { recursive: true }));

function sim(...args: readonly string[]): { status: number | null; stdout: string; stderr: string } {
  const run = fileURLToPath(new URL('run.ts', import.meta.url));
  return spawnSync(process.execPath, [run, ...args], { encoding: 'utf8', env: { ...process.env, NODE_OPTIONS: '' } });
}

test('a failing seed becomes a small story, which a file tells again', { timeout: 180_000 }, () => {
  const { status, stdout, stderr } = sim('--mutant', MUTANT, '--seed', `${SEED}`, '--minimise', '--minutes', '2');
  expect(status).toBe(1);
  const small = JSON.parse(stdout) as Replay & { readonly found: string };
  const whole = drawPlan(new Random(SEED));
  expect(Object.keys(small.plan.hard).length + Object.keys(small.plan.soft).length).toBeLessThan(
    Object.keys(whole.hard).length + Object.keys(whole.soft).length,
  );
  expect(small.plan.chaosMs).toBeLessThanOrEqual(whole.chaosMs);
  expect(small.only?.length).toBeLessThan(10);
  expect(stderr).toContain(small.found);

  const file = join(dir, 'small.json');
  writeFileSync(file, stdout);
  const replayed = sim('--mutant', MUTANT, '--replay', file);
  expect(replayed.status).toBe(1);
  expect(replayed.stderr).toContain(small.found);
  expect(sim('--replay', file).status, 'without the bug it passes').toBe(0);
});

test('a seed that passes has nothing to be made small', () => {
  const { status, stdout } = sim('--seed', '1', '--minimise');
  expect(status).toBe(0);
  expect(stdout).toContain('seed 1 passes');
});
