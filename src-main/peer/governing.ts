import { toHex } from '../../shared/base/bytes.ts';
import type { PeerId } from '../../shared/base/ids.ts';
import { areSafe, type Invitation, nameProblem, TITLE_MAX_BYTES } from '../../shared/document/index.ts';
import type {
  AwayParams,
  AwayStatus,
  GroupName,
  LeaveParams,
  MemberParams,
  MemberRole,
  OpenInvitation,
  QuorumParams,
  QuorumStatus,
  RenameParams,
  RevokeParams,
} from '../../shared/ipc/contract.ts';
import { PeerError } from '../../shared/ipc/errors.ts';
import { survivedBy } from '../../shared/ipc/survived.ts';
import type { Network } from '../network/network.ts';
import type { GroupHost } from './group-host.ts';
import { isSettled, untilInForce } from './in-force.ts';
import { invitationNamed, memberNamed } from './lookup.ts';
import { canVote } from './presence.ts';
import { awayOf, roleOf } from './status.ts';
import { governing } from './voting.ts';
import { assertMember, command } from './writing.ts';

/** The leader may have changed, or the request may have been lost. Milliseconds. */
const ASK_AGAIN_MS = 500;

const timeLeft = (timeoutMs: number, startedMs: number): number => Math.max(0, timeoutMs - (Date.now() - startedMs));
const nameOf = (host: GroupHost, peer: PeerId): string => host.replica.reader.member(peer)?.name || peer.slice(-6);

export const isMember = ({ isOpen, replica }: GroupHost): boolean =>
  isOpen && replica.isSound && replica.reader.member(replica.self)?.expelledSlot === null;

/** @throws PeerError `LAST_VOTER` where the group could agree on nothing without `peer` */
export function assertOthersVote(host: GroupHost, peer: PeerId): void {
  const { voters } = host.replica.inspect().configuration.configuration;
  if (voters.length > 1 || voters[0]?.peer !== peer) return;
  throw new PeerError('LAST_VOTER', 'This is the only machine that votes. Promote another one first.');
}

/** What the group itself would refuse is left to it: its words say more. @throws PeerError `LAST_VOTER` */
export function assertMayExpel(host: GroupHost, peer: PeerId): void {
  const { reader, self } = host.replica;
  const keepers = reader.members().filter(({ rights }) => rights === 'keeper');
  const isKeeper = keepers.some((member) => member.peer === self);
  const isLastKeeper = keepers.length === 1 && keepers[0]?.peer === peer;
  if (isKeeper && !isLastKeeper) assertOthersVote(host, peer);
}

/** Hands leadership over, wherever it is now; in force once the machine is seen to lead. */
export async function lead(
  host: GroupHost,
  network: Network,
  params: MemberParams,
  signal: AbortSignal,
): Promise<MemberRole> {
  const { replica } = host;
  assertMember(host);
  if (replica.reader.member(replica.self)?.rights !== 'keeper') {
    throw new PeerError('REFUSED_NO_RIGHTS', 'Only a keeper says who leads.');
  }
  const { peer } = memberNamed(host, params.peer);
  const leads = (): boolean => host.replica.inspect().leader === peer;
  const obstacle = leads() ? null : whyNoLeader(host, network, peer);
  if (obstacle !== null) throw new PeerError('CANNOT_LEAD', obstacle);
  let askedMs = 0;
  const again = (): void => {
    if (Date.now() - askedMs < ASK_AGAIN_MS) return;
    askedMs = Date.now();
    host.replica.askToLead(peer);
    host.wake();
  };
  await untilInForce(host, network, { isDone: leads, timeoutMs: params.timeoutMs, signal, again });
  return { peer, role: roleOf(host, peer) };
}

function whyNoLeader(host: GroupHost, network: Network, peer: PeerId): string | null {
  const { replica } = host;
  const name = nameOf(host, peer);
  const role = roleOf(host, peer);
  if (role === 'learner') return `${name} holds the log and does not vote, so it can't lead. Promote it first.`;
  if (role === 'witness') return `${name} is a witness: it votes and never leads.`;
  const isHere = peer === replica.self || network.isConnected(peer);
  if (!isHere) return `${name} is not here now. Ask again once it is.`;
  const vote = replica.inspect().configuration.configuration.voters.find((v) => v.peer === peer);
  if (vote === undefined || !canVote(host, network, vote)) return `${name}'s copy is damaged, so it can't lead.`;
  const member = replica.reader.member(peer);
  if (member && awayOf(member).away) return `${name} said that it is away. "synod away --back" there ends that.`;
  return null;
}

/** Shows the quorum sizes, or sets them for the present number of voters, or gives them back to majorities. */
export async function quorum(
  host: GroupHost,
  network: Network,
  params: QuorumParams,
  signal: AbortSignal,
): Promise<QuorumStatus> {
  const { phase1, phase2, majorities, timeoutMs } = params;
  if (phase1 === undefined && majorities !== true) return quorumStatus(host);
  const startedMs = Date.now();
  const voters = host.replica.inspect().configuration.configuration.voters.length;
  const sizes = phase1 === undefined || phase2 === undefined ? null : { voters, phase1, phase2 };
  if (sizes !== null && !areSafe(sizes)) throw new PeerError('QUORUM_UNSAFE', unsafeWords(sizes));
  const body = sizes ?? { voters, phase1: null, phase2: null };
  await command(host, network, { kind: 'quorum', ...body }, timeoutMs, signal);
  const majority = Math.floor(voters / 2) + 1;
  const wanted = sizes ?? { phase1: majority, phase2: majority };
  const isDone = (): boolean => {
    const { configuration: c } = host.replica.inspect().configuration;
    return c.q1 === wanted.phase1 && c.q2 === wanted.phase2 && isSettled(host);
  };
  await untilInForce(host, network, { isDone, timeoutMs: timeLeft(timeoutMs, startedMs), signal });
  return quorumStatus(host);
}

