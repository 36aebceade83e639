import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { finishSwaps, setAside } from '../../src-main/peer/recovery-aside.ts';

const GROUP = 'gaaaaaaaaaaaaaaaaaaaaaaaaa';
let groups: string;
beforeEach(() => {
  groups = mkdtempSync(join(tmpdir(), 'synod-aside-'));
});
afterEach(() => rmSync(groups, { recursive: true, force: true }));

async function store(name: string, says: string): Promise<void> {
  await mkdir(join(groups, name));
  writeFileSync(join(groups, name, says), '');
}
const there = (): string[] =>
  readdirSync(groups)
    .toSorted()
    .flatMap((name) => readdirSync(join(groups, name)).map((says) => `${name}: ${says}`));

describe('a machine that begins anew, cut off', () => {
  test('before the old store went aside: the new one is made again', async () => {
    await store(GROUP, 'old');
    await store(`${GROUP}.reborn`, 'new');
    await finishSwaps(groups);
    expect(there()).toEqual([`${GROUP}: old`]);
  });

  test('between the two: the new one takes its place', async () => {
    await store(`${GROUP}.before-recovery-0123abcd`, 'old');
    await store(`${GROUP}.reborn`, 'new');
    await finishSwaps(groups);
    expect(there()).toEqual([`${GROUP}: new`, `${GROUP}.before-recovery-0123abcd: old`]);
    expect(await setAside(join(groups, GROUP))).toEqual([join(groups, `${GROUP}.before-recovery-0123abcd`)]);
  });

  test('where nothing was under way nothing is touched, and what is half made is no store', async () => {
    await store(GROUP, 'old');
    await store(`${GROUP}.reborn.new`, 'half');
    await finishSwaps(groups);
    expect(there()).toEqual([`${GROUP}: old`, `${GROUP}.reborn.new: half`]);
  });
});
