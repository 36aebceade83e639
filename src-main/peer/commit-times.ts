/** Turns whose commands may wait for the group: more are not followed, so that a month offline costs no memory. */
const FOLLOWED_MAX = 4_096;

/** How long this machine's commands take from being saved to having their place. By their numbers, which are agreed on in order. */
export class CommitTimes {
  /** Commands up to `lastSeq` were saved together, the oldest first. */
  readonly #saved: { readonly firstSeq: number; readonly lastSeq: number; readonly atMs: number }[] = [];
  #lastSaved: number;

  /** @param lastSeq of what is on the disk already: nobody knows since when */
  constructor(lastSeq: number) {
    this.#lastSaved = lastSeq;
  }

  saved(lastSeq: number, nowMs: number): void {
    if (lastSeq <= this.#lastSaved) return;
    if (this.#saved.length < FOLLOWED_MAX) {
      this.#saved.push({ firstSeq: this.#lastSaved + 1, lastSeq, atMs: nowMs });
    }
    this.#lastSaved = lastSeq;
  }

  /** Everything up to `seq` has its place now. Returns what each command that was followed took, in milliseconds. */
  placed(seq: number, nowMs: number): readonly number[] {
    const took: number[] = [];
    for (let next = this.#saved[0]; next !== undefined && next.firstSeq <= seq; next = this.#saved[0]) {
      const upTo = Math.min(next.lastSeq, seq);
      for (let each = next.firstSeq; each <= upTo; each++) took.push(nowMs - next.atMs);
      this.#saved.shift();
      if (upTo === next.lastSeq) continue;
      this.#saved.unshift({ ...next, firstSeq: upTo + 1 });
    }
    return took;
  }
}
