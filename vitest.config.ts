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
        // Real processes of the built command: one file at a time, and time for elections and dials.
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          fileParallelism: false,
          // Real clocks, disks and sockets on a shared machine: a test that fails is tried once more, and must pass then.
          retry: 1,
          testTimeout: 120_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
