import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import ts from 'typescript';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { layers } from './layers.ts';
import { root } from './scan.ts';

// The real configurations with planted sources, compiled away from the tree.
let place: string;

beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), 'synod-compile-'));
  for (const folder of ['.', ...Object.keys(layers).filter((layer) => layer.startsWith('shared/'))]) {
    mkdirSync(join(place, folder), { recursive: true });
    const name = folder === '.' ? 'tsconfig.base.json' : 'tsconfig.json';
    cpSync(join(root, folder, name), join(place, folder, name));
  }
  writeFileSync(join(place, 'package.json'), '{ "type": "module" }');
});

afterEach(() => rmSync(place, { recursive: true, force: true }));

/** Compiles a folder with all that it refers to, and says which errors there were, as `TS6307 shared/base/a.ts`. */
function compile(folder: string, files: Record<string, string>): string[] {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(place, path)), { recursive: true });
    writeFileSync(join(place, path), text);
  }
  const errors: string[] = [];
  const report = (each: ts.Diagnostic) => {
    const file = each.file?.fileName.replaceAll('\\', '/') ?? '';
    errors.push(`TS${each.code} ${file.slice(file.lastIndexOf('/shared/') + 1)}`);
  };
  const host = ts.createSolutionBuilderHost(ts.sys, undefined, report, () => {});
  ts.createSolutionBuilder(host, [join(place, folder)], {}).build();
  return errors;
}

test('an import against the direction does not compile', () => {
  const errors = compile('shared/base', {
    'shared/base/a.ts': "import { b } from '../consensus/b.ts';\nexport const a: number = b;\n",
    'shared/consensus/b.ts': 'export const b: number = 1;\n',
  });
  expect(errors).toContain('TS6307 shared/base/a.ts');
});

test('an import in the direction compiles', () => {
  const errors = compile('shared/consensus', {
    'shared/base/a.ts': 'export const a: number = 1;\n',
    'shared/consensus/b.ts': "import { a } from '../base/a.ts';\nexport const b: number = a;\n",
  });
  expect(errors).toEqual([]);
});

test("Node's and the browser's globals do not compile in shared/", () => {
  const errors = compile('shared/base', {
    'shared/base/a.ts': 'console.log(1);\n',
    'shared/base/b.ts': "export const b = Buffer.from('x');\n",
    'shared/base/c.ts': 'export const c = document.title;\n',
    'shared/base/d.ts': 'setTimeout(() => {}, 1);\n',
  });
  expect(errors.map((error) => error.replace(/^TS\d+ /, ''))).toEqual(
    ['a', 'b', 'c', 'd'].map((name) => `shared/base/${name}.ts`),
  );
});
