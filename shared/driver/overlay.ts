import type { KvOp, KvReader } from '../base/kv.ts';
import { RECORD_VERSION, seal, unseal } from './records.ts';

/** Records that are looked at again and again (sessions, members, the head of the log) are kept opened; so many at the most. */
const HOT_MAX = 4096;
/** Larger ones are read from the disk each time. Bytes. */
const HOT_RECORD_BYTES_MAX = 4096;

/**
 * Writes that are decided but not on the disk yet, readable as if they were; and above the disk, the records read of late. Callers see opened records; they are
 * sealed as they leave for the disk, so a record that is overwritten before that is never sealed.
 */
export class Overlay implements KvReader {
  readonly #below: KvReader;
  readonly #latest = new Map<string, KvOp>();
  /** By key, once it was read; undefined where it has to be read again. */
  readonly #hot = new Map<string, Uint8Array | undefined>();
  #waiting: KvOp[] = [];
  #bytes = 0;

  /** @param below the disk's sealed records. */
  constructor(below: KvReader) {
    this.#below = below;
  }

  /** @throws RecordError where the disk's record is damaged */
  get(key: string): Uint8Array | undefined {
    const op = this.#latest.get(key);
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

  add(ops: readonly KvOp[]): void {
    for (const op of ops) {
      this.#waiting.push(op);
      this.#latest.set(op.key, op);
      if (this.#hot.has(op.key)) this.#hot.set(op.key, undefined);
      this.#bytes += op.key.length + (op.type === 'put' ? op.value.length : 0);
    }
  }

  /** What waits for the next batch. Bytes. */
  get waitingBytes(): number {
    return this.#bytes;
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  /** Everything that waits, for one batch. It stays readable here until `landed`. A key written twice is written once, as it ended. */
  take(): readonly KvOp[] {
    const ops = this.#waiting.filter((op) => this.#latest.get(op.key) === op);
    this.#waiting = [];
    this.#bytes = 0;
    return ops;
  }

  /** The batch is on the disk: what was not overwritten since stands there from now on. */
  landed(ops: readonly KvOp[]): void {
    for (const op of ops) {
      if (this.#latest.get(op.key) !== op) continue;
      this.#latest.delete(op.key);
      if (op.type === 'put' && this.#hot.has(op.key)) this.#hot.set(op.key, op.value);
    }
  }
}

/** As the disk has it. */
export function sealed(op: KvOp): KvOp {
  return op.type === 'del' ? op : { type: 'put', key: op.key, value: seal(op.key, RECORD_VERSION, op.value) };
}
