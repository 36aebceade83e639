import { equal } from '../base/bytes.ts';
import { ZERO_HASH } from '../base/hash.ts';
import { type Incarnation, keyFromPeer, type PeerId, type Slot, seq } from '../base/ids.ts';
import type {
  AdmitBody,
  AwayBody,
  ExpelBody,
  InviteBody,
  PinRoleBody,
  ProfileBody,
  QuorumBody,
  RenameBody,
  RevokeBody,
  RightsBody,
} from './bodies.ts';
import { admissionSignature } from './invitation.ts';
import { type Judging, NO_ENTRY, type Refused, refuse, type Took } from './judging.ts';
import type { Overlay } from './overlay.ts';
import { areSafe, type QuorumSizes } from './quorum.ts';
import {
  type InvitationRecord,
  invitationPlace,
  invitationsPlace,
  type MemberRecord,
  type MetaRecord,
  memberPlace,
  membersPlace,
  metaPlace,
  type SessionRecord,
  sessionPlace,
} from './records.ts';
import { NAME_MAX_BYTES, nameProblem, TITLE_MAX_BYTES } from './text.ts';
import type { PinnedRole, Rights } from './types.ts';

export const NEW_SESSION: SessionRecord = { lastSeq: seq(0), lastHash: ZERO_HASH, closed: false, refusals: [] };

export function rename(judging: Judging, body: RenameBody): Took | Refused {
  const problem = nameProblem(body.title, TITLE_MAX_BYTES);
  if (problem) return refuse(problem, 'the title');
  judging.state.put(metaPlace, { ...metaOf(judging.state), title: body.title });
  judging.changes.push({ type: 'title', title: body.title });
  return NO_ENTRY;
}

export function profile(judging: Judging, body: ProfileBody): Took | Refused {
  const problem = nameProblem(body.name, NAME_MAX_BYTES);
  if (problem) return refuse(problem, 'the name');
  changeMember(judging, judging.run.peer, { ...judging.author, name: body.name });
  return NO_ENTRY;
}

export function invite(judging: Judging, body: InviteBody): Took | Refused {
  const { state } = judging;
  if (state.get(invitationPlace(body.key))) return refuse('INVITATION_REUSED', 'each invitation has its own key');
  state.create(invitationPlace(body.key), {
    rights: body.rights,
    pinned: body.pinned,
    expiresMs: body.expiresMs,
    by: judging.run.peer,
    slot: judging.slot,
    madeAt: metaOf(state).judged,
    usedBy: null,
    revoked: false,
  });
  state.put(invitationsPlace, [...openInvitations(state), body.key]);
  judging.changes.push({ type: 'invitation', key: body.key });
  return NO_ENTRY;
}

/** Only one that is open: who came in by it stays, and what never was can't be closed. */
export function revoke(judging: Judging, body: RevokeBody): Took | Refused {
  const invitation = judging.state.get(invitationPlace(body.key));
  if (!invitation || invitation.revoked) return refuse('INVITATION_UNKNOWN', 'no such invitation is open');
  if (invitation.usedBy !== null) return refuse('INVITATION_USED', `by ${invitation.usedBy}`);
  close(judging, body.key, invitation);
  return NO_ENTRY;
}

function close({ state, changes }: Judging, key: Uint8Array, invitation: InvitationRecord): void {
  state.put(invitationPlace(key), { ...invitation, revoked: true });
  dropOpenInvitation(state, key);
  changes.push({ type: 'invitation', key });
}

