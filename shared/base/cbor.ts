/** What may stand in a stored, signed or sent structure: arrays, never maps, never floats. Numbers are safe integers. */
export type Cbor = null | boolean | number | string | Uint8Array | readonly Cbor[];

/** Input that does not have the shape it must have. An expected failure: the sender or the file is wrong, not this code. */
export class FormatError extends Error {
  override readonly name: string = 'FormatError';
}

/**
 * Deterministic CBOR (RFC 8949 §4.2.1) of the few types above: shortest heads, definite lengths. Every record, signature and frame goes
 * through here several times, and a general library took half of a commit's processor time; the tests hold this against one.
 */
export function encodeCbor(value: Cbor): Uint8Array {
  const start = free;
  try {
    put(value);
    return scratch.slice(start, free);
  } finally {
    free = start;
  }
}

/** Where encodings are made, before they are copied out. Grows to the largest and stays. */
let scratch = new Uint8Array(64 * 1024);
let free = 0;

const MAJOR_TEXT = 0x60;
const MAJOR_BYTES = 0x40;
const MAJOR_ARRAY = 0x80;
const FALSE = 0xf4;
const TRUE = 0xf5;
const NULL = 0xf6;
const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
/** Shorter texts are looked at letter by letter first: most are ASCII, and a call into the platform costs more than they do. */
const SHORT_TEXT = 64;
const DEPTH_MAX = 32;

function room(bytes: number): void {
  if (free + bytes <= scratch.length) return;
  const larger = new Uint8Array(Math.max(scratch.length * 2, free + bytes));
  larger.set(scratch.subarray(0, free));
  scratch = larger;
}

function put(value: Cbor): void {
  if (typeof value === 'number') return putInteger(value);
  if (typeof value === 'string') return putText(value);
  if (value instanceof Uint8Array) {
    putHead(MAJOR_BYTES, value.length);
    room(value.length);
    scratch.set(value, free);
    free += value.length;
    return;
  }
  if (value === null || typeof value === 'boolean') {
    room(1);
    scratch[free++] = value === null ? NULL : value ? TRUE : FALSE;
    return;
  }
  if (!Array.isArray(value)) throw new TypeError(`not a value of CBOR here: ${typeof value}`);
  putHead(MAJOR_ARRAY, value.length);
  for (const item of value as readonly Cbor[]) put(item);
}

function putInteger(n: number): void {
  if (!Number.isSafeInteger(n)) throw new TypeError(`not a safe integer: ${n}`);
  if (n >= 0) putHead(0, n);
  else putHead(0x20, -1 - n);
}

function putHead(major: number, n: number): void {
  room(9);
  if (n < 24) {
    scratch[free++] = major | n;
  } else if (n < 0x100) {
    scratch[free++] = major | 24;
    scratch[free++] = n;
  } else if (n < 0x10000) {
    scratch[free++] = major | 25;
    scratch[free++] = n >>> 8;
    scratch[free++] = n & 255;
  } else if (n < 0x100000000) {
    scratch[free++] = major | 26;
    put32(n);
  } else {
    scratch[free++] = major | 27;
    put32(Math.floor(n / 0x100000000));
    put32(n % 0x100000000);
  }
}

function put32(n: number): void {
  scratch[free++] = (n >>> 24) & 255;
  scratch[free++] = (n >>> 16) & 255;
  scratch[free++] = (n >>> 8) & 255;
  scratch[free++] = n & 255;
}

function putText(text: string): void {
  if (text.length < SHORT_TEXT && isAscii(text)) {
    putHead(MAJOR_TEXT, text.length);
    room(text.length);
    for (let i = 0; i < text.length; i++) scratch[free++] = text.charCodeAt(i);
    return;
  }
  const bytes = encoder.encode(text);
  putHead(MAJOR_TEXT, bytes.length);
  room(bytes.length);
  scratch.set(bytes, free);
  free += bytes.length;
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 127) return false;
  return true;
}

/**
 * Takes only what `encodeCbor` would have written: another spelling of the same value is refused. Byte strings are views into `bytes`.
 * @throws FormatError
 */
export function decodeCbor(bytes: Uint8Array): Cbor {
  const reader = new Reader(bytes);
  const value = reader.value(0);
  reader.end();
  return value;
}

