import { defineConfig } from 'vitest/config';

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
];

export default defineConfig({
  test: {
    maxWorkers: 2, // two cores must do: more workers only make the timings noisy
    projects: [
      { test: { name: 'unit', include: unitFolders.map((folder) => `test/${folder}/**/*.test.ts`) } },
      { test: { name: 'sim', include: ['test/sim/**/*.test.ts'], testTimeout: 60_000 } },
      {
        // Real processes of the built command, after all else. They wait more than they work, so three files at a time; and there is time for elections
        // and dials.
        test: {
          name: 'integration',
          sequence: { groupOrder: 1 },
          maxWorkers: 3,
          include: ['test/integration/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
