import { beforeEach, describe, expect, test } from 'vitest';
import type { GroupId } from '../../shared/base/ids.ts';
import type { LocalSettings } from '../../src-main/group/local.ts';
import { DRAFTS_MAX, Drafts } from '../../src-main/peer/drafts.ts';

const GROUP = 'gabc' as GroupId;
const OTHER = 'gxyz' as GroupId;
let records: Map<string, unknown>;
let drafts: Drafts;

const local = {
  get: (key: string) => records.get(key),
  async set(key: string, value: unknown): Promise<void> {
    if (value === undefined) records.delete(key);
    else records.set(key, value);
  },
} as unknown as LocalSettings;

const save = (window: string | null, text: string, about = 'new'): Promise<void> =>
  drafts.save(GROUP, { about, window, text });
const take = (window?: string, about = 'new'): Promise<string> => drafts.take(GROUP, about, window);
const apart = (window?: string): string[] => drafts.apart(GROUP, window).map(({ text }) => text);

beforeEach(() => {
  records = new Map();
  drafts = new Drafts(local);
});

describe('a window’s draft', () => {
  test('is its own while it is open: nobody else gets it, overwrites it or clears it', async () => {
    drafts.attend('a');
    drafts.attend('b');
    await Promise.all([save('a', 'of a'), save('b', 'of b')]);
    expect([await take('a'), await take('b'), await take('c')]).toEqual(['of a', 'of b', '']);
    await save('a', '');
    expect([await take('a'), await take('b')]).toEqual(['', 'of b']);
    expect(await drafts.take(OTHER, 'new', 'a')).toBe('');
  });

  test('is taken up by one window alone when its own is closed', async () => {
    const leave = drafts.attend('a');
    await save('a', 'of a');
    leave();
    drafts.attend('b');
    drafts.attend('c');
    expect(await Promise.all([take('b'), take('c')])).toEqual(['of a', '']);
    expect(await take('a')).toBe('');
    await save('b', '');
    expect(records).toEqual(new Map([['drafts', []]]));
  });

  test('stays its own while its page is loaded anew, whichever of the two is first', async () => {
    const leave = drafts.attend('a');
    await save('a', 'of a');
    drafts.attend('a');
    leave();
    expect([await take('b'), await take('a')]).toEqual(['', 'of a']);
  });

  test('of before windows had names is taken up, and so is the newest of several first', async () => {
    records.set('drafts', ['draft/gabc/new']).set('draft/gabc/new', 'old');
    await save('a', 'newer');
    for (const window of ['b', 'c', 'd']) drafts.attend(window);
    expect([await take(), await take('b'), await take('c'), await take('d')]).toEqual(['newer', 'newer', 'old', '']);
  });
});

test('that is there twice, since a peer was killed while it changed hands, is taken up once', async () => {
  await save('a', 'the same');
  await save('b', 'the same');
  await save('b', 'the same', 'e7k');
  drafts.attend('c');
  expect(await take('c')).toBe('the same');
  await save('c', '');
  drafts.attend('d');
  expect(await take('d')).toBe('');
  expect(await take('d', 'e7k')).toBe('the same');
});

test('told apart are those of closed windows, and a window’s own edits', async () => {
  drafts.attend('a');
  const before = drafts.changes;
  const leave = drafts.attend('b');
  await save('a', 'new of a');
  await save('a', 'edit of a', 'e7k');
  await save('b', 'new of b');
  await save('b', 'edit of b', 'e7k');
  expect(apart('a')).toEqual(['edit of a']);
  expect(apart()).toEqual([]);
  const then = drafts.changes;
  leave();
  expect(apart('a')).toEqual(['edit of a', 'new of b', 'edit of b']);
  expect([before < then, then < drafts.changes]).toEqual([true, true]);
});

test('of too many the oldest goes, and nothing of it stays', async () => {
  for (let n = 0; n <= DRAFTS_MAX; n++) await save(`${n}`, `text ${n}`);
  await save('1', 'text 1, longer');
  await save('more', 'text');
  expect(records.size).toBe(DRAFTS_MAX + 1);
  expect(apart()).toHaveLength(DRAFTS_MAX);
  expect(apart()).not.toContain('text 2');
  expect(apart()).toContain('text 1, longer');
});

test('one that is too long is not kept, and what was kept before stays', async () => {
  await save('a', 'short');
  await expect(save('a', 'x'.repeat(1024 * 1024 + 1))).rejects.toMatchObject({ code: 'TEXT_TOO_LONG' });
  expect(await take('a')).toBe('short');
});
