import { PeerError } from '../../shared/ipc/errors.ts';

/** What went wrong, for people: the peer's own words where it has some. */
export function wordsOf(error: unknown): string {
  if (error instanceof PeerError) return error.message;
  return 'Something went wrong in this window. What was saved is kept; reload to go on.';
}

export const isCancelled = (error: unknown): boolean => error instanceof PeerError && error.code === 'CANCELLED';

/** The connection broke, so it is not known whether the request was carried out. */
export const isLost = (error: unknown): boolean => error instanceof PeerError && error.code === 'PEER_LOST';
