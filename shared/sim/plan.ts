import type { KeepingLimits } from '../replica/keeping.ts';
import type { Outgoing } from '../replica/replica.ts';
import type { LinkFaults } from './links.ts';
import type { DiskTimes } from './node.ts';

/** Something that breaks by chance, at any time. */
export type FaultKind =
  | 'kill'
  | 'outage'
  | 'partition'
  | 'isolated leader'
  | 'one-way cut'
  /** Not everybody hears everybody: a bridge, a chain, a star, a leader that hears a quorum no more. */
  | 'partial partition'
  | 'flapping link'
  | 'clog'
  | 'hand-over'
  | 'role change'
  | 'voters replaced'
  | 'pause'
  | 'clock jump'
  | 'slow disk'
  | 'hung disk'
  /** EIO, in one of the next writes. */
  | 'failed disk'
  /** ENOSPC, in one of the next writes. */
  | 'full disk'
  /** A store loses, between two processes, what it was told to keep. */
  | 'damaged store'
  /** One record of a running node isn't any more what it was. */
  | 'rot'
  | 'restored backup'
  /** A copy of a data directory runs beside the original, under the same identity. */
  | 'copied store'
  | 'quorum sizes'
  | 'wipe'
  | 'expulsion';

/** Something that breaks just as a message of a certain type leaves. */
export type TriggerKind =
  | 'sender dies'
  | 'sender isolated'
  | 'sender with one follower'
  | 'receiver dies'
  | 'receiver isolated'
  | 'hand-over'
  /** One proposal is lost to everybody, the next ones are not, and the sender is gone before it says it again. */
  | 'hole'
  /** Two leaders after each other are cut off with different values in one slot, and the third has to tell which one counts. */
  | 'contest'
  | 'late witness';

export type Occasion = Outgoing['message']['type'] | 'early accept';

export interface Trigger {
  readonly on: Occasion;
  readonly kind: TriggerKind;
  readonly chance: number;
}

/** The mix of one seed: most features are off in it, so that those which are on meet each other often (swarm testing). Plain data: it is written to a file and read again. */
export interface Plan {
  readonly nodes: number;
  readonly alpha: number;
  /** Frames go through their bytes; otherwise the message objects travel, which is quicker. */
  readonly asBytes: boolean;
  readonly links: LinkFaults;
  readonly disk: DiskTimes;
  /** How much of the log each keeps, and when a snapshot is taken instead of values. */
  readonly keeping: KeepingLimits;
  /** Weights of the faults that are on: those that cost an election, which takes two seconds, and those that don't. */
  readonly hard: Faults;
  readonly hardEveryMs: number;
  readonly soft: Faults;
  readonly softEveryMs: number;
  /** Faults begin only once everybody votes who is to. */
  readonly formsInPeace: boolean;
  readonly downMs: number;
  /** Every few seconds the leader is cut off in the middle of its work. */
  readonly rollingIsolation: boolean;
  readonly triggers: readonly Trigger[];
  /** How likely a node dies at each of these steps of a turn. */
  readonly deadlySteps: Readonly<Record<Step, number>>;
  /** Between two triggers or deadly steps. */
  readonly blowEveryMs: number;
  readonly workEveryMs: number;
  readonly wishesMax: number;
  /** How often somebody goes on with a flurry of commands. */
  readonly flurries: number;
  readonly barriers: number;
  /** The joiners that are to vote. */
  readonly voters: number;
  readonly chaosMs: number;
  /** First only a random part that has its quorums is healed, and it must come together without the rest. */
  readonly partlyHealed: boolean;
  /** Once together, the group must be at rest, with the voters that were asked for. */
  readonly watchRest: boolean;
  /** One write of one node fails: the n-th since its store was made, batches and marks together. */
  readonly failure: {
    readonly node: number;
    readonly write: number;
    readonly code: 'DISK_FAILED' | 'DISK_FULL';
  } | null;
  /** In the end only some are left, and go on by forced recovery. A plan that was written down may be older than that. */
  readonly recovers?: boolean;
  /** Ticks of 50 ms take so much longer or shorter by each node's own clock. */
  readonly clockDrift: number;
}

/**
 * The places in a turn where a process may end: what needs no disk has left, and nothing is written; the batch is there; the mark, too; between two
 * messages; all has left; some of what the turn chose is applied; all of it is.
 */
export type Step = 'begun' | 'batch' | 'mark' | 'sending' | 'sent' | 'applying' | 'applied';

/** Weights. */
export type Faults = Readonly<Partial<Record<FaultKind, number>>>;
