import { equal } from '../base/bytes.ts';
import type { PeerId } from '../base/ids.ts';
import { isRedacted, isSupported, type Run, type SessionId, sessionKeyOf } from '../document/index.ts';

/**
 * What became of a run that was offered.
 * - `kept`: it waits for a slot
 * - `duplicate`: all of it waits, is on its way or was judged
 * - `gap`: an earlier command is missing; the author (or relay) sends again from `nextSeq`
 * - `fork`: it does not follow on what is here of its session
 * - `full`: no room for this author now; the sender keeps it and offers it again later
 * - `unsupported`: of a kind that this build does not know, or without its content: never proposed from here
 */
export type Offered = 'kept' | 'duplicate' | 'gap' | 'fork' | 'full' | 'unsupported';

/** What was judged of a session, from the applied state; seq 0 where nothing was. */
export type JudgedSeq = (session: SessionId) => number;

export const POOL_BYTES_MAX = 16 * 1024 * 1024;
export const TAKE_BYTES = 256 * 1024;

interface Waiting {
  /** In the order of their seqs, each following on the one before. */
  readonly runs: Run[];
  /** The end of what waits here or was taken: where the next run must follow on. */
  tail: Run;
}

/** The runs of one author's sessions; one of them is open, so in practice there is one. */
interface Author {
  readonly sessions: Map<string, Waiting>;
  bytes: number;
}

/**
 * The leader's runs that wait for a slot. Per session the order is the author's and nothing is missing; between authors
 * runs are taken in turn; bytes are bounded, and an author never holds more than is left for everybody else, so that one
 * who sends a flood leaves room for those who come later.
 */
export class Pool {
  readonly #judged: JudgedSeq;
  readonly #bytesMax: number;
  /** Insertion order is the order of turns: who was served goes to the end. */
  readonly #authors = new Map<PeerId, Author>();
  #bytes = 0;

  constructor(judged: JudgedSeq, bytesMax = POOL_BYTES_MAX) {
    this.#judged = judged;
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** True where no run waits. */
  get isEmpty(): boolean {
    return this.#bytes === 0;
  }

  /** All that wait, each session's in its order. */
  waiting(): readonly Run[] {
    return [...this.#authors.values()].flatMap(({ sessions }) => [...sessions.values()].flatMap(({ runs }) => runs));
  }

  offer(run: Run): Offered {
    const author = this.#authors.get(run.peer);
    const waiting = author?.sessions.get(sessionKeyOf(run));
    const next = this.#nextSeq(run, waiting);
    if (run.lastSeq < next) return 'duplicate';
    if (run.firstSeq > next) return 'gap';
    if (waiting && waiting.tail.lastSeq + 1 === next && !followsOn(run, waiting.tail)) return 'fork';
    if (isRedacted(run) || !isSupported(run)) return 'unsupported';
    if ((author?.bytes ?? 0) + run.bytes.length > this.#bytesMax - this.#bytes) return 'full';
    this.#keep(run, author, waiting);
    return 'kept';
  }

  /** The seq that the pool would take next from this session. */
  nextSeq(session: SessionId): number {
    return this.#nextSeq(session, this.#authors.get(session.peer)?.sessions.get(sessionKeyOf(session)));
  }

  /**
   * Runs for one slot, one author after the other, up to `maxBytes`; a larger run comes alone. Empty where none waits. What is
   * taken counts as being on its way until `reset`.
   */
  take(maxBytes = TAKE_BYTES): Run[] {
    const taken: Run[] = [];
    let bytes = 0;
    for (;;) {
      const [peer, run] = this.#first() ?? [];
      if (!peer || !run) break;
      if (taken.length > 0 && bytes + run.bytes.length > maxBytes) break;
      this.#remove(peer, run);
      taken.push(run);
      bytes += run.bytes.length;
    }
    return taken;
  }

  /** Leadership began or ended: what was on its way may be lost, and the authors send again. */
  reset(): void {
    this.#authors.clear();
    this.#bytes = 0;
  }

  #nextSeq(session: SessionId, waiting: Waiting | undefined): number {
    return Math.max(this.#judged(session), waiting?.tail.lastSeq ?? 0) + 1;
  }

  #keep(run: Run, author: Author | undefined, waiting: Waiting | undefined): void {
    const home = author ?? { sessions: new Map<string, Waiting>(), bytes: 0 };
    if (!author) this.#authors.set(run.peer, home);
    if (waiting) {
      waiting.runs.push(run);
      waiting.tail = run;
    } else home.sessions.set(sessionKeyOf(run), { runs: [run], tail: run });
    home.bytes += run.bytes.length;
    this.#bytes += run.bytes.length;
  }

  /** The run whose turn it is. Authors with nothing to say are forgotten once all that was taken from them is judged. */
  #first(): readonly [PeerId, Run] | undefined {
    for (const [peer, author] of this.#authors) {
      for (const [key, { runs, tail }] of author.sessions) {
        const judged = this.#judged(tail);
        while (runs[0] && runs[0].lastSeq <= judged) this.#drop(author, runs);
        if (runs[0]) return [peer, runs[0]];
        if (judged >= tail.lastSeq) author.sessions.delete(key);
      }
      if (author.sessions.size === 0) this.#authors.delete(peer);
    }
    return undefined;
  }

  #remove(peer: PeerId, run: Run): void {
    const author = this.#authors.get(peer) as Author;
    const session = author.sessions.get(sessionKeyOf(run)) as Waiting;
    this.#drop(author, session.runs);
    this.#authors.delete(peer);
    this.#authors.set(peer, author);
  }

  #drop(author: Author, runs: Run[]): void {
    const run = runs.shift();
    author.bytes -= run?.bytes.length ?? 0;
    this.#bytes -= run?.bytes.length ?? 0;
  }
}

/** A run that begins earlier is looked at where it passes the tail. */
function followsOn(run: Run, tail: Run): boolean {
  if (run.firstSeq === tail.lastSeq + 1) return equal(run.prev, tail.lastHash);
  const same = run.commands[tail.lastSeq - run.firstSeq];
  return same !== undefined && equal(same.hash, tail.lastHash);
}
