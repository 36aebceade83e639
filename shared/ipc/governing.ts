import type { InGroup, Rights, Role, WithTimeout } from './contract.ts';
import type { Survives } from './survived.ts';

// The part of the contract about how a group is governed.

/** Both sizes, or neither: then it tells how things stand. `majorities`: no sizes by hand any more. */
export interface QuorumParams extends InGroup, WithTimeout {
  readonly phase1?: number;
  readonly phase2?: number;
  readonly majorities?: boolean;
}

export interface QuorumStatus {
  readonly voters: number;
  /** Voters that it takes to choose who leads, and to agree on an entry. */
  readonly phase1: number;
  readonly phase2: number;
  /** Those among them that never lead. */
  readonly witnesses: number;
  /** How many voters may be away, whichever they are: a quorum is left, and a machine that can lead. */
  readonly survives: Survives;
  /** The sizes were set by hand, for this very number of voters. */
  readonly pinned: boolean;
}

export interface AwayParams extends InGroup, WithTimeout {
  /** False: this machine is back. */
  readonly away: boolean;
  /** Milliseconds since 1970 UTC; null where it can't be said. */
  readonly untilMs: number | null;
}

export interface AwayStatus {
  readonly peer: string;
  readonly away: boolean;
  readonly until: string | null;
  /** Other machines that vote and can lead now. With none, nothing is agreed while this one is away. */
  readonly others: number;
}

export interface LeaveParams extends InGroup, WithTimeout {}

/** An invitation that nobody used yet. */
export interface OpenInvitation {
  /** Its public key, in hex: what `revoke` takes, or the beginning of it. */
  readonly key: string;
  readonly rights: Rights;
  /** The role that it pins; null: none. */
  readonly role: Role | null;
  /** Who made it, and its machine's name. */
  readonly by: string;
  readonly name: string;
  readonly expires: string | null;
  /** By this machine's clock. It lets nobody in any more. */
  readonly expired: boolean;
}

export interface RevokeParams extends InGroup, WithTimeout {
  readonly key: string;
}

export interface RenameParams extends InGroup, WithTimeout {
  readonly title: string;
}

/** Of this machine, in all its groups. Without a name it tells the present one. */
export interface ProfileParams extends WithTimeout {
  readonly name?: string;
}

export interface Profile {
  readonly peer: string;
  readonly name: string;
}
