import { spawnSync } from 'node:child_process';
import { hash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { installSha256 } from '../../shared/base/hash.ts';
import type { Replay } from '../../shared/sim/minimise.ts';
import { World } from '../../shared/sim/world.ts';

installSha256((bytes) => hash('sha256', bytes, 'buffer'));

/** A story that once failed, made small. */
interface Regression extends Replay {
  readonly story: string;
  /** With this bug planted it fails again: so it still goes where it went. */
  readonly mutant: string;
}

const folder = new URL('regressions/', import.meta.url);
const run = fileURLToPath(new URL('run.ts', import.meta.url));
const stories = readdirSync(folder).filter((name) => name.endsWith('.json'));

describe.each(stories)('%s', (name) => {
  const { story, mutant, seed, plan, only } = JSON.parse(readFileSync(new URL(name, folder), 'utf8')) as Regression;

  test(`passes: ${story}`, () => {
    expect(new World({ seed, plan, only }).run().slots).toBeGreaterThan(0);
  });

  test(`fails with ${mutant} planted`, () => {
    const file = fileURLToPath(new URL(name, folder));
    const { status, stderr } = spawnSync(process.execPath, [run, '--replay', file, '--mutant', mutant], {
      encoding: 'utf8',
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    expect(stderr).toContain(`seed ${seed}: `);
    expect(status).toBe(1);
  });
});

test('there are some', () => expect(stories.length).toBeGreaterThan(0));
