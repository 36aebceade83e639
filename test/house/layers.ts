/**
 * Which folder may import which: the one table of the project's import direction. Each folder's tsconfig.json repeats
 * its row as `references`, so that the compiler refuses what is not here.
 */
export const layers: Readonly<Record<string, readonly string[]>> = {
  'shared/base': [],
  'shared/consensus': ['shared/base'],
  'shared/driver': ['shared/base', 'shared/consensus'],
  'shared/document': ['shared/base'],
  'shared/session': ['shared/base', 'shared/document'],
  'shared/wire': ['shared/base', 'shared/consensus', 'shared/document', 'shared/session'],
  // One group's replica wired together, run by the simulator and by the peer alike.
  'shared/replica': [
    'shared/base',
    'shared/consensus',
    'shared/driver',
    'shared/document',
    'shared/session',
    'shared/wire',
  ],
  'shared/ipc': ['shared/base'],
  'shared/sim': [
    'shared/base',
    'shared/consensus',
    'shared/driver',
    'shared/document',
    'shared/session',
    'shared/wire',
    'shared/replica',
    'shared/ipc',
  ],
  'src-main/storage': ['shared/base', 'shared/consensus', 'shared/driver', 'shared/document'],
  'src-main/network': ['shared/base', 'shared/wire'],
  'src-main/group': ['shared/base', 'shared/document', 'shared/wire', 'src-main/network'],
  'src-main/peer': [
    'shared/base',
    'shared/consensus',
    'shared/driver',
    'shared/document',
    'shared/session',
    'shared/wire',
    'shared/replica',
    'shared/ipc',
    'src-main/storage',
    'src-main/network',
    'src-main/group',
  ],
  'src-main/cli': [
    'shared/base',
    'shared/ipc',
    'shared/document',
    'src-main/peer',
    'src-main/group',
    'src-main/storage',
  ],
  // The window's three rows hold from their first file on.
  'src-main/shell': ['shared/base', 'shared/ipc', 'src-main/peer'],
  'src-main/preload': ['shared/base', 'shared/ipc'],
  'src-renderer': ['shared/base', 'shared/ipc'],
};

/** The only folders that may import `electron`: everything else also runs without a window. */
export const electronFolders: readonly string[] = ['src-main/shell', 'src-main/preload'];

/** The only packages in shared/: pure functions of their input, on every platform the same. */
export const purePackages: readonly string[] = ['@noble/hashes', '@scure/base', 'node-diff3', 'valibot'];

/** Where execution starts, besides package.json's `bin` and the test files. */
export const entryPoints: readonly string[] = [
  'electron.vite.config.ts',
  'src-main/cli/demo.ts',
  'src-main/cli/start.ts',
  'src-main/preload/preload.ts',
  'src-main/shell/main.ts',
  'src-renderer/main.ts',
  'src-renderer/vite.config.ts',
  'test/bench/bench.ts',
  'test/run.ts',
  'test/sim/mutant-vitest.ts',
  'test/sim/mutants-run.ts',
  'test/sim/run.ts',
  'test/sim/worker.ts',
  'vitest.config.ts',
];
