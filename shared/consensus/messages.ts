import type { PeerId, Slot } from '../base/ids.ts';
import type { Ballot } from './ballot.ts';
import type { Value } from './value.ts';

/** Phase 1a: "promise me to take part in nothing older, and tell me what you accepted". One per configuration of the sender's window. */
export interface Prepare {
  readonly type: 'prepare';
  readonly ballot: Ballot;
  /** The configuration's name: the slot where it was chosen. */
  readonly configuration: Slot;
  /** The first open slot that the sender claims under that configuration. */
  readonly slot: Slot;
  /** The ballot of the leader that asked the sender to take over; a voter that hears that leader lets it pass. */
  readonly transferFrom: Ballot | null;
}

export interface AcceptedValue {
  readonly slot: Slot;
  readonly ballot: Ballot;
  readonly value: Value;
}

/** Phase 1b. Comes in parts, all cut from one moment; counts only once every part is there. */
export interface Promise1b {
  readonly type: 'promise';
  readonly ballot: Ballot;
  readonly configuration: Slot;
  /** Slots up to here are chosen, held by the sender, and not listed. */
  readonly floor: Slot;
  /** The digest of the committed log at the floor. */
  readonly digest: Uint8Array;
  /** 8 bytes of the hash of all rows: parts of different answers are not mixed. */
  readonly listing: Uint8Array;
  readonly part: number;
  readonly parts: number;
  /** Everything accepted above the floor, with no upper limit. */
  readonly accepted: readonly AcceptedValue[];
}

/** Phase 2a. */
export interface Accept {
  readonly type: 'accept';
  readonly ballot: Ballot;
  readonly configuration: Slot;
  readonly slot: Slot;
  readonly value: Value;
  /** Everything up to here is committed; see `Commit`. */
  readonly watermark: Slot;
}

/** Phase 2b: the sender holds these values, accepted under this ballot, on its disk. */
export interface Accepted {
  readonly type: 'accepted';
  readonly ballot: Ballot;
  readonly slots: readonly Slot[];
  /** The sender's chosen prefix. */
  readonly prefix: Slot;
}

/** A refusal that says why, so that nobody need time out. */
export interface Nack {
  readonly type: 'nack';
  /** The ballot that was refused. */
  readonly ballot: Ballot;
  /** What the sender has promised. */
  readonly promised: Ballot | null;
  /** `ballot`: a higher one was promised. `leader`: the sender or a neighbour hears a leader that has its quorum. */
  readonly reason: 'ballot' | 'leader';
}

/** A refusal because the two don't know the same prefix, and which of them has to fetch. Also announces the sender's digest. */
export interface Behind {
  readonly type: 'behind';
  readonly ballot: Ballot;
  readonly slot: Slot;
  readonly lacks: 'you' | 'me';
  /** The sender's chosen prefix and the digest there. */
  readonly prefix: Slot;
  readonly digest: Uint8Array;
}

/** The leader's watermark on its own, for when no Accept follows that would carry it. */
export interface Commit {
  readonly type: 'commit';
  readonly ballot: Ballot;
  readonly watermark: Slot;
  readonly digest: Uint8Array;
}

/** Every 100 ms between voters and from the leader, every 500 ms otherwise: who hears whom, who leads, who holds what. */
export interface Heartbeat {
  readonly type: 'heartbeat';
  /** The highest ballot that the sender promised. */
  readonly promised: Ballot | null;
  /** The sender leads under this ballot and hears, both ways, a phase-2 quorum of each configuration in its window. */
  readonly leading: Ballot | null;
  /** A leader that the sender itself hears and that claims just that. */
  readonly hearsLeader: Ballot | null;
  /** Whom the sender has heard lately; a link counts only where each names the other. */
  readonly hears: readonly PeerId[];
  readonly prefix: Slot;
  readonly digest: Uint8Array;
  /** Up to here values or a snapshot are on the sender's disk (R2, R5). A witness goes no further than it did before it was one. */
  readonly durable: Slot;
  /** False for a damaged store: it reads and serves, but doesn't vote. */
  readonly votes: boolean;
  /** What the layers above tell each other (level, applied state's hash, stays-on); opaque here. At most 1 KiB. */
  readonly note: Uint8Array;
}

/** "Send me the chosen values from here on." */
export interface Fetch {
  readonly type: 'fetch';
  readonly from: Slot;
}

/** The answer to a Fetch by one that dropped those values, or has not fetched them yet: ask somebody else, or take a snapshot. */
export interface NotHeld {
  readonly type: 'not-held';
  /** As it was asked for. */
  readonly from: Slot;
  /** The first slot after it that the sender holds. */
  readonly held: Slot;
}

/** Chosen values in order. Kept only if the receiver's chain over them reaches the digest announced with them. */
export interface Values {
  readonly type: 'values';
  readonly from: Slot;
  readonly values: readonly Value[];
  /** The sender's digest at the last of these values: its announcement for this stretch. */
  readonly digest: Uint8Array;
  /** The sender's chosen prefix, so that the receiver knows whether to ask for more. */
  readonly prefix: Slot;
}

/** The leader asks the receiver to take over at once. */
export interface Transfer {
  readonly type: 'transfer';
  readonly ballot: Ballot;
}

/** "Tell me a slot that you proposed after this arrived, once it is chosen." A linearizable read of a peer that does not lead. */
export interface Barrier {
  readonly type: 'barrier';
  readonly id: number;
}

export interface BarrierReached {
  readonly type: 'barrier-reached';
  readonly id: number;
  readonly slot: Slot;
}

export type Message =
  | Prepare
  | Promise1b
  | Accept
  | Accepted
  | Nack
  | Behind
  | Commit
  | Heartbeat
  | Fetch
  | NotHeld
  | Values
  | Transfer
  | Barrier
  | BarrierReached;
