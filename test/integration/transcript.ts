import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Random } from '../../shared/base/random.ts';
import { root } from './harness.ts';

/** One line of an air-to-ground transcript. */
export interface Utterance {
  readonly speaker: string;
  readonly text: string;
}

/** Apollo 13, all 142 hours of it, where it lies beside the project. */
const RECORD = join(root, '../shared/data/apollo13.jsonl');

/** The real record if it is there, otherwise one of the same size, lengths and speakers. */
export function transcript(): { readonly name: string; readonly utterances: readonly Utterance[] } {
  if (!existsSync(RECORD)) return { name: 'made up', utterances: madeUp() };
  const lines = readFileSync(RECORD, 'utf8').trim().split('\n');
  return { name: 'Apollo 13', utterances: lines.map((line) => JSON.parse(line) as Utterance) };
}

const COUNT = 10_876;
const WORDS =
  'Houston Roger Okay stand by 13 the undervolt BUS — “go ahead” pressure reads ½ psi, we copy that PÅ 🜨'.split(' ');

function madeUp(): Utterance[] {
  const random = new Random(13);
  const speakers = ['CC', 'CC', 'CC', 'CC', 'CDR', 'CDR', 'LMP', 'LMP', 'CMP', 'CMP', 'S-2'];
  return Array.from({ length: COUNT }, () => {
    // Mostly a sentence, seldom a page.
    const length = random.chance(0.01) ? 50 + random.below(600) : 1 + random.below(28);
    const text = Array.from({ length }, () => random.pick(WORDS)).join(' ');
    return { speaker: random.pick(speakers), text };
  });
}
