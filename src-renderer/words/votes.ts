import type { GroupStatus, MemberStatus } from '../../shared/ipc/contract.ts';
import { survivedBy } from '../../shared/ipc/survived.ts';
import { spelled, thin } from './numbers.ts';
import { memberName } from './people.ts';

/** What can be done with members: give a vote, take it back, remove. */
export type VoteChange = 'promote' | 'demote' | 'expel';

/** What a change of those who decide leads to. */
export interface Outlook {
  /** "Then 3 machines decide; any one may be away." */
  readonly result: string;
  /** What it would mean at this moment, where that is less than the sentence promises. */
  readonly warning: string | null;
}

type Group = Pick<GroupStatus, 'members'>;

export const votes = ({ role }: Pick<MemberStatus, 'role'>): boolean => role !== 'learner';

/** Who decides once everybody who was removed has stopped. */
export const votersOf = ({ members }: Group): MemberStatus[] =>
  members.filter((member) => votes(member) && !member.removing);

/** A witness votes and never leads. */
const canLead = ({ role }: Pick<MemberStatus, 'role'>): boolean => role !== 'witness';

/** As the group sizes its quorums itself. */
export const majorityOf = (voters: number): number => Math.floor(voters / 2) + 1;

/** How many of so many voters may be away, whichever they are. */
function spareOf(voters: number, witnesses: number): number {
  const majority = majorityOf(voters);
  const each = Array.from({ length: voters }, (_, at) => ({ witness: at < witnesses }));
  return survivedBy({ voters: each, q1: majority, q2: majority }).electing;
}

/** What so many voters mean, said of what will be. @param witnesses so many of them never lead */
export function decides(voters: number, witnesses = 0): string {
  const count = thin(voters);
  const spare = spareOf(voters, witnesses);
  if (voters <= 1) return 'Then one machine decides; while it is away, nothing is agreed.';
  if (voters === 2) return 'Then 2 decide, and both are needed. A third would let one be away.';
  if (spare === 0) return `Then ${count} decide, and only one of them can lead: while it is away, nothing is agreed.`;
  if (spare < spareOf(voters, 0)) {
    return `Then ${count} decide; any ${spelled(spare)} may be away: of the ${spelled(spare + 1)} that can lead, one has to be here.`;
  }
  if (voters % 2 === 1) return `Then ${count} machines decide; any ${spelled(spare)} may be away.`;
  return `Then ${count} decide, and ${thin(majorityOf(voters))} are needed: any ${spelled(spare)} may be away, as with ${thin(voters - 1)}.`;
}

export function outlook(group: Group, change: VoteChange, peers: readonly string[]): Outlook {
  const meant = group.members.filter(({ peer }) => peers.includes(peer));
  const others = votersOf(group).filter(({ peer }) => !peers.includes(peer));
  if (change !== 'promote') {
    if (!meant.some(votes)) return { result: 'It has no vote: those who decide stay the same.', warning: null };
    if (!others.some(canLead)) {
      const result = 'No other machine that votes can lead, so it votes on until one does that can.';
      return { result, warning: null };
    }
    return { result: decidedBy(others), warning: shortage(others) };
  }
  const after = [...others, ...meant.map((member) => (votes(member) ? member : { ...member, role: 'voter' as const }))];
  const away = meant.filter(({ connected }) => !connected);
  // A vote comes into force only for a machine that is here and holds everything, so one that is away holds nobody up.
  const later = `${areAway(away)}: the vote counts from when ${away.length === 1 ? 'it is' : 'they are'} back and up to date.`;
  return { result: decidedBy(after), warning: away.length > 0 ? later : shortage(after) };
}

const decidedBy = (voters: readonly MemberStatus[]): string =>
  decides(voters.length, voters.filter((member) => !canLead(member)).length);

function shortage(voters: readonly MemberStatus[]): string | null {
  const away = voters.filter(({ connected }) => !connected);
  const short = majorityOf(voters.length) - (voters.length - away.length);
  if (short > 0) return missed(away, short);
  return voters.some((member) => member.connected && canLead(member)) ? null : missed(away.filter(canLead), 1);
}

function missed(away: readonly MemberStatus[], short: number): string {
  const all = away.length === 1 ? 'it is' : 'they are';
  const back = short === away.length ? all : `${spelled(short)} of them ${short === 1 ? 'is' : 'are'}`;
  return `${areAway(away)} now: nothing would be agreed until ${back} back.`;
}

const areAway = (members: readonly MemberStatus[]): string =>
  `${listed(members)} ${members.length === 1 ? 'is' : 'are'} away`;

/** "Ben", "Ben and Cy", "Ben, Cy and NAS". */
export function listed(members: readonly MemberStatus[]): string {
  const names = members.map(memberName);
  return names.length < 2 ? (names[0] ?? '') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
}

/**
 * Whether who joins should vote, where nobody said. An even number of voters needs one more and gains by it. An odd one only loses by another: from one
 * to two, both are needed at once. So then it reads along first, and the group gives it a vote once that helps.
 */
export const invitesVoter = (group: Group): boolean => votersOf(group).length % 2 === 0;

/** What an invitation leads to. */
export function invitationWords(group: Group, isVoter: boolean): string {
  const voters = votersOf(group);
  if (isVoter) {
    const words = decides(voters.length + 1, voters.filter((member) => !canLead(member)).length);
    return voters.length === 1 ? `${words} Left to the group, it votes once a third is here, too.` : words;
  }
  if (voters.length === 1) {
    return `It holds the whole log; ${listed(voters)} alone decides. Invite two: with three machines here the group lets them vote, and then any one may be away.`;
  }
  return 'It holds the whole log; those who decide stay the same. The group gives it a vote once it needs it.';
}

export interface Advice {
  readonly words: string;
  /** Who should be given a vote, all at once; none where somebody has to be invited first. */
  readonly peers: readonly string[];
}

/** How the group could survive more, for a keeper; null where it is well set up. */
export function advice(group: Group): Advice | null {
  const those = votersOf(group);
  const voters = those.length;
  const witnesses = those.filter((member) => !canLead(member)).length;
  const ready = group.members.filter((member) => !votes(member) && member.connected);
  const isSmall = voters === 1;
  if (!isSmall && voters % 2 === 1 && voters - witnesses > 1) return null;
  const wanted = ready.slice(0, isSmall ? 2 : 1);
  if (wanted.length < (isSmall ? 2 : 1)) {
    const missing = isSmall && group.members.length < 2 ? 'Two more machines' : 'One more machine';
    if (voters > 2) return null;
    return { words: `${missing}, and three can vote: then any one may be away.`, peers: [] };
  }
  const spare = spelled(spareOf(voters + wanted.length, witnesses));
  const subject =
    wanted.length === 1
      ? `${listed(wanted)} reads along. With its vote`
      : `${listed(wanted)} read along. With their votes`;
  return {
    words: `${subject}, any ${spare} of ${thin(voters + wanted.length)} may be away.`,
    peers: wanted.map(({ peer }) => peer),
  };
}
