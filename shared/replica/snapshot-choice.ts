import type { Sizes } from '../document/index.ts';

/** How far a store is behind one that could give it either values or a snapshot. */
export interface Lag {
  readonly slots: number;
  /** The other one's, and this one's own. */
  readonly theirs: Sizes;
  readonly own: Sizes;
}

/** Less than both of these is fetched value by value, whatever it costs: it is there before a store is opened anew. */
export interface SmallLag {
  readonly snapshotLagSlots: number;
  readonly snapshotLagBytes: number;
}

/**
 * A value's bytes are written twice, as itself and as the state that it makes; a snapshot's rows once. What makes a value dearer still (it is verified and judged)
 * is left out: it depends on the machine.
 */
const WRITES_PER_VALUE = 2;
/** A store that has less is a newcomer's, also where the first answer of values came before anything else: two of them. Bytes. */
const NEWCOMER_BYTES = 512 * 1024;
/** And lacks more slots than may be on their way at one time: in a young log one who follows has little, too, and one entry can be larger than all of it. */
const NEWCOMER_SLOTS = 64;

/**
 * Whether a snapshot brings this store up sooner than the values it lacks, by what either has to carry. A newcomer that lacks much takes one in any case: its
 * people see the newest entries first, and not the oldest.
 */
export function isSnapshotSooner({ slots, theirs, own }: Lag, small: SmallLag): boolean {
  const behindBytes = Math.max(0, theirs.logBytes - own.logBytes);
  const isNewcomer = own.logBytes < NEWCOMER_BYTES && slots > NEWCOMER_SLOTS;
  if (isNewcomer && behindBytes >= NEWCOMER_BYTES) return true;
  if (slots < small.snapshotLagSlots && behindBytes < small.snapshotLagBytes) return false;
  return own.logBytes === 0 || WRITES_PER_VALUE * behindBytes >= theirs.stateBytes;
}
