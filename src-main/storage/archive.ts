import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { concat, equal, readUint32, uint32, utf8 } from '../../shared/base/bytes.ts';
import { asArray, type Cbor, decodeCbor, encodeCbor, FormatError } from '../../shared/base/cbor.ts';
import { errnoOf } from './errors.ts';
import { FILE_MODE, syncDirectory } from './files.ts';

/**
 * A file of parts, checked as a whole: `synod/KIND/1` and a line end, then for each part its length (4 bytes, big-endian) and a CBOR array, then four zero bytes
 * and the SHA-256 of everything before. Streamed both ways.
 */
export type ArchiveKind = 'backup' | 'outbox';

const magicOf = (kind: ArchiveKind): Uint8Array => utf8(`synod/${kind}/1\n`);
const magicOfAnyVersion = (kind: ArchiveKind): string => `synod/${kind}/`;
const NAMES: Readonly<Record<ArchiveKind, string>> = {
  backup: 'backup of Synod’s',
  outbox: 'file of commands of Synod’s',
};
const HASH_BYTES = 32;
/** Of one part: a page of rows, or one row that is larger. */
const PART_BYTES_MAX = 64 * 1024 * 1024;
const CHUNK_BYTES = 1024 * 1024;

export type Part = readonly Cbor[];

/**
 * - `FILE_EXISTS`: there is something in the place of the new file.
 * - `FILE_UNWRITABLE`: it can't be made or written there.
 * - `DISK_FULL`, `DISK_FAILED`: the disk that it is to be on is full, or refused it.
 * - `FILE_UNREADABLE`: it can't be read.
 * - `BAD_FILE`: it is no such file.
 * - `NEWER_FORMAT`: a newer version made it.
 * - `FILE_DAMAGED`: it is cut off, or not what was written.
 */
export type ArchiveErrorCode =
  | 'FILE_EXISTS'
  | 'FILE_UNWRITABLE'
  | 'DISK_FULL'
  | 'DISK_FAILED'
  | 'FILE_UNREADABLE'
  | 'BAD_FILE'
  | 'NEWER_FORMAT'
  | 'FILE_DAMAGED';

export class ArchiveError extends Error {
  override readonly name = 'ArchiveError';
  readonly code: ArchiveErrorCode;
  constructor(code: ArchiveErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** Writes `path` by way of `path.tmp`: whole or not at all, for this user alone. An abort leaves nothing behind. @returns its size. @throws ArchiveError */
export async function writeArchive(
  path: string,
  kind: ArchiveKind,
  parts: AsyncIterable<Part>,
  signal: AbortSignal,
): Promise<number> {
  await assertFree(path);
  const temporary = `${path}.tmp`;
  try {
    await rm(temporary, { force: true }); // what an interrupted one left may have another mode
    const file = await open(temporary, 'wx', FILE_MODE);
    let bytes: number;
    try {
      bytes = await writeParts(file, kind, parts, signal);
      await file.sync();
    } finally {
      await file.close();
    }
    await assertFree(path); // somebody may have been faster
    await rename(temporary, path);
    await syncDirectory(dirname(path));
    return bytes;
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined); // the first error is the one to tell
    if (error instanceof SourceError) throw error.cause;
    if (errnoOf(error)?.startsWith('E') !== true || error instanceof ArchiveError) throw error;
    throw await notWritten(path, error as NodeJS.ErrnoException);
  }
}

/** What failed is where the parts come from, and not the place of the file. */
class SourceError extends Error {
  override readonly name = 'SourceError';
}

async function* fromSource(parts: AsyncIterable<Part>): AsyncGenerator<Part> {
  try {
    yield* parts;
  } catch (cause) {
    throw new SourceError('the source failed', { cause });
  }
}

/** In words: what Node says names the file beside it, and no remedy. */
async function notWritten(path: string, error: NodeJS.ErrnoException): Promise<ArchiveError> {
  const isMissing = await stat(dirname(path)).then(
    () => false,
    () => error.code === 'ENOENT',
  );
  const [code, why] = isMissing
    ? (['FILE_UNWRITABLE', `there is no directory ${dirname(path)}. Make it, or name another one.`] as const)
    : reasonOf(path, error);
  return new ArchiveError(code, `${path} can't be written: ${why} Nothing was left behind.`, { cause: error });
}

function reasonOf(path: string, { code, message }: NodeJS.ErrnoException): [ArchiveErrorCode, string] {
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return ['DISK_FULL', 'the disk there is full. Free some space, or name a file on another disk.'];
    case 'EIO':
      return ['DISK_FAILED', 'the disk there refused it. Name a file on another disk.'];
    case 'ENOTDIR':
      return ['FILE_UNWRITABLE', `${dirname(path)} is no directory. Name another one.`];
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return ['FILE_UNWRITABLE', `this user may not write into ${dirname(path)}. Name another directory.`];
    default:
      return ['FILE_UNWRITABLE', `${message}.`];
  }
}

