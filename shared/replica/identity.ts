import { equal } from '../base/bytes.ts';
import { asArray, asBytes, asInteger, decodeCbor, encodeCbor, FormatError } from '../base/cbor.ts';
import type { Incarnation, PeerId } from '../base/ids.ts';
import type { KvOp } from '../base/kv.ts';
import { prefixRange } from '../driver/records.ts';
import type { KvRow } from '../driver/store.ts';
import { decodeSeen, encodeSeen, type Seen } from '../wire/session-messages.ts';
import type { IdentityCode } from './remedy.ts';

/**
 * `m/seen/<peer>`: what was seen of a member's stores, as it is told: `[[incarnation, nonce, turn, twice] …]`, a row for each run, the last one seen last; before
 * them, where there are some, the two runs that show that its stores are more than one.
 */
const SEEN_PREFIX = 'm/seen/';
export const SEEN_RANGE: { readonly gte: string; readonly lt: string } = prefixRange(SEEN_PREFIX);
/** Incarnations of one peer that are remembered, and rows for each: as many as a greeting takes. */
const STORES_MAX = 4;
const ROWS_MAX = 4;
/** Runs of one store whose nonces are remembered, so that the return of one that had ended is noticed. */
const RUNS_MAX = 16;
/** What is seen is written with a batch that is written anyway, at most so often. 1 s, in ticks. */
const KEEP_TICKS = 20;

/** One run of a store, and the highest turn that it told. */
interface SeenRun {
  readonly nonce: Uint8Array;
  readonly turn: number;
}

/** Of two runs the later one at a lower turn than the earlier one had told. */
type Fork = readonly [SeenRun, SeenRun];

/** One peer's store, as far as it was seen. */
interface Sighting {
  readonly incarnation: Incarnation;
  /**
   * The last ones, in the order in which they were first seen. Not the highest turn alone: of two copies the one that comes back may have gone further on its own
   * than the other one did with the group, and its very first frames say so.
   */
  runs: SeenRun[];
  /**
   * One store's runs begin where the one before ended, so these two never ran on the same: whichever is told of them does not know one of them. However often it
   * starts before it can be told, they stay as they were seen.
   */
  fork: Fork | null;
  twice: boolean;
  /** Nonces that it greeted with, in their order. */
  readonly greetings: Uint8Array[];
}

const unseen = (incarnation: Incarnation): Sighting => {
  return { incarnation, runs: [], fork: null, twice: false, greetings: [] };
};

function note(sighting: Sighting, run: SeenRun): void {
  const { runs } = sighting;
  const at = runs.findIndex((each) => equal(each.nonce, run.nonce));
  // An older run that was seen further on than a later one began belongs to another store than that one, too.
  const [earlier, later] = at < 0 ? [runs, []] : [runs.slice(0, at), runs.slice(at + 1)];
  const before = earlier.find(({ turn }) => turn > run.turn);
  const after = later.find(({ turn }) => turn < run.turn);
  if (at < 0) runs.push(run);
  else runs[at] = run;
  if (sighting.fork === null && before) sighting.fork = [before, run];
  else if (sighting.fork === null && after) sighting.fork = [run, after];
  sighting.runs = runs.slice(-(ROWS_MAX - (sighting.fork?.length ?? 0)));
}

/** What this peer saw of the others' stores: for each its last runs, and the highest turn of each. Others are told of it, and so notice that they were put back. */
export class Sightings {
  readonly #of = new Map<PeerId, Sighting[]>();
  readonly #changed = new Set<PeerId>();
  #ticks = 0;
  #keptAtTick = 0;

  /** @param rows opened */
  constructor(rows: readonly KvRow[] = []) {
    for (const [key, value] of rows) {
      const sightings: Sighting[] = [];
      for (const { incarnation, nonce, turn, twice } of decodeSeen(decodeCbor(value))) {
        const known = sightings.find((each) => each.incarnation === incarnation);
        const sighting = known ?? unseen(incarnation);
        if (!known) sightings.push(sighting);
        sighting.twice ||= twice;
        note(sighting, { nonce, turn });
      }
      this.#of.set(key.slice(SEEN_PREFIX.length) as PeerId, sightings);
    }
  }

  tick(): void {
    this.#ticks++;
  }

  /** Stands on every frame. */
  frame(peer: PeerId, incarnation: Incarnation, nonce: Uint8Array, turn: number): void {
    const sighting = this.#sighting(peer, incarnation);
    const run = sighting.runs.find((each) => equal(each.nonce, nonce));
    if (turn <= (run?.turn ?? 0)) return;
    note(sighting, { nonce, turn });
    this.#changed.add(peer);
  }

