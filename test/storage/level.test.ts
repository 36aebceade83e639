import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { ClassicLevel } from 'classic-level';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Journal } from '../../shared/driver/journal-store.ts';
import { numberKey } from '../../shared/driver/records.ts';
import type { StorePort } from '../../shared/driver/store.ts';
import { BALLAST_BYTES, freeBallast, restoreBallast } from '../../src-main/storage/ballast.ts';
import { createStore, LevelStore, openLevelStore } from '../../src-main/storage/level-store.ts';
import { journalContract, type StoreUnderTest, storeContract } from './contract.ts';
import { copyFolder, type SmallDisk, smallDisk, temporaryFolder } from './places.ts';
import { codesOf, INCARNATION, initOf, put, storeErrorOf, turnOf, valueKey } from './turns.ts';

async function make(): Promise<StoreUnderTest> {
  const folder = temporaryFolder();
  const dir = join(folder.path, 'store');
  return {
    create: () => openLevelStore(dir, { create: true }),
    reopen: () => openLevelStore(dir, { create: false }),
    cleanUp: async () => folder.remove(),
  };
}

storeContract('on LevelDB', make);
journalContract('on LevelDB', make);

const firstTurn = async (port: StorePort): Promise<void> => {
  await Journal.create(port, INCARNATION, turnOf(1));
};

