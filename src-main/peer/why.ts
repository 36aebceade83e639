import type { PeerId } from '../../shared/base/ids.ts';
import type { WhyCode } from '../../shared/ipc/errors.ts';
import type { Network } from '../network/network.ts';
import type { GroupHost } from './group-host.ts';
import { canVote } from './presence.ts';

export interface Why {
  readonly code: WhyCode;
  /** One sentence for people: what is missing, what is kept, what to do. */
  readonly text: string;
}

/** Why nothing is committed in this group now, or null where nothing is in the way. */
export function whyNot(host: GroupHost, network: Network): Why | null {
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
  if (!replica.isSound) {
    // That there was damage before says less than what it was.
    const problem = replica.problems.find(({ code }) => code !== 'DAMAGED_BEFORE') ?? replica.problems[0];
    return {
      code: 'DAMAGED',
      text: `This copy is damaged (${problem?.message ?? 'a file was damaged'}). It reads on, and does not vote or write.`,
    };
  }
  if (replica.isForked) {
    return {
      code: 'COPIED',
      text: 'Another copy of this directory runs somewhere else. Keep one of them; what was written here is kept.',
    };
  }
  if (replica.reader.member(replica.self)?.expelledSlot !== null) {
    return replica.reader.member(replica.self) === undefined
      ? { code: 'CATCHING_UP', text: 'This machine is fetching the log.' }
      : { code: 'REMOVED', text: 'This machine is no longer a member. What was agreed stays readable here.' };
  }
  if (replica.paused !== null) {
    return {
      code: 'UPDATE_NEEDED',
      text: `A newer version wrote something that this one doesn't know (${replica.paused.why}). Update to see it.`,
    };
  }
  const view = replica.inspect();
  const here = (peer: PeerId): boolean => canVote(host, network, peer);
  // While a change of voters is under way, quorums of the old and of the new ones are needed. Who leads already needs no other quorum to go on leading.
  const short = view.window
    .map(({ configuration: { voters, q1, q2 } }) => ({ voters, needed: view.leads ? q2 : Math.max(q1, q2) }))
    .find(({ voters, needed }) => voters.filter((v) => here(v.peer)).length < needed);
  const leads = view.leads && short === undefined;
  if (leads || (!view.leads && view.leader !== null && network.isConnected(view.leader))) return null;
  if (short === undefined) {
    const { voters } = view.configuration.configuration;
    const count = voters.filter((v) => here(v.peer)).length;
    return { code: 'NO_LEADER', text: `${count} of ${voters.length} voters are here and are choosing who leads.` };
  }
  const { voters, needed } = short;
  const away = voters.filter((v) => !here(v.peer)).map((v) => v.peer);
  const isVoter = voters.some((v) => v.peer === replica.self);
  const text = `Needs ${needed} of ${voters.length} voters; ${unreachable(host, network, away)}. What is written here is kept and gets its place later.`;
  const alone = !replica.peers.some((peer) => network.isConnected(peer));
  return { code: alone && isVoter ? 'ALONE' : 'NO_QUORUM', text };
}

function unreachable(host: GroupHost, network: Network, away: readonly PeerId[]): string {
  const names = away.map((peer) => host.replica.reader.member(peer)?.name || peer.slice(-6));
  const seen = away.map((peer) => network.lastSeenMs(peer)).filter((ms) => ms !== null);
  const since = seen.length === away.length && seen.length > 0 ? ` since ${clock(Math.min(...seen))}` : '';
  const list = names.length > 1 ? `${names.slice(0, -1).join(', ')} and ${names.at(-1)}` : (names[0] ?? 'they');
  return `${list} ${names.length > 1 ? 'are' : 'is'} unreachable${since}`;
}

function clock(ms: number): string {
  const at = new Date(ms);
  return `${String(at.getHours()).padStart(2, '0')}:${String(at.getMinutes()).padStart(2, '0')}`;
}
