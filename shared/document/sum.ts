import { readUint32 } from '../base/bytes.ts';

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
