import { describe, expect, test } from 'vitest';
import { catchMutant, runWith } from './mutant-runs.ts';
import { MUTANTS } from './mutants.ts';
import { SEEDS } from './shard.ts';

/** The same seeds and tests pass without the bug, so whatever fails here found it. */
describe('what is to catch it catches a planted bug:', () => {
  test.each(MUTANTS.map((mutant) => [mutant.name, mutant] as const))('%s', { timeout: 200_000 }, async (_, mutant) => {
    const { by } = await catchMutant(mutant, SEEDS);
    expect(by, `neither a seed up to ${SEEDS} nor a test sees that ${mutant.rule} is broken`).not.toBeNull();
  });
});

test('a bug that no longer fits the source is noticed', async () => {
  await expect(runWith('none of them', ['--seeds', '1'])).rejects.toThrow('no such mutant');
});
