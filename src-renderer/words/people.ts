import type { GroupStatus, LogLine, MemberStatus } from '../../shared/ipc/contract.ts';
import { thin } from './numbers.ts';
import { moment } from './times.ts';

/** So many colours for people in the tokens: `--person-0` and on. */
export const PERSON_COLOURS = 8;

/** The person's own name where the machine gave one, else the machine's. */
export const nameOf = (line: Pick<LogLine, 'writer' | 'name' | 'author'>): string =>
  line.writer || line.name || line.author.slice(-6);

/** A member's name, or the end of its id for one that never gave a name. */
export const memberName = ({ name, peer }: Pick<MemberStatus, 'name' | 'peer'>): string => name || peer.slice(-6);

/** Enough of a group's id to tell it from this machine's others. */
export const shortId = (group: string): string => group.slice(0, 8);

/** The first letter as a person sees one, with all its accents. */
export function initialOf(name: string): string {
  const [first] = new Intl.Segmenter().segment(name.trim());
  return first?.segment.toLocaleUpperCase() ?? '?';
}

/** Members in the order of their joining get colours that differ; other people get one by their name. */
export function colourOf(line: Pick<LogLine, 'writer' | 'name' | 'author'>, members: readonly MemberStatus[]): number {
  const at = members.findIndex((member) => member.peer === line.author);
  if (at >= 0 && (line.writer === '' || line.writer === line.name)) return at % PERSON_COLOURS;
  let sum = 0;
  for (const character of `${line.writer} ${line.author}`) sum = (sum * 31 + character.charCodeAt(0)) >>> 0;
  return sum % PERSON_COLOURS;
}

/** What is to be said of a member, the most telling first. */
export function memberWords(member: MemberStatus, status: GroupStatus, isSelf: boolean): string {
  const words: string[] = [];
  // The others can't know.
  if (isSelf && (status.whyCode === 'DAMAGED' || status.whyCode === 'COPIED')) return 'does not vote yet';
  const votes = member.removing ? 'votes' : 'votes, keeps no log';
  const does =
    member.peer === status.leader ? 'leads' : { voter: 'votes', learner: 'reads along', witness: votes }[member.role];
  if (member.split) words.push('went on with another log');
  else if (member.removing) words.push('being removed', `${does} until then`);
  else words.push(does);
  if (!member.connected) {
    words.push(member.lastSeen === null ? 'not seen yet' : `last seen ${moment(member.lastSeen)}`);
  }
  const behind = behindOf(member, status);
  if (behind > 0) words.push(`${thin(behind)} behind`);
  return words.join(' · ');
}

/** How much of the log a member lacks, as far as it is known here. */
export function behindOf(member: MemberStatus, status: GroupStatus): number {
  if (member.chosen === null) return 0;
  const most = Math.max(...status.members.map(({ chosen }) => chosen ?? 0));
  return most - member.chosen;
}
