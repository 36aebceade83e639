import type { Incarnation, PeerId, Slot } from '../base/ids.ts';
import type { Ballot } from './ballot.ts';
import type { InForce, Voter } from './configuration.ts';
import type { Accept, Message } from './messages.ts';
import type { Value } from './value.ts';

/** What comes in through the core's one door. */
export type Input =
  /** 50 ms have passed. */
  | { readonly type: 'tick' }
  | { readonly type: 'message'; readonly from: PeerId; readonly incarnation: Incarnation; readonly message: Message }
  /** Commands for a new slot; taken only while `room() > 0`. */
  | {
      readonly type: 'propose';
      readonly value: Value;
      /** The value holds commands that this turn's batch is still to save: no message may speak of them before that is on the disk. */
      readonly afterBatch: boolean;
      /** Who waits to hear that it is committed and is told at once; the others hear with the next Accept or tick. Without it, all are told at once. */
      readonly awaitedBy?: readonly PeerId[];
    }
  /** Propose these voters. Without effect unless this peer leads and a change is possible now; ask again later. */
  | { readonly type: 'reconfigure'; readonly voters: readonly Voter[]; readonly q1: number; readonly q2: number }
  /** Hand leadership to `to`, or to the best voter. */
  | { readonly type: 'hand-over'; readonly to: PeerId | null }
  /** A linearizable read; `barrier` effects answer. The id must never have been used before, by an earlier run of this peer either. */
  | { readonly type: 'barrier'; readonly id: number }
  /** All members of the group but oneself, voters or not. */
  | { readonly type: 'members'; readonly peers: readonly PeerId[] }
  /** A link came or went. A hint to resend sooner, and to look for another leader sooner where its link is gone: otherwise silence is judged by heartbeats. */
  | { readonly type: 'connection'; readonly peer: PeerId; readonly connected: boolean }
  /** The note for the next heartbeats. */
  | { readonly type: 'note'; readonly note: Uint8Array }
  /** Whether chosen values are to be fetched one by one: not while a snapshot is on its way that reaches beyond them. */
  | { readonly type: 'fetching'; readonly may: boolean }
  /**
   * Up to which slot this disk holds values, or a state made from them, and up to which others may count on that; null: the whole prefix, as with a peer that
   * drops nothing.
   */
  | { readonly type: 'holding'; readonly upTo: Slot | null; readonly counted: Slot | null }
  /** Whether this peer may lead: not while it can't apply what it would have to judge. */
  | { readonly type: 'may-lead'; readonly may: boolean }
  /** The last input of a driver turn: what can be said once per turn is said now. */
  | { readonly type: 'turn-end' };

/** One record for the disk. All of a turn's are one atomic batch. */
export type LogOp =
  | { readonly type: 'promise'; readonly ballot: Ballot }
  | { readonly type: 'accept'; readonly slot: Slot; readonly ballot: Ballot; readonly value: Value }
  /** The prefix grows by one. `value` is null where the accepted value that the disk already holds is the chosen one. */
  | { readonly type: 'choose'; readonly slot: Slot; readonly digest: Uint8Array; readonly value: Value | null }
  | { readonly type: 'in-force'; readonly inForce: InForce }
  /** A configuration was chosen that this version can't read: no vote from this slot on. */
  | { readonly type: 'blocked'; readonly from: Slot };

/**
 * What the core wants done. In each turn, in this order: `send` may leave at once; the `persist`s go to the disk as one batch; then
 * `sendAfterBatch`; the batch's mark goes to the disk; then `sendAfterPersist`; then `commit`s are applied. Base rule 1: whatever speaks of a
 * promise or an acceptance is `sendAfterPersist`.
 */
export type Effect =
  | { readonly type: 'persist'; readonly op: LogOp }
  /** An Accept under an already durable ballot, and other words that no durability hangs on. */
  | { readonly type: 'send'; readonly to: readonly PeerId[]; readonly message: Message }
  /** An Accept under an already durable ballot, with commands that this turn's batch saves. */
  | { readonly type: 'sendAfterBatch'; readonly to: readonly PeerId[]; readonly message: Accept }
  | { readonly type: 'sendAfterPersist'; readonly to: readonly PeerId[]; readonly message: Message }
  /** Read chosen values from `from` on and send them as `Values` to `to`. */
  | { readonly type: 'serve'; readonly to: PeerId; readonly from: Slot }
  /** Feed to the state machine, in order. */
  | { readonly type: 'commit'; readonly slot: Slot; readonly value: Value; readonly digest: Uint8Array }
  /** Leadership as this peer sees it changed. */
  | { readonly type: 'leader'; readonly leader: PeerId | null; readonly ballot: Ballot | null; readonly self: boolean }
  /** The barrier `id` is served once `slot` is applied. */
  | { readonly type: 'barrier'; readonly id: number; readonly slot: Slot };
