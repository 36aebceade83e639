import { copyFile, link, mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, fileError } from './errors.ts';
import { DIRECTORY_MODE } from './files.ts';

/**
 * LevelDB reads its write-ahead files when it opens, drops what it finds damaged in them without a word, and deletes them. So they are kept aside
 * first: what was dropped may still be read by a person. Links cost no space and no time, and LevelDB never writes to such a file again.
 */
const KEPT_FILES_MAX = 4;
const KEPT_BYTES_MAX = 16 * 1024 * 1024;

const WRITE_AHEAD = /^\d{6,}\.log$/;

/** Names newly kept, so that they can be let go again should the store turn out to be in use. Does its best: it never stops an opening. */
export async function keepAside(db: string, aside: string): Promise<readonly string[]> {
  const kept: string[] = [];
  try {
    const names = await writeAheadFiles(db);
    if (names.length > 0) await mkdir(aside, { recursive: true, mode: DIRECTORY_MODE });
    for (const name of names) if (await keep(join(db, name), join(aside, name))) kept.push(name);
  } catch {
    // A full or read-only disk: the database's own opening tells that better.
  }
  return kept;
}

export async function letGo(aside: string, names: readonly string[]): Promise<void> {
  for (const name of names) await rm(join(aside, name), { force: true }).catch(() => undefined); // does its best, as above
}

/** Keeps the newest few and removes the rest. */
export async function prune(aside: string): Promise<void> {
  try {
    const newestFirst = (await writeAheadFiles(aside)).toReversed();
    let bytes = 0;
    for (const [index, name] of newestFirst.entries()) {
      bytes += (await stat(join(aside, name))).size;
      if (index > 0 && (index >= KEPT_FILES_MAX || bytes > KEPT_BYTES_MAX)) await rm(join(aside, name));
    }
  } catch {
    // Does its best, as above.
  }
}

/** Oldest first. */
async function writeAheadFiles(dir: string): Promise<string[]> {
  try {
    const names = await readdir(dir);
    return names
      .filter((name) => WRITE_AHEAD.test(name))
      .toSorted((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw fileError(error, 'read');
  }
}

async function keep(from: string, to: string): Promise<boolean> {
  const source = await stat(from);
  const there = await stat(to).catch(() => null);
  if (there !== null) {
    if (there.ino === source.ino && there.dev === source.dev) return false;
    await rm(to); // the same number from an older life of this database
  }
  try {
    await link(from, to);
  } catch {
    await copyFile(from, to); // no links here
  }
  return true;
}
