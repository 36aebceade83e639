import { assert } from '../base/assert.ts';
import type { KvOp, KvReader } from '../base/kv.ts';
import { RECORD_VERSION, seal, unseal } from './records.ts';

/** Records that are looked at again and again (sessions, members, the head of the log) are kept opened; so many at the most. */
const HOT_MAX = 4096;
/** Larger ones are read from the disk each time. Bytes. */
const HOT_RECORD_BYTES_MAX = 4096;

/**
 * Writes that are decided but not on the disk yet, readable as if they were; and above the disk, the records read of late. Callers see opened records; they are
 * sealed as they leave for the disk, so a record that is overwritten before that is never sealed.
 *
 * Some go with the next batch, others may wait longer: what can be worked out again from the log is written together, now and then, and mostly has been
 * overwritten by then. Those that wait longer go all at once or not at all, as they only make sense together.
 */
export class Overlay implements KvReader {
  readonly #below: KvReader;
  /** For the next batch. */
  #waiting = new Map<string, KvOp>();
  /** For a later one. No key stands in both. */
  #deferred = new Map<string, KvOp>();
  /** On its way to the disk. */
  #taken = new Map<string, KvOp>();
  /** By key, once it was read; undefined where it has to be read again. */
  readonly #hot = new Map<string, Uint8Array | undefined>();
  #bytes = 0;

  /** @param below the disk's sealed records. */
  constructor(below: KvReader) {
    this.#below = below;
  }

  /** @throws RecordError where the disk's record is damaged */
  get(key: string): Uint8Array | undefined {
    const op = this.#waiting.get(key) ?? this.#deferred.get(key) ?? this.#taken.get(key);
    if (op) return op.type === 'put' ? op.value : undefined;
    const hot = this.#hot.get(key);
    if (hot !== undefined) return hot;
    const record = this.#below.get(key);
    if (record === undefined) return undefined;
    const { payload } = unseal(key, record, RECORD_VERSION);
    if (payload.length <= HOT_RECORD_BYTES_MAX) {
      if (this.#hot.size >= HOT_MAX) this.#hot.clear();
      this.#hot.set(key, payload);
    }
    return payload;
  }

  /** For the next batch. */
  add(ops: readonly KvOp[]): void {
    for (const op of ops) {
      if (this.#deferred.has(op.key)) this.#hurry();
      this.#put(this.#waiting, op);
    }
  }

  /** For a later batch, all of them together. */
  defer(ops: readonly KvOp[]): void {
    const hasToHurry = ops.some(({ key }) => this.#waiting.has(key));
    if (hasToHurry) this.#hurry();
    for (const op of ops) this.#put(hasToHurry ? this.#waiting : this.#deferred, op);
  }

  /** What waits, for the next batch or a later one. Bytes. */
  get waitingBytes(): number {
    return this.#bytes;
  }

  /** Something waits for the next batch. */
  get isWaiting(): boolean {
    return this.#waiting.size > 0;
  }

  /** What was last written under this key is not on the disk yet. */
  isUnwritten(key: string): boolean {
    return this.#waiting.has(key) || this.#deferred.has(key) || this.#taken.has(key);
  }

  get isEmpty(): boolean {
    return this.#waiting.size === 0 && this.#deferred.size === 0;
  }

  /**
   * What waits for this batch; with `everything`, also what could wait longer. It stays readable here until `landed`. A key written twice is written
   * once, as it ended.
   */
  take(everything: boolean): readonly KvOp[] {
    assert(this.#taken.size === 0, 'one batch at a time');
    if (everything) this.#hurry();
    this.#taken = this.#waiting;
    this.#waiting = new Map();
    const ops = [...this.#taken.values()];
    for (const op of ops) this.#bytes -= sizeOf(op);
    return ops;
  }

  /** The batch that was taken is on the disk: what was not overwritten since stands there from now on. */
  landed(): void {
    for (const [key, op] of this.#taken) {
      if (op.type !== 'put' || !this.#hot.has(key)) continue;
      if (!this.#waiting.has(key) && !this.#deferred.has(key)) this.#hot.set(key, op.value);
    }
    this.#taken = new Map();
  }

  #put(to: Map<string, KvOp>, op: KvOp): void {
    const before = to.get(op.key);
    if (before) this.#bytes -= sizeOf(before);
    to.set(op.key, op);
    this.#bytes += sizeOf(op);
    if (this.#hot.has(op.key)) this.#hot.set(op.key, undefined);
  }

  /** A record of the next batch stands for one that could have waited: so none of them waits. */
  #hurry(): void {
    for (const [key, op] of this.#deferred) this.#waiting.set(key, op);
    this.#deferred = new Map();
  }
}

function sizeOf(op: KvOp): number {
  return op.key.length + (op.type === 'put' ? op.value.length : 0);
}

/** As the disk has it. */
export function sealed(op: KvOp): KvOp {
  return op.type === 'del' ? op : { type: 'put', key: op.key, value: seal(op.key, RECORD_VERSION, op.value) };
}
