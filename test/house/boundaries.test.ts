import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';
import { entryPoints, layers } from './layers.ts';
import { importProblems, purityProblems, readSources, root, unusedFiles } from './scan.ts';

const pkg = JSON.parse(readFileSync(`${root}/package.json`, 'utf8'));
const packages = Object.keys(pkg.dependencies);
const sources = readSources('shared', 'src-main', 'src-renderer');

describe('imports', () => {
  test('point the way of the table', () => {
    expect([...sources].flatMap(([path, text]) => importProblems(path, text, packages))).toEqual([]);
  });

  test.each([
    ['shared/base/a.ts', "import { b } from '../consensus/b.ts';", 'shared/base may not import shared/consensus'],
    ['shared/base/a.ts', "import type { B } from '../consensus/b.ts';", 'may not import'],
    ['shared/base/a.ts', "export * from '../consensus/b.ts';", 'may not import'],
    ['shared/base/a.ts', "type B = import('../consensus/b.ts').B;", 'may not import'],
    ['shared/base/deep/a.ts', "await import('../../consensus/b.ts');", 'may not import'],
    ['shared/wire/a.ts', "import '../../src-main/peer/b.ts';", 'may not import'],
    ['shared/wire/a.ts', "import '../../test/house/scan.ts';", 'leads out of the sources'],
    ['shared/wire/a.ts', "import { readFileSync } from 'node:fs';", 'runs without Node'],
    ['shared/wire/a.ts', "import { readFileSync } from 'fs';", 'runs without Node'],
    ['shared/wire/a.ts', "import { createLibp2p } from 'libp2p';", 'not among the pure packages'],
    ['shared/wire/a.ts', "import { app } from 'electron';", 'only the shell knows electron'],
    ['src-main/peer/a.ts', "import { app } from 'electron';", 'only the shell knows electron'],
    ['src-main/peer/a.ts', "import '../cli/synod.ts';", 'may not import'],
    ['src-main/peer/a.ts', "import '../../shared/sim/world.ts';", 'may not import'],
    ['src-main/peer/a.ts', "import { join } from 'path';", 'node: prefix'],
    ['src-main/peer/a.ts', "import { expect } from 'vitest';", 'not a dependency'],
    ['src-main/peer/a.ts', "import { x } from '@libp2p/unheard-of/sub';", 'not a dependency'],
    ['src-main/peer/a.ts', "new Worker(new URL('../cli/work.js', import.meta.url));", 'may not import'],
    ['src-main/preload/a.ts', "import '../peer/b.ts';", 'may not import'],
    ['src-renderer/state/a.svelte.ts', "import '../../shared/document/b.ts';", 'may not import'],
    ['src-renderer/views/A.svelte', '<script lang="ts">import \'node:fs\';</script>', 'runs without Node'],
    ['shared/a.ts', '', 'no folder of the table'],
    ['src-main/other/a.ts', '', 'no folder of the table'],
  ])('%s: %s is caught', (path, text, problem) => {
    expect(importProblems(path, text, packages).join()).toContain(problem);
  });

  test.each([
    ['shared/consensus/a.ts', "import { b } from '../base/b.ts'; import { c } from './c.ts';"],
    ['shared/base/a.ts', "import { sha256 } from '@noble/hashes/sha2.js';"],
    ['shared/base/a.ts', "// import { b } from '../consensus/b.ts';"],
    ['src-main/peer/a.ts', "import { join } from 'node:path'; import { b } from '../../shared/replica/b.ts';"],
    ['src-main/shell/a.ts', "import { app } from 'electron';"],
  ])('%s: %s is allowed', (path, text) => {
    expect(importProblems(path, text, [...packages, 'electron'])).toEqual([]);
  });
});

