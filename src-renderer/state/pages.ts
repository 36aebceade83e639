/** What a cache needs to know of a line. */
interface Placed {
  readonly position: number;
}

interface Page<L> {
  /** Where a line has not come, there is none. */
  lines: readonly (L | undefined)[];
  /** How many positions it had when it was read. */
  length: number;
  /** When it was last shown, in turns of the cache. */
  used: number;
  isStale: boolean;
}

export const PAGE_SIZE = 100;

/**
 * The pages of a log that were read, the latest used only. A page that changed stays to be shown until it was read again, so that nothing flickers. What
 * changes while a page is on its way makes it stale once more.
 */
export class PageCache<L extends Placed> {
  readonly #pages = new Map<number, Page<L>>();
  readonly #reading = new Map<number, { isOutdated: boolean; readonly length: number }>();
  readonly #pagesMax: number;
  readonly #isSame: (a: L, b: L) => boolean;
  #positions = 0;
  #turn = 0;

  constructor(pagesMax: number, isSame: (a: L, b: L) => boolean) {
    this.#pagesMax = pagesMax;
    this.#isSame = isSame;
  }

  get positions(): number {
    return this.#positions;
  }

  get size(): number {
    return this.#pages.size;
  }

  line(position: number): L | undefined {
    const lines = this.#pages.get(pageOf(position))?.lines;
    return lines?.[(position - 1) % PAGE_SIZE];
  }

  /** The log has so many entries now, and these are new or other than before; null: nobody knows which. */
  changed(positions: number, changed: readonly number[] | null): void {
    this.#positions = positions;
    if (changed === null) for (const page of this.#pages.keys()) this.#outdate(page);
    else for (const page of new Set(changed.map(pageOf))) this.#outdate(page);
    if (changed === null) for (const reading of this.#reading.values()) reading.isOutdated = true;
  }

  /** The pages to read so that these positions can be shown: missing ones, changed ones, and one that the log has outgrown. */
  wanted(from: number, to: number): number[] {
    this.#turn += 1;
    const wanted: number[] = [];
    const last = Math.min(to, this.#positions);
    for (let page = pageOf(Math.max(1, from)); page <= pageOf(last) && last > 0; page++) {
      const known = this.#pages.get(page);
      if (known) known.used = this.#turn;
      if (this.#reading.has(page)) continue;
      if (!known || known.isStale || known.length < this.#lengthOf(page)) wanted.push(page);
    }
    return wanted;
  }

  /** Every page of these positions is here, as it is now. */
  isRead(from: number, to: number): boolean {
    const last = Math.min(to, this.#positions);
    for (let page = pageOf(Math.max(1, from)); page <= pageOf(last) && last > 0; page++) {
      const known = this.#pages.get(page);
      if (!known || known.isStale || known.length < this.#lengthOf(page) || this.#reading.has(page)) return false;
    }
    return true;
  }

  /** All lines that are here, in no order. */
  *lines(): Generator<L> {
    for (const { lines } of this.#pages.values()) for (const line of lines) if (line !== undefined) yield line;
  }

  #lengthOf(page: number): number {
    return Math.min(PAGE_SIZE, this.#positions - page * PAGE_SIZE);
  }

  begin(page: number): void {
    this.#reading.set(page, { isOutdated: false, length: this.#lengthOf(page) });
  }

  put(page: number, lines: readonly L[]): void {
    const { isOutdated: isStale = false, length: wanted = 0 } = this.#reading.get(page) ?? {};
    this.#reading.delete(page);
    const before = this.#pages.get(page)?.lines;
    const placed: (L | undefined)[] = [];
    for (const line of lines) {
      const at = (line.position - 1) % PAGE_SIZE;
      const old = before?.[at];
      // What did not change stays the same object, so that nobody draws it again.
      placed[at] = old && this.#isSame(old, line) ? old : line;
    }
    this.#pages.set(page, { lines: placed, length: Math.max(wanted, placed.length), used: this.#turn, isStale });
    this.#forgetOldest();
  }

  failed(page: number): void {
    this.#reading.delete(page);
  }

  #outdate(page: number): void {
    const known = this.#pages.get(page);
    if (known) known.isStale = true;
    const reading = this.#reading.get(page);
    if (reading) reading.isOutdated = true;
  }

  #forgetOldest(): void {
    while (this.#pages.size > this.#pagesMax) {
      let oldest = -1;
      let used = Number.POSITIVE_INFINITY;
      for (const [number, page] of this.#pages) {
        if (page.used < used) {
          oldest = number;
          used = page.used;
        }
      }
      this.#pages.delete(oldest);
    }
  }
}

/** Pages count from 0, positions from 1. */
export const pageOf = (position: number): number => Math.floor((position - 1) / PAGE_SIZE);
