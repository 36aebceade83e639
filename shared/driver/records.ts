import { assert } from '../base/assert.ts';
import { readUint32, uint32 } from '../base/bytes.ts';
import { FormatError } from '../base/cbor.ts';
import { crc32c, crc32cOfText } from '../base/crc32c.ts';

/**
 * How every record stands in the store: `version ‖ payload ‖ check`. The version is one byte. The check is the CRC-32C of
 * key ‖ version ‖ payload, 4 bytes, big-endian: with the key in it, a record that came to lie under another key is noticed.
 * This envelope is the same for all versions; what a version means is the business of each kind of record.
 */
const CHECK_BYTES = 4;
/** Of all records of the layers that ride on this store, so far. */
export const RECORD_VERSION = 1;
const ENVELOPE_BYTES = 1 + CHECK_BYTES;

/**
 * - `TRUNCATED`: shorter than an envelope.
 * - `CHECKSUM`: the bytes are not those that were written under this key.
 * - `NEWER_FORMAT`: whole, and written by a newer version of this program.
 */
export type RecordErrorCode = 'CHECKSUM' | 'TRUNCATED' | 'NEWER_FORMAT';

export class RecordError extends Error {
  override readonly name = 'RecordError';
  readonly code: RecordErrorCode;
  readonly key: string;
  constructor(code: RecordErrorCode, key: string) {
    super(`${key}: ${SAID[code]}`);
    this.code = code;
    this.key = key;
  }
}

const SAID: Readonly<Record<RecordErrorCode, string>> = {
  CHECKSUM: 'the record is damaged: its check does not fit',
  TRUNCATED: 'the record is damaged: it is cut off',
  NEWER_FORMAT: 'the record was written by a newer version',
};

export interface Unsealed {
  readonly version: number;
  /** A view into the record's bytes, not a copy. */
  readonly payload: Uint8Array;
}

/** `version` in 1 … 255. */
export function seal(key: string, version: number, payload: Uint8Array): Uint8Array {
  assert(Number.isInteger(version) && version >= 1 && version <= 255, 'a record version is 1 … 255', version);
  const record = new Uint8Array(payload.length + ENVELOPE_BYTES);
  record[0] = version;
  record.set(payload, 1);
  const end = record.length - CHECK_BYTES;
  record.set(uint32(crc32c(record.subarray(0, end), crc32cOfText(key))), end);
  return record;
}

/**
 * Holds a record against its check and gives back what was sealed. Versions above `newest` are refused.
 * @throws RecordError
 */
export function unseal(key: string, record: Uint8Array, newest = 1): Unsealed {
  if (record.length < ENVELOPE_BYTES) throw new RecordError('TRUNCATED', key);
  const end = record.length - CHECK_BYTES;
  if (crc32c(record.subarray(0, end), crc32cOfText(key)) !== readUint32(record, end)) {
    throw new RecordError('CHECKSUM', key);
  }
  const version = record[0] as number;
  if (version > newest) throw new RecordError('NEWER_FORMAT', key);
  return { version, payload: record.subarray(1, end) };
}

/** 13 hex digits: 52 bits. */
const KEY_DIGITS = 13;
const KEY_PATTERN = /^[0-9a-f]{13}$/;

/** The largest number that a key holds. */
export const KEY_NUMBER_MAX: number = 2 ** 52 - 1;

/** `prefix` and then `n` as 13 lower-case hex digits, so that the order of keys is the order of numbers. */
export function numberKey(prefix: string, n: number): string {
  assert(Number.isInteger(n) && n >= 0 && n <= KEY_NUMBER_MAX, 'a key holds integers in 0 … 2⁵²−1', n);
  return prefix + n.toString(16).padStart(KEY_DIGITS, '0');
}

/** The number of a key made by `numberKey`. @throws FormatError for any other key. */
export function numberOfKey(prefix: string, key: string): number {
  const digits = key.slice(prefix.length);
  if (!key.startsWith(prefix) || !KEY_PATTERN.test(digits)) throw new FormatError(`not a key of ${prefix}: ${key}`);
  return Number.parseInt(digits, 16);
}

/** The range of every key that begins with `prefix` (not empty, ASCII). */
export function prefixRange(prefix: string): { readonly gte: string; readonly lt: string } {
  const last = prefix.charCodeAt(prefix.length - 1);
  assert(last < 0x7f, 'a prefix is ASCII and not empty', prefix);
  return { gte: prefix, lt: prefix.slice(0, -1) + String.fromCharCode(last + 1) };
}