async function assertFree(path: string): Promise<void> {
  const there = await stat(path).catch(() => null);
  if (there?.isDirectory())
    throw new ArchiveError('FILE_EXISTS', `${path} is a directory. Name a file in it; nothing was changed.`);
  if (there !== null)
    throw new ArchiveError('FILE_EXISTS', `${path} is there already. Name a file that is not; nothing was changed.`);
}

async function writeParts(
  file: FileHandle,
  kind: ArchiveKind,
  parts: AsyncIterable<Part>,
  signal: AbortSignal,
): Promise<number> {
  const hash = createHash('sha256');
  let bytes = 0;
  const write = async (piece: Uint8Array): Promise<void> => {
    hash.update(piece);
    bytes += piece.length;
    await file.writeFile(piece);
  };
  await write(magicOf(kind));
  for await (const part of fromSource(parts)) {
    signal.throwIfAborted();
    const body = encodeCbor(part);
    await write(concat(uint32(body.length), body));
  }
  signal.throwIfAborted();
  await write(uint32(0));
  await file.writeFile(hash.digest());
  return bytes + HASH_BYTES;
}

/**
 * The parts of an archive, in their order. What a reader does with them counts only once it came to the end without an error: the whole is checked there.
 * @throws ArchiveError
 */
export async function* readArchive(path: string, kind: ArchiveKind): AsyncGenerator<Part> {
  const bytes = new Bytes(path);
  const expectedMagic = magicOf(kind);
  const noArchive = (): ArchiveError => new ArchiveError('BAD_FILE', `${basename(path)} is no ${NAMES[kind]}.`);
  const magic = await bytes.take(expectedMagic.length).catch((error: unknown) => {
    throw error instanceof ArchiveError && error.code === 'FILE_DAMAGED' ? noArchive() : error;
  });
  if (!equal(magic, expectedMagic)) {
    const isNewer = new TextDecoder().decode(magic).startsWith(magicOfAnyVersion(kind));
    if (isNewer)
      throw new ArchiveError('NEWER_FORMAT', `${basename(path)} was made by a newer Synod. Update this one.`);
    throw noArchive();
  }
  for (;;) {
    const length = readUint32(await bytes.take(4));
    if (length === 0) break;
    if (length > PART_BYTES_MAX) throw bytes.damaged();
    const body = await bytes.take(length);
    try {
      yield asArray(decodeCbor(body));
    } catch (error) {
      if (error instanceof FormatError) throw bytes.damaged(error);
      throw error;
    }
  }
  const expected = bytes.digest();
  if (!equal(await bytes.take(HASH_BYTES), expected) || !(await bytes.isAtEnd())) throw bytes.damaged();
}

/** A file from front to back, hashed as it is read. */
class Bytes {
  readonly #path: string;
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #hash: Hash = createHash('sha256');
  #rest: Uint8Array = new Uint8Array(0);

  constructor(path: string) {
    this.#path = path;
    this.#chunks = createReadStream(path, { highWaterMark: CHUNK_BYTES })[Symbol.asyncIterator]();
  }

  async take(length: number): Promise<Uint8Array> {
    const pieces: Uint8Array[] = [];
    let missing = length;
    while (missing > 0) {
      if (this.#rest.length === 0 && !(await this.#fill())) throw this.damaged();
      const piece = this.#rest.subarray(0, missing);
      this.#rest = this.#rest.subarray(piece.length);
      missing -= piece.length;
      pieces.push(piece);
    }
    const whole = concat(...pieces);
    this.#hash.update(whole);
    return whole;
  }

  async isAtEnd(): Promise<boolean> {
    return this.#rest.length === 0 && !(await this.#fill());
  }

  /** Of everything taken so far. */
  digest(): Uint8Array {
    return new Uint8Array(this.#hash.copy().digest());
  }

  damaged(cause?: unknown): ArchiveError {
    const message = `${basename(this.#path)} is damaged: it is cut off, or not what was written. Make another one.`;
    return new ArchiveError('FILE_DAMAGED', message, { cause });
  }

  async #fill(): Promise<boolean> {
    try {
      const { value, done } = await this.#chunks.next();
      if (done) return false;
      this.#rest = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
      return this.#rest.length > 0 || this.#fill();
    } catch (error) {
      const message = `${this.#path} can't be read: ${(error as Error).message}`;
      throw new ArchiveError('FILE_UNREADABLE', message, { cause: error });
    }
  }
}
