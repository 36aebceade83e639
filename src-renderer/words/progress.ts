import type { GroupStatus } from '../../shared/ipc/contract.ts';
import { thin } from './numbers.ts';
import { memberName } from './people.ts';

/** So much may be on its way in a busy group: less than this is no word worth where nothing else is the matter. Steps of the log. */
export const BUSY = 64;

/**
 * How far this machine is behind the others, in steps of the log: entries, and what the group decides besides. Members announce steps, so nothing here
 * is called entries.
 */
export interface Behind {
  readonly here: number;
  /** The most that a member announces. */
  readonly all: number;
  /** Who can give what is missing: one by name, else all of them together. */
  readonly from: string;
}

type Group = Pick<GroupStatus, 'applied' | 'members'>;

/** Null where nothing is missing, and where nobody is here who would know. */
export function behind({ applied, members }: Group): Behind | null {
  const ahead = members.filter(({ connected, chosen }) => connected && (chosen ?? 0) > applied);
  const all = Math.max(0, ...ahead.map(({ chosen }) => chosen ?? 0));
  const [only, another] = ahead;
  if (!only) return null;
  return { here: applied, all, from: another ? 'the other machines' : memberName(only) };
}

/** A machine that is well and was away, or came new: it has more to fetch than a busy group brings. */
export const isFarBehind = (group: Group): boolean => {
  const missed = behind(group);
  return missed !== null && missed.all - missed.here >= BUSY;
};

/** "412 of 1 930". */
export const fetchingWords = ({ here, all }: Behind): string => `${thin(here)} of ${thin(all)}`;

/** While a snapshot is on its way, of which the newest entries can be read first; null otherwise. */
export function comingWords({ preview }: Pick<GroupStatus, 'preview'>): string | null {
  if (preview === undefined) return null;
  const { here, positions } = preview;
  return here === 0
    ? 'The newest entries are on their way.'
    : `The newest entries are here; the rest is coming (${thin(here)} of ${thin(positions)}).`;
}

/** A damaged copy, in a sentence or two: what is kept, and what goes on. */
export function damageWords(group: Group): string {
  const missed = behind(group);
  const start = 'A file on this disk was damaged. Nothing is lost in the group';
  if (missed) return `${start}: repairing from ${missed.from}, ${fetchingWords(missed)}.`;
  const others = group.members.filter(({ connected }) => connected).length;
  return others > 1
    ? `${start}, and all that was agreed is here again. This copy votes again once the others have agreed; what is written on it is kept until then.`
    : `${start}. What is missing here is fetched when another machine can be reached.`;
}