  /**
   * A run of the peer's store greets, as it does on each new connection. True the first time that one comes back after another one had greeted: then both of
   * them live.
   */
  greeting(peer: PeerId, incarnation: Incarnation, nonce: Uint8Array): boolean {
    const sighting = this.#sighting(peer, incarnation);
    const { greetings } = sighting;
    const at = greetings.findIndex((each) => equal(each, nonce));
    if (at < 0) {
      greetings.push(nonce);
      if (greetings.length > RUNS_MAX) greetings.shift();
      return false;
    }
    if (at === greetings.length - 1 || sighting.twice) return false;
    sighting.twice = true;
    this.#changed.add(peer);
    return true;
  }

  /** The peer's stores, the one that was seen last at the end. */
  of(peer: PeerId): readonly Seen[] {
    return (this.#of.get(peer) ?? []).flatMap(({ incarnation, runs, fork, twice }) =>
      [...new Set([...(fork ?? []), ...runs])].map(({ nonce, turn }): Seen => ({ incarnation, nonce, turn, twice })),
    );
  }

  /** The incarnation that the peer was last seen under; null for one that never was. */
  incarnationOf(peer: PeerId): Incarnation | null {
    return this.#of.get(peer)?.at(-1)?.incarnation ?? null;
  }

  /** For a batch that is written anyway. Empty where nothing is new, or the last time was a moment ago. @param isLast before a stop */
  takeOps(isLast: boolean): readonly KvOp[] {
    if (this.#changed.size === 0) return [];
    if (!isLast && this.#ticks - this.#keptAtTick < KEEP_TICKS) return [];
    this.#keptAtTick = this.#ticks;
    const ops = [...this.#changed].map((peer): KvOp => {
      return { type: 'put', key: SEEN_PREFIX + peer, value: encodeCbor(encodeSeen(this.of(peer))) };
    });
    this.#changed.clear();
    return ops;
  }

  #sighting(peer: PeerId, incarnation: Incarnation): Sighting {
    const known = this.#of.get(peer);
    const last = known?.at(-1);
    if (last?.incarnation === incarnation) return last;
    const stores = known ?? [];
    const at = stores.findIndex((each) => each.incarnation === incarnation);
    const sighting = at < 0 ? unseen(incarnation) : (stores.splice(at, 1)[0] as Sighting);
    stores.push(sighting);
    if (stores.length > STORES_MAX) stores.shift();
    this.#of.set(peer, stores);
    this.#changed.add(peer);
    return sighting;
  }
}

/**
 * `m/runs`: `[[nonce, turn] …]`, the runs of this store under its incarnation and the last durable turn that each began with, in their order. A run is noted with
 * its first batch, and tells no turn before that: one that was seen is therefore in the list, unless it ran on another copy.
 */
export const RUNS_KEY = 'm/runs';
const RUNS_NOTED_MAX = 64;

interface Run {
  readonly nonce: Uint8Array;
  readonly turn: number;
}

/** The runs that led to where a store stands now. */
export class Lineage {
  readonly #runs: Run[] = [];
  readonly #isFirst: boolean;
  #isNoted: boolean;

