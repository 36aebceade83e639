import type { KvOp } from '../base/kv.ts';

export type { KvOp } from '../base/kv.ts';

/**
 * The disk as the driver sees it: an ordered key–value store with atomic synced batches, and beside it the mark, a small
 * file with two places. Both exist twice, on LevelDB and in memory; one contract suite runs on both.
 *
 * Keys are ASCII strings, ordered by code unit. Values are opaque here; `records.ts` versions and checks them.
 */
export interface KvRange {
  /** Inclusive lower bound. */
  readonly gte: string;
  /** Exclusive upper bound. */
  readonly lt: string;
  readonly reverse?: boolean;
  /** At most so many rows; no more than fit are ever held. */
  readonly limit: number;
  /** No further row is read once keys and values come to this: at most so much is held, and one row more. Bytes. */
  readonly limitBytes?: number;
}

export type KvRow = readonly [key: string, value: Uint8Array];

/** The database as it was at one moment, whatever is written afterwards. Costs nothing but the space of what is overwritten meanwhile. */
export interface KvSnapshot {
  /** At once in memory, later on a disk. @throws StoreError */
  scan(range: KvRange): readonly KvRow[] | Promise<readonly KvRow[]>;
  close(): void;
}

export interface Kv {
  /** A synchronous point read. @throws StoreError */
  get(key: string): Uint8Array | undefined;
  /** @throws StoreError */
  scan(range: KvRange): Promise<readonly KvRow[]>;
  /** To be closed by whoever asked for it; closing the store closes it, too. @throws StoreError */
  snapshot(): KvSnapshot;
  /**
   * Atomic: all of it or nothing, in the order of the calls. With `sync`, resolves once it is on the disk. Only one batch is under way at a
   * time, and one mark (the caller's duty, asserted).
   * @throws StoreError; after `DISK_FAILED` nothing may be written to this store again, and no write is retried.
   */
  write(ops: readonly KvOp[], options: { readonly sync: boolean }): Promise<void>;
}

/** The two places of the mark, written in turn, so that one of them is whole at any moment. */
export type MarkPlace = 0 | 1;
/** Each place has a page of the disk to itself. Bytes. */
export const MARK_PLACE_BYTES = 4096;

export interface MarkFile {
  /** What stands in each place: `MARK_PLACE_BYTES`, or null where the file is missing or too short. @throws StoreError */
  read(): Promise<readonly [Uint8Array | null, Uint8Array | null]>;
  /** At most `MARK_PLACE_BYTES`. Resolves once the bytes are on the disk (fdatasync). @throws StoreError */
  write(place: MarkPlace, bytes: Uint8Array): Promise<void>;
}

export interface StorePort {
  readonly kv: Kv;
  readonly mark: MarkFile;
  /** Waits for a write under way, then lets go of the files. Safe to call twice. */
  close(): Promise<void>;
}

/**
 * - `LOCKED`: another process has this store open.
 * - `DISK_FAILED`: EIO, or ENOSPC or anything else from a sync. What was written last may or may not be there; the peer stops.
 * - `DISK_FULL`: ENOSPC before a sync. What was written last may or may not be there: close, make room, open and look.
 * - `READ_ONLY`: the directory or file can't be written.
 * - `CORRUPT`: the database can't be opened or a block of it fails its check.
 * - `NEWER_FORMAT`: made by a newer version.
 * - `CLOSED`: used after close.
 */
export type StoreErrorCode =
  | 'LOCKED'
  | 'DISK_FAILED'
  | 'DISK_FULL'
  | 'READ_ONLY'
  | 'CORRUPT'
  | 'NEWER_FORMAT'
  | 'CLOSED';

export class StoreError extends Error {
  override readonly name = 'StoreError';
  readonly code: StoreErrorCode;
  constructor(code: StoreErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}
