import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

type Env = Readonly<Record<string, string | undefined>>;

/** Electron's program, or why no window can be opened. Electron's own lookup would download it, so it is looked for by hand. */
export function findElectron(env: Env, platform: NodeJS.Platform): { program: string } | { why: string } {
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

/** Starts the window's program with its options. */
export function spawnWindow(program: string, args: readonly string[], options: SpawnOptions): ChildProcess {
  // Some editors' terminals tell Electron to be a plain Node.
  const { ELECTRON_RUN_AS_NODE: _, ...env } = process.env;
  return spawn(program, [packageRoot(), ...args], { ...options, env });
}
