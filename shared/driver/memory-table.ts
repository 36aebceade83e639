import type { KvOp, KvRange, KvRow } from './store.ts';

/** A map in the order of its keys. */
export class Table {
  #rows: Map<string, Uint8Array>;
  #keys: string[];

  constructor(rows = new Map<string, Uint8Array>(), keys: string[] = []) {
    this.#rows = rows;
    this.#keys = keys;
  }

  copy(): Table {
    return new Table(new Map(this.#rows), this.#keys.slice());
  }

  get(key: string): Uint8Array | undefined {
    return this.#rows.get(key);
  }

  scan({ gte, lt, reverse = false, limit, limitBytes = Number.POSITIVE_INFINITY }: KvRange): KvRow[] {
    const from = this.#find(gte);
    const to = this.#find(lt);
    const rows: KvRow[] = [];
    const count = Math.min(limit, to - from);
    let bytes = 0;
    for (let i = 0; i < count && bytes < limitBytes; i++) {
      const key = this.#keys[reverse ? to - 1 - i : from + i] as string;
      const value = this.#rows.get(key) as Uint8Array;
      rows.push([key, value]);
      bytes += key.length + value.length;
    }
    return rows;
  }

  /** What stands under the keys of `ops` now, as operations that bring it back. */
  before(ops: readonly KvOp[]): KvOp[] {
    return [...new Set(ops.map((op) => op.key))].map((key): KvOp => {
      const value = this.#rows.get(key);
      return value === undefined ? { type: 'del', key } : { type: 'put', key, value };
    });
  }

  apply(ops: readonly KvOp[]): void {
    for (const op of ops) {
      const known = this.#rows.has(op.key);
      if (op.type === 'put') {
        if (!known) this.#insert(op.key);
        this.#rows.set(op.key, op.value);
      } else if (known) {
        this.#keys.splice(this.#find(op.key), 1);
        this.#rows.delete(op.key);
      }
    }
  }

  #insert(key: string): void {
    const last = this.#keys.at(-1);
    if (last === undefined || last < key) this.#keys.push(key);
    else this.#keys.splice(this.#find(key), 0, key);
  }

  /** The place of the first key that is not before `key`. */
  #find(key: string): number {
    let low = 0;
    let high = this.#keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#keys[middle] as string) < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
