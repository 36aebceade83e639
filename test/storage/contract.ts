import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { InvariantError } from '../../shared/base/assert.ts';
import { TURN_RANGE } from '../../shared/driver/journal-check.ts';
import { CHECKPOINT_TURNS, type ProblemCode } from '../../shared/driver/journal-format.ts';
import { Journal } from '../../shared/driver/journal-store.ts';
import { numberKey, seal } from '../../shared/driver/records.ts';
import { type KvRange, MARK_PLACE_BYTES, type StorePort } from '../../shared/driver/store.ts';
import {
  bytesOf,
  codesOf,
  del,
  fillQuickly,
  INCARNATION,
  initOf,
  put,
  readMarks,
  storeErrorOf,
  turnOf,
  valueKey,
  writeMarks,
} from './turns.ts';

/** One place for one store, made anew for each test. */
export interface StoreUnderTest {
  /** A new, empty store. */
  create(): Promise<StorePort>;
  /** The same store again, after a clean close. */
  reopen(): Promise<StorePort>;
  cleanUp(): Promise<void>;
}

/** What every store keeps to, whatever it is made of. */
export function storeContract(name: string, make: () => Promise<StoreUnderTest>): void {
  describe(`${name}: a store`, () => {
    let under: StoreUnderTest;
    let port: StorePort;

    beforeEach(async () => {
      under = await make();
      port = await under.create();
    });
    afterEach(async () => {
      await port.close();
      await under.cleanUp();
    });

    const reopen = async (): Promise<void> => {
      await port.close();
      port = await under.reopen();
    };
    const keys = async (range: Omit<KvRange, 'limit'> & { readonly limit?: number }): Promise<string[]> =>
      (await port.kv.scan({ limit: 10_000, ...range })).map(([key]) => key);

    test('a snapshot goes on showing what was there when it was made', async () => {
      await port.kv.write([put('a', 1), put('b', 1)], { sync: true });
      const snapshot = port.kv.snapshot();
      await port.kv.write([put('a', 2), put('aa', 2), del('b')], { sync: true });
      const rows = async (limit: number) => [...(await snapshot.scan({ gte: 'a', lt: 'c', limit }))];
      expect(await rows(10)).toEqual([
        ['a', bytesOf(1)],
        ['b', bytesOf(1)],
      ]);
      expect(await rows(1)).toEqual([['a', bytesOf(1)]]);
      snapshot.close();
      expect(await keys({ gte: 'a', lt: 'c' })).toEqual(['a', 'aa']);
    });

    test('a scan ends with the row that goes beyond its bytes, and no sooner', async () => {
      const row = (key: string, length: number) => put(key, ...new Uint8Array(length));
      await port.kv.write(
        ['a', 'b', 'c', 'd'].map((key) => row(key, 9)),
        { sync: true },
      );
      const upTo = (limitBytes: number, reverse = false) => keys({ gte: 'a', lt: 'e', limitBytes, reverse });
      expect(await upTo(1)).toEqual(['a']);
      expect(await upTo(10)).toEqual(['a']);
      expect(await upTo(11)).toEqual(['a', 'b']);
      expect(await upTo(11, true)).toEqual(['d', 'c']);
      expect(await upTo(1_000)).toEqual(['a', 'b', 'c', 'd']);
      expect(await keys({ gte: 'a', lt: 'e', limitBytes: 1_000, limit: 3 })).toEqual(['a', 'b', 'c']);
    });

    test('reads at once what a write has put', async () => {
      expect(port.kv.get('a')).toBeUndefined();
      await port.kv.write([put('a', 1), put('b')], { sync: true });
      expect(port.kv.get('a')).toEqual(bytesOf(1));
      expect(port.kv.get('b')).toEqual(bytesOf());
    });

    test('gives plain byte arrays, whose slices are copies', async () => {
      await port.kv.write([put('a', 1, 2)], { sync: true });
      const [[, scanned] = []] = await port.kv.scan({ gte: 'a', lt: 'b', limit: 1 });
      for (const value of [port.kv.get('a'), scanned]) expect(Object.getPrototypeOf(value)).toBe(Uint8Array.prototype);
    });

    test('keeps its own copy of what was written', async () => {
      const value = bytesOf(1, 2);
      await port.kv.write([{ type: 'put', key: 'a', value }], { sync: true });
      value[0] = 9;
      expect(port.kv.get('a')).toEqual(bytesOf(1, 2));
    });

    test('follows the order of a batch', async () => {
      await port.kv.write([put('a', 1), del('a'), put('b', 1), put('b', 2)], { sync: true });
      await port.kv.write([del('c'), put('c', 3)], { sync: true });
      expect(await keys({ gte: 'a', lt: 'z' })).toEqual(['b', 'c']);
      expect(port.kv.get('b')).toEqual(bytesOf(2));
    });

    test('takes an empty batch', async () => {
      await port.kv.write([], { sync: true });
      expect(await keys({ gte: ' ', lt: '~' })).toEqual([]);
    });

    test('takes large values', async () => {
      const value = new Uint8Array(1_500_000).fill(7);
      await port.kv.write([{ type: 'put', key: 'a', value }], { sync: true });
      await reopen();
      expect(port.kv.get('a')).toEqual(value);
    });

    test('scans ranges by code unit: from the lower bound to before the upper one', async () => {
      const all = ['A', 'a', 'a!', 'a/0', 'a/1', 'aa', 'b', 't!', 't/0'];
      await port.kv.write(
        all.toReversed().map((key) => put(key, 1)),
        { sync: true },
      );
      expect(await keys({ gte: ' ', lt: '~' })).toEqual(all);
      expect(await keys({ gte: 'a', lt: 'aa' })).toEqual(['a', 'a!', 'a/0', 'a/1']);
      expect(await keys({ gte: 'a/', lt: 'a0' })).toEqual(['a/0', 'a/1']);
      expect(await keys({ gte: 'a', lt: 'b', reverse: true })).toEqual(['aa', 'a/1', 'a/0', 'a!', 'a']);
      expect(await keys({ gte: 'a', lt: 'b', reverse: true, limit: 2 })).toEqual(['aa', 'a/1']);
      expect(await keys({ gte: 'a', lt: 'b', limit: 2 })).toEqual(['a', 'a!']);
      expect(await keys({ gte: 'a', lt: 'b', limit: 0 })).toEqual([]);
      expect(await keys({ gte: 'a', lt: 'a' })).toEqual([]);
      expect(await keys({ gte: 'b', lt: 'a' })).toEqual([]);
    });

    test('scans on over its own pages, up to the limit', async () => {
      const ops = Array.from({ length: 2500 }, (_, n) => ({
        type: 'put' as const,
        key: numberKey('l/', n),
        value: new Uint8Array(1000),
      }));
      await port.kv.write(ops, { sync: true });
      const all = ops.map(({ key }) => key);
      expect(await keys({ gte: 'l/', lt: 'l0' })).toEqual(all);
      expect(await keys({ gte: 'l/', lt: 'l0', limit: 2100 })).toEqual(all.slice(0, 2100));
    });

    test('has everything again after it was closed, synced or not', async () => {
      await port.kv.write([put('a', 1), put('b', 2)], { sync: true });
      await port.kv.write([put('c', 3), del('b')], { sync: false });
      await reopen();
      expect(await keys({ gte: ' ', lt: '~' })).toEqual(['a', 'c']);
    });

    test('takes one batch at a time, and beside it one mark', async () => {
      const [first, second, third, fourth] = await Promise.allSettled([
        port.kv.write([put('a', 1)], { sync: true }),
        port.kv.write([put('b', 2)], { sync: true }),
        port.mark.write(0, bytesOf(1)),
        port.mark.write(1, bytesOf(2)),
      ]);
      for (const taken of [first, third]) expect(taken?.status).toBe('fulfilled');
      for (const refused of [second, fourth]) {
        expect(refused).toMatchObject({ status: 'rejected', reason: expect.any(InvariantError) });
      }
      await port.kv.write([put('c', 3)], { sync: true });
      expect(await keys({ gte: ' ', lt: '~' })).toEqual(['a', 'c']);
    });

    test('waits for the write under way before it closes, and may be closed twice', async () => {
      const written = port.kv.write([put('a', 1)], { sync: true });
      await Promise.all([port.close(), port.close(), written]);
      await port.close();
      port = await under.reopen();
      expect(port.kv.get('a')).toEqual(bytesOf(1));
    });

    test('waits for the mark under way before it closes', async () => {
      let done = false;
      const written = port.mark.write(0, bytesOf(1)).then(() => {
        done = true;
      });
      await port.close();
      expect(done).toBe(true);
      await written;
    });

    test('is not used once closed', async () => {
      await port.close();
      expect(() => port.kv.get('a')).toThrow(expect.objectContaining({ name: 'StoreError', code: 'CLOSED' }));
      expect(await storeErrorOf(port.kv.scan({ gte: 'a', lt: 'b', limit: 1 }))).toBe('CLOSED');
      expect(await storeErrorOf(port.kv.write([put('a', 1)], { sync: true }))).toBe('CLOSED');
      expect(await storeErrorOf(port.mark.read())).toBe('CLOSED');
      expect(await storeErrorOf(port.mark.write(0, bytesOf(1)))).toBe('CLOSED');
    });

    test('has no mark at first, then keeps each place by itself', async () => {
      expect(await port.mark.read()).toEqual([null, null]);
      const full = (byte: number): Uint8Array => new Uint8Array(MARK_PLACE_BYTES).fill(byte);
      await port.mark.write(1, full(1));
      await port.mark.write(0, full(2));
      await port.mark.write(1, bytesOf(3, 4));
      const places = [full(2), Uint8Array.of(3, 4, ...full(1).subarray(2))];
      expect(await port.mark.read()).toEqual(places);
      await reopen();
      expect(await port.mark.read()).toEqual(places);
    });

    test('refuses a mark larger than its place', async () => {
      await expect(port.mark.write(0, new Uint8Array(MARK_PLACE_BYTES + 1))).rejects.toThrow(InvariantError);
    });
  });
}

