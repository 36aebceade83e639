import type { PeerId } from '../../shared/base/ids.ts';
import type { Configuration } from '../../shared/consensus/configuration.ts';
import { TICK_MS } from '../../shared/consensus/constants.ts';
import type { VotingStatus } from '../../shared/ipc/contract.ts';
import { survivedBy } from '../../shared/ipc/survived.ts';
import type { NextVoters, VotersWait } from '../../shared/replica/steering.ts';
import type { Network } from '../network/network.ts';
import type { GroupHost } from './group-host.ts';
import { canVote } from './presence.ts';

/** Who decides, what that survives, and who will decide, in words. */
export function votingStatus(host: GroupHost, network: Network): VotingStatus {
  const { policy, next } = host.replica.voting();
  const names = (peers: readonly PeerId[]): string =>
    listed(peers.map((peer) => host.replica.reader.member(peer)?.name || peer.slice(-6)));
  const canLead = (next?.voters ?? []).filter((v) => host.replica.reader.member(v)?.pinned !== 'witness').length;
  const waitsFor = next?.waitsFor ?? null;
  const now = governing(host);
  const here = now.voters.filter((v) => canVote(host, network, v));
  return {
    policy,
    summary: summary(host, now, here.length),
    spare: survivedBy({ ...now, voters: here }),
    canLead: here.filter((v) => !v.witness).length,
    next: next && {
      voters: next.voters,
      why: whyWords(next, canLead, names),
      waitsFor: waitsFor && waitWords(waitsFor, names),
    },
  };
}

/** What decides about the next slot. A newer one may be on its way to force. */
export function governing({ replica }: GroupHost): Configuration {
  const { window, configuration } = replica.inspect();
  return (window[0] ?? configuration).configuration;
}

function summary({ replica: { reader } }: GroupHost, { voters, q1, q2 }: Configuration, here: number): string {
  const set = reader.meta().quorum;
  const mismatch =
    set === null || set.voters === voters.length
      ? ''
      : ` Quorum sizes were set for ${machines(set.voters)}; with ${voters.length} it takes majorities.`;
  return `${survival({ voters, q1, q2 }, here, reader.members().length)}${mismatch}`;
}

/** What so many voters survive, and what one more would add. */
export function survival(
  configuration: Pick<Configuration, 'voters' | 'q1' | 'q2'>,
  here: number,
  members: number,
): string {
  const { q1, q2 } = configuration;
  const voters = configuration.voters.length;
  if (voters === 1) {
    const more =
      members < 2
        ? ' With two more machines three could vote, and any one be away.'
        : members === 2
          ? ' A third machine would let any one be away.'
          : '';
    return `1 machine decides; while it is away, nothing is agreed.${more}`;
  }
  const present = `${here} of ${voters} voters are here.`;
  const { writing, electing } = survivedBy(configuration);
  const canLead = configuration.voters.filter((v) => !v.witness).length;
  if (canLead === 1) {
    const needed = voters - Math.max(q1, q2) === 0 ? ' All are needed.' : '';
    return `${present}${needed} Only one of them can lead: while it is away, nothing is agreed. ${witnessWords(voters - 1)}`;
  }
  if (q1 !== q2 || q1 !== Math.floor(voters / 2) + 1) {
    const choosing = electing === 0 ? 'all are needed to choose who leads' : `${electing} while a leader is chosen`;
    return `${present} ${writing} may be away while somebody leads, and ${choosing}.`;
  }
  if (voters === 2) return `${present} Both are needed; a third that votes would let any one be away.`;
  if (electing < voters - Math.max(q1, q2)) {
    return `${present} Any ${electing} may be away: of the ${canLead} that can lead one has to be here. ${witnessWords(voters - canLead)}`;
  }
  const even = voters % 2 === 0 ? `, as with ${voters - 1}: an even number survives nothing more` : '';
  return `${present} Any ${electing} may be away${even}.`;
}

const witnessWords = (n: number): string =>
  n === 1 ? 'The other is a witness, which never leads.' : 'The others are witnesses, which never lead.';

function whyWords(
  { voters, joins, leaves, why }: NextVoters,
  canLead: number,
  names: (peers: readonly PeerId[]) => string,
): string {
  const one = (peers: readonly PeerId[], singular: string, plural: string): string =>
    `${names(peers)} ${peers.length === 1 ? singular : plural}`;
  const change =
    joins.length === 0
      ? one(leaves, 'stops voting', 'stop voting')
      : leaves.length === 0
        ? one(joins, 'joins the voters', 'join the voters')
        : `${one(joins, 'votes', 'vote')} in place of ${names(leaves)}`;
  switch (why) {
    case 'hand':
      return joins.length + leaves.length === 0
        ? 'A store that was made anew votes again.'
        : `${change}, as was asked.`;
    case 'away':
      return `${change}: ${one(leaves, 'is', 'are')} going away.`;
    case 'gone':
      return `${change}: ${one(leaves, 'was', 'were')} not seen for a day.`;
    case 'damaged':
      return `${change}: the copy of ${names(leaves)} is damaged.`;
    case 'stays-on':
      return `${change}: machines that stay on decide before others.`;
    case 'more': {
      const spare = Math.min(Math.floor((voters.length - 1) / 2), canLead - 1);
      return spare < 1 ? `${change}.` : `${change}: with ${voters.length} that vote, any ${spare} may be away.`;
    }
    case 'fewer':
      return voters.length === 1
        ? `${change}: of two machines both would be needed, so one decides.`
        : `${change}: an even number would survive nothing more.`;
    case 'sizes':
      return 'The quorum sizes change.';
  }
}

function waitWords(wait: VotersWait, names: (peers: readonly PeerId[]) => string): string {
  switch (wait.for) {
    case 'here':
      return `${names(wait.peers)} ${wait.peers.length === 1 ? 'has' : 'have'} to be here`;
    case 'holding':
      return `${names(wait.peers)} ${wait.peers.length === 1 ? 'has' : 'have'} to hold the whole log`;
    case 'steady': {
      const { peers, ticks } = wait;
      if (peers.length === 0) return `this machine has to watch for ${forTicks(ticks)} more`;
      return `${names(peers)} ${peers.length === 1 ? 'has' : 'have'} to be here for ${forTicks(ticks)} more without a break`;
    }
    case 'rest':
      return `the last change was a moment ago; ${forTicks(wait.ticks)} more`;
    case 'quorum':
      return 'too few of those who vote now are here';
    case 'leader':
      return 'nobody leads';
    case 'core':
      return wait.words;
  }
}

function forTicks(ticks: number): string {
  const minutes = Math.ceil((ticks * TICK_MS) / 60_000);
  return minutes === 1 ? '1 minute' : `${minutes} minutes`;
}

const machines = (n: number): string => (n === 1 ? '1 voter' : `${n} voters`);

function listed(names: readonly string[]): string {
  return names.length < 2 ? (names[0] ?? '') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
}
