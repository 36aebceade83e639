import type { GroupStatus } from '../../shared/ipc/contract.ts';

type Standing = Pick<GroupStatus, 'rights' | 'whyCode'>;

/** This machine was let in and has yet to read so itself, so it knows of no rights of its own. */
export const isFetching = ({ whyCode }: Standing): boolean =>
  whyCode === 'CATCHING_UP' || whyCode === 'WAITING_FOR_ADMISSION';

/** Why nothing can be written, in place of the field; null where it can. */
export function readOnlyWords(status: Standing): string | null {
  if (isFetching(status)) return null;
  if (status.whyCode === 'REMOVED') {
    return 'This machine is no longer a member. What was agreed while it was one stays readable here; to write again, ask a keeper for an invitation.';
  }
  if (status.whyCode === 'COPIED') {
    return 'This may be one of two copies: it can be read, and nothing can be written on it until you say which one goes on.';
  }
  if (status.rights === 'reader') {
    return 'You can read this log. To write in it, ask one of its keepers for a new invitation.';
  }
  return null;
}