describe('a store on disk', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let dir: string;
  let db: string;
  let mark: string;
  let port: StorePort | null;

  beforeEach(async () => {
    folder = temporaryFolder();
    dir = join(folder.path, 'store');
    db = join(dir, 'db');
    mark = join(dir, 'mark');
    port = null;
    await createStore(dir, firstTurn);
  });
  afterEach(async () => {
    await port?.close();
    folder.remove();
  });

  const open = async () => {
    port = await openLevelStore(dir, { create: false });
    return Journal.open(port, initOf(port));
  };
  const close = async () => {
    await port?.close();
    port = null;
  };
  const verdictOf = async () => {
    const { verdict } = await open();
    await close();
    return verdict;
  };
  /** Writes turns up to `last`, then closes: all of them stay in the write-ahead file. */
  const writeTo = async (last: number, valueBytes?: number) => {
    const { journal } = await open();
    while (journal.lastTurn < last) await journal.write(turnOf(journal.lastTurn + 1, valueBytes));
    await close();
  };
  const logs = () =>
    readdirSync(db)
      .filter((name) => name.endsWith('.log'))
      .toSorted();
  const lastLog = () => join(db, logs().at(-1) ?? '');
  const flip = (path: string, at: number) => {
    const bytes = readFileSync(path);
    bytes[at] = (bytes[at] as number) ^ 0x40;
    writeFileSync(path, bytes);
  };

  describe('is made', () => {
    test('whole, for its owner alone', () => {
      expect(readdirSync(folder.path)).toEqual(['store']);
      expect(readdirSync(dir).toSorted()).toEqual(['ballast', 'db', 'mark']);
      expect(statSync(join(dir, 'ballast')).size).toBe(BALLAST_BYTES);
      expect(statSync(mark).size).toBe(8192);
      if (process.platform === 'win32') return;
      for (const path of [dir, db]) expect(statSync(path).mode & 0o777).toBe(0o700);
      for (const path of [mark, join(dir, 'ballast')]) expect(statSync(path).mode & 0o777).toBe(0o600);
    });

    test('or not at all: where its first turn fails, nothing is left', async () => {
      const other = join(folder.path, 'other');
      const failure = new Error('no first turn');
      await expect(createStore(other, () => Promise.reject(failure))).rejects.toBe(failure);
      expect(readdirSync(folder.path)).toEqual(['store']);
    });

    test('again after an attempt that a crash cut short', async () => {
      const other = join(folder.path, 'other');
      const half = await openLevelStore(`${other}.new`, { create: true });
      await half.kv.write([put('a', 1)], { sync: true });
      await half.close();
      await createStore(other, firstTurn);
      expect(readdirSync(folder.path).toSorted()).toEqual(['other', 'store']);
      const made = await openLevelStore(other, { create: false });
      expect(made.kv.get('a')).toBeUndefined();
      expect((await Journal.open(made, initOf(made))).verdict.sound).toBe(true);
      await made.close();
    });

    test('never over another', async () => {
      await expect(createStore(dir, firstTurn)).rejects.toThrow('in the place');
      expect((await verdictOf()).sound).toBe(true);
    });

    test('with a ballast that can be let go and taken again', async () => {
      expect(await freeBallast(dir)).toBe(true);
      expect(await freeBallast(dir)).toBe(false);
      expect(existsSync(join(dir, 'ballast'))).toBe(false);
      expect(await restoreBallast(dir)).toBe(true);
      expect(await restoreBallast(dir)).toBe(true);
      expect(statSync(join(dir, 'ballast')).size).toBe(BALLAST_BYTES);
    });
  });

  describe('notices', () => {
    test('a write-ahead file that lost its end', async () => {
      await writeTo(20);
      truncateSync(lastLog(), statSync(lastLog()).size - 30);
      expect(codesOf(await verdictOf())).toEqual(['BEHIND_MARK']);
      expect(codesOf(await verdictOf())).toEqual(['DAMAGED_BEFORE', 'BEHIND_MARK']);
    });

    test('a write-ahead file damaged in the middle, of which LevelDB drops a part in silence', async () => {
      await writeTo(200, 1000);
      const path = lastLog();
      expect(statSync(path).size).toBeGreaterThan(4 * 32_768);
      flip(path, 50_000);
      expect(codesOf(await verdictOf())).toContain('TURN_MISSING');
    });

    test('any damaged byte of a write-ahead file', async () => {
      await writeTo(20);
      const whole = join(folder.path, 'whole');
      copyFolder(dir, whole);
      const size = statSync(lastLog()).size;
      for (let at = 0; at < size; at += 197) {
        copyFolder(whole, dir);
        flip(lastLog(), at);
        expect([at, (await verdictOf()).sound]).toEqual([at, false]);
      }
    });

    test('a write-ahead file that is gone', async () => {
      await writeTo(20);
      rmSync(lastLog());
      expect(codesOf(await verdictOf())).toEqual(['BEHIND_MARK']);
    });

    test('a mark that is gone', async () => {
      await writeTo(20);
      rmSync(mark);
      expect(codesOf(await verdictOf())).toEqual(['MARK_MISSING']);
      expect(codesOf(await verdictOf())).toEqual(['DAMAGED_BEFORE', 'MARK_MISSING']);
    });

    test('a mark that was cut off', async () => {
      await writeTo(20);
      truncateSync(mark, 100);
      expect(codesOf(await verdictOf())).toEqual(['MARK_MISSING']);
    });

    test('a mark of an older turn', async () => {
      await writeTo(20);
      cpSync(mark, `${dir}.mark`);
      await writeTo(30);
      cpSync(`${dir}.mark`, mark);
      expect(codesOf(await verdictOf())).toEqual(['MARK_OLD']);
    });

    test('a database of an older turn', async () => {
      await writeTo(20);
      copyFolder(db, `${db}.old`);
      await writeTo(30);
      copyFolder(`${db}.old`, db);
      expect(codesOf(await verdictOf())).toEqual(['BEHIND_MARK']);
    });

    test('a database that went another way', async () => {
      await writeTo(20);
      const other = join(folder.path, 'other');
      copyFolder(dir, other);
      await writeTo(30, 41);
      cpSync(mark, `${dir}.mark`);
      copyFolder(other, dir);
      await writeTo(30, 42);
      cpSync(`${dir}.mark`, mark);
      expect(codesOf(await verdictOf())).toEqual(['MARK_MISMATCH']);
    });

    test('a turn that is gone from a table', async () => {
      await writeTo(20);
      await open();
      await port?.kv.write([{ type: 'del', key: numberKey('t/', 9) }], { sync: true });
      await close();
      expect(codesOf(await verdictOf())).toEqual(['TURN_MISSING']);
    });

    test('broken bytes in both places of the mark, but goes on with one', async () => {
      await writeTo(20);
      flip(mark, 40);
      expect((await verdictOf()).sound).toBe(true);
      for (const offset of [0, 4096]) flip(mark, 40 + offset);
      expect(codesOf(await verdictOf())).toEqual(['MARK_MISSING']);
    });

    test.each(['CURRENT', 'MANIFEST', '.ldb'])('a database that lacks its %s (CORRUPT)', async (part) => {
      await writeTo(20);
      await verdictOf(); // opening turns the write-ahead file into a table
      for (const name of readdirSync(db)) if (name.includes(part)) rmSync(join(db, name));
      expect(await storeErrorOf(open())).toBe('CORRUPT');
    });

    test('a database that is gone (CORRUPT), and does not make a new one', async () => {
      rmSync(db, { recursive: true });
      expect(await storeErrorOf(open())).toBe('CORRUPT');
      expect(existsSync(db)).toBe(false);
    });
  });

  test('keeps the newest write-ahead files aside when it opens', async () => {
    await writeTo(5);
    const [name = ''] = logs();
    const bytes = readFileSync(join(db, name));
    expect(bytes.length).toBeGreaterThan(0);
    await writeTo(6);
    expect(existsSync(join(db, name))).toBe(false);
    expect(readFileSync(join(dir, 'aside', name))).toEqual(bytes);
    for (let n = 7; n < 15; n++) await writeTo(n);
    expect(readdirSync(join(dir, 'aside')).length).toBe(4);
    expect(existsSync(join(dir, 'aside', name))).toBe(false);
  });

  /** LevelDB may just have deleted what was listed. */
  const bytesIn = (path: string): Buffer => {
    try {
      return readFileSync(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return Buffer.alloc(0);
      throw error;
    }
  };

  test('leaves nothing in its write-ahead file that the journal no longer watches', async () => {
    const { journal } = await open();
    const marker = turnOf(2).ops[0]?.key ?? '';
    const holdsIt = () => logs().some((name) => bytesIn(join(db, name)).includes(marker));
    await journal.write(turnOf(2));
    expect(holdsIt()).toBe(true);
    for (let n = 0; n < 2 * 1024; n++) await port?.kv.write([put('z', n % 256)], { sync: false });
    expect(holdsIt()).toBe(false);
  });

  test('nor where LevelDB joins emptying its memory to a batch that is just being written, and forgets it', async () => {
    const real = new ClassicLevel<string, Uint8Array>(db, { keyEncoding: 'utf8', valueEncoding: 'view' });
    await real.open();
    let isWriting = false;
    let forgotten = 0;
    const forgetful = {
      batch: async (...args: Parameters<typeof real.batch>) => {
        isWriting = true;
        await real.batch(...args);
        isWriting = false;
      },
      compactRange: async (...args: Parameters<typeof real.compactRange>) => {
        if (isWriting) forgotten += 1;
        else await real.compactRange(...args);
      },
      close: () => real.close(),
    };
    port = new LevelStore(dir, forgetful as unknown as ClassicLevel<string, Uint8Array>);
    const marker = 'the first of two thousand';
    const holdsIt = () => logs().some((name) => bytesIn(join(db, name)).includes(marker));
    await port.kv.write([{ type: 'put', key: marker, value: Uint8Array.of(1) }], { sync: false });
    expect(holdsIt()).toBe(true);
    for (let n = 0; n < 2 * 1024; n++) await port.kv.write([put('z', n % 256)], { sync: false });
    expect(forgotten).toBeGreaterThan(0);
    expect(holdsIt()).toBe(false);
  });

  describe('is opened once', () => {
    test('by this process', async () => {
      await open();
      expect(await storeErrorOf(openLevelStore(dir, { create: false }))).toBe('LOCKED');
      const live = logs();
      expect(readdirSync(join(dir, 'aside')).filter((name) => live.includes(name))).toEqual([]);
      await close();
      expect((await verdictOf()).sound).toBe(true);
    });

    test('among processes; and where the other is killed, everything it said is there', async () => {
      let said = 0;
      for (let round = 1; round <= 4; round++) {
        const child = spawn(
          process.execPath,
          [
            '--experimental-strip-types',
            '--no-warnings',
            fileURLToPath(new URL('write-until-killed.ts', import.meta.url)),
            dir,
          ],
          { stdio: ['ignore', 'pipe', 'inherit'] },
        );
        const exited = once(child, 'exit');
        const from = said;
        for await (const line of createInterface(child.stdout)) {
          said = Number(line);
          if (said === from + 5 * round) {
            expect(await storeErrorOf(openLevelStore(dir, { create: false }))).toBe('LOCKED');
            child.kill('SIGKILL');
          }
        }
        await exited;
        expect(said).toBeGreaterThanOrEqual(from + 5 * round);
        const { journal, verdict } = await open();
        expect(verdict.sound).toBe(true);
        expect([said, said + 1]).toContain(journal.lastTurn);
        for (let n = from + 1; n <= said; n++) expect(port?.kv.get(valueKey(n))).toBeDefined();
        said = journal.lastTurn;
        await close();
      }
    }, 60_000);
  });

  // Root may write anywhere, whatever the mode says.
  test.skipIf(process.platform === 'win32')('in a folder without write permission says READ_ONLY', async () => {
    chmodSync(db, 0o500);
    await asOrdinaryUser(folder.path, async () => expect(await storeErrorOf(open())).toBe('READ_ONLY'));
    chmodSync(db, 0o700);
    expect((await verdictOf()).sound).toBe(true);
  });
});

