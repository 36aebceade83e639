import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { equal, toHex } from '../../shared/base/bytes.ts';
import { FormatError } from '../../shared/base/cbor.ts';
import { type Incarnation, incarnationBytes, type Position, type Slot, slot } from '../../shared/base/ids.ts';
import type { KvOp } from '../../shared/base/kv.ts';
import type { Value } from '../../shared/consensus/value.ts';
import { batchHash, type DocumentReader, entryView } from '../../shared/document/index.ts';
import { JournalCore } from '../../shared/driver/journal.ts';
import { decodeDigest, decodeLogRecord, digestKey, logKey, openRecord } from '../../shared/driver/layout.ts';
import { sealed } from '../../shared/driver/overlay.ts';
import { prefixRange, RecordError } from '../../shared/driver/records.ts';
import type { KvRow, StorePort } from '../../shared/driver/store.ts';
import { firstTurn } from '../../shared/replica/opening.ts';
import type { Candidate } from '../../shared/replica/recovery-exchange.ts';
import { rescuedRange, rescueOps, runsOf } from '../../shared/replica/recovery-rescue.ts';
import { proofOp } from '../../shared/replica/recovery-store.ts';
import type { Replica } from '../../shared/replica/replica.ts';
import { outboxRowOf } from '../../shared/session/index.ts';
import { syncDirectory } from '../storage/files.ts';
import { createStore } from '../storage/level-store.ts';

const REBORN = '.reborn';
const ASIDE = '.before-recovery-';
/** In a store that was set aside: its log as `synod log --json` printed it. */
const LOG_FILE = 'log.jsonl';
const PAGE_ROWS = 1_000;

/**
 * Makes the store with which a machine begins anew whose log went on beside a forced recovery (R12): under another incarnation, in the epoch that the others are in, with
 * its outbox, and with all that its old log holds and theirs may not, to be offered again. It stands beside the old one until `swap`.
 * @param port the old store, still open and not written to any more
 */
export async function makeSuccessor(
  dir: string,
  port: StorePort,
  replica: Replica,
  candidate: Candidate,
  incarnation: Incarnation,
): Promise<void> {
  const { self } = replica;
  const values = await tail(port, commonPrefix(port, replica.prefix, candidate));
  const outbox = await everyRow(port, 'o/');
  const own = new Map(
    runsOf(values)
      .filter((run) => run.peer === self)
      .map(outboxRowOf),
  );
  // What was settled by the old log is judged again by the new one: the sessions in that one tell what is over.
  for (const [key] of outbox) own.delete(key);
  const kept = [...outbox.filter(([key]) => !key.endsWith('/settled')), ...(await everyRow(port, 'x/'))];
  const rescued = await port.kv.scan(rescuedRange);
  const ops: KvOp[] = [
    ...replica.recovered.map(proofOp),
    proofOp(candidate),
    ...[...own].map(([key, value]): KvOp => ({ type: 'put', key, value })),
    ...rescueOps(values, self),
  ].map(sealed);
  const asTheyAre = [...kept, ...rescued].map(([key, value]): KvOp => ({ type: 'put', key, value }));
  await writeLog(join(dir, LOG_FILE), replica.reader);
  await rm(dir + REBORN, { recursive: true, force: true });
  await createStore(dir + REBORN, async (made) => {
    const first = firstTurn(replica.genesisBytes, incarnation);
    const { prepared } = JournalCore.create(incarnationBytes(incarnation), {
      ...first,
      ops: [...first.ops, ...asTheyAre, ...ops],
    });
    await made.kv.write(prepared.ops, { sync: true });
    await made.mark.write(prepared.mark.place, prepared.mark.bytes);
  });
}

/** The old store goes aside under a name that says why, and the new one takes its place. Returns where the old one is. */
export async function swap(dir: string, candidate: Candidate): Promise<string> {
  const aside = dir + ASIDE + toHex(candidate.epoch).slice(0, 8);
  await rename(dir, aside);
  await rename(dir + REBORN, dir);
  await syncDirectory(dirname(dir));
  return aside;
}

/** A swap that a crash cut short is brought to its end, or begins again. Before the groups are opened. */
export async function finishSwaps(groupsDir: string): Promise<void> {
  const names = await readdir(groupsDir).catch(() => [] as string[]);
  for (const name of names.filter((each) => each.endsWith(REBORN))) {
    const place = name.slice(0, -REBORN.length);
    if (names.includes(place)) await rm(join(groupsDir, name), { recursive: true, force: true });
    else await rename(join(groupsDir, name), join(groupsDir, place));
  }
  await syncDirectory(groupsDir);
}

/** Where older logs of this group lie that others went on without. */
export async function setAside(dir: string): Promise<readonly string[]> {
  const names = await readdir(dirname(dir)).catch(() => [] as string[]);
  return names.filter((name) => name.startsWith(basename(dir) + ASIDE)).map((name) => join(dirname(dir), name));
}

/** The last slot up to which the two logs are surely one; to go back too far costs time alone, since sessions tell what is judged. */
function commonPrefix(port: StorePort, prefix: Slot, { outcome }: Candidate): Slot {
  const digestAt = (at: Slot): Uint8Array | null => {
    const record = port.kv.get(digestKey(at));
    return record === undefined ? null : decodeDigest(openRecord(digestKey(at), record));
  };
  if (prefix < outcome.prefix) return prefix;
  const own = digestAt(outcome.prefix);
  return own !== null && equal(own, outcome.digest) ? outcome.prefix : slot(0);
}

/** Everything above, chosen or only accepted. What was dropped or is damaged here others may hold. */
async function tail(port: StorePort, common: Slot): Promise<readonly Value[]> {
  const rows = await port.kv.scan({ gte: logKey(common + 1), lt: 'l0', limit: Number.MAX_SAFE_INTEGER });
  return rows.flatMap(([key, record]): Value[] => {
    try {
      return [decodeLogRecord(openRecord(key, record), batchHash).value];
    } catch (error) {
      if (error instanceof RecordError || error instanceof FormatError) return [];
      throw error;
    }
  });
}

async function everyRow(port: StorePort, prefix: string): Promise<readonly KvRow[]> {
  const { gte, lt } = prefixRange(prefix);
  return port.kv.scan({ gte, lt, limit: Number.MAX_SAFE_INTEGER });
}

/** The log as it was, for people and for any program. */
async function writeLog(path: string, reader: DocumentReader): Promise<void> {
  const file = createWriteStream(path, { mode: 0o600 });
  const last = reader.positions();
  for (let from = 1; from <= last; from += PAGE_ROWS) {
    const lines: string[] = [];
    for (let at = from; at < from + PAGE_ROWS && at <= last; at++) {
      lines.push(`${JSON.stringify({ ...entryView(reader, reader.entryAt(at as Position)), status: 'committed' })}\n`);
    }
    if (!file.write(lines.join(''))) await once(file, 'drain');
  }
  file.end();
  await once(file, 'finish');
}
