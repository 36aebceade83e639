/**
 * The newest write-ahead file of a peer that was killed, cut off at every record's end and in every record's middle. Whatever is cut off was vouched for by the
 * mark, so each cut is noticed; with nothing cut off the store is whole. So it is where the last record alone is cut that the mark carries: it is completed from there.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { newestMark } from '../../../shared/driver/journal-format.ts';
import { MARK_PLACE_BYTES } from '../../../shared/driver/store.ts';
import { verifyDir } from '../../../src-main/peer/verify.ts';
import { never, type Peer, textsOf, untilAgreed, untilStatus, worldForAll } from '../harness.ts';
import { largest } from './damage.ts';

/** LevelDB's log format: blocks of 32 KiB, each fragment with a header of checksum (4), length (2) and kind (1). */
const BLOCK_BYTES = 32_768;
const HEADER_BYTES = 7;
/** Kinds of a fragment that ends a record: whole in itself, or the last of several. */
const ENDS = new Set([1, 4]);
const WRITE_AHEAD = /^groups\/[^/]+\/db\/\d+\.log$/;
/** Cuts that are tried at most, spread over the file, its end among them. SYNOD_FAULT_CUTS takes more. */
const CUTS_MAX = Number(process.env.SYNOD_FAULT_CUTS ?? 60);

interface LogRecord {
  readonly start: number;
  readonly end: number;
}

function recordsOf(bytes: Uint8Array): LogRecord[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const records: LogRecord[] = [];
  let start: number | null = null;
  for (let at = 0; at + HEADER_BYTES <= bytes.length; ) {
    const left = BLOCK_BYTES - (at % BLOCK_BYTES);
    if (left < HEADER_BYTES) {
      at += left; // too short for a header: zeros
      continue;
    }
    const kind = view.getUint8(at + 6);
    if (kind === 0) break;
    start ??= at;
    at += HEADER_BYTES + view.getUint16(at + 4, true);
    if (ENDS.has(kind)) {
      records.push({ start, end: at });
      start = null;
    }
  }
  return records;
}

const world = worldForAll();
const dir = mkdtempSync(join(tmpdir(), 'synod-cuts-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

let peers: [Peer, Peer, Peer];
let acknowledged: string[] = [];

beforeAll(async () => {
  peers = await world.group('Ana', 'Ben', 'Cleo');
  const [ana, ben, cleo] = peers;
  for (let n = 0; n < 12; n++) {
    const text = `${n} ${'x'.repeat(n * 700)}`;
    const service = await (peers[n % 3] as Peer).service();
    expect((await service.append({ text, wait: 'committed', timeoutMs: 60_000 }, never)).status).toBe('committed');
    acknowledged.push(text);
  }
  await untilAgreed(...peers);
  await Promise.all([ana.kill(), ben.kill()]);
  await cleo.does('append', '--wait', 'saved', 'known to Cleo alone');
  acknowledged = [...acknowledged, 'known to Cleo alone'];
  await cleo.kill();
}, 120_000);

/** A copy of Cleo's directory with so much of its write-ahead file. */
function copyCutTo(bytes: number): string {
  const copy = join(dir, `cut at ${bytes}`);
  cpSync(peers[2].dir, copy, { recursive: true });
  truncateSync(largest(copy, WRITE_AHEAD), bytes);
  return copy;
}

/** Whether Cleo's mark carries the batch of its last turn. */
function carriesLast(): boolean {
  const bytes = readFileSync(largest(peers[2].dir, /^groups\/[^/]+\/mark$/));
  const place = (at: number): Uint8Array =>
    new Uint8Array(bytes.subarray(at * MARK_PLACE_BYTES, (at + 1) * MARK_PLACE_BYTES));
  return (newestMark([place(0), place(1)]).mark?.batch ?? null) !== null;
}

test('every cut is noticed, and the whole file is whole', async () => {
  const bytes = readFileSync(largest(peers[2].dir, WRITE_AHEAD));
  const records = recordsOf(bytes);
  expect(records.at(-1)?.end).toBe(bytes.length);
  expect(records.length).toBeGreaterThan(20);
  const all = [0, ...records.flatMap(({ start, end }) => [Math.floor((start + end) / 2), end - 1, end])];
  const every = Math.max(1, all.length / CUTS_MAX);
  const chosen = new Set(all.filter((_, at) => Math.floor(at / every) !== Math.floor((at - 1) / every)));
  for (const cut of all.slice(-7)) chosen.add(cut);

  // What the mark carries is not lost with its record.
  const last = records.at(-1) as LogRecord;
  const wholeFrom = carriesLast() ? last.start : bytes.length;
  const missed: number[] = [];
  const kinds = new Map<string, number>();
  for (const cut of chosen) {
    const copy = copyCutTo(cut);
    const { ok, problems } = await verifyDir(copy);
    const code = problems[0]?.code ?? 'whole';
    kinds.set(code, (kinds.get(code) ?? 0) + 1);
    if (ok !== cut >= wholeFrom) missed.push(cut);
    rmSync(copy, { recursive: true });
  }
  console.log(`${records.length} records, ${chosen.size} cuts: ${JSON.stringify(Object.fromEntries(kinds))}`);
  expect(missed).toEqual([]);
});

test('cut off in its last record, it is completed from the mark and goes on', async () => {
  const [, , cleo] = peers;
  expect(carriesLast()).toBe(true);
  const path = largest(cleo.dir, WRITE_AHEAD);
  const last = recordsOf(readFileSync(path)).at(-1) as LogRecord;
  truncateSync(path, Math.floor((last.start + last.end) / 2));
  await Promise.all(peers.map((peer) => peer.start()));
  await untilStatus(cleo, 'it goes on', ({ canCommit }) => canCommit);
  await untilAgreed(...peers);
  expect(cleo.stderr.split('completed from the mark')).toHaveLength(2);
  expect(cleo.troubles.splice(0).filter((line) => line.includes('damaged'))).toEqual([]);
  for (const peer of peers) {
    const texts = textsOf(await peer.log());
    expect(texts.filter((text) => acknowledged.includes(text ?? ''))).toEqual(acknowledged);
  }
});

test('cut off before its last record, it is started: what was agreed is there again, and it says what is wrong', async () => {
  const [ana, ben, cleo] = peers;
  await cleo.does('append', '--wait', 'saved', 'and one more');
  await cleo.does('append', '--wait', 'saved', 'and another');
  await cleo.kill();
  const path = largest(cleo.dir, WRITE_AHEAD);
  const records = recordsOf(readFileSync(path));
  truncateSync(path, (records.at(-3) as LogRecord).start);
  await cleo.start();
  await ana.does('append', 'with Cleo damaged');
  // It may be on its way back, or back already.
  const { whyCode, why } = await untilStatus(cleo, 'it has what the others have', ({ positions, ...status }) => {
    return positions > acknowledged.length && (status.canCommit || status.whyCode === 'DAMAGED');
  });
  if (whyCode !== null)
    expect(why).toMatch(/^This copy was damaged \(the store ends with turn \d+, but had come to turn \d+\)/);
  const troubles = cleo.troubles.splice(0);
  expect(troubles.filter((line) => line.includes('this copy was damaged'))).toHaveLength(1);
  expect(troubles.filter((line) => !line.includes('damaged'))).toEqual([]);
  await untilAgreed(ana, ben);
  for (const peer of [ana, ben]) {
    const texts = textsOf(await peer.log());
    expect(texts.filter((text) => acknowledged.includes(text ?? ''))).toEqual(acknowledged);
  }
});
