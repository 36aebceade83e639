import type { PeerId } from '../../shared/base/ids.ts';
import type { Configuration, Voter } from '../../shared/consensus/configuration.ts';
import type { WhyCode } from '../../shared/ipc/errors.ts';
import type { Network } from '../network/network.ts';
import type { GroupHost } from './group-host.ts';
import { mendingWhy } from './mending-why.ts';
import { canVote, isGone } from './presence.ts';
import { recoveryWhy, splitWhy } from './recovery-why.ts';

export interface Why {
  readonly code: WhyCode;
  /** One sentence for people: what is missing, what is kept, what to do. */
  readonly text: string;
}

/** Who reads only these would not learn that another log goes on beside this one. */
const LESS_THAN_SPLIT: ReadonlySet<WhyCode> = new Set<WhyCode>([
  'NO_LEADER',
  'LEADER_UNREACHABLE',
  'NO_QUORUM',
  'ALONE',
  'NEEDS_DECISION',
]);

/** What is wrong with this group now, or null where nothing is: what keeps it from committing, and that another log goes on beside this one. */
export function whyNot(host: GroupHost, network: Network): Why | null {
  const { split } = host.replica;
  const why = obstacle(host, network);
  if (split.length === 0 || (why !== null && !LESS_THAN_SPLIT.has(why.code))) return why;
  const { code, text } = splitWhy(host, split);
  return { code, text: why === null ? text : `${text} Besides: ${why.text}` };
}

/** Why nothing is committed in this group now, or null where nothing is in the way. */
export function obstacle(host: GroupHost, network: Network): Why | null {
  const { replica } = host;
  if (host.trouble === 'DISK_FULL') {
    return { code: 'DISK_FULL', text: 'The disk is full. What was saved is kept; free some space to go on.' };
  }
  if (host.isStalled) {
    return {
      code: 'DISK_FAILED',
      text: 'The disk does not answer: a write has been under way for over 10 s. What was saved is kept. Look at the disk.',
    };
  }
  if (!replica.isSound) return whyUnsound(host);
  if (replica.isForked) return { code: 'COPIED', text: RUNS_TWICE };
  const mending = mendingWhy(host, network);
  if (mending !== null) return mending;
  if (replica.reader.member(replica.self)?.expelledSlot !== null) {
    return replica.reader.member(replica.self) === undefined
      ? { code: 'CATCHING_UP', text: fetchingWords(host) }
      : { code: 'REMOVED', text: 'This machine is no longer a member. What was agreed stays readable here.' };
  }
  if (replica.paused !== null) {
    return {
      code: 'UPDATE_NEEDED',
      text: `A newer version wrote something that this one doesn't know (${replica.paused.why}). Update to see it.`,
    };
  }
  if (replica.recovery !== null) return recoveryWhy(host, network, replica.recovery);
  const view = replica.inspect();
  const here = (voter: Voter): boolean => canVote(host, network, voter);
  // While a change of voters is under way, quorums of the old and of the new ones are needed. Who leads already needs no other quorum to go on leading.
  const configurations = view.window.map(({ configuration: { voters, q1, q2 } }) => ({
    voters,
    needed: view.leads ? q2 : Math.max(q1, q2),
  }));
  for (const { voters, needed } of configurations) {
    const gone = voters.filter((v) => isGone(host, network, v));
    if (voters.length - gone.length < needed) return { code: 'NEEDS_DECISION', text: needsDecision(host, gone) };
  }
  const short = configurations.find(({ voters, needed }) => voters.filter(here).length < needed);
  const leads = view.leads && short === undefined;
  const returning = isReturning(host) ? wasDamaged(host) : null;
  if (leads || (!view.leads && view.leader !== null && network.isConnected(view.leader))) {
    return returning === null
      ? null
      : { code: 'DAMAGED', text: `${returning} It votes again once the others have agreed.` };
  }
  const before = returning === null ? '' : `${returning} `;
  const led = short === undefined ? ledByAnother(host, network) : null;
  if (led !== null) {
    const text = `${before}${nameOf(host, led)} leads, and this machine has no way there. What is agreed comes by way of the others; what is written here is kept and gets its place once the way is open.`;
    return { code: 'LEADER_UNREACHABLE', text };
  }
  if (short === undefined) {
    const unled = noneCanLead(host, network, configurations);
    if (unled !== null) return { ...unled, text: `${before}${unled.text}` };
    const { voters } = view.configuration.configuration;
    const count = voters.filter(here).length;
    return {
      code: 'NO_LEADER',
      text: `${before}${count} of ${voters.length} voters are here and are choosing who leads.`,
    };
  }
  const { voters, needed } = short;
  const away = voters.filter((v) => !here(v) && !isGone(host, network, v)).map((v) => v.peer);
  const isVoter = voters.some((v) => v.peer === replica.self);
  const text = `${before}Needs ${needed} of ${voters.length} voters; ${unreachable(host, network, away)}. What is written here is kept and gets its place later.`;
  const alone = !replica.peers.some((peer) => network.isConnected(peer));
  return { code: alone && isVoter ? 'ALONE' : 'NO_QUORUM', text };
}

