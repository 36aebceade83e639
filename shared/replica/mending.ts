import { asArray, asBytes, asInteger, asText, type Cbor, decodeCbor, encodeCbor, FormatError } from '../base/cbor.ts';
import { type PeerId, parsePeerId, type Slot, slot } from '../base/ids.ts';
import type { KvOp } from '../base/kv.ts';
import { Missing, type SlotRange } from '../driver/missing.ts';

/**
 *   m/mended   [1, upTo, isStateLost, missing, title, [[peer, name] …]]: what damage took from this store; there until all of it is here again
 *
 * For people alone: nothing is decided by it.
 */
export const MENDED_KEY = 'm/mended';

/** What damage took from a store that was mended in its place. */
export interface MendNote {
  /** How far the log was known to be chosen when the damage was found. */
  readonly upTo: Slot;
  readonly isStateLost: boolean;
  /** Slots whose values were lost. */
  readonly slots: Missing;
  /** What the log and its members were called, where the state that said so is gone: people know them by these while it is made anew. */
  readonly title: string | null;
  readonly names: ReadonlyMap<PeerId, string>;
}

const NAMES_MAX = 4096;

export function mendNoteOp({ upTo, isStateLost, slots, title, names }: MendNote): KvOp {
  const value: Cbor = [1, upTo, isStateLost ? 1 : 0, slots.encode(), title, [...names].slice(0, NAMES_MAX)];
  return { type: 'put', key: MENDED_KEY, value: encodeCbor(value) };
}

/** @throws FormatError */
export function decodeMendNote(bytes: Uint8Array): MendNote {
  const [version, upTo, isStateLost, slots, title, names] = asArray(decodeCbor(bytes), 6);
  if (asInteger(version) !== 1) throw new FormatError('a record of another version');
  return {
    upTo: slot(asInteger(upTo)),
    isStateLost: asInteger(isStateLost, 0, 1) === 1,
    slots: Missing.decode(asBytes(slots)),
    title: title === null ? null : asText(title),
    names: new Map(
      asArray(names).map((row) => {
        const [peer, name] = asArray(row, 2);
        return [parsePeerId(asText(peer)), asText(name)] as const;
      }),
    ),
  };
}

/** Damaged again before all was here: what was lost then is still lost. */
export function mendedAgain(before: MendNote | null, now: MendNote): MendNote {
  if (before === null) return now;
  return {
    upTo: slot(Math.max(before.upTo, now.upTo)),
    isStateLost: before.isStateLost || now.isStateLost,
    slots: before.slots.ranges.reduce((all, range) => all.with(range), now.slots),
    title: now.title ?? before.title,
    names: new Map([...before.names, ...now.names]),
  };
}

/** How far a mended store has come. */
export interface MendStanding {
  /** The state is not made anew yet: entries that were shown before are not here. */
  readonly isStateToCome: boolean;
  /** All values that the state is made from are here: it waits for nobody. */
  readonly isReplayable: boolean;
  /** As far as the state is to be made at least. */
  readonly upTo: Slot;
  /** Values that were lost. */
  readonly lost: number;
  /** Values that are not here: of those that were lost, or of all that the state is made from where it is to be made anew. */
  readonly toCome: number;
  /** Members who can be heard and hold what is missing. */
  readonly sources: readonly PeerId[];
  readonly title: MendNote['title'];
  readonly names: MendNote['names'];
}

export interface MendingSurroundings {
  applied(): Slot;
  missing(): Missing;
  isReplayable(): boolean;
  /** It keeps no state, and need not keep values. */
  isWitness(): boolean;
  sources(): readonly PeerId[];
  write(ops: readonly KvOp[]): void;
}

/** What a mended store still lacks, until it lacks nothing; then the note of it goes. */
export class Mending {
  readonly #around: MendingSurroundings;
  #note: MendNote | null;

  constructor(note: MendNote | null, around: MendingSurroundings) {
    this.#note = note;
    this.#around = around;
  }

  /** Null where nothing was mended, once all is here again, and on a witness, which lacks nothing that it needs. */
  get standing(): MendStanding | null {
    const note = this.#note;
    if (note === null || this.#around.isWitness()) return null;
    const { isStateToCome, toCome } = this.#lacking(note);
    if (!isStateToCome && toCome === 0) return null;
    return {
      isStateToCome,
      isReplayable: this.#around.isReplayable(),
      upTo: note.upTo,
      lost: countIn(note.slots.ranges, note.slots.ranges),
      toCome,
      sources: this.#around.sources(),
      title: note.title,
      names: note.names,
    };
  }

  tick(): void {
    if (this.#note === null) return;
    const { isStateToCome, toCome } = this.#lacking(this.#note);
    if (isStateToCome || toCome > 0) return;
    this.#note = null;
    this.#around.write([{ type: 'del', key: MENDED_KEY }]);
  }

  #lacking({ isStateLost, upTo, slots }: MendNote): { readonly isStateToCome: boolean; readonly toCome: number } {
    const { applied, missing } = this.#around;
    const isStateToCome = isStateLost && applied() < upTo;
    const needed = isStateToCome ? [{ from: slot(1), to: upTo }] : slots.ranges;
    return { isStateToCome, toCome: countIn(needed, missing().ranges) };
  }
}

/** Slots that are in both. Each ascending and apart, so that no two of one meet. */
function countIn(ranges: readonly SlotRange[], others: readonly SlotRange[]): number {
  let count = 0;
  let from = 0;
  for (const range of ranges) {
    while ((others[from]?.to ?? Number.POSITIVE_INFINITY) < range.from) from++;
    for (let at = from; at < others.length && (others[at]?.from ?? 0) <= range.to; at++) {
      const other = others[at] as SlotRange;
      count += Math.min(range.to, other.to) - Math.max(range.from, other.from) + 1;
    }
  }
  return count;
}
