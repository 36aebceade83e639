import { equal } from '../base/bytes.ts';
import type { KvOp, KvReader } from '../base/kv.ts';
import {
  batchHash,
  CHECKPOINT,
  isOwnKey,
  newestMark,
  readCheckpoint,
  readTurn,
  TURN,
  type TurnRecord,
  turnHash,
} from './journal-format.ts';
import { numberKey } from './records.ts';

/**
 * The batch that the mark carries and the database does not hold: both were being written as the crash came, or the disk was full. It is to be written, synced, before anything else is
 * looked at. Null where there is none, or where it does not follow from what the database holds: then the check of the turns says what is wrong.
 * @param kv gives sealed records @throws StoreError `NEWER_FORMAT`
 */
export function carriedBatch(
  marks: readonly [Uint8Array | null, Uint8Array | null],
  kv: KvReader,
): readonly KvOp[] | null {
  const { mark } = newestMark(marks);
  if (mark === null || mark.batch === null) return null;
  const key = numberKey(TURN, mark.turn);
  if (kv.get(key) !== undefined) return null;
  const link = linkIn(mark.batch, key);
  if (link === null) return null;
  const isWhole =
    equal(link.batch, batchHash(mark.batch.filter((op) => !isOwnKey(op.key)))) &&
    equal(turnHash(link.previous, link.batch, link.accepted), mark.turnHash);
  const end = endAt(kv, mark.turn - 1);
  return isWhole && end !== null && equal(end, link.previous) ? mark.batch : null;
}

function linkIn(batch: readonly KvOp[], key: string): TurnRecord | null {
  for (const op of batch) if (op.type === 'put' && op.key === key) return readTurn(key, op.value);
  return null;
}

/** The hash of turn `n` as the database holds it. */
function endAt(kv: KvReader, n: number): Uint8Array | null {
  const key = numberKey(TURN, n);
  const record = kv.get(key);
  if (record !== undefined) {
    const row = readTurn(key, record);
    return row && turnHash(row.previous, row.batch, row.accepted);
  }
  const start = kv.get(CHECKPOINT);
  const checkpoint = start === undefined ? null : readCheckpoint(start);
  return checkpoint !== null && checkpoint.turn === n && checkpoint.first === n + 1 ? checkpoint.hash : null;
}
