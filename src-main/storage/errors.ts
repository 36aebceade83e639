import { StoreError, type StoreErrorCode } from '../../shared/driver/store.ts';

/**
 * - `open`, `read`, `write`: the system refused before it took the bytes.
 * - `sync`: it took them, and then could not say that they are on the disk. Whatever the reason, the disk has failed.
 */
export type Phase = 'open' | 'read' | 'write' | 'sync';

const SAID: Readonly<Record<StoreErrorCode, string>> = {
  LOCKED: 'another process has this store open',
  DISK_FAILED: 'the disk failed',
  DISK_FULL: 'the disk is full',
  READ_ONLY: 'the store can not be written: its folder is read-only',
  CORRUPT: 'the database is damaged',
  NEWER_FORMAT: 'the store was made by a newer version of Synod',
  CLOSED: 'the store was closed',
};

export function storeError(code: StoreErrorCode, cause?: unknown): StoreError {
  const detail = cause instanceof Error ? ` (${cause.message})` : '';
  return new StoreError(code, SAID[code] + detail, { cause });
}

/** How an error of the file system counts. */
export function fileError(error: unknown, phase: Phase): StoreError {
  if (error instanceof StoreError) return error;
  return storeError(phase === 'sync' ? 'DISK_FAILED' : codeOfErrno(errnoOf(error)), error);
}

export function errnoOf(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : undefined;
}

function codeOfErrno(errno: string | undefined): StoreErrorCode {
  switch (errno) {
    case 'ENOSPC':
    case 'EDQUOT':
      return 'DISK_FULL';
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return 'READ_ONLY';
    default:
      return 'DISK_FAILED';
  }
}

/**
 * LevelDB keeps no error number, only the system's words: in English where nobody set a locale, else in the person's language, and then
 * this finds nothing. POSIX's words, then those of Windows.
 */
const WORDS: readonly (readonly [StoreErrorCode, RegExp])[] = [
  ['DISK_FULL', /No space left on device|Disk quota exceeded|not enough space on the disk|disk is full/i],
  [
    'READ_ONLY',
    /Permission denied|Operation not permitted|Read-only file system|Access is denied|media is write protected/i,
  ],
];

/** What LevelDB's message says of the cause, or undefined. */
export function codeInWords(message: string): StoreErrorCode | undefined {
  return WORDS.find(([, words]) => words.test(message))?.[0];
}

/** The error that says why: classic-level wraps it when opening. */
export function innermost(error: unknown): Error {
  let inner = error instanceof Error ? error : new Error(String(error));
  while (inner.cause instanceof Error) inner = inner.cause;
  return inner;
}
