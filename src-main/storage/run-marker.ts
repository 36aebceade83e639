import { open, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, fileError } from './errors.ts';
import { FILE_MODE, syncDirectory } from './files.ts';

const runOf = (dir: string): string => join(dir, 'running');
const repairOf = (dir: string): string => join(dir, 'repairing');

/**
 * From now on the store in `dir` is in use. True where its last run did not end: the process was killed, the power went, or LevelDB gave up on its
 * tables. Does its best: a disk on which no file can be made says so elsewhere.
 */
export async function startRun(dir: string): Promise<boolean> {
  try {
    await (await open(runOf(dir), 'wx', FILE_MODE)).close();
    await syncDirectory(dir);
    return false;
  } catch (error) {
    return errnoOf(error) === 'EEXIST';
  }
}

/** The store was closed as it should be. */
export async function endRun(dir: string): Promise<void> {
  await rm(runOf(dir), { force: true }).catch(() => undefined); // does its best, as above
}

/** Before a repair: it makes the database look whole, and the verdict that it is not comes after. @throws StoreError */
export async function startRepair(dir: string): Promise<void> {
  try {
    await (await open(repairOf(dir), 'w', FILE_MODE)).close();
  } catch (error) {
    throw fileError(error, 'write');
  }
  await syncDirectory(dir);
}

/** A repair was begun, and its verdict is not known to be on the disk. */
export async function isRepairOpen(dir: string): Promise<boolean> {
  return stat(repairOf(dir)).then(
    () => true,
    () => false,
  );
}

/** The verdict is on the disk. @throws StoreError */
export async function endRepair(dir: string): Promise<void> {
  try {
    await rm(repairOf(dir), { force: true });
  } catch (error) {
    throw fileError(error, 'write');
  }
}
