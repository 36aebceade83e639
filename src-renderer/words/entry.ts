import type { Changed, MemberStatus, PendingLine, ShownLine } from '../../shared/ipc/contract.ts';
import type { WhyCode } from '../../shared/ipc/errors.ts';
import { thin } from './numbers.ts';
import { nameOf } from './people.ts';
import { clock, dayKey, moment } from './times.ts';

/** From here on it is worth saying that an entry was written long before it got its place. Milliseconds. */
const AWAY_MS = 5 * 60_000;

/** The time beside an entry, and what else is to be said about it. */
export interface Timing {
  readonly shown: string;
  /** "written 14:01", for what was written away from the group. */
  readonly written: string | null;
  /** The whole story, for who asks. */
  readonly story: string;
}

export function timing(line: ShownLine, zone?: string): Timing {
  const [time, placed] = [Date.parse(line.time), Date.parse(line.placed)];
  const place = `Place ${thin(line.position)}, agreed at ${moment(line.placed, Date.now(), zone)}.`;
  const shown = clock(line.time, zone);
  // A clock that is wrong says nothing about where somebody was.
  if (line.clock || Number.isNaN(time) || placed - time < AWAY_MS) return { shown, written: null, story: place };
  const isSameDay = dayKey(line.time, zone) === dayKey(line.placed, zone);
  const at = isSameDay ? shown : moment(line.time, placed, zone);
  return {
    shown: clock(line.placed, zone),
    written: `written ${at}`,
    story: `Written at ${at} while away; placed at ${moment(line.placed, Date.now(), zone)}. Place ${thin(line.position)}.`,
  };
}

/** "On 3 of 3 machines." What a machine that is away holds is not known here. */
export function heldWords({ slot }: Pick<ShownLine, 'slot'>, members: readonly Pick<MemberStatus, 'chosen'>[]): string {
  const known = members.filter(({ chosen }) => chosen !== null);
  const holding = known.filter(({ chosen }) => (chosen ?? 0) >= slot).length;
  const isSure = known.length === members.length;
  return `On ${thin(holding)} of ${thin(members.length)} machines${isSure ? '' : ', as far as is known here'}.`;
}

/** Of an entry that is shown before the rest of the log is here. */
export const unverifiedWords = 'Not verified yet: the rest of the log is still coming.';

/** To who would change such an entry. */
export const unverifiedChangeWords = (position: number): string =>
  `#${thin(position)} is not verified yet. It can be changed once the rest of the log is here.`;

const YEAR_MS = 365.25 * 24 * 3_600_000;
const units: readonly (readonly [ms: number, one: string, many: string])[] = [
  [YEAR_MS, 'a year', 'years'],
  [YEAR_MS / 12, 'a month', 'months'],
  [24 * 3_600_000, 'a day', 'days'],
  [3_600_000, 'an hour', 'hours'],
  [60_000, 'a minute', 'minutes'],
];

/** "Ben's clock is about a year behind. The order isn't affected." */
export function clockWords(line: ShownLine): string | null {
  if (!line.clock) return null;
  const off = Math.abs(Date.parse(line.placed) - Date.parse(line.time));
  const [ms, one, many] = units.find(([each]) => off >= each * 0.9) ?? units[4]!;
  const count = Math.round(off / ms);
  return `${line.name}'s clock is about ${count <= 1 ? one : `${thin(count)} ${many}`} ${line.clock}. The order isn't affected.`;
}

/** How far a command has come that is not agreed yet. What it waits for is the same for all of a log. */
export function pendingWords(whyCode: WhyCode): string {
  if (whyCode === 'ALONE') return 'saved here';
  if (whyCode === 'ON_ITS_WAY' || whyCode === 'NO_LEADER') return 'on its way';
  if (whyCode === 'UPDATE_NEEDED') return 'update needed';
  return 'waiting';
}

/** "edit of #57": what a pending or refused command is about; null for a new entry, which speaks for itself. */
export function aboutWords({
  change,
  of = null,
}: {
  change?: PendingLine['change'] | null;
  of?: number | null;
}): string | null {
  const entry = of === null ? 'an entry' : `#${thin(of)}`;
  if (change === 'edit') return `edit of ${entry}`;
  if (change === 'remove') return `removal of ${entry}`;
  if (change === 'restore') return `restoring ${entry}`;
  return null;
}

/** What became of an entry while somebody was editing it. */
export function goneWords(
  position: number,
  by: Pick<Changed, 'writer' | 'name' | 'author' | 'time'> | null,
  isUnknown = false,
): string {
  const entry = `#${thin(position)}`;
  if (isUnknown) return `${entry} is not in this log any more.`;
  const who = by === null ? '' : ` by ${nameOf(by)}, ${moment(by.time)},`;
  return `${entry} was removed${who} while you were editing it.`;
}

/** "edited by Ben", "removed by Ana, 22:10": what became of an entry since it was written; null for nothing. */
export function changedWords(line: ShownLine, zone?: string): string | null {
  const { changed } = line;
  if (!changed) return line.removed ? 'removed' : line.revision > 1 ? 'edited' : null;
  const what = { edit: 'edited', remove: 'removed', restore: 'restored' }[changed.change];
  return `${what} by ${nameOf(changed)}, ${moment(changed.time, Date.now(), zone)}`;
}
