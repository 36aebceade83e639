import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { KvOp, StoreError, StoreErrorCode } from '../../shared/driver/store.ts';
import { codeInWords, errnoOf, innermost, storeError } from './errors.ts';
import { fileEndsWithBatch } from './write-ahead.ts';

/** Where LevelDB's words are not understood, less than this much free space means that the disk is full. Bytes. */
const FULL_BYTES = 1024 * 1024;

export function readError(error: unknown): StoreError {
  const inner = innermost(error);
  return storeError(
    errnoOf(inner) === 'LEVEL_CORRUPTION' || isShortTable(inner.message) ? 'CORRUPT' : 'DISK_FAILED',
    error,
  );
}

/** What LevelDB says of a table that is shorter than its own footer claims: the system finds nothing wrong with reading past the end. */
const isShortTable = (message: string): boolean => /\.(ldb|sst): Invalid argument/.test(message);

/** How a failure to open, to close or to write `ops` counts. */
export async function levelError(error: unknown, dir: string, ops?: readonly KvOp[]): Promise<StoreError> {
  const { message } = innermost(error);
  switch (errnoOf(innermost(error))) {
    case 'LEVEL_LOCKED':
      return storeError('LOCKED', error);
    case 'LEVEL_CORRUPTION':
      return storeError('CORRUPT', error);
    case 'LEVEL_IO_ERROR':
      if (isShortTable(message)) return storeError('CORRUPT', error);
      return storeError(await codeOfInputOutput(message, dir, ops), error);
    default:
      // "Invalid argument": what opening says of a database that lacks its files or has others.
      return storeError(message.startsWith('Invalid argument') ? 'CORRUPT' : 'DISK_FAILED', error);
  }
}

async function codeOfInputOutput(message: string, dir: string, ops?: readonly KvOp[]): Promise<StoreErrorCode> {
  try {
    const log = /[/\\](\d+\.log): /.exec(message)?.[1];
    if (ops !== undefined && log !== undefined && (await fileEndsWithBatch(join(dir, 'db', log), ops)))
      return 'DISK_FAILED';
    const code = codeInWords(message);
    if (code !== undefined) return code;
    if (ops === undefined && /No such file|cannot find the (file|path)/i.test(message)) return 'CORRUPT'; // it lacks one of its own
    const { bavail, bsize } = await statfs(dir);
    return bavail * bsize < FULL_BYTES ? 'DISK_FULL' : 'DISK_FAILED';
  } catch {
    return 'DISK_FAILED'; // a disk that can't even be read
  }
}
