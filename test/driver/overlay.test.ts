import { beforeEach, describe, expect, test } from 'vitest';
import { fromUtf8, utf8 } from '../../shared/base/bytes.ts';
import type { KvOp } from '../../shared/base/kv.ts';
import { Random } from '../../shared/base/random.ts';
import { Overlay, sealed } from '../../shared/driver/overlay.ts';

const put = (key: string, value: string): KvOp => ({ type: 'put', key, value: utf8(value) });
const del = (key: string): KvOp => ({ type: 'del', key });

let disk: Map<string, Uint8Array>;
let overlay: Overlay;

beforeEach(() => {
  disk = new Map();
  overlay = new Overlay({ get: (key) => disk.get(key) });
});

const get = (key: string): string | undefined => {
  const value = overlay.get(key);
  return value && fromUtf8(value);
};
const keys = (ops: readonly KvOp[]): string[] => ops.map(({ key }) => key).toSorted();

function write(ops: readonly KvOp[]): void {
  for (const op of ops.map(sealed)) {
    if (op.type === 'put') disk.set(op.key, op.value);
    else disk.delete(op.key);
  }
  overlay.landed();
}

describe('writes that are decided but not on the disk yet', () => {
  test('are read as if they were, all the way', () => {
    overlay.add([put('a', '1')]);
    overlay.defer([put('b', '2')]);
    expect([get('a'), get('b')]).toEqual(['1', '2']);
    const ops = overlay.take(true);
    expect([get('a'), get('b')]).toEqual(['1', '2']);
    overlay.add([del('a')]);
    overlay.defer([put('b', '3')]);
    write(ops);
    expect([get('a'), get('b')]).toEqual([undefined, '3']);
    write(overlay.take(true));
    expect([get('a'), get('b'), overlay.isEmpty]).toEqual([undefined, '3', true]);
  });

  test('what may wait does, until everything goes', () => {
    overlay.add([put('a', '1')]);
    overlay.defer([put('b', '1'), put('c', '1')]);
    const first = overlay.take(false);
    expect(keys(first)).toEqual(['a']);
    write(first);
    expect([overlay.isWaiting, overlay.isEmpty]).toEqual([false, false]);
    overlay.defer([put('b', '2')]);
    const second = overlay.take(true);
    expect(keys(second)).toEqual(['b', 'c']);
    write(second);
    expect([get('b'), overlay.isEmpty, overlay.waitingBytes]).toEqual(['2', true, 0]);
  });

  test('those that wait go all at once, as soon as one of them has to', () => {
    overlay.defer([put('b', '1'), put('c', '1')]);
    overlay.add([put('b', '2')]);
    const ops = overlay.take(false);
    expect(keys(ops)).toEqual(['b', 'c']);
    write(ops);
    expect(get('b')).toBe('2');

    overlay.add([put('d', '1')]);
    overlay.defer([put('e', '1'), put('d', '2'), put('f', '1')]);
    const then = overlay.take(false);
    expect(keys(then)).toEqual(['d', 'e', 'f']);
    write(then);
    expect([get('d'), overlay.isEmpty]).toEqual(['2', true]);
  });

  test('one batch at a time', () => {
    overlay.add([put('a', '1')]);
    overlay.take(false);
    overlay.add([put('a', '2')]);
    expect(() => overlay.take(false)).toThrow('one batch at a time');
  });

  test('whatever the order: reads are those of a plain map, and what was written last stands on the disk in the end', () => {
    for (let seed = 1; seed <= 200; seed++) {
      const random = new Random(seed);
      disk = new Map();
      overlay = new Overlay({ get: (key) => disk.get(key) });
      const model = new Map<string, string>();
      let taken: readonly KvOp[] | null = null;
      for (let step = 0; step < 60; step++) {
        const dice = random.below(10);
        const key = `k${random.below(5)}`;
        if (dice < 7) {
          const op = random.below(4) === 0 ? del(key) : put(key, `${step}`);
          if (random.below(2) === 0) overlay.add([op]);
          else overlay.defer([op]);
          if (op.type === 'put') model.set(key, `${step}`);
          else model.delete(key);
        } else if (taken === null) taken = overlay.take(random.below(2) === 0);
        else {
          write(taken);
          taken = null;
        }
        for (let k = 0; k < 5; k++) expect(get(`k${k}`), `seed ${seed}, step ${step}`).toBe(model.get(`k${k}`));
      }
      if (taken !== null) write(taken);
      write(overlay.take(true));
      expect([overlay.isEmpty, overlay.waitingBytes]).toEqual([true, 0]);
      overlay = new Overlay({ get: (key) => disk.get(key) });
      for (let k = 0; k < 5; k++) expect(get(`k${k}`), `seed ${seed}`).toBe(model.get(`k${k}`));
    }
  });
});
