import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { equal, toHex } from '../../shared/base/bytes.ts';
import { FormatError } from '../../shared/base/cbor.ts';
import { type GroupId, type Slot, slot } from '../../shared/base/ids.ts';
import { nextDigest } from '../../shared/consensus/ledger.ts';
import type { Value } from '../../shared/consensus/value.ts';
import { batchHash, decodeBatch, runSignature, stateHashOf } from '../../shared/document/index.ts';
import { decodeDigest, decodeLogRecord, digestKey, logKey, openRecord } from '../../shared/driver/layout.ts';
import { RecordError, unseal } from '../../shared/driver/records.ts';
import { type KvRow, StoreError, type StorePort } from '../../shared/driver/store.ts';
import type { DamageCode } from '../../shared/ipc/errors.ts';
import { named as stateName } from '../../shared/replica/area.ts';
import { genesisDigest, type OpenedStore } from '../../shared/replica/opening.ts';
import { dataDir, listGroups } from '../group/data-dir.ts';
import { loadOrCreateIdentity } from '../group/identity.ts';
import { openLocal } from '../group/local.ts';
import { SetupError } from '../group/setup-error.ts';
import { createVerifier } from '../group/verifier.ts';
import { openLevelStore } from '../storage/level-store.ts';
import { damagedTables } from '../storage/tables.ts';
import { noRoomToOpen } from './failures.ts';
import { inspectStore } from './group-store.ts';

export interface VerifyProblem {
  readonly code: DamageCode;
  readonly message: string;
}

export interface VerifiedGroup {
  readonly group: string;
  /** Chosen values that chain from the genesis to the stored digest. */
  readonly slots: number;
  /** Of these, the ones whose values are not here: dropped, or skipped by a snapshot and not fetched yet. */
  readonly missing: number;
  readonly records: number;
  readonly digest: string;
}

export interface Verification {
  readonly ok: boolean;
  readonly problems: readonly VerifyProblem[];
  readonly groups: readonly VerifiedGroup[];
}

type Say = (code: DamageCode, message: string) => void;

const PAGE_ROWS = 1_000;
/** Of one kind in one group; more of the same says nothing new. */
const PROBLEMS_MAX = 20;

/**
 * Reads everything in a data directory on which no peer runs: every record's check, the journal and its mark, the chain of the log with its signatures, and the applied
 * state's hash. Changes nothing of what is said there; LevelDB tidies its own files as it opens.
 * @throws PeerError `DISK_FULL`, where nothing was found and not all could be looked at
 */
export async function verifyDir(dir: string): Promise<Verification> {
  const place = dataDir(dir);
  await stat(dir).catch(() => {
    throw new SetupError('NOT_A_DIRECTORY', `There is no data directory at ${dir}.`);
  });
  const problems: VerifyProblem[] = [];
  const groups: VerifiedGroup[] = [];
  const names = await listGroups(place);
  if (names.length > 0) await verifyIdentity(dir, problems);
  let full: StoreError | null = null;
  for (const group of names) {
    try {
      const broken = await damagedTables(join(place.group(group), 'db'));
      if (broken.length > 0) {
        await (await openLocal(dir)).close(); // a table that a running peer just writes is not whole either
        problems.push({
          code: 'TABLE_DAMAGED',
          message: `${group}: tables of the database are damaged: ${broken.join(', ')}`,
        });
        continue; // LevelDB could end this process over them
      }
      const port = await openLevelStore(place.group(group), { create: false });
      try {
        groups.push(await verifyGroup(group, port, problems));
      } finally {
        await port.close();
      }
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      if (error.code === 'LOCKED' || error.code === 'NEWER_FORMAT') throw error;
      if (error.code === 'DISK_FULL') full = error;
      const code = error.code === 'CORRUPT' ? 'CORRUPT' : 'UNREADABLE';
      problems.push({ code, message: `${group}: ${error.message}` });
    }
  }
  if (full !== null && problems.every(({ code }) => code === 'UNREADABLE')) throw noRoomToOpen(dir, 'verify', full);
  return { ok: problems.length === 0, problems, groups };
}

