import type { GroupStatus } from '../../shared/ipc/contract.ts';
import { counted, thin } from './numbers.ts';
import { memberName } from './people.ts';

/** So much may be on its way in a busy group: less than this is no word worth where nothing else is the matter. Steps of the log. */
export const BUSY = 64;

/** How far this machine is behind the others. There is one such figure at a time, wherever it is shown. */
export interface Behind {
  /** Entries while a snapshot brings them. Otherwise steps of the log, which members announce: entries, and what the group decides besides. */
  readonly unit: 'entries' | 'steps';
  readonly here: number;
  /** Entries that the snapshot holds; or the most that a member announces. */
  readonly all: number;
  /** Who can give what is missing: one by name, else all of them together, or whoever comes. */
  readonly from: string;
}

type Group = Pick<GroupStatus, 'applied' | 'members' | 'preview'>;

/** Null where nothing is missing, and where nobody is here who would know. */
export function behind({ applied, members, preview }: Group): Behind | null {
  const ahead = members.filter(({ connected, chosen }) => connected && (chosen ?? 0) > applied);
  const all = Math.max(0, ...ahead.map(({ chosen }) => chosen ?? 0));
  const [only, another] = ahead;
  const known = only && !another ? memberName(only) : 'the other machines';
  const from = only ? known : 'another machine, once one can be reached';
  if (preview) return { unit: 'entries', here: preview.here, all: preview.positions, from };
  return only ? { unit: 'steps', here: applied, all, from } : null;
}

/** A machine that is well and was away, or came new: it has more to fetch than a busy group brings. */
export const isFarBehind = (group: Group): boolean => {
  const missed = behind(group);
  // Of a snapshot nothing is agreed here before the last of it is, however little lacks.
  return missed !== null && (missed.unit === 'entries' || missed.all - missed.here >= BUSY);
};

/** "412 of 1 930", of a snapshot "412 of 1 930 entries", and of one that is all here "verifying 1 930 entries". */
export function fetchingWords({ unit, here, all }: Behind): string {
  if (unit === 'steps') return `${thin(here)} of ${thin(all)}`;
  return isAllHere(here, all)
    ? `verifying ${counted(all, 'entry', 'entries')}`
    : `${thin(here)} of ${counted(all, 'entry', 'entries')}`;
}

/** As a sentence, with where the rest comes from. */
export function missedWords(missed: Behind): string {
  const { unit, here, all, from } = missed;
  if (unit === 'steps')
    return `This machine has ${fetchingWords(missed)} steps of the log; the rest comes from ${from}.`;
  return isAllHere(here, all)
    ? `All ${counted(all, 'entry', 'entries')} of the log are here and are being verified.`
    : `This machine has ${fetchingWords(missed)}, the newest first; the rest comes from ${from}. They are verified once all are here.`;
}

/** While a snapshot is on its way: what the grey entries above are. Null otherwise. The status line says how many there are. */
export function comingWords({ preview }: Pick<GroupStatus, 'preview'>): string | null {
  if (preview === undefined) return null;
  const { here, positions } = preview;
  if (here === 0) return 'The newest entries are on their way.';
  return isAllHere(here, positions)
    ? 'Entries in grey are here and are being verified.'
    : 'Entries in grey can be read and are not verified yet: that takes the rest of the log, which is coming.';
}

const isAllHere = (here: number, all: number): boolean => here >= all;

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
