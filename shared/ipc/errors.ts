/** Every code that a person or a script can meet, in one place. The lists are closed: docs/errors.md says what each means. */

/** Why something is not committed yet, or why a group can't commit. The state can pass by itself. */
export const waitingCodes = [
  /** Being agreed right now; nothing is in the way. */
  'ON_ITS_WAY',
  /** Enough voters are connected and are choosing who leads. */
  'NO_LEADER',
  /** Others hear who leads, and this machine does not. */
  'LEADER_UNREACHABLE',
  /** Too few voters are connected, though somebody is. */
  'NO_QUORUM',
  /** No other member is connected, and this machine alone does not decide. */
  'ALONE',
  /** This machine is fetching what it missed; or what damage took from it, without having lost its vote. */
  'CATCHING_UP',
  /** A forced recovery is under way: not all survivors have consented, or this machine is fetching what they go on with. */
  'RECOVERING',
  /** Let in by a keeper; the group has yet to agree to it. */
  'WAITING_FOR_ADMISSION',
  /** The group wrote something that this version does not know. */
  'UPDATE_NEEDED',
  /** The disk is full; what was saved is kept. */
  'DISK_FULL',
  /** The disk refused a write or a sync, or does not answer one. */
  'DISK_FAILED',
  /** This copy was damaged; what it lacks is fetched again, and it votes again once the others have agreed. */
  'DAMAGED',
  /** The same store runs, or may run, somewhere else; it reads on, and a person says which one goes on. */
  'COPIED',
  /** Too few voters are left who know what was agreed. */
  'NEEDS_DECISION',
  /** Another machine of the group went on with another log by a forced recovery; this log goes on beside it, and a person says which one is kept. */
  'SPLIT',
  /** This machine's applied state differs from the others'; it stopped. */
  'STATE_MISMATCH',
  /** This machine is no longer a member. */
  'REMOVED',
] as const;

/**
 * Why the group did not take a command: the state machine's own refusals, each with `REFUSED_` before its name, but for
 * `KEY_REUSED`, which scripts know by that. What was refused stays readable here; it will not be committed as it is.
 */
export const refusalCodes = [
  /** The author is no longer a member. */
  'REFUSED_NOT_MEMBER',
  /** The author's rights do not allow it. */
  'REFUSED_NO_RIGHTS',
  'REFUSED_NO_SUCH_ENTRY',
  'REFUSED_NO_SUCH_REVISION',
  /** Written on a revision too old to merge with. */
  'REFUSED_STALE_BASE',
  /** The entry was removed before the command arrived. */
  'REFUSED_ENTRY_REMOVED',
  /** There is nothing to restore: the entry was not removed. */
  'REFUSED_NOT_REMOVED',
  /** The key already names an entry with other text. */
  'KEY_REUSED',
  'REFUSED_INVITATION_USED',
  'REFUSED_INVITATION_UNKNOWN',
  'REFUSED_INVITATION_BAD',
  'REFUSED_INVITATION_REUSED',
  'REFUSED_ALREADY_MEMBER',
  'REFUSED_NO_SUCH_MEMBER',
  'REFUSED_TEXT_EMPTY',
  'REFUSED_TEXT_TOO_LONG',
  'REFUSED_TEXT_BAD',
  /** It would leave the group without a keeper. */
  'REFUSED_LAST_KEEPER',
  /** The author's store was replaced by a newer one before the command arrived. */
  'REFUSED_SESSION_CLOSED',
  'REFUSED_MALFORMED',
  /** In a format that the group has not agreed on. */
  'REFUSED_LEVEL_NOT_AGREED',
  /** Quorums of these sizes could miss each other. */
  'REFUSED_QUORUM_UNSAFE',
] as const;

export const whyCodes = [...waitingCodes, ...refusalCodes] as const;

