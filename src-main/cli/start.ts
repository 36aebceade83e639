// Opens the window: `npm start`. Where there can be none, the same app is served to this machine's browsers.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runProcess } from './process.ts';

type Env = Readonly<Record<string, string | undefined>>;

/** Electron's program, or why no window can be opened. Electron's own lookup would download it, so it is looked for by hand. */
function findElectron(env: Env, platform: NodeJS.Platform): { program: string } | { why: string } {
  if (platform === 'linux' && !env.DISPLAY && !env.WAYLAND_DISPLAY) return { why: 'There is no display' };
  let folder: string;
  try {
    folder = dirname(fileURLToPath(import.meta.resolve('electron/package.json')));
  } catch {
    return { why: 'Electron is not installed' };
  }
  const pathFile = join(folder, 'path.txt');
  const name = existsSync(pathFile) ? readFileSync(pathFile, 'utf8') : undefined;
  const other = env.ELECTRON_OVERRIDE_DIST_PATH;
  const program = other ? join(other, name ?? 'electron') : name && join(folder, 'dist', name);
  if (!program || !existsSync(program)) return { why: 'Electron’s program is not on this machine' };
  return { program };
}

/** The folder that package.json lies in: Electron reads there where the window's own program starts. */
function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json')) && dirname(folder) !== folder) folder = dirname(folder);
  return folder;
}

async function openWindow(program: string, args: readonly string[]): Promise<number> {
  // Some editors' terminals tell Electron to be a plain Node.
  const { ELECTRON_RUN_AS_NODE: _, ...env } = process.env;
  const child = spawn(program, [packageRoot(), ...args], { stdio: 'inherit', env });
  // A terminal's Ctrl+C reaches the window too, which takes its time to stop well.
  process.on('SIGINT', () => {});
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  return new Promise((resolve) => {
    child.once('error', (error) => {
      process.stderr.write(`The window can’t be opened: ${error.message}\n`);
      resolve(1);
    });
    child.once('exit', (code) => resolve(code ?? 1));
  });
}

const args = process.argv.slice(2);
const found = findElectron(process.env, process.platform);
if ('program' in found) {
  process.exitCode = await openWindow(found.program, args);
} else {
  process.stderr.write(`${found.why}, so here is the same app for a browser on this machine.\n`);
  // A log level that is given comes later and so counts.
  await runProcess(['serve', '--web', '0', '--log-level', 'error', ...args]);
}
