import { createReadStream } from 'node:fs';
import { TEXT_BYTES_MAX } from '../../shared/ipc/contract.ts';
import { PeerError } from '../../shared/ipc/errors.ts';
import type { Io } from './io.ts';

/** What is read before it is called too long: line ends of two bytes become one. Bytes. */
const TEXT_INPUT_BYTES_MAX = 2 * TEXT_BYTES_MAX + 2;
/** A line of JSON may spend six characters on one of its text, and has other fields. Bytes. */
export const LINE_BYTES_MAX = 16 * 1024 * 1024;

const LF = 0x0a;
const CR = 0x0d;

/** An entry's text: the word itself, or standard input for `-`, without one final line end. @throws PeerError */
export async function readText(word: string, io: Io): Promise<string> {
  if (word !== '-') return checkedText(word);
  const whole = await readAll(io, () => tooLong('more than 2 MiB'));
  const bytes = whole.at(-1) === LF ? whole.subarray(0, whole.at(-2) === CR ? -2 : -1) : whole;
  return checkedText(decoded(bytes, 'Standard input'));
}

/** A ticket, maybe in the message that it came in: standard input for `-`, without the space around it. @throws PeerError */
export async function readTicket(word: string, io: Io): Promise<string> {
  const tooMuch = (): PeerError =>
    new PeerError('BAD_TICKET', 'That is too long for a ticket. Copy it again, and nothing else.');
  const text = (word === '-' ? decoded(await readAll(io, tooMuch), 'Standard input') : word).trim();
  if (text !== '') return text;
  throw new PeerError('BAD_TICKET', 'There is no ticket. It begins with synod1 and comes from a member.');
}

/** The peer would refuse it as well, but need not be sent megabytes for that. */
export function checkedText(text: string): string {
  if (text === '') throw new PeerError('TEXT_EMPTY', 'An entry needs at least one character; nothing was written.');
  if (text.length * 3 > TEXT_BYTES_MAX) {
    const bytes = Buffer.byteLength(text.replace(/\r\n?/g, '\n'));
    if (bytes > TEXT_BYTES_MAX) throw tooLong(`${bytes} bytes`);
  }
  return text;
}

export function tooLong(size: string): PeerError {
  return new PeerError(
    'TEXT_TOO_LONG',
    `The text has ${size}, and an entry holds 1 MiB; nothing was written. Write it in parts.`,
  );
}

/** @throws PeerError TEXT_BAD for what is not UTF-8, and says where. */
export function decoded(bytes: Uint8Array, what: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new PeerError(
      'TEXT_BAD',
      `${what} is not UTF-8 text; nothing was written. Convert it first, for example with iconv.`,
    );
  }
}

async function readAll(io: Io, tooMuch: () => PeerError): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of interruptible(io.stdin(), io.signal)) {
    size += chunk.length;
    if (size > TEXT_INPUT_BYTES_MAX) throw tooMuch();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** A line of a file or of standard input, counted from 1, without its end. `bytes` is null for one that is too long to keep. */
export interface InputLine {
  readonly number: number;
  readonly bytes: Uint8Array | null;
}

/** Splits at LF and takes a CR before it for part of the end. Reads no further than it is asked to. */
export async function* lines(source: AsyncIterable<Uint8Array>, signal: AbortSignal): AsyncGenerator<InputLine> {
  let parts: Uint8Array[] = [];
  let size = 0;
  let number = 1;
  const add = (part: Uint8Array): void => {
    size += part.length;
    if (size > LINE_BYTES_MAX) parts = [];
    else parts.push(part);
  };
  const take = (): InputLine => {
    const whole = Buffer.concat(parts);
    const bytes = size > LINE_BYTES_MAX ? null : whole.at(-1) === CR ? whole.subarray(0, -1) : whole;
    parts = [];
    size = 0;
    return { number: number++, bytes };
  };
  for await (const chunk of interruptible(source, signal)) {
    let from = 0;
    for (let at = chunk.indexOf(LF); at >= 0; at = chunk.indexOf(LF, from)) {
      add(chunk.subarray(from, at));
      from = at + 1;
      yield take();
    }
    add(chunk.subarray(from));
  }
  if (size > 0) yield take();
}

/** `-` is standard input. @throws PeerError FILE_UNREADABLE */
export async function* readBytes(path: string, io: Io): AsyncGenerator<Uint8Array> {
  if (path === '-') {
    yield* io.stdin();
    return;
  }
  try {
    yield* createReadStream(path) as AsyncIterable<Uint8Array>;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new PeerError('FILE_UNREADABLE', `${path} can't be read: ${why}`, { cause: error });
  }
}

/** Standard input may never come to an end: an interruption must not wait for it. */
async function* interruptible(source: AsyncIterable<Uint8Array>, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const iterator = source[Symbol.asyncIterator]();
  const stop = Promise.withResolvers<never>();
  stop.promise.catch(() => {});
  const onAbort = (): void => stop.reject(new PeerError('CANCELLED', 'Interrupted. What was saved is kept.'));
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    for (;;) {
      const next = await Promise.race([iterator.next(), stop.promise]);
      if (next.done) return;
      yield next.value;
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
