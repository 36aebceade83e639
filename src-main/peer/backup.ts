import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { asArray, asBytes, asInteger, asText, type Cbor, FormatError, orNull } from '../../shared/base/cbor.ts';
import { type GroupId, type PeerId, parseGroupId, parsePeerId } from '../../shared/base/ids.ts';
import { RecordError, unseal } from '../../shared/driver/records.ts';
import { type KvRow, StoreError } from '../../shared/driver/store.ts';
import type { BackupEvent } from '../../shared/ipc/contract.ts';
import { PeerError } from '../../shared/ipc/errors.ts';
import { dataDir, listGroups } from '../group/data-dir.ts';
import { type LocalSettings, openLocal } from '../group/local.ts';
import { SetupError } from '../group/setup-error.ts';
import { ArchiveError, type Part, readArchive, writeArchive } from '../storage/archive.ts';
import { openLevelStore, type StoreSnapshot } from '../storage/level-store.ts';
import { damagedTables } from '../storage/tables.ts';
import { noRoomToOpen } from './failures.ts';

/**
 * A backup is one file of all that a machine can't be made again without: who it is, its name, where the others are, and each group's store at one moment
 * between two turns, as a crash would leave it. Its parts, in this order:
 *
 *   ['head', 1, made at (ms), peer]
 *   ['identity', the file's bytes]
 *   ['settings', name or null, [[peer, [address …]] …], [[group, members as they were last known] …]]
 *   then for each group
 *   ['group', id, the mark's places, or null for one that is missing]
 *   ['rows', [[key, value] …]], any number
 *   ['end', rows]
 */
const FORMAT = 1;

/** How often progress is told. Milliseconds. */
const PROGRESS_MS = 500;

/** `[slot, [peer …]]`: the members of a group as of that slot, for a newcomer and for a store that loses its log. */
export const metKey = (group: GroupId): string => `met/${group}`;

/** What a backup is taken of: a peer that runs, or a directory on which none does. */
export interface BackupSource {
  readonly peer: PeerId;
  readonly dir: string;
  readonly local: LocalSettings;
  readonly groups: readonly GroupId[];
  /** Whom the group consists of, as far as is known here. */
  readonly membersOf: (group: GroupId) => readonly PeerId[];
  readonly snapshotOf: (group: GroupId) => Promise<StoreSnapshot>;
}

/** Writes the file, and tells how far it is; the last event is `done`. @throws PeerError */
export async function* backUp(source: BackupSource, path: string, signal: AbortSignal): AsyncGenerator<BackupEvent> {
  const stop = new AbortController();
  const ended = AbortSignal.any([signal, stop.signal]);
  const progress = { rows: 0, bytes: 0 };
  let bytes: number | null = null;
  let failure: unknown;
  const written = writeArchive(path, 'backup', partsOf(source, progress), ended).then(
    (size) => {
      bytes = size;
    },
    (error: unknown) => {
      failure = error;
    },
  );
  try {
    for (let isOver = false; !isOver; ) {
      let timer: NodeJS.Timeout | undefined;
      const pause = new Promise<boolean>((resolve) => {
        timer = setTimeout(() => resolve(false), PROGRESS_MS);
      });
      isOver = await Promise.race([written.then(() => true), pause]).finally(() => clearTimeout(timer));
      if (!isOver) yield { kind: 'progress', ...progress };
    }
    if (bytes === null) throw namedFailure(failure, signal);
    yield { kind: 'done', path, bytes, rows: progress.rows, groups: source.groups.length };
  } finally {
    stop.abort(); // whoever asked has gone: nothing is left behind
    await written;
  }
}

function namedFailure(error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return new PeerError('CANCELLED', 'Interrupted. No backup was made.');
  if (error instanceof ArchiveError) {
    return new PeerError(error.code, error.message, { cause: error });
  }
  return error;
}

async function* partsOf(source: BackupSource, progress: { rows: number; bytes: number }): AsyncGenerator<Part> {
  const { peer, dir, local, groups } = source;
  yield ['head', FORMAT, Date.now(), peer];
  yield ['identity', new Uint8Array(await readFile(dataDir(dir).identity))];
  const peers = [...new Set(groups.flatMap((group) => source.membersOf(group)))];
  yield [
    'settings',
    local.name(),
    peers.map((each): Cbor => [each, [...local.addresses(each)]]),
    groups.map((group): Cbor => [group, local.get(metKey(group)) ?? null]),
  ];
  for (const group of groups) {
    const snapshot = await source.snapshotOf(group);
    try {
      yield ['group', group, ...snapshot.marks];
      let count = 0;
      for await (const rows of snapshot.rows) {
        yield ['rows', rows.map(([key, value]): Cbor => [key, value])];
        count += rows.length;
        progress.rows += rows.length;
        for (const [key, value] of rows) progress.bytes += key.length + value.length;
      }
      yield ['end', count];
    } finally {
      await snapshot.close();
    }
  }
}

/** Of a directory on which no peer runs; its lock is held meanwhile. @throws PeerError, SetupError, StoreError */
export async function* backUpDirectory(
  dir: string,
  path: string,
  peer: PeerId,
  signal: AbortSignal,
): AsyncGenerator<BackupEvent> {
  const place = dataDir(dir);
  const noRoom = (error: unknown): never => {
    const isFull = (error instanceof SetupError || error instanceof StoreError) && error.code === 'DISK_FULL';
    throw isFull ? noRoomToOpen(dir, 'backup', error) : error;
  };
  const local = await openLocal(dir).catch(noRoom);
  try {
    const groups = await listGroups(place);
    for (const group of groups) {
      if ((await damagedTables(join(place.group(group), 'db'))).length === 0) continue;
      const message = `The database of ${group} is damaged. Start the peer once: it fetches what it lacks; then take the backup.`;
      throw new PeerError('DAMAGED', message);
    }
    const snapshotOf = async (group: GroupId): Promise<StoreSnapshot> => {
      const port = await openLevelStore(place.group(group), { create: false }).catch(noRoom);
      const snapshot = await port.snapshot();
      return { ...snapshot, close: () => snapshot.close().finally(() => port.close()) };
    };
    const membersOf = (group: GroupId): readonly PeerId[] => peersIn(local.get(metKey(group)));
    yield* backUp({ peer, dir, local, groups, membersOf, snapshotOf }, path, signal);
  } finally {
    await local.close();
  }
}

