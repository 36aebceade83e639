import { equal } from '../base/bytes.ts';
import { asArray, type Cbor, decodeCbor, FormatError } from '../base/cbor.ts';
import { ZERO_HASH } from '../base/hash.ts';
import { JournalCore } from './journal.ts';
import {
  CHECKPOINT,
  type Checkpoint,
  DAMAGED,
  KEPT,
  type Mark,
  type MarkFields,
  NO_FIELDS,
  newestMark,
  type Position,
  type Prepared,
  type Problem,
  type ProblemCode,
  putCheckpoint,
  readCheckpoint,
  readProblems,
  readTurn,
  sealProblems,
  TURN,
  type TurnRecord,
  turnHash,
  type Verdict,
} from './journal-format.ts';
import type { Kept } from './kept.ts';
import { prefixRange } from './records.ts';
import type { KvOp } from './store.ts';

/** What a store holds besides its t/ records. */
export interface JournalFound {
  readonly checkpoint: Uint8Array | undefined;
  readonly damaged: Uint8Array | undefined;
  readonly kept: Uint8Array | undefined;
  readonly marks: readonly [Uint8Array | null, Uint8Array | null];
}

export interface JournalInit {
  /** The store's incarnation as it knows it itself, 16 bytes. */
  readonly incarnation: Uint8Array;
  /** Whether a row of the last turn's accepted list is there, whole, with that hash. */
  readonly acceptedExists: (row: Cbor) => boolean;
  /** Of what is on the disk. The journal that goes on counts with it. */
  readonly kept: Kept;
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
export const JOURNAL_KEYS: { readonly checkpoint: string; readonly damaged: string; readonly kept: string } = {
  checkpoint: CHECKPOINT,
  damaged: DAMAGED,
  kept: KEPT,
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
  readonly #keptRecord: Uint8Array | undefined;

  /** @throws StoreError `NEWER_FORMAT` */
  constructor(found: JournalFound, init: JournalInit) {
    this.#init = init;
    this.#keptRecord = found.kept;
    this.#before = found.damaged === undefined ? null : readProblems(found.damaged);
    this.#checkpoint = this.#readCheckpoint(found.checkpoint);
    const { mark, wholePlaces } = newestMark(found.marks);
    this.#mark = mark;
    this.#wholePlaces = wholePlaces;
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
    const accepted = this.#problems.length === 0 ? this.#judgeAccepted() : null;
    const isAll = this.#init.kept.isAllOf(this.#at.turn, this.#keptRecord);
    if (this.#problems.length === 0 && isAll === false) {
      this.#say('KEPT_MISSING', 'records that nobody else has are gone, or older than they were');
    }
    return this.#problems.length === 0 && this.#mark !== null && this.#checkpoint !== null && this.#at.hash !== null
      ? this.#goOn(this.#mark, this.#checkpoint, { turn: this.#at.turn, hash: this.#at.hash }, isAll ? accepted : null)
      : this.#startAnew();
  }

  #readCheckpoint(record: Uint8Array | undefined): Checkpoint | null {
    if (record === undefined) {
      this.#say('TURN_MISSING', 'the checkpoint of the turns is gone');
      return null;
    }
    const checkpoint = readCheckpoint(record);
    if (checkpoint === null) this.#say('TURN_BROKEN', 'the checkpoint of the turns is damaged');
    return checkpoint;
  }

  #readTurn(key: string, record: Uint8Array): TurnRecord | null {
    const row = readTurn(key, record);
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

  /** The rows of what the last turn held accepted, all of them here; otherwise that is said. */
  #judgeAccepted(): readonly Cbor[] | null {
    if (this.#accepted === null) return [];
    let rows: readonly Cbor[];
    try {
      rows = asArray(decodeCbor(this.#accepted));
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      this.#say('TURN_BROKEN', `what turn ${this.#at.turn} accepted can't be read`);
      return null;
    }
    const gone = rows.filter((row) => !this.#init.acceptedExists(row)).length;
    if (gone === 0) return rows;
    this.#say('ACCEPTED_MISSING', `${gone} of ${rows.length} values that this store accepted are gone or damaged`);
    return null;
  }

  #goOn(mark: Mark, checkpoint: Checkpoint, last: Position, vouched: readonly Cbor[] | null): Opening {
    const core = JournalCore.resume(this.#init.incarnation, last, checkpoint, mark.counter, this.#init.kept);
    const verdict: Verdict =
      this.#before === null
        ? { sound: true, lastTurn: last.turn, mark }
        : { sound: false, problems: [DAMAGED_PROBLEM, ...this.#before], vouched, lastTurn: last.turn, mark };
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
    const core = JournalCore.resume(this.#init.incarnation, start, start, this.#mark?.counter ?? 0, this.#init.kept);
    const ops: KvOp[] = this.#keys.map((key) => ({ type: 'del', key }));
    ops.push(putCheckpoint(start), { type: 'put', key: DAMAGED, value: sealProblems(all) });
    return {
      core,
      verdict: {
        sound: false,
        problems: this.#before === null ? all : [DAMAGED_PROBLEM, ...all],
        vouched: null,
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
