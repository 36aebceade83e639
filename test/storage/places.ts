import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A folder of its own for a test. */
export function temporaryFolder(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'synod-storage-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** A file system in memory, as small as wanted. Needs Linux and root: null elsewhere. */
export interface SmallDisk {
  readonly path: string;
  readOnly(on: boolean): void;
  remove(): void;
}

export function smallDisk(mebibytes: number): SmallDisk | null {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return null;
  const folder = temporaryFolder();
  const path = join(folder.path, 'disk');
  mkdirSync(path);
  if (!run('mount', '-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'synod-test', path)) {
    folder.remove();
    return null;
  }
  return {
    path,
    readOnly: (on) => {
      if (!run('mount', '-o', `remount,${on ? 'ro' : 'rw'}`, path)) throw new Error(`can not remount ${path}`);
    },
    remove: () => {
      if (!run('umount', path) && !run('umount', '-l', path)) throw new Error(`can not unmount ${path}`);
      folder.remove();
    },
  };
}

function run(command: string, ...args: readonly string[]): boolean {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0;
}

/** What a kill would leave of a store: its files as the system has them now. */
export function copyFolder(from: string, to: string): void {
  rmSync(to, { recursive: true, force: true });
  cpSync(from, to, { recursive: true });
}
