import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/** What only this user may read. */
export const FILE_MODE = 0o600;
export const DIR_MODE = 0o700;

/**
 * Puts a whole file in place or leaves what was there: a temporary file beside it, synced, renamed, and the directory synced. Resolves
 * once it is on the disk. Mode 0600. @throws the system's error
 */
export async function writePrivateFile(path: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${path}.tmp`;
  await rm(temporary, { force: true }); // what an interrupted write left may have another mode
  try {
    await writeSynced(temporary, bytes);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw error;
  }
  await syncDirectory(dirname(path));
}

async function writeSynced(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, 'wx', FILE_MODE);
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Makes a rename or a new name durable. Windows does it by itself and can't open directories. */
export async function syncDirectory(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  let directory: FileHandle | undefined;
  try {
    directory = await open(path, 'r');
    await directory.sync();
  } finally {
    await directory?.close();
  }
}
