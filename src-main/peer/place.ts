import { execFile } from 'node:child_process';
import { hash } from 'node:crypto';
import { readFile, stat, statfs } from 'node:fs/promises';
import type { LocalSettings } from '../group/local.ts';

/**
 * Where a data directory lies: on which machine, and as which directory of its file system. A copy lies elsewhere; one that was renamed does not. Either is null
 * where this system gives none that lasts.
 */
export interface Place {
  /** A hash of the system's own id of this installation of itself. */
  readonly machine: string | null;
  /** The directory's number in its file system. */
  readonly directory: string | null;
}

/** `[machine or null, directory or null]`. */
const PLACE = 'place';
/** Programs that tell the machine's id take this at most; without an answer, it is not compared. Milliseconds. */
const TOLD_MS = 3_000;
/** Of file systems that number their files anew at each mount: FAT, exFAT, FUSE. As Linux tells them by statfs. */
const PASSING_NUMBERS: ReadonlySet<number> = new Set([0x4d44, 0x2011bab0, 0x65735546]);

export async function placeOf(dir: string): Promise<Place> {
  const id = await machineId().catch(() => null);
  return {
    machine: id === null ? null : hash('sha256', `synod/place/1\0${id}`).slice(0, 32),
    directory: await directoryNumber(dir).catch(() => null),
  };
}

/**
 * What speaks against this being the place where the directory was made, for people; null where nothing does. Then, or where a person settles it, this place is
 * the one from now on.
 */
export async function checkPlace(local: LocalSettings, now: Place, isSettled: boolean): Promise<string | null> {
  const recorded = readPlace(local.get(PLACE));
  const doubt = recorded === null || isSettled ? null : differenceOf(recorded, now);
  if (doubt !== null) return doubt;
  const machine = now.machine ?? recorded?.machine ?? null;
  const directory = now.directory ?? recorded?.directory ?? null;
  if (recorded?.machine !== machine || recorded.directory !== directory) await local.set(PLACE, [machine, directory]);
  return null;
}

/** Only what both have is compared. */
export function differenceOf(recorded: Place, now: Place): string | null {
  const differs = (a: string | null, b: string | null): boolean => a !== null && b !== null && a !== b;
  if (differs(recorded.machine, now.machine)) return 'it was made on another machine';
  if (differs(recorded.directory, now.directory)) return 'it was made as another directory than this one';
  return null;
}

function readPlace(value: unknown): Place | null {
  if (!Array.isArray(value)) return null;
  const text = (each: unknown): string | null => (typeof each === 'string' ? each : null);
  return { machine: text(value[0]), directory: text(value[1]) };
}

async function directoryNumber(dir: string): Promise<string | null> {
  if (process.platform === 'linux' && PASSING_NUMBERS.has((await statfs(dir)).type)) return null;
  const { ino } = await stat(dir, { bigint: true });
  return ino === 0n ? null : ino.toString();
}

async function machineId(): Promise<string | null> {
  switch (process.platform) {
    case 'linux':
      return (await firstLine('/etc/machine-id')) ?? (await firstLine('/var/lib/dbus/machine-id'));
    case 'darwin':
      return idIn(await told('/usr/sbin/ioreg', ['-rd1', '-c', 'IOPlatformExpertDevice']));
    case 'win32':
      return idIn(await told('reg', ['query', 'HKLM\\SOFTWARE\\Microsoft\\Cryptography', '/v', 'MachineGuid']));
    default:
      return null;
  }
}

/** The id in what macOS' ioreg or Windows' reg print: the only UUID on the line that names it. */
export function idIn(text: string): string | null {
  const line = text.split('\n').find((each) => /IOPlatformUUID|MachineGuid/.test(each));
  return /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/i.exec(line ?? '')?.[0].toLowerCase() ?? null;
}

/** Null where the file is not there, or holds no id yet. */
async function firstLine(path: string): Promise<string | null> {
  const text = await readFile(path, 'utf8').catch(() => '');
  const line = text.split('\n', 1)[0]?.trim() ?? '';
  return /^[0-9a-f]{32}$/i.test(line) ? line : null;
}

function told(program: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(program, [...args], { timeout: TOLD_MS, windowsHide: true }, (error, output) => {
      if (error === null) resolve(output);
      else reject(error);
    });
  });
}
