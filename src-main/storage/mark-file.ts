import { constants, fdatasync, writeSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { assert } from '../../shared/base/assert.ts';
import { MARK_PLACE_BYTES, type MarkFile, type MarkPlace } from '../../shared/driver/store.ts';
import { errnoOf, fileError } from './errors.ts';
import { FILE_MODE, syncDirectory } from './files.ts';

/** A place to each page, so that writing one never rewrites the other. */
export const MARK_OFFSETS: readonly [number, number] = [0, MARK_PLACE_BYTES];
const FILE_BYTES = 2 * MARK_PLACE_BYTES;

/** The mark in a file of its own. Its space is taken when it is made, so that it can be written on a full disk. */
export class DiskMarkFile implements MarkFile {
  readonly #path: string;
  #handle: FileHandle | null = null;

  constructor(path: string) {
    this.#path = path;
  }

  async read(): Promise<readonly [Uint8Array | null, Uint8Array | null]> {
    let handle: FileHandle;
    try {
      handle = await open(this.#path, 'r');
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return [null, null];
      throw fileError(error, 'open');
    }
    try {
      return [await readPlace(handle, MARK_OFFSETS[0]), await readPlace(handle, MARK_OFFSETS[1])];
    } catch (error) {
      throw fileError(error, 'read');
    } finally {
      await handle.close();
    }
  }

  async write(place: MarkPlace, bytes: Uint8Array): Promise<void> {
    assert(bytes.length <= MARK_PLACE_BYTES, 'a mark fits into its place', bytes.length);
    this.#handle ??= await openOrMake(this.#path);
    // Into the page cache at once, and only the sync on another thread: each change of thread costs as much as a sync of a good disk.
    writeNow(this.#handle.fd, bytes, MARK_OFFSETS[place]);
    await syncData(this.#handle);
  }

  async close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = null;
    await handle?.close();
  }
}

async function readPlace(handle: FileHandle, offset: number): Promise<Uint8Array | null> {
  const bytes = new Uint8Array(MARK_PLACE_BYTES);
  let read = 0;
  while (read < bytes.length) {
    const { bytesRead } = await handle.read(bytes, read, bytes.length - read, offset + read);
    if (bytesRead === 0) return null;
    read += bytesRead;
  }
  return bytes;
}

async function openOrMake(path: string): Promise<FileHandle> {
  let handle: FileHandle;
  try {
    handle = await open(path, constants.O_RDWR | constants.O_CREAT, FILE_MODE);
  } catch (error) {
    throw fileError(error, 'open');
  }
  try {
    const { size } = await handle.stat();
    if (size < FILE_BYTES) {
      await writeAll(handle, new Uint8Array(FILE_BYTES - size), size);
      await syncData(handle);
      await syncDirectory(dirname(path));
    }
    return handle;
  } catch (error) {
    await handle.close().catch(() => undefined); // the first error is the one to tell
    throw fileError(error, 'read');
  }
}

function writeNow(file: number, bytes: Uint8Array, offset: number): void {
  try {
    let written = 0;
    while (written < bytes.length) {
      written += writeSync(file, bytes, written, bytes.length - written, offset + written);
    }
  } catch (error) {
    throw fileError(error, 'write');
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array, offset: number): Promise<void> {
  try {
    let written = 0;
    while (written < bytes.length) {
      const { bytesWritten } = await handle.write(bytes, written, bytes.length - written, offset + written);
      written += bytesWritten;
    }
  } catch (error) {
    throw fileError(error, 'write');
  }
}

/** By callback: it is on the way of every commit, and the handle's own promise takes longer. */
function syncData({ fd }: FileHandle): Promise<void> {
  return new Promise((resolve, reject) => {
    fdatasync(fd, (error) => {
      if (error === null) resolve();
      else reject(fileError(error, 'sync'));
    });
  });
}
