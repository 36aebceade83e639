/**
 * What is wrong with a store that is whole in itself: it is not the only one, or not the newest, of its incarnation. Kept where damage is kept (`m/damaged`).
 * - `ROLLED_BACK`: a member saw it at a later turn than its own last one: it is an earlier copy of itself.
 * - `REBUILT`: it was made from a backup.
 * - `COPIED`: it runs twice.
 * - `REPLACED`: the log names another, newer store of this very peer.
 * - `OTHER_PLACE`: it lies elsewhere than where it was made. Found anew at each start, never kept.
 */
export const identityCodes = ['ROLLED_BACK', 'REBUILT', 'COPIED', 'REPLACED', 'OTHER_PLACE'] as const;
export type IdentityCode = (typeof identityCodes)[number];

/** Who goes on is for a person to say. */
const ASKS: ReadonlySet<string> = new Set(['COPIED', 'REPLACED', 'OTHER_PLACE'] satisfies IdentityCode[]);
/** Nothing of the log and the state is doubted, only whether this incarnation may go on speaking. */
const WHOLE: ReadonlySet<string> = new Set([...identityCodes, 'DAMAGED_BEFORE'] satisfies string[]);
/** Said beside what was found, never alone. */
const BESIDE = 'DAMAGED_BEFORE';

/**
 * - `none`: sound; it goes on as it is.
 * - `rebirth`: something that this acceptor said may be lost: it goes on under a new incarnation.
 * - `ask`: it may be one of two: it neither votes nor writes until a person says which one goes on.
 */
export type Remedy = 'none' | 'rebirth' | 'ask';

export interface Found {
  /** Codes of what the journal, the mark, the acceptor's own records and the layers around found. */
  readonly problems: readonly string[];
  /** A person said that no other copy of this store runs. */
  readonly isSettled: boolean;
}

/** What is done about a store, by what was found in it. */
export function remedyFor({ problems, isSettled }: Found): Remedy {
  const found = problems.filter((code) => code !== BESIDE);
  if (!isSettled && found.some((code) => ASKS.has(code))) return 'ask';
  const counted = isSettled ? found.filter((code) => code !== 'OTHER_PLACE') : found;
  const isUntold = problems.length > 0 && found.length === 0;
  return counted.length > 0 || isUntold ? 'rebirth' : 'none';
}

/** Whether the store's own log and state can be believed as they are. */
export const isWholeDespite = (problems: readonly string[]): boolean =>
  problems.some((code) => code !== BESIDE) && problems.every((code) => WHOLE.has(code));

/** Found outside of the turns' own records. */
const MENDABLE: ReadonlySet<string> = new Set(['DATABASE_BROKEN', 'RECORD_DAMAGED', BESIDE]);

/** Whether a store with these problems can be mended in its place, where all that nobody else has is known to be here. */
export const isMendable = (problems: readonly string[]): boolean =>
  problems.some((code) => code !== BESIDE) && problems.every((code) => MENDABLE.has(code));
