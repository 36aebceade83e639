import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { toHex } from '../../shared/base/bytes.ts';
import { decodeCbor } from '../../shared/base/cbor.ts';
import { hashFor, ZERO_HASH } from '../../shared/base/hash.ts';
import { Random } from '../../shared/base/random.ts';
import { carriedBatch } from '../../shared/driver/carried.ts';
import { JournalCore } from '../../shared/driver/journal.ts';
import { JOURNAL_KEYS, JournalCheck, type Opening, TURN_RANGE } from '../../shared/driver/journal-check.ts';
import {
  CHECKPOINT_TURNS,
  encodeMark,
  type Mark,
  type Prepared,
  readMark,
} from '../../shared/driver/journal-format.ts';
import { Journal } from '../../shared/driver/journal-store.ts';
import { MemoryStore } from '../../shared/driver/memory-store.ts';
import { numberKey, unseal } from '../../shared/driver/records.ts';
import { type KvOp, StoreError } from '../../shared/driver/store.ts';
import { INCARNATION, initOf, put, storeErrorOf, turnOf, valueKey } from '../storage/turns.ts';

/** Opens a journal step by step, as the simulator does: what the mark carries comes first. */
function check(store: MemoryStore, completes = true): Opening {
  const carried = completes ? carriedBatch(store.markReadSync(), store) : null;
  if (carried !== null) store.writeSync(carried, { sync: true });
  const check = new JournalCheck(
    {
      checkpoint: store.get(JOURNAL_KEYS.checkpoint),
      damaged: store.get(JOURNAL_KEYS.damaged),
      kept: store.get(JOURNAL_KEYS.kept),
      marks: store.markReadSync(),
    },
    initOf(store),
  );
  for (const [key, record] of store.scanSync({ ...TURN_RANGE, limit: 20_000 })) check.row(key, record);
  return check.finish();
}

function carryOut(store: MemoryStore, core: JournalCore, { ops, mark }: Prepared): void {
  if (ops.length > 0) store.writeSync(ops, { sync: true });
  store.markWriteSync(mark.place, mark.bytes);
  core.committed();
}

describe('the stored formats', () => {
  test('are those of the first version', () => {
    const store = MemoryStore.create();
    const { core, prepared } = JournalCore.create(INCARNATION, {
      ops: [put('a', 1, 2), { type: 'del', key: 'b' }],
      accepted: [[5, 'ballot', ZERO_HASH]],
      promise: [1, 'peer'],
      lastOwnSeq: 3,
    });
    carryOut(store, core, prepared);

    const batch = hashFor('batch', Uint8Array.of(1, 0, 0, 0, 1, 97, 0, 0, 0, 2, 1, 2, 0, 0, 0, 0, 1, 98));
    const record = store.get('t/0000000000001') as Uint8Array;
    const [n, previous, hashed, accepted] = decodeCbor(unseal('t/0000000000001', record).payload) as [
      number,
      Uint8Array,
      Uint8Array,
      Uint8Array,
    ];
    expect([n, previous, hashed]).toEqual([1, ZERO_HASH, batch]);
    expect(decodeCbor(accepted)).toEqual([[5, 'ballot', ZERO_HASH]]);
    expect(core.lastTurnHash).toEqual(hashFor('turn', ZERO_HASH, batch, accepted));
    expect(decodeCbor(unseal('t!', store.get('t!') as Uint8Array).payload)).toEqual([0, ZERO_HASH, 1]);

    const [first, second] = store.markReadSync();
    expect(first).toBeNull();
    const length = new DataView((second as Uint8Array).buffer).getUint32(0);
    expect(decodeCbor(unseal('mark/1', (second as Uint8Array).subarray(4, 4 + length)).payload)).toEqual([
      1,
      1,
      core.lastTurnHash,
      [1, 'peer'],
      INCARNATION,
      3,
    ]);
    // Were these to change, stores out there could not be opened any more.
    expect(toHex(record)).toMatchInlineSnapshot(
      `"01840158200000000000000000000000000000000000000000000000000000000000000000582085a9b6e97dba8e0173d41617a1ee8c7e852246f08195dcd54fdf1b0baf8e1d60582c8183056662616c6c6f74582000000000000000000000000000000000000000000000000000000000000000003d579bf9"`,
    );
    expect(toHex((second as Uint8Array).subarray(0, 4 + length))).toMatchInlineSnapshot(
      `"00000043018601015820b49fa7b18d56076cf38ddbf5b27bd773f02721eb6301b59eb67f9016133a708b82016470656572500707070707070707070707070707070703ae42e573"`,
    );
  });
});

