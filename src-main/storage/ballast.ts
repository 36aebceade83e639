import { randomFillSync } from 'node:crypto';
import { open, readdir, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, fileError } from './errors.ts';
import { FILE_MODE } from './files.ts';

const MIB = 1024 * 1024;

/** Space held back for the day the disk is full: enough to open the database again and to save what was typed. Bytes. */
export const BALLAST_BYTES: number = 8 * MIB;
/**
 * Beside it, in `reserve`, what one compaction writes before it deletes anything: with LevelDB's first level of 10 MiB and tables of 1 MiB no more than
 * this, and never more than the database holds. A compaction that finds the disk full leaves what it wrote, refuses all further
 * writes, and then the database can't even be opened. Bytes.
 */
export const RESERVE_BYTES_MAX: number = 24 * MIB;
/** Space is taken only while this much would still be free after it. Bytes. */
const FREE_AFTER_BYTES = 8 * MIB;

const ballastOf = (dir: string): string => join(dir, 'ballast');
const reserveOf = (dir: string): string => join(dir, 'reserve');

/**
 * Gives all space back that is held back: ballast, reserve, and the write-ahead files kept aside. For a store whose disk is full, before it is
 * opened again. False where there was nothing to give. @throws StoreError
 */
export async function freeBallast(dir: string): Promise<boolean> {
  try {
    const freed = [await remove(ballastOf(dir)), await remove(reserveOf(dir))];
    await rm(join(dir, 'aside'), { recursive: true, force: true });
    return freed.includes(true);
  } catch (error) {
    throw fileError(error, 'write');
  }
}

/** Takes the space, as much as the database needs by its present size: for every now and then. False where there isn't room for it now. @throws StoreError */
export async function restoreBallast(dir: string): Promise<boolean> {
  try {
    const database = await sizeOfFiles(join(dir, 'db'));
    const reserve = Math.min(RESERVE_BYTES_MAX, Math.floor(database / MIB) * MIB);
    return (await grow(dir, ballastOf(dir), BALLAST_BYTES)) && (await grow(dir, reserveOf(dir), reserve));
  } catch (error) {
    throw fileError(error, 'write');
  }
}

async function remove(path: string): Promise<boolean> {
  try {
    await rm(path);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}

/** False where there isn't room. */
async function grow(dir: string, path: string, bytes: number): Promise<boolean> {
  const missing = bytes - (await sizeOf(path));
  if (missing <= 0) return true;
  const { bavail, bsize } = await statfs(dir);
  if (bavail * bsize < missing + FREE_AFTER_BYTES) return false;
  try {
    await append(path, missing);
    return true;
  } catch (error) {
    if (fileError(error, 'write').code !== 'DISK_FULL') throw error;
    await rm(path, { force: true }); // somebody else was faster, and needs the space more
    return false;
  }
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return 0;
    throw error;
  }
}

async function sizeOfFiles(dir: string): Promise<number> {
  let bytes = 0;
  for (const name of await readdir(dir)) bytes += await sizeOf(join(dir, name)); // a file may go meanwhile
  return bytes;
}

/** Random bytes, since zeros take no space where the file system compresses. */
async function append(path: string, bytes: number): Promise<void> {
  const handle = await open(path, 'a', FILE_MODE);
  try {
    const piece = new Uint8Array(MIB);
    for (let left = bytes; left > 0; left -= piece.length) {
      randomFillSync(piece);
      await handle.writeFile(piece.subarray(0, left));
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
}
