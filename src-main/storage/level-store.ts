import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ClassicLevel } from 'classic-level';
import { assert } from '../../shared/base/assert.ts';
import type {
  Kv,
  KvOp,
  KvRange,
  KvRow,
  KvSnapshot,
  MarkFile,
  MarkPlace,
  StorePort,
} from '../../shared/driver/store.ts';
import { StoreError } from '../../shared/driver/store.ts';
import { keepAside, letGo, prune } from './aside.ts';
import { restoreBallast } from './ballast.ts';
import { errnoOf, fileError, storeError } from './errors.ts';
import { DIRECTORY_MODE, syncDirectory } from './files.ts';
import { levelError, readError } from './level-errors.ts';
import { DiskMarkFile } from './mark-file.ts';

type Database = ClassicLevel<string, Uint8Array>;

/**
 * After so many batches LevelDB is made to carry its write-ahead file into a table. The journal notices lost turns only among the
 * last 4,096 and more that it keeps (`CHECKPOINT_TURNS`), so nothing older may rest in that file, where damage goes unnoticed. Two rounds fit into one.
 */
const FLUSH_BATCHES = 1024;
/**
 * LevelDB's own buffers and tables, 4 and 2 MiB otherwise: small, so that one compaction fits into the space that `ballast.ts` holds back. Costs some
 * 3 % of the processor time of bulk writing. Bytes.
 */
const SIZES = { writeBufferSize: 1024 * 1024, maxFileSize: 1024 * 1024 };
/** Rows fetched at once while scanning. */
const PAGE_ROWS = 1000;
const PAGE_BYTES = 1024 * 1024;

/**
 * The store of one group on LevelDB: `dir/db`, `dir/mark`, `dir/aside`, and beside them `dir/ballast` and `dir/reserve`. With `create`, `dir` must not hold a
 * database yet, and the folder around it must be there; `createStore` is the way to make one that a crash can't leave half made.
 * @throws StoreError
 */
export async function openLevelStore(dir: string, { create }: { readonly create: boolean }): Promise<LevelStore> {
  const location = join(dir, 'db');
  const aside = join(dir, 'aside');
  if (create) await makeDirectories(dir, location);
  else await assertThere(location);

  const kept = create ? [] : await keepAside(location, aside);
  const db: Database = new ClassicLevel(location, { keyEncoding: 'utf8', valueEncoding: 'view' });
  try {
    await db.open({ ...SIZES, createIfMissing: create, errorIfExists: create });
  } catch (error) {
    const known = await levelError(error, dir);
    if (known.code === 'LOCKED') await letGo(aside, kept);
    throw known;
  }
  await prune(aside);
  return new LevelStore(dir, db);
}

/**
 * Makes a store beside its place and moves it there only when `init` has written the first turn and its mark: a store in its place without a
 * mark is therefore a damaged one, never a young one.
 * @throws StoreError, and whatever `init` throws; then nothing is left behind
 */
export async function createStore(dir: string, init: (port: StorePort) => Promise<void>): Promise<void> {
  assert(!(await exists(dir)), 'there is something in the place of the new store', dir);
  const making = `${dir}.new`;
  try {
    await rm(making, { recursive: true, force: true }); // an attempt that a crash cut short
    const port = await openLevelStore(making, { create: true });
    try {
      await init(port);
    } finally {
      await port.close();
    }
    await restoreBallast(making);
    await syncDirectory(join(making, 'db'));
    await syncDirectory(making);
    await rename(making, dir);
    await syncDirectory(dirname(dir));
  } catch (error) {
    await rm(making, { recursive: true, force: true }).catch(() => undefined); // the first error is the one to tell
    throw errnoOf(error)?.startsWith('E') ? fileError(error, 'write') : error;
  }
}

/** All of a store at one moment, read while it goes on being written. */
export interface StoreSnapshot {
  readonly marks: readonly [Uint8Array | null, Uint8Array | null];
  /** Every row, in pages, in the order of the keys. @throws StoreError, `CLOSED` where the store was closed meanwhile */
  readonly rows: AsyncIterable<readonly KvRow[]>;
  close(): Promise<void>;
}

/** For `openLevelStore` and for tests that bring a database which fails. */
export class LevelStore implements StorePort {
  readonly kv: Kv;
  readonly mark: MarkFile;
  readonly #dir: string;
  readonly #db: Database;
  readonly #markFile: DiskMarkFile;
  /** The batch and the mark under way; neither rejects. */
  readonly #writing = new Map<'batch' | 'mark', Promise<void>>();
  /** What every further write gets. */
  #refused: StoreError | null = null;
  #closing: Promise<void> | null = null;
  /** Since the last flush that is known to have done its work began. */
  #batches = 0;
  /** Never rejects. */
  #flushing: Promise<void> | null = null;

  constructor(dir: string, db: Database) {
    this.#dir = dir;
    this.#db = db;
    this.#markFile = new DiskMarkFile(join(dir, 'mark'));
    this.kv = {
      get: (key) => this.#get(key),
      scan: (range) => this.#scan(range),
      snapshot: () => this.#snapshot(),
      write: (ops, { sync }) => this.#oneAtATime('batch', () => this.#write(ops, sync)),
    };
    this.mark = {
      read: async () => {
        this.#assertUsable();
        return this.#markFile.read();
      },
      write: (place: MarkPlace, bytes: Uint8Array) =>
        this.#oneAtATime('mark', () => this.#markFile.write(place, bytes)),
    };
  }