/** What `verify` finds wrong with a store. */
export const damageCodes = [
  /** The mark is missing or damaged, so nothing tells how far the store had come. */
  'MARK_MISSING',
  /** The mark belongs to another store. */
  'MARK_FOREIGN',
  /** The mark is older than a crash leaves it: it was put back. */
  'MARK_OLD',
  /** The mark names another turn than the one that is here: the database is another one. */
  'MARK_MISMATCH',
  /** Turns that the mark vouches for are gone from the end. */
  'BEHIND_MARK',
  /** Turns, or the checkpoint, are gone from the middle. */
  'TURN_MISSING',
  /** A turn's record is damaged, or does not follow from the one before. */
  'TURN_BROKEN',
  /** Something that this store accepted as a voter is gone or damaged. */
  'ACCEPTED_MISSING',
  'KEPT_MISSING',
  /** Damage was found here before; what it was stands beside this. */
  'DAMAGED_BEFORE',
  /** It is an earlier copy of itself: a member saw a later turn of it. */
  'ROLLED_BACK',
  /** It was made from a backup, and was not opened since. */
  'REBUILT',
  /** It runs twice. */
  'COPIED',
  /** The log names a newer store of this machine. */
  'REPLACED',
  /** It lies elsewhere than where it was made. */
  'OTHER_PLACE',
  /** The database had to be repaired. */
  'DATABASE_BROKEN',
  /** Tables of the database are damaged. Nothing else of the group was looked at. */
  'TABLE_DAMAGED',
  /** The database can't be opened, or a block of it fails its check. */
  'CORRUPT',
  /** A record fails its check. */
  'RECORD_DAMAGED',
  /** A value of the log is missing. */
  'VALUE_MISSING',
  /** A value of the log can't be read. */
  'VALUE_DAMAGED',
  /** A value of the log does not follow from those before it. */
  'CHAIN_BROKEN',
  /** A command in the log is not signed by its author. */
  'SIGNATURE_BAD',
  /** The applied state is not what its hash says. */
  'STATE_MISMATCH',
  /** The store can't be read: the disk, or the rights to it, are in the way. */
  'UNREADABLE',
  /** The file that says who this machine is has gone, or is damaged. */
  'IDENTITY_MISSING',
  'IDENTITY_DAMAGED',
] as const;

/** Exit codes of the command line, and so what kind of failure a code is. */
export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  noPeer: 3,
  notCommitted: 4,
  damage: 5,
  diskFailure: 74,
  newerFormat: 78,
  /** Interrupted by the person, as shells have it: 128 + SIGINT. */
  interrupted: 130,
} as const;

