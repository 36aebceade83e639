import { type FileHandle, mkdir, open, readdir, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { concat } from '../../shared/base/bytes.ts';
import { crc32c } from '../../shared/base/crc32c.ts';
import { errnoOf, fileError } from './errors.ts';
import { DIRECTORY_MODE, FILE_MODE, syncDirectory } from './files.ts';
import { Cursor, fits, masked, must, NotWhole, varint } from './level-bytes.ts';
import { liveTables } from './manifest.ts';

/**
 * LevelDB 1.20 compacts and repairs its tables without looking at their checksums, and ends the whole process where damage put keys out of order.
 * So tables are looked at here first. The format is that of LevelDB's doc/table_format.txt and table/format.cc.
 */
const TABLE = /\.(ldb|sst)$/;

const FOOTER_BYTES = 48;
const HANDLES_BYTES = 40;
const MAGIC = 0xdb4775248b80fb57n;
/** After each block: its type and its CRC. */
const TRAILER_BYTES = 5;
/** Of an index, packed or not: that of a table of gigabytes. */
const INDEX_BYTES_MAX = 64 * 1024 * 1024;
const WINDOW_BYTES = 256 * 1024;

interface Block {
  readonly offset: number;
  /** Without its trailer. */
  readonly size: number;
}

/** A block as a list names it: in an index, by a key that is no lower than any of its own. */
interface Listed extends Block {
  readonly key: Uint8Array;
}

/**
 * Names of the tables (`*.ldb`, `*.sst`) in `location` (a LevelDB database folder) that are not whole: too short, wrong magic number, a handle outside of
 * the file, an index that can't be read, or a block whose CRC does not fit. Sorted. Reads each table once, one at a time, in bounded memory, and lets
 * other work go on meanwhile. The database must be closed.
 *
 * A broken table is no proof of damage: a kill, and closing in the middle of a compaction, leave unfinished tables that the database does not count as
 * its own. Once the broken ones are set aside, opening it tells: it says that files are missing just where one of them was its own.
 * @throws StoreError where a file can't be read at all
 */
export async function brokenTables(location: string): Promise<string[]> {
  try {
    const tables = (await readdir(location)).filter((name) => TABLE.test(name)).toSorted();
    const broken: string[] = [];
    for (const name of tables) if (!(await isWhole(join(location, name)))) broken.push(name);
    return broken;
  } catch (error) {
    throw fileError(error, 'read');
  }
}

/** Those tables that are not whole and that the database consists of. Empty where that can't be told: then opening it tells. */
export async function damagedTables(location: string): Promise<string[]> {
  const live = await liveTables(location);
  if (live === null) return [];
  const broken = await brokenTables(location).catch(() => []);
  return broken.filter((name) => live.has(Number.parseInt(name, 10)));
}

/**
 * Moves these tables into `aside` (a folder; made where missing), under their own names; a name that is taken there is overwritten.
 * @throws StoreError
 */
export async function setTablesAside(location: string, aside: string, names: readonly string[]): Promise<void> {
  try {
    await mkdir(aside, { recursive: true, mode: DIRECTORY_MODE });
    for (const name of names) await rename(join(location, name), join(aside, name));
  } catch (error) {
    throw fileError(error, 'write');
  }
  for (const directory of [dirname(aside), aside, location]) await syncDirectory(directory);
}

/**
 * Puts the blocks of a broken table that are whole into a table of their own, under the same order of keys: what one flipped bit takes is a block of some
 * kilobytes. Returns how many there are; null, and nothing is written, where the index can't be read or no block is whole.
 * @param to does not exist, or is overwritten @throws StoreError
 */
export async function salvageTable(from: string, to: string): Promise<number | null> {
  try {
    const file = await open(from, 'r');
    try {
      const kept = await wholeBlocks(file).catch((error: unknown) => {
        if (error instanceof NotWhole || errnoOf(error) === 'EIO') return [];
        throw error;
      });
      if (kept.length === 0) return null;
      await writeTable(file, kept, to);
      return kept.length;
    } finally {
      await file.close();
    }
  } catch (error) {
    throw fileError(error, 'write');
  }
}

async function wholeBlocks(file: FileHandle): Promise<readonly Listed[]> {
  const { size } = await file.stat();
  must(size >= FOOTER_BYTES);
  const { index } = footerOf(await readAt(file, new Uint8Array(FOOTER_BYTES), size - FOOTER_BYTES));
  const kept: Listed[] = [];
  for (const block of blocksIn(await contentsOf(file, index))) {
    try {
      must(endOf(block) <= index.offset);
      await checkBlock(new Window(file, endOf(block)), block);
      kept.push(block);
    } catch (error) {
      if (!(error instanceof NotWhole) && errnoOf(error) !== 'EIO') throw error;
    }
  }
  return kept;
}

/** Without a filter: that of the old table speaks of other offsets, and LevelDB needs none. */
async function writeTable(from: FileHandle, blocks: readonly Listed[], to: string): Promise<void> {
  const file = await open(to, 'w', FILE_MODE);
  try {
    let at = 0;
    const put = async (bytes: Uint8Array): Promise<void> => {
      for (let done = 0; done < bytes.length; ) done += (await file.write(bytes, done)).bytesWritten;
      at += bytes.length;
    };
    const index: { readonly key: Uint8Array; readonly value: Uint8Array }[] = [];
    for (const { key, offset, size } of blocks) {
      index.push({ key, value: handleOf({ offset: at, size }) });
      await put(await readAt(from, new Uint8Array(size + TRAILER_BYTES), offset));
    }
    const lists = [listOf([]), listOf(index)];
    const handles: Uint8Array[] = [];
    for (const list of lists) {
      handles.push(handleOf({ offset: at, size: list.length }));
      await put(withTrailer(list));
    }
    const footer = new Uint8Array(FOOTER_BYTES);
    footer.set(concat(...handles));
    new DataView(footer.buffer).setBigUint64(HANDLES_BYTES, MAGIC, true);
    await put(footer);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** A block of names and values, not packed, each name in full. */
function listOf(entries: readonly { readonly key: Uint8Array; readonly value: Uint8Array }[]): Uint8Array {
  const parts: Uint8Array[] = [];
  const restarts: number[] = [];
  let at = 0;
  for (const { key, value } of entries) {
    restarts.push(at);
    const entry = concat(Uint8Array.of(0), varint(key.length), varint(value.length), key, value);
    parts.push(entry);
    at += entry.length;
  }
  if (restarts.length === 0) restarts.push(0);
  const end = new Uint8Array(4 * (restarts.length + 1));
  const view = new DataView(end.buffer);
  for (const [i, restart] of [...restarts, restarts.length].entries()) view.setUint32(4 * i, restart, true);
  return concat(...parts, end);
}

function withTrailer(contents: Uint8Array): Uint8Array {
  const plain = concat(contents, Uint8Array.of(0));
  return concat(plain, masked(crc32c(plain)));
}

const handleOf = ({ offset, size }: Block): Uint8Array => concat(varint(offset), varint(size));

async function isWhole(path: string): Promise<boolean> {
  const file = await open(path, 'r');
  try {
    await checkTable(file);
    return true;
  } catch (error) {
    if (error instanceof NotWhole || errnoOf(error) === 'EIO') return false; // the disk itself says that it is gone
    throw error;
  } finally {
    await file.close();
  }
}

/**
 * LevelDB writes blocks end to end, those of data in the index's order, then those of the metaindex, the metaindex and the index. To hold a table to that
 * leaves no byte unchecked and none checked twice, whatever its index says.
 */
async function checkTable(file: FileHandle): Promise<void> {
  const { size } = await file.stat();
  must(size >= FOOTER_BYTES);
  const end = size - FOOTER_BYTES;
  const { metaindex, index } = footerOf(await readAt(file, new Uint8Array(FOOTER_BYTES), end));
  must(endOf(index) === end && endOf(metaindex) === index.offset);
  const lists = [await contentsOf(file, index), await contentsOf(file, metaindex)];
  const window = new Window(file, metaindex.offset);
  let at = 0;
  for (const list of lists) {
    for (const block of blocksIn(list)) {
      must(block.offset === at);
      at = endOf(block);
      must(at <= metaindex.offset);
      await checkBlock(window, block);
    }
  }
  must(at === metaindex.offset);
}

function endOf(block: Block): number {
  return block.offset + block.size + TRAILER_BYTES;
}

function footerOf(bytes: Uint8Array): { readonly metaindex: Block; readonly index: Block } {
  must(new DataView(bytes.buffer).getBigUint64(HANDLES_BYTES, true) === MAGIC);
  const handles = new Cursor(bytes.subarray(0, HANDLES_BYTES));
  const metaindex = blockFrom(handles);
  const index = blockFrom(handles);
  must(handles.take(handles.left).every((byte) => byte === 0));
  return { metaindex, index };
}

function blockFrom(handle: Cursor): Block {
  return { offset: handle.varint(), size: handle.varint() };
}

/** The blocks that an index or a metaindex points to. */
function* blocksIn(list: Uint8Array): Generator<Listed> {
  must(list.length >= 4);
  const restarts = new Cursor(list.subarray(-4)).integer(4);
  must(restarts > 0 && restarts <= list.length / 4 - 1);
  const entries = new Cursor(list.subarray(0, -4 * (restarts + 1)));
  let key: Uint8Array = new Uint8Array(0);
  while (entries.left > 0) {
    const shared = entries.varint();
    const own = entries.varint();
    const valueBytes = entries.varint();
    must(shared <= key.length);
    key = concat(key.subarray(0, shared), entries.take(own));
    const value = new Cursor(entries.take(valueBytes));
    yield { ...blockFrom(value), key };
    must(value.left === 0);
  }
}

/** What is in an index or a metaindex. */
async function contentsOf(file: FileHandle, { offset, size }: Block): Promise<Uint8Array> {
  must(size <= INDEX_BYTES_MAX);
  const bytes = await readAt(file, new Uint8Array(size + TRAILER_BYTES), offset);
  must(fits(crc32c(bytes.subarray(0, size + 1)), bytes.subarray(size + 1)));
  const contents = bytes.subarray(0, size);
  const type = bytes[size];
  must(type === 0 || type === 1);
  return type === 0 ? contents : unsnappy(contents);
}

async function checkBlock(window: Window, { offset, size }: Block): Promise<void> {
  const end = offset + size + 1;
  let crc = 0;
  for (let at = offset; at < end; at += WINDOW_BYTES) {
    crc = crc32c(await window.view(at, Math.min(WINDOW_BYTES, end - at)), crc);
  }
  must(fits(crc, await window.view(end, 4)));
}

async function readAt(file: FileHandle, into: Uint8Array, offset: number): Promise<Uint8Array> {
  let read = 0;
  while (read < into.length) {
    const { bytesRead } = await file.read(into, read, into.length - read, offset + read);
    must(bytesRead > 0);
    read += bytesRead;
  }
  return into;
}

/** A file read from front to back, many small blocks at once: to read each by itself takes longer than to check it. */
class Window {
  readonly #file: FileHandle;
  readonly #end: number;
  readonly #buffer = new Uint8Array(WINDOW_BYTES);
  #bytes = new Uint8Array(0);
  #offset = 0;

  constructor(file: FileHandle, end: number) {
    this.#file = file;
    this.#end = end;
  }

  /** At most `WINDOW_BYTES`, that hold until the next call. */
  async view(offset: number, length: number): Promise<Uint8Array> {
    if (offset + length > this.#offset + this.#bytes.length) {
      this.#bytes = this.#buffer.subarray(0, Math.min(WINDOW_BYTES, this.#end - offset));
      this.#offset = offset;
      await readAt(this.#file, this.#bytes, offset);
    }
    return this.#bytes.subarray(offset - this.#offset, offset - this.#offset + length);
  }
}

/** Snappy's raw format (format_description.txt of google/snappy). */
function unsnappy(packed: Uint8Array): Uint8Array {
  const input = new Cursor(packed);
  const length = input.varint();
  must(length <= INDEX_BYTES_MAX);
  const output = new Uint8Array(length);
  let at = 0;
  while (input.left > 0) {
    const tag = input.byte();
    const kind = tag & 3;
    if (kind === 0) {
      const literal = input.take(1 + (tag < 240 ? tag >> 2 : input.integer((tag >> 2) - 59)));
      must(literal.length <= length - at);
      output.set(literal, at);
      at += literal.length;
    } else {
      const end = at + (kind === 1 ? 4 + ((tag >> 2) & 7) : 1 + (tag >> 2));
      const back = kind === 1 ? ((tag >> 5) << 8) | input.byte() : input.integer(kind === 2 ? 2 : 4);
      must(back > 0 && back <= at && end <= length);
      // One by one: what is copied may go on into what the copying writes.
      for (; at < end; at++) output[at] = output[at - back] as number;
    }
  }
  must(at === length);
  return output;
}
