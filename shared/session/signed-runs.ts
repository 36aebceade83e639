import type { Signer } from '../base/crypto.ts';
import type { Seq } from '../base/ids.ts';
import type { KvOp } from '../base/kv.ts';
import { type Run, type SessionId, signRun } from '../document/index.ts';
import type { Item } from './items.ts';
import { encodeRunRow, encodeSettled, runKey, settledKey } from './rows.ts';
import { portions } from './wishes.ts';

export interface Cut {
  readonly runs: readonly Run[];
  readonly ops: readonly KvOp[];
}

/** This session's commands on their way to the disk: what waits to be signed, and the signed runs that are not settled, a row each. */
export class SignedRuns {
  readonly #session: SessionId;
  #uncut: Item[] = [];
  #runs: Run[] = [];
  /** Bookkeeping that must not be on the disk before the commands that stand in for the settled ones are. */
  #held: KvOp[] = [];
  #mustHold = false;

  constructor(session: SessionId) {
    this.#session = session;
  }

  /** Commands that wait to be signed. */
  get uncut(): number {
    return this.#uncut.length;
  }

  /** There is something for `cut` to do. */
  get needsCut(): boolean {
    return this.#uncut.length > 0 || this.#held.length > 0;
  }

  /** In order. */
  get signed(): readonly Run[] {
    return this.#runs;
  }

  /** Takes in a run from the disk. */
  load(run: Run): void {
    this.#runs.push(run);
  }

  add(item: Item): void {
    this.#uncut.push(item);
  }

  /** Signs all that was added since the last cut. The runs may be sent once the operations are on the disk. */
  cut(signer: Signer): Cut {
    const runs: Run[] = [];
    // First what was held: it may delete a row whose key is used again.
    const ops: KvOp[] = [...this.#held];
    for (const items of portions(this.#uncut)) {
      const commands = items.map((item) => item.command);
      const run = signRun(this.#session, commands, signer);
      const extras = items.map(({ command, root, supersedes, quiet }) => ({
        seq: command.seq,
        root,
        supersedes,
        quiet,
      }));
      ops.push({ type: 'put', key: runKey(run.incarnation, run.firstSeq), value: encodeRunRow({ run, extras }) });
      runs.push(run);
    }
    this.#runs.push(...runs);
    this.#uncut = [];
    this.#held = [];
    this.#mustHold = false;
    return { runs, ops };
  }

  /** From now until the next cut, bookkeeping waits for that. */
  hold(): void {
    this.#mustHold = true;
  }

  /** What of the bookkeeping may be written now; the rest is in the next cut. */
  release(ops: readonly KvOp[]): readonly KvOp[] {
    if (!this.#mustHold) return ops;
    this.#held.push(...ops);
    return [];
  }

  /** Rows of runs that are settled as a whole go. @param settled the last seq whose outcome was taken in */
  settle(settled: Seq, ops: KvOp[]): void {
    const { incarnation } = this.#session;
    this.#runs = this.#runs.filter((run) => {
      if (run.lastSeq > settled) return true;
      ops.push({ type: 'del', key: runKey(incarnation, run.firstSeq) });
      return false;
    });
    ops.push({ type: 'put', key: settledKey(incarnation), value: encodeSettled(settled) });
  }

  /** All of it goes, signed or not: it was never sent. */
  forget(ops: KvOp[]): void {
    for (const run of this.#runs) ops.push({ type: 'del', key: runKey(this.#session.incarnation, run.firstSeq) });
    this.#uncut = [];
    this.#runs = [];
  }
}