/** How a driver writes a turn: the right way, and mistaken ways that the checks below must catch. */
type Way =
  | 'right'
  | 'carried'
  | 'mark first'
  | 'batch unsynced'
  | 'no mark'
  | 'said before the batch'
  | 'carried, and said before the batch'
  | 'carried, and not completed';

interface Step {
  readonly kind:
    | 'turn'
    | 'crash'
    | 'crash in batch'
    | 'crash in mark'
    | 'crash between'
    | 'reopen'
    | 'fail batch'
    | 'fail mark';
  readonly code: 'DISK_FAILED' | 'DISK_FULL' | 'READ_ONLY';
}

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.oneof(
    { weight: 8, arbitrary: fc.constant('turn' as const) },
    {
      weight: 5,
      arbitrary: fc.constantFrom(
        'crash' as const,
        'crash in batch',
        'crash in mark',
        'crash between',
        'reopen',
        'fail batch',
        'fail mark',
      ),
    },
  ),
  code: fc.constantFrom('DISK_FAILED', 'DISK_FULL', 'READ_ONLY'),
});

/** Runs a story and holds every opening against what was said: throws where something said is gone or a store is called damaged. */
function live(steps: readonly Step[], seed: number, way: Way): void {
  const choice = new Random(seed);
  let store = MemoryStore.create();
  const made = JournalCore.create(INCARNATION, turnOf(1));
  carryOut(store, made.core, made.prepared);
  let { core } = made;
  let said = 1;
  const mayCarry = way.startsWith('carried');

  const reopened = (next: MemoryStore): void => {
    store = next;
    const opening = check(store, way !== 'carried, and not completed');
    expect(opening.verdict).toMatchObject({ sound: true });
    if (opening.repair !== null) {
      // The crash may come again before the mark has caught up.
      if (choice.chance(0.3)) {
        const { mark } = opening.repair;
        return reopened(store.crash({ choice, during: [{ type: 'mark', ...mark }] }));
      }
      carryOut(store, opening.core, opening.repair);
    }
    ({ core } = opening);
    expect([said, said + 1]).toContain(core.lastTurn);
    for (let n = 1; n <= core.lastTurn; n++)
      expect(store.get(valueKey(n))).toEqual(turnOf(n).ops.map((op) => 'value' in op && op.value)[0]);
    expect(store.get(valueKey(core.lastTurn + 1))).toBeUndefined();
    said = core.lastTurn;
  };

  for (const { kind, code } of steps) {
    if (kind === 'crash') {
      reopened(store.crash({ choice }));
      continue;
    }
    if (kind === 'reopen') {
      reopened(store.reopen(choice));
      continue;
    }
    const n = core.lastTurn + 1;
    const { ops, mark, isCarried } = core.prepare(turnOf(n), mayCarry);
    expect(isCarried).toBe(mayCarry);
    const batch = () => store.writeSync(ops, { sync: way !== 'batch unsynced' });
    const putMark = () => (way === 'no mark' ? undefined : store.markWriteSync(mark.place, mark.bytes));
    const [batchIs, markIs] = [{ type: 'batch', ops } as const, { type: 'mark', ...mark } as const];
    const isMarkFirst = isCarried ? choice.chance(0.5) : way === 'mark first';
    const [first, second] = isMarkFirst ? [putMark, batch] : [batch, putMark];
    const secondIs = isMarkFirst ? batchIs : markIs;
    const firstIs = isCarried ? [batchIs, markIs] : isMarkFirst ? [markIs] : [batchIs];

    if (way.endsWith('said before the batch')) said = n;
    if (kind === 'crash in batch') {
      reopened(store.crash({ choice, during: firstIs }));
      continue;
    }
    if (kind === 'fail batch' || kind === 'fail mark') {
      store.failAt(kind === 'fail batch' ? 1 : 2, code);
      expect(() => {
        first();
        second();
      }).toThrow(StoreError);
      expect(() => store.writeSync([put('x', 1)], { sync: true })).toThrow(StoreError);
      core.failed();
      reopened(choice.chance(0.5) ? store.reopen(choice) : store.crash({ choice }));
      continue;
    }
    first();
    if (kind === 'crash between') {
      reopened(store.crash({ choice }));
      continue;
    }
    if (kind === 'crash in mark') {
      reopened(store.crash({ choice, during: [secondIs] }));
      continue;
    }
    second();
    core.committed();
    said = n;
  }
  reopened(store.crash({ choice }));
}

