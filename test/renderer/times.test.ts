import { describe, expect, test } from 'vitest';
import type { CommittedLine } from '../../shared/ipc/contract.ts';
import {
  aboutWords,
  changedWords,
  clockWords,
  heldWords,
  pendingWords,
  timing,
} from '../../src-renderer/words/entry.ts';
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

test('on how many machines an entry is, as far as they say so', () => {
  const of = (...chosen: (number | null)[]): string =>
    heldWords(
      { slot: 60 },
      chosen.map((each) => ({ chosen: each })),
    );
  expect(of(60, 75, 61)).toBe('On 3 of 3 machines.');
  expect(of(60, 59, 61)).toBe('On 2 of 3 machines.');
  expect(of(60, null, 59)).toBe('On 1 of 3 machines, as far as is known here.');
});

describe('what became of an entry', () => {
  const by = { author: 'q', name: 'Ana', writer: 'Ana', time: '2026-11-18T22:10:00Z' } as const;

  test('names who did it, and when', () => {
    const removed = line({ removed: true, text: null, revision: 2, changed: { change: 'remove', ...by } });
    expect(changedWords(removed, 'UTC')).toBe('removed by Ana, Wed 18 Nov, 22:10');
    expect(changedWords(line({ revision: 3, changed: { change: 'edit', ...by } }), 'UTC')).toMatch(/^edited by Ana, /);
    expect(changedWords(line({ revision: 3, changed: { change: 'restore', ...by } }), 'UTC')).toMatch(/^restored by /);
    expect(changedWords(line({ changed: null }))).toBeNull();
  });
});

test('what waits says what it is, and how far it has come', () => {
  expect(aboutWords({ change: 'edit', of: 1_057 })).toBe('edit of #1\u202f057');
  expect(aboutWords({ change: 'remove', of: 57 })).toBe('removal of #57');
  expect(aboutWords({ change: 'restore', of: 57 })).toBe('restoring #57');
  expect(aboutWords({ change: 'create', of: null })).toBeNull();
  expect(pendingWords('ALONE')).toBe('saved here');
  expect(pendingWords('ON_ITS_WAY')).toBe('on its way');
  expect(pendingWords('NO_QUORUM')).toBe('waiting');
});

test('long numbers have thin separators', () => {
  expect([7, 1_000, 10_876, 1_000_000].map(thin)).toEqual(['7', '1\u202f000', '10\u202f876', '1\u202f000\u202f000']);
});
