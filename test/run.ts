// Runs every test and closes with one line, `N passed, M failed`. Fails if anything failed or nothing ran.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { summarise } from './house/summary.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const report = fileURLToPath(new URL('../.tmp/vitest.json', import.meta.url));
const vitest = fileURLToPath(new URL('vitest.mjs', import.meta.resolve('vitest/package.json')));

mkdirSync(new URL('../.tmp', import.meta.url), { recursive: true });
rmSync(report, { force: true }); // an older run must not speak for this one

const { status } = spawnSync(
  process.execPath,
  [vitest, 'run', '--reporter=default', '--reporter=json', `--outputFile.json=${report}`, ...process.argv.slice(2)],
  { cwd: root, stdio: 'inherit' },
);

const summary = summarise(readReport(), status);
for (const note of summary.notes) console.log(note);
console.log(`${summary.passed} passed, ${summary.failed} failed`);
process.exitCode = summary.ok ? 0 : 1;

function readReport(): unknown {
  try {
    return JSON.parse(readFileSync(report, 'utf8'));
  } catch {
    return undefined;
  }
}
