import type { KvOp } from '../base/kv.ts';
import type { KvRow, KvSnapshot } from '../driver/store.ts';
import { type Area, areaRange } from './area.ts';

/** Rows deleted with one batch; fewer where they are large, as they are read for their keys. */
const ROWS = 512;
const ROWS_BYTES = 1024 * 1024;

/** Clears an area of the store that is not in use, a little with each batch. */
export class Sweep {
  readonly #area: Area;
  readonly #open: () => KvSnapshot;
  readonly #write: (ops: readonly KvOp[]) => void;
  readonly #isUnwritten: (key: string) => boolean;
  #state: 'wanted' | 'reading' | 'clear' = 'clear';
  #lastKey: string | null = null;

  constructor(init: {
    readonly area: Area;
    readonly open: () => KvSnapshot;
    readonly write: (ops: readonly KvOp[]) => void;
    readonly isUnwritten: (key: string) => boolean;
  }) {
    this.#area = init.area;
    this.#open = init.open;
    this.#write = init.write;
    this.#isUnwritten = init.isUnwritten;
  }

  get isClear(): boolean {
    return this.#state === 'clear' && !this.#isBusy;
  }

  get #isBusy(): boolean {
    return this.#lastKey !== null && this.#isUnwritten(this.#lastKey);
  }

  start(): void {
    if (this.#state === 'clear') this.#state = 'wanted';
  }

  tick(): void {
    if (this.#state !== 'wanted' || this.#isBusy) return;
    const snapshot = this.#open();
    const rows = snapshot.scan({ ...areaRange(this.#area), limit: ROWS, limitBytes: ROWS_BYTES });
    if (!(rows instanceof Promise)) {
      snapshot.close();
      return this.#take(rows);
    }
    this.#state = 'reading';
    const done = (read: readonly KvRow[]): void => {
      snapshot.close();
      this.#state = 'wanted';
      this.#take(read);
    };
    // A store that was closed meanwhile is swept at its next opening.
    rows.then(done, () => snapshot.close());
  }

  #take(rows: readonly KvRow[]): void {
    const last = rows.at(-1);
    if (last === undefined) {
      this.#state = 'clear';
      return;
    }
    this.#lastKey = last[0];
    this.#write(rows.map(([key]): KvOp => ({ type: 'del', key })));
  }
}
