import { describe, expect, test } from 'vitest';
import type { Changed, CommittedLine, PendingLine } from '../../shared/ipc/contract.ts';
import { Tail } from '../../src-renderer/state/tail.ts';

const pendingLine = (id: string, more: Partial<PendingLine> = {}): PendingLine => ({
  id,
  author: 'p',
  name: 'Ana',
  writer: 'Ana',
  time: '2026-11-19T14:01:00Z',
  text: id,
  revision: 1,
  removed: false,
  status: 'pending',
  position: null,
  slot: null,
  placed: null,
  why: '',
  whyCode: 'ON_ITS_WAY',
  change: 'create',
  of: null,
  ...more,
});

/** An agreed log in which only this much is known of each entry. */
const agreedOf = (lines: Record<string, Changed | null> = {}) => {
  const ids = Object.keys(lines);
  return {
    has: (id: string) => ids.includes(id),
    line: (position: number) => ({ changed: lines[ids[position - 1] ?? ''] }) as CommittedLine,
  };
};
const nothing = agreedOf();
const ids = (lines: readonly PendingLine[]): string[] => lines.map(({ id }) => id);

describe('a line that waits', () => {
  test('is shown once, whichever is told first: that it is agreed, or that it waits no more', () => {
    const tail = new Tail();
    tail.take([pendingLine('a'), pendingLine('b')], { isCut: false, isRead: true });
    expect(ids(tail.shown(nothing))).toEqual(['a', 'b']);
    // Its page was read before anybody said that it waits no more.
    expect(ids(tail.shown(agreedOf({ a: null })))).toEqual(['b']);
    // It waits no more, and its page is still being read.
    tail.take([pendingLine('b')], { isCut: false, isRead: false });
    expect(ids(tail.shown(nothing))).toEqual(['a', 'b']);
    expect(ids(tail.shown(agreedOf({ a: null })))).toEqual(['b']);
    tail.read();
    expect(ids(tail.shown(agreedOf({ a: null })))).toEqual(['b']);
  });

  test('goes at once where nothing is left to be read, as when it was refused', () => {
    const tail = new Tail();
    tail.take([pendingLine('a')], { isCut: false, isRead: true });
    tail.take([], { isCut: false, isRead: true });
    expect(tail.shown(nothing)).toEqual([]);
  });

  test('goes at once where more wait than are told: it may be one of those', () => {
    const tail = new Tail();
    tail.take([pendingLine('a')], { isCut: false, isRead: true });
    tail.take([pendingLine('b')], { isCut: true, isRead: false });
    expect(ids(tail.shown(nothing))).toEqual(['b']);
  });

  test('stays over several news, and not beyond what was read', () => {
    const tail = new Tail();
    tail.take([pendingLine('a')], { isCut: false, isRead: true });
    tail.take([pendingLine('b')], { isCut: false, isRead: false });
    tail.take([pendingLine('c')], { isCut: false, isRead: false });
    expect(ids(tail.shown(nothing))).toEqual(['a', 'b', 'c']);
    tail.read();
    expect(ids(tail.shown(nothing))).toEqual(['c']);
  });

  test('that waits again is there once', () => {
    const tail = new Tail();
    tail.take([pendingLine('a')], { isCut: false, isRead: true });
    tail.take([], { isCut: false, isRead: false });
    tail.take([pendingLine('a', { change: 'edit', of: 1 })], { isCut: false, isRead: false });
    expect(tail.shown(nothing)).toMatchObject([{ id: 'a', change: 'edit' }]);
  });
});

describe('an edit that waits', () => {
  const edit = pendingLine('a', { change: 'edit', of: 1, text: 'better', time: '2026-11-19T14:05:00Z' });
  const own: Changed = { change: 'edit', author: 'p', name: 'Ana', writer: 'Ana', time: edit.time };

  test('is shown beside its entry until that very edit is agreed', () => {
    const tail = new Tail();
    tail.take([edit], { isCut: false, isRead: true });
    expect(ids(tail.shown(agreedOf({ a: null })))).toEqual(['a']);
    expect(ids(tail.shown(agreedOf({ a: { ...own, author: 'another' } })))).toEqual(['a']);
    expect(ids(tail.shown(agreedOf({ a: { ...own, time: '2026-11-19T14:04:00Z' } })))).toEqual(['a']);
    expect(tail.shown(agreedOf({ a: own }))).toEqual([]);
  });
});