/** Permissions mean nothing to root, so root becomes somebody else meanwhile, who owns the folder. */
async function asOrdinaryUser(folder: string, work: () => Promise<void>): Promise<void> {
  if (process.getuid?.() !== 0) return work();
  for (const path of [
    folder,
    ...(readdirSync(folder, { recursive: true }) as string[]).map((each) => join(folder, each)),
  ]) {
    chownSync(path, NOBODY, NOBODY);
  }
  process.seteuid?.(NOBODY);
  try {
    await work();
  } finally {
    process.seteuid?.(0);
  }
}
const NOBODY = 65_534;

const trial = smallDisk(1);
trial?.remove();
const where = trial === null ? 'not run: needs Linux and root' : 'tmpfs';

describe.skipIf(trial === null)(`a store on a small disk (${where})`, () => {
  let disk: SmallDisk;
  let dir: string;
  let port: StorePort;

  const make = async (mebibytes: number) => {
    disk = smallDisk(mebibytes) as SmallDisk;
    dir = join(disk.path, 'store');
    await createStore(dir, firstTurn);
  };
  const open = async () => {
    port = await openLevelStore(dir, { create: false });
    const { journal, verdict } = await Journal.open(port, initOf(port));
    expect(verdict.sound).toBe(true);
    return journal;
  };
  afterEach(async () => {
    await port?.close();
    disk?.remove();
  });

  const writeUntilFull = async (journal: Journal, eachTurn: (n: number) => Promise<unknown>) => {
    for (;;) {
      const n = journal.lastTurn + 1;
      const value = crypto.getRandomValues(new Uint8Array(60_000)); // does not compress
      const code = await storeErrorOf(journal.write({ ...turnOf(n), ops: [{ type: 'put', key: valueKey(n), value }] }));
      if (code !== 'none') return code;
      await eachTurn(n);
    }
  };

  test('that is read-only says READ_ONLY', async () => {
    await make(40);
    disk.readOnly(true);
    expect(await storeErrorOf(openLevelStore(dir, { create: false }))).toBe('READ_ONLY');
    expect(await storeErrorOf(createStore(join(disk.path, 'other'), firstTurn))).toBe('READ_ONLY');
    expect(await storeErrorOf(freeBallast(dir))).toBe('READ_ONLY');
    disk.readOnly(false);
    await open();
  });

  test('that it filled itself says DISK_FULL; it keeps what it said, and goes on once its ballast is freed', async () => {
    await make(96);
    const filled = await open();
    expect(await writeUntilFull(filled, async (n) => n % 50 === 0 && restoreBallast(dir))).toBe('DISK_FULL');
    const said = filled.lastTurn;
    expect(said).toBeGreaterThan(500);
    expect(await storeErrorOf(filled.write(turnOf(said + 1)))).toBe('DISK_FULL');
    expect(await storeErrorOf(port.kv.write([put('a', 1)], { sync: true }))).toBe('DISK_FULL');
    expect(port.kv.get(valueKey(said))).toBeDefined();
    await port.close();

    expect(await freeBallast(dir)).toBe(true);
    expect(await freeBallast(dir)).toBe(false);
    expect(await restoreBallast(dir)).toBe(false);
    const journal = await open();
    expect([said, said + 1]).toContain(journal.lastTurn);
    for (let n = 1; n <= said; n++) expect(port.kv.get(valueKey(n))).toBeDefined();
    while (journal.lastTurn < said + 2100) await journal.write(turnOf(journal.lastTurn + 1));
    await port.close();
    expect((await open()).lastTurn).toBeGreaterThanOrEqual(said + 2100);
  }, 60_000);

  test('that somebody else filled says DISK_FULL, and goes on once its ballast is freed', async () => {
    await make(24);
    const full = await open();
    for (let n = 2; n <= 50; n++) await full.write(turnOf(n));
    expect(() => writeFileSync(join(disk.path, 'else'), new Uint8Array(24 * 1024 * 1024))).toThrow('ENOSPC');
    expect(await writeUntilFull(full, async () => undefined)).toBe('DISK_FULL');
    const said = full.lastTurn;
    await port.close();
    expect(await storeErrorOf(openLevelStore(dir, { create: false }))).toBe('DISK_FULL');
    expect(await freeBallast(dir)).toBe(true);
    const journal = await open();
    expect([said, said + 1]).toContain(journal.lastTurn);
    while (journal.lastTurn < said + 500) await journal.write(turnOf(journal.lastTurn + 1));
  }, 60_000);
});
