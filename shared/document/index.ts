export * from './batch.ts';
export * from './bodies.ts';
export { REFUSALS, type RefusalCode, refusalOf } from './codes.ts';
export {
  type ChainStart,
  type Command,
  type CommandFields,
  chainOf,
  keyedEntryId,
  numberedEntryId,
  payloadHashOf,
  placeCommand,
  SALT_BYTES,
  type SessionId,
  tagOf,
} from './command.ts';
export * from './document.ts';
export * from './genesis.ts';
export * from './invitation.ts';
export { type Change, isRefused, type Outcome, type Refused, type Took, type Verdict } from './judging.ts';
export { KINDS, type KindName, kindName, LEVEL, RESERVED } from './kinds.ts';
export { areSafe, type QuorumSizes } from './quorum.ts';
export * from './reader.ts';
export {
  type AppliedRecord,
  type Away,
  appliedPlace,
  type ClockMark,
  type EntryRecord,
  type InvitationRecord,
  type MemberRecord,
  type MetaRecord,
  memberPlace,
  metaPlace,
  numberKey,
  REFUSALS_KEPT,
  type Refusal,
  type RevisionRecord,
  recordHash,
  type SessionRecord,
  type Sizes,
  STATE_PREFIX,
} from './records.ts';
export * from './run.ts';
export { StateSum, stateHashOf } from './sum.ts';
export * from './text.ts';
export { isoTime } from './time.ts';
export type { PinnedRole, Rights } from './types.ts';
export * from './view.ts';
