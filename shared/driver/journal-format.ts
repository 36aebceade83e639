import { assert } from '../base/assert.ts';
import { concat, readUint32, uint32 } from '../base/bytes.ts';
import { asArray, asBytes, asInteger, asText, type Cbor, decodeCbor, encodeCbor, FormatError } from '../base/cbor.ts';
import { HASH_BYTES, hashFor } from '../base/hash.ts';
import { KEY_NUMBER_MAX, numberOfKey, RecordError, seal, unseal } from './records.ts';
import { type KvOp, MARK_PLACE_BYTES, type MarkPlace, StoreError } from './store.ts';

/**
 * The journal notices what a database loses in silence: LevelDB drops damaged parts of its write-ahead file, at the tail or in
 * the middle, and opens as if nothing had been. So every turn of the driver leaves a link of a chain in its own batch, and after
 * the batch is on the disk a mark, in a file of its own, says how far the chain went. No promise, no acceptance and no "saved" may be told
 * to anybody before the mark is on the disk.
 *
 * STORED FORMATS, version 1. They can't be changed later. Records are sealed (`records.ts`); hashes are SHA-256 with the purpose's
 * prefix (`hash.ts`); CBOR is deterministic; numbers in keys are 13 hex digits.
 *
 *   t/<n>       one turn, n dense from 1: CBOR [n, previous, batch, accepted]
 *               previous  the turn hash of n−1; 32 zero bytes at the start of a chain
 *               batch     H('batch', ops): of the turn's own operations in their order, without those of the journal. A put is
 *                         01 ‖ key length ‖ key ‖ value length ‖ value, a deletion 00 ‖ key length ‖ key; lengths are 4 bytes, big-endian
 *               accepted  a byte string: the CBOR array of what the acceptor holds accepted above the chosen prefix after this
 *                         turn, a row each ([slot, ballot, value hash]; the journal does not look into them)
 *               turn hash H('turn', previous ‖ batch ‖ accepted)
 *   t!          the checkpoint: CBOR [n, turn hash of n, first]; `first` is the number of the oldest t/ record kept. Written when a chain
 *               starts ([n, 32 zero bytes, n+1]) and then every 4,096 turns, in the batch of turn n, which deletes the t/ records
 *               up to the checkpoint before.
 *   m/damaged   the verdict that stays: CBOR [[code, message], …]
 *   m/kept      what the turn's records are counted by that nobody else has (`kept.ts`)
 *
 *   mark file   two places of 4,096 bytes: length (4 bytes, big-endian) ‖ sealed record of that length ‖ anything. The record's key is
 *               mark/0 or mark/1, its payload CBOR [counter, n, turn hash, promise, incarnation (16 bytes), last own seq], and where the mark carries the
 *               batch of turn n a seventh: all of its operations in their order, [key, value] for a put and [key] for a deletion. The counter goes up by
 *               one with each write, and its parity is the place; the higher counter counts.
 */
export const FORMAT = 1;
export const TURN = 't/';
export const CHECKPOINT = 't!';
export const DAMAGED = 'm/damaged';
export const KEPT = 'm/kept';
/** A mark is written in whole sectors of a disk. Bytes. */
const SECTOR_BYTES = 512;
const LENGTH_BYTES = 4;
/** Around what a mark carries: all else in it, and what CBOR adds to each operation at most. Bytes. */
const MARK_BYTES_MAX = 256;
const OPERATION_BYTES_MAX = 8;
export const INCARNATION_BYTES = 16;

/** Turns between two checkpoints, so that opening reads fewer than twice as many. */
export const CHECKPOINT_TURNS = 4096;
/** Rows asked for at once when a journal is opened. */
export const PAGE_ROWS = 1000;
const PROBLEMS_MAX = 32;
const MESSAGE_LENGTH_MAX = 500;

/** What one turn of the driver leaves on the disk. */
export interface Turn {
  /** One atomic batch. May be empty; never touches the journal's own keys. */
  readonly ops: readonly KvOp[];
  /** Everything that the acceptor holds accepted above the chosen prefix after this turn, a row each; opaque here. */
  readonly accepted: readonly Cbor[];
  /** The acceptor's promise after this turn; opaque here. */
  readonly promise: Cbor;
  /** The number of the last command of one's own after this turn; 0 for none. */
  readonly lastOwnSeq: number;
}

