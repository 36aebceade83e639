// Takes the pictures that the documentation shows: `npm run pictures`.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const vitest = join(dirname(createRequire(import.meta.url).resolve('vitest/package.json')), 'vitest.mjs');
const { status } = spawnSync(process.execPath, [vitest, 'run', '--project', 'e2e', 'test/e2e/pictures.test.ts'], {
  stdio: 'inherit',
  env: { ...process.env, SYNOD_PICTURES: 'docs/pictures' },
});
process.exitCode = status ?? 1;
