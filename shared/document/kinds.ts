/**
 * The kinds of command: one closed list. A number never changes its meaning and is never used again.
 *
 * What stands under RESERVED has its number already and comes later: a build that meets one pauses with "update needed".
 */
export const KINDS = {
  bundle: 1,
  create: 2,
  edit: 3,
  remove: 4,
  restore: 5,
  rename: 6,
  profile: 7,
  invite: 8,
  admit: 9,
  expel: 10,
  rights: 11,
  pinRole: 12,
  openSession: 13,
  revoke: 19,
  quorum: 20,
  away: 21,
} as const;

export const RESERVED = {
  /** Text edits as CodeMirror change sets. */
  change: 14,
  redact: 15,
  label: 16,
  check: 17,
  raiseLevel: 18,
} as const;

export type KindName = keyof typeof KINDS;

/** What a header's `kind` may be: one byte. */
export const KIND_MAX = 255;

/** The newest format version that this build can apply. A group has one level, the genesis' first. */
export const LEVEL = 1;

const names = new Map<number, KindName>(Object.entries(KINDS).map(([name, kind]) => [kind, name as KindName]));

/** Undefined for a kind that this build does not know. */
export function kindName(kind: number): KindName | undefined {
  return names.get(kind);
}
