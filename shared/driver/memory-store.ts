import { assert } from '../base/assert.ts';
import { EMPTY } from '../base/bytes.ts';
import { Table } from './memory-table.ts';
import {
  type Kv,
  type KvOp,
  type KvRange,
  type KvRow,
  type KvSnapshot,
  MARK_PLACE_BYTES,
  type MarkFile,
  type MarkPlace,
  StoreError,
  type StoreErrorCode,
  type StorePort,
} from './store.ts';

/** How many batches since an unsynced one are kept apart; beyond it the oldest counts as having reached the disk by itself. */
const UNSYNCED_BATCHES_MAX = 64;

/** Where a crash leaves a choice, this makes it; `Random` of base fits. Without one, everything that may be lost is lost. */
export interface CrashChoice {
  chance(probability: number): boolean;
  /** An integer in 0 … below−1. */
  below(below: number): number;
}

/** What was being written when the crash came: a batch is then there or not, a mark's place old, new or torn. */
export type UnderWay =
  | { readonly type: 'batch'; readonly ops: readonly KvOp[] }
  | { readonly type: 'mark'; readonly place: MarkPlace; readonly bytes: Uint8Array };

/** A batch as the write-ahead file holds it: what it did, and what stood there before. */
interface Logged {
  readonly ops: readonly KvOp[];
  readonly before: readonly KvOp[];
}

interface Batch {
  readonly ops: readonly KvOp[];
  readonly synced: boolean;
}

/** What outlives the store object. */
interface Disk {
  /** Everything that no crash can take. */
  readonly durable: Table;
  /** In order, from the oldest unsynced batch on. A synced one among them stays at a crash; each other stays or goes. */
  pending: Batch[];
  readonly marks: [Uint8Array | null, Uint8Array | null];
  /** A write that failed: it may or may not be there after the next opening, even where the disk was only full. */
  limbo: UnderWay | null;
  /** The last batches, the oldest first; so many are kept. */
  logged: Logged[];
  loggedMax: number;
}

/**
 * A store in memory that is as treacherous as a disk: a crash takes unsynced writes, each by itself, and leaves a mark torn.
 * Writes are counted from 1, marks with them, so that a test can let the n-th fail. The simulator uses the synchronous half.
 */
export class MemoryStore implements StorePort {
  readonly kv: Kv;
  readonly mark: MarkFile;
  readonly #disk: Disk;
  /** What reads see: the durable rows and everything pending. */
  #table: Table;
  #state: 'open' | 'closed' = 'open';
  /** Each settles with the write under way. */
  readonly #writing = new Map<UnderWay['type'], Promise<void>>();
  #refused: StoreError | null = null;
  #writes = 0;
  #failAt: { readonly write: number; readonly code: StoreErrorCode } | null = null;

  private constructor(disk: Disk) {
    this.#disk = disk;
    this.#table = disk.durable;
    this.kv = {
      get: (key) => this.get(key),
      scan: async (range) => this.scanSync(range),
      snapshot: () => this.snapshotSync(),
      write: (ops, options) => this.#oneAtATime('batch', () => this.writeSync(ops, options)),
    };
    this.mark = {
      read: async () => this.markReadSync(),
      write: (place, bytes) => this.#oneAtATime('mark', () => this.markWriteSync(place, bytes)),
    };
  }

  static create(): MemoryStore {
    return new MemoryStore({
      durable: new Table(),
      pending: [],
      marks: [null, null],
      limbo: null,
      logged: [],
      loggedMax: 0,
    });
  }

  /** Writes begun so far, batches and marks together. */
  get writes(): number {
    return this.#writes;
  }

  /** The n-th write from now on (1 is the next) fails; every one after it is refused. */
  failAt(n: number, code: StoreErrorCode): void {
    this.#failAt = { write: this.#writes + n, code };
  }

  get(key: string): Uint8Array | undefined {
    this.#assertUsable();
    return this.#table.get(key);
  }

  scanSync(range: KvRange): readonly KvRow[] {
    this.#assertUsable();
    return this.#table.scan(range);
  }

  snapshotSync(): KvSnapshot {
    this.#assertUsable();
    const table = this.#table.copy();
    return {
      scan: (range) => {
        this.#assertUsable();
        return table.scan(range);
      },
      close: () => undefined,
    };
  }

