import { describe, expect, it } from 'vitest';
import { incarnationFromBytes, peerFromKey } from '../../shared/base/ids.ts';
import type { KvRow } from '../../shared/driver/store.ts';
import { Gate, judgeSeen, Lineage, Sightings } from '../../shared/replica/identity.ts';

const ana = peerFromKey(new Uint8Array(32).fill(1));
const first = incarnationFromBytes(new Uint8Array(16).fill(1));
const second = incarnationFromBytes(new Uint8Array(16).fill(2));
const nonce = (n: number): Uint8Array => new Uint8Array(8).fill(n);

const rowsOf = (sightings: Sightings): KvRow[] =>
  sightings.takeOps(true).flatMap((op): KvRow[] => (op.type === 'put' ? [[op.key, op.value]] : []));

describe('what was seen of a member', () => {
  it('is the highest turn of each run of its stores, and outlives a restart', () => {
    const sightings = new Sightings();
    sightings.frame(ana, first, nonce(1), 7);
    sightings.frame(ana, first, nonce(2), 5);
    sightings.frame(ana, first, nonce(1), 6);
    sightings.frame(ana, second, nonce(3), 2);
    const seen = [
      { incarnation: first, nonce: nonce(1), turn: 7, twice: false },
      { incarnation: first, nonce: nonce(2), turn: 5, twice: false },
      { incarnation: second, nonce: nonce(3), turn: 2, twice: false },
    ];
    expect(sightings.of(ana)).toMatchObject(seen);
    const later = new Sightings(rowsOf(sightings));
    expect(later.of(ana)).toMatchObject(seen);
    expect(later.incarnationOf(ana)).toBe(second);
    expect(later.takeOps(true)).toEqual([]);
  });

  it('is written at most every second, and before a stop', () => {
    const sightings = new Sightings();
    sightings.frame(ana, first, nonce(1), 7);
    expect(sightings.takeOps(false)).toEqual([]);
    for (let n = 0; n < 20; n++) sightings.tick();
    expect(sightings.takeOps(false)).toHaveLength(1);
    sightings.frame(ana, first, nonce(1), 8);
    expect(sightings.takeOps(false)).toEqual([]);
    expect(sightings.takeOps(true)).toHaveLength(1);
  });

  it('two runs that greet by turns live both; runs one after another don’t', () => {
    const sightings = new Sightings();
    const greetings = [1, 1, 2, 2, 3].map((n) => sightings.greeting(ana, first, nonce(n)));
    expect(greetings).toEqual([false, false, false, false, false]);
    // The same numbers under another store are other runs.
    expect(sightings.greeting(ana, second, nonce(1))).toBe(false);
    expect(sightings.greeting(ana, first, nonce(2))).toBe(true);
    sightings.frame(ana, first, nonce(1), 1);
    expect(sightings.of(ana).find(({ incarnation }) => incarnation === first)?.twice).toBe(true);
    expect(sightings.greeting(ana, first, nonce(3))).toBe(false);
  });
});

describe('of two copies the one that comes back', () => {
  it('is told of the other one, however far it went on its own, and although it speaks first', () => {
    const seen = new Sightings();
    const noted = new Lineage(undefined, nonce(1), 0).takeOps()[0];
    const atTheCopy = noted?.type === 'put' ? noted.value : undefined;
    // The copy went on from turn 10 and speaks up to 14; the original, away from everybody, came to 30.
    seen.frame(ana, first, nonce(2), 14);
    const original = { incarnation: first, turn: 30, lineage: new Lineage(atTheCopy, nonce(3), 28), formers: [] };
    seen.frame(ana, first, nonce(3), 30);
    expect(judgeSeen(original, seen.of(ana), 'Ben')?.code).toBe('ROLLED_BACK');
  });
});

