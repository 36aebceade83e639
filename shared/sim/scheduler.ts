/** Virtual time: what is to happen when. Ties happen in the order in which they were planned, so a seed replays. */
export class Scheduler {
  /** A binary heap by (time, number). */
  readonly #heap: { readonly atMs: number; readonly n: number; readonly run: () => void }[] = [];
  #n = 0;
  #nowMs = 0;
  #events = 0;

  get nowMs(): number {
    return this.#nowMs;
  }
  /** Events run so far. */
  get events(): number {
    return this.#events;
  }

  after(delayMs: number, run: () => void): void {
    const heap = this.#heap;
    const event = { atMs: this.#nowMs + delayMs, n: this.#n++, run };
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (before(heap[parent] as typeof event, event)) break;
      heap[at] = heap[parent] as typeof event;
      at = parent;
    }
    heap[at] = event;
  }

  /** Runs everything planned up to `untilMs`, and what that plans. */
  runUntil(untilMs: number): void {
    for (let next = this.#heap[0]; next && next.atMs <= untilMs; next = this.#heap[0]) {
      this.#pop();
      this.#nowMs = next.atMs;
      this.#events++;
      next.run();
    }
    this.#nowMs = untilMs;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1] as typeof last, heap[child] as typeof last)) child++;
      if (before(last, heap[child] as typeof last)) break;
      heap[at] = heap[child] as typeof last;
      at = child;
    }
    heap[at] = last;
  }
}

interface Planned {
  readonly atMs: number;
  readonly n: number;
}

const before = (a: Planned, b: Planned): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.n < b.n);