  /** @throws StoreError */
  writeSync(ops: readonly KvOp[], { sync }: { readonly sync: boolean }): void {
    this.#assertUsable();
    for (const { key } of ops) assert(ASCII.test(key), 'keys are ASCII and not empty', key);
    // Copied, as a real store does: what the caller does with its bytes afterwards changes nothing.
    const copy = ops.map((op): KvOp => (op.type === 'put' ? { ...op, value: op.value.slice() } : op));
    this.#begin({ type: 'batch', ops: copy });

    const { durable, pending } = this.#disk;
    if (sync && pending.length === 0) {
      this.#settle(copy);
      if (this.#table !== durable) this.#table.apply(copy);
      return;
    }
    if (this.#table === durable) this.#table = durable.copy();
    this.#table.apply(copy);
    pending.push({ ops: copy, synced: sync });
    if (pending.length > UNSYNCED_BATCHES_MAX) this.#settleOldest();
  }

  markReadSync(): readonly [Uint8Array | null, Uint8Array | null] {
    this.#assertUsable();
    const [first, second] = this.#disk.marks;
    return [first?.slice() ?? null, second?.slice() ?? null];
  }

  /** @throws StoreError */
  markWriteSync(place: MarkPlace, bytes: Uint8Array): void {
    this.#assertUsable();
    assert(bytes.length <= MARK_PLACE_BYTES, 'a mark fits into its place', bytes.length);
    this.#begin({ type: 'mark', place, bytes: bytes.slice() });
    this.#disk.marks[place] = overlaid(this.#disk.marks[place], bytes, bytes.length);
  }

  async close(): Promise<void> {
    await Promise.all(this.#writing.values());
    this.closeSync();
  }

  closeSync(): void {
    this.#state = 'closed';
  }

  // --- what a disk does behind everybody's back; only between two processes, or to what lies still

  /** From now on the last `batches` can be dropped. */
  keepLog(batches: number): void {
    this.#disk.loggedMax = batches;
  }

  /** How many batches can be dropped. */
  get loggedBatches(): number {
    return this.#disk.logged.length;
  }

  /** As if these batches had never been written, though they were synced: a damaged part of the write-ahead file, `last` batches before its end. */
  dropLogged(count: number, last = 0): void {
    const { durable, logged } = this.#disk;
    const from = logged.length - last - count;
    assert(from >= 0 && count > 0, 'only batches that are kept can be dropped', { count, last, kept: logged.length });
    for (const { before } of logged.slice(from).reverse()) durable.apply(before);
    const stay = logged.splice(from).slice(count);
    for (const { ops } of stay) this.#settle(ops);
    this.#table = durable;
  }

  /** Whatever a record was, it is this now; null: it is gone. */
  rot(key: string, value: Uint8Array | null): void {
    const op: KvOp = value === null ? { type: 'del', key } : { type: 'put', key, value };
    this.#disk.durable.apply([op]);
    if (this.#table !== this.#disk.durable) this.#table.apply([op]);
  }

  rotMark(place: MarkPlace, bytes: Uint8Array | null): void {
    this.#disk.marks[place] = bytes;
  }

  /** All of it as it is now, on another disk: a backup, or a copied directory. */
  copy(): MemoryStore {
    const { durable, pending, marks, loggedMax } = this.#disk;
    const whole = durable.copy();
    for (const { ops } of pending) whole.apply(ops);
    return new MemoryStore({ durable: whole, pending: [], marks: [...marks], limbo: null, logged: [], loggedMax });
  }

  /**
   * The same contents in a new process, after a clean close or a `kill`: nothing is lost but what a failed sync left open. As with
   * LevelDB, opening carries everything that is found to the disk.
   */
  reopen(choice?: CrashChoice): MemoryStore {
    return this.#again(choice, true);
  }

  /** Power is cut: each unsynced batch stays or goes, and so does what was under way. This object is dead. */
  crash(options: { readonly choice?: CrashChoice; readonly during?: readonly UnderWay[] } = {}): MemoryStore {
    return this.#again(options.choice, false, options.during);
  }

  #again(choice: CrashChoice | undefined, keepAll: boolean, during: readonly UnderWay[] = []): MemoryStore {
    this.closeSync();
    const { pending, limbo } = this.#disk;
    for (const { ops, synced } of pending) if (keepAll || synced || choice?.chance(0.5)) this.#settle(ops);
    this.#disk.pending = [];
    this.#disk.limbo = null;
    if (limbo !== null) this.#decide(limbo, choice);
    for (const write of during) this.#decide(write, choice);
    return new MemoryStore(this.#disk);
  }

  /** A write that nobody was told of is there or not. */
  #decide(write: UnderWay, choice: CrashChoice | undefined): void {
    if (write.type === 'batch') {
      if (choice?.chance(0.5)) this.#settle(write.ops);
      return;
    }
    const cut = choice?.below(write.bytes.length + 1) ?? 0;
    this.#disk.marks[write.place] = overlaid(this.#disk.marks[write.place], write.bytes, cut);
  }

  #settleOldest(): void {
    const { durable, pending } = this.#disk;
    do {
      const oldest = pending.shift();
      if (oldest !== undefined) this.#settle(oldest.ops);
    } while (pending[0]?.synced);
    if (pending.length === 0) this.#table = durable;
  }

  #settle(ops: readonly KvOp[]): void {
    const { durable, logged, loggedMax } = this.#disk;
    if (loggedMax > 0) {
      logged.push({ ops, before: durable.before(ops) });
      if (logged.length > loggedMax) logged.shift();
    }
    durable.apply(ops);
  }

  #begin(write: UnderWay): void {
    if (this.#refused !== null) throw this.#refused;
    this.#writes += 1;
    if (this.#failAt === null || this.#writes < this.#failAt.write) return;
    const { code } = this.#failAt;
    this.#refused = new StoreError(code, `write ${this.#writes} failed as it was told to`);
    if (code === 'DISK_FAILED' || code === 'DISK_FULL') this.#disk.limbo = write;
    throw this.#refused;
  }

  async #oneAtATime(kind: UnderWay['type'], write: () => void): Promise<void> {
    this.#assertUsable();
    assert(!this.#writing.has(kind), `one ${kind} at a time`);
    let done = (): void => undefined;
    this.#writing.set(
      kind,
      new Promise((resolve) => {
        done = resolve;
      }),
    );
    try {
      await Promise.resolve(); // so that a second write in the same breath meets the first
      write();
    } finally {
      this.#writing.delete(kind);
      done();
    }
  }

  #assertUsable(): void {
    if (this.#state === 'closed') throw new StoreError('CLOSED', 'this store was closed');
  }
}

const ASCII = /^[\x20-\x7e]+$/;

/** The first `length` bytes of `bytes` over what stands in a place. */
function overlaid(place: Uint8Array | null, bytes: Uint8Array, length: number): Uint8Array {
  const whole = new Uint8Array(MARK_PLACE_BYTES);
  whole.set(place ?? EMPTY);
  whole.set(bytes.subarray(0, length));
  return whole;
}