describe('a store that is told what was seen of it', () => {
  const before = new Lineage(undefined, nonce(1), 2).takeOps()[0];
  const noted = before?.type === 'put' ? before.value : undefined;
  const own = { incarnation: second, turn: 10, lineage: new Lineage(noted, nonce(2), 6), formers: [] };
  it.each([
    ['nothing', [], null],
    ['its last turn', [{ incarnation: second, nonce: nonce(2), turn: 10, twice: false }], null],
    ['the last turn of the run before', [{ incarnation: second, nonce: nonce(1), turn: 6, twice: false }], null],
    [
      'the run before, after this one began',
      [{ incarnation: second, nonce: nonce(1), turn: 7, twice: false }],
      'ROLLED_BACK',
    ],
    ['a run that is not known', [{ incarnation: second, nonce: nonce(9), turn: 8, twice: false }], 'ROLLED_BACK'],
    [
      'a run that is not known, at the very turn with which one of its own begins',
      [{ incarnation: second, nonce: nonce(9), turn: 6, twice: false }],
      'ROLLED_BACK',
    ],
    ['one from before the list begins', [{ incarnation: second, nonce: nonce(9), turn: 1, twice: false }], null],
    ['a later turn of another incarnation', [{ incarnation: first, nonce: nonce(1), turn: 99, twice: true }], null],
    ['a later turn', [{ incarnation: second, nonce: nonce(2), turn: 11, twice: false }], 'ROLLED_BACK'],
    [
      'its own last turn, and a run beside it that it does not know',
      [
        { incarnation: second, nonce: nonce(9), turn: 8, twice: false },
        { incarnation: second, nonce: nonce(2), turn: 10, twice: false },
      ],
      'ROLLED_BACK',
    ],
    [
      'a run that is not known, and another store that went on',
      [
        { incarnation: second, nonce: nonce(9), turn: 8, twice: false },
        { incarnation: first, nonce: nonce(4), turn: 3, twice: false },
      ],
      'REPLACED',
    ],
    ['two of it', [{ incarnation: second, nonce: nonce(1), turn: 10, twice: true }], 'COPIED'],
    ['two of it, one of them later', [{ incarnation: second, nonce: nonce(1), turn: 11, twice: true }], 'COPIED'],
  ])('%s', (_, told, code) => {
    expect(judgeSeen(own, told, 'Ben')?.code ?? null).toBe(code);
  });
});

describe('the runs of a store', () => {
  it('are known by where they began, also where the store is opened anew in the middle of one', () => {
    const noted = (lineage: Lineage): Uint8Array => {
      const [op] = lineage.takeOps();
      if (op?.type !== 'put') throw new Error('nothing to note');
      return op.value;
    };
    // A run begins at 58, and its first batch makes the store open anew, at 59.
    const before = noted(new Lineage(undefined, nonce(1), 50));
    const next = noted(new Lineage(before, nonce(3), 58));
    const anew = new Lineage(next, nonce(3), 59);
    expect(anew.takeOps()).toEqual([]);
    expect([58, 59].map((turn) => anew.tells(turn))).toEqual([0, 59]);
    expect(anew.includes({ nonce: nonce(1), turn: 58 }, 61)).toBe(true);
    expect(anew.includes({ nonce: nonce(1), turn: 59 }, 61)).toBe(false);
    expect(anew.includes({ nonce: nonce(3), turn: 61 }, 61)).toBe(true);
    expect(anew.includes({ nonce: nonce(2), turn: 60 }, 61)).toBe(false);
  });
});

describe('the gate', () => {
  it('holds votes until this run has greeted on this connection, and lets them through in their order', () => {
    const gate = new Gate();
    const came: string[] = [];
    gate.hold(ana, () => void came.push('a'));
    gate.hold(ana, () => void came.push('b'));
    expect([gate.isOpen(ana, nonce(1)), came]).toEqual([false, []]);
    gate.open(ana, nonce(1));
    expect([gate.isOpen(ana, nonce(1)), gate.isOpen(ana, nonce(2)), came]).toEqual([true, false, ['a', 'b']]);
    gate.close(ana);
    expect(gate.isOpen(ana, nonce(1))).toBe(false);
    gate.open(ana, nonce(1));
    expect(came).toEqual(['a', 'b']);
  });

  it('keeps a bounded number of them, and asks now and then', () => {
    const gate = new Gate();
    const came: number[] = [];
    for (let n = 0; n < 1_000; n++) gate.hold(ana, () => void came.push(n));
    gate.open(ana, nonce(1));
    expect([came.length, came.at(-1)]).toEqual([64, 999]);
    expect([0, 1, 9, 10].map((tick) => gate.mayAsk(ana, tick))).toEqual([true, false, false, true]);
  });
});
