import { type ErrorCode, exitCodeOf, isErrorCode, PeerError } from '../../shared/ipc/errors.ts';

export interface Failure {
  readonly code: ErrorCode;
  /** One line: what happened, what is kept, what to do. */
  readonly message: string;
  readonly exitCode: number;
}

/** The system's own codes that have a name here. */
const systemCodes: Readonly<Record<string, ErrorCode>> = {
  EADDRINUSE: 'PORT_IN_USE',
  EADDRNOTAVAIL: 'BAD_ADDRESS',
  EACCES: 'READ_ONLY',
  EPERM: 'READ_ONLY',
  EROFS: 'READ_ONLY',
  ENOTDIR: 'NOT_A_DIRECTORY',
  ENOSPC: 'DISK_FULL',
  EDQUOT: 'DISK_FULL',
  EIO: 'DISK_FAILED',
  LEVEL_LOCKED: 'DIR_LOCKED',
};

/** Names any error. An error of another layer that carries one of the closed list's codes keeps it. */
export function failureOf(error: unknown): Failure {
  const code = codeOf(error);
  const message = error instanceof Error ? error.message : String(error);
  const line = message.replace(/\s*[\r\n]+\s*/g, ' ').trim();
  return {
    code,
    message: code === 'INTERNAL' && !(error instanceof PeerError) ? `Something went wrong: ${line}` : line,
    exitCode: exitCodeOf(code),
  };
}

function codeOf(error: unknown): ErrorCode {
  // A cause often knows more than what was thrown over it: LevelDB's lock, for one.
  for (let each = error, depth = 0; each instanceof Error && depth < 4; each = each.cause, depth++) {
    const code = (each as { code?: unknown }).code;
    if (isErrorCode(code)) return code;
    if (typeof code === 'string' && systemCodes[code] !== undefined) return systemCodes[code];
  }
  return 'INTERNAL';
}

/** As it goes to standard error. */
export function failureLine({ code, message }: Failure, json: boolean): string {
  return json ? `${JSON.stringify({ error: code, message })}\n` : `${message}\n`;
}