function quorumStatus(host: GroupHost): QuorumStatus {
  const { voters, q1, q2 } = governing(host);
  const set = host.replica.reader.meta().quorum;
  const n = voters.length;
  return {
    voters: n,
    phase1: q1,
    phase2: q2,
    witnesses: voters.filter((v) => v.witness).length,
    survives: survivedBy({ voters, q1, q2 }),
    pinned: set !== null && set.voters === n && set.phase1 === q1 && set.phase2 === q2,
  };
}

/** With the sum in words. */
function unsafeWords(sizes: { readonly voters: number; readonly phase1: number; readonly phase2: number }): string {
  const { voters, phase1, phase2 } = sizes;
  const many = voters === 1 ? '1 machine votes' : `${voters} machines vote`;
  if (phase1 > voters || phase2 > voters) return `Only ${many}: a quorum of ${Math.max(phase1, phase2)} never meets.`;
  if (phase1 + phase2 <= voters) {
    return `${many}, and ${phase1} + ${phase2} = ${phase1 + phase2} is no more than that: those who choose a leader could all be others than those who hold what was agreed, and it would be lost. Together the two must be at least ${voters + 1}.`;
  }
  return `${many}: with --phase2 ${phase2}, what is agreed could be on one disk alone. It takes at least 2.`;
}

/** What this machine says of itself; the leader hands its vote and its leadership on, as far as others can take them. */
export async function away(
  host: GroupHost,
  network: Network,
  params: AwayParams,
  signal: AbortSignal,
): Promise<AwayStatus> {
  const { away: isAway, untilMs, timeoutMs } = params;
  await command(host, network, { kind: 'away', isAway, untilMs }, timeoutMs, signal);
  const until = untilMs === null ? null : new Date(untilMs).toISOString();
  const { self } = host.replica;
  const { voters } = host.replica.inspect().configuration.configuration;
  return { peer: self, away: isAway, until, others: voters.filter((v) => v.peer !== self && !v.witness).length };
}

/** Expels this machine by its own word. The log stays readable here. */
export async function leave(
  host: GroupHost,
  network: Network,
  params: LeaveParams,
  signal: AbortSignal,
): Promise<MemberRole> {
  const { replica } = host;
  const { self } = replica;
  assertMember(host);
  const startedMs = Date.now();
  assertOthersVote(host, self);
  const others = replica.inspect().configuration.configuration.voters.filter((v) => v.peer !== self);
  const absent = others.filter((v) => !canVote(host, network, v));
  const needed = Math.floor(others.length / 2) + 1;
  if (roleOf(host, self) !== 'learner' && others.length - absent.length < needed) {
    const names = absent.map((v) => nameOf(host, v.peer)).join(', ');
    const words = `The others need ${needed} of ${others.length} voters to agree, and ${names} can't be reached`;
    throw new PeerError('QUORUM_NEEDED', `${words}. Leave once more of them are here; nothing was changed.`);
  }
  await command(host, network, { kind: 'expel', peer: self }, params.timeoutMs, signal);
  // Those who decide from now on hold everything and go on by themselves; how far they are this machine need not hear.
  const isDone = (): boolean => {
    const { configuration, leads } = host.replica.inspect();
    return !leads && !configuration.configuration.voters.some((v) => v.peer === self);
  };
  await untilInForce(host, network, { isDone, timeoutMs: timeLeft(params.timeoutMs, startedMs), signal });
  return { peer: self, role: null };
}

export const openInvitations = (host: GroupHost): OpenInvitation[] =>
  host.replica.reader.invitations().map((invitation) => shown(host, invitation));

function shown(host: GroupHost, { key, rights, pinned, by, expiresMs }: Invitation): OpenInvitation {
  return {
    key: toHex(key),
    rights,
    role: pinned,
    by,
    name: nameOf(host, by),
    expires: expiresMs === null ? null : new Date(expiresMs).toISOString(),
    expired: expiresMs !== null && expiresMs <= Date.now(),
  };
}

export async function revoke(
  host: GroupHost,
  network: Network,
  params: RevokeParams,
  signal: AbortSignal,
): Promise<OpenInvitation> {
  const invitation = invitationNamed(host, params.key);
  const revoked = shown(host, invitation);
  await command(host, network, { kind: 'revoke', key: invitation.key }, params.timeoutMs, signal);
  return revoked;
}

export async function rename(
  host: GroupHost,
  network: Network,
  { title, timeoutMs }: RenameParams,
  signal: AbortSignal,
): Promise<GroupName> {
  const problem = nameProblem(title, TITLE_MAX_BYTES);
  if (problem !== null) {
    throw new PeerError(problem, 'A log needs a title of at most 500 bytes without control characters.');
  }
  await command(host, network, { kind: 'rename', title }, timeoutMs, signal);
  return { group: host.group, title };
}
