import { open } from 'node:fs/promises';
import { errnoOf, fileError } from './errors.ts';

/** For the owner alone. */
export const FILE_MODE = 0o600;
export const DIRECTORY_MODE = 0o700;

/** Not every platform opens a directory as a file, or syncs one: there the file system must do by itself. */
const NO_DIRECTORY_SYNC = new Set(['EISDIR', 'EPERM', 'EACCES', 'EINVAL', 'ENOTSUP', 'ENOSYS', 'EBADF']);

/** Carries a directory's entries (names made, renamed, removed) to the disk, where the platform can. @throws StoreError */
export async function syncDirectory(path: string): Promise<void> {
  try {
    const handle = await open(path, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (!NO_DIRECTORY_SYNC.has(errnoOf(error) ?? '')) throw fileError(error, 'sync');
  }
}
