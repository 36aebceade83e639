import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { WINDOW_OPEN } from '../../shared/ipc/bridge.ts';

type Env = Readonly<Record<string, string | undefined>>;

export type Found = { readonly program: string } | { readonly why: string };

/** How often it is said that fetching goes on. Milliseconds. */
const STILL_MS = 15_000;

/** Electron's program, or why no window can be opened. Electron's own lookup would download it, so it is looked for by hand. */
export function findElectron(env: Env, platform: NodeJS.Platform): Found {
  const { folder, why } = electronFolder(env, platform);
  if (folder === undefined) return { why };
  const pathFile = join(folder, 'path.txt');
  const name = existsSync(pathFile) ? readFileSync(pathFile, 'utf8') : undefined;
  const other = env.ELECTRON_OVERRIDE_DIST_PATH;
  const program = other ? join(other, name ?? 'electron') : name && join(folder, 'dist', name);
  if (!program || !existsSync(program)) return { why: 'Electron’s program is not on this machine' };
  return { program };
}

/** As `findElectron`, and where only the program is missing, Electron's own installer fetches it first: its package comes without. */
export async function getElectron(env: Env, platform: NodeJS.Platform, say: (line: string) => void): Promise<Found> {
  const found = findElectron(env, platform);
  const { folder } = electronFolder(env, platform);
  const isFixed = env.ELECTRON_OVERRIDE_DIST_PATH || env.ELECTRON_SKIP_BINARY_DOWNLOAD;
  if ('program' in found || folder === undefined || isFixed) return found;
  say('Fetching Electron’s program, once (about 120 MB). ELECTRON_SKIP_BINARY_DOWNLOAD=1 goes without it.');
  const still = setInterval(() => say('Still fetching it; Ctrl+C stops this.'), STILL_MS);
  const code = await new Promise((resolve) => {
    const child = spawn(process.execPath, [join(folder, 'install.js')], { stdio: 'ignore' });
    child.once('error', resolve).once('exit', resolve);
  });
  clearInterval(still);
  return code === 0 ? findElectron(env, platform) : { why: 'Electron’s program could not be fetched' };
}

function electronFolder(env: Env, platform: NodeJS.Platform): { readonly folder?: string; readonly why: string } {
  if (platform === 'linux' && !env.DISPLAY && !env.WAYLAND_DISPLAY) return { why: 'There is no display' };
  try {
    return { folder: dirname(createRequire(import.meta.url).resolve('electron/package.json')), why: '' };
  } catch {
    return { why: 'Electron is not installed' };
  }
}

/** The folder that package.json lies in: Electron reads there where the window's own program starts. */
function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json')) && dirname(folder) !== folder) folder = dirname(folder);
  return folder;
}

export interface StartedWindow {
  readonly child: ChildProcess;
  /** Its exit code, once it has ended; null where a signal ended it or it could not be started at all. */
  readonly exited: Promise<number | null>;
  /** False where it ended before it had a window: no display in truth, or a system that doesn't let it. Its own words are on standard error. */
  readonly opened: Promise<boolean>;
}

/** Starts the window's program with its options. */
export function startWindow(program: string, args: readonly string[]): StartedWindow {
  // Some editors' terminals tell Electron to be a plain Node.
  const { ELECTRON_RUN_AS_NODE: _, ...env } = process.env;
  const child = spawn(program, [packageRoot(), ...args], { stdio: ['inherit', 'pipe', 'inherit'], env });
  const exited = new Promise<number | null>((resolve) => {
    child.once('error', () => resolve(null));
    child.once('exit', resolve);
  });
  const isOpen = new Promise<boolean>((resolve) => {
    const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream });
    lines.on('line', (line) => {
      if (line === WINDOW_OPEN) resolve(true);
      else process.stdout.write(`${line}\n`);
    });
  });
  // One that ends well without a window was a second one, and has shown the first.
  return { child, exited, opened: Promise.race([isOpen, exited.then((code) => code === 0)]) };
}
