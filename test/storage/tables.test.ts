import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ClassicLevel } from 'classic-level';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { concat, equal, utf8 } from '../../shared/base/bytes.ts';
import { crc32c } from '../../shared/base/crc32c.ts';
import { Random } from '../../shared/base/random.ts';
import { liveTables } from '../../src-main/storage/manifest.ts';
import { brokenTables, damagedTables, salvageTable, setTablesAside } from '../../src-main/storage/tables.ts';
import { copyFolder, temporaryFolder } from './places.ts';
import { storeErrorOf } from './turns.ts';

const MIB = 1024 * 1024;
const FOOTER_BYTES = 48;

const folder = temporaryFolder();
const whole = join(folder.path, 'whole');
const rows = new Map<string, Uint8Array>();
let tables: readonly string[];

beforeAll(async () => {
  await write(whole, rowsOf(new Random(1)));
  tables = readdirSync(whole).filter((name) => name.endsWith('.ldb'));
}, 30_000);
afterAll(() => folder.remove());

/** Every other row compresses; one is wider than what is read at once. */
function rowsOf(random: Random): Map<string, Uint8Array> {
  for (let n = 0; n < 20_000; n++) {
    rows.set(keyOf(n), n % 2 === 0 ? new Uint8Array(250).fill(random.below(256)) : random.bytes(250));
  }
  return rows.set(`${keyOf(12_345)} wide`, random.bytes(700_000));
}

function keyOf(n: number): string {
  return `a row of the table, number ${String(n).padStart(8, '0')}`;
}

async function write(location: string, all: ReadonlyMap<string, Uint8Array>): Promise<void> {
  const db = new ClassicLevel<string, Uint8Array>(location, {
    valueEncoding: 'view',
    writeBufferSize: MIB,
    maxFileSize: MIB,
  });
  await db.open();
  const ops = [...all].map(([key, value]) => ({ type: 'put', key, value }) as const);
  for (let at = 0; at < ops.length; at += 500) await db.batch(ops.slice(at, at + 500));
  await db.compactRange(keyOf(0), keyOf(99_999_999));
  await db.close();
}