describe('after any crash', () => {
  const property = (way: Way) =>
    fc.property(fc.array(step, { maxLength: 40 }), fc.integer({ min: 0 }), (steps, seed) => live(steps, seed, way));

  test.each<Way>(['right', 'carried'])(
    'what was said is there, nothing is half there, and the verdict is sound (%s)',
    (way) => {
      fc.assert(property(way), { numRuns: 500 });
    },
  );

  test.each<Way>([
    'mark first',
    'batch unsynced',
    'no mark',
    'said before the batch',
    'carried, and said before the batch',
    'carried, and not completed',
  ])('a driver that is wrong (%s) is caught', (way) => {
    expect(fc.check(property(way), { numRuns: 500, seed: 1 }).failed).toBe(true);
  });
});

describe('a disk that loses what it said was written', () => {
  test('is noticed, whichever turns it loses', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 30 }),
        fc.integer({ min: 1 }),
        fc.integer({ min: 1, max: 30 }),
        (turns, from, count) => {
          // The batches of some turns in a row never reached the disk; each other did, and so did every mark.
          const lost = 2 + (from % (turns - 1));
          const store = MemoryStore.create();
          const { core, prepared } = JournalCore.create(INCARNATION, turnOf(1));
          carryOut(store, core, prepared);
          for (let n = 2; n <= turns; n++) {
            const { ops, mark } = core.prepare(turnOf(n));
            if (n < lost || n >= lost + count) store.writeSync(ops, { sync: true });
            store.markWriteSync(mark.place, mark.bytes);
            core.committed();
          }
          expect(check(store).verdict.sound).toBe(false);
        },
      ),
    );
  });

  test('is noticed where it goes back to an older whole state, unless the mark goes back too', () => {
    const store = MemoryStore.create();
    const { core, prepared } = JournalCore.create(INCARNATION, turnOf(1));
    carryOut(store, core, prepared);
    const older = MemoryStore.create();
    older.writeSync(prepared.ops, { sync: true });
    for (let n = 2; n <= 5; n++) {
      const next = core.prepare(turnOf(n));
      carryOut(store, core, next);
      if (n < 4) older.writeSync(next.ops, { sync: true });
      if (n === 3) older.markWriteSync(next.mark.place, next.mark.bytes);
    }
    expect(check(older).verdict).toMatchObject({ sound: true, lastTurn: 3 });
    for (const place of [0, 1] as const) older.markWriteSync(place, store.markReadSync()[place] as Uint8Array);
    expect(check(older).verdict).toMatchObject({ sound: false, problems: [{ code: 'BEHIND_MARK' }] });
  });
});

/** A store with so many turns, of which those from `from` on are other ones than usual. */
function forked(turns: number, from: number): MemoryStore {
  const store = MemoryStore.create();
  const turn = (n: number) => turnOf(n, n < from ? 40 : 41);
  const { core, prepared } = JournalCore.create(INCARNATION, turn(1));
  carryOut(store, core, prepared);
  for (let n = 2; n <= turns; n++) carryOut(store, core, core.prepare(turn(n)));
  return store;
}

/** Puts rows and marks of one store into another. */
function graft(from: MemoryStore, to: MemoryStore, range: { readonly gte: string; readonly lt: string }): void {
  const rows = from.scanSync({ ...range, limit: 20_000 });
  to.writeSync(
    rows.map(([key, value]) => ({ type: 'put', key, value })),
    { sync: true },
  );
  for (const place of [0, 1] as const) to.markWriteSync(place, from.markReadSync()[place] as Uint8Array);
}

describe('two histories', () => {
  test('of which one begins where the other ends are noticed', () => {
    const store = forked(8, 99);
    graft(forked(8, 3), store, { gte: numberKey('t/', 5), lt: TURN_RANGE.lt });
    expect(check(store).verdict).toMatchObject({
      sound: false,
      problems: [{ code: 'TURN_BROKEN', message: 'turn 5 does not follow from the turn before it' }],
    });
  });

  test('are noticed by the checkpoint of the one in the other', () => {
    const store = forked(CHECKPOINT_TURNS + 3, 99_999);
    graft(forked(CHECKPOINT_TURNS + 3, 3), store, TURN_RANGE);
    expect(check(store).verdict).toMatchObject({
      sound: false,
      problems: [{ code: 'TURN_BROKEN', message: 'turn 4096 is not the one that the checkpoint names' }],
    });
  });
});

