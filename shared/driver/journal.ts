import { assert } from '../base/assert.ts';
import { concat, equal, readUint32, uint32 } from '../base/bytes.ts';
import { asArray, asBytes, asInteger, asText, type Cbor, decodeCbor, encodeCbor, FormatError } from '../base/cbor.ts';
import { HASH_BYTES, hashFor, ZERO_HASH } from '../base/hash.ts';
import { KEY_NUMBER_MAX, numberKey, numberOfKey, prefixRange, RecordError, seal, unseal } from './records.ts';
import { type KvOp, type MarkPlace, StoreError, type StorePort } from './store.ts';

/**
 * The journal notices what a database loses in silence: LevelDB drops damaged parts of its write-ahead file, at the tail or in
 * the middle, and opens as if nothing had been. So every turn of the driver leaves a link of a chain in its own batch, and after
 * the batch is on the disk a mark, in a file of its own, says how far the chain went. Nothing of a turn may be said to
 * anybody before its mark is on the disk.
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
 *
 *   mark file   two places of 512 bytes: length (4 bytes, big-endian) ‖ sealed record of that length ‖ zero bytes. The record's key is
 *               mark/0 or mark/1, its payload CBOR [counter, n, turn hash, promise, incarnation (16 bytes), last own seq]. The counter goes up by one with
 *               each write, and its parity is the place; the higher counter counts.
 */
const FORMAT = 1;
const TURN = 't/';
const CHECKPOINT = 't!';
const DAMAGED = 'm/damaged';
const PLACE_BYTES = 512;
const INCARNATION_BYTES = 16;

/** Turns between two checkpoints, so that opening reads fewer than twice as many. */
export const CHECKPOINT_TURNS = 4096;
/** Rows asked for at once when a journal is opened. */
const PAGE_ROWS = 1000;
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
 * - `DAMAGED_BEFORE`: an earlier opening found damage; what it found stands after it.
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
  | 'DAMAGED_BEFORE';

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
      readonly lastTurn: number;
      /** As it was found, or null where there is none that can be read. */
      readonly mark: Mark | null;
    };

export interface MarkWrite {
  readonly place: MarkPlace;
  readonly bytes: Uint8Array;
}

/** What is to be done, in this order: the batch (if it isn't empty), synced; then the mark; then `committed()`. */
export interface Prepared {
  readonly ops: readonly KvOp[];
  readonly mark: MarkWrite;
}

interface Position {
  readonly turn: number;
  readonly hash: Uint8Array;
}

interface Checkpoint extends Position {
  /** The oldest t/ record kept. */
  readonly first: number;
}

type MarkFields = Pick<Mark, 'promise' | 'lastOwnSeq'>;

const NO_FIELDS: MarkFields = { promise: null, lastOwnSeq: 0 };

/**
 * The journal without its disk: says what to write and learns that it was written. `Journal` drives it with promises, the
 * simulator step by step.
 */
export class JournalCore {
  readonly #incarnation: Uint8Array;
  #last: Position;
  #checkpoint: Checkpoint;
  #counter: number;
  #next: { readonly last: Position; readonly checkpoint: Checkpoint } | null = null;
  #failed = false;

  private constructor(incarnation: Uint8Array, last: Position, checkpoint: Checkpoint, counter: number) {
    assert(incarnation.length === INCARNATION_BYTES, 'an incarnation has 16 bytes', incarnation.length);
    this.#incarnation = incarnation.slice();
    this.#last = last;
    this.#checkpoint = checkpoint;
    this.#counter = counter;
  }

  /** For a store that holds nothing yet: `prepared` is its first turn. */
  static create(incarnation: Uint8Array, first: Turn): { readonly core: JournalCore; readonly prepared: Prepared } {
    const start: Checkpoint = { turn: 0, hash: ZERO_HASH, first: 1 };
    const core = new JournalCore(incarnation, start, start, 0);
    const turn = core.prepare(first);
    return { core, prepared: { ops: [putCheckpoint(start), ...turn.ops], mark: turn.mark } };
  }

