import { chmod, mkdir, open, readdir, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { type GroupId, parseGroupId } from '../../shared/base/ids.ts';
import { DIR_MODE, FILE_MODE } from './private-file.ts';
import { setupErrorFor, systemCode } from './setup-error.ts';

/** Where everything lies in a data directory. Absolute paths; nothing is made by asking. */
export interface DataDir {
  readonly path: string;
  readonly identity: string;
  readonly endpoint: string;
  readonly local: string;
  readonly groups: string;
  group(id: GroupId): string;
}

export function dataDir(dir: string): DataDir {
  const path = resolve(dir);
  const groups = join(path, 'groups');
  return {
    path,
    identity: join(path, 'identity'),
    endpoint: join(path, 'endpoint.json'),
    local: join(path, 'local'),
    groups,
    group: (id) => join(groups, parseGroupId(id)),
  };
}

/**
 * Makes the directory and its folders where they are missing and writes a probe. New folders are this user's alone (0700), and so are
 * `local` and `groups` at any time; an existing directory that the person made keeps its own mode.
 * @throws SetupError `READ_ONLY`, `NOT_A_DIRECTORY`, `DISK_FULL`, `DISK_FAILED`
 */
export async function prepareDataDir(dir: string): Promise<DataDir> {
  const place = dataDir(dir);
  try {
    await makeDirectory(place.path);
    for (const folder of [place.local, place.groups]) {
      await makeDirectory(folder);
      await chmod(folder, DIR_MODE);
    }
    await probe(join(place.path, `.probe-${process.pid}`));
  } catch (error) {
    throw setupErrorFor(place.path, error);
  }
  return place;
}

/** One level at a time: asked for several at once, Node answers ENOENT whatever the reason was. */
export async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: DIR_MODE });
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT' && dirname(path) !== path) {
      await makeDirectory(dirname(path));
      await mkdir(path, { mode: DIR_MODE });
    } else if (code !== 'EEXIST' || !(await stat(path)).isDirectory()) throw error;
  }
}

/** Only writing tells: access rights say yes to root, and to a disk that was remounted read-only after an error. */
async function probe(path: string): Promise<void> {
  await rm(path, { force: true });
  const file = await open(path, 'wx', FILE_MODE);
  await file.close();
  await rm(path, { force: true });
}

/** The groups that have a folder here, in the order of their ids. Anything else in there is passed over. */
export async function listGroups(place: DataDir): Promise<readonly GroupId[]> {
  let names: string[];
  try {
    names = await readdir(place.groups);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw setupErrorFor(place.groups, error);
  }
  return names.filter(isGroupId).toSorted();
}

function isGroupId(name: string): name is GroupId {
  try {
    parseGroupId(name);
    return true;
  } catch {
    return false;
  }
}