/** What the mark file says. */
export interface Mark {
  readonly counter: number;
  readonly turn: number;
  readonly turnHash: Uint8Array;
  readonly promise: Cbor;
  readonly incarnation: Uint8Array;
  readonly lastOwnSeq: number;
  /** All of the turn's batch, the journal's own records among it, where the mark carries it. */
  readonly batch: readonly KvOp[] | null;
}

/**
 * - `MARK_MISSING`: there is no mark file, or neither of its places is whole.
 * - `MARK_FOREIGN`: the mark is that of another store.
 * - `MARK_OLD`: the mark is further behind than a crash leaves it: it was put back, or the database was.
 * - `MARK_MISMATCH`: the turn that the mark names has another hash here: the database is another one.
 * - `BEHIND_MARK`: turns that the mark vouches for are gone from the end.
 * - `TURN_MISSING`: turns, or the checkpoint, are gone from the middle.
 * - `TURN_BROKEN`: a turn's record is damaged, or does not follow from the one before.
 * - `ACCEPTED_MISSING`: something that this store accepted is gone.
 * - `KEPT_MISSING`: something else that nobody else has is gone, or older than it was.
 * - `DAMAGED_BEFORE`: an earlier opening found damage; what it found stands after it.
 *
 * What the layers around found is kept in the same place:
 * - `DATABASE_BROKEN`, `RECORD_DAMAGED`: the database below, or a record that can't be made anew.
 * - the rest, where the store is whole in itself: `shared/replica/remedy.ts` says what each means.
 */
export type ProblemCode =
  | 'MARK_MISSING'
  | 'MARK_FOREIGN'
  | 'MARK_OLD'
  | 'MARK_MISMATCH'
  | 'BEHIND_MARK'
  | 'TURN_MISSING'
  | 'TURN_BROKEN'
  | 'ACCEPTED_MISSING'
  | 'KEPT_MISSING'
  | 'DAMAGED_BEFORE'
  | 'DATABASE_BROKEN'
  | 'RECORD_DAMAGED'
  | 'ROLLED_BACK'
  | 'REBUILT'
  | 'COPIED'
  | 'REPLACED'
  | 'OTHER_PLACE';

export interface Problem {
  readonly code: ProblemCode;
  readonly message: string;
}

export type Verdict =
  | {
      readonly sound: true;
      readonly lastTurn: number;
      /** As it was found. Its turn may be before the last one: the crash came between the batch and the mark. */
      readonly mark: Mark;
    }
  | {
      readonly sound: false;
      readonly problems: readonly Problem[];
      /** Rows of what was accepted, where they and all that nobody else has are here, and only what was found elsewhere speaks against this store; otherwise null. */
      readonly vouched: readonly Cbor[] | null;
      readonly lastTurn: number;
      /** As it was found, or null where there is none that can be read. */
      readonly mark: Mark | null;
    };

export interface MarkWrite {
  readonly place: MarkPlace;
  readonly bytes: Uint8Array;
}

/**
 * What is to be done, in this order: the batch (if it isn't empty), synced; then the mark; then `committed()`. Batch and mark may be written at once where the mark carries the batch:
 * whichever a crash leaves, the turn is whole or was not there, and never looks like one that was lost.
 */
export interface Prepared {
  readonly ops: readonly KvOp[];
  readonly mark: MarkWrite;
  readonly isCarried: boolean;
}

export interface Position {
  readonly turn: number;
  readonly hash: Uint8Array;
}

export interface Checkpoint extends Position {
  /** The oldest t/ record kept. */
  readonly first: number;
}

export type MarkFields = Pick<Mark, 'promise' | 'lastOwnSeq'>;

export const NO_FIELDS: MarkFields = { promise: null, lastOwnSeq: 0 };

export function turnHash(previous: Uint8Array, batch: Uint8Array, accepted: Uint8Array): Uint8Array {
  return hashFor('turn', previous, batch, accepted);
}

const PUT = Uint8Array.of(1);
const DEL = Uint8Array.of(0);

