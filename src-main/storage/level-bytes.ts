/** What a file of LevelDB's says is not so: it is damaged, or cut short. Never leaves this folder. */
export class NotWhole extends Error {}

export function must(condition: boolean): asserts condition {
  if (!condition) throw new NotWhole();
}

/** LevelDB stores a CRC turned and added to, so that the CRC of bytes that hold a CRC is no special case. */
const turned = (crc: number): number => (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;

export function fits(crc: number, stored: Uint8Array): boolean {
  return new Cursor(stored).integer(4) === turned(crc);
}

/** As LevelDB stores it, 4 bytes. */
export function masked(crc: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, turned(crc), true);
  return bytes;
}

/** A safe integer, seven bits to a byte, the lowest first. */
export function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let left = value;
  for (; left >= 128; left = Math.floor(left / 128)) bytes.push((left % 128) | 128);
  return Uint8Array.from([...bytes, left]);
}

/** Reads a file of LevelDB's; what does not fit is `NotWhole`. */
export class Cursor {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  byte(): number {
    must(this.left > 0);
    return this.#bytes[this.#at++] as number;
  }

  take(length: number): Uint8Array {
    must(length <= this.left);
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  /** Of up to four bytes, the lowest first. */
  integer(bytes: number): number {
    let value = 0;
    for (let i = 0; i < bytes; i++) value += this.byte() * 2 ** (8 * i);
    return value;
  }

  /** A safe integer in as few bytes as it needs: a flipped bit can make one longer and leave its value. */
  varint(): number {
    let value = 0;
    for (let bits = 0; bits < 56; bits += 7) {
      const byte = this.byte();
      value += (byte & 127) * 2 ** bits;
      if (byte < 128) {
        must(Number.isSafeInteger(value) && (byte > 0 || bits === 0));
        return value;
      }
    }
    throw new NotWhole();
  }
}
