import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PAGE_SIZE, PageCache, pageOf } from '../../src-renderer/state/pages.ts';

interface Line {
  readonly position: number;
  readonly text: string;
}

const cacheOf = (pages = 4): PageCache<Line> => new PageCache(pages, (a, b) => a.text === b.text);

function linesOf(page: number, positions: number, text = 'a'): Line[] {
  const first = page * PAGE_SIZE + 1;
  const count = Math.max(0, Math.min(PAGE_SIZE, positions - first + 1));
  return Array.from({ length: count }, (_, at) => ({ position: first + at, text }));
}

function read(cache: PageCache<Line>, page: number, text = 'a'): void {
  cache.begin(page);
  cache.put(page, linesOf(page, cache.positions, text));
}

test('asks for what is shown and missing, once', () => {
  const cache = cacheOf();
  cache.changed(250, []);
  expect(cache.wanted(90, 210)).toEqual([0, 1, 2]);
  cache.begin(1);
  expect(cache.wanted(90, 210)).toEqual([0, 2]);
  for (const page of [0, 1, 2]) read(cache, page);
  expect(cache.wanted(1, 1_000)).toEqual([]);
  expect(cache.line(100)?.position).toBe(100);
  expect(cache.line(101)?.position).toBe(101);
});

test('an empty log asks for nothing', () => {
  expect(cacheOf().wanted(1, 100)).toEqual([]);
});

test('the last page is read again when the log grows', () => {
  const cache = cacheOf();
  cache.changed(150, []);
  read(cache, 1);
  cache.changed(151, []);
  expect(cache.wanted(140, 151)).toEqual([1]);
});

test('a changed page stays to be shown until it is read again', () => {
  const cache = cacheOf();
  cache.changed(150, []);
  read(cache, 0);
  read(cache, 1);
  cache.changed(150, [7]);
  expect(cache.line(7)?.text).toBe('a');
  expect(cache.wanted(1, 150)).toEqual([0]);
  cache.changed(150, null);
  expect(cache.wanted(1, 150)).toEqual([0, 1]);
});

test('what changes while it is read is read once more', () => {
  const cache = cacheOf();
  cache.changed(50, []);
  cache.begin(0);
  cache.changed(50, [3]);
  cache.put(0, linesOf(0, 50));
  expect(cache.wanted(1, 50)).toEqual([0]);
});

test('a page that could not be read is wanted again', () => {
  const cache = cacheOf();
  cache.changed(50, []);
  cache.begin(0);
  cache.failed(0);
  expect(cache.wanted(1, 50)).toEqual([0]);
});

test('what did not change stays the same object', () => {
  const cache = cacheOf();
  cache.changed(50, []);
  read(cache, 0);
  const before = cache.line(5);
  read(cache, 0);
  expect(cache.line(5)).toBe(before);
  read(cache, 0, 'b');
  expect(cache.line(5)).not.toBe(before);
});

test('forgets what was shown longest ago', () => {
  const cache = cacheOf(2);
  cache.changed(1_000, []);
  for (const page of [0, 1, 2]) {
    cache.wanted(page * PAGE_SIZE + 1, page * PAGE_SIZE + 10);
    read(cache, page);
  }
  expect(cache.size).toBe(2);
  expect(cache.line(1)).toBeUndefined();
  expect(cache.line(101)).toBeDefined();
});

test('however one scrolls and whatever changes, what is shown ends up right, in bounded room', () => {
  const step = fc.record({
    at: fc.integer({ min: 1, max: 5_000 }),
    grow: fc.integer({ min: 0, max: 300 }),
    edit: fc.option(fc.array(fc.integer({ min: 1, max: 5_000 }), { maxLength: 5 })),
  });
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 40 }), (steps) => {
      const cache = cacheOf(4);
      let positions = 0;
      steps.forEach(({ at, grow, edit }, round) => {
        positions = Math.min(5_000, positions + grow);
        cache.changed(positions, edit);
        const from = Math.min(at, Math.max(1, positions));
        for (const page of cache.wanted(from, from + 60)) read(cache, page, edit === null ? `${round}` : 'a');
        for (let position = from; position <= Math.min(positions, from + 60); position++) {
          expect(cache.line(position)?.position).toBe(position);
        }
        expect(cache.wanted(from, from + 60)).toEqual([]);
        expect(cache.size).toBeLessThanOrEqual(4);
      });
    }),
  );
});

test('a page with holes is asked for once, and again when more of it may have come', () => {
  const cache = cacheOf();
  cache.changed(250, null);
  expect(cache.wanted(101, 210)).toEqual([1, 2]);
  cache.begin(1);
  cache.put(
    1,
    [180, 195].map((position) => ({ position, text: 'a' })),
  );
  cache.begin(2);
  cache.put(2, []);
  expect([179, 180, 195, 201].map((position) => cache.line(position)?.position)).toEqual([
    undefined,
    180,
    195,
    undefined,
  ]);
  expect([...cache.lines()].map(({ position }) => position)).toEqual([180, 195]);
  expect(cache.wanted(101, 210)).toEqual([]);
  expect(cache.isRead(101, 210)).toBe(true);
  cache.changed(250, null);
  expect(cache.wanted(101, 210)).toEqual([1, 2]);
  for (const page of [1, 2]) read(cache, page);
  expect(cache.line(179)?.position).toBe(179);
});

test('positions fall into pages of a hundred', () => {
  expect([1, 100, 101, 200, 201].map(pageOf)).toEqual([0, 0, 1, 1, 2]);
});
