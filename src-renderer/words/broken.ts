import type { BrokenGroup } from '../../shared/ipc/contract.ts';

/** Why it can't be opened, short; the peer's message has the details. */
export const reasonOf = ({ code }: Pick<BrokenGroup, 'code'>): string =>
  code === 'NEWER_FORMAT'
    ? 'A newer version of Synod wrote it.'
    : 'Its files on this disk are damaged too badly to read anything from them.';

/** What to do about a log that can't be opened. */
export function wayOut({ code }: Pick<BrokenGroup, 'code'>): string {
  if (code === 'NEWER_FORMAT')
    return 'Update Synod on this machine, and it opens again. Nothing was changed meanwhile.';
  return 'The other members hold the whole log and go on. Keep the folder as it is: what only this machine had is in it. If starting Synod again does not help, ask a keeper to remove this machine, and join with a new invitation and an empty folder.';
}
