import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type LocalSettings, openLocal } from '../../src-main/group/local.ts';
import { checkPlace, differenceOf, idIn, placeOf } from '../../src-main/peer/place.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'synod-place-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

async function withLocal<T>(dir: string, work: (local: LocalSettings) => Promise<T>): Promise<T> {
  const local = await openLocal(dir);
  try {
    return await work(local);
  } finally {
    await local.close();
  }
}

describe('the place of a directory', () => {
  it('stays the same when it is renamed, and another directory has another one', async () => {
    await mkdir(join(root, 'a'));
    await mkdir(join(root, 'b'));
    const before = await placeOf(join(root, 'a'));
    const other = await placeOf(join(root, 'b'));
    await rename(join(root, 'a'), join(root, 'moved'));
    expect(await placeOf(join(root, 'moved'))).toEqual(before);
    if (before.directory !== null) expect(differenceOf(before, other)).toMatch(/another directory/);
  });

  it.each([
    [{ machine: 'm', directory: '1' }, { machine: 'm', directory: '1' }, null],
    [{ machine: 'm', directory: '1' }, { machine: 'n', directory: '1' }, /another machine/],
    [{ machine: 'm', directory: '1' }, { machine: 'm', directory: '2' }, /another directory/],
    [{ machine: null, directory: '1' }, { machine: 'n', directory: '1' }, null],
    [{ machine: 'm', directory: null }, { machine: 'm', directory: '2' }, null],
    [{ machine: 'm', directory: '1' }, { machine: null, directory: null }, null],
  ])('%j, now %j', (recorded, now, words) => {
    if (words === null) expect(differenceOf(recorded, now)).toBeNull();
    else expect(differenceOf(recorded, now)).toMatch(words);
  });

  it('is recorded at first, asked about when it is another one, and recorded anew when a person says so', async () => {
    const dir = join(root, 'dir');
    const here = { machine: 'm', directory: '1' };
    const there = { machine: 'm', directory: '2' };
    const asked: (string | null)[] = [];
    for (const [now, isSettled] of [
      [here, false],
      [here, false],
      [there, false],
      [there, false],
      [there, true],
      [there, false],
      [here, false],
    ] as const) {
      asked.push(await withLocal(dir, (local) => checkPlace(local, now, isSettled)));
    }
    expect(asked.map((each) => each !== null)).toEqual([false, false, true, true, false, false, true]);
  });
});

it.each([
  ['  | |   "IOPlatformUUID" = "4B5A1C3E-0000-1111-2222-333344445555"\n', '4b5a1c3e-0000-1111-2222-333344445555'],
  ['\r\n    MachineGuid    REG_SZ    0a1b2c3d-0000-1111-2222-333344445555\r\n', '0a1b2c3d-0000-1111-2222-333344445555'],
  ['  "IOPlatformSerialNumber" = "X"\n', null],
])('the id that a system tells: %j', (text, id) => {
  expect(idIn(text)).toBe(id);
});
