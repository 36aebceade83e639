import type { Verifier } from '../base/crypto.ts';
import type { EntryId, GroupId, Incarnation, PeerId, Position, Seq, Slot } from '../base/ids.ts';
import type { RefusalCode } from './codes.ts';
import type { Command } from './command.ts';
import type { Overlay } from './overlay.ts';
import type { ClockMark, MemberRecord, RevisionRecord } from './records.ts';
import type { Run } from './run.ts';

/** What one body did. The entry's fields are null for a body that is about no entry. */
export interface Took {
  readonly entry: EntryId | null;
  readonly position: Position | null;
  /** Where the command was chosen; of a key that was used before, where its entry was created. */
  readonly slot: Slot | null;
  readonly revision: number | null;
}

export interface Refused {
  readonly refused: RefusalCode;
  /** For the log and the inspector; people read the code's own words. */
  readonly detail: string;
}

/** `took` has one item for each body: one, or as many as the bundle has. */
export type Verdict = { readonly took: readonly Took[] } | Refused;

/** What became of one command that consumed its seq. */
export interface Outcome {
  readonly slot: Slot;
  readonly peer: PeerId;
  readonly incarnation: Incarnation;
  readonly seq: Seq;
  /** The command's: an outbox discharges only what has this hash. */
  readonly hash: Uint8Array;
  readonly verdict: Verdict;
}

/** What somebody who shows the document should look at again. */
export type Change =
  | {
      readonly type: 'entry';
      readonly what: RevisionRecord['kind'];
      readonly entry: EntryId;
      readonly position: Position;
      readonly revision: number;
    }
  | { readonly type: 'title'; readonly title: string }
  | { readonly type: 'member'; readonly what: 'admitted' | 'changed' | 'expelled'; readonly peer: PeerId }
  | { readonly type: 'invitation'; readonly key: Uint8Array }
  | { readonly type: 'quorum' }
  | { readonly type: 'session'; readonly peer: PeerId; readonly incarnation: Incarnation };

/** Everything that one body is judged by: the log's own fields and the state before it. Nothing else. */
export interface Judging {
  readonly state: Overlay;
  readonly verifier: Verifier;
  readonly group: GroupId;
  readonly slot: Slot;
  readonly placedMs: number;
  readonly run: Run;
  readonly command: Command;
  readonly author: MemberRecord;
  readonly writer: string;
  readonly clock: ClockMark;
  /** The body's place in its bundle; null where it stands alone. */
  readonly index: number | null;
  readonly changes: Change[];
}

export const NO_ENTRY: Took = { entry: null, position: null, slot: null, revision: null };

export const refuse = (refused: RefusalCode, detail: string): Refused => ({ refused, detail });

/** Tells a refusal from whatever would have been there instead. */
export function isRefused<T extends object>(result: T | Refused): result is Refused {
  return 'refused' in result;
}
