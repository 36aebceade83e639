/**
 * Why a command was refused: one closed list, with the number that a session's record keeps. A number never changes its
 * meaning. A refused command consumes its seq and never blocks its author.
 */
export const REFUSALS = {
  /** The author was a member and is one no longer. */
  NOT_MEMBER: 1,
  /** A reader writes, or somebody who is no keeper does a keeper's work. */
  NO_RIGHTS: 2,
  NO_SUCH_ENTRY: 3,
  NO_SUCH_REVISION: 4,
  /** The edit was made on a revision that isn't the current one. The author's outbox merges and sends again. */
  STALE_BASE: 5,
  ENTRY_REMOVED: 6,
  /** Restore without a revision, of an entry that was not removed. */
  NOT_REMOVED: 7,
  /** The key stands for an entry that was created with another text. */
  KEY_REUSED: 8,
  /** Somebody else was admitted by this invitation. */
  INVITATION_USED: 9,
  /** No such invitation is open: never made, or its maker or its user was removed since. */
  INVITATION_UNKNOWN: 10,
  /** The joiner's signature is not by the invitation's key. */
  INVITATION_BAD: 11,
  /** An invitation with this key was made before. */
  INVITATION_REUSED: 12,
  ALREADY_MEMBER: 13,
  /** The peer that is to be removed or changed is no member. */
  NO_SUCH_MEMBER: 14,
  TEXT_EMPTY: 15,
  TEXT_TOO_LONG: 16,
  /** A carriage return in a text, or a control character in a name. */
  TEXT_BAD: 17,
  /** The group would be left without a keeper. */
  LAST_KEEPER: 18,
  /** A newer session of the same peer was opened before this command was agreed. */
  SESSION_CLOSED: 19,
  /** Signed by its author, and of no shape that its kind allows. */
  MALFORMED: 20,
  /** Written in a format version that the group has not agreed on. */
  LEVEL_NOT_AGREED: 21,
  /** Quorums of these sizes could miss each other, or leave what is agreed on one disk. */
  QUORUM_UNSAFE: 22,
} as const;

export type RefusalCode = keyof typeof REFUSALS;

const codes = new Map<number, RefusalCode>(Object.entries(REFUSALS).map(([code, n]) => [n, code as RefusalCode]));

export function refusalOf(number: number): RefusalCode | undefined {
  return codes.get(number);
}
