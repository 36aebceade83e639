// Builds, and then is the program that is named, in this very process: `node .ci/built.js out/cli/start.js …`. As one process it gets every signal that npm
// passes on, where a shell between would keep it; and it doesn't outlive npm.
import { spawnSync } from 'node:child_process';
import { fileURLToPath, pathToFileURL } from 'node:url';

const [program, ...args] = process.argv.slice(2);
const url = new URL(`../${program}`, import.meta.url);

// Tests run what is built already.
if (!process.env.SYNOD_BUILT) {
  const build = fileURLToPath(new URL('build.js', import.meta.url));
  const { status } = spawnSync(process.execPath, [build], { stdio: 'inherit' });
  if (status !== 0) process.exit(1);
}

// Whoever started it may be killed without a word to it. (Windows tells nothing of that.)
const parent = process.ppid;
setInterval(() => {
  if (process.ppid !== parent) process.kill(process.pid, 'SIGTERM');
}, 1_000).unref();

process.argv = [process.argv[0], fileURLToPath(url), ...args];
await import(pathToFileURL(fileURLToPath(url)).href);
