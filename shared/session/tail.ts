import { asArray, asBytes, asInteger, decodeCbor, encodeCbor } from '../base/cbor.ts';
import { HASH_BYTES } from '../base/hash.ts';

/**
 * Where a session has come to: the number and hash of its last command, 0 and zero bytes before the first. The next command follows from it, wherever the commands
 * before it and the state are.
 */
export interface Tail {
  readonly seq: number;
  /** Null where an older record has the number alone: then the commands themselves, or the state, tell. */
  readonly hash: Uint8Array | null;
}

/** `m/own`: [seq, hash], in the batch of the command itself. */
export const TAIL_KEY = 'm/own';

export const encodeTail = ({ seq, hash }: Tail): Uint8Array => encodeCbor([seq, hash]);

/** @throws FormatError */
export function decodeTail(record: Uint8Array): Tail {
  const value = decodeCbor(record);
  if (typeof value === 'number') return { seq: asInteger(value), hash: null };
  const [seq, hash] = asArray(value, 2);
  return { seq: asInteger(seq), hash: asBytes(hash, HASH_BYTES) };
}
