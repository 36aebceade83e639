/** CRC-32C (Castagnoli, reflected polynomial 0x82F63B78; RFC 3720 appendix B.4), the check of every stored record. */

const TABLES: readonly Uint32Array[] = makeTables();

function makeTables(): Uint32Array[] {
  const tables = Array.from({ length: 8 }, () => new Uint32Array(256));
  const first = tables[0] as Uint32Array;
  for (let i = 0; i < 256; i++) {
    let c = i;
    for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
    first[i] = c >>> 0;
  }
  for (let i = 0; i < 256; i++) {
    let c = first[i] as number;
    for (let t = 1; t < 8; t++) {
      c = (first[c & 255] as number) ^ (c >>> 8);
      (tables[t] as Uint32Array)[i] = c >>> 0;
    }
  }
  return tables;
}

const [T0, T1, T2, T3, T4, T5, T6, T7] = TABLES as [
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
];

/** The check of an ASCII text's bytes. */
export function crc32cOfText(text: string): number {
  let c = ~0;
  for (let i = 0; i < text.length; i++) c = (T0[(c ^ text.charCodeAt(i)) & 255] as number) ^ (c >>> 8);
  return ~c >>> 0;
}

/** Goes on from `seed`, the check of what came before. Eight bytes a turn ("slicing by 8"). */
export function crc32c(bytes: Uint8Array, seed = 0): number {
  let c = ~seed;
  let at = 0;
  const end = bytes.length - (bytes.length % 8);
  for (; at < end; at += 8) {
    c ^=
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24);
    c =
      (T7[c & 255] as number) ^
      (T6[(c >>> 8) & 255] as number) ^
      (T5[(c >>> 16) & 255] as number) ^
      (T4[c >>> 24] as number) ^
      (T3[bytes[at + 4] as number] as number) ^
      (T2[bytes[at + 5] as number] as number) ^
      (T1[bytes[at + 6] as number] as number) ^
      (T0[bytes[at + 7] as number] as number);
  }
  for (; at < bytes.length; at++) c = (T0[(c ^ (bytes[at] as number)) & 255] as number) ^ (c >>> 8);
  return ~c >>> 0;
}
