import { describe, expect, test } from 'vitest';
import type { CommittedLine } from '../../shared/ipc/contract.ts';
import { clockWords, timing } from '../../src-renderer/words/entry.ts';
import { thin } from '../../src-renderer/words/numbers.ts';
import { clock, dayHeading, dayKey, moment } from '../../src-renderer/words/times.ts';

const NOON = Date.parse('2026-11-19T12:00:00Z');

describe('days', () => {
  test('begin at midnight where the reader is', () => {
    const [late, later] = ['2026-11-19T22:30:00Z', '2026-11-19T23:30:00Z'];
    expect(dayKey(late, 'UTC')).toBe(dayKey(later, 'UTC'));
    expect(dayKey(late, 'Europe/Berlin')).not.toBe(dayKey(later, 'Europe/Berlin'));
    expect(dayHeading(later, NOON, 'Europe/Berlin')).toBe('Fri 20 Nov');
    expect(dayHeading(later, NOON, 'America/New_York')).toBe('Thu 19 Nov');
    expect(dayHeading(later, NOON, 'Pacific/Kiritimati')).toBe('Fri 20 Nov');
  });

  test('have their year where it is not this one', () => {
    expect(dayHeading('2025-11-19T12:00:00Z', NOON, 'UTC')).toBe('Wed 19 Nov 2025');
    expect(dayHeading('2026-12-31T23:30:00Z', NOON, 'Asia/Tokyo')).toBe('Fri 1 Jan 2027');
  });

  test('of 25 hours are one day', () => {
    expect(dayKey('2026-10-24T22:30:00Z', 'Europe/Berlin')).toBe(dayKey('2026-10-25T22:30:00Z', 'Europe/Berlin'));
  });
});

test('times are local, with the day where it is not today', () => {
  expect(clock('2026-11-19T22:04:00+05:45', 'UTC')).toBe('16:19');
  expect(clock('2026-11-19T00:04:00Z', 'UTC')).toBe('00:04');
  expect(clock('no time', 'UTC')).toBe('–');
  expect(moment('2026-11-19T09:00:00Z', NOON, 'UTC')).toBe('09:00');
  expect(moment('2026-11-18T09:00:00Z', NOON, 'UTC')).toBe('Wed 18 Nov, 09:00');
});

const line = (more: Partial<CommittedLine>): CommittedLine => ({
  id: 'e',
  author: 'p',
  name: 'Ben',
  writer: 'Ben',
  time: '2026-11-19T14:01:00Z',
  text: 'x',
  revision: 1,
  removed: false,
  status: 'committed',
  position: 57,
  slot: 60,
  placed: '2026-11-19T14:01:02Z',
  clock: null,
  overlap: false,
  ...more,
});

describe('beside an entry', () => {
  test('stands when it was written', () => {
    expect(timing(line({}), 'UTC')).toMatchObject({ shown: '14:01', written: null });
  });

  test('stands both where it was written while away', () => {
    expect(timing(line({ placed: '2026-11-19T15:40:00Z' }), 'UTC')).toMatchObject({
      shown: '15:40',
      written: 'written 14:01',
    });
  });

  test('a wrong clock is named, and taken for nothing else', () => {
    const behind = line({ clock: 'behind', time: '2025-11-20T14:01:00Z' });
    expect(timing(behind, 'UTC').written).toBeNull();
    expect(clockWords(behind)).toBe("Ben's clock is about a year behind. The order isn't affected.");
    expect(clockWords(line({ clock: 'ahead', time: '2026-11-19T14:21:00Z' }))).toContain('about 20 minutes ahead');
    expect(clockWords(line({}))).toBeNull();
  });
});

test('long numbers have thin separators', () => {
  expect([7, 1_000, 10_876, 1_000_000].map(thin)).toEqual(['7', '1\u202f000', '10\u202f876', '1\u202f000\u202f000']);
});
