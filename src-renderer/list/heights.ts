/**
 * The heights of a long list, of which most were never measured. A sum tree (Fenwick) finds where a row lies, and which row lies somewhere, in about twenty
 * steps for a million rows. Rows are counted from 0; heights are pixels.
 */
export class Heights {
  readonly #guess: number;
  #measured = new Float64Array(256);
  /** Sums of what differs from the guess. */
  #tree = new Float64Array(257);
  #count = 0;

  constructor(guess: number) {
    this.#guess = guess;
  }

  get count(): number {
    return this.#count;
  }

  get total(): number {
    return this.offsetOf(this.#count);
  }

  /** The rows at the end come or go; the others keep their heights. */
  resize(count: number): void {
    for (let row = count; row < this.#count; row++) this.set(row, this.#guess);
    for (let row = count; row < this.#count; row++) this.#measured[row] = 0;
    if (count > this.#measured.length) this.#grow(count);
    this.#count = count;
  }

  set(row: number, height: number): boolean {
    const before = this.of(row);
    if (row < 0 || row >= this.#count || before === height) return false;
    this.#measured[row] = height;
    for (let i = row + 1; i < this.#tree.length; i += i & -i) this.#tree[i]! += height - before;
    return true;
  }

  of(row: number): number {
    return this.#measured[row] || this.#guess;
  }

  /** Where a row begins; for `count` and beyond, where the last one ends. */
  offsetOf(row: number): number {
    const end = Math.max(0, Math.min(row, this.#count));
    let sum = end * this.#guess;
    for (let i = end; i > 0; i -= i & -i) sum += this.#tree[i]!;
    return sum;
  }

  /** The row that covers a place; the nearest one for a place outside. */
  rowAt(offset: number): number {
    let low = 0;
    let high = this.#count - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.offsetOf(middle) <= offset) low = middle;
      else high = middle - 1;
    }
    return Math.max(0, low);
  }

  #grow(count: number): void {
    const size = 2 ** Math.ceil(Math.log2(count));
    const measured = new Float64Array(size);
    measured.set(this.#measured);
    this.#measured = measured;
    // A tree of another size is built anew, in one pass.
    const tree = new Float64Array(size + 1);
    for (let i = 1; i <= size; i++) {
      const height = measured[i - 1]!;
      tree[i]! += height === 0 ? 0 : height - this.#guess;
      const parent = i + (i & -i);
      if (parent <= size) tree[parent]! += tree[i]!;
    }
    this.#tree = tree;
  }
}
