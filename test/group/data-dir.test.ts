import { chmodSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { GroupId } from '../../shared/base/ids.ts';
import { dataDir, listGroups, prepareDataDir } from '../../src-main/group/data-dir.ts';
import { setupErrorFor } from '../../src-main/group/setup-error.ts';
import { someGroup, temporaryDir } from './made-up.ts';

describe('the data directory', () => {
  test('is made with its folders, private, and left clean', async () => {
    const dir = join(temporaryDir(), 'new', 'data');
    const place = await prepareDataDir(dir);
    expect(readdirSync(dir).toSorted()).toEqual(['groups', 'local']);
    for (const each of [place.path, place.groups, place.local]) expect(statSync(each).mode & 0o777).toBe(0o700);
    await prepareDataDir(dir);
  });

  test('that the person made keeps its mode; what is in it is private', async () => {
    const dir = temporaryDir();
    chmodSync(dir, 0o755);
    mkdirSync(join(dir, 'groups'), { mode: 0o755 });
    const place = await prepareDataDir(dir);
    expect(statSync(dir).mode & 0o777).toBe(0o755);
    expect(statSync(place.groups).mode & 0o777).toBe(0o700);
  });

  test('under a file is named', async () => {
    const dir = temporaryDir();
    writeFileSync(join(dir, 'file'), '');
    await expect(prepareDataDir(join(dir, 'file'))).rejects.toMatchObject({ code: 'NOT_A_DIRECTORY' });
    await expect(prepareDataDir(join(dir, 'file', 'x'))).rejects.toMatchObject({ code: 'NOT_A_DIRECTORY' });
  });

  test.skipIf(process.getuid?.() === undefined)('that may not be written is named, with the way out', async () => {
    const dir = temporaryDir();
    await prepareDataDir(dir);
    chmodSync(dir, 0o555);
    const root = process.getuid?.() === 0;
    if (root) process.seteuid?.(65_534);
    try {
      await expect(prepareDataDir(dir)).rejects.toMatchObject({
        code: 'READ_ONLY',
        message: expect.stringMatching(/can't be written by this user.*--dir/),
      });
    } finally {
      if (root) process.seteuid?.(0);
      chmodSync(dir, 0o755);
    }
  });

  test.each([
    ['EROFS', 'READ_ONLY'],
    ['EACCES', 'READ_ONLY'],
    ['EPERM', 'READ_ONLY'],
    ['ENOTDIR', 'NOT_A_DIRECTORY'],
    ['ENOSPC', 'DISK_FULL'],
    ['EIO', 'DISK_FAILED'],
  ])('%s is %s', (system, code) => {
    expect(setupErrorFor('/data', Object.assign(new Error('x'), { code: system }))).toMatchObject({ code });
  });

  test('lists the groups that have a folder, and nothing else', async () => {
    const dir = temporaryDir();
    expect(await listGroups(dataDir(dir))).toEqual([]);
    const groups = [someGroup(1), someGroup(2)].toSorted();
    for (const name of [...groups, 'gshort', 'new-abc', 'lost+found'])
      mkdirSync(join(dir, 'groups', name), { recursive: true });
    expect(await listGroups(dataDir(dir))).toEqual(groups);
  });

  test('gives no way out of itself', () => {
    expect(() => dataDir('/data').group('../../etc' as GroupId)).toThrow('not a group id');
    expect(dataDir('/data').group(someGroup(1))).toBe(`/data/groups/${someGroup(1)}`);
  });
});
