import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Cbor } from '../../shared/base/cbor.ts';
import type { GroupId } from '../../shared/base/ids.ts';
import { damagedVerdict } from '../../shared/driver/journal-format.ts';
import type { MarkPlace, StorePort } from '../../shared/driver/store.ts';
import { PeerError } from '../../shared/ipc/errors.ts';
import { dataDir, prepareDataDir } from '../group/data-dir.ts';
import { openLocal } from '../group/local.ts';
import { writePrivateFile } from '../group/private-file.ts';
import { setupErrorFor } from '../group/setup-error.ts';
import { DIRECTORY_MODE, syncDirectory } from '../storage/files.ts';
import { createStore } from '../storage/level-store.ts';
import { type BackupPart, type CheckedBackup, checkBackup, metKey, readBackup } from './backup.ts';

/**
 * Makes a data directory from a backup, beside its place and whole before it stands there. Its stores are marked as rebuilt: they take new incarnations as they are opened
 * first, since what the old ones said after the backup is not in it.
 * @throws PeerError, SetupError, StoreError; then nothing is left behind
 */
export async function rebuild(dir: string, backup: string, signal: AbortSignal): Promise<CheckedBackup> {
  if (await isThere(dir)) {
    throw new PeerError('FILE_EXISTS', `${dir} is there already. Name a directory that is not; nothing was changed.`);
  }
  const checked = await checkBackup(backup);
  const making = `${dir}.new`;
  try {
    await rm(making, { recursive: true, force: true }); // an attempt that was cut short
    await mkdir(dirname(dir), { recursive: true, mode: DIRECTORY_MODE });
    await fill(making, backup, checked, signal);
    signal.throwIfAborted();
    await rename(making, dir).catch((error: unknown) => {
      throw setupErrorFor(dir, error);
    });
    await syncDirectory(dirname(dir));
  } catch (error) {
    await rm(making, { recursive: true, force: true }).catch(() => undefined); // the first error is the one to tell
    throw signal.aborted ? new PeerError('CANCELLED', 'Interrupted. Nothing was made.', { cause: error }) : error;
  }
  return checked;
}

async function fill(making: string, backup: string, { madeMs }: CheckedBackup, signal: AbortSignal): Promise<void> {
  const place = await prepareDataDir(making);
  const parts = readBackup(backup);
  for (let next = await parts.next(); !next.done; next = await parts.next()) {
    const part = next.value;
    if (part.kind === 'identity') await writePrivateFile(place.identity, part.bytes);
    else if (part.kind === 'settings') await fillSettings(making, part);
    else if (part.kind === 'group') {
      await createStore(dataDir(making).group(part.group), (port) =>
        fillStore(port, part.marks, parts, madeMs, signal),
      );
    }
  }
}

async function fillSettings(
  making: string,
  { name, addresses, met }: Extract<BackupPart, { readonly kind: 'settings' }>,
): Promise<void> {
  const local = await openLocal(making);
  try {
    if (name !== null) await local.setName(name);
    for (const [peer, list] of addresses) await local.rememberAddresses(peer, list);
    for (const [group, known] of met as readonly (readonly [GroupId, Cbor])[]) {
      if (known !== null) await local.set(metKey(group), known);
    }
  } finally {
    await local.close();
  }
}

async function fillStore(
  port: StorePort,
  marks: readonly [Uint8Array | null, Uint8Array | null],
  parts: AsyncGenerator<BackupPart>,
  madeMs: number,
  signal: AbortSignal,
): Promise<void> {
  for (let next = await parts.next(); !next.done && next.value.kind === 'rows'; next = await parts.next()) {
    signal.throwIfAborted();
    const { rows } = next.value;
    if (rows.length === 0) continue;
    await port.kv.write(
      rows.map(([key, value]) => ({ type: 'put', key, value })),
      { sync: true },
    );
  }
  const made = new Date(madeMs).toISOString();
  const verdict = damagedVerdict([{ code: 'REBUILT', message: `it was made from a backup of ${made}` }]);
  await port.kv.write([verdict], { sync: true });
  for (const [place, bytes] of marks.entries()) if (bytes !== null) await port.mark.write(place as MarkPlace, bytes);
}

const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );
