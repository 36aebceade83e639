import type { Mutant } from './mutant.ts';
import { CORE_MUTANTS } from './mutants-core.ts';
import { IDENTITY_MUTANTS } from './mutants-identity.ts';
import { KEEPING_MUTANTS } from './mutants-keeping.ts';
import { LAYER_MUTANTS } from './mutants-layers.ts';
import { UNIT_MUTANTS } from './mutants-unit.ts';

/**
 * All bugs that are planted.
 *
 * Missing, as the simulator knows one level only: levels above the first (R10).
 * Not here, since a seed would need more luck than it has: an expelled voter that nobody writes to, since members are gone through only when one changes (R2).
 * The farewell to whoever was expelled covers for it for its first seconds.
 */
export const MUTANTS: readonly Mutant[] = [
  ...CORE_MUTANTS,
  ...KEEPING_MUTANTS,
  ...LAYER_MUTANTS,
  ...IDENTITY_MUTANTS,
  ...UNIT_MUTANTS,
];
