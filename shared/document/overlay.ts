import { equal } from '../base/bytes.ts';
import { type KvOp, type KvReader, present } from '../base/kv.ts';
import { type Place, recordHash } from './records.ts';
import type { StateSum } from './sum.ts';

interface Cell<T> {
  readonly place: Place<T>;
  /** As it was before this batch. */
  readonly before: Uint8Array | undefined;
  value: T | undefined;
  changed: boolean;
}

/**
 * One batch's reads and writes over the state: each record is decoded once and encoded once, however many commands touch it.
 * Values in it are never changed in place, so going back to a savepoint is putting the old ones back.
 */
export class Overlay {
  readonly #reader: KvReader;
  readonly #cells = new Map<string, Cell<unknown>>();
  /** What the open savepoint must put back; null where none is open. */
  #undo: { cell: Cell<unknown>; value: unknown; changed: boolean }[] | null = null;

  constructor(reader: KvReader) {
    this.#reader = reader;
  }

  get<T>(place: Place<T>): T | undefined {
    return this.#cell(place).value;
  }

  /** A record that others speak of. @throws MissingRecordError */
  must<T>(place: Place<T>): T {
    return present(this.get(place), place.key);
  }

  put<T>(place: Place<T>, value: T): void {
    this.#set(this.#cell(place), value);
  }

  /** Writes a record that can't have been there before, so nothing is read. */
  create<T>(place: Place<T>, value: T): void {
    const cell: Cell<T> = { place, before: undefined, value: undefined, changed: false };
    this.#cells.set(place.key, cell as Cell<unknown>);
    this.#set(cell, value);
  }

  /** Runs `work`; where it returns false, all its writes are taken back. */
  atomically(work: () => boolean): void {
    this.#undo = [];
    const kept = work();
    const undo = this.#undo;
    this.#undo = null;
    if (kept) return;
    for (const { cell, value, changed } of undo.reverse()) {
      cell.value = value;
      cell.changed = changed;
    }
  }

  /** The writes as operations, in an order that only the log decides, and by how many bytes the state grows; the sum is moved along. */
  finish(sum: StateSum): { readonly ops: KvOp[]; readonly grownBytes: number } {
    const ops: KvOp[] = [];
    let grownBytes = 0;
    for (const [key, cell] of this.#cells) {
      if (!cell.changed) continue;
      const value = cell.place.codec.encode(cell.value);
      if (cell.before !== undefined) {
        if (equal(cell.before, value)) continue;
        sum.subtract(recordHash(key, cell.before));
        grownBytes -= key.length + cell.before.length;
      }
      sum.add(recordHash(key, value));
      grownBytes += key.length + value.length;
      ops.push({ type: 'put', key, value });
    }
    return { ops, grownBytes };
  }

  #cell<T>(place: Place<T>): Cell<T> {
    const known = this.#cells.get(place.key) as Cell<T> | undefined;
    if (known) return known;
    const before = this.#reader.get(place.key);
    const cell: Cell<T> = {
      place,
      before,
      value: before === undefined ? undefined : place.codec.decode(before),
      changed: false,
    };
    this.#cells.set(place.key, cell as Cell<unknown>);
    return cell;
  }

  #set<T>(cell: Cell<T>, value: T): void {
    this.#undo?.push({ cell: cell as Cell<unknown>, value: cell.value, changed: cell.changed });
    cell.value = value;
    cell.changed = true;
  }
}
