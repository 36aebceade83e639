import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { MUTANTS, type Mutant } from './mutants.ts';
import { SEEDS } from './shard.ts';

const run = fileURLToPath(new URL('run.ts', import.meta.url));
const mutate = new URL('mutate.ts', import.meta.url).href;

interface Result {
  readonly ran: number;
  readonly failed: readonly { readonly seed: number; readonly by: string; readonly message: string }[];
}

/** In a process of its own, since the bug is planted as the modules are loaded. */
function runWith(mutant: Mutant, seeds: readonly string[]): Promise<Result> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--import', mutate, run, '--json', '--stop-after', '1', ...seeds], {
      env: { ...process.env, SYNOD_MUTANT: mutant.name, NODE_OPTIONS: '' },
    });
    let said = '';
    let complaint = '';
    child.stdout.on('data', (chunk) => {
      said += chunk;
    });
    child.stderr.on('data', (chunk) => {
      complaint += chunk;
    });
    child.on('error', reject);
    child.on('close', () => {
      try {
        resolve(JSON.parse(said));
      } catch {
        reject(new Error(`${mutant.name} did not run: ${complaint}`));
      }
    });
  });
}

/** The same seeds pass without the bug (`seeds-*.test.ts`), so whatever fails here found it. */
describe('the simulator catches a planted bug:', () => {
  test.each(MUTANTS.map((mutant) => [mutant.name, mutant] as const))('%s', { timeout: 120_000 }, async (_, mutant) => {
    const known = await runWith(mutant, ['--list', mutant.seeds.join(',')]);
    const result = known.failed.length > 0 ? known : await runWith(mutant, ['--seeds', String(SEEDS)]);
    expect(result.failed, `no seed up to ${SEEDS} sees that ${mutant.rule} is broken`).toHaveLength(1);
  });
});

test('a bug that no longer fits the source is noticed', async () => {
  const [mutant] = MUTANTS as [Mutant];
  await expect(runWith({ ...mutant, name: 'none of them' }, ['--seeds', '1'])).rejects.toThrow('no such mutant');
});
