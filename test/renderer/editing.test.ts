import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { takeWindowId } from '../../src-renderer/state/window-id.ts';
import { goneWords } from '../../src-renderer/words/entry.ts';

let page: EventTarget;
const stored = new Map<string, string>();

beforeEach(() => {
  page = new EventTarget();
  stored.clear();
  vi.stubGlobal('sessionStorage', {
    getItem: (key: string) => stored.get(key) ?? null,
    setItem: (key: string, value: string) => stored.set(key, value),
    removeItem: (key: string) => stored.delete(key),
  });
  vi.stubGlobal('addEventListener', page.addEventListener.bind(page));
});
afterEach(() => vi.unstubAllGlobals());

test('a page leaves its name to itself alone: a tab that is made from it gets another', () => {
  const id = takeWindowId();
  expect(stored.size).toBe(0);
  expect(takeWindowId()).not.toBe(id);
  page = new EventTarget();
  vi.stubGlobal('addEventListener', page.addEventListener.bind(page));
  const shown = takeWindowId();
  page.dispatchEvent(new Event('pagehide'));
  expect([...stored.values()]).toEqual([shown]);
  expect(takeWindowId()).toBe(shown);
  page.dispatchEvent(new Event('pagehide'));
  // Shown again as it was, by the browser's way back.
  page.dispatchEvent(new Event('pageshow'));
  expect(stored.size).toBe(0);
});

test('an entry that was removed while it was edited is told with who did it, as far as that is known', () => {
  const by = { writer: '', name: 'Ana', author: 'p', time: new Date().toISOString() };
  expect(goneWords(57, by)).toMatch(/^#57 was removed by Ana, .+, while you were editing it\.$/);
  expect(goneWords(57, null)).toBe('#57 was removed while you were editing it.');
  expect(goneWords(57, null, true)).toBe('#57 is not in this log any more.');
});
