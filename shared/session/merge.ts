import { diff3MergeRegions } from 'node-diff3';

export interface Merged {
  readonly text: string;
  /** Both sides changed the same place: the text keeps both wordings there. */
  readonly overlap: boolean;
}

/** The comparison takes time with the square of the length: beyond these a coarser one is used. */
const WORDS_MAX = 4000;
const LINES_MAX = 8000;

/**
 * Merges by words what two sides made of one text. What only one side changed is as that side left it; where both changed
 * the same place, the committed wording comes first and the author's own follows. Nothing that either side wrote is left out.
 */
export function mergeTexts(base: string, mine: string, theirs: string): Merged {
  if (mine === theirs || mine === base) return { text: theirs, overlap: false };
  if (theirs === base) return { text: mine, overlap: false };

  const sides: Sides = [words(base), words(mine), words(theirs)];
  const merged = apart(sides) ?? tokens(sides, WORDS_MAX, keepBoth);
  if (merged) return merged;
  const byLines = tokens([lines(base), lines(mine), lines(theirs)], LINES_MAX, (o, a, b) => {
    const inside = tokens([words(o), words(a), words(b)], WORDS_MAX, keepBoth);
    return inside ?? keepBoth(o, a, b);
  });
  return byLines ?? keepBoth(base, mine, theirs);
}

type Sides = readonly [base: readonly string[], mine: readonly string[], theirs: readonly string[]];
type Resolve = (base: string, mine: string, theirs: string) => Merged;

/** The commonest case, for texts of any length: one side's changes all come before the other's. Null where it is not that. */
function apart([o, a, b]: Sides): Merged | null {
  const mine = changed(o, a);
  const theirs = changed(o, b);
  if (mine.end < theirs.start) return splice(o, [mine, theirs]);
  return theirs.end < mine.start ? splice(o, [theirs, mine]) : null;
}

interface Changed {
  /** Of the base, the end exclusive. */
  readonly start: number;
  readonly end: number;
  readonly to: readonly string[];
}

function changed(base: readonly string[], side: readonly string[]): Changed {
  const length = Math.min(base.length, side.length);
  let start = 0;
  while (start < length && base[start] === side[start]) start++;
  let tail = 0;
  while (tail < length - start && base.at(-1 - tail) === side.at(-1 - tail)) tail++;
  return { start, end: base.length - tail, to: side.slice(start, side.length - tail) };
}

function splice(base: readonly string[], [first, second]: readonly [Changed, Changed]): Merged {
  const parts = [
    base.slice(0, first.start),
    first.to,
    base.slice(first.end, second.start),
    second.to,
    base.slice(second.end),
  ];
  return { text: parts.map((part) => part.join('')).join(''), overlap: false };
}

/** Null where there is more to compare than `max` after what is the same at both ends was set aside. */
function tokens(sides: Sides, max: number, resolve: Resolve): Merged | null {
  const head = sameAtStart(sides);
  const tail = sameAtEnd(sides, head);
  const [o, a, b] = sides.map((side) => side.slice(head, side.length - tail)) as [string[], string[], string[]];
  if (o.length > max || a.length > max || b.length > max) return null;

  const parts: string[] = [sides[0].slice(0, head).join('')];
  let overlap = false;
  for (const region of diff3MergeRegions(a, o, b)) {
    if (region.stable) {
      parts.push(region.bufferContent.join(''));
      continue;
    }
    const [mine, theirs] = [region.aContent.join(''), region.bContent.join('')];
    if (mine === theirs) {
      parts.push(mine);
      continue;
    }
    const both = resolve(region.oContent.join(''), mine, theirs);
    parts.push(both.text);
    overlap ||= both.overlap;
  }
  parts.push(sides[0].slice(sides[0].length - tail).join(''));
  return { text: parts.join(''), overlap };
}

function sameAtStart([o, a, b]: Sides): number {
  const length = Math.min(o.length, a.length, b.length);
  let n = 0;
  while (n < length && o[n] === a[n] && o[n] === b[n]) n++;
  return n;
}

function sameAtEnd([o, a, b]: Sides, head: number): number {
  const length = Math.min(o.length, a.length, b.length) - head;
  let n = 0;
  while (n < length && o.at(-1 - n) === a.at(-1 - n) && o.at(-1 - n) === b.at(-1 - n)) n++;
  return n;
}

/** One side may have deleted what the other one changed: then the changed wording stays. */
function keepBoth(_base: string, mine: string, theirs: string): Merged {
  const spaced = mine === '' || theirs === '' || /\s$/.test(theirs) || /^\s/.test(mine);
  return { text: spaced ? theirs + mine : `${theirs} ${mine}`, overlap: true };
}

/** Words of alphabets, white space, and every other sign by itself (so that Chinese merges too). */
const words = (text: string): string[] => text.match(/[A-Za-z0-9_\u00c0-\u1fff]+|\s+|[\s\S]/gu) ?? [];

/** Lines with their ends. */
const lines = (text: string): string[] => text.match(/[^\n]*\n|[^\n]+$/g) ?? [];