  /** Goes on where an opened store stands. For `JournalCheck`. */
  static resume(incarnation: Uint8Array, last: Position, checkpoint: Checkpoint, counter: number): JournalCore {
    return new JournalCore(incarnation, last, checkpoint, counter);
  }

  /** The number of the last turn that is on the disk, mark included. */
  get lastTurn(): number {
    return this.#last.turn;
  }

  get lastTurnHash(): Uint8Array {
    return this.#last.hash;
  }

  /** The next turn's batch and mark. Then either `committed` or `failed` must follow. */
  prepare(turn: Turn): Prepared {
    this.#assertIdle();
    const n = this.#last.turn + 1;
    const batch = batchHash(turn.ops);
    const accepted = encodeCbor(turn.accepted);
    const last: Position = { turn: n, hash: turnHash(this.#last.hash, batch, accepted) };
    const key = numberKey(TURN, n);
    const value = seal(key, FORMAT, encodeCbor([n, this.#last.hash, batch, accepted]));

    const ops: KvOp[] = [...turn.ops, { type: 'put', key, value }];
    let checkpoint = this.#checkpoint;
    if (n - checkpoint.turn === CHECKPOINT_TURNS) {
      for (let old = checkpoint.first; old <= checkpoint.turn; old++)
        ops.push({ type: 'del', key: numberKey(TURN, old) });
      checkpoint = { ...last, first: checkpoint.turn + 1 };
      ops.push(putCheckpoint(checkpoint));
    }
    return this.#begin(ops, last, checkpoint, turn);
  }

  /** A mark for where the chain already stands, after `ops`; and where `start` is given, the chain begins anew there. */
  prepareMark(fields: MarkFields, ops: readonly KvOp[] = [], start: Checkpoint | null = null): Prepared {
    this.#assertIdle();
    return this.#begin(ops, start ?? this.#last, start ?? this.#checkpoint, fields);
  }

  /** Batch and mark are on the disk. */
  committed(): void {
    assert(this.#next !== null && !this.#failed, 'nothing was prepared, or it failed');
    this.#last = this.#next.last;
    this.#checkpoint = this.#next.checkpoint;
    this.#counter += 1;
    this.#next = null;
  }

  /** What was prepared may or may not be on the disk. Only opening the store again tells; this journal is done. */
  failed(): void {
    this.#failed = true;
  }

  #assertIdle(): void {
    assert(!this.#failed, 'a journal whose write failed is not written again');
    assert(this.#next === null, 'one turn at a time', this.#last.turn);
  }

  #begin(ops: readonly KvOp[], last: Position, checkpoint: Checkpoint, fields: MarkFields): Prepared {
    const mark = encodeMark({
      counter: this.#counter + 1,
      turn: last.turn,
      turnHash: last.hash,
      promise: fields.promise,
      incarnation: this.#incarnation,
      lastOwnSeq: fields.lastOwnSeq,
    });
    this.#next = { last, checkpoint };
    return { ops, mark };
  }
}

/** What a store holds besides its t/ records. */
export interface JournalFound {
  readonly checkpoint: Uint8Array | undefined;
  readonly damaged: Uint8Array | undefined;
  readonly marks: readonly [Uint8Array | null, Uint8Array | null];
}

export interface JournalInit {
  /** The store's incarnation as it knows it itself, 16 bytes. */
  readonly incarnation: Uint8Array;
  /** Whether a row of the last turn's accepted list is there, whole, with that hash. */
  readonly acceptedExists: (row: Cbor) => boolean;
  /** Promise and last own seq as they stand in the database. Asked only where the chain is whole and the mark is to catch up with it. */
  readonly state: () => MarkFields;
}

export interface Opening {
  readonly core: JournalCore;
  readonly verdict: Verdict;
  /** Must be on the disk, and `core.committed()` be called, before anything else is done with the store. */
  readonly repair: Prepared | null;
}

/** The keys under which `JournalFound` and the t/ records are. */
export const JOURNAL_KEYS: { readonly checkpoint: string; readonly damaged: string } = {
  checkpoint: CHECKPOINT,
  damaged: DAMAGED,
};
export const TURN_RANGE: { readonly gte: string; readonly lt: string } = prefixRange(TURN);

/** Judges a store as it is opened: takes the t/ records in ascending order, one by one, then gives its verdict. Pure. */
export class JournalCheck {
  readonly #init: JournalInit;
  readonly #problems: Problem[] = [];
  readonly #before: readonly Problem[] | null;
  readonly #checkpoint: Checkpoint | null;
  readonly #mark: Mark | null;
  readonly #wholePlaces: number;
  readonly #keys: string[] = [];
  /** The last link that was followed; its hash is null after a gap. */
  #at: { turn: number; hash: Uint8Array | null };
  #highest = 0;
  #hashAtMark: Uint8Array | null = null;
  #accepted: Uint8Array | null = null;

  /** @throws StoreError `NEWER_FORMAT` */
  constructor(found: JournalFound, init: JournalInit) {
    this.#init = init;
    this.#before = found.damaged === undefined ? null : readProblems(found.damaged);
    this.#checkpoint = this.#readCheckpoint(found.checkpoint);
    const marks = ([0, 1] as const).map((place) => readMark(place, found.marks[place])).filter((mark) => mark !== null);
    this.#wholePlaces = marks.length;
    this.#mark = marks.toSorted((a, b) => b.counter - a.counter)[0] ?? null;
    const { turn, hash, first } = this.#checkpoint ?? { turn: 0, hash: null, first: 1 };
    this.#at = first === turn + 1 ? { turn, hash } : { turn: first - 1, hash: null };
    this.#noteHash();
  }

  /** @throws StoreError `NEWER_FORMAT` */
  row(key: string, record: Uint8Array): void {
    this.#keys.push(key);
    const row = this.#readTurn(key, record);
    if (row === null) return;

    const expected = this.#at.turn + 1;
    if (row.turn < expected) {
      this.#say('TURN_BROKEN', `turn ${row.turn} is there, but the record of turns begins with ${expected}`);
      return;
    }
    if (row.turn > expected) {
      // Without a checkpoint the beginning isn't known, and that was said already.
      if (this.#checkpoint !== null || this.#accepted !== null) this.#sayMissing(expected, row.turn - 1);
    } else if (this.#at.hash !== null && !equal(this.#at.hash, row.previous)) {
      this.#say('TURN_BROKEN', `turn ${row.turn} does not follow from the turn before it`);
    }
    this.#at = { turn: row.turn, hash: turnHash(row.previous, row.batch, row.accepted) };
    this.#accepted = row.accepted;
    this.#noteHash();
    if (this.#checkpoint?.turn === row.turn && !equal(this.#checkpoint.hash, this.#at.hash as Uint8Array)) {
      this.#say('TURN_BROKEN', `turn ${row.turn} is not the one that the checkpoint names`);
    }
  }

  /** After the last row. */
  finish(): Opening {
    if (this.#checkpoint !== null && this.#at.turn < this.#checkpoint.turn) {
      this.#sayMissing(this.#at.turn + 1, this.#checkpoint.turn);
    }
    this.#judgeMark();
    if (this.#problems.length === 0) this.#judgeAccepted();
    return this.#problems.length === 0 && this.#mark !== null && this.#checkpoint !== null && this.#at.hash !== null
      ? this.#goOn(this.#mark, this.#checkpoint, { turn: this.#at.turn, hash: this.#at.hash })
      : this.#startAnew();
  }

  #readCheckpoint(record: Uint8Array | undefined): Checkpoint | null {
    if (record === undefined) {
      this.#say('TURN_MISSING', 'the checkpoint of the turns is gone');
      return null;
    }
    const checkpoint = readRecord(CHECKPOINT, record, (payload) => {
      const [turn, hash, first] = asArray(decodeCbor(payload), 3);
      const n = asInteger(turn, 0, KEY_NUMBER_MAX);
      return { turn: n, hash: asBytes(hash, HASH_BYTES), first: asInteger(first, 1, n + 1) };
    });
    if (checkpoint === null) this.#say('TURN_BROKEN', 'the checkpoint of the turns is damaged');
    return checkpoint;
  }

  #readTurn(
    key: string,
    record: Uint8Array,
  ): { turn: number; previous: Uint8Array; batch: Uint8Array; accepted: Uint8Array } | null {
    const row = readRecord(key, record, (payload) => {
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
    if (row === null) this.#say('TURN_BROKEN', `the record ${key} of a turn is damaged`);
    else this.#highest = row.turn;
    return row;
  }

  #noteHash(): void {
    if (this.#mark !== null && this.#at.turn === this.#mark.turn) this.#hashAtMark = this.#at.hash;
  }

  #judgeMark(): void {
    const mark = this.#mark;
    if (this.#isJustAnew()) return;
    if (mark === null) {
      this.#say('MARK_MISSING', 'the mark is missing or damaged, so nothing tells how far this store had come');
      return;
    }
    if (!equal(mark.incarnation, this.#init.incarnation)) {
      this.#say('MARK_FOREIGN', 'the mark belongs to another store');
      return;
    }
    const last = this.#at.turn;
    // One turn can have come without its mark. With one place broken, the mark that counts may be one older still.
    const lagMax = this.#wholePlaces === 2 ? 1 : 2;
    if (mark.turn > last) {
      this.#say('BEHIND_MARK', `the store ends with turn ${last}, but had come to turn ${mark.turn}`);
    } else if (last - mark.turn > lagMax) {
      this.#say('MARK_OLD', `the mark is of turn ${mark.turn}, but the store has come to turn ${last}`);
    } else if (this.#hashAtMark === null || !equal(this.#hashAtMark, mark.turnHash)) {
      this.#say('MARK_MISMATCH', `turn ${mark.turn} is not the one that the mark names`);
    }
  }

  #judgeAccepted(): void {
    if (this.#accepted === null) return;
    let rows: readonly Cbor[];
    try {
      rows = asArray(decodeCbor(this.#accepted));
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      this.#say('TURN_BROKEN', `what turn ${this.#at.turn} accepted can't be read`);
      return;
    }
    const gone = rows.filter((row) => !this.#init.acceptedExists(row)).length;
    if (gone > 0) {
      this.#say('ACCEPTED_MISSING', `${gone} of ${rows.length} values that this store accepted are gone or damaged`);
    }
  }

  #goOn(mark: Mark, checkpoint: Checkpoint, last: Position): Opening {
    const core = JournalCore.resume(this.#init.incarnation, last, checkpoint, mark.counter);
    const verdict: Verdict =
      this.#before === null
        ? { sound: true, lastTurn: last.turn, mark }
        : { sound: false, problems: [DAMAGED_PROBLEM, ...this.#before], lastTurn: last.turn, mark };
    const isThere = mark.turn === last.turn && equal(mark.turnHash, last.hash);
    const fields = this.#before === null && !isThere ? this.#init.state() : mark;
    return { core, verdict, repair: isThere ? null : core.prepareMark(fields) };
  }

  /** The verdict was kept, and then the crash came before the new chain had its mark: an older one says nothing about it. */
  #isJustAnew(): boolean {
    const start = this.#checkpoint;
    return this.#before !== null && start !== null && start.first === start.turn + 1 && this.#at.turn === start.turn;
  }

  /** Keeps the verdict, and begins a new chain above every number that was ever used. */
  #startAnew(): Opening {
    const all = [...(this.#before ?? [])];
    for (const problem of this.#problems) if (!all.some(({ code }) => code === problem.code)) all.push(problem);
    const turn = Math.max(this.#checkpoint?.turn ?? 0, this.#mark?.turn ?? 0, this.#highest);
    const start: Checkpoint = { turn, hash: ZERO_HASH, first: turn + 1 };
    const core = JournalCore.resume(this.#init.incarnation, start, start, this.#mark?.counter ?? 0);
    const ops: KvOp[] = this.#keys.map((key) => ({ type: 'del', key }));
    ops.push(putCheckpoint(start), { type: 'put', key: DAMAGED, value: sealProblems(all) });
    return {
      core,
      verdict: {
        sound: false,
        problems: this.#before === null ? all : [DAMAGED_PROBLEM, ...all],
        lastTurn: turn,
        mark: this.#mark,
      },
      repair: core.prepareMark(this.#mark ?? NO_FIELDS, ops, start),
    };
  }

  #sayMissing(from: number, to: number): void {
    this.#say('TURN_MISSING', from === to ? `turn ${from} is missing` : `turns ${from} to ${to} are missing`);
  }

  /** The first of each kind is enough: what follows mostly comes of it. */
  #say(code: ProblemCode, message: string): void {
    if (!this.#problems.some((problem) => problem.code === code)) this.#problems.push({ code, message });
  }
}

const DAMAGED_PROBLEM: Problem = { code: 'DAMAGED_BEFORE', message: 'damage was found here before' };

/** The journal on a store. Every error but an unsound verdict is a `StoreError`; after one, the store must be opened again. */
export class Journal {
  readonly #port: StorePort;
  readonly #core: JournalCore;
  #error: unknown = null;

  private constructor(port: StorePort, core: JournalCore) {
    this.#port = port;
    this.#core = core;
  }

  /** Puts the first turn and its mark into a store that holds nothing yet. */
  static async create(port: StorePort, incarnation: Uint8Array, first: Turn): Promise<Journal> {
    const { core, prepared } = JournalCore.create(incarnation, first);
    const journal = new Journal(port, core);
    await journal.#put(prepared);
    return journal;
  }

  /**
   * Judges the store. An unsound verdict is on the disk before this resolves, and the journal then goes on with a new chain.
   * @throws StoreError, among them `NEWER_FORMAT`
   */
  static async open(
    port: StorePort,
    init: JournalInit,
  ): Promise<{ readonly journal: Journal; readonly verdict: Verdict }> {
    const found: JournalFound = {
      checkpoint: port.kv.get(CHECKPOINT),
      damaged: port.kv.get(DAMAGED),
      marks: await port.mark.read(),
    };
    const check = new JournalCheck(found, init);
    for (let gte: string | null = TURN_RANGE.gte; gte !== null; ) {
      const rows = await port.kv.scan({ gte, lt: TURN_RANGE.lt, limit: PAGE_ROWS });
      for (const [key, record] of rows) check.row(key, record);
      const last = rows.at(-1);
      gte = last === undefined || rows.length < PAGE_ROWS ? null : `${last[0]}\0`;
    }
    const { core, verdict, repair } = check.finish();
    const journal = new Journal(port, core);
    if (repair !== null) await journal.#put(repair);
    return { journal, verdict };
  }

  get lastTurn(): number {
    return this.#core.lastTurn;
  }

  get lastTurnHash(): Uint8Array {
    return this.#core.lastTurnHash;
  }

  /**
   * Resolves once batch and mark are both on the disk: only then may the turn be spoken of. After a rejection the turn may or may not be there,
   * and every further write rejects with the same error.
   * @throws StoreError
   */
  async write(turn: Turn): Promise<void> {
    if (this.#error !== null) throw this.#error;
    await this.#put(this.#core.prepare(turn));
  }

  async #put({ ops, mark }: Prepared): Promise<void> {
    try {
      if (ops.length > 0) await this.#port.kv.write(ops, { sync: true });
      await this.#port.mark.write(mark.place, mark.bytes);
    } catch (error) {
      this.#core.failed();
      this.#error = error;
      throw error;
    }
    this.#core.committed();
  }
}

function turnHash(previous: Uint8Array, batch: Uint8Array, accepted: Uint8Array): Uint8Array {
  return hashFor('turn', previous, batch, accepted);
}

const PUT = Uint8Array.of(1);
const DEL = Uint8Array.of(0);

function batchHash(ops: readonly KvOp[]): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const op of ops) {
    assert(!isOwnKey(op.key), "only the journal writes the journal's keys", op.key);
    parts.push(op.type === 'put' ? PUT : DEL, uint32(op.key.length), asciiBytes(op.key));
    if (op.type === 'put') parts.push(uint32(op.value.length), op.value);
  }
  return hashFor('batch', ...parts);
}

function isOwnKey(key: string): boolean {
  return key.startsWith(TURN) || key === CHECKPOINT || key === DAMAGED;
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

function putCheckpoint({ turn, hash, first }: Checkpoint): KvOp {
  return { type: 'put', key: CHECKPOINT, value: seal(CHECKPOINT, FORMAT, encodeCbor([turn, hash, first])) };
}

/** Null where the record is damaged. @throws StoreError `NEWER_FORMAT` */
function readRecord<T>(key: string, record: Uint8Array, read: (payload: Uint8Array) => T): T | null {
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

function encodeMark(mark: Mark): MarkWrite {
  assert(Number.isSafeInteger(mark.lastOwnSeq) && mark.lastOwnSeq >= 0, 'a seq is a whole number', mark.lastOwnSeq);
  const place: MarkPlace = mark.counter % 2 === 0 ? 0 : 1;
  const { counter, turn, turnHash, promise, incarnation, lastOwnSeq } = mark;
  const payload = encodeCbor([counter, turn, turnHash, promise, incarnation, lastOwnSeq]);
  const record = seal(markKey(place), FORMAT, payload);
  const used = concat(uint32(record.length), record);
  assert(used.length <= PLACE_BYTES, 'a mark fits into its place', used.length);
  const bytes = new Uint8Array(PLACE_BYTES);
  bytes.set(used);
  return { place, bytes };
}

/** Null where the place isn't whole. @throws StoreError `NEWER_FORMAT` */
function readMark(place: MarkPlace, bytes: Uint8Array | null): Mark | null {
  if (bytes === null || bytes.length < 4) return null;
  const length = readUint32(bytes);
  if (length > bytes.length - 4) return null;
  return readRecord(markKey(place), bytes.subarray(4, 4 + length), (payload) => {
    const [counter, turn, turnHash, promise, incarnation, lastOwnSeq] = asArray(decodeCbor(payload), 6);
    const mark: Mark = {
      counter: asInteger(counter, 1),
      turn: asInteger(turn, 0, KEY_NUMBER_MAX),
      turnHash: asBytes(turnHash, HASH_BYTES),
      promise: promise as Cbor,
      incarnation: asBytes(incarnation, INCARNATION_BYTES),
      lastOwnSeq: asInteger(lastOwnSeq),
    };
    if (mark.counter % 2 !== place) throw new FormatError('the mark of the other place');
    return mark;
  });
}

function markKey(place: MarkPlace): string {
  return `mark/${place}`;
}

/** The verdict that stays, for damage that was found elsewhere than in the chain of turns. */
export function damagedVerdict(problems: readonly { readonly code: string; readonly message: string }[]): KvOp {
  return { type: 'put', key: DAMAGED, value: sealProblems(problems) };
}

function sealProblems(problems: readonly { readonly code: string; readonly message: string }[]): Uint8Array {
  const rows = problems.slice(0, PROBLEMS_MAX).map(({ code, message }) => [code, message.slice(0, MESSAGE_LENGTH_MAX)]);
  return seal(DAMAGED, FORMAT, encodeCbor(rows));
}

/** Empty where the verdict itself is damaged: it stands all the same. */
function readProblems(record: Uint8Array): readonly Problem[] {
  const problems = readRecord(DAMAGED, record, (payload) =>
    asArray(decodeCbor(payload)).map((row): Problem => {
      const [code, message] = asArray(row, 2);
      return { code: asText(code) as ProblemCode, message: asText(message, MESSAGE_LENGTH_MAX) };
    }),
  );
  return problems ?? [];
}