/** Where a table's metaindex and index are, as its footer says. */
function handlesOf(table: Uint8Array): readonly [number, number, number, number] {
  let at = table.length - FOOTER_BYTES;
  const next = () => {
    for (let value = 0, scale = 1; ; scale *= 128) {
      const byte = table[at++] as number;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  return [next(), next(), next(), next()];
}

function flipped(bytes: Uint8Array, bit: number): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy[bit >> 3] = (copy[bit >> 3] as number) ^ (1 << (bit & 7));
  return copy;
}

describe('a table', () => {
  const place = join(folder.path, 'one');
  const path = join(place, '000005.ldb');
  beforeAll(() => mkdirSync(place));

  const isBroken = async (bytes: Uint8Array) => {
    writeFileSync(path, bytes);
    const broken = await brokenTables(place);
    if (broken.length > 0) expect(broken).toEqual(['000005.ldb']);
    return broken.length > 0;
  };

  test('is whole as LevelDB wrote it', async () => {
    expect(tables.length).toBeGreaterThan(3);
    expect(await brokenTables(whole)).toEqual([]);
    const types = tables.map((name) => {
      const bytes = readFileSync(join(whole, name));
      const [, , index, size] = handlesOf(bytes);
      return bytes[index + size];
    });
    expect(types).toContain(1); // a compressed index
  });

  test('with any bit flipped is not', async () => {
    const random = new Random(2);
    for (const name of tables) {
      const bytes = readFileSync(join(whole, name));
      const [metaindex] = handlesOf(bytes);
      for (let n = 0; n < 60; n++) {
        const from = n % 2 === 0 ? 0 : metaindex;
        const bit = 8 * from + random.below(8 * (bytes.length - from));
        expect([name, bit, await isBroken(flipped(bytes, bit))]).toEqual([name, bit, true]);
      }
      expect(await isBroken(bytes)).toBe(false);
    }
  }, 60_000);

  // No exception: its padding must be zero, and its numbers as short as can be.
  test('with any bit of its footer flipped is not', async () => {
    const bytes = readFileSync(join(whole, tables[0] as string));
    for (let bit = 8 * (bytes.length - FOOTER_BYTES); bit < 8 * bytes.length; bit++) {
      expect([bit, await isBroken(flipped(bytes, bit))]).toEqual([bit, true]);
    }
    expect(await isBroken(bytes)).toBe(false);
  }, 60_000);

  test('cut short, gone on with, or with a part gone, zeroed or moved is not', async () => {
    const random = new Random(3);
    const bytes = readFileSync(join(whole, tables[1] as string));
    const handles = handlesOf(bytes);
    const some = Array.from({ length: 20 }, () => random.below(bytes.length));
    const ends = [0, 1, 47, 48, 49, ...handles.map((_, at) => bytes.length - at - 1), ...handles, ...some];
    for (const end of [...ends, bytes.length - 48, bytes.length - 49]) {
      expect([end, await isBroken(bytes.subarray(0, end))]).toEqual([end, true]);
      if (end > 0) expect([end, await isBroken(bytes.subarray(end))]).toEqual([end, true]);
    }
    for (const at of some) {
      const [before, after] = [bytes.subarray(0, at), bytes.subarray(at)];
      expect(await isBroken(concat(before, after.subarray(1)))).toBe(true);
      expect(await isBroken(concat(before, Uint8Array.of(0), after))).toBe(true);
      expect(await isBroken(concat(after, before))).toBe(true);
      expect(await isBroken(concat(before, new Uint8Array(after.length)))).toBe(true);
      const page = Uint8Array.from(bytes);
      expect(await isBroken(page.fill(0, at & ~4095, (at & ~4095) + 4096))).toBe(true);
    }
    expect(await isBroken(concat(bytes, Uint8Array.of(0)))).toBe(true);
    expect(await isBroken(concat(bytes, bytes))).toBe(true);
    expect(await isBroken(bytes)).toBe(false);
  }, 60_000);

  test('of random bytes is not, even with the right magic number', async () => {
    const random = new Random(4);
    for (const length of [1, 8, 47, 48, 49, 100, 4096, 100_000]) {
      const bytes = random.bytes(length);
      expect(await isBroken(bytes)).toBe(true);
      if (length >= 8) bytes.set(MAGIC, length - 8);
      expect(await isBroken(bytes)).toBe(true);
    }
  });

  describe('whose checksums fit', () => {
    const data = blockOf(utf8('no matter what'));
    const index = listOf([0, data.length - 5]);

    test('is whole where all of it is one', async () => {
      expect(await isBroken(tableOf([data], { raw: index }))).toBe(false);
      expect(await isBroken(tableOf([], { raw: listOf() }))).toBe(false);
      expect(await isBroken(tableOf([data], { packed: concat(varint(index.length), literal(index)) }))).toBe(false);
      const two = listOf([0, data.length - 5], [data.length, data.length - 5]);
      expect(await isBroken(tableOf([data, data], { raw: two }))).toBe(false);
    });

    const size = data.length - 5;
    test.each<[string, Uint8Array]>([
      ['leaves a gap', listOf([1, size - 1])],
      ['leaves out the last block', listOf()],
      ['names a block twice', listOf([0, size], [0, size])],
      ['names a block outside of the file', listOf([0, size], [data.length, 1_000_000])],
      ['names a block before the file', listOf([2 ** 53 - 1, size])],
      ['names a block of 2^60 bytes', listOf([0, 2 ** 60])],
      ['names nothing of the sort', entriesOf(entryOf(0, utf8('k'), Uint8Array.of(0x80, 0x80)))],
      ['says more than a handle', entriesOf(entryOf(0, utf8('k'), concat(handleOf(0, size), Uint8Array.of(0))))],
      ['shares a key that is not there', entriesOf(entryOf(1, utf8('k'), handleOf(0, size)))],
      ['has a key longer than itself', entriesOf(concat(varint(0), varint(1000), varint(2), Uint8Array.of(0, 0)))],
      ['has a value longer than itself', entriesOf(concat(varint(0), varint(0), varint(1000), Uint8Array.of(0, 0)))],
      ['has a number without end', entriesOf(new Uint8Array(1000).fill(0x80))],
      ['has no restarts', concat(index.subarray(0, -4), uint32(0))],
      ['has more restarts than bytes', concat(index.subarray(0, -4), uint32(2 ** 32 - 1))],
      ['is empty', new Uint8Array(0)],
      ['has three bytes', new Uint8Array(3)],
    ])('but not where its index %s', async (_, raw) => {
      expect(await isBroken(tableOf([data], { raw }))).toBe(true);
    });

    test('unpacks all that Snappy has', async () => {
      for (const [many, lengthBytes] of [
        [10, 1],
        [40, 2],
        [40, 3],
        [40, 4],
      ] as const) {
        const blocks = Array.from({ length: many }, () => data);
        const list = listOf(...blocks.map((_, n) => [n * data.length, size] as const));
        const packed = concat(varint(list.length), longLiteral(list, lengthBytes));
        expect(await isBroken(tableOf(blocks, { packed }))).toBe(false);
      }
      // The count's last two zeros out of the one before: a copy that goes on into itself.
      for (const copy of [
        [0b000001_10, 1, 0],
        [0b000001_11, 1, 0, 0, 0],
      ]) {
        const packed = concat(varint(index.length), literal(index.subarray(0, -2)), Uint8Array.from(copy));
        expect(await isBroken(tableOf([data], { packed }))).toBe(false);
      }
      const two = listOf([0, size], [data.length, size]);
      const entryBytes = (two.length - 8) / 2;
      const again = Uint8Array.of(0b000_010_01, entryBytes); // the second entry's start and key, which are those of the first
      const parts = [literal(two.subarray(0, entryBytes)), again, literal(two.subarray(entryBytes + 6))];
      expect(await isBroken(tableOf([data, data], { packed: concat(varint(two.length), ...parts) }))).toBe(false);
    });

    test.each<[string, Uint8Array]>([
      ['has no length', new Uint8Array(0)],
      ['is longer than it says', concat(varint(index.length - 1), literal(index))],
      ['is shorter than it says', concat(varint(index.length + 1), literal(index))],
      ['says to be of 2^50 bytes', concat(varint(2 ** 50), literal(index))],
      ['says to be of 65 MiB', concat(varint(65 * MIB), literal(index))],
      ['ends in a literal', concat(varint(index.length), literal(index).subarray(0, -1))],
      ['ends in a tag', concat(varint(index.length), Uint8Array.of(63 << 2, 1))],
      // Either would make the index's first zero, were it let.
      [
        'copies from before its start',
        concat(varint(index.length), Uint8Array.of(2, 1, 0), literal(index.subarray(1))),
      ],
      ['copies from where it writes', concat(varint(index.length), Uint8Array.of(2, 0, 0), literal(index.subarray(1)))],
      ['copies past its end', concat(varint(7), Uint8Array.of(0, 1, 0b000_011_01, 1))],
    ])('but not where its packed index %s', async (_, packed) => {
      expect(await isBroken(tableOf([data], { packed }))).toBe(true);
    });

    test('but not with an index of an unknown type', async () => {
      expect(await isBroken(tableOf([data], { raw: index }, 2))).toBe(true);
    });

    test('or holds noise for an index, packed or not', async () => {
      const random = new Random(5);
      for (let n = 0; n < 100; n++) {
        const noise = random.bytes(random.below(200));
        expect(await isBroken(tableOf([data], { raw: noise }))).toBe(true);
        expect(await isBroken(tableOf([data], { packed: concat(varint(random.below(300)), noise) }))).toBe(true);
      }
    });
  });
});

test('what is no table is not looked at; tables of old count; names are sorted', async () => {
  const place = join(folder.path, 'names');
  mkdirSync(place);
  expect(await brokenTables(place)).toEqual([]);
  const names = ['000007.sst', 'MANIFEST-000001', '000010.ldb', '000004.log', '000009.ldb', 'CURRENT', 'LOG'];
  for (const name of names) writeFileSync(join(place, name), 'broken');
  expect(await brokenTables(place)).toEqual(['000007.sst', '000009.ldb', '000010.ldb']);
});

test('what can not be read at all is said', async () => {
  expect(await storeErrorOf(brokenTables(join(folder.path, 'nowhere')))).toBe('DISK_FAILED');
  mkdirSync(join(folder.path, 'odd', '000005.ldb'), { recursive: true });
  expect(await storeErrorOf(brokenTables(join(folder.path, 'odd')))).toMatch(/DISK_FAILED|READ_ONLY/);
});

describe('broken tables', () => {
  const db = join(folder.path, 'damaged');
  const aside = join(folder.path, 'aside', 'tables');
  let broken: readonly string[];

  beforeEach(() => {
    copyFolder(whole, db);
    const random = new Random(6);
    broken = tables.filter((_, at) => at % 3 === 1);
    for (const name of broken) {
      let bytes: Uint8Array = readFileSync(join(db, name));
      for (let n = 0; n < 20; n++) bytes = flipped(bytes, random.below(8 * bytes.length));
      writeFileSync(join(db, name), bytes);
    }
  });

  test('are set aside, for their owner alone, over what was there', async () => {
    for (let n = 0; n < 2; n++) {
      copyFileSync(join(whole, broken[0] as string), join(db, broken[0] as string));
      writeFileSync(join(db, broken[0] as string), `once and again ${n}`);
      expect(await brokenTables(db)).toEqual(broken);
      await setTablesAside(db, aside, broken);
      expect(await brokenTables(db)).toEqual([]);
      expect(readdirSync(aside)).toEqual(broken);
      expect(readFileSync(join(aside, broken[0] as string), 'utf8')).toBe(`once and again ${n}`);
      copyFolder(whole, db);
      for (const name of broken) copyFileSync(join(aside, name), join(db, name));
    }
    if (process.platform !== 'win32') expect(statSync(aside).mode & 0o777).toBe(0o700);
    expect(await storeErrorOf(setTablesAside(db, aside, ['999999.ldb']))).toBe('DISK_FAILED');
  });

  test('set aside leave a database that can be repaired, and holds only what was written', async () => {
    expect(broken.length).toBeGreaterThan(0);
    expect(await brokenTables(db)).toEqual(broken);
    await setTablesAside(db, aside, broken);
    expect(repair(db)).toBe(0);
    expect(await brokenTables(db)).toEqual([]);
    const left = await readRows(db);
    expect(left.size).toBeGreaterThan(rows.size / 3);
    expect(left.size).toBeLessThan(rows.size);
    expect([...left].filter(([key, value]) => !equal(value, rows.get(key) ?? new Uint8Array(0)))).toEqual([]);
    for (const name of broken) expect(existsSync(join(aside, name))).toBe(true);
  }, 60_000);
});

describe('what is whole of a broken table', () => {
  const db = join(folder.path, 'salvaged');
  const aside = join(folder.path, 'aside of salvaged');

  /** Repairs as the store does, and gives what it then holds. */
  async function salvaged(broken: readonly string[]): Promise<Map<string, Uint8Array>> {
    expect(await brokenTables(db)).toEqual(broken);
    await setTablesAside(db, aside, broken);
    for (const name of broken) await salvageTable(join(aside, name), join(db, name));
    expect(await brokenTables(db)).toEqual([]);
    expect(repair(db)).toBe(0);
    const left = await readRows(db);
    expect([...left].filter(([key, value]) => !equal(value, rows.get(key) ?? new Uint8Array(0)))).toEqual([]);
    return left;
  }

  test('goes in again: a flipped bit in each table takes a block of each', async () => {
    copyFolder(whole, db);
    const random = new Random(7);
    for (const name of tables) {
      const bytes = readFileSync(join(db, name));
      const [metaindex] = handlesOf(bytes);
      writeFileSync(join(db, name), flipped(bytes, random.below(8 * (metaindex / 2))));
    }
    const lost = rows.size - (await salvaged(tables)).size;
    expect(lost).toBeGreaterThan(0);
    // A block holds 4 KiB, packed twice as much or more, and so a few dozen rows at the most.
    expect(lost).toBeLessThan(40 * tables.length);
  }, 60_000);

  test('is all of it where only what leads to its blocks was damaged, but the index', async () => {
    copyFolder(whole, db);
    const name = tables[0] as string;
    const bytes = readFileSync(join(db, name));
    const [metaindex] = handlesOf(bytes);
    writeFileSync(join(db, name), flipped(bytes, 8 * metaindex + 3));
    expect((await salvaged([name])).size).toBe(rows.size);
  }, 60_000);

  test('is nothing where the index is gone: nothing is written', async () => {
    copyFolder(whole, db);
    const name = tables[0] as string;
    const bytes = readFileSync(join(db, name));
    writeFileSync(join(db, name), bytes.subarray(0, bytes.length - 10));
    await setTablesAside(db, aside, [name]);
    expect(await salvageTable(join(aside, name), join(db, name))).toBeNull();
    expect(existsSync(join(db, name))).toBe(false);
  });
});

test('a table that a kill or a close left unfinished is set aside, and the database opens as it is', async () => {
  const db = join(folder.path, 'unfinished');
  copyFolder(whole, db);
  writeFileSync(join(db, '000900.ldb'), readFileSync(join(whole, tables[0] as string)).subarray(0, 300_000));
  expect(await brokenTables(db)).toEqual(['000900.ldb']);
  await setTablesAside(db, join(folder.path, 'left'), ['000900.ldb']);
  expect((await readRows(db)).size).toBe(rows.size);
  await setTablesAside(db, join(folder.path, 'left'), tables.slice(0, 1));
  await expect(readRows(db)).rejects.toMatchObject({ cause: { message: expect.stringContaining('missing files') } });
}, 60_000);

describe('what a database consists of', () => {
  const numbersOf = (names: readonly string[]): number[] => names.map((name) => Number.parseInt(name, 10));
  const manifestOf = (db: string): string =>
    join(db, readdirSync(db).find((name) => name.startsWith('MANIFEST')) as string);

  test('is told by its manifest', async () => {
    expect([...((await liveTables(whole)) ?? [])].toSorted((a, b) => a - b)).toEqual(numbersOf(tables));
    expect(await damagedTables(whole)).toEqual([]);
  });

  test('also where the manifest has many blocks, and records go over their borders', async () => {
    const db = join(folder.path, 'long keys');
    const random = new Random(9);
    const long = Array.from({ length: 3_000 }, (_, n) => [`${keyOf(n)} ${'k'.repeat(8_000)}`, random.bytes(2_000)]);
    await write(db, new Map(long as [string, Uint8Array][]));
    expect(statSync(manifestOf(db)).size).toBeGreaterThan(2 * 32_768);
    const live = await liveTables(db);
    // What is not live is what a compaction left behind.
    const names = readdirSync(db).filter((name) => name.endsWith('.ldb'));
    await setTablesAside(
      db,
      join(folder.path, 'not live'),
      names.filter((name) => !live?.has(Number.parseInt(name, 10))),
    );
    expect((await readRows(db)).size).toBe(3_000);
    expect(live?.size).toBeGreaterThan(2);
  }, 60_000);

  test('a table that is no part of it may be cut short', async () => {
    const db = join(folder.path, 'cut short');
    copyFolder(whole, db);
    const [first, second] = tables as [string, string];
    writeFileSync(join(db, '000900.ldb'), readFileSync(join(whole, first)).subarray(0, 300_000));
    expect(await damagedTables(db)).toEqual([]);
    writeFileSync(join(db, second), readFileSync(join(whole, second)).subarray(0, 300_000));
    expect(await damagedTables(db)).toEqual([second]);
  });

  test('is not told by one that is damaged; the end may be missing', async () => {
    const db = join(folder.path, 'bent');
    const bytes = readFileSync(manifestOf(whole));
    const random = new Random(7);
    for (let n = 0; n < 40; n++) {
      copyFolder(whole, db);
      writeFileSync(manifestOf(db), flipped(bytes, random.below(8 * bytes.length)));
      const live = await liveTables(db);
      // A bent length may look like an end that is missing. It never makes up a table.
      for (const number of live ?? []) expect(numbersOf(tables)).toContain(number);
      writeFileSync(manifestOf(db), bytes.subarray(0, random.below(bytes.length)));
      expect(await liveTables(db)).not.toBeNull();
    }
    writeFileSync(join(db, 'CURRENT'), 'MANIFEST-999999\n');
    expect(await liveTables(db)).toBeNull();
    expect(await damagedTables(db)).toEqual([]);
  });
});

/** In a process of its own: it may be ended by an assertion. */
function repair(location: string): number | null {
  const script = `import { ClassicLevel } from 'classic-level'; await ClassicLevel.repair(${JSON.stringify(location)});`;
  const cwd = fileURLToPath(new URL('../..', import.meta.url));
  return spawnSync(process.execPath, ['--input-type=module', '-e', script], { cwd, stdio: 'inherit' }).status;
}

async function readRows(location: string): Promise<Map<string, Uint8Array>> {
  const db = new ClassicLevel<string, Uint8Array>(location, { valueEncoding: 'view', createIfMissing: false });
  await db.open();
  const left = new Map(await db.iterator().all());
  await db.compactRange(keyOf(0), keyOf(99_999_999)); // where LevelDB would end the process
  expect((await db.keys().all()).length).toBe(left.size);
  await db.close();
  return left;
}

// A table made by hand, with checksums that fit.

const MAGIC = Uint8Array.of(0x57, 0xfb, 0x80, 0x8b, 0x24, 0x75, 0x47, 0xdb);

type Index = { readonly raw: Uint8Array } | { readonly packed: Uint8Array };

function tableOf(data: readonly Uint8Array[], index: Index, type = 'raw' in index ? 0 : 1): Uint8Array {
  const blocks = concat(...data);
  const metaindex = blockOf(listOf());
  const list = blockOf('raw' in index ? index.raw : index.packed, type);
  const handles = concat(
    handleOf(blocks.length, metaindex.length - 5),
    handleOf(blocks.length + metaindex.length, list.length - 5),
  );
  return concat(blocks, metaindex, list, handles, new Uint8Array(40 - handles.length), MAGIC);
}

function blockOf(contents: Uint8Array, type = 0): Uint8Array {
  const checked = concat(contents, Uint8Array.of(type));
  const crc = crc32c(checked);
  return concat(checked, uint32(((crc >>> 15) | (crc << 17)) + 0xa282ead8));
}

function listOf(...handles: readonly (readonly [number, number])[]): Uint8Array {
  return entriesOf(...handles.map(([offset, size]) => entryOf(0, utf8('key'), handleOf(offset, size))));
}

function entriesOf(...entries: readonly Uint8Array[]): Uint8Array {
  return concat(...entries, uint32(0), uint32(1));
}

function entryOf(shared: number, key: Uint8Array, value: Uint8Array): Uint8Array {
  return concat(varint(shared), varint(key.length), varint(value.length), key, value);
}

function handleOf(offset: number, size: number): Uint8Array {
  return concat(varint(offset), varint(size));
}

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Uint8Array.from([...bytes, rest]);
}

function uint32(value: number): Uint8Array {
  return Uint8Array.of(value, value >>> 8, value >>> 16, value >>> 24);
}

/** Up to 60 bytes as Snappy has them uncompressed. */
function literal(bytes: Uint8Array): Uint8Array {
  return concat(Uint8Array.of((bytes.length - 1) << 2), bytes);
}

/** With its length in so many bytes. */
function longLiteral(bytes: Uint8Array, lengthBytes: number): Uint8Array {
  return concat(Uint8Array.of((59 + lengthBytes) << 2), uint32(bytes.length - 1).subarray(0, lengthBytes), bytes);
}
