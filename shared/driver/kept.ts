import { equal, readUint32 } from '../base/bytes.ts';
import { asArray, asInteger, decodeCbor, encodeCbor } from '../base/cbor.ts';
import { DAMAGED, FORMAT, KEPT, readRecord } from './journal-format.ts';
import { prefixRange, RecordError, seal, unseal } from './records.ts';
import type { KvOp, KvRow } from './store.ts';

/**
 * What only this store has: its promises, notes and configurations (`m/`, `c/`), its own commands (`o/`, `x/`), what it rescued (`r/`). All else can be had again from
 * others: chosen values, their digests, the state made from them. So each turn counts these records, in its own batch:
 *
 *   m/kept      [n, rows, sum, xor]: as of turn n, so many of them; sum (modulo 2³²) and exclusive or of the 4-byte checks at their ends
 *
 * A database that lost something else can then be mended in its place. A count against accidents: not for keeping anybody out.
 */
export const KEPT_RANGES: readonly { readonly gte: string; readonly lt: string }[] = ['c/', 'm/', 'o/', 'r/', 'x/'].map(
  prefixRange,
);
const CHECK_BYTES = 4;

function isKept(key: string): boolean {
  return KEPT_RANGES.some(({ gte, lt }) => gte <= key && key < lt) && key !== DAMAGED && key !== KEPT;
}

export class Kept {
  readonly #checks = new Map<string, number>();
  #sum = 0;
  #xor = 0;

  /** @param rows of `KEPT_RANGES`, as they are on the disk; those that are not whole count as gone */
  constructor(rows: Iterable<KvRow> = []) {
    for (const [key, record] of rows) if (isWhole(key, record)) this.#put(key, record);
  }

  /** @param ops a turn's batch */
  apply(ops: readonly KvOp[]): void {
    for (const op of ops) {
      if (!isKept(op.key)) continue;
      this.#forget(op.key);
      if (op.type === 'put') this.#put(op.key, op.value);
    }
  }

  #put(key: string, record: Uint8Array): void {
    if (!isKept(key)) return;
    const check = readUint32(record, record.length - CHECK_BYTES);
    this.#checks.set(key, check);
    this.#sum = (this.#sum + check) >>> 0;
    this.#xor = (this.#xor ^ check) >>> 0;
  }

  #forget(key: string): void {
    const check = this.#checks.get(key);
    if (check === undefined) return;
    this.#checks.delete(key);
    this.#sum = (this.#sum - check) >>> 0;
    this.#xor = (this.#xor ^ check) >>> 0;
  }

  /** For the batch of turn `n`. */
  op(n: number): KvOp {
    return { type: 'put', key: KEPT, value: seal(KEPT, FORMAT, this.#encode(n)) };
  }

  /**
   * Whether all is there that was there after turn `n`; null where nothing tells: the record is gone, damaged or of another turn.
   * @param record sealed @throws StoreError `NEWER_FORMAT`
   */
  isAllOf(n: number, record: Uint8Array | undefined): boolean | null {
    const found =
      record &&
      readRecord(KEPT, record, (payload) => [asInteger(asArray(decodeCbor(payload), 4)[0]), payload] as const);
    return found && found[0] === n ? equal(found[1], this.#encode(n)) : null;
  }

  #encode(n: number): Uint8Array {
    return encodeCbor([n, this.#checks.size, this.#sum, this.#xor]);
  }
}

function isWhole(key: string, record: Uint8Array): boolean {
  try {
    unseal(key, record, 255);
    return true;
  } catch (error) {
    if (error instanceof RecordError) return false;
    throw error;
  }
}
