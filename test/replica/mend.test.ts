import { describe, expect, it } from 'vitest';
import { slot } from '../../shared/base/ids.ts';
import { encodeBallot } from '../../shared/consensus/ballot.ts';
import { NOOP } from '../../shared/consensus/value.ts';
import { genesisOps } from '../../shared/document/index.ts';
import { damagedVerdict, verdictWith } from '../../shared/driver/journal-format.ts';
import { configurationKey, logOps, PROMISE_KEY } from '../../shared/driver/layout.ts';
import type { MemoryStore } from '../../shared/driver/memory-store.ts';
import { sealed } from '../../shared/driver/overlay.ts';
import { RECORD_VERSION, unseal } from '../../shared/driver/records.ts';
import { TAIL_KEY } from '../../shared/session/index.ts';
import { ballot, bend, births, genesis, incarnation, lived, open, put } from './fixture.ts';

type Damage = (store: MemoryStore) => void;

const logRow = (at: number): string => `l/${at.toString(16).padStart(13, '0')}`;
const digestRow = (at: number): string => `d/${at.toString(16).padStart(13, '0')}`;
const del = (store: MemoryStore, key: string): void => store.writeSync([{ type: 'del', key }], { sync: true });
const found = (store: MemoryStore, code = 'DATABASE_BROKEN'): void =>
  store.writeSync([damagedVerdict([{ code, message: 'a table is not whole' }])], { sync: true });
const stateRow = genesisOps(genesis)[0]?.key as string;

const losses: readonly [what: string, damage: Damage, missing: readonly (readonly [number, number])[]][] = [
  ['a chosen value', (store) => del(store, logRow(1)), [[1, 1]]],
  ['a chosen value that is not what it was', (store) => bend(store, logRow(2)), [[2, 2]]],
  ['the last one', (store) => del(store, logRow(3)), [[3, 3]]],
  ['a digest: what leads to it and on from it', (store) => bend(store, digestRow(1)), [[1, 2]]],
  ['the last digest', (store) => del(store, digestRow(3)), [[3, 3]]],
  [
    'all of them',
    (store) => {
      for (const at of [1, 2, 3]) for (const key of [logRow(at), digestRow(at)]) del(store, key);
    },
    [[1, 3]],
  ],
];

describe('a store that lost only what others have', () => {
  it.each(losses)('%s: it stays the acceptor that it was, and fetches that', (_, damage, missing) => {
    const store = lived();
    damage(store);
    found(store);
    const first = open(store, births());
    expect([first.incarnation, first.isNewborn, first.problems]).toEqual([incarnation, false, []]);
    expect(first.restored.promised).toEqual(ballot);
    expect(first.restored.prefix).toBe(3);
    expect([...first.restored.accepted.keys()]).toEqual([4]);
    expect(first.missing.ranges.map(({ from, to }) => [from, to])).toEqual(missing);
    expect(first.mended?.slots).toBe(missing.reduce((sum, [from, to]) => sum + to - from + 1, 0));

    const again = open(store.reopen(), births());
    expect([again.incarnation, again.problems, again.mended]).toEqual([incarnation, [], null]);
    expect(again.restored).toEqual(first.restored);
    expect(again.missing).toEqual(first.missing);
  });

  it('a database in which nothing is missing goes on as it was', () => {
    const store = lived();
    found(store);
    const opened = open(store, births());
    expect([opened.incarnation, opened.mended]).toEqual([incarnation, { slots: 0, isStateLost: false }]);
  });

  it('a record of the state: the state is made anew', () => {
    const store = lived();
    const before = store.get(stateRow) as Uint8Array;
    bend(store, stateRow);
    found(store);
    const opened = open(store, births());
    expect([opened.incarnation, opened.mended]).toEqual([incarnation, { slots: 0, isStateLost: true }]);
    expect(store.get(stateRow)).toEqual(before);
  });

  it('a record of the state that is gone, or one too many, is noticed by the sum', () => {
    for (const damage of [
      (store: MemoryStore) => del(store, stateRow),
      (store: MemoryStore) =>
        store.writeSync([sealed({ type: 'put', key: 's/zzz', value: Uint8Array.of(1) })], { sync: true }),
    ]) {
      const store = lived();
      damage(store);
      found(store);
      expect(open(store, births()).mended?.isStateLost).toBe(true);
      expect(store.get('s/zzz')).toBeUndefined();
    }
  });

  it('a damaged record that nothing shows any more: the state is made anew, as it may be at odds with the log', () => {
    const store = lived();
    found(store, 'RECORD_DAMAGED');
    expect(open(store, births()).mended).toEqual({ slots: 0, isStateLost: true });
  });

  it('what a repair brought back from the past goes: values above the prefix that it does not hold accepted, a half snapshot', () => {
    const store = lived();
    const old = logOps({ type: 'accept', slot: slot(9), ballot, value: NOOP }).map(sealed);
    store.writeSync(old, { sync: true });
    found(store);
    const opened = open(store, births());
    expect([...opened.restored.accepted.keys()]).toEqual([4]);
    expect(store.get(logRow(9))).toBeUndefined();
  });

  it('those who only look say what they see, and write nothing', () => {
    const store = lived();
    del(store, logRow(1));
    found(store);
    const looked = open(store);
    expect(looked.problems.map(({ code }) => code)).toEqual(['DAMAGED_BEFORE', 'DATABASE_BROKEN']);
    expect(open(store, births()).incarnation).toBe(incarnation);
  });

  it('a crash between batch and mark of the mending leaves it mended', () => {
    const store = lived();
    del(store, logRow(1));
    found(store);
    let writes = 0;
    const opened = open(store, births(), (to, prepared) => {
      writes++;
      to.writeSync(prepared.ops, { sync: true });
    });
    expect([opened.incarnation, writes]).toEqual([incarnation, 1]);
    const again = open(store.reopen(), births());
    expect([again.incarnation, again.problems]).toEqual([incarnation, []]);
    expect(again.missing.at(1)).not.toBeNull();
  });
});

