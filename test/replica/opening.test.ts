import { describe, expect, it } from 'vitest';
import { encodeCbor } from '../../shared/base/cbor.ts';
import { encodeBallot } from '../../shared/consensus/ballot.ts';
import { NOOP } from '../../shared/consensus/value.ts';
import { configurationKey, digestKey, logKey, PREFIX_KEY, PROMISE_KEY } from '../../shared/driver/layout.ts';
import { sealed } from '../../shared/driver/overlay.ts';
import { ballot, bend, lived, open } from './fixture.ts';

describe('opening a store', () => {
  it('gives back what was said and chosen', () => {
    const { problems, restored } = open(lived());
    expect(problems).toEqual([]);
    expect(restored.prefix).toBe(3);
    expect(restored.promised).toEqual(ballot);
    expect([...restored.accepted.keys()]).toEqual([4]);
    expect(restored.inForce.map((c) => [c.slot, c.from])).toEqual([[2, 4]]);
  });

  it.each([
    ['the prefix', PREFIX_KEY],
    ['the promise', PROMISE_KEY],
    ['a configuration', configurationKey(2)],
  ])('a damaged record of %s: it never votes again, whatever the next start finds', (_what, key) => {
    const store = lived();
    bend(store, key);
    const first = open(store);
    expect(first.problems).not.toEqual([]);
    expect(first.restored).toMatchObject({ prefix: 3, promised: null });
    expect(first.restored.accepted.size).toBe(0);
    const second = open(store.reopen());
    expect(second.problems.map((problem) => problem.code)).toContain('DAMAGED_BEFORE');
    expect(second.restored.promised).toBe(null);
  });

  it.each([
    ['the promise behind an acceptance', [PROMISE_KEY]],
    ['the prefix', [PREFIX_KEY]],
    ['the digest of the last chosen slot', [digestKey(3)]],
    ['the promise, and nothing was accepted above the prefix', [PROMISE_KEY, logKey(4)]],
  ])('a record that is gone by itself, %s: it never votes again', (_what, keys) => {
    const store = lived(keys.length > 1 ? [] : [[4, encodeBallot(ballot), NOOP.hash]]);
    store.writeSync(
      keys.map((key) => ({ type: 'del', key })),
      { sync: true },
    );
    expect(open(store).problems).not.toEqual([]);
    expect(open(store.reopen()).problems.map((problem) => problem.code)).toContain('DAMAGED_BEFORE');
  });

  it('finds the configurations again from the chosen values', () => {
    const store = lived();
    bend(store, configurationKey(2));
    expect(open(store).restored.inForce.map((c) => [c.slot, c.from])).toEqual([[2, 4]]);
  });

  it('believes the log only as far as it is whole', () => {
    const store = lived();
    bend(store, 'l/0000000000003');
    bend(store, PREFIX_KEY);
    expect(open(store).restored.prefix).toBe(2);
  });

  it('can’t go on without knowing its group', () => {
    const store = lived();
    bend(store, 'm/group');
    expect(() => open(store)).toThrow(/can't be read/);
    store.writeSync([sealed({ type: 'put', key: 'm/group', value: encodeCbor([]) })], { sync: true });
    expect(() => open(store)).toThrow(/can't be read/);
  });
});
