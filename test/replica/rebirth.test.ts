import { describe, expect, it } from 'vitest';
import { damagedVerdict, type Prepared } from '../../shared/driver/journal-format.ts';
import { configurationKey, PREFIX_KEY, PROMISE_KEY } from '../../shared/driver/layout.ts';
import type { MemoryStore } from '../../shared/driver/memory-store.ts';
import { sealed } from '../../shared/driver/overlay.ts';
import { REBORN_KEY } from '../../shared/replica/rebirth.ts';
import { bend, births, incarnation, lived, open, put } from './fixture.ts';

const damages: readonly [what: string, (store: MemoryStore) => void][] = [
  ['the promise', (store) => bend(store, PROMISE_KEY)],
  ['the prefix', (store) => bend(store, PREFIX_KEY)],
  ['a configuration', (store) => bend(store, configurationKey(2))],
  ['an accepted value', (store) => bend(store, 'l/0000000000004')],
  ['a turn', (store) => bend(store, 't/0000000000002')],
  ['the checkpoint', (store) => store.writeSync([{ type: 'del', key: 't!' }], { sync: true })],
  [
    'both places of the mark',
    (store) => {
      store.markWriteSync(0, new Uint8Array(512));
      store.markWriteSync(1, new Uint8Array(512));
    },
  ],
];

const row = (key: string) => sealed({ type: 'put', key, value: Uint8Array.of(1, 2, 3) });
const OLD_ROW = `o/${incarnation}/0000000000001`;

describe('a store that lost what it had said', () => {
  it.each(damages)(
    '%s: it goes on as another incarnation, with its log and nothing of what it had said',
    (_, damage) => {
      const store = lived();
      store.writeSync([row(OLD_ROW)], { sync: true });
      damage(store);
      const first = open(store, births());
      expect(first.incarnation).not.toBe(incarnation);
      expect([first.isNewborn, first.problems]).toEqual([true, []]);
      expect(first.reborn?.formers).toEqual([incarnation]);
      expect(first.reborn?.problems.length).toBeGreaterThan(0);
      expect(first.restored).toMatchObject({ promised: null, prefix: 3 });
      expect(first.restored.accepted.size).toBe(0);
      expect(first.outbox.map(([key]) => key)).toEqual([OLD_ROW]);

      const again = open(store.reopen(), births());
      expect([again.isNewborn, again.problems, again.incarnation]).toEqual([false, [], first.incarnation]);
      expect(again.reborn).toEqual(first.reborn);
      expect(again.restored).toEqual(first.restored);
      expect(again.restored.inForce.map((c) => [c.slot, c.from])).toEqual([[2, 4]]);
      expect(again.outbox.map(([key]) => key)).toEqual([OLD_ROW]);
    },
  );

  it('a configuration that its log does not reach any more has no force in it', () => {
    const store = lived();
    bend(store, 'd/0000000000002');
    bend(store, PROMISE_KEY);
    expect(open(store, births()).restored).toMatchObject({ prefix: 1, inForce: [] });
    expect(open(store.reopen(), births()).restored).toMatchObject({ prefix: 1, inForce: [] });
  });

  it('its turns go on above every number that it ever used', () => {
    const store = lived();
    const before = open(lived()).journal.lastTurn;
    bend(store, PROMISE_KEY);
    expect(open(store, births()).journal.lastTurn).toBeGreaterThan(before);
  });

  it('one that was called damaged by an earlier version, and has lived on as a reader, comes back as well', () => {
    const store = lived();
    bend(store, PROMISE_KEY);
    const reader = open(store);
    expect(reader.problems).not.toEqual([]);
    for (let n = 0; n < 3; n++) {
      put(store, reader.journal.prepare({ ops: [], accepted: [], promise: null, lastOwnSeq: 0 }));
      reader.journal.committed();
    }
    const back = open(store.reopen(), births());
    expect([back.isNewborn, back.problems]).toEqual([true, []]);
    expect(open(store.reopen(), births())).toMatchObject({ isNewborn: false, incarnation: back.incarnation });
  });

  it('where damage took the list of its former incarnations, too, what they left is here all the same', () => {
    for (const lose of [
      (store: MemoryStore) => bend(store, REBORN_KEY),
      (store: MemoryStore) => store.writeSync([{ type: 'del', key: REBORN_KEY }], { sync: true }),
    ]) {
      const store = lived();
      store.writeSync([row(OLD_ROW)], { sync: true });
      bend(store, PROMISE_KEY);
      const born = births();
      const { incarnation: second } = open(store, born);
      lose(store);
      const third = open(store.reopen(), born);
      expect([third.isNewborn, third.problems]).toEqual([true, []]);
      expect(third.reborn?.formers).toEqual([second]);
      expect(third.outbox.map(([key]) => key)).toEqual([OLD_ROW]);
    }
  });

  it('records of the outbox that can’t be read are taken away, so that they don’t count as damage for ever', () => {
    const store = lived();
    store.writeSync([row(OLD_ROW)], { sync: true });
    bend(store, OLD_ROW);
    bend(store, PROMISE_KEY);
    open(store, births());
    expect(store.get(OLD_ROW)).toBeUndefined();
  });

  it('whoever only looks leaves it as it is', () => {
    const store = lived();
    bend(store, PROMISE_KEY);
    const rows = store.scanSync({ gte: ' ', lt: '~', limit: 10_000 });
    const seen = open(store, {}, () => undefined);
    expect([seen.isNewborn, seen.incarnation]).toEqual([false, incarnation]);
    expect(seen.problems).not.toEqual([]);
    expect(store.scanSync({ gte: ' ', lt: '~', limit: 10_000 })).toEqual(rows);
  });
});

