import { readdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { ClassicLevel } from 'classic-level';
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import type { StoreErrorCode } from '../../shared/driver/store.ts';
import { LevelStore, openLevelStore } from '../../src-main/storage/level-store.ts';
import { DiskMarkFile } from '../../src-main/storage/mark-file.ts';
import { endsWithBatch } from '../../src-main/storage/write-ahead.ts';
import { temporaryFolder } from './places.ts';
import { bytesOf, del, put, storeErrorOf } from './turns.ts';

/** Errors as classic-level makes them. */
const levelError = (code: string, message: string): Error => Object.assign(new Error(message), { code });
const ioError = (file: string, words: string): Error =>
  levelError('LEVEL_IO_ERROR', `IO error: /somewhere/db/${file}: ${words}`);

describe('a failing database', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  beforeEach(async () => {
    folder = temporaryFolder();
    await (await openLevelStore(folder.path, { create: true })).close();
  });
  afterEach(() => folder.remove());

  /** A store whose database fails each write, counted. */
  const failing = (error: Error) => {
    const calls = { batch: 0 };
    const db = {
      batch: () => {
        calls.batch += 1;
        return Promise.reject(error);
      },
      getSync: () => undefined,
      close: async () => undefined,
    };
    return { calls, store: new LevelStore(folder.path, db as unknown as ClassicLevel<string, Uint8Array>) };
  };

  const cases: readonly (readonly [Error, StoreErrorCode])[] = [
    [ioError('000003.log', 'Input/output error'), 'DISK_FAILED'],
    [ioError('000003.log', 'No space left on device'), 'DISK_FULL'],
    [ioError('000003.log', 'Disk quota exceeded'), 'DISK_FULL'],
    [ioError('000012.ldb', 'No space left on device'), 'DISK_FULL'],
    [ioError('000012.ldb', 'There is not enough space on the disk.'), 'DISK_FULL'],
    [ioError('000003.log', 'Read-only file system'), 'READ_ONLY'],
    [ioError('000003.log', 'Permission denied'), 'READ_ONLY'],
    [ioError('000003.log', 'Auf dem Gerät ist kein Speicherplatz mehr verfügbar'), 'DISK_FAILED'],
    [levelError('LEVEL_CORRUPTION', 'Corruption: block checksum mismatch'), 'CORRUPT'],
    [new Error('something new'), 'DISK_FAILED'],
  ];
  test.each(cases)('%s is %s, and nothing is written or tried again after it', async (error, code) => {
    const { calls, store } = failing(error);
    expect(await storeErrorOf(store.kv.write([put('a', 1)], { sync: true }))).toBe(code);
    expect(await storeErrorOf(store.kv.write([put('b', 1)], { sync: true }))).toBe(code);
    expect(await storeErrorOf(store.mark.write(0, bytesOf(1)))).toBe(code);
    expect(calls.batch).toBe(1);
    expect(store.kv.get('a')).toBeUndefined();
    await store.close();
  });

  test('is told to sync, or not to, with each batch', async () => {
    const told: unknown[] = [];
    const db = { batch: async (_: unknown, options: unknown) => void told.push(options), close: async () => undefined };
    const store = new LevelStore(folder.path, db as unknown as ClassicLevel<string, Uint8Array>);
    await store.kv.write([put('a', 1)], { sync: true });
    await store.kv.write([put('a', 1)], { sync: false });
    await store.close();
    expect(told).toEqual([{ sync: true }, { sync: false }]);
  });

  test('with a batch that is whole in the write-ahead file failed at the sync: DISK_FAILED, whatever the reason', async () => {
    const real = await openLevelStore(folder.path, { create: false });
    await real.kv.write([put('a', 1), put('b', 1, 2, 3)], { sync: true });
    await real.close();
    const log = readdirSync(join(folder.path, 'db')).find((name) => name.endsWith('.log')) ?? '';
    for (const words of ['No space left on device', 'Read-only file system']) {
      const whole = failing(ioError(log, words)).store;
      expect(await storeErrorOf(whole.kv.write([put('a', 1), put('b', 1, 2, 3)], { sync: true }))).toBe('DISK_FAILED');
      const other = failing(ioError(log, words)).store;
      expect(await storeErrorOf(other.kv.write([put('a', 1), put('b', 1, 2, 4)], { sync: true }))).not.toBe(
        'DISK_FAILED',
      );
    }
  });
});

describe('the end of a write-ahead file', () => {
  const batch = [put('aaa', 1), put('key', 9, 8, 7, 6)];
  const end = [1, 3, 107, 101, 121, 4, 9, 8, 7, 6];
  const tail = (...bytes: readonly number[]) => Uint8Array.from(bytes);

  test('holds the batch where it ends in the same bytes', () => {
    expect(endsWithBatch(tail(0, ...end), 100, batch)).toBe(true);
    expect(endsWithBatch(tail(0, ...end.slice(0, -1)), 100, batch)).toBe(false);
    expect(endsWithBatch(tail(0, 0, 3, 107, 101, 121), 100, [put('a', 1), del('key')])).toBe(true);
    expect(endsWithBatch(tail(), 0, batch)).toBe(false);
  });

  test('compares no more than the last fragment where a block ends in the batch', () => {
    const header = [11, 22, 33, 44, 2, 0, 4];
    expect(endsWithBatch(tail(...end.slice(0, 8), ...header, 7, 6), 32_768 + 9, batch)).toBe(true);
    expect(endsWithBatch(tail(...end.slice(0, 8), ...header, 7, 5), 32_768 + 9, batch)).toBe(false);
    expect(endsWithBatch(tail(...end.slice(0, 8), ...header), 32_768 + 7, batch)).toBe(false);
    expect(endsWithBatch(tail(0, ...end), 2 * 32_768, batch)).toBe(true);
  });
});

describe('a failing mark file', () => {
  // /dev/full refuses each write with ENOSPC; /dev/null takes it and can not be synced.
  test.skipIf(process.platform !== 'linux')('full is DISK_FULL at the write, DISK_FAILED at the sync', async () => {
    expect(await storeErrorOf(new DiskMarkFile('/dev/full').write(0, bytesOf(1)))).toBe('DISK_FULL');
    expect(await storeErrorOf(new DiskMarkFile('/dev/null').write(0, bytesOf(1)))).toBe('DISK_FAILED');
  });

  test('that is a folder is DISK_FAILED', async () => {
    const folder = temporaryFolder();
    expect(await storeErrorOf(new DiskMarkFile(folder.path).write(0, bytesOf(1)))).toBe('DISK_FAILED');
    folder.remove();
  });

  test.skipIf(process.platform !== 'linux')('stops the whole store', async () => {
    const folder = temporaryFolder();
    onTestFinished(() => folder.remove());
    const store = await openLevelStore(folder.path, { create: true });
    symlinkSync('/dev/null', join(folder.path, 'mark'));
    expect(await storeErrorOf(store.mark.write(0, bytesOf(1)))).toBe('DISK_FAILED');
    expect(await storeErrorOf(store.kv.write([put('a', 1)], { sync: true }))).toBe('DISK_FAILED');
    expect(store.kv.get('a')).toBeUndefined();
    await store.close();
  });
});