/** Where there are groups, none is made. */
async function verifyIdentity(dir: string, problems: VerifyProblem[]): Promise<void> {
  try {
    await loadOrCreateIdentity(dir);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    if (error.code !== 'IDENTITY_MISSING' && error.code !== 'IDENTITY_DAMAGED') throw error;
    problems.push({ code: error.code, message: error.message });
  }
}

async function verifyGroup(group: GroupId, port: StorePort, problems: VerifyProblem[]): Promise<VerifiedGroup> {
  const counts = new Map<string, number>();
  const say: Say = (code, message): void => {
    const n = (counts.get(code) ?? 0) + 1;
    counts.set(code, n);
    if (n <= PROBLEMS_MAX) problems.push({ code, message: `${group}: ${message}` });
  };
  const store = await inspectStore(port);
  for (const { code, message } of store.problems) say(code, message);
  const state: [string, Uint8Array][] = [];
  const records = await everyRecord(port, ([key, record]) => {
    try {
      const { payload } = unseal(key, record);
      if (key.startsWith(`${store.area}/`)) state.push([stateName(key), payload]);
    } catch (error) {
      if (!(error instanceof RecordError)) throw error;
      say('RECORD_DAMAGED', error.message);
    }
  });
  const { stored, summed } = stateHashOf(state);
  if (stored === null || !equal(stored, summed)) say('STATE_MISMATCH', 'the applied state is not what its hash says');
  const { at, digest } = await verifyLog(port, store, say);
  const missing = store.missing.ranges.reduce((sum, { from, to }) => sum + to - from + 1, 0);
  return { group, slots: at, missing, records, digest: toHex(digest) };
}

async function everyRecord(port: StorePort, look: (row: KvRow) => void): Promise<number> {
  let count = 0;
  for (let gte: string | null = ' '; gte !== null; ) {
    const rows: readonly KvRow[] = await port.kv.scan({ gte, lt: '\x7f', limit: PAGE_ROWS });
    rows.forEach(look);
    count += rows.length;
    const last = rows.at(-1);
    gte = last === undefined || rows.length < PAGE_ROWS ? null : `${last[0]}\0`;
  }
  return count;
}

async function verifyLog(port: StorePort, store: OpenedStore, say: Say): Promise<{ at: Slot; digest: Uint8Array }> {
  const verifier = createVerifier();
  let digest = genesisDigest(store.genesisBytes);
  const { prefix } = store.restored;
  for (let at = 1; at <= prefix; at++) {
    const gap = store.missing.at(at);
    if (gap !== null) {
      // Dropped, or still to be fetched: the digest after it stands in for what is not here.
      const after = port.kv.get(digestKey(gap.to));
      if (after === undefined) {
        say('VALUE_MISSING', `the digest after the slots ${gap.from} to ${gap.to}, which are not here, is missing`);
        return { at: slot(at - 1), digest };
      }
      digest = decodeDigest(openRecord(digestKey(gap.to), after));
      at = gap.to;
      continue;
    }
    const value = readValue(port, slot(at), digest, say);
    if (value === null) return { at: slot(at - 1), digest };
    digest = nextDigest(digest, slot(at), value.hash);
    if (value.kind !== 'commands') continue;
    const { runs } = decodeBatch(value.payload);
    const verdicts = await verifier.verifyAll(runs.map(runSignature));
    verdicts.forEach((valid, i) => {
      if (!valid) say('SIGNATURE_BAD', `slot ${at}: a command of ${runs[i]?.peer} is not signed by it`);
    });
  }
  return { at: prefix, digest };
}

function readValue(port: StorePort, at: Slot, before: Uint8Array, say: Say): Value | null {
  const record = port.kv.get(logKey(at));
  const stored = port.kv.get(digestKey(at));
  if (!record || !stored) {
    say('VALUE_MISSING', `the value of slot ${at} is missing`);
    return null;
  }
  try {
    const { value } = decodeLogRecord(openRecord(logKey(at), record), batchHash);
    if (!equal(nextDigest(before, at, value.hash), decodeDigest(openRecord(digestKey(at), stored)))) {
      say('CHAIN_BROKEN', `slot ${at} does not follow from the slots before it`);
      return null;
    }
    return value;
  } catch (error) {
    if (!(error instanceof RecordError) && !(error instanceof FormatError)) throw error;
    say('VALUE_DAMAGED', `the value of slot ${at} is damaged: ${error.message}`);
    return null;
  }
}
