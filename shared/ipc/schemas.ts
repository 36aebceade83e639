import * as v from 'valibot';
import {
  type Appended,
  type AppendParams,
  type AwayParams,
  type AwayStatus,
  type BackupEvent,
  type BackupParams,
  type Barrier,
  type BarrierParams,
  type CarriedCount,
  type CarriedRun,
  type CarryParams,
  type CreateParams,
  type DismissParams,
  type Draft,
  type DraftParams,
  type EditParams,
  type GroupName,
  type HistoryParams,
  type InGroup,
  type Invitation,
  type InviteParams,
  type JoinEvent,
  type JoinParams,
  joinSteps,
  type LeaveParams,
  type LogLine,
  type LogParams,
  type MemberParams,
  type MemberRole,
  type MemberStatus,
  type Method,
  type OpenInvitation,
  type OutboxLine,
  type PeerStatus,
  type Profile,
  type ProfileParams,
  type QuorumParams,
  type QuorumStatus,
  type RemoveParams,
  type RenameParams,
  type RestoreParams,
  type Revision,
  type RevokeParams,
  type SaveDraftParams,
  type WatchEvent,
  type WatchParams,
  type WrittenRevision,
} from './contract.ts';
import { whyCodes } from './errors.ts';
import type { Survives } from './survived.ts';

/**
 * The shape of everything that crosses the border, checked on both sides of it: parameters strictly (a field that nobody
 * knows is a mistake), answers by the fields that are known. Lengths are in UTF-16 units and only keep nonsense out;
 * what an entry or a name may hold is judged by the peer.
 */
type Schema<T> = v.GenericSchema<unknown, T>;

/** What a person can bring about by typing or pasting is said in words for people, without the name of a field. */
const forPeople = new Set<string>();
function say(words: string): string {
  forPeople.add(words);
  return words;
}

/** Text that JSON can carry and UTF-8 can't is refused here, so that nothing behind it meets half a character. */
const wellFormed = v.pipe(
  v.string(),
  v.check(
    (text) => text.isWellFormed(),
    say('A character of this text is cut in half (a lone surrogate). Type or copy it again.'),
  ),
);
const short = v.pipe(wellFormed, v.maxLength(4_096));
const named = v.pipe(short, v.nonEmpty());
const personName = v.pipe(
  wellFormed,
  v.maxLength(4_096, say('That is too long for a name.')),
  v.nonEmpty(say('A name needs at least one letter.')),
);
/** A little more than the longest entry, so that the peer can say how long it may be. */
const LONG_MAX = 2 * 1024 * 1024;
const longText = v.pipe(
  wellFormed,
  v.maxLength(LONG_MAX, say('That is too long: an entry holds 1 MiB of text. Write it in parts.')),
);
const title = v.pipe(wellFormed, v.maxLength(LONG_MAX, say('That is too long for a name of a log.')));
/** Room for the message that a ticket came in. */
const ticket = v.pipe(
  v.string(),
  v.nonEmpty(say('There is no ticket. It begins with synod1 and comes from a member.')),
  v.maxLength(1024 * 1024, say('That is too long for a ticket. Copy it again, and nothing else.')),
);

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const number = v.pipe(v.number(), v.safeInteger(), v.minValue(1));
/** Timers overflow at 2³¹ ms; a longer wait means the same. */
const duration = v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.maxValue(2 ** 31 - 1));
const longDuration = v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(366 * 24 * 3_600_000));

const rights = v.picklist(['reader', 'writer', 'keeper']);
const role = v.picklist(['voter', 'learner', 'witness']);
const wait = v.picklist(['saved', 'committed']);
const whyCode = v.picklist(whyCodes);

const inGroup = { group: v.exactOptional(named) };
const withTimeout = { timeoutMs: duration };
const ofEntry = { entry: named };
const writing = { ...inGroup, ...withTimeout, wait, writer: v.exactOptional(personName) };

// Parameters