const peersIn = (met: Cbor | undefined): readonly PeerId[] =>
  Array.isArray(met) && Array.isArray(met[1]) ? met[1].map((peer) => parsePeerId(String(peer))) : [];

/** What a backup holds, taken apart; the rows of a group come one page after another. */
export type BackupPart =
  | { readonly kind: 'head'; readonly madeMs: number; readonly peer: PeerId }
  | { readonly kind: 'identity'; readonly bytes: Uint8Array }
  | {
      readonly kind: 'settings';
      readonly name: string | null;
      readonly addresses: readonly (readonly [PeerId, readonly string[]])[];
      readonly met: readonly (readonly [GroupId, Cbor])[];
    }
  | {
      readonly kind: 'group';
      readonly group: GroupId;
      readonly marks: readonly [Uint8Array | null, Uint8Array | null];
    }
  | { readonly kind: 'rows'; readonly rows: readonly KvRow[] }
  | { readonly kind: 'end' };

/** Reads and checks a backup. What it gave counts only once it ended without an error. @throws PeerError */
export async function* readBackup(path: string): AsyncGenerator<BackupPart> {
  await stat(path).catch((error: unknown) => {
    throw new PeerError('FILE_UNREADABLE', `${path} can't be read: ${(error as Error).message}`, { cause: error });
  });
  let rows = 0;
  try {
    for await (const part of readArchive(path, 'backup')) {
      const read = readPart(part, path);
      if (read.kind === 'group') rows = 0;
      if (read.kind === 'rows') rows += read.rows.length;
      if (read.kind === 'end' && rows !== asInteger(part[1])) throw new FormatError('rows are missing');
      yield read;
    }
  } catch (error) {
    if (error instanceof ArchiveError) {
      throw new PeerError(error.code, error.message, { cause: error });
    }
    if (!(error instanceof FormatError)) throw error;
    throw new PeerError('FILE_DAMAGED', `${path} is damaged: ${error.message}.`, { cause: error });
  }
}

function readPart(part: Part, path: string): BackupPart {
  switch (part[0]) {
    case 'head': {
      const [, version, madeMs, peer] = asArray(part, 4);
      if (asInteger(version) > FORMAT) {
        throw new PeerError('NEWER_FORMAT', `${path} was made by a newer Synod. Update this one.`);
      }
      return { kind: 'head', madeMs: asInteger(madeMs), peer: parsePeerId(asText(peer)) };
    }
    case 'identity':
      return { kind: 'identity', bytes: asBytes(asArray(part, 2)[1]) };
    case 'settings': {
      const [, name, addresses, met] = asArray(part, 4);
      return {
        kind: 'settings',
        name: orNull(name, (each) => asText(each)),
        addresses: asArray(addresses).map((row) => {
          const [peer, list] = asArray(row, 2);
          return [parsePeerId(asText(peer)), asArray(list).map((each) => asText(each))] as const;
        }),
        met: asArray(met).map((row) => {
          const [group, known] = asArray(row, 2);
          return [parseGroupId(asText(group)), known ?? null] as const;
        }),
      };
    }
    case 'group': {
      const [, group, first, second] = asArray(part, 4);
      const mark = (each: Cbor | undefined): Uint8Array | null => orNull(each, (bytes) => asBytes(bytes));
      return { kind: 'group', group: parseGroupId(asText(group)), marks: [mark(first), mark(second)] };
    }
    case 'rows':
      return {
        kind: 'rows',
        rows: asArray(asArray(part, 2)[1]).map((row): KvRow => {
          const [key, value] = asArray(row, 2);
          return [asText(key), asBytes(value)];
        }),
      };
    case 'end':
      return { kind: 'end' };
    default:
      throw new FormatError('a part that is not known');
  }
}

export interface CheckedBackup {
  readonly peer: PeerId;
  readonly madeMs: number;
  readonly groups: readonly GroupId[];
  readonly rows: number;
  /** Records that were damaged already as it was made. */
  readonly damaged: readonly string[];
}

/** Reads the whole file: its hash, its parts, and each record's check. Changes nothing. @throws PeerError */
export async function checkBackup(path: string): Promise<CheckedBackup> {
  let head: { peer: PeerId; madeMs: number } | null = null;
  let hasIdentity = false;
  let rows = 0;
  const groups: GroupId[] = [];
  const damaged: string[] = [];
  for await (const part of readBackup(path)) {
    if (part.kind === 'head') head = part;
    else if (part.kind === 'identity') hasIdentity = true;
    else if (part.kind === 'group') groups.push(part.group);
    else if (part.kind === 'rows') {
      rows += part.rows.length;
      for (const [key, value] of part.rows) if (!isWhole(key, value)) damaged.push(key);
    }
  }
  if (head === null || !hasIdentity) throw new PeerError('FILE_DAMAGED', `${path} lacks its beginning.`);
  return { peer: head.peer, madeMs: head.madeMs, groups, rows, damaged };
}

function isWhole(key: string, value: Uint8Array): boolean {
  try {
    unseal(key, value, 255);
    return true;
  } catch (error) {
    if (error instanceof RecordError) return false;
    throw error;
  }
}
