import { defineConfig } from 'vitest/config';
import { planted } from './mutant.ts';
import { MUTANTS } from './mutants.ts';

// Unit tests with the bug named by SYNOD_MUTANT planted.
const mutant = MUTANTS.find((m) => m.name === process.env.SYNOD_MUTANT);
if (!mutant) throw new Error(`no such mutant: ${process.env.SYNOD_MUTANT}`);

export default defineConfig({
  plugins: [
    {
      name: 'mutant',
      enforce: 'pre',
      transform: (code, id) => planted(mutant, id, code),
    },
  ],
  // What was transformed before was transformed without this bug.
  test: { include: ['test/**/*.test.ts'], bail: 1, fsModuleCache: false },
});