/** The first joiner that comes with an invitation wins it; the same joiner's repeat changes nothing. */
export function admit(judging: Judging, body: AdmitBody): Took | Refused {
  const { state } = judging;
  const invitation = state.get(invitationPlace(body.key));
  if (!invitation || invitation.revoked) return refuse('INVITATION_UNKNOWN', 'no such invitation is open');
  const before = state.get(memberPlace(body.joiner));
  const isMember = before !== undefined && before.expelledSlot === null;
  if (invitation.usedBy !== null) {
    if (invitation.usedBy === body.joiner && isMember) return NO_ENTRY;
    return refuse('INVITATION_USED', `by ${invitation.usedBy}`);
  }
  if (!judging.verifier.verify(admissionSignature(judging.group, body))) {
    return refuse('INVITATION_BAD', "the signature is not by the invitation's key");
  }
  if (isMember) return refuse('ALREADY_MEMBER', body.joiner);
  if (before && invitation.madeAt < before.expelledAt) {
    return refuse('INVITATION_UNKNOWN', 'a removed member needs an invitation made after its removal');
  }
  const problem = nameProblem(body.name);
  if (problem) return refuse(problem, 'the name of the joiner');
  if (state.get(sessionPlace(body.joiner, body.incarnation))?.closed) {
    return refuse('SESSION_CLOSED', `${body.incarnation} was replaced before`);
  }
  settle(judging, body, invitation, before);
  return NO_ENTRY;
}

function settle(
  judging: Judging,
  body: AdmitBody,
  invitation: InvitationRecord,
  before: MemberRecord | undefined,
): void {
  const { state, slot } = judging;
  state.put(invitationPlace(body.key), { ...invitation, usedBy: body.joiner });
  dropOpenInvitation(state, body.key);
  admitMember(state, body.joiner, {
    name: body.name,
    rights: invitation.rights,
    pinned: invitation.pinned,
    incarnation: body.incarnation,
    slot,
  });
  if (before) closeSession(state, body.joiner, before.incarnation, body.incarnation);
  judging.changes.push({ type: 'invitation', key: body.key });
  judging.changes.push({ type: 'member', what: 'admitted', peer: body.joiner });
  judging.changes.push({ type: 'session', peer: body.joiner, incarnation: body.incarnation });
}

interface NewMember {
  readonly name: string;
  readonly rights: Rights;
  readonly pinned: PinnedRole;
  readonly incarnation: Incarnation;
  readonly slot: Slot;
}

/** Makes a member and its session. A session that is known goes on where it was, so that nothing is judged twice. */
export function admitMember(state: Overlay, peer: PeerId, member: NewMember): void {
  const { slot: sinceSlot, ...fields } = member;
  if (!state.get(memberPlace(peer))) {
    state.put(membersPlace, [...(state.get(membersPlace) ?? []), keyFromPeer(peer)]);
  }
  state.put(memberPlace(peer), { ...fields, sinceSlot, expelledSlot: null, expelledAt: 0, away: null });
  if (!state.get(sessionPlace(peer, member.incarnation))) {
    state.put(sessionPlace(peer, member.incarnation), NEW_SESSION);
  }
  if (member.rights === 'keeper') addKeepers(state, 1);
}

/** Also how a member leaves. Its open invitations go with it; its sessions stay, to refuse what still comes from it. */
export function expel(judging: Judging, body: ExpelBody): Took | Refused {
  const { state, slot } = judging;
  const member = memberOf(state, body.peer);
  if (!member) return refuse('NO_SUCH_MEMBER', body.peer);
  const meta = metaOf(state);
  if (member.rights === 'keeper') {
    if (meta.keepers === 1) return refuse('LAST_KEEPER', body.peer);
    addKeepers(state, -1);
  }
  state.put(memberPlace(body.peer), { ...member, expelledSlot: slot, expelledAt: meta.judged });
  revokeInvitationsBy(judging, body.peer);
  judging.changes.push({ type: 'member', what: 'expelled', peer: body.peer });
  return NO_ENTRY;
}

function revokeInvitationsBy(judging: Judging, peer: PeerId): void {
  const { state } = judging;
  for (const key of openInvitations(state)) {
    const invitation = state.must(invitationPlace(key));
    if (invitation.by === peer) close(judging, key, invitation);
  }
}

