import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { LongestFirst } from './test/sequencer.ts';

/** Folders of test/ that mirror the source folders, and test/house about the repository itself. */
const unitFolders = [
  'base',
  'consensus',
  'driver',
  'document',
  'session',
  'wire',
  'replica',
  'ipc',
  'house',
  'storage',
  'network',
  'group',
  'peer',
  'cli',
  'shell',
  'renderer',
];

/** What Node compiled once it need not compile again in each of the many processes that tests start. */
const env = { NODE_COMPILE_CACHE: fileURLToPath(new URL('.tmp/compiled', import.meta.url)) };

export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirst },
    maxWorkers: 3, // for two cores: some files wait more than they work
    projects: [
      // Some read the whole tree, or hash for seconds: much else may run beside them.
      {
        test: {
          name: 'unit',
          env,
          include: unitFolders.map((folder) => `test/${folder}/**/*.test.ts`),
          testTimeout: 60_000,
        },
      },
      // All work and no wait: on a machine with much else to do it takes as many times as long.
      { test: { name: 'sim', env, include: ['test/sim/**/*.test.ts'], testTimeout: 300_000 } },
      {
        // Real processes of the built command, after all else. They wait more than they work, so four files at a time, together with those of e2e; and there
        // is time for elections and dials. What goes wrong once gets a second try, and is named at the end of the run.
        test: {
          name: 'integration',
          env,
          retry: 1,
          sequence: { groupOrder: 1 },
          maxWorkers: 4,
          include: ['test/integration/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 60_000,
        },
      },
      {
        // The window in a real browser, before real peers.
        test: {
          name: 'e2e',
          env,
          retry: 1,
          sequence: { groupOrder: 1 },
          maxWorkers: 4,
          include: ['test/e2e/**/*.test.ts'],
          globalSetup: 'test/e2e/setup.ts',
          testTimeout: 180_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
