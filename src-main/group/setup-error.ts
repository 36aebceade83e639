/**
 * Why a data directory can't be used. A closed list:
 * - `IDENTITY_DAMAGED`, `IDENTITY_NEWER`, `IDENTITY_MISSING`: the file that says who this machine is.
 * - `DIR_LOCKED`: another process runs on the directory.
 * - `LOCAL_DAMAGED`, `LOCAL_NEWER`: this installation's own settings.
 * - `READ_ONLY`, `NOT_A_DIRECTORY`, `DISK_FULL`, `DISK_FAILED`: the place itself.
 */
export type SetupErrorCode =
  | 'IDENTITY_DAMAGED'
  | 'IDENTITY_NEWER'
  | 'IDENTITY_MISSING'
  | 'DIR_LOCKED'
  | 'LOCAL_DAMAGED'
  | 'LOCAL_NEWER'
  | 'READ_ONLY'
  | 'NOT_A_DIRECTORY'
  | 'DISK_FULL'
  | 'DISK_FAILED';

/** An expected failure before anything runs. `message` names the thing and the way out, for people. */
export class SetupError extends Error {
  override readonly name = 'SetupError';
  readonly code: SetupErrorCode;
  constructor(code: SetupErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** The system's code of a failed call, such as `EACCES`. */
export function systemCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : undefined;
}

/** Names a failed call on `path`, which people know. */
export function setupErrorFor(path: string, error: unknown): SetupError {
  if (error instanceof SetupError) return error;
  const cause = { cause: error };
  switch (systemCode(error)) {
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new SetupError(
        'READ_ONLY',
        `${path} can't be written by this user. Give this user the right to write there, or choose another directory with --dir.`,
        cause,
      );
    case 'ENOTDIR':
    case 'EEXIST':
      return new SetupError(
        'NOT_A_DIRECTORY',
        `${path} is a file or lies under one. Choose another directory with --dir.`,
        cause,
      );
    case 'ENOSPC':
    case 'EDQUOT':
      return new SetupError('DISK_FULL', `The disk that holds ${path} is full. Make room and start again.`, cause);
    default:
      return new SetupError(
        'DISK_FAILED',
        `${path} can't be used: ${error instanceof Error ? error.message : String(error)}`,
        cause,
      );
  }
}
