import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { MUTANTS } from '../sim/mutants.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const page = readFileSync(join(root, 'docs/protocol.md'), 'utf8');
const quoted = [...page.matchAll(/`([^`\n]+)`/g)].map(([, name]) => name as string);

test('docs/protocol.md names every bug that can be planted, each beside the rule that it breaks', () => {
  expect(MUTANTS.map(({ name }) => name).filter((name) => !quoted.includes(name))).toEqual([]);
});

test('docs/protocol.md names files that are there', () => {
  const files = ['shared', 'src-main', 'test'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map(
      (path) => `/${path.replaceAll('\\', '/')}`,
    ),
  );
  for (const name of quoted.filter((each) => /^[\w./-]+\.ts$/.test(each) || /^(shared|src-main|test)\//.test(each))) {
    const isThere = existsSync(join(root, name)) || files.some((path) => path.endsWith(`/${name}`));
    expect([name, isThere]).toEqual([name, true]);
  }
});