describe('a journal', () => {
  test('says that a turn is written only when no crash can take it any more', async () => {
    let store = MemoryStore.create();
    let journal = await Journal.create(store, INCARNATION, turnOf(1));
    for (let n = 2; n <= 6; n++) {
      store = store.crash();
      const opened = await Journal.open(store, initOf(store));
      expect(opened.verdict).toMatchObject({ sound: true, lastTurn: n - 1, mark: { turn: n - 1 } });
      ({ journal } = opened);
      await journal.write(turnOf(n));
    }
  });

  test('is done after an error: the same one comes again, and opening the store tells what is there', async () => {
    for (const failing of [1, 2]) {
      let store = MemoryStore.create();
      const journal = await Journal.create(store, INCARNATION, turnOf(1));
      await journal.write(turnOf(2));
      store.failAt(failing, 'DISK_FAILED');
      expect(await storeErrorOf(journal.write(turnOf(3)))).toBe('DISK_FAILED');
      expect(await storeErrorOf(journal.write(turnOf(3)))).toBe('DISK_FAILED');
      expect(journal.lastTurn).toBe(2);
      store = store.reopen();
      expect((await Journal.open(store, initOf(store))).verdict).toMatchObject({ sound: true, lastTurn: failing + 1 });
    }
  });

  test('keeps an unsound verdict before it gives it: where that fails, nothing is given', async () => {
    let store = MemoryStore.create();
    await Journal.create(store, INCARNATION, turnOf(1));
    store.writeSync([{ type: 'del', key: 't!' }], { sync: true });
    for (const failing of [1, 2]) {
      store.failAt(failing, 'DISK_FAILED');
      expect(await storeErrorOf(Journal.open(store, initOf(store)))).toBe('DISK_FAILED');
      store = store.reopen();
    }
    const { verdict } = await Journal.open(store, initOf(store));
    expect(verdict).toMatchObject({ sound: false, problems: [{ code: 'DAMAGED_BEFORE' }, { code: 'TURN_MISSING' }] });
  });

  test('stays unsound through every crash while the verdict is written and after', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0 }), fc.integer({ min: 0, max: 3 }), (seed, crashes) => {
        const choice = new Random(seed);
        let store = MemoryStore.create();
        const { core, prepared } = JournalCore.create(INCARNATION, turnOf(1));
        carryOut(store, core, prepared);
        for (let n = 2; n < 6; n++) carryOut(store, core, core.prepare(turnOf(n)));
        store.writeSync([{ type: 'del', key: 't/0000000000003' }], { sync: true });
        for (let crash = 0; crash < crashes; crash++) {
          const { verdict, repair } = check(store);
          expect(verdict.sound).toBe(false);
          if (repair === null) break;
          const inBatch = repair.ops.length > 0 && choice.chance(0.5);
          if (!inBatch && repair.ops.length > 0) store.writeSync(repair.ops, { sync: true });
          store = store.crash({
            choice,
            during: [inBatch ? { type: 'batch', ops: repair.ops } : { type: 'mark', ...repair.mark }],
          });
        }
        const opening = check(store);
        expect(opening.verdict.sound).toBe(false);
        if (opening.repair !== null) carryOut(store, opening.core, opening.repair);
        carryOut(store, opening.core, opening.core.prepare({ ...turnOf(99), accepted: [] }));
        expect(check(store.crash({ choice })).verdict).toMatchObject({
          sound: false,
          problems: expect.arrayContaining([
            expect.objectContaining({ code: 'DAMAGED_BEFORE' }),
            expect.objectContaining({ code: 'TURN_MISSING' }),
          ]),
        });
      }),
    );
  });

  test('reads fewer turns than two checkpoints hold, however long it has lived', () => {
    const store = MemoryStore.create();
    const { core, prepared } = JournalCore.create(INCARNATION, turnOf(1));
    carryOut(store, core, prepared);
    let most = 0;
    for (let n = 2; n <= 4 * CHECKPOINT_TURNS + 3; n++) {
      carryOut(store, core, core.prepare({ ops: [], accepted: [], promise: null, lastOwnSeq: 0 }));
      if ((n + 1) % 512 < 2) most = Math.max(most, store.scanSync({ ...TURN_RANGE, limit: 20_000 }).length);
    }
    expect(most).toBe(2 * CHECKPOINT_TURNS - 1);
    expect(check(store).verdict).toMatchObject({ sound: true, lastTurn: 4 * CHECKPOINT_TURNS + 3 });
  });
});