const nothing: Schema<Record<string, never>> = v.strictObject({});
const groupParams: Schema<InGroup> = v.strictObject(inGroup);
const createParams: Schema<CreateParams> = v.strictObject({ title });
const inviteParams: Schema<InviteParams> = v.strictObject({
  ...inGroup,
  ...withTimeout,
  rights,
  role: v.nullable(role),
  expiresMs: longDuration,
});
const joinParams: Schema<JoinParams> = v.strictObject({ ...withTimeout, ticket });
const appendParams: Schema<AppendParams> = v.strictObject({
  ...writing,
  text: longText,
  key: v.exactOptional(named),
});
const editParams: Schema<EditParams> = v.strictObject({ ...writing, ...ofEntry, text: longText });
const removeParams: Schema<RemoveParams> = v.strictObject({ ...writing, ...ofEntry });
const restoreParams: Schema<RestoreParams> = v.strictObject({
  ...writing,
  ...ofEntry,
  revision: v.exactOptional(number),
});
const logParams: Schema<LogParams> = v.pipe(
  v.strictObject({
    ...inGroup,
    since: v.exactOptional(count),
    afterSlot: v.exactOptional(count),
    limit: v.exactOptional(count),
    follow: v.boolean(),
    pending: v.boolean(),
    marks: v.exactOptional(v.boolean()),
  }),
  v.check(
    (params) => params.since === undefined || params.afterSlot === undefined,
    'since and afterSlot exclude each other',
  ),
);
const historyParams: Schema<HistoryParams> = v.strictObject({ ...inGroup, ...ofEntry });
const barrierParams: Schema<BarrierParams> = v.strictObject({ ...inGroup, ...withTimeout });
const carryParams: Schema<CarryParams> = v.strictObject({
  group: named,
  runs: v.pipe(
    v.array(v.pipe(v.string(), v.maxLength(4 * 1024 * 1024), v.regex(/^[A-Za-z0-9+/]+={0,2}$/))),
    v.minLength(1),
    v.maxLength(4_096),
  ),
});
const backupParams: Schema<BackupParams> = v.strictObject({ path: named });
const dismissParams: Schema<DismissParams> = v.strictObject({ ...inGroup, key: named });
/** A part of a draft's name. */
const part = v.pipe(v.string(), v.regex(/^[a-z0-9-]{1,64}$/i));
const ofWindow = { window: v.exactOptional(part) };
const watchParams: Schema<WatchParams> = v.strictObject(ofWindow);
const ofDraft = { ...inGroup, ...ofWindow, about: part };
const draftParams: Schema<DraftParams> = v.strictObject(ofDraft);
const saveDraftParams: Schema<SaveDraftParams> = v.strictObject({ ...ofDraft, text: longText });
const memberParams: Schema<MemberParams> = v.strictObject({ ...inGroup, ...withTimeout, peer: named });
const quorumParams: Schema<QuorumParams> = v.pipe(
  v.strictObject({
    ...inGroup,
    ...withTimeout,
    phase1: v.exactOptional(number),
    phase2: v.exactOptional(number),
    majorities: v.exactOptional(v.boolean()),
  }),
  v.check(({ phase1, phase2 }) => (phase1 === undefined) === (phase2 === undefined), 'phase1 and phase2 go together'),
  v.check(
    ({ phase1, majorities }) => phase1 === undefined || majorities !== true,
    'majorities and sizes exclude each other',
  ),
);
/** Up to the end of the year 9999, as in every command. */
const time = v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.maxValue(253_402_300_799_999));
const awayParams: Schema<AwayParams> = v.pipe(
  v.strictObject({ ...inGroup, ...withTimeout, away: v.boolean(), untilMs: v.nullable(time) }),
  v.check(({ away, untilMs }) => away || untilMs === null, 'who is back is not away until then'),
);
const leaveParams: Schema<LeaveParams> = v.strictObject({ ...inGroup, ...withTimeout });
const revokeParams: Schema<RevokeParams> = v.strictObject({ ...inGroup, ...withTimeout, key: named });
const renameParams: Schema<RenameParams> = v.strictObject({ ...inGroup, ...withTimeout, title });
const profileParams: Schema<ProfileParams> = v.strictObject({ ...withTimeout, name: v.exactOptional(personName) });

// Answers

const groupName: Schema<GroupName> = v.object({ group: v.string(), title: v.string() });
const invitation: Schema<Invitation> = v.object({ ticket: v.string() });
const joinEvent: Schema<JoinEvent> = v.variant('kind', [
  v.object({ kind: v.literal('step'), step: v.picklist(joinSteps), message: v.string() }),
  v.object({ kind: v.literal('joined'), group: v.string(), title: v.string(), role }),
]);

const written = {
  id: v.string(),
  status: wait,
  position: v.nullable(number),
  slot: v.nullable(count),
  why: v.nullable(v.string()),
  whyCode: v.nullable(whyCode),
};
const appended: Schema<Appended> = v.object({ ...written, created: v.boolean() });
const writtenRevision: Schema<WrittenRevision> = v.object({ ...written, revision: number });