export function changeRights(judging: Judging, body: RightsBody): Took | Refused {
  const member = memberOf(judging.state, body.peer);
  if (!member) return refuse('NO_SUCH_MEMBER', body.peer);
  const gained = Number(body.rights === 'keeper') - Number(member.rights === 'keeper');
  if (gained < 0 && metaOf(judging.state).keepers === 1) return refuse('LAST_KEEPER', body.peer);
  addKeepers(judging.state, gained);
  changeMember(judging, body.peer, { ...member, rights: body.rights });
  return NO_ENTRY;
}

/** Forced recovery (R12): where none of those who go on is a keeper, all of them become keepers. Else nobody could ever be let in again. */
export function keepersAmong(state: Overlay, survivors: readonly PeerId[]): readonly PeerId[] {
  const members = survivors.flatMap((peer) => {
    const member = memberOf(state, peer);
    return member === undefined ? [] : [{ peer, member }];
  });
  if (members.some(({ member }) => member.rights === 'keeper')) return [];
  for (const { peer, member } of members) state.put(memberPlace(peer), { ...member, rights: 'keeper' });
  addKeepers(state, members.length);
  return members.map(({ peer }) => peer);
}

export function pinRole(judging: Judging, body: PinRoleBody): Took | Refused {
  const member = memberOf(judging.state, body.peer);
  if (!member) return refuse('NO_SUCH_MEMBER', body.peer);
  changeMember(judging, body.peer, { ...member, pinned: body.role });
  return NO_ENTRY;
}

/** The leader brings the configuration in line as soon as it has just that number of voters. */
export function setQuorum(judging: Judging, body: QuorumBody): Took | Refused {
  const { voters, phase1, phase2 } = body;
  const quorum: QuorumSizes | null = phase1 === null || phase2 === null ? null : { voters, phase1, phase2 };
  if (quorum !== null && !areSafe(quorum)) return refuse('QUORUM_UNSAFE', `${phase1} and ${phase2} of ${voters}`);
  judging.state.put(metaPlace, { ...metaOf(judging.state), quorum });
  judging.changes.push({ type: 'quorum' });
  return NO_ENTRY;
}

export function setAway(judging: Judging, { isAway, untilMs }: AwayBody): Took {
  changeMember(judging, judging.run.peer, { ...judging.author, away: isAway ? { untilMs } : null });
  return NO_ENTRY;
}

/** The author's session was made for this very command, or goes on; the peer's former one ends here. */
export function openSession(judging: Judging): Took {
  const { peer, incarnation } = judging.run;
  if (judging.author.incarnation === incarnation) return NO_ENTRY;
  closeSession(judging.state, peer, judging.author.incarnation, incarnation);
  judging.state.put(memberPlace(peer), { ...judging.author, incarnation });
  judging.changes.push({ type: 'session', peer, incarnation });
  return NO_ENTRY;
}

function closeSession(state: Overlay, peer: PeerId, old: Incarnation, next: Incarnation): void {
  if (old === next) return;
  const session = state.must(sessionPlace(peer, old)); // every member has one
  state.put(sessionPlace(peer, old), { ...session, closed: true });
}

function changeMember(judging: Judging, peer: PeerId, member: MemberRecord): void {
  judging.state.put(memberPlace(peer), member);
  judging.changes.push({ type: 'member', what: 'changed', peer });
}

/** Undefined for a stranger and for a former member. */
export function memberOf(state: Overlay, peer: PeerId): MemberRecord | undefined {
  const member = state.get(memberPlace(peer));
  return member?.expelledSlot === null ? member : undefined;
}

export function metaOf(state: Overlay): MetaRecord {
  return state.must(metaPlace);
}

const openInvitations = (state: Overlay): readonly Uint8Array[] => state.get(invitationsPlace) ?? [];

function dropOpenInvitation(state: Overlay, key: Uint8Array): void {
  state.put(
    invitationsPlace,
    openInvitations(state).filter((each) => !equal(each, key)),
  );
}

function addKeepers(state: Overlay, gained: number): void {
  if (gained === 0) return;
  const meta = metaOf(state);
  state.put(metaPlace, { ...meta, keepers: meta.keepers + gained });
}