/** The process ends at the n-th write of an opening; marks count with the batches. */
class Crash extends Error {}

function untilWrite(n: number): (store: MemoryStore, prepared: Prepared) => void {
  let writes = 0;
  const step = (write: () => void): void => {
    if (++writes === n) throw new Crash();
    write();
  };
  return (store, { ops, mark }) => {
    if (ops.length > 0) step(() => store.writeSync(ops, { sync: true }));
    step(() => store.markWriteSync(mark.place, mark.bytes));
  };
}

describe('a crash at any step of it', () => {
  it.each(damages)(
    '%s: the next opening finds something safe, and nobody ever speaks under two of its births',
    (_, damage) => {
      for (let at = 1; ; at++) {
        const store = lived();
        store.writeSync([row(OLD_ROW)], { sync: true });
        damage(store);
        const born = births();
        let isOver = false;
        try {
          open(store, born, untilWrite(at));
          isOver = true;
        } catch (error) {
          if (!(error instanceof Crash)) throw error;
        }
        const after = open(store.reopen(), born);
        // Never the old one, whatever came to the disk: and nothing of what it had said.
        expect(after.incarnation).not.toBe(incarnation);
        expect(after.problems).toEqual([]);
        expect(after.restored).toMatchObject({ promised: null, prefix: 3 });
        expect(after.restored.accepted.size).toBe(0);
        expect(after.outbox.map(([key]) => key)).toEqual([OLD_ROW]);
        // What it was reborn for is told, not how the crash left it.
        expect(after.reborn?.problems.map(({ code }) => code)).not.toEqual(['MARK_FOREIGN']);
        const later = open(store.reopen(), born);
        expect([later.isNewborn, later.incarnation]).toEqual([false, after.incarnation]);
        if (isOver) break;
        expect(at).toBeLessThan(20);
      }
    },
  );

  it('between the first batch of the new incarnation and its mark: it is born once more', () => {
    const damaged = (): MemoryStore => {
      const store = lived();
      bend(store, PROMISE_KEY);
      return store;
    };
    let writes = 0;
    open(damaged(), births(), (store, prepared) => {
      put(store, prepared);
      writes += prepared.ops.length > 0 ? 2 : 1;
    });
    const store = damaged();
    const born = births();
    expect(() => open(store, born, untilWrite(writes))).toThrow(Crash);
    const inDatabase = open(store, {}, () => undefined).incarnation;
    expect(inDatabase).not.toBe(incarnation);
    const after = open(store.reopen(), born);
    expect(after.isNewborn).toBe(true);
    expect(after.reborn?.formers).toEqual([incarnation, inDatabase]);
    expect(after.incarnation).not.toBe(inDatabase);
  });
});

describe('a store that may be one of two', () => {
  const copied = damagedVerdict([{ code: 'COPIED', message: 'Ana hears two of it by turns' }]);

  it('keeps all, and neither votes nor writes, until a person says that it goes on', () => {
    const store = lived();
    store.writeSync([copied], { sync: true });
    const stopped = open(store, births());
    expect(stopped).toMatchObject({ isNewborn: false, incarnation });
    expect(stopped.problems.map(({ code }) => code)).toContain('COPIED');
    expect([...stopped.restored.accepted.keys()]).toEqual([4]);
    expect(open(store.reopen(), births()).problems.map(({ code }) => code)).toContain('COPIED');
    const settled = open(store.reopen(), { ...births(), isSettled: true });
    expect(settled).toMatchObject({ isNewborn: true, problems: [] });
    expect(settled.restored).toMatchObject({ promised: null, prefix: 3 });
  });

  it('one that was only moved goes on as it was, once that is said', () => {
    const store = lived();
    const doubts = [{ code: 'OTHER_PLACE', message: 'it was made on another machine' }] as const;
    const asked = open(store, { ...births(), doubts });
    expect(asked.problems).toEqual(doubts);
    const moved = open(store.reopen(), { ...births(), doubts, isSettled: true });
    expect(moved).toMatchObject({ isNewborn: false, incarnation, problems: [] });
    expect([...moved.restored.accepted.keys()]).toEqual([4]);
  });

  it('one that was put back keeps its state: only what it had said is doubted', () => {
    const store = lived();
    store.writeSync([damagedVerdict([{ code: 'ROLLED_BACK', message: 'Ana saw a later turn' }])], { sync: true });
    const state = store.scanSync({ gte: 's/', lt: 's0', limit: 1_000 });
    const back = open(store, births());
    expect(back).toMatchObject({ isNewborn: true, problems: [] });
    expect(back.restored.accepted.size).toBe(0);
    expect(store.scanSync({ gte: 's/', lt: 's0', limit: 1_000 })).toEqual(state);
  });
});