/** In the order in which a line is printed. */
const signed = { id: v.string(), author: v.string(), name: v.string(), writer: v.string(), time: v.string() };
const content = { text: v.nullable(v.string()), revision: number, removed: v.boolean() };
const change = v.picklist(['create', 'edit', 'remove', 'restore']);
const changed = v.object({
  change: v.picklist(['edit', 'remove', 'restore']),
  author: v.string(),
  name: v.string(),
  writer: v.string(),
  time: v.string(),
});
const pendingLine = v.object({
  position: v.null(),
  slot: v.null(),
  ...signed,
  placed: v.null(),
  ...content,
  status: v.literal('pending'),
  why: v.string(),
  whyCode,
  change: v.exactOptional(change),
  of: v.exactOptional(v.nullable(number)),
});
const placedLine = {
  position: number,
  slot: count,
  ...signed,
  placed: v.string(),
  ...content,
  clock: v.exactOptional(v.nullable(v.picklist(['ahead', 'behind']))),
  overlap: v.exactOptional(v.boolean()),
  changed: v.exactOptional(v.nullable(changed)),
};
const logLine: Schema<LogLine> = v.variant('status', [
  v.object({ ...placedLine, status: v.literal('committed') }),
  v.object({ ...placedLine, status: v.literal('unverified') }),
  pendingLine,
]);
const revision: Schema<Revision> = v.object({
  revision: number,
  slot: v.nullable(count),
  author: v.string(),
  writer: v.string(),
  time: v.string(),
  text: v.nullable(v.string()),
  removed: v.boolean(),
});
const barrier: Schema<Barrier> = v.object({ position: count, slot: count, digest: v.string() });

const member = v.object({
  peer: v.string(),
  name: v.string(),
  role,
  rights,
  connected: v.boolean(),
  chosen: v.nullable(count),
  rttMs: v.nullable(v.pipe(v.number(), v.finite(), v.minValue(0))),
  lastSeen: v.nullable(v.string()),
  away: v.exactOptional(v.object({ until: v.nullable(v.string()) })),
  removing: v.exactOptional(v.literal(true)),
  split: v.exactOptional(v.literal(true)),
});
const survives: Schema<Survives> = v.object({ writing: count, electing: count });
const voting = v.object({
  policy: v.boolean(),
  summary: v.string(),
  spare: survives,
  canLead: count,
  next: v.nullable(v.object({ voters: v.array(v.string()), why: v.string(), waitsFor: v.nullable(v.string()) })),
});
const members: Schema<readonly MemberStatus[]> = v.array(member);
const status: Schema<PeerStatus> = v.object({
  peer: v.string(),
  name: v.string(),
  groups: v.array(
    v.object({
      group: v.string(),
      title: v.string(),
      role,
      rights,
      leader: v.nullable(v.string()),
      ballot: v.strictTuple([count, v.string(), v.string()]),
      chosen: count,
      applied: count,
      positions: count,
      digest: v.string(),
      state: v.string(),
      pending: count,
      canCommit: v.boolean(),
      why: v.nullable(v.string()),
      whyCode: v.nullable(whyCode),
      quorum: v.object({ phase1: count, phase2: count, voters: count, reachable: count }),
      voting,
      recovered: v.exactOptional(
        v.object({ slot: v.nullable(count), lossless: v.nullable(v.boolean()), aside: v.array(v.string()) }),
      ),
      mending: v.exactOptional(
        v.object({ entries: v.boolean(), upTo: count, missing: count, from: v.array(v.string()), text: v.string() }),
      ),
      preview: v.exactOptional(v.object({ slot: count, positions: count, here: count })),
      members: v.array(member),
    }),
  ),
  broken: v.exactOptional(v.array(v.object({ group: v.string(), code: v.string(), message: v.string() }))),
});
const refusedLine = v.object({
  key: v.string(),
  whyCode,
  why: v.string(),
  writer: v.string(),
  time: v.string(),
  text: v.nullable(v.string()),
  change: v.nullable(change),
  of: v.nullable(number),
});
const keptDraft = v.object({
  about: v.string(),
  window: v.nullable(v.string()),
  text: v.string(),
  kind: v.picklist(['new', 'edit', 'gone']),
  why: v.string(),
  of: v.nullable(number),
});
const watchEvent: Schema<WatchEvent> = v.variant('kind', [
  v.object({ kind: v.literal('status'), status }),
  v.object({ kind: v.literal('log'), group: v.string(), positions: count, changed: v.nullable(v.array(number)) }),
  v.object({ kind: v.literal('pending'), group: v.string(), count, lines: v.array(pendingLine) }),
  v.object({ kind: v.literal('refused'), group: v.string(), lines: v.array(refusedLine) }),
  v.object({ kind: v.literal('kept'), group: v.string(), drafts: v.array(keptDraft) }),
  v.object({ kind: v.literal('gone'), group: v.string() }),
]);
const draft: Schema<Draft> = v.object({ text: v.string() });
const backupEvent: Schema<BackupEvent> = v.variant('kind', [
  v.object({ kind: v.literal('progress'), rows: count, bytes: count }),
  v.object({ kind: v.literal('done'), path: v.string(), bytes: count, rows: count, groups: count }),
]);
const waiting = { text: v.nullable(v.string()), time: v.string(), writer: v.string(), why: v.string(), whyCode };
const outboxLine: Schema<OutboxLine> = v.variant('status', [
  v.object({ status: v.literal('pending'), id: v.string(), change, ...waiting }),
  v.object({ status: v.literal('refused'), key: v.string(), change: v.nullable(change), ...waiting }),
]);
const carriedRun: Schema<CarriedRun> = v.object({ group: v.string(), run: v.string(), commands: count });
const carriedCount: Schema<CarriedCount> = v.object({ new: count, known: count, refused: count });
const done: Schema<Record<string, never>> = v.object({});
const quorumStatus: Schema<QuorumStatus> = v.object({
  voters: count,
  phase1: count,
  phase2: count,
  witnesses: count,
  survives,
  pinned: v.boolean(),
});
const awayStatus: Schema<AwayStatus> = v.object({
  peer: v.string(),
  away: v.boolean(),
  until: v.nullable(v.string()),
  others: count,
});
const openInvitation: Schema<OpenInvitation> = v.object({
  key: v.string(),
  rights,
  role: v.nullable(role),
  by: v.string(),
  name: v.string(),
  expires: v.nullable(v.string()),
  expired: v.boolean(),
});
const profile: Schema<Profile> = v.object({ peer: v.string(), name: v.string() });
const memberRole: Schema<MemberRole> = v.object({ peer: v.string(), role: v.nullable(role) });