/** `o/…` and the like, put there by a turn of its own. */
function withOwn(key: string, value = Uint8Array.of(1)): MemoryStore {
  const store = lived();
  const { journal, restored } = open(store);
  put(
    store,
    journal.prepare({
      ops: [sealed({ type: 'put', key, value })],
      accepted: [[4, encodeBallot(ballot), NOOP.hash]],
      promise: encodeBallot(restored.promised),
      lastOwnSeq: 0,
    }),
  );
  journal.committed();
  return store.reopen();
}

const own: readonly [what: string, damage: () => MemoryStore][] = [
  ['its promise', () => after(lived(), (store) => del(store, PROMISE_KEY))],
  ['a configuration', () => after(lived(), (store) => del(store, configurationKey(2)))],
  ['a value that it accepted', () => after(lived(), (store) => del(store, logRow(4)))],
  ['one of its own commands', () => after(withOwn('o/x/1'), (store) => del(store, 'o/x/1'))],
  ['one of its own commands, which is not what it was', () => after(withOwn('o/x/1'), (store) => bend(store, 'o/x/1'))],
  ['a refused one', () => after(withOwn('x/1'), (store) => del(store, 'x/1'))],
  ['what it rescued', () => after(withOwn('r/1'), (store) => del(store, 'r/1'))],
  ['a renounced epoch', () => after(withOwn('m/renounced'), (store) => del(store, 'm/renounced'))],
  ['where its session stands', () => after(withOwn(TAIL_KEY), (store) => del(store, TAIL_KEY))],
  ['one that it had deleted came back', () => after(lived(), (store) => store.writeSync([oldRow], { sync: true }))],
  [
    'an acceptance, and an older one of the same value came back',
    () =>
      after(lived(), (store) => {
        const older = { ...ballot, round: ballot.round - 1 };
        store.writeSync(logOps({ type: 'accept', slot: slot(4), ballot: older, value: NOOP }).map(sealed), {
          sync: true,
        });
      }),
  ],
  ['the count itself', () => after(lived(), (store) => del(store, 'm/kept'))],
];
const oldRow = sealed({ type: 'put', key: 'o/x/9', value: Uint8Array.of(1) });

function after(store: MemoryStore, damage: Damage): MemoryStore {
  damage(store);
  return store;
}

describe('a store that lost something that it alone had', () => {
  it.each(own)('%s: it goes on under another incarnation', (_, damaged) => {
    const store = damaged();
    found(store);
    const opened = open(store, births());
    expect([opened.isNewborn, opened.mended]).toEqual([true, null]);
    expect(opened.incarnation).not.toBe(incarnation);
  });

  it.each(own.filter(([what]) => what !== 'the count itself'))(
    '%s: that is noticed also where nobody said that something is wrong',
    (_, damaged) => {
      expect(open(damaged(), births()).isNewborn).toBe(true);
    },
  );

  it('a count that is gone says nothing: the store is sound, and counted again with its next turn', () => {
    const store = lived();
    del(store, 'm/kept');
    const { journal, isNewborn } = open(store, births());
    expect(isNewborn).toBe(false);
    put(
      store,
      journal.prepare({
        ops: [],
        accepted: [[4, encodeBallot(ballot), NOOP.hash]],
        promise: encodeBallot(ballot),
        lastOwnSeq: 0,
      }),
    );
    const record = store.get('m/kept') as Uint8Array;
    expect(unseal('m/kept', record, RECORD_VERSION).payload.length).toBeGreaterThan(0);
    del(store, logRow(1));
    found(store);
    expect(open(store.reopen(), births()).mended?.slots).toBe(1);
  });

  it('what was found before, of another kind, is not forgotten over it', () => {
    const store = lived();
    store.writeSync(
      [
        damagedVerdict([
          { code: 'TURN_MISSING', message: 'turn 1 is missing' },
          { code: 'DATABASE_BROKEN', message: 'a table is not whole' },
        ]),
      ],
      { sync: true },
    );
    expect(open(store, births()).isNewborn).toBe(true);
  });

  it.each(['COPIED', 'REPLACED', 'ROLLED_BACK', 'REBUILT', 'ACCEPTED_MISSING'])(
    '%s stands on where the database is found broken after it',
    (code) => {
      const store = lived();
      found(store, code);
      const both = verdictWith({ code: 'DATABASE_BROKEN', message: 'a table is not whole' }, store.get('m/damaged'));
      store.writeSync([damagedVerdict(both)], { sync: true });
      expect(open(store, births()).mended).toBeNull();
    },
  );

  it('a verdict that can not be read any more may have been any', () => {
    const store = lived();
    found(store, 'COPIED');
    bend(store, 'm/damaged');
    const both = verdictWith({ code: 'DATABASE_BROKEN', message: 'a table is not whole' }, store.get('m/damaged'));
    store.writeSync([damagedVerdict(both)], { sync: true });
    expect(open(store, births()).isNewborn).toBe(true);
  });

  it('says nothing by being mended: its turns go on where they were', () => {
    const before = open(lived(), births()).journal.lastTurn;
    const store = lived();
    found(store);
    expect(open(store, births()).journal.lastTurn).toBe(before);
  });
});
