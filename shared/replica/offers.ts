import type { PeerId } from '../base/ids.ts';
import type { Run } from '../document/index.ts';

/** Own runs that may be with the leader and not committed. Bytes. */
const WINDOW_BYTES = 1024 * 1024;
/** Nothing of one's own was settled for 1 s: all of it is offered again. Ticks of 50 ms. */
const PATIENCE_TICKS = 20;

export interface OfferSource {
  readonly pending: number;
  runsToSend(afterSeq: number, maxBytes: number): readonly Run[];
}

/**
 * How own commands come to the leader, and again after every change of leader, every silence and every loss: from the first that is not settled,
 * in order. Giving one twice is harmless (sessions, R8).
 */
export class Offers {
  readonly #source: OfferSource;
  #to: PeerId | null = null;
  #offeredSeq = 0;
  /** Runs that are offered and not settled: their bytes are the window. */
  #out: { lastSeq: number; bytes: number }[] = [];
  #idleTicks = 0;

  constructor(source: OfferSource) {
    this.#source = source;
  }

  onLeader(leader: PeerId | null): void {
    this.#to = leader;
    this.#startOver();
  }

  /** Own commands up to `seq` are judged. */
  onSettled(seq: number): void {
    this.#idleTicks = 0;
    while (this.#out[0] && this.#out[0].lastSeq <= seq) this.#out.shift();
    this.#offeredSeq = Math.max(this.#offeredSeq, seq);
  }

  tick(): void {
    if (this.#to === null || this.#source.pending === 0) this.#idleTicks = 0;
    else if (++this.#idleTicks >= PATIENCE_TICKS) this.#startOver();
  }

  /** The link to `peer` came back: what was on its way is lost. */
  onConnected(peer: PeerId): void {
    if (peer === this.#to) this.#startOver();
  }

  #startOver(): void {
    this.#offeredSeq = 0;
    this.#out = [];
    this.#idleTicks = 0;
  }

  /** What to give to whom now, as far as the window allows. @param savedSeq nothing above it leaves: it is not on the disk. */
  next(savedSeq: number): { readonly to: PeerId; readonly runs: readonly Run[] } | null {
    if (this.#to === null) return null;
    const room = WINDOW_BYTES - this.#out.reduce((sum, o) => sum + o.bytes, 0);
    if (room <= 0) return null;
    const runs = this.#source.runsToSend(this.#offeredSeq, room).filter((run) => run.lastSeq <= savedSeq);
    const last = runs[runs.length - 1];
    if (last === undefined) return null;
    for (const run of runs) this.#out.push({ lastSeq: run.lastSeq, bytes: run.bytes.length });
    this.#offeredSeq = last.lastSeq;
    return { to: this.#to, runs };
  }

  /** The pool had no room or wants an earlier one: what was not kept is offered again after a while. */
  notTaken(afterSeq: number): void {
    this.#offeredSeq = Math.min(this.#offeredSeq, afterSeq);
    this.#out = this.#out.filter((o) => o.lastSeq <= afterSeq);
  }
}
