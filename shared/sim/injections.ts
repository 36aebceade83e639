/**
 * Everything that is broken on purpose goes through here, and has a number: the n-th of its seed. A seed that fails is written down by letting only some
 * of them happen (`minimise.ts`).
 */
export class Injections {
  /** How many were made, by kind. */
  readonly counts: Record<string, number> = {};
  /** So many were to be made so far. */
  asked = 0;
  readonly #only: ReadonlySet<number> | null;
  readonly #note: (line: string) => void;

  /** @param only the numbers of those that happen; null: all of them. */
  constructor(only: readonly number[] | null, note: (line: string) => void) {
    this.#only = only === null ? null : new Set(only);
    this.#note = note;
  }

  /** May this one happen? Whoever gets true makes it. */
  strike(kind: string, detail: string): boolean {
    const n = this.asked++;
    if (this.#only !== null && !this.#only.has(n)) return false;
    this.counts[kind] = (this.counts[kind] ?? 0) + 1;
    this.#note(`-- ${n}: ${kind} ${detail}`);
    return true;
  }
}