/** What a failed request or command says of itself, besides the refusals. */
const failureExits = {
  /** The command line or the request is not well formed. */
  USAGE: EXIT.usage,
  /** Several groups are here and none was named. */
  GROUP_NEEDED: EXIT.usage,

  /** No peer is running for the directory; nothing was done. */
  NO_PEER: EXIT.noPeer,

  /** Not in force by the timeout; it may still come. */
  TIMED_OUT: EXIT.notCommitted,
  /** The invitation was used by somebody else. */
  INVITATION_USED: EXIT.notCommitted,
  /** The invitation's time is over, or it was revoked. */
  INVITATION_EXPIRED: EXIT.notCommitted,

  /** The disk refused a write or a sync. */
  DISK_FAILED: EXIT.diskFailure,
  /** The disk is full and nothing more can be saved. */
  DISK_FULL: EXIT.diskFailure,

  /** The file that says who this machine is can't be read, or is gone although there are groups. */
  IDENTITY_DAMAGED: EXIT.damage,
  IDENTITY_MISSING: EXIT.damage,
  /** This installation's own settings can't be read. */
  LOCAL_DAMAGED: EXIT.damage,
  /** A backup, or a file of commands, is cut off or not what was written. */
  FILE_DAMAGED: EXIT.damage,

  /** A newer version wrote the data: the group's, who this machine is, or its own settings. */
  NEWER_FORMAT: EXIT.newerFormat,
  IDENTITY_NEWER: EXIT.newerFormat,
  LOCAL_NEWER: EXIT.newerFormat,

  /** The person interrupted it. */
  CANCELLED: EXIT.interrupted,

  /** The peer went away in the middle: what was asked may have been done. */
  PEER_LOST: EXIT.failed,
  /** The peer is stopping. */
  STOPPING: EXIT.failed,
  /** Too much is under way already, or the store is being opened or its log made anew. */
  BUSY: EXIT.failed,
  /** A peer is running where none may be. */
  PEER_RUNNING: EXIT.failed,
  /** Another process uses the directory. */
  DIR_LOCKED: EXIT.failed,
  /** The directory can't be written by this user. */
  READ_ONLY: EXIT.failed,
  /** The directory's name belongs to a file. */
  NOT_A_DIRECTORY: EXIT.failed,
  /** The address to listen on is taken. */
  PORT_IN_USE: EXIT.failed,
  /** The address to listen on is not one of this machine, or not an address. */
  BAD_ADDRESS: EXIT.failed,
  /** This peer is in no group yet. */
  NO_GROUP: EXIT.failed,
  GROUP_NOT_FOUND: EXIT.failed,
  GROUP_AMBIGUOUS: EXIT.failed,
  ENTRY_NOT_FOUND: EXIT.failed,
  ENTRY_AMBIGUOUS: EXIT.failed,
  REVISION_NOT_FOUND: EXIT.failed,
  MEMBER_NOT_FOUND: EXIT.failed,
  MEMBER_AMBIGUOUS: EXIT.failed,
  /** It would leave the group without a voter. */
  LAST_VOTER: EXIT.failed,
  /** Without this machine the others could not agree now. */
  QUORUM_NEEDED: EXIT.failed,
  /** Quorums of these sizes could miss each other. */
  QUORUM_UNSAFE: EXIT.failed,
  /** That machine can't lead as it is. */
  CANNOT_LEAD: EXIT.failed,
  /** A forced recovery gives machines up for ever: it needs `--force`. */
  FORCE_NEEDED: EXIT.failed,
  /** The machines that were named can't go on by themselves. */
  CANNOT_RECOVER: EXIT.failed,
  INVITATION_NOT_FOUND: EXIT.failed,
  INVITATION_AMBIGUOUS: EXIT.failed,
  /** An entry needs at least one character. */
  TEXT_EMPTY: EXIT.failed,
  /** More than an entry, a name or a title may hold. */
  TEXT_TOO_LONG: EXIT.failed,
  /** Bytes that are not UTF-8, or a control character in a name or a title. */
  TEXT_BAD: EXIT.failed,
  /** A file could not be read. */
  FILE_UNREADABLE: EXIT.failed,
  /** A file can't be made or written in the place that was named. */
  FILE_UNWRITABLE: EXIT.failed,
  /** There is nothing to write into a file; none was made. */
  FILE_EMPTY: EXIT.failed,
  /** There is something already where a new file or directory is to be. */
  FILE_EXISTS: EXIT.failed,
  /** The file is not of the kind that was asked for. */
  BAD_FILE: EXIT.failed,
  /** The file is of another group. */
  OTHER_GROUP: EXIT.failed,
  /** No ticket in this text, or two of them, or one that is cut off. */
  BAD_TICKET: EXIT.failed,
  /** This peer is in that group already. */
  ALREADY_MEMBER: EXIT.failed,
  /** This store is damaged and can't do what was asked. */
  DAMAGED: EXIT.failed,
  /** This store may be one of two, so nothing is written to it until a person says which goes on. */
  COPIED: EXIT.failed,
  /** This machine is a witness: it votes, and keeps no entries to read, write or change. */
  WITNESS: EXIT.failed,
  /** A line of a file that is to be imported is not what it must be; the others go on. */
  BAD_LINE: EXIT.failed,
  /** A fault of the program itself. */
  INTERNAL: EXIT.failed,
} as const;

export type WaitingCode = (typeof waitingCodes)[number];
export type RefusalCode = (typeof refusalCodes)[number];
export type DamageCode = (typeof damageCodes)[number];
export type WhyCode = WaitingCode | RefusalCode;
export type ErrorCode = keyof typeof failureExits | RefusalCode;

export const errorCodes: readonly ErrorCode[] = [...(Object.keys(failureExits) as ErrorCode[]), ...refusalCodes];

const exits = new Map<string, number>([
  ...Object.entries(failureExits),
  ...refusalCodes.map((code): [string, number] => [code, EXIT.failed]),
]);

/** The exit code that goes with an error's code. */
export function exitCodeOf(code: ErrorCode): number {
  return exits.get(code) ?? EXIT.failed;
}

export function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && exits.has(code);
}

/** An expected failure with a name. The message is one line for people: what happened, what is kept, what to do. */
export class PeerError extends Error {
  override readonly name = 'PeerError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}
