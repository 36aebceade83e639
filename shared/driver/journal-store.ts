import { JournalCore } from './journal.ts';
import { JournalCheck, type JournalFound, type JournalInit, TURN_RANGE } from './journal-check.ts';
import { CHECKPOINT, DAMAGED, KEPT, PAGE_ROWS, type Prepared, type Turn, type Verdict } from './journal-format.ts';
import type { StorePort } from './store.ts';

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
      kept: port.kv.get(KEPT),
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
