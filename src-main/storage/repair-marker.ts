import { open, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileError } from './errors.ts';
import { FILE_MODE, syncDirectory } from './files.ts';

const repairOf = (dir: string): string => join(dir, 'repairing');

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