/** @param ops a turn's own, without those of the journal */
export function batchHash(ops: readonly KvOp[]): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const op of ops) {
    assert(!isOwnKey(op.key), "only the journal writes the journal's keys", op.key);
    parts.push(op.type === 'put' ? PUT : DEL, uint32(op.key.length), asciiBytes(op.key));
    if (op.type === 'put') parts.push(uint32(op.value.length), op.value);
  }
  return hashFor('batch', ...parts);
}

/** A record of the journal, not of the turn. */
export function isOwnKey(key: string): boolean {
  return key.startsWith(TURN) || key === CHECKPOINT || key === DAMAGED || key === KEPT;
}

function asciiBytes(key: string): Uint8Array {
  const bytes = new Uint8Array(key.length);
  for (let i = 0; i < key.length; i++) {
    const code = key.charCodeAt(i);
    assert(code < 0x80, 'keys are ASCII', key);
    bytes[i] = code;
  }
  return bytes;
}

export function putCheckpoint({ turn, hash, first }: Checkpoint): KvOp {
  return { type: 'put', key: CHECKPOINT, value: seal(CHECKPOINT, FORMAT, encodeCbor([turn, hash, first])) };
}

/** One t/ record. */
export interface TurnRecord {
  readonly turn: number;
  readonly previous: Uint8Array;
  readonly batch: Uint8Array;
  readonly accepted: Uint8Array;
}

/** Null where the record is damaged. @throws StoreError `NEWER_FORMAT` */
export function readTurn(key: string, record: Uint8Array): TurnRecord | null {
  return readRecord(key, record, (payload) => {
    const [n, previous, batch, accepted] = asArray(decodeCbor(payload), 4);
    const turn = asInteger(n, 1, KEY_NUMBER_MAX);
    if (numberOfKey(TURN, key) !== turn) throw new FormatError('another turn');
    return {
      turn,
      previous: asBytes(previous, HASH_BYTES),
      batch: asBytes(batch, HASH_BYTES),
      accepted: asBytes(accepted),
    };
  });
}

/** Null where the record is damaged. @throws StoreError `NEWER_FORMAT` */
export function readCheckpoint(record: Uint8Array): Checkpoint | null {
  return readRecord(CHECKPOINT, record, (payload) => {
    const [turn, hash, first] = asArray(decodeCbor(payload), 3);
    const n = asInteger(turn, 0, KEY_NUMBER_MAX);
    return { turn: n, hash: asBytes(hash, HASH_BYTES), first: asInteger(first, 1, n + 1) };
  });
}

/** Null where the record is damaged. @throws StoreError `NEWER_FORMAT` */
export function readRecord<T>(key: string, record: Uint8Array, read: (payload: Uint8Array) => T): T | null {
  try {
    return read(unseal(key, record, FORMAT).payload);
  } catch (error) {
    if (error instanceof RecordError && error.code === 'NEWER_FORMAT') {
      throw new StoreError('NEWER_FORMAT', 'this store was written by a newer version of Synod', { cause: error });
    }
    if (error instanceof RecordError || error instanceof FormatError) return null;
    throw error;
  }
}

/** @throws InvariantError where it carries more than fits (`fitsIntoMark`) */
export function encodeMark(mark: Mark): MarkWrite {
  assert(Number.isSafeInteger(mark.lastOwnSeq) && mark.lastOwnSeq >= 0, 'a seq is a whole number', mark.lastOwnSeq);
  const place: MarkPlace = mark.counter % 2 === 0 ? 0 : 1;
  const { counter, turn, turnHash, promise, incarnation, lastOwnSeq, batch } = mark;
  const fields: Cbor[] = [counter, turn, turnHash, promise, incarnation, lastOwnSeq];
  if (batch !== null) fields.push(batch.map((op) => (op.type === 'put' ? [op.key, op.value] : [op.key])));
  const record = seal(markKey(place), FORMAT, encodeCbor(fields));
  const used = concat(uint32(record.length), record);
  assert(used.length <= MARK_PLACE_BYTES, 'a mark fits into its place', used.length);
  const bytes = new Uint8Array(Math.ceil(used.length / SECTOR_BYTES) * SECTOR_BYTES);
  bytes.set(used);
  return { place, bytes };
}

