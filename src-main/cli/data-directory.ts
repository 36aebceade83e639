import { posix, win32 } from 'node:path';
import type { Io } from './io.ts';
import { usage } from './usage.ts';

/** The data directory that a command is about: `--dir`, else `$SYNOD_DIR`, else where this platform keeps a user's data. */
export function dataDirectory(given: string | undefined, io: Pick<Io, 'env' | 'platform' | 'home' | 'cwd'>): string {
  const path = io.platform === 'win32' ? win32 : posix;
  const chosen = given ?? (io.env.SYNOD_DIR || undefined);
  return chosen === undefined ? platformDirectory(io, path) : path.resolve(io.cwd, chosen);
}

/** Never a place that roams between machines: two machines with one identity would be one too many. */
function platformDirectory({ env, platform, home }: Pick<Io, 'env' | 'platform' | 'home'>, path: typeof posix): string {
  if (platform === 'win32') {
    const local = env.LOCALAPPDATA;
    if (!local) throw usage('LOCALAPPDATA is not set: say where the data is with --dir.');
    return path.join(local, 'Synod');
  }
  if (platform === 'darwin') return path.join(home, 'Library', 'Application Support', 'Synod');
  // The XDG base directory specification: relative paths there are to be ignored.
  const base = env.XDG_DATA_HOME;
  return path.join(base && path.isAbsolute(base) ? base : path.join(home, '.local', 'share'), 'synod');
}
