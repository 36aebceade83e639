import type { Refused } from '../../shared/document/index.ts';
import { StoreError } from '../../shared/driver/store.ts';
import { type ErrorCode, PeerError, type RefusalCode } from '../../shared/ipc/errors.ts';

const SAID: Partial<Record<Refused['refused'], string>> = {
  NOT_MEMBER: 'This machine is no longer a member. The wording is kept here.',
  NO_RIGHTS: "This machine's rights do not allow it.",
  NO_SUCH_ENTRY: 'There is no such entry.',
  NO_SUCH_REVISION: 'The entry has no such revision.',
  ENTRY_REMOVED: 'The entry was removed before this edit arrived. The wording is kept here.',
  NOT_REMOVED: 'The entry is not removed, so there is nothing to restore. Name a revision to go back to.',
  KEY_REUSED: 'An entry with this key is there already, with another text. Nothing was written.',
  NO_SUCH_MEMBER: 'There is no such member.',
  TEXT_EMPTY: 'An entry needs at least one character.',
  TEXT_TOO_LONG: 'The text is over 1 MiB. Nothing was written; split it.',
  TEXT_BAD: 'The text holds what a text or a name may not hold. Nothing was written.',
  QUORUM_UNSAFE: 'Quorums of these sizes could miss each other. Nothing was changed.',
  LAST_KEEPER: 'This would leave the group without a keeper. Make somebody else one first.',
  SESSION_CLOSED: 'This store is damaged or was replaced, so it does not write. What was agreed stays readable.',
};

/** Codes that people meet by a name of their own. */
const BEFORE_WRITING: Partial<Record<Refused['refused'], ErrorCode>> = {
  TEXT_EMPTY: 'TEXT_EMPTY',
  TEXT_TOO_LONG: 'TEXT_TOO_LONG',
  TEXT_BAD: 'TEXT_BAD',
  NO_SUCH_ENTRY: 'ENTRY_NOT_FOUND',
  SESSION_CLOSED: 'DAMAGED',
};

/** A command that nobody would take; nothing was written. */
export function refusedAtOnce(refused: Refused): PeerError {
  const code = BEFORE_WRITING[refused.refused] ?? refusalCode(refused);
  // The outbox keeps what the group refused, and nothing of this.
  const isGone = refused.refused === 'ENTRY_REMOVED';
  if (refused.refused === 'SESSION_CLOSED') return new PeerError(code, `Nothing was written: ${refused.detail}.`);
  return new PeerError(
    code,
    isGone ? 'The entry is removed. Nothing was written; restore it first.' : wordsOf(refused),
  );
}

/** A command that the group did not take. */
export function refusedByGroup(refused: Refused): PeerError {
  return new PeerError(refusalCode(refused), wordsOf(refused));
}

export function refusalCode({ refused }: Refused): RefusalCode {
  return refused === 'KEY_REUSED' ? 'KEY_REUSED' : (`REFUSED_${refused}` as RefusalCode);
}

export const wordsOf = (refused: Refused): string => SAID[refused.refused] ?? `Not taken: ${refused.detail}.`;

/** What people are told of a store that failed. */
export function storeFailure(error: Error): PeerError {
  if (error instanceof PeerError) return error;
  if (!(error instanceof StoreError)) return new PeerError('INTERNAL', error.message, { cause: error });
  switch (error.code) {
    case 'DISK_FULL':
      return new PeerError(
        'DISK_FULL',
        'The disk is full: this was not saved. Free some space and try again; what was saved before is kept.',
        { cause: error },
      );
    case 'DISK_FAILED':
      return new PeerError(
        'DISK_FAILED',
        `The disk failed (${error.message}). Nothing more is written to it; what was saved before is kept.`,
        { cause: error },
      );
    case 'READ_ONLY':
      return new PeerError('READ_ONLY', `The directory can't be written: ${error.message}.`, { cause: error });
    case 'LOCKED':
      return new PeerError(
        'DIR_LOCKED',
        'Another Synod is running on this directory. Use that one, or name another directory.',
        { cause: error },
      );
    case 'NEWER_FORMAT':
      return new PeerError(
        'NEWER_FORMAT',
        'A newer version wrote this data. Nothing was changed; update Synod to open it.',
        { cause: error },
      );
    case 'CORRUPT':
      return new PeerError('DAMAGED', `The store can't be read: ${error.message}`, { cause: error });
    case 'CLOSED':
      return new PeerError('STOPPING', 'The peer is stopping. What was saved is kept.', { cause: error });
  }
}

export const openedAgain = (): PeerError =>
  new PeerError('BUSY', 'The store was opened again after a fault meanwhile. What was saved is kept; ask again.');

/** LevelDB writes as it opens, so that not even reading goes without a little room. */
export function noRoomToOpen(dir: string, verb: 'verify' | 'backup', cause: unknown): PeerError {
  const message =
    `The disk of ${dir} is full, and its stores can't be opened without a little room there. Nothing was changed. ` +
    `Free some space and try again; or copy the directory to another disk and ${WITH_COPY[verb]}. Never start a peer on the copy.`;
  return new PeerError('DISK_FULL', message, { cause });
}

const WITH_COPY = { verify: 'verify the copy (--dir)', backup: 'take the backup of the copy (--dir)' } as const;

/** A witness has nothing to show and nobody to answer: it applies nothing. `what`: what did not come of it, as a sentence. */
export function keepsNoEntries(what: string): PeerError {
  return new PeerError(
    'WITNESS',
    `This machine is a witness: it votes and keeps no entries. ${what} Do it on another member's machine.`,
  );
}
