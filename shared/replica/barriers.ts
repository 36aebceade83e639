import type { Slot } from '../base/ids.ts';

type Then = (at: Slot) => void;

/** Linearizable reads of this peer (R9): all wishes of a turn share one no-op, and are served once its slot is applied. */
export class Barriers {
  /** Drawn at the start, so that an answer meant for an earlier run of this peer is not believed. */
  #nextId: number;
  #wishes: Then[] = [];
  readonly #asked = new Map<number, readonly Then[]>();
  #placed: { readonly at: Slot; readonly then: readonly Then[] }[] = [];

  /** @param random in [0, 1) */
  constructor(random: () => number) {
    this.#nextId = Math.floor(random() * 2 ** 48);
  }

  get areWished(): boolean {
    return this.#wishes.length > 0;
  }

  wish(then: Then): void {
    this.#wishes.push(then);
  }

  /** One for all wishes so far: its id, for the core. */
  ask(): number {
    const id = this.#nextId++;
    this.#asked.set(id, this.#wishes);
    this.#wishes = [];
    return id;
  }

  /** `at` is committed, and was proposed after the barrier was asked for. */
  placed(id: number, at: Slot): void {
    const then = this.#asked.get(id);
    if (then === undefined) return;
    this.#asked.delete(id);
    this.#placed.push({ at, then });
  }

  /** Serves what waited for no more than `applied`. */
  applied(applied: Slot): void {
    const due = this.#placed.filter(({ at }) => at <= applied);
    if (due.length === 0) return;
    this.#placed = this.#placed.filter(({ at }) => at > applied);
    for (const { then } of due) for (const each of then) each(applied);
  }
}