  /** @param record opened. @param turn the last durable one as this run begins */
  constructor(record: Uint8Array | undefined, nonce: Uint8Array, turn: number) {
    if (record !== undefined) this.#runs.push(...decodeRuns(record));
    const last = this.#runs.at(-1);
    this.#isNoted = last !== undefined && equal(last.nonce, nonce);
    if (!this.#isNoted) this.#runs.push({ nonce, turn });
    this.#isFirst = this.#runs.length === 1;
    if (this.#runs.length > RUNS_NOTED_MAX) this.#runs.shift();
  }

  /**
   * What this run tells of its store's last durable turn: nothing, 0, before it wrote one itself. Until then it has said nothing that the store did not hold as it
   * began; and were it to end so, nobody could tell it from the run of a copy. The first run under an incarnation has none before it to be held against.
   */
  tells(turn: number): number {
    const began = this.#runs.at(-1) as Run;
    return this.#isFirst || turn > began.turn ? turn : 0;
  }

  /** For the first batch of the run; empty after that. */
  takeOps(): readonly KvOp[] {
    if (this.#isNoted) return [];
    this.#isNoted = true;
    return [{ type: 'put', key: RUNS_KEY, value: encodeCbor(this.#runs.map(({ nonce, turn }) => [nonce, turn])) }];
  }

  /** Whether a run that was seen at this turn can have led here. @param turnNow this store's last durable one */
  includes({ nonce, turn }: Run, turnNow: number): boolean {
    const at = this.#runs.findIndex((run) => equal(run.nonce, nonce));
    if (at >= 0) return turn <= (this.#runs[at + 1]?.turn ?? turnNow);
    // Older than what is noted.
    return turn <= turnNow && turn <= (this.#runs[0] as Run).turn;
  }
}

/** Empty where it can't be read: then only the turns tell. */
function decodeRuns(record: Uint8Array): Run[] {
  try {
    return asArray(decodeCbor(record)).map((item) => {
      const [nonce, turn] = asArray(item, 2);
      return { nonce: asBytes(nonce, 8), turn: asInteger(turn) };
    });
  } catch (error) {
    if (error instanceof FormatError) return [];
    throw error;
  }
}

export interface IdentityVerdict {
  readonly code: IdentityCode;
  /** What was found, for people: a part of a sentence. */
  readonly message: string;
}

/** Also what the log itself says, once it names the newer one. */
export const REPLACED: IdentityVerdict = { code: 'REPLACED', message: 'the group knows a newer store of this machine' };

/** What a store makes of what another member saw of it. @param own.turn its own last durable one */
export function judgeSeen(
  own: {
    readonly incarnation: Incarnation;
    readonly turn: number;
    readonly lineage: Lineage;
    /** Incarnations that this very store had before, and others that were ended. */
    readonly formers: readonly Incarnation[];
  },
  told: readonly Seen[],
  by: string,
): IdentityVerdict | null {
  const ours = told.filter(({ incarnation }) => incarnation === own.incarnation);
  if (ours.some(({ twice }) => twice)) return { code: 'COPIED', message: `${by} hears two of it by turns` };
  const seen = ours.find((run) => !own.lineage.includes(run, own.turn));
  if (seen === undefined) return null;
  // Another store went on in its place. Being reborn it would take that one's place again; which one is to stay is for a person to say.
  const isOther = ({ incarnation }: Seen): boolean =>
    incarnation !== own.incarnation && !own.formers.includes(incarnation);
  if (told.some(isOther)) return REPLACED;
  const how = seen.turn > own.turn ? `and here it ends with ${own.turn}` : 'of a run that is not known here';
  return { code: 'ROLLED_BACK', message: `it is an earlier copy of itself: ${by} saw its turn ${seen.turn}, ${how}` };
}

type Deliver = () => void | Promise<void>;

/** Half a second, in ticks. */
const ASK_TICKS = 10;
/** For how many messages of a peer there is room until it has greeted; all of them are sent again when they are missed. */
const HELD_MAX = 64;

/**
 * Who has greeted on this connection. A vote that comes sooner waits: before it is counted or answered, the other one had its chance to say what it saw of this
 * store.
 */
export class Gate {
  readonly #greeted = new Map<PeerId, Uint8Array>();
  readonly #held = new Map<PeerId, Deliver[]>();
  readonly #askedAtTick = new Map<PeerId, number>();

  isOpen(peer: PeerId, nonce: Uint8Array): boolean {
    const greeted = this.#greeted.get(peer);
    return greeted !== undefined && equal(greeted, nonce);
  }

  hold(peer: PeerId, deliver: Deliver): void {
    const held = this.#held.get(peer) ?? [];
    held.push(deliver);
    if (held.length > HELD_MAX) held.shift();
    this.#held.set(peer, held);
  }

  /** Whether the peer should be asked for its greeting now: at most every half a second. */
  mayAsk(peer: PeerId, tick: number): boolean {
    const before = this.#askedAtTick.get(peer);
    if (before !== undefined && tick - before < ASK_TICKS) return false;
    this.#askedAtTick.set(peer, tick);
    return true;
  }

  /** What waited is delivered, in its order. A promise is open while one of them is. */
  open(peer: PeerId, nonce: Uint8Array): void | Promise<void> {
    this.#greeted.set(peer, nonce);
    const held = this.#held.get(peer) ?? [];
    this.#held.delete(peer);
    const open = held.map((deliver) => deliver()).filter((done) => done instanceof Promise);
    if (open.length > 0) return Promise.all(open).then(() => undefined);
  }

  close(peer: PeerId): void {
    this.#greeted.delete(peer);
    this.#held.delete(peer);
    this.#askedAtTick.delete(peer);
  }
}
