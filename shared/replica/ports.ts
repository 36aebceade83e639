import type { RandomBytes, Signer, Verifier } from '../base/crypto.ts';
import type { PeerId, Slot } from '../base/ids.ts';
import type { KvReader } from '../base/kv.ts';
import type { Change, Verdict } from '../document/index.ts';
import type { TurnWrite } from '../driver/driver.ts';
import type { KvSnapshot } from '../driver/store.ts';
import type { Hello } from '../wire/session-messages.ts';
import type { IdentityVerdict } from './identity.ts';
import type { VerifyAll } from './ingress.ts';
import type { KeepingLimits } from './keeping.ts';
import type { Outgoing } from './messages.ts';
import type { PolicyTimes } from './policy.ts';

export interface ReplicaTurn {
  /** May leave before the write. */
  readonly send: readonly Outgoing[];
  readonly write: TurnWrite | null;
}

/** What became of something that this peer wrote. */
export interface Outcomes {
  /** On this disk: it will not be lost. */
  saved?(): void;
  /** Committed, or refused with the reason. */
  settled?(verdict: Verdict): void;
}

/**
 * What became of a signed command that somebody carried here: on its way; agreed already, and this very command took effect; or not to be taken (refused by the group before, another
 * one has its number, its session is closed, a wrong signature, a gap, a former member's).
 */
export type Carried = 'new' | 'known' | 'refused';

export interface ReplicaPorts {
  readonly signer: Signer;
  readonly verifier: Verifier;
  readonly verifyAll: VerifyAll;
  readonly randomBytes: RandomBytes;
  /** In [0, 1). */
  readonly random: () => number;
  /** Sealed records on the disk. */
  readonly kv: KvReader;
  /** All of them as they are at this moment. */
  readonly snapshot: () => KvSnapshot;
}

export interface ReplicaEvents {
  /** The applied state moved to `applied`; what somebody who shows it should look at again. */
  onApplied?(applied: Slot, changes: readonly Change[]): void;
  /** Whom this group wants to reach: members, and voters that consensus still needs. */
  onPeers?(peers: readonly PeerId[]): void;
  onHello?(from: PeerId, hello: Hello): void;
  /** Something that came in or was read is wrong; it was dropped, and why. */
  onProblem?(problem: { readonly code: string; readonly message: string }): void;
  /** A record that somebody else asked for is not what it was. */
  onDamage?(error: unknown): void;
  /** Leadership as seen here changed. */
  onLeader?(leader: PeerId | null): void;
  /** There is something to do that nobody from outside has brought. */
  onNews?(): void;
  /** This store is not the only one of its incarnation, or not the newest: it has fallen silent, and must be closed and opened with this verdict. */
  onVerdict?(verdict: IdentityVerdict): void;
}

export interface ReplicaSettings {
  /** A machine that is meant to stay on: preferred as a voter, and to lead. */
  readonly staysOn?: boolean;
  /** How patient the policy about voters is; production's times without it. */
  readonly policy?: PolicyTimes;
  /** How much it keeps of the log, and when it takes a snapshot. */
  readonly limits?: KeepingLimits;
}

/** The run of this store, as it stands on each of its frames. */
export interface Presence {
  /** Drawn at the start of the process, 8 bytes. */
  readonly nonce: Uint8Array;
  /** The last durable turn. */
  readonly turn: () => number;
}
