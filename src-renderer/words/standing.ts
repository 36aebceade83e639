import type { GroupStatus, Rights } from '../../shared/ipc/contract.ts';
import type { WhyCode } from '../../shared/ipc/errors.ts';
import { spelled, thin } from './numbers.ts';
import { memberName } from './people.ts';
import { behind, fetchingWords, isFarBehind } from './progress.ts';

export type Tone = 'well' | 'waiting' | 'wrong';

/** How a group stands, as the one sentence at the top. */
export interface Standing {
  readonly sentence: string;
  /** The same without what changes all the time, to be read out. */
  readonly spoken?: string;
  readonly tone: Tone;
  /** Something is in the way, and the peer can say what. */
  readonly hasReason: boolean;
}

type Quorum = GroupStatus['quorum'];

/** How many voters are needed to go on whatever happens: to agree, and to choose who leads. */
export const needed = ({ phase1, phase2 }: Quorum): number => Math.max(phase1, phase2);

/** How many voters must come back before the group can agree. */
export const missing = (quorum: Quorum): number => Math.max(0, needed(quorum) - quorum.reachable);

const reasons: Partial<Record<WhyCode, readonly [words: string, tone: Tone]>> = {
  NO_LEADER: ['choosing who leads', 'waiting'],
  LEADER_UNREACHABLE: ['no way to who leads', 'waiting'],
  CATCHING_UP: ['fetching the log', 'waiting'],
  WAITING_FOR_ADMISSION: ['waiting to be let in', 'waiting'],
  RECOVERING: ['recovering without those who are gone', 'waiting'],
  UPDATE_NEEDED: ['update needed', 'waiting'],
  DISK_FULL: ['the disk is full', 'wrong'],
  DISK_FAILED: ['the disk refused to save', 'wrong'],
  DAMAGED: ['this copy is damaged', 'wrong'],
  COPIED: ['this may be one of two copies', 'wrong'],
  NEEDS_DECISION: ['a person must decide how it goes on', 'wrong'],
  SPLIT: ['another log goes on beside this one', 'wrong'],
  STATE_MISMATCH: ['this copy differs and stopped', 'wrong'],
  REMOVED: ['no longer a member', 'wrong'],
};

export function standing(status: GroupStatus): Standing {
  const members = status.members.filter((member) => !member.removing);
  const here = members.filter((member) => member.connected).length;
  const ofAll = `${thin(here)} of ${thin(members.length)} here`;
  const isWell = status.whyCode === null || status.whyCode === 'ON_ITS_WAY';
  const missed = behind(status);
  if (missed !== null && (status.whyCode === 'CATCHING_UP' || (isWell && isFarBehind(status)))) {
    return {
      sentence: `fetching the log, ${fetchingWords(missed)}`,
      spoken: 'fetching the log',
      tone: 'waiting',
      hasReason: true,
    };
  }
  if (missed !== null && status.whyCode === 'DAMAGED') {
    return {
      sentence: `this copy is damaged · repairing, ${fetchingWords(missed)}`,
      spoken: 'this copy is damaged, repairing',
      tone: 'wrong',
      hasReason: true,
    };
  }
  if (isWell) {
    const rest = status.pending === 0 ? 'all agreed' : `${thin(status.pending)} on the way`;
    return { sentence: `${ofAll} · ${rest}`, tone: 'well', hasReason: false };
  }
  const known = status.whyCode && reasons[status.whyCode];
  if (known) return { sentence: known[0], tone: known[1], hasReason: true };
  const more = missing(status.quorum);
  const sentence = more === 0 ? `${ofAll} · waiting` : `waiting for ${thin(more)} more`;
  return { sentence, tone: 'waiting', hasReason: true };
}

export const rightsWords = (rights: Rights): string =>
  ({
    reader: 'read',
    writer: 'read and write',
    keeper: 'read and write, invite and remove, and say who votes',
  })[rights];

/** What the group can lose now and still go on. */
export function survival(status: Pick<GroupStatus, 'quorum' | 'voting' | 'members' | 'role' | 'whyCode'>): string {
  const { quorum, voting, role, whyCode } = status;
  const spare = quorum.reachable - needed(quorum);
  if (spare < 0 && whyCode === null && quorum.reachable >= quorum.phase2) {
    return `goes on as long as its leader is here; ${spelled(-spare)} more ${-spare === 1 ? 'is' : 'are'} needed to choose another`;
  }
  if (whyCode === 'NEEDS_DECISION') {
    return role === 'voter' && quorum.voters === 1
      ? "can't agree: this machine alone decides, and its copy was damaged"
      : "can't agree: too few are left who know what was agreed";
  }
  if (spare < 0) return `can't agree until ${spelled(-spare)} more ${-spare === 1 ? 'is' : 'are'} back`;
  if (quorum.voters === 1) return 'one machine decides; without it nothing is agreed';
  if (voting.canLead === 0) return "can't agree until a machine that can lead is back";
  if (spare === 0) {
    return quorum.reachable === 2
      ? 'needs both machines that decide'
      : `needs all ${spelled(quorum.reachable)} that are here`;
  }
  const { electing } = voting.spare;
  if (electing === 0) return `needs ${onlyLeader(status)}: of those here only it can lead`;
  return `survives ${spelled(electing)} ${electing === 1 ? 'machine' : 'machines'} away`;
}

/** A witness votes and never leads. */
function onlyLeader({ members }: Pick<GroupStatus, 'members'>): string {
  const [only, ...others] = members.filter(({ role, connected }) => role === 'voter' && connected);
  // One of several may have a damaged copy, which the status does not tell of others.
  return only === undefined || others.length > 0 ? 'one machine' : memberName(only);
}
