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
  'shell',
  'renderer',
];

export default defineConfig({
  test: {
    maxWorkers: 2, // two cores must do: more workers only make the timings noisy
    projects: [
      { test: { name: 'unit', include: unitFolders.map((folder) => `test/${folder}/**/*.test.ts`) } },
      { test: { name: 'sim', include: ['test/sim/**/*.test.ts'], testTimeout: 60_000 } },
      {
        // Real processes of the built command, after all else. They wait more than they work, so three files at a time; and there is time for elections
        // and dials. What goes wrong once gets a second try, and is named at the end of the run.
        test: {
          name: 'integration',
          retry: 1,
          sequence: { groupOrder: 1 },
          maxWorkers: 3,
          include: ['test/integration/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 60_000,
        },
      },
      {
        // The window in a real browser, before real peers.
        test: {
          name: 'e2e',
          retry: 1,
          sequence: { groupOrder: 2 },
          maxWorkers: 1,
          include: ['test/e2e/**/*.test.ts'],
          globalSetup: 'test/e2e/setup.ts',
          testTimeout: 180_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
