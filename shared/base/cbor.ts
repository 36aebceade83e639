import { decode, encode } from 'cborg';
import { equal } from './bytes.ts';

/** What may stand in a stored, signed or sent structure: deterministic CBOR arrays, never maps, never floats. */
export type Cbor = null | boolean | number | string | Uint8Array | readonly Cbor[];

/** Input that does not have the shape it must have. An expected failure: the sender or the file is wrong, not this code. */
export class FormatError extends Error {
  override readonly name = 'FormatError';
}

/** Deterministic: shortest integers, definite lengths. Numbers are safe integers. */
export function encodeCbor(value: Cbor): Uint8Array {
  // On Node the library hands out a Buffer, whose `slice` shares memory instead of copying.
  const bytes = encode(value);
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * Decodes and holds the bytes against the one way to write them: another spelling of the same value is refused.
 * @throws FormatError for anything that is not this module's own encoding of something.
 */
export function decodeCbor(bytes: Uint8Array): Cbor {
  let value: Cbor;
  let again: Uint8Array;
  try {
    value = decode(bytes, {
      allowIndefinite: false,
      allowUndefined: false,
      allowInfinity: false,
      allowNaN: false,
      allowBigInt: false,
      strict: true,
      rejectDuplicateMapKeys: true,
    }) as Cbor;
    again = encodeCbor(value);
  } catch (error) {
    throw new FormatError(`not CBOR: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (!equal(again, bytes)) throw new FormatError('not deterministic CBOR');
  return value;
}

export function asArray(value: Cbor | undefined, length?: number): readonly Cbor[] {
  if (!Array.isArray(value)) throw new FormatError('an array is missing');
  if (length !== undefined && value.length !== length) {
    throw new FormatError(`${length} fields expected, ${value.length} found`);
  }
  return value;
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
