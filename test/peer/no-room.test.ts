import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { PeerId } from '../../shared/base/ids.ts';
import { StoreError } from '../../shared/driver/store.ts';
import { loadOrCreateIdentity } from '../../src-main/group/identity.ts';
import { backUpDirectory } from '../../src-main/peer/backup.ts';
import { type Part, writeArchive } from '../../src-main/storage/archive.ts';
import { synod } from '../cli/harness.ts';

const { openLevelStore } = vi.hoisted(() => ({ openLevelStore: vi.fn() }));
vi.mock('../../src-main/storage/level-store.ts', async (original) => ({ ...(await original()), openLevelStore }));

vi.mock('node:fs/promises', async (original) => {
  const fs = await original<typeof import('node:fs/promises')>();
  const open: typeof fs.open = async (path, ...rest) => {
    const file = await fs.open(path, ...rest);
    if (String(path).includes('on-a-full-disk')) {
      file.writeFile = async () => {
        throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
      };
    }
    return file;
  };
  return { ...fs, open };
});

const GROUP = 'gabcdefghijklmnopqrstuvwxy';
let dir = '';
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'synod-full-'));
  await loadOrCreateIdentity(dir);
  await mkdir(join(dir, 'groups', GROUP, 'db'), { recursive: true });
  openLevelStore.mockRejectedValue(new StoreError('DISK_FULL', 'the disk is full'));
});
afterEach(() => rm(dir, { recursive: true }));

const verify = (): ReturnType<typeof synod> => synod(['verify', '--dir', dir]);

test('a full disk is no damage', async () => {
  const { code, out, err } = await verify();
  expect({ code, out }).toEqual({ code: 74, out: '' });
  expect(err).toMatch(/is full, and its stores can't be opened without a little room.* verify the copy/);
});

test('nor is what can not be read, and a damaged identity is fetched from nobody', async () => {
  openLevelStore.mockRejectedValue(new StoreError('DISK_FAILED', 'the disk failed'));
  const unread = await verify();
  expect(unread.code).toBe(5);
  expect(unread.out).toMatch(/says nothing about damage/);
  openLevelStore.mockRejectedValue(new StoreError('DISK_FULL', 'the disk is full'));
  await writeFile(join(dir, 'identity'), 'bent');
  const { code, out } = await verify();
  expect(code).toBe(5);
  expect(out).toMatch(/No peer starts here until the identity is back/);
  expect(out).not.toMatch(/fetches it again/);
});

test('a backup of a full disk says what to do', async () => {
  const asked = backUpDirectory(dir, join(dir, 'out'), 'p' as PeerId, new AbortController().signal);
  await expect(asked.next()).rejects.toMatchObject({
    code: 'DISK_FULL',
    message: expect.stringMatching(/take the backup of the copy/),
  });
  expect((await readdir(dir)).filter((name) => name.startsWith('out'))).toEqual([]);
});

async function* parts(failure?: Error): AsyncGenerator<Part> {
  yield ['head'];
  if (failure) throw failure;
}

const writing = (path: string, failure?: Error): Promise<number> =>
  writeArchive(path, 'backup', parts(failure), new AbortController().signal);

test('a full disk under the new file is told by its name, and leaves nothing', async () => {
  const path = join(dir, 'on-a-full-disk');
  await expect(writing(path)).rejects.toMatchObject({
    code: 'DISK_FULL',
    message: expect.stringContaining(`${path} can't be written: the disk there is full`),
  });
  expect((await readdir(dir)).filter((name) => name.startsWith('on-'))).toEqual([]);
});

test('what is wrong with the source is not said of the place', async () => {
  const failure = Object.assign(new Error('ENOENT: no such file, identity'), { code: 'ENOENT' });
  await expect(writing(join(dir, 'out'), failure)).rejects.toBe(failure);
  expect((await readdir(dir)).filter((name) => name.startsWith('out'))).toEqual([]);
});
