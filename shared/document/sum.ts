import { readUint32 } from '../base/bytes.ts';
import { appliedPlace, recordHash } from './records.ts';

const LIMBS = 8;

/**
 * A sum modulo 2²⁵⁶ of 32-byte hashes, read as big-endian numbers. Adding and taking away are each other's opposites and
 * the order does not matter, so a set of records has one sum, however it came about.
 */
export class StateSum {
  /** The least significant first. */
  readonly #limbs = new Uint32Array(LIMBS);

  constructor(bytes: Uint8Array) {
    for (let i = 0; i < LIMBS; i++) this.#limbs[i] = readUint32(bytes, (LIMBS - 1 - i) * 4);
  }

  add(hash: Uint8Array): void {
    let carry = 0;
    for (let i = 0; i < LIMBS; i++) {
      const sum = (this.#limbs[i] as number) + readUint32(hash, (LIMBS - 1 - i) * 4) + carry;
      this.#limbs[i] = sum;
      carry = sum > 0xffffffff ? 1 : 0;
    }
  }

  subtract(hash: Uint8Array): void {
    let borrow = 0;
    for (let i = 0; i < LIMBS; i++) {
      const difference = (this.#limbs[i] as number) - readUint32(hash, (LIMBS - 1 - i) * 4) - borrow;
      this.#limbs[i] = difference;
      borrow = difference < 0 ? 1 : 0;
    }
  }

  toBytes(): Uint8Array {
    const bytes = new Uint8Array(LIMBS * 4);
    for (let i = 0; i < LIMBS; i++) {
      const limb = this.#limbs[i] as number;
      const at = (LIMBS - 1 - i) * 4;
      bytes[at] = limb >>> 24;
      bytes[at + 1] = limb >>> 16;
      bytes[at + 2] = limb >>> 8;
      bytes[at + 3] = limb;
    }
    return bytes;
  }
}

/** Holds all state records, by key, against the hash that stands beside them; `stored` is null where that record is missing. */
export function stateHashOf(records: readonly (readonly [key: string, record: Uint8Array])[]): {
  readonly stored: Uint8Array | null;
  readonly summed: Uint8Array;
} {
  const sum = new StateSum(new Uint8Array(LIMBS * 4));
  let stored: Uint8Array | null = null;
  for (const [key, record] of records) {
    if (key === appliedPlace.key) stored = appliedPlace.codec.decode(record).stateHash;
    else sum.add(recordHash(key, record));
  }
  return { stored, summed: sum.toBytes() };
}
