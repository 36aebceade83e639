import { asText, type Cbor, FormatError } from '../base/cbor.ts';

/** *keeper* invites, removes and changes rules; *writer* writes; *reader* reads. */
export type Rights = 'keeper' | 'writer' | 'reader';
/** A role given by hand. Null where the group's policy decides. */
export type PinnedRole = 'voter' | 'learner' | 'witness' | null;

export function asRights(value: Cbor | undefined): Rights {
  const text = asText(value, 16);
  if (text === 'keeper' || text === 'writer' || text === 'reader') return text;
  throw new FormatError(`no such rights: ${text}`);
}

export function asPinnedRole(value: Cbor | undefined): PinnedRole {
  if (value === null) return null;
  const text = asText(value, 16);
  if (text === 'voter' || text === 'learner' || text === 'witness') return text;
  throw new FormatError(`no such role: ${text}`);
}

/** Milliseconds since 1970 UTC that a header may name: up to the end of the year 9999. */
export const TIME_MAX_MS = 253_402_300_799_999;
/** Minutes east of UTC, either way. */
export const OFFSET_MAX_MINUTES = 18 * 60;
