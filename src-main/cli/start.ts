// Opens the window: `npm start`. Where there can be none, the same app is served to this machine's browsers.
import { getElectron, spawnWindow } from './electron.ts';
import { runProcess } from './process.ts';

async function openWindow(program: string, args: readonly string[]): Promise<number> {
  const child = spawnWindow(program, args, { stdio: 'inherit' });
  // A terminal's Ctrl+C reaches the window too, which takes its time to stop well.
  process.on('SIGINT', () => {});
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  return new Promise((resolve) => {
    child.once('error', (error) => {
      say(`The window can’t be opened: ${error.message}`);
      resolve(1);
    });
    child.once('exit', (code) => resolve(code ?? 1));
  });
}

const say = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

const args = process.argv.slice(2);
const found = await getElectron(process.env, process.platform, say);
if ('program' in found) {
  process.exitCode = await openWindow(found.program, args);
} else {
  say(`${found.why}, so here is the same app for a browser on this machine.`);
  // A log level that is given comes later and so counts.
  await runProcess(['serve', '--web', '0', '--log-level', 'error', ...args]);
}
