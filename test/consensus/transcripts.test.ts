import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { play } from './play.ts';

// To write what happens now into the files: REWRITE=1 npx vitest run --project unit test/consensus/transcripts.test.ts, and read the difference.

const folder = new URL('./transcripts/', import.meta.url);

test.each(readdirSync(folder))('%s', (name) => {
  const file = new URL(name, folder);
  const text = readFileSync(file, 'utf8');
  const now = `${play(text.trimEnd())}\n`;
  if (process.env.REWRITE === '1') writeFileSync(file, now);
  else expect(now).toBe(text);
});