  /** The moment is that of the call. No write may be under way before it has resolved: database and mark must be of one turn. */
  async snapshot(): Promise<StoreSnapshot> {
    this.#assertUsable();
    assert(this.#writing.size === 0, 'no write while a snapshot is taken');
    const iterator = this.#db.iterator({ highWaterMarkBytes: PAGE_BYTES });
    const close = (): Promise<void> => iterator.close();
    const page = async (): Promise<readonly KvRow[]> => {
      try {
        return (await iterator.nextv(PAGE_ROWS)).map(([key, value]): KvRow => [key, plain(value)]);
      } catch (error) {
        throw this.#closing === null ? readError(error) : storeError('CLOSED', error);
      }
    };
    try {
      return { marks: await this.#markFile.read(), rows: pages(page), close };
    } catch (error) {
      await close();
      throw error;
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.all(this.#writing.values());
    await this.#flushing;
    await this.#markFile.close();
    try {
      await this.#db.close();
    } catch (error) {
      throw await levelError(error, this.#dir);
    }
  }

  #get(key: string): Uint8Array | undefined {
    this.#assertUsable();
    try {
      const value = this.#db.getSync(key);
      return value === undefined ? undefined : plain(value);
    } catch (error) {
      throw readError(error);
    }
  }

  #snapshot(): KvSnapshot {
    this.#assertUsable();
    const snapshot = this.#db.snapshot();
    return {
      scan: (range) => this.#scan(range, snapshot),
      close: () => void snapshot.close().catch(nothing),
    };
  }

  async #scan(
    { gte, lt, reverse = false, limit, limitBytes }: KvRange,
    snapshot?: ReturnType<Database['snapshot']>,
  ): Promise<readonly KvRow[]> {
    this.#assertUsable();
    const rows: KvRow[] = [];
    const iterator = this.#db.iterator({
      gte,
      lt,
      reverse,
      limit,
      // A page ends with the row that goes beyond this.
      highWaterMarkBytes: limitBytes === undefined ? PAGE_BYTES : limitBytes - 1,
      ...(snapshot === undefined ? {} : { snapshot }),
    });
    try {
      while (rows.length < limit) {
        const page = await iterator.nextv(limitBytes === undefined ? Math.min(PAGE_ROWS, limit - rows.length) : limit);
        for (const [key, value] of page) rows.push([key, plain(value)]);
        if (page.length === 0 || limitBytes !== undefined) break;
      }
    } catch (error) {
      throw this.#closing === null ? readError(error) : storeError('CLOSED', error);
    } finally {
      await iterator.close();
    }
    return rows;
  }

  async #write(ops: readonly KvOp[], sync: boolean): Promise<void> {
    await this.#flushSometimes();
    try {
      await this.#db.batch([...ops], { sync });
    } catch (error) {
      throw await levelError(error, this.#dir, ops);
    }
  }

  /** Beside the batches, mostly; where that comes to nothing, before one of them. So a batch stays in a write-ahead file for at most two rounds. */
  async #flushSometimes(): Promise<void> {
    this.#batches += 1;
    if (this.#batches < FLUSH_BATCHES) return;
    this.#flushing ??= this.#flush().finally(() => {
      this.#flushing = null;
    });
    if (this.#batches < 2 * FLUSH_BATCHES) return;
    await this.#flushing;
    if (this.#batches >= FLUSH_BATCHES) await this.#flush();
  }

  /**
   * LevelDB may join this to a batch that is just being written, and then nothing is carried anywhere. So it counts only once the write-ahead file of
   * the beginning is gone. Never rejects: should LevelDB fail, it refuses the next write.
   */
  async #flush(): Promise<void> {
    try {
      const batches = this.#batches;
      const before = await this.#logFiles();
      // No key is '!', so nothing is compacted; but LevelDB empties its memory table first.
      await this.#db.compactRange('!', '!');
      const after = await this.#logFiles();
      if (!before.some((name) => after.includes(name))) this.#batches -= batches;
    } catch {
      // The next batch tries again, or is refused.
    }
  }

  async #logFiles(): Promise<string[]> {
    return (await readdir(join(this.#dir, 'db'))).filter((name) => name.endsWith('.log'));
  }

  async #oneAtATime(kind: 'batch' | 'mark', write: () => Promise<void>): Promise<void> {
    this.#assertUsable();
    assert(!this.#writing.has(kind), `one ${kind} at a time`);
    if (this.#refused !== null) throw this.#refused;
    const done = write();
    this.#writing.set(kind, done.then(nothing, nothing));
    try {
      await done;
    } catch (error) {
      if (error instanceof StoreError) this.#refused = error;
      throw error;
    } finally {
      this.#writing.delete(kind);
    }
  }

  #assertUsable(): void {
    if (this.#closing !== null) throw storeError('CLOSED');
  }
}

async function* pages(next: () => Promise<readonly KvRow[]>): AsyncGenerator<readonly KvRow[]> {
  for (let page = await next(); page.length > 0; page = await next()) yield page;
}

const nothing = (): void => undefined;

/** LevelDB hands out Buffers, whose `slice` does not copy. */
function plain(value: Uint8Array): Uint8Array {
  return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
}

/** One level at a time: asked for several, Node answers ENOENT whatever the reason. */
async function makeDirectories(...paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    try {
      await mkdir(path, { mode: DIRECTORY_MODE });
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw fileError(error, 'open');
    }
  }
}

async function assertThere(location: string): Promise<void> {
  const isThere = (await exists(location)) && (await stat(location)).isDirectory();
  if (!isThere) throw new StoreError('CORRUPT', `there is no database at ${location}`);
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw fileError(error, 'open');
  }
}
