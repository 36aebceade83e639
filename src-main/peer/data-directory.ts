import { posix, win32 } from 'node:path';
import { PeerError } from '../../shared/ipc/errors.ts';

/** What the place depends on. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly platform: NodeJS.Platform;
  readonly home: string;
  readonly cwd: string;
}

/** The data directory that a command is about: `--dir`, else `$SYNOD_DIR`, else where this platform keeps a user's data. */
export function dataDirectory(given: string | undefined, io: Surroundings): string {
  const path = io.platform === 'win32' ? win32 : posix;
  const chosen = given ?? (io.env.SYNOD_DIR || undefined);
  return chosen === undefined ? platformDirectory(io, path) : path.resolve(io.cwd, chosen);
}

/** Never a place that roams between machines: two machines with one identity would be one too many. */
function platformDirectory({ env, platform, home }: Surroundings, path: typeof posix): string {
  if (platform === 'win32') {
    const local = env.LOCALAPPDATA;
    if (!local) throw new PeerError('USAGE', 'LOCALAPPDATA is not set: say where the data is with --dir.');
    return path.join(local, 'Synod');
  }
  if (platform === 'darwin') return path.join(home, 'Library', 'Application Support', 'Synod');
  // The XDG base directory specification: relative paths there are to be ignored.
  const base = env.XDG_DATA_HOME;
  return path.join(base && path.isAbsolute(base) ? base : path.join(home, '.local', 'share'), 'synod');
}
