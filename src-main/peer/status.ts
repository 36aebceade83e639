import { toHex } from '../../shared/base/bytes.ts';
import type { Member } from '../../shared/document/index.ts';
import { StoreError } from '../../shared/driver/store.ts';
import type { GroupStatus, MemberStatus, PeerStatus, Role } from '../../shared/ipc/contract.ts';
import { PeerError } from '../../shared/ipc/errors.ts';
import type { Network } from '../network/network.ts';
import { openedAgain, storeFailure } from './failures.ts';
import type { GroupHost } from './group-host.ts';
import { mendingStatus, titleOf } from './mending-why.ts';
import { canVote } from './presence.ts';
import { previewStatus } from './preview.ts';
import { recoveredStatus } from './recovery-why.ts';
import { governing, votingStatus } from './voting.ts';
import { obstacle, whyNot } from './why.ts';

/** What a status is made of. */
export interface Standing {
  readonly self: string;
  readonly name: string;
  readonly hosts: ReadonlyMap<string, GroupHost>;
  /** Groups whose store can't be opened, and why. */
  readonly broken: ReadonlyMap<string, PeerError>;
  readonly network: Network;
}

/** All groups; one that is closed to be opened again is told of as what it is, and not as one that is not there. */
export function peerStatus({ self, name, hosts, broken, network }: Standing): PeerStatus {
  const all = [...hosts.values()];
  const groups = all.filter((host) => host.isOpen).map((host) => groupStatus(host, network));
  const passing = all.filter((host) => !host.isOpen).map((host) => [host.group, beingOpened(host)] as const);
  const others = [...broken, ...passing].map(([group, { code, message }]) => ({ group, code, message }));
  return { peer: self, name, groups, ...(others.length === 0 ? {} : { broken: others }) };
}

/** Why a group whose store is closed can't be asked just now. */
export function beingOpened(host: GroupHost): PeerError {
  if (host.isStopping) return storeFailure(new StoreError('CLOSED', 'the store is closed'));
  return host.trouble === 'DISK_FULL'
    ? new PeerError('DISK_FULL', 'The disk is full to the last byte. What was saved is kept; free some space to go on.')
    : openedAgain();
}

export function groupStatus(host: GroupHost, network: Network): GroupStatus {
  const { replica } = host;
  const { reader } = replica;
  const view = replica.inspect();
  const why = whyNot(host, network);
  const { voters, q1, q2 } = governing(host);
  const ballot = view.ballot ?? view.promised;
  return {
    group: host.group,
    title: titleOf(replica),
    role: roleOf(host, replica.self),
    rights: reader.member(replica.self)?.rights ?? 'reader',
    leader: view.leader,
    ballot: ballot === null ? [0, replica.self, replica.incarnation] : [ballot.round, ballot.peer, ballot.incarnation],
    chosen: replica.prefix,
    applied: replica.applied,
    positions: reader.positions(),
    digest: toHex(replica.appliedDigest),
    state: toHex(reader.stateHash()),
    pending: replica.outbox.pending,
    canCommit: obstacle(host, network) === null,
    why: why?.text ?? null,
    whyCode: why?.code ?? null,
    quorum: {
      phase1: q1,
      phase2: q2,
      voters: voters.length,
      reachable: voters.filter((v) => canVote(host, network, v)).length,
    },
    voting: votingStatus(host, network),
    ...recoveredStatus(host),
    ...mendingStatus(host, network),
    ...previewStatus(replica),
    members: members(host, network),
  };
}

export function members(host: GroupHost, network: Network): MemberStatus[] {
  const { replica } = host;
  const { split } = replica;
  return [...replica.reader.members(), ...stillVoting(host)].map((member) => {
    const isSelf = member.peer === replica.self;
    const seen = isSelf ? null : network.lastSeenMs(member.peer);
    return {
      peer: member.peer,
      name: member.name || (replica.mending?.names.get(member.peer) ?? ''),
      role: roleOf(host, member.peer),
      rights: member.rights,
      connected: isSelf || network.isConnected(member.peer),
      chosen: isSelf ? replica.prefix : (replica.beatOf(member.peer)?.prefix ?? null),
      rttMs: isSelf ? null : rounded(network.rttMs(member.peer)),
      lastSeen: seen === null ? null : new Date(seen).toISOString(),
      ...awayOf(member),
      ...(member.expelledSlot === null ? {} : { removing: true as const }),
      ...(split.includes(member.peer) ? { split: true as const } : {}),
    };
  });
}

/** Expelled, and needed until the change of voters is in force. */
function stillVoting({ replica }: GroupHost): readonly Member[] {
  const voters = replica.inspect().window.flatMap(({ configuration }) => configuration.voters.map((v) => v.peer));
  return [...new Set(voters)].flatMap((peer) => {
    const member = replica.reader.member(peer);
    return member === undefined || member.expelledSlot === null ? [] : [member];
  });
}

/** Nothing once the time that it gave is over: then it is only not here. */
export function awayOf({ away }: Pick<Member, 'away'>): Pick<MemberStatus, 'away'> {
  if (away === null || (away.untilMs !== null && away.untilMs <= Date.now())) return {};
  return { away: { until: away.untilMs === null ? null : new Date(away.untilMs).toISOString() } };
}

/** To a tenth: what is behind that is noise. */
const rounded = (ms: number | null): number | null => (ms === null ? null : Math.round(ms * 10) / 10);

/** By the configuration that governs now, not by what was asked for. */
export function roleOf(host: GroupHost, peer: string): Role {
  const voter = governing(host).voters.find((v) => v.peer === peer);
  return voter === undefined ? 'learner' : voter.witness ? 'witness' : 'voter';
}