describe('a mark that carries its batch', () => {
  /** A store with `turns` turns, and what the next one is to write. */
  function upTo(turns: number): { readonly store: MemoryStore; readonly core: JournalCore; readonly next: Prepared } {
    const store = MemoryStore.create();
    const { core, prepared } = JournalCore.create(INCARNATION, turnOf(1));
    carryOut(store, core, prepared);
    for (let n = 2; n <= turns; n++) carryOut(store, core, core.prepare(turnOf(n), true));
    return { store, core, next: core.prepare(turnOf(turns + 1), true) };
  }
  const isNull = (store: MemoryStore): boolean => carriedBatch(store.markReadSync(), store) === null;

  test('gives it back for as long as the database lacks it', () => {
    const { store, next } = upTo(3);
    store.markWriteSync(next.mark.place, next.mark.bytes);
    expect(carriedBatch(store.markReadSync(), store)).toEqual(next.ops);
    expect(check(store, false).verdict).toMatchObject({ sound: false, problems: [{ code: 'BEHIND_MARK' }] });
    store.writeSync(next.ops, { sync: true });
    expect(isNull(store)).toBe(true);
    expect(check(store).verdict).toMatchObject({ sound: true, lastTurn: 4, mark: { turn: 4 } });
  });

  test('mends what damage took of the last turn', () => {
    const { store } = upTo(3);
    for (const key of [numberKey('t/', 3), valueKey(3)]) store.rot(key, null);
    expect(check(store).verdict).toMatchObject({ sound: true, lastTurn: 3 });
    expect(store.get(valueKey(3))).toBeDefined();
  });

  test('gives nothing where the database lacks the turn before, too: that is damage', () => {
    const { store, next } = upTo(3);
    store.rot(numberKey('t/', 3), null);
    store.markWriteSync(next.mark.place, next.mark.bytes);
    expect(isNull(store)).toBe(true);
    expect(check(store).verdict).toMatchObject({ sound: false, problems: [{ code: 'BEHIND_MARK' }] });
  });

  test('gives nothing that is not the batch of its turn', () => {
    const { store, next } = upTo(3);
    const mark = readMark(next.mark.place, next.mark.bytes) as Mark;
    const [value, link, kept] = mark.batch as KvOp[] as [KvOp, KvOp, KvOp];
    const others = [[link, kept], [value, kept], [value, value, link, kept], [put(valueKey(4), 9), link, kept], []];
    for (const batch of others) {
      store.markWriteSync(next.mark.place, encodeMark({ ...mark, batch }).bytes);
      expect(isNull(store)).toBe(true);
    }
    store.markWriteSync(next.mark.place, encodeMark({ ...mark, turnHash: ZERO_HASH }).bytes);
    expect(isNull(store)).toBe(true);
    store.markWriteSync(next.mark.place, encodeMark(mark).bytes);
    expect(isNull(store)).toBe(false);
  });

  test('gives nothing of a store that went another way', () => {
    const { store } = upTo(3);
    const other = JournalCore.create(INCARNATION, turnOf(7));
    other.core.committed();
    for (let n = 2; n <= 3; n++) {
      other.core.prepare(turnOf(n));
      other.core.committed();
    }
    const { mark } = other.core.prepare(turnOf(4), true);
    store.markWriteSync(mark.place, mark.bytes);
    expect(isNull(store)).toBe(true);
  });

  test('is whole again for a chain that was just begun anew', () => {
    const { store, core } = upTo(2);
    core.committed();
    store.rot(numberKey('t/', 1), null);
    const opening = check(store);
    expect(opening.verdict.sound).toBe(false);
    carryOut(store, opening.core, opening.repair as Prepared);
    const next = opening.core.prepare(turnOf(9), true);
    store.markWriteSync(next.mark.place, next.mark.bytes);
    expect(carriedBatch(store.markReadSync(), store)).toEqual(next.ops);
  });

  test('is taken for what fits into its place, to the byte that is left', () => {
    const { core } = JournalCore.create(INCARNATION, turnOf(1));
    core.committed();
    for (const [bytes, fits] of [
      [3_000, true],
      [3_400, true],
      [4_000, false],
      [100_000, false],
    ] as const) {
      const { isCarried, mark } = core.prepare(turnOf(2, bytes), true);
      expect([bytes, isCarried]).toEqual([bytes, fits]);
      expect(mark.bytes.length).toBe(fits ? Math.ceil(mark.bytes.length / 512) * 512 : 512);
      core.committed();
    }
    expect(core.prepare(turnOf(3)).isCarried).toBe(false);
  });
});
