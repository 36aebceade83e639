import { describe, expect, test } from 'vitest';
import { Lab } from './lab.ts';
import { at, value } from './names.ts';

// R9: a read is linearizable when it is served at a slot that was proposed after it was asked for, and chosen.

describe('a barrier', () => {
  test('of the leader is served at a no-op of its own, proposed after it was asked', () => {
    const lab = new Lab({ voters: 'ABC' });
    lab.elect('A');
    lab.propose('A', 'x');
    lab.barrier('A', 7);
    expect(lab.host('A').barriers).toEqual([]);
    lab.settle();
    expect(lab.host('A').barriers).toEqual([{ id: 7, slot: 3 }]);
    expect(lab.committed('A')).toEqual(['noop', 'x', 'noop']);
  });

  test('rides on a value that is proposed after it in the same turn', () => {
    const lab = new Lab({ voters: 'ABC' });
    lab.elect('A');
    lab.input('A', { type: 'barrier', id: 7 }, { type: 'propose', value: value('x'), afterBatch: false });
    lab.settle();
    expect(lab.host('A').barriers).toEqual([{ id: 7, slot: 2 }]);
    expect(lab.committed('A')).toEqual(['noop', 'x']);
  });

  test('costs one slot, however many wait', () => {
    const lab = new Lab({ voters: 'ABC' });
    lab.elect('A');
    lab.input('A', ...[1, 2, 3].map((id) => ({ type: 'barrier' as const, id })));
    lab.settle();
    expect(lab.host('A').barriers.map((b) => b.slot)).toEqual([2, 2, 2]);
  });

  test('once served is over: nothing is proposed for it again', () => {
    const lab = new Lab({ voters: 'ABC' });
    lab.elect('A');
    lab.barrier('A', 7);
    lab.settle();
    lab.tick(100);
    expect(lab.host('A').barriers).toHaveLength(1);
    expect(lab.core('A').prefix).toBe(2);
  });

  test('of a follower goes by way of the leader', () => {
    const lab = new Lab({ voters: 'ABC', learners: 'D' });
    lab.elect('A');
    lab.tick(10);
    for (const name of ['B', 'D']) lab.barrier(name, 7);
    lab.settle();
    expect(lab.host('B').barriers).toHaveLength(1);
    expect(lab.host('D').barriers).toHaveLength(1);
    lab.tick(100);
    expect(lab.host('B').barriers).toHaveLength(1);
  });

  test('is asked again until somebody answers', () => {
    const lab = new Lab({ voters: 'ABC' });
    lab.elect('A');
    lab.tick(10);
    lab.cut('A-BC');
    lab.barrier('B', 7);
    lab.tickUntil(() => lab.host('B').barriers.length > 0, 300);
    expect(lab.host('B').barriers[0]?.slot).toBeGreaterThan(1);
  });

  test('whose question or answer was lost is asked again', () => {
    for (const type of ['barrier', 'barrier-reached']) {
      const lab = new Lab({ voters: 'ABC' });
      lab.elect('A');
      lab.tick(10);
      lab.loses = (e) => e.message.type === type;
      lab.barrier('B', 7);
      lab.settle();
      expect(lab.host('B').barriers).toEqual([]);
      lab.loses = () => false;
      lab.tick(12);
      expect(lab.host('B').barriers).toHaveLength(1);
    }
  });

  test('asked of a leader without its first commit waits for one', () => {
    const lab = new Lab({ voters: 'ABC' });
    lab.tick(10);
    lab.campaign('A');
    lab.deliver('A>* prepare');
    lab.deliver('*>A promise');
    expect(lab.view('A').leads).toBe(true);
    lab.barrier('A', 7);
    expect(lab.host('A').barriers).toEqual([]);
    lab.settle();
    expect(lab.host('A').barriers).toHaveLength(1);
  });

  test('is never served by a deposed leader', () => {
    const lab = new Lab({ voters: 'ABC' });
    lab.elect('A');
    lab.propose('A', 'x');
    lab.settle();
    lab.cut('A-BC');
    lab.campaign('B');
    lab.settle();
    lab.propose('B', 'y');
    lab.settle();
    expect(lab.committed('B')).toContain('y');
    // A still believes that it leads.
    expect(lab.view('A').leads).toBe(true);
    lab.barrier('A', 7);
    lab.settle();
    lab.tick(20);
    expect(lab.host('A').barriers).toEqual([]);
    lab.heal();
    lab.tickUntil(() => lab.host('A').barriers.length > 0, 300);
    const yIn = lab.committed('A').indexOf('y') + 1;
    expect(lab.host('A').barriers[0]?.slot).toBeGreaterThan(yIn);
  });

  test('never takes a slot that phase 1 bound: an earlier leader may have committed beyond it', () => {
    // {BCD}, chosen in 2, takes over from {ABC} in slot 4. C commits 4=x and 5=y with D alone, answers its readers, and dies.
    const lab = new Lab({ voters: 'ABC', learners: 'D', alpha: 2 });
    lab.elect('C');
    lab.tick(20);
    lab.reconfigure('C', 'BCD');
    lab.deliver('C>AB accept');
    lab.deliver('AB>C accepted');
    lab.deliver('C>AB commit');
    lab.cut('C-B');
    lab.deliver('C>A accept');
    lab.deliver('A>C accepted');
    lab.cut('C-A');
    lab.settle();
    lab.tick(2, ['C', 'D']);
    lab.input('C', ...['x', 'y'].map((text) => ({ type: 'propose' as const, value: value(text), afterBatch: false })));
    lab.deliver('C>D accept');
    lab.deliver('D>C accepted');
    lab.drop();
    expect(lab.committed('C').slice(3)).toEqual(['x', 'y']);
    lab.crash('C');
    lab.heal();
    expect([lab.core('A').prefix, lab.core('B').prefix, lab.core('D').prefix]).toEqual([2, 2, 3]);

    // B is elected by {ABC} for slot 3 first. A read is asked for; only then does D promise for {BCD}, and slot 4 is bound to x.
    lab.campaign('B', 'C');
    lab.deliver('B>A prepare');
    lab.deliver('A>B promise');
    expect(lab.view('B').leads).toBe(true);
    lab.barrier('B', 7);
    lab.settle();
    lab.tick(12, ['A', 'B', 'D']);
    expect(lab.committed('B').slice(3, 5)).toEqual(['x', 'y']);
    expect(lab.host('B').barriers).toEqual([{ id: 7, slot: 6 }]);
  });

  test('reached under a foreign number is no answer', () => {
    const lab = new Lab({ voters: 'ABC' });
    lab.elect('A');
    lab.barrier('B', 7);
    lab.post('C', 'B', { type: 'barrier-reached', id: 8, slot: at(1) });
    lab.settle();
    expect(lab.host('B').barriers.every((b) => b.id === 7)).toBe(true);
  });
});
