import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { root } from './scan.ts';

const read = (path: string) => readFileSync(`${root}/${path}`, 'utf8');
const pkg = JSON.parse(read('package.json'));
const versions: Record<string, string> = {
  ...pkg.dependencies,
  ...pkg.devDependencies,
  ...pkg.optionalDependencies,
};

test('every dependency has one exact version', () => {
  const loose = Object.entries(versions).filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version));
  expect(loose).toEqual([]);
});

test('the lock file names no host that packages come from', () => {
  expect(read('package-lock.json')).not.toContain('"resolved": "http');
  expect(read('package-lock.json').match(/https?:\/\/[^"/]*(registry|npm)[^"/]*/g)).toBeNull();
});

test('docs/dependencies.md gives a reason for each dependency, and for no other', () => {
  const rows = Array.from(read('docs/dependencies.md').matchAll(/^\| `([^`]+)` \|/gm), (row) => row[1]);
  expect(rows.toSorted()).toEqual(Object.keys(versions).toSorted());
});
