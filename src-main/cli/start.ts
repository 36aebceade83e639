// Opens the window: `npm start`. Where there can be none, the same app is served to this machine's browsers.
import { getElectron, startWindow } from './electron.ts';
import { runProcess } from './process.ts';

/** Its exit code; null where it could not open a window. */
async function openWindow(program: string, args: readonly string[]): Promise<number | null> {
  const { child, exited, opened } = startWindow(program, args);
  let isAsked = false;
  // A terminal's Ctrl+C reaches the window too, which takes its time to stop well.
  const onInterrupt = (): void => {
    isAsked = true;
  };
  const onTerminate = (): void => {
    isAsked = true;
    child.kill('SIGTERM');
  };
  process.on('SIGINT', onInterrupt);
  process.on('SIGTERM', onTerminate);
  const isOpen = await opened;
  const code = await exited;
  process.off('SIGINT', onInterrupt);
  process.off('SIGTERM', onTerminate);
  return isOpen || isAsked ? (code ?? 1) : null;
}

const say = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

const args = process.argv.slice(2);
const found = await getElectron(process.env, process.platform, say);
const code = 'program' in found ? await openWindow(found.program, args) : null;
if (code === null) {
  const why = 'why' in found ? found.why : 'Electron could not open a window (its own words stand above)';
  say(`${why}, so here is the same app for a browser on this machine.`);
  // A log level that is given comes later and so counts.
  await runProcess(['serve', '--web', '0', '--log-level', 'error', ...args]);
} else process.exitCode = code;