/** Enough voters are here, and all of them witnesses, which never lead: who has to come back. Null where somebody here can lead. */
export function noneCanLead(
  host: GroupHost,
  network: Network,
  configurations: readonly Pick<Configuration, 'voters'>[],
): Why | null {
  const here = (voter: Voter): boolean => canVote(host, network, voter);
  const unled = configurations.find(({ voters }) => !voters.some((v) => !v.witness && here(v)));
  if (unled === undefined) return null;
  const { voters } = unled;
  const full = voters.filter((v) => !v.witness).map((v) => v.peer);
  const count = voters.filter(here).length;
  const only = count === 1 ? 'is a witness, which never leads' : 'are witnesses, which never lead';
  const needed = full.length === 1 ? '' : 'One that can lead has to come back: ';
  const text = `${count} of ${voters.length} voters ${count === 1 ? 'is' : 'are'} here, and ${only}. ${needed}${unreachable(host, network, full)}. What was saved is kept.`;
  return { code: 'NO_QUORUM', text };
}

/** Whom others, who are connected, hear leading, while there is no way there from here. */
function ledByAnother({ replica }: GroupHost, network: Network): PeerId | null {
  for (const peer of replica.peers) {
    if (!network.isConnected(peer)) continue;
    const leader = replica.beatOf(peer)?.hearsLeader?.peer;
    if (leader !== undefined && leader !== replica.self && !network.isConnected(leader)) return leader;
  }
  return null;
}

const RUNS_TWICE =
  'Another copy of this directory runs somewhere else. Keep one of them; what was written here is kept.';
const CHOICE =
  'It reads on, and does not vote or write. If no other copy runs, or ever will, start it with synod serve --moved: it goes on, and what was saved here is kept. If the other copy is the one to keep, stop this one for good.';

/** Why nothing may be written here. */
export function whyUnsound({ replica }: GroupHost): Why & { readonly code: 'DAMAGED' | 'COPIED' } {
  const { problems } = replica;
  const asked = problems.find(({ code }) => WHO_GOES_ON.has(code));
  if (asked !== undefined)
    return { code: 'COPIED', text: `This may be one of two copies: ${asked.message}. ${CHOICE}` };
  return {
    code: 'DAMAGED',
    text: `This copy is damaged (${worst(problems)}). It reads on, and does not vote or write.`,
  };
}

const WHO_GOES_ON: ReadonlySet<string> = new Set(['COPIED', 'REPLACED', 'OTHER_PLACE']);

/** That there was damage before says less than what it was. */
function worst(problems: readonly { readonly code: string; readonly message: string }[]): string {
  const problem = problems.find(({ code }) => code !== 'DAMAGED_BEFORE') ?? problems[0];
  return problem?.message ?? 'a file was damaged';
}

/** It was reborn, and a configuration still names its former incarnation. */
function isReturning({ replica }: GroupHost): boolean {
  if (replica.reborn === null) return false;
  return replica
    .inspect()
    .window.some(({ configuration: { voters } }) =>
      voters.some((v) => v.peer === replica.self && v.incarnation !== replica.incarnation),
    );
}

function wasDamaged({ replica }: GroupHost): string {
  const problems = replica.reborn?.problems ?? [];
  const isOlder = problems.some(({ code }) => code === 'ROLLED_BACK' || code === 'REBUILT');
  const what = isOlder ? 'is not the one that voted' : 'was damaged';
  return `This copy ${what} (${worst(problems)}), and what it lacks is fetched again.`;
}

/** It was let in and has yet to read so itself, or it was damaged and begins anew. */
function fetchingWords(host: GroupHost): string {
  if (host.replica.reborn === null) return 'This machine is fetching the log.';
  return `${wasDamaged(host)} What was written here is kept; the log shows here as it comes, and is not whole until then.`;
}

/** No quorum is left of those who remember what they had said: the log itself can't tell how it goes on. */
function needsDecision(host: GroupHost, gone: readonly Voter[]): string {
  const { replica } = host;
  const others = gone.filter((v) => v.peer !== replica.self).map((v) => nameOf(host, v.peer));
  const self = gone.some((v) => v.peer === replica.self) ? `${wasDamaged(host)} ` : '';
  const rest =
    others.length > 0 ? `${listed(others)} lost what ${others.length > 1 ? 'they' : 'it'} had agreed to. ` : '';
  return `${self}${rest}Too few are left who know what was agreed, so a person must decide how the group goes on (synod recover). All that is here is kept and can be read; what is written here is kept and gets its place after that.`;
}

function unreachable(host: GroupHost, network: Network, away: readonly PeerId[]): string {
  const names = away.map((peer) => nameOf(host, peer));
  const seen = away.map((peer) => network.lastSeenMs(peer)).filter((ms) => ms !== null);
  const since = seen.length === away.length && seen.length > 0 ? ` since ${clock(Math.min(...seen))}` : '';
  if (names.length === 0) return 'the others are not ready yet';
  return `${listed(names)} ${names.length > 1 ? 'are' : 'is'} unreachable${since}`;
}

const nameOf = (host: GroupHost, peer: PeerId): string => host.replica.reader.member(peer)?.name || peer.slice(-6);

const listed = (names: readonly string[]): string =>
  names.length > 1 ? `${names.slice(0, -1).join(', ')} and ${names.at(-1)}` : (names[0] ?? '');

function clock(ms: number): string {
  const at = new Date(ms);
  return `${String(at.getHours()).padStart(2, '0')}:${String(at.getMinutes()).padStart(2, '0')}`;
}
