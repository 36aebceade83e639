import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { mergeTexts } from '../../shared/session/index.ts';

const seed = 20261120;

describe('what only one side changed', () => {
  test.each([
    ['the same', 'a b c', 'a b c', 'a b c', 'a b c'],
    ['mine', 'a b c', 'a B c', 'a b c', 'a B c'],
    ['theirs', 'a b c', 'a b c', 'a b C', 'a b C'],
    [
      'both, apart',
      'Bed 4: paracetamol 1 g given.',
      'Bed 5: paracetamol 1 g given.',
      'Bed 4: paracetamol 2 g given.',
      'Bed 5: paracetamol 2 g given.',
    ],
    ['both, the same', 'a b c', 'a X c', 'a X c', 'a X c'],
    ['a deletion and a change apart', 'one two three four', 'one three four', 'one two three FOUR', 'one three FOUR'],
    ['lines', 'a\nb\nc\n', 'a\nb\nc\nmine\n', 'theirs\na\nb\nc\n', 'theirs\na\nb\nc\nmine\n'],
    ['signs by themselves', '病人 体温 三十七', '病人 体温 三十八', '病人们 体温 三十七', '病人们 体温 三十八'],
    [
      'words that objects have',
      'constructor a toString',
      'constructor b toString',
      'constructor a __proto__',
      'constructor b __proto__',
    ],
  ])('%s', (_name, base, mine, theirs, text) => {
    expect(mergeTexts(base, mine, theirs)).toEqual({ text, overlap: false });
  });
});

describe('what both changed', () => {
  test.each([
    ['one word', 'at ten', 'at eleven', 'at nine', 'at nine eleven'],
    ['both at the end', 'a', 'a mine', 'a theirs', 'a theirs mine'],
    ['a line each', 'a\n', 'a\nmine\n', 'a\ntheirs\n', 'a\ntheirs\nmine\n'],
    ['a deletion of what was changed', 'a b c', 'a c', 'a B c', 'a B c'],
    ['everything', 'x', 'mine', 'theirs', 'theirs mine'],
    ['no common text', '', 'mine', 'theirs', 'theirs mine'],
  ])('%s: both wordings stay', (_name, base, mine, theirs, text) => {
    expect(mergeTexts(base, mine, theirs)).toEqual({ text, overlap: true });
  });
});

test('no letter that either side wrote is lost', () => {
  const words = fc.array(fc.constantFrom('a', 'b', 'c', 'd'), { maxLength: 8 });
  /** Copies of the base with words deleted, and own, unique words put in. */
  const side = (name: string) =>
    fc.array(fc.tuple(fc.boolean(), fc.boolean()), { maxLength: 9 }).map((marks) => (base: readonly string[]) => {
      const out: string[] = [];
      for (let i = 0; i <= base.length; i++) {
        const [insert, remove] = marks[i] ?? [false, false];
        if (insert) out.push(`${name}${i}`);
        if (i < base.length && !remove) out.push(base[i] as string);
      }
      return out.join(space);
    });
  const space = ' ';
  fc.assert(
    fc.property(words, side('mine'), side('theirs'), (base, mine, theirs) => {
      const [m, t] = [mine(base), theirs(base)];
      const { text } = mergeTexts(base.join(space), m, t);
      for (const word of `${m} ${t}`.split(space)) if (word.length > 1) expect(text.split(/\s+/)).toContain(word);
    }),
    { seed, numRuns: 2000 },
  );
});

test('a text changed by one side alone is that side', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (base, changed) => {
      expect(mergeTexts(base, changed, base)).toEqual({ text: changed, overlap: false });
      expect(mergeTexts(base, base, changed)).toEqual({ text: changed, overlap: false });
      expect(mergeTexts(base, changed, changed).overlap).toBe(false);
    }),
    { seed, numRuns: 500 },
  );
});

test('the longest texts take no longer than a moment, and lose nothing', () => {
  const line = 'the quick brown fox jumps over the lazy dog and the cat\n';
  const base = line.repeat(18_000);
  const mine = base.replaceAll('fox', 'FOX');
  const theirs = base.replaceAll('cat', 'CAT');
  const started = performance.now();
  const both = mergeTexts(base, mine, theirs).text;
  expect([both.includes('FOX'), both.includes('CAT')]).toEqual([true, true]);
  const apart = base.replace('quick', 'slow');
  expect(mergeTexts(base, `${base}end`, apart).text === `${apart}end`).toBe(true);
  expect(performance.now() - started).toBeLessThan(5000);
});