class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  end(): void {
    if (this.#at !== this.#bytes.length) throw new FormatError('bytes are left over');
  }

  value(depth: number): Cbor {
    const head = this.#byte();
    const short = head & 31;
    switch (head >> 5) {
      case 0:
        return this.#length(short);
      case 1: {
        const n = -1 - this.#length(short);
        if (!Number.isSafeInteger(n)) throw new FormatError('an integer is too large');
        return n;
      }
      case 2:
        return this.#take(this.#length(short));
      case 3:
        return this.#text(this.#take(this.#length(short)));
      case 4:
        return this.#array(this.#length(short), depth);
      default:
        if (head === NULL) return null;
        if (head === TRUE) return true;
        if (head === FALSE) return false;
        throw new FormatError('a type that is not used here');
    }
  }

  #byte(): number {
    const byte = this.#bytes[this.#at++];
    if (byte === undefined) throw new FormatError('it is cut off');
    return byte;
  }

  /** The number of a head, which must have the shortest form. */
  #length(short: number): number {
    if (short < 24) return short;
    if (short > 27) throw new FormatError('an indefinite or reserved length');
    const size = 1 << (short - 24);
    let n = 0;
    for (let i = 0; i < size; i++) n = n * 256 + this.#byte();
    const least = size === 1 ? 24 : size === 2 ? 0x100 : size === 4 ? 0x10000 : 0x100000000;
    if (n < least) throw new FormatError('a number is not in its shortest form');
    if (!Number.isSafeInteger(n)) throw new FormatError('an integer is too large');
    return n;
  }

  #take(length: number): Uint8Array {
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new FormatError('it is cut off');
    const part = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return part;
  }

  #text(part: Uint8Array): string {
    if (part.length < SHORT_TEXT) {
      let text = '';
      let i = 0;
      for (; i < part.length && (part[i] as number) < 128; i++) text += String.fromCharCode(part[i] as number);
      if (i === part.length) return text;
    }
    try {
      return decoder.decode(part);
    } catch {
      throw new FormatError('a text is not UTF-8');
    }
  }

  #array(length: number, depth: number): Cbor[] {
    if (depth >= DEPTH_MAX) throw new FormatError('nested too deep');
    // Each item takes a byte at least: a length that can't be is refused before room is made for it.
    if (length > this.#bytes.length - this.#at) throw new FormatError('it is cut off');
    const items = new Array<Cbor>(length);
    for (let i = 0; i < length; i++) items[i] = this.value(depth + 1);
    return items;
  }
}

export function asArray(value: Cbor | undefined, length?: number): readonly Cbor[] {
  if (!Array.isArray(value)) throw new FormatError('an array is missing');
  if (length !== undefined && value.length !== length) {
    throw new FormatError(`${length} fields expected, ${value.length} found`);
  }
  return value;
}

/** An array of any length up to `max`. */
export function asList(value: Cbor | undefined, max: number): readonly Cbor[] {
  const items = asArray(value);
  if (items.length > max) throw new FormatError(`more than ${max} items`);
  return items;
}

/** A safe integer in `min … max`. */
export function asInteger(value: Cbor | undefined, min = 0, max = Number.MAX_SAFE_INTEGER): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || value > max) {
    throw new FormatError(`an integer in ${min} … ${max} is missing`);
  }
  return value;
}

export function asText(value: Cbor | undefined, maxLength = Number.MAX_SAFE_INTEGER): string {
  if (typeof value !== 'string' || value.length > maxLength) throw new FormatError('a text is missing or too long');
  return value;
}

export function asBytes(value: Cbor | undefined, length?: number, maxLength?: number): Uint8Array {
  if (!(value instanceof Uint8Array)) throw new FormatError('bytes are missing');
  if (length !== undefined && value.length !== length) throw new FormatError(`${length} bytes expected`);
  if (maxLength !== undefined && value.length > maxLength) throw new FormatError(`more than ${maxLength} bytes`);
  return value;
}

export function asBoolean(value: Cbor | undefined): boolean {
  if (typeof value !== 'boolean') throw new FormatError('true or false is missing');
  return value;
}

export function orNull<T>(value: Cbor | undefined, read: (value: Cbor | undefined) => T): T | null {
  return value === null ? null : read(value);
}