/** The journal on a real or an imagined disk. */
export function journalContract(name: string, make: () => Promise<StoreUnderTest>): void {
  describe(`${name}: a journal`, () => {
    let under: StoreUnderTest;
    let port: StorePort;

    beforeEach(async () => {
      under = await make();
      port = await under.create();
    });
    afterEach(async () => {
      await port.close();
      await under.cleanUp();
    });

    const open = async (init = initOf(port)) => Journal.open(port, init);
    const reopen = async () => {
      await port.close();
      port = await under.reopen();
      return open();
    };
    const create = async (turns: number): Promise<Journal> => {
      const journal = await Journal.create(port, INCARNATION, turnOf(1));
      for (let n = 2; n <= turns; n++) await journal.write(turnOf(n));
      return journal;
    };
    const turnKeys = async (): Promise<string[]> =>
      (await port.kv.scan({ ...TURN_RANGE, limit: 20_000 })).map(([key]) => key);

    test('is sound when it is opened again, and goes on', async () => {
      await create(5);
      let { journal, verdict } = await reopen();
      expect(verdict).toMatchObject({ sound: true, lastTurn: 5, mark: { counter: 5, turn: 5, lastOwnSeq: 5 } });
      await journal.write(turnOf(6));
      ({ journal, verdict } = await reopen());
      expect(verdict).toMatchObject({ sound: true, lastTurn: 6, mark: { turn: 6 } });
      expect(journal.lastTurn).toBe(6);
    });

    test('writes its mark into one place and then the other', async () => {
      const journal = await create(1);
      let before = await readMarks(port);
      const changed: number[] = [];
      for (let n = 2; n <= 5; n++) {
        await journal.write(turnOf(n));
        const after = await readMarks(port);
        for (const place of [0, 1] as const) if (!Buffer.from(after[place]).equals(before[place])) changed.push(place);
        before = after;
      }
      expect(changed).toEqual([0, 1, 0, 1]);
    });

    test('writes one turn at a time', async () => {
      const journal = await create(1);
      const [first, second] = await Promise.allSettled([journal.write(turnOf(2)), journal.write(turnOf(3))]);
      expect(first?.status).toBe('fulfilled');
      expect(second).toMatchObject({ status: 'rejected', reason: expect.any(InvariantError) });
    });

    test('keeps its keys to itself', async () => {
      const journal = await create(1);
      await expect(journal.write({ ...turnOf(2), ops: [del('m/damaged')] })).rejects.toThrow(InvariantError);
    });

    test.each([
      { checkpoint: CHECKPOINT_TURNS, first: 1 },
      { checkpoint: 2 * CHECKPOINT_TURNS, first: CHECKPOINT_TURNS + 1 },
      { checkpoint: 3 * CHECKPOINT_TURNS, first: 2 * CHECKPOINT_TURNS + 1 },
    ])(
      'at turn $checkpoint keeps turns from $first on, and is sound before and after',
      async ({ checkpoint, first }) => {
        await fillQuickly(port, checkpoint - 1);
        let { journal, verdict } = await reopen();
        expect(verdict).toMatchObject({ sound: true, lastTurn: checkpoint - 1 });
        expect((await turnKeys()).length).toBeLessThan(2 * CHECKPOINT_TURNS);

        await journal.write(turnOf(checkpoint));
        const kept = await turnKeys();
        expect(kept[0]).toBe(numberKey('t/', first));
        expect(kept.at(-1)).toBe(numberKey('t/', checkpoint));
        expect(kept.length).toBe(checkpoint - first + 1);

        ({ journal, verdict } = await reopen());
        expect(verdict).toMatchObject({ sound: true, lastTurn: checkpoint });
        await journal.write(turnOf(checkpoint + 1));
        ({ verdict } = await reopen());
        expect(verdict).toMatchObject({ sound: true, lastTurn: checkpoint + 1 });

        await port.kv.write([del(numberKey('t/', checkpoint - 100))], { sync: true });
        ({ verdict } = await reopen());
        expect(codesOf(verdict)).toEqual(['TURN_MISSING']);
      },
      60_000,
    );

    const damages: readonly (readonly [what: string, code: ProblemCode, harm: () => Promise<void>])[] = [
      [
        'both places of the mark are broken',
        'MARK_MISSING',
        () => writeMarks(port, [new Uint8Array(512), new Uint8Array(512).fill(255)]),
      ],
      [
        'the mark of an older turn was put back',
        'MARK_OLD',
        async () => {
          const { journal } = await open();
          const marks = await readMarks(port);
          for (let n = 9; n <= 11; n++) await journal.write(turnOf(n));
          await writeMarks(port, marks);
        },
      ],
      ['the last turn is gone', 'BEHIND_MARK', () => port.kv.write([del(numberKey('t/', 8))], { sync: true })],
      [
        'all turns are gone',
        'BEHIND_MARK',
        () =>
          port.kv.write(
            Array.from({ length: 8 }, (_, n) => del(numberKey('t/', n + 1))),
            { sync: true },
          ),
      ],
      ['a turn in the middle is gone', 'TURN_MISSING', () => port.kv.write([del(numberKey('t/', 4))], { sync: true })],
      ['the first turn is gone', 'TURN_MISSING', () => port.kv.write([del(numberKey('t/', 1))], { sync: true })],
      ['the checkpoint is gone', 'TURN_MISSING', () => port.kv.write([del('t!')], { sync: true })],
      ['the checkpoint is broken', 'TURN_BROKEN', () => port.kv.write([put('t!', 1, 2, 3, 4, 5, 6)], { sync: true })],
      [
        "a turn's record is broken",
        'TURN_BROKEN',
        async () => {
          const record = port.kv.get(numberKey('t/', 4))?.slice() ?? bytesOf();
          record[20] = (record[20] as number) ^ 1;
          await port.kv.write([{ type: 'put', key: numberKey('t/', 4), value: record }], { sync: true });
        },
      ],
      [
        "a turn's record is that of another",
        'TURN_BROKEN',
        async () => {
          const value = port.kv.get(numberKey('t/', 3)) ?? bytesOf();
          await port.kv.write([{ type: 'put', key: numberKey('t/', 4), value }], { sync: true });
        },
      ],
      ['an accepted value is gone', 'ACCEPTED_MISSING', () => port.kv.write([del(valueKey(7))], { sync: true })],
    ];

    describe.each(damages)('where %s', (_, code, harm) => {
      test(`is unsound (${code}), stays so, and can still be written`, async () => {
        await create(8);
        await harm();
        let { journal, verdict } = await reopen();
        expect(verdict.sound).toBe(false);
        expect(codesOf(verdict)).toContain(code);
        expect(codesOf(verdict)).not.toContain('DAMAGED_BEFORE');

        // The verdict stands although nothing else was written since.
        let problems = codesOf(verdict);
        ({ journal, verdict } = await reopen());
        expect(codesOf(verdict)).toEqual(['DAMAGED_BEFORE', ...problems]);

        const from = journal.lastTurn;
        expect(from).toBeGreaterThanOrEqual(8);
        for (let n = 1; n <= 3; n++) await journal.write({ ...turnOf(100 + n), accepted: [] });
        ({ journal, verdict } = await reopen());
        expect(codesOf(verdict)).toEqual(['DAMAGED_BEFORE', ...problems]);
        expect(journal.lastTurn).toBe(from + 3);

        // Damage that comes later is added.
        await port.kv.write([del(numberKey('t/', from + 3))], { sync: true });
        problems = [...new Set([...problems, 'BEHIND_MARK'])];
        ({ verdict } = await reopen());
        expect(codesOf(verdict)).toEqual(['DAMAGED_BEFORE', ...problems]);
      });
    });

    test('is unsound where the mark belongs to another store (MARK_FOREIGN)', async () => {
      await create(3);
      const { verdict } = await open(initOf(port, new Uint8Array(16).fill(8)));
      expect(codesOf(verdict)).toEqual(['MARK_FOREIGN']);
    });

    test('is unsound where the mark names another turn of that number (MARK_MISMATCH)', async () => {
      const other = await make();
      const foreign = await other.create();
      const journal = await Journal.create(foreign, INCARNATION, turnOf(1));
      for (const n of [2, 30, 40]) await journal.write(turnOf(n));
      const marks = await readMarks(foreign);
      await foreign.close();
      await other.cleanUp();
      await create(4);
      await writeMarks(port, marks);
      const { verdict } = await reopen();
      expect(codesOf(verdict)).toEqual(['MARK_MISMATCH']);
    });

    test('is sound where one place of the mark is broken, whichever it is', async () => {
      await create(8);
      for (const place of [0, 1] as const) {
        const marks = await readMarks(port);
        const broken = marks[place].slice();
        broken[40] = (broken[40] as number) ^ 1;
        await port.mark.write(place, broken);
        const { verdict } = await reopen();
        expect(verdict).toMatchObject({ sound: true, lastTurn: 8 });
        await writeMarks(port, marks);
      }
    });

    test('is sound where the crash came between the batch and the mark, and then catches up', async () => {
      const journal = await create(7);
      const marks = await readMarks(port);
      await journal.write(turnOf(8));
      await writeMarks(port, marks);
      let { verdict } = await reopen();
      expect(verdict).toMatchObject({ sound: true, lastTurn: 8, mark: { turn: 7 } });
      ({ verdict } = await reopen());
      expect(verdict).toMatchObject({ sound: true, lastTurn: 8, mark: { turn: 8 } });
    });

    test('is sound where that crash came and the newest place of the mark is broken too', async () => {
      const journal = await create(7);
      const marks = await readMarks(port);
      await journal.write(turnOf(8));
      await writeMarks(port, [marks[0], new Uint8Array(512)]); // the mark of turn 7 is in place 1
      const { verdict } = await reopen();
      expect(verdict).toMatchObject({ sound: true, lastTurn: 8, mark: { turn: 6 } });
    });

    test('of a newer version is refused, not called damaged', async () => {
      await create(4);
      const marks = await readMarks(port);
      const key = numberKey('t/', 4);
      const record = port.kv.get(key) ?? bytesOf();
      await port.kv.write([{ type: 'put', key, value: seal(key, 2, record.subarray(1, -4)) }], { sync: true });
      expect(await storeErrorOf(reopen())).toBe('NEWER_FORMAT');

      await port.kv.write([{ type: 'put', key, value: record }], { sync: true });
      const length = new DataView(marks[0].buffer, marks[0].byteOffset).getUint32(0);
      const newer = marks[0].slice();
      newer.set(seal('mark/0', 2, marks[0].subarray(5, length)), 4);
      await port.mark.write(0, newer);
      expect(await storeErrorOf(reopen())).toBe('NEWER_FORMAT');

      await writeMarks(port, marks);
      expect((await reopen()).verdict.sound).toBe(true);
    });
  });
}
