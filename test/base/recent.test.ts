import { describe, expect, test } from 'vitest';
import { Recent } from '../../shared/base/recent.ts';

describe('what was looked up of late', () => {
  test('the last half is always there, and never more than all', () => {
    const recent = new Recent<number, string>(10);
    for (let n = 0; n < 1_000; n++) {
      recent.set(n, `${n}`);
      for (let last = Math.max(0, n - 4); last <= n; last++) expect(recent.get(last)).toBe(`${last}`);
      expect(recent.size).toBeLessThanOrEqual(10);
    }
    expect(recent.get(0)).toBeUndefined();
  });

  test('heavy ones push out more', () => {
    const recent = new Recent<string, number>(100);
    for (let n = 0; n < 50; n++) recent.set(`light ${n}`, n);
    recent.set('heavy', 1, 40);
    expect(recent.get('light 49')).toBe(49);
    recent.set('heavier', 2, 40);
    expect([recent.get('light 49'), recent.get('heavy'), recent.get('heavier')]).toEqual([undefined, 1, 2]);
  });

  test('one that is heavier than all is there until the next', () => {
    const recent = new Recent<string, number>(10);
    recent.set('huge', 1, 1_000);
    expect(recent.get('huge')).toBe(1);
    recent.set('small', 2);
    recent.set('next', 3);
    expect([recent.get('small'), recent.get('next')]).toEqual([2, 3]);
  });

  test('what is deleted is gone, from both halves', () => {
    const recent = new Recent<number, string>(4);
    for (let n = 0; n < 4; n++) recent.set(n, `${n}`);
    recent.delete(1);
    recent.delete(3);
    expect([0, 1, 2, 3].map((n) => recent.get(n))).toEqual(['0', undefined, '2', undefined]);
  });

  test('a key is what it is, not what it holds', () => {
    const recent = new Recent<Uint8Array, number>(10);
    const bytes = new Uint8Array(3);
    recent.set(bytes, 1);
    expect([recent.get(bytes), recent.get(new Uint8Array(3))]).toEqual([1, undefined]);
  });
});
