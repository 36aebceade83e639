import { describe, expect, it } from 'vitest';
import { peerFromKey, type Slot, slot } from '../../shared/base/ids.ts';
import type { KvOp } from '../../shared/base/kv.ts';
import { genesisOps, memberPlace } from '../../shared/document/index.ts';
import { damagedVerdict } from '../../shared/driver/journal-format.ts';
import { logKey, PROMISE_KEY } from '../../shared/driver/layout.ts';
import type { MemoryStore } from '../../shared/driver/memory-store.ts';
import { Missing } from '../../shared/driver/missing.ts';
import { sealed } from '../../shared/driver/overlay.ts';
import {
  decodeMendNote,
  MENDED_KEY,
  Mending,
  type MendNote,
  mendedAgain,
  mendNoteOp,
} from '../../shared/replica/mending.ts';
import { births, genesis, lived, open, peer } from './fixture.ts';

const other = peerFromKey(new Uint8Array(32).fill(9));
const missing = (...ranges: readonly (readonly [number, number])[]): Missing =>
  ranges.reduce((all, [from, to]) => all.with({ from: slot(from), to: slot(to) }), Missing.NONE);

const note = (more: Partial<MendNote> = {}): MendNote => ({
  upTo: slot(20),
  isStateLost: true,
  slots: missing([3, 5], [9, 9]),
  title: 'Pumps',
  names: new Map([[peer, 'Ana']]),
  ...more,
});

const del = (store: MemoryStore, key: string): void => store.writeSync([{ type: 'del', key }], { sync: true });
const found = (store: MemoryStore): void =>
  store.writeSync([damagedVerdict([{ code: 'DATABASE_BROKEN', message: 'a table is not whole' }])], { sync: true });

/** The state names its member, and no longer adds up. */
function nameMember(store: MemoryStore, name: string): void {
  const place = memberPlace(peer);
  const [row] = genesisOps(genesis).filter(({ key }) => key === place.key);
  if (row?.type !== 'put') throw new Error('the founder is a member');
  const value = place.codec.encode({ ...place.codec.decode(row.value), name });
  store.writeSync([sealed({ type: 'put', key: place.key, value })], { sync: true });
}

describe('the note of what damage took', () => {
  it('comes back as it was written', () => {
    for (const each of [note(), note({ isStateLost: false, slots: Missing.NONE, title: null, names: new Map() })]) {
      const op = mendNoteOp(each);
      expect(op.type === 'put' && decodeMendNote(op.value)).toEqual(each);
    }
  });

  it('of damage upon damage counts both, and knows each name that is known', () => {
    const now = note({ upTo: slot(12), isStateLost: false, slots: missing([5, 6]), title: null, names: new Map() });
    expect(mendedAgain(null, now)).toBe(now);
    expect(mendedAgain(note(), now)).toEqual(note({ slots: missing([3, 6], [9, 9]) }));
    const renamed = note({ title: 'Valves', names: new Map([[other, 'Ben']]) });
    const both = [
      [peer, 'Ana'],
      [other, 'Ben'],
    ] as const;
    expect(mendedAgain(note(), renamed)).toEqual(note({ title: 'Valves', names: new Map(both) }));
  });

  it('stands in the batch that mends, and is there at the next start', () => {
    const store = lived();
    del(store, logKey(slot(1)));
    nameMember(store, 'Ana');
    found(store);
    const wanted = { upTo: 3, isStateLost: true, slots: missing([1, 1]), title: null, names: new Map([[peer, 'Ana']]) };
    expect(open(store, births()).mending).toEqual(wanted);
    const again = open(store.reopen(), births());
    expect([again.mended, again.mending]).toEqual([null, wanted]);
  });

  it('is none where nothing was lost, and none of a store that goes on under another incarnation', () => {
    const whole = lived();
    found(whole);
    expect(open(whole, births())).toMatchObject({ mended: { slots: 0 }, mending: null });
    const store = lived();
    del(store, logKey(slot(1)));
    found(store);
    expect(open(store, births()).mending).not.toBeNull();
    del(store, PROMISE_KEY);
    const now = store.reopen();
    const reborn = open(now, births());
    expect([reborn.isNewborn, reborn.mending]).toEqual([true, null]);
    expect(now.get(MENDED_KEY)).toBeUndefined();
    expect(open(now.reopen(), births()).mending).toBeNull();
  });
});

describe('a mended store', () => {
  const make = (of: MendNote | null) => {
    const now = { applied: slot(0) as Slot, missing: missing([3, 5], [9, 9]), isWitness: false };
    const written: KvOp[] = [];
    const mending = new Mending(of, {
      applied: () => now.applied,
      missing: () => now.missing,
      isReplayable: () => now.missing.isEmpty,
      isWitness: () => now.isWitness,
      sources: () => [other],
      write: (ops) => void written.push(...ops),
    });
    return { now, written, mending };
  };

  it('lacks all that its state is made from, then what is behind it, then nothing; and then the note goes, once', () => {
    const { now, written, mending } = make(note());
    now.missing = missing([1, 5], [9, 9], [30, 40]);
    mending.tick();
    const base = { upTo: 20, lost: 4, sources: [other], title: 'Pumps', names: new Map([[peer, 'Ana']]) };
    expect(mending.standing).toEqual({ ...base, isStateToCome: true, isReplayable: false, toCome: 6 });
    now.applied = slot(20);
    mending.tick();
    expect(mending.standing).toEqual({ ...base, isStateToCome: false, isReplayable: false, toCome: 4 });
    now.missing = missing([1, 2], [4, 4], [30, 40]);
    expect(mending.standing?.toCome).toBe(1);
    now.missing = missing([1, 2], [30, 40]);
    expect([mending.standing, written]).toEqual([null, []]);
    mending.tick();
    mending.tick();
    expect(written).toEqual([{ type: 'del', key: MENDED_KEY }]);
    // What is dropped later was not lost.
    now.missing = missing([1, 40]);
    expect(mending.standing).toBeNull();
  });

  it('lacks its state also where every value is here', () => {
    const { now, mending } = make(note({ slots: Missing.NONE }));
    now.missing = Missing.NONE;
    expect(mending.standing).toMatchObject({ isStateToCome: true, isReplayable: true, lost: 0, toCome: 0 });
  });

  it('lacks nothing as a witness, which keeps no state; and what it lacks is not forgotten', () => {
    const { now, written, mending } = make(note());
    now.isWitness = true;
    mending.tick();
    expect([mending.standing, written]).toEqual([null, []]);
    now.isWitness = false;
    expect(mending.standing).not.toBeNull();
  });

  it('that was never damaged says nothing', () => {
    const { written, mending } = make(null);
    mending.tick();
    expect([mending.standing, written]).toEqual([null, []]);
  });
});