/** How a method is called and what comes back: once, or as a stream of items. */
export interface MethodSchema {
  readonly kind: 'call' | 'stream';
  readonly params: Schema<object>;
  readonly answer: Schema<unknown>;
}

const call = (params: Schema<object>, answer: Schema<unknown>): MethodSchema => ({ kind: 'call', params, answer });
const stream = (params: Schema<object>, answer: Schema<unknown>): MethodSchema => ({ kind: 'stream', params, answer });

export const methods: Readonly<Record<Method, MethodSchema>> = {
  groups: call(nothing, v.array(groupName)),
  create: call(createParams, groupName),
  invite: call(inviteParams, invitation),
  join: stream(joinParams, joinEvent),
  append: call(appendParams, appended),
  edit: call(editParams, writtenRevision),
  remove: call(removeParams, writtenRevision),
  restore: call(restoreParams, writtenRevision),
  log: stream(logParams, logLine),
  history: stream(historyParams, revision),
  barrier: call(barrierParams, barrier),
  status: call(groupParams, status),
  members: call(groupParams, members),
  watch: stream(watchParams, watchEvent),
  dismiss: call(dismissParams, done),
  draft: call(draftParams, draft),
  saveDraft: call(saveDraftParams, done),
  backup: stream(backupParams, backupEvent),
  outbox: stream(groupParams, outboxLine),
  carried: stream(groupParams, carriedRun),
  carry: call(carryParams, carriedCount),
  promote: call(memberParams, memberRole),
  demote: call(memberParams, memberRole),
  expel: call(memberParams, memberRole),
  lead: call(memberParams, memberRole),
  quorum: call(quorumParams, quorumStatus),
  away: call(awayParams, awayStatus),
  leave: call(leaveParams, memberRole),
  invites: call(groupParams, v.array(openInvitation)),
  revoke: call(revokeParams, openInvitation),
  rename: call(renameParams, groupName),
  profile: call(profileParams, profile),
};

export function isMethod(name: string): name is Method {
  return Object.hasOwn(methods, name);
}

/** What is wrong, in one line: in words for people, or with the field's name. */
export function describeIssues(issues: readonly v.BaseIssue<unknown>[]): string {
  const issue = issues[0];
  if (issue === undefined) return 'not of the right shape';
  if (forPeople.has(issue.message)) return issue.message;
  const path = v.getDotPath(issue);
  return path === null ? issue.message : `${path}: ${issue.message}`;
}
