import type { KvOp, KvReader } from '../base/kv.ts';

/**
 * Writes that are decided but not on the disk yet, readable as if they were. One list in the order of the writes, and a table of each
 * key's latest value.
 */
export class Overlay implements KvReader {
  readonly #below: KvReader;
  readonly #latest = new Map<string, KvOp>();
  #waiting: KvOp[] = [];
  #bytes = 0;

  /** @param below the disk's sealed records. */
  constructor(below: KvReader) {
    this.#below = below;
  }

  get(key: string): Uint8Array | undefined {
    const op = this.#latest.get(key);
    if (op) return op.type === 'put' ? op.value : undefined;
    return this.#below.get(key);
  }

  add(ops: readonly KvOp[]): void {
    for (const op of ops) {
      this.#waiting.push(op);
      this.#latest.set(op.key, op);
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

  /** The batch is on the disk: what was not overwritten since is read from there from now on. */
  landed(ops: readonly KvOp[]): void {
    for (const op of ops) if (this.#latest.get(op.key) === op) this.#latest.delete(op.key);
  }
}
