import { assert } from '../base/assert.ts';
import { encodeCbor } from '../base/cbor.ts';
import { ZERO_HASH } from '../base/hash.ts';
import {
  batchHash,
  CHECKPOINT_TURNS,
  type Checkpoint,
  DAMAGED,
  encodeMark,
  FORMAT,
  fitsIntoMark,
  INCARNATION_BYTES,
  type MarkFields,
  type Position,
  type Prepared,
  putCheckpoint,
  TURN,
  type Turn,
  turnHash,
} from './journal-format.ts';
import { Kept } from './kept.ts';
import { numberKey, seal } from './records.ts';
import type { KvOp } from './store.ts';

/**
 * The journal without its disk: says what to write and learns that it was written. `Journal` drives it with promises, the
 * simulator step by step.
 */
export class JournalCore {
  readonly #incarnation: Uint8Array;
  #last: Position;
  #checkpoint: Checkpoint;
  #counter: number;
  readonly #kept: Kept;
  #next: { readonly last: Position; readonly checkpoint: Checkpoint } | null = null;
  #failed = false;

  private constructor(incarnation: Uint8Array, last: Position, checkpoint: Checkpoint, counter: number, kept: Kept) {
    assert(incarnation.length === INCARNATION_BYTES, 'an incarnation has 16 bytes', incarnation.length);
    this.#incarnation = incarnation.slice();
    this.#last = last;
    this.#checkpoint = checkpoint;
    this.#counter = counter;
    this.#kept = kept;
  }

  /** For a store that holds nothing yet: `prepared` is its first turn. */
  static create(incarnation: Uint8Array, first: Turn): { readonly core: JournalCore; readonly prepared: Prepared } {
    const start: Checkpoint = { turn: 0, hash: ZERO_HASH, first: 1 };
    const core = new JournalCore(incarnation, start, start, 0, new Kept());
    const turn = core.prepare(first);
    return { core, prepared: { ...turn, ops: [putCheckpoint(start), ...turn.ops] } };
  }

  /** Goes on where an opened store stands. For `JournalCheck`. */
  static resume(
    incarnation: Uint8Array,
    last: Position,
    checkpoint: Checkpoint,
    counter: number,
    kept: Kept,
  ): JournalCore {
    return new JournalCore(incarnation, last, checkpoint, counter, kept);
  }

  /**
   * The same store under another incarnation: `prepared` begins a chain of its own with `first`, above every number that was used, and ends the verdict on the
   * former one. Nothing may be said as the new one before its mark is on the disk: a crash before that leaves a mark that does not fit, so it is found damaged again.
   */
  reborn(incarnation: Uint8Array, first: Turn): { readonly core: JournalCore; readonly prepared: Prepared } {
    this.#assertIdle();
    const start: Checkpoint = { turn: this.#last.turn, hash: ZERO_HASH, first: this.#last.turn + 1 };
    const core = new JournalCore(incarnation, start, start, this.#counter, this.#kept);
    const turn = core.prepare(first);
    const ops: KvOp[] = [{ type: 'del', key: DAMAGED }, putCheckpoint(start)];
    for (let old = this.#checkpoint.first; old <= this.#last.turn; old++) {
      ops.push({ type: 'del', key: numberKey(TURN, old) });
    }
    return { core, prepared: { ...turn, ops: [...ops, ...turn.ops] } };
  }

  /**
   * What was damaged can be had again, and all that only this store has is here: `ops` say what is still to come, and the verdict ends with them. No turn, since this
   * acceptor says nothing by it: what others saw of its runs has to fit to the turns that they wrote.
   */
  mended(ops: readonly KvOp[], fields: MarkFields): Prepared {
    this.#kept.apply(ops);
    return this.prepareMark(fields, [{ type: 'del', key: DAMAGED }, ...ops, this.#kept.op(this.#last.turn)]);
  }

  /** The number of the last turn that is on the disk. */
  get lastTurn(): number {
    return this.#last.turn;
  }

  get lastTurnHash(): Uint8Array {
    return this.#last.hash;
  }

  /**
   * The next turn's batch and mark. Then either `committed` or `failed` must follow.
   * @param mayCarry the mark carries the batch where it fits, so that both can be written at once
   */
  prepare(turn: Turn, mayCarry = false): Prepared {
    this.#assertIdle();
    const n = this.#last.turn + 1;
    const batch = batchHash(turn.ops);
    const accepted = encodeCbor(turn.accepted);
    const last: Position = { turn: n, hash: turnHash(this.#last.hash, batch, accepted) };
    const key = numberKey(TURN, n);
    const value = seal(key, FORMAT, encodeCbor([n, this.#last.hash, batch, accepted]));

    this.#kept.apply(turn.ops);
    const ops: KvOp[] = [...turn.ops, { type: 'put', key, value }, this.#kept.op(n)];
    let checkpoint = this.#checkpoint;
    if (n - checkpoint.turn === CHECKPOINT_TURNS) {
      for (let old = checkpoint.first; old <= checkpoint.turn; old++)
        ops.push({ type: 'del', key: numberKey(TURN, old) });
      checkpoint = { ...last, first: checkpoint.turn + 1 };
      ops.push(putCheckpoint(checkpoint));
    }
    return this.#begin(ops, last, checkpoint, turn, mayCarry && fitsIntoMark(ops));
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

  #begin(
    ops: readonly KvOp[],
    last: Position,
    checkpoint: Checkpoint,
    fields: MarkFields,
    isCarried = false,
  ): Prepared {
    const mark = encodeMark({
      counter: this.#counter + 1,
      turn: last.turn,
      turnHash: last.hash,
      promise: fields.promise,
      incarnation: this.#incarnation,
      lastOwnSeq: fields.lastOwnSeq,
      batch: isCarried ? ops : null,
    });
    this.#next = { last, checkpoint };
    return { ops, mark, isCarried };
  }
}