/** Whether a mark can carry this batch. */
export function fitsIntoMark(ops: readonly KvOp[]): boolean {
  let bytes = MARK_BYTES_MAX;
  for (const op of ops) {
    bytes += OPERATION_BYTES_MAX + op.key.length + (op.type === 'put' ? op.value.length : 0);
    if (bytes > MARK_PLACE_BYTES) return false;
  }
  return true;
}

/** Null where the place isn't whole. @throws StoreError `NEWER_FORMAT` */
export function readMark(place: MarkPlace, bytes: Uint8Array | null): Mark | null {
  if (bytes === null || bytes.length < LENGTH_BYTES) return null;
  const length = readUint32(bytes);
  if (length > bytes.length - LENGTH_BYTES) return null;
  return readRecord(markKey(place), bytes.subarray(LENGTH_BYTES, LENGTH_BYTES + length), (payload) => {
    const fields = asArray(decodeCbor(payload));
    if (fields.length !== 6 && fields.length !== 7) throw new FormatError('a mark has six fields or seven');
    const [counter, turn, turnHash, promise, incarnation, lastOwnSeq, batch] = fields;
    const mark: Mark = {
      counter: asInteger(counter, 1),
      turn: asInteger(turn, 0, KEY_NUMBER_MAX),
      turnHash: asBytes(turnHash, HASH_BYTES),
      promise: promise as Cbor,
      incarnation: asBytes(incarnation, INCARNATION_BYTES),
      lastOwnSeq: asInteger(lastOwnSeq),
      batch: batch === undefined ? null : asArray(batch).map(asOperation),
    };
    if (mark.counter % 2 !== place) throw new FormatError('the mark of the other place');
    return mark;
  });
}

function asOperation(row: Cbor): KvOp {
  const [key, value, ...more] = asArray(row);
  if (more.length > 0) throw new FormatError('an operation has a key and a value');
  return value === undefined
    ? { type: 'del', key: asText(key) }
    : { type: 'put', key: asText(key), value: asBytes(value) };
}

/** What counts: the place that was written last of those that are whole. @throws StoreError `NEWER_FORMAT` */
export function newestMark(places: readonly [Uint8Array | null, Uint8Array | null]): {
  readonly mark: Mark | null;
  readonly wholePlaces: number;
} {
  const marks = ([0, 1] as const).map((place) => readMark(place, places[place])).filter((mark) => mark !== null);
  return { mark: marks.toSorted((a, b) => b.counter - a.counter)[0] ?? null, wholePlaces: marks.length };
}

function markKey(place: MarkPlace): string {
  return `mark/${place}`;
}

/** The verdict that stays, for damage that was found elsewhere than in the chain of turns. */
export function damagedVerdict(problems: readonly { readonly code: string; readonly message: string }[]): KvOp {
  return { type: 'put', key: DAMAGED, value: sealProblems(problems) };
}

/**
 * What was found, beside the verdict that stands already: whatever that one says is not forgotten over it. One that can't be read may have said anything.
 * @param before sealed
 */
export function verdictWith<T extends { readonly code: string }>(
  found: T,
  before: Uint8Array | undefined,
): readonly (T | Problem)[] {
  if (before === undefined) return [found];
  const kept = readProblems(before).filter(({ code }) => code !== found.code);
  const untold: Problem = { code: 'KEPT_MISSING', message: "an earlier verdict on this store can't be read any more" };
  return [...(readProblems(before).length > 0 ? kept : [untold]), found];
}

export function sealProblems(problems: readonly { readonly code: string; readonly message: string }[]): Uint8Array {
  const rows = problems.slice(0, PROBLEMS_MAX).map(({ code, message }) => [code, message.slice(0, MESSAGE_LENGTH_MAX)]);
  return seal(DAMAGED, FORMAT, encodeCbor(rows));
}

/** Empty where the verdict itself is damaged: it stands all the same. */
export function readProblems(record: Uint8Array): readonly Problem[] {
  const problems = readRecord(DAMAGED, record, (payload) =>
    asArray(decodeCbor(payload)).map((row): Problem => {
      const [code, message] = asArray(row, 2);
      return { code: asText(code) as ProblemCode, message: asText(message, MESSAGE_LENGTH_MAX) };
    }),
  );
  return problems ?? [];
}