describe('shared/ is pure', () => {
  test('no clock, no chance, no platform, no language', () => {
    const shared = [...sources].filter(([path]) => path.startsWith('shared/') && !path.endsWith('.d.ts'));
    expect(shared.flatMap(([path, text]) => purityProblems(path, text))).toEqual([]);
  });

  test.each([
    'const t = Date.now();',
    'const t = new Date();',
    'const t = new Date(0);',
    'const clock = Date;',
    'const x = Math.random();',
    'setTimeout(go, 1);',
    'setInterval(go, 1);',
    'performance.now();',
    'process.exit();',
    "console.log('x');",
    "Buffer.from('x');",
    'globalThis.crypto.getRandomValues(bytes);',
    'crypto.getRandomValues(bytes);',
    'const options = { crypto };',
    'new Intl.Collator();',
    "await fetch('x');",
    'a.localeCompare(b);',
    'a?.toLocaleLowerCase();',
    'n.toLocaleString();',
    'const word = /\\p{L}+/u;',
    "new RegExp('\\\\p{L}', 'u');",
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a planted sample
    'const text = `${process.pid}`;',
  ])('%s is caught', (text) => {
    expect(purityProblems('shared/base/a.ts', text)).toHaveLength(1);
  });

  test.each([
    '// Date.now() belongs to the host',
    "const text = 'process.exit';",
    'const t = Date.UTC(2026, 0, 1);',
    'interface Host { readonly console: Log; fetch(x: string): void }',
    'host.fetch(x); host.performance; const o = { process: 1 };',
    'function sign(crypto: Crypto) { return crypto.sign(); }',
    'const n = Math.max(1, 2); const word = /[a-z]+/;',
  ])('%s is allowed', (text) => {
    expect(purityProblems('shared/base/a.ts', text)).toEqual([]);
  });
});

describe('tsconfig.json', () => {
  const folders = ['shared', 'src-main'].flatMap((top) =>
    readdirSync(`${root}/${top}`, { withFileTypes: true })
      .filter((each) => each.isDirectory())
      .map((each) => `${top}/${each.name}`),
  );

  test.each(folders)('of %s refers to what the table allows', (folder) => {
    const own = layers[folder]?.filter((layer) => existsSync(`${root}/${layer}`));
    expect(referencesOf(folder)).toEqual(own?.toSorted());
  });

  test('of the root and of test/ refer to every folder', () => {
    expect(referencesOf('.')).toEqual(folders.toSorted());
    expect(referencesOf('test')).toEqual(folders.toSorted());
  });

  function referencesOf(folder: string): string[] {
    const { config } = ts.readConfigFile(`${root}/${folder}/tsconfig.json`, ts.sys.readFile);
    const references: { path: string }[] = config.references;
    return references.map(({ path }) => posix.join(folder, path)).toSorted();
  }
});

describe('source files', () => {
  test('are all used', () => {
    const all = readSources(
      'shared',
      'src-main',
      'src-renderer',
      'test',
      'vitest.config.ts',
      'electron.vite.config.ts',
    );
    const bins = Object.values<string>(pkg.bin).map((bin) => bin.replace(/^out\//, '').replace(/\.js$/, '.ts'));
    const tests = [...all.keys()].filter((path) => path.endsWith('.test.ts'));
    expect(unusedFiles(all, [...entryPoints, ...bins, ...tests])).toEqual([]);
  });

  test('that nothing reaches are caught', () => {
    const planted = new Map([
      ['src-main/cli/synod.ts', "const { run } = await import('../peer/run.ts');"],
      ['src-main/peer/run.ts', "new Worker(new URL('./worker.js', import.meta.url));"],
      ['src-main/peer/worker.ts', ''],
      ['shared/base/left.ts', "import './over.ts';"],
      ['shared/base/over.ts', ''],
      ['shared/base/ambient.d.ts', ''],
    ]);
    expect(unusedFiles(planted, ['src-main/cli/synod.ts'])).toEqual(['shared/base/left.ts', 'shared/base/over.ts']);
  });
});
