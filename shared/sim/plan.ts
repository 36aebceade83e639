import type { Random } from '../base/random.ts';
import type { Message } from '../consensus/messages.ts';
import { KEEPING_LIMITS, type KeepingLimits } from '../replica/keeping.ts';
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
  | 'clog'
  | 'hand-over'
  | 'role change'
  | 'voters replaced'
  | 'pause'
  | 'slow disk'
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

/** The mix of one seed: most features are off in it, so that those which are on meet each other often (swarm testing). */
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
  readonly hard: ReadonlyMap<FaultKind, number>;
  readonly hardEveryMs: number;
  readonly soft: ReadonlyMap<FaultKind, number>;
  readonly softEveryMs: number;
  /** Faults begin only once everybody votes who is to. */
  readonly formsInPeace: boolean;
  readonly downMs: number;
  /** Every few seconds the leader is cut off in the middle of its work. */
  readonly rollingIsolation: boolean;
  readonly triggers: readonly Trigger[];
  /** A node dies between these steps of a turn: after its batch, after its mark, after its words left. */
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
  /** Ticks of 50 ms take so much longer or shorter by each node's own clock. */
  readonly clockDrift: number;
}

export type Step = 'batch' | 'mark' | 'sent';

const HARD: Partial<Record<FaultKind, number>> = {
  kill: 4,
  outage: 1,
  partition: 3,
  'isolated leader': 5,
  'one-way cut': 1,
  pause: 2,
  'slow disk': 2,
  wipe: 2,
};
const SOFT: Partial<Record<FaultKind, number>> = {
  'hand-over': 5,
  clog: 4,
  'role change': 2,
  'voters replaced': 1,
  expulsion: 0.3,
};

/** What may be held back, and what triggers wait for: the rarer, the likelier they pull. */
const HELD: readonly Message['type'][] = [
  'prepare',
  'promise',
  'accept',
  'accept',
  'accepted',
  'commit',
  'values',
  'values',
];
const SPEAKING: readonly (readonly [Occasion, readonly number[]])[] = [
  ['early accept', [0.2, 0.6]],
  ['early accept', [0.2, 0.6]],
  ['prepare', [0.1, 0.3]],
  ['promise', [0.1, 0.3]],
  ['transfer', [0.3, 0.8]],
  ['accept', [0.03, 0.1]],
  ['accepted', [0.03, 0.1]],
  ['commit', [0.03, 0.1]],
];
const TRIGGERS: readonly TriggerKind[] = [
  'sender dies',
  'sender isolated',
  'sender with one follower',
  'receiver dies',
  'receiver isolated',
  'hand-over',
];

export function drawPlan(random: Random): Plan {
  const hard = drawFaults(random, HARD);
  const soft = drawFaults(random, SOFT);
  // What a wiped machine takes along must not be needed by a change that is made at the same time.
  if (hard.has('wipe')) for (const kind of ['role change', 'voters replaced', 'expulsion'] as const) soft.delete(kind);
  const rare = (chance: number, of: readonly number[]): number => (random.chance(chance) ? random.pick(of) : 0);
  const nodes = random.pick([1, 2, 3, 3, 3, 3, 4, 5, 5, 5, 5, 6]);
  return {
    nodes,
    alpha: random.pick([1, 2, 2, 3, 3, 4, 8, 8, 16, 64]),
    asBytes: random.chance(0.15),
    links: {
      loss: random.pick([0, 0, 0.01, 0.05, 0.2]),
      duplication: random.pick([0, 0.02, 0.2]),
      delayMinMs: 0.2,
      delayMaxMs: random.pick([1, 5, 40, 150]),
      dropsUnderWay: random.chance(0.5),
      straggle: rare(0.4, [0.01, 0.05, 0.2]),
      straggleMaxMs: random.pick([1000, 5000]),
      held: random.chance(0.5) ? random.pick(HELD) : null,
      holding: random.pick([0.2, 0.5, 0.9]),
      holdMaxMs: random.pick([400, 2500, 5000]),
    },
    disk: { batchMinMs: 0.1, batchMaxMs: random.pick([0.5, 3, 30]), markMaxMs: random.pick([0.3, 10]) },
    hard,
    hardEveryMs: random.pick([1000, 2000, 3500]),
    soft,
    softEveryMs: random.pick([150, 400, 900]),
    formsInPeace: random.chance(0.75),
    downMs: random.pick([50, 600, 2500]),
    rollingIsolation: random.chance(0.4),
    triggers: drawTriggers(random),
    deadlySteps: { batch: rare(0.25, [0.003, 0.02]), mark: rare(0.25, [0.003, 0.02]), sent: rare(0.25, [0.003, 0.02]) },
    blowEveryMs: random.pick([200, 1200, 2500]),
    workEveryMs: random.pick([100, 200, 400]),
    wishesMax: 60,
    flurries: random.pick([0, 0.15, 0.4]),
    barriers: random.pick([0.05, 0.3]),
    voters: random.chance(0.8) ? nodes : 1 + random.below(nodes),
    chaosMs: random.pick([5000, 9000, 14_000]),
    partlyHealed: random.chance(0.4),
    watchRest: random.chance(0.25),
    clockDrift: random.chance(0.3) ? random.pick([0.05, 0.4]) : 0,
    keeping: KEEPING_LIMITS,
  };
}

/** Stores that drop what others hold, and take snapshots after a few slots. Drawn apart from the rest, so that it changes nothing else. */
export function drawKeeping(random: Random): KeepingLimits {
  if (random.chance(0.6)) return KEEPING_LIMITS;
  return {
    keepSlots: random.pick([null, 0, 3, 20]),
    witnessKeepSlots: random.pick([0, 3, 20]),
    snapshotLagSlots: random.pick([1, 5, 30]),
    snapshotPartBytes: random.pick([200, 2000, 256 * 1024]),
  };
}

function drawFaults(random: Random, weights: Partial<Record<FaultKind, number>>): Map<FaultKind, number> {
  const faults = new Map<FaultKind, number>();
  for (const [kind, weight] of Object.entries(weights) as [FaultKind, number][]) {
    if (random.chance(0.5)) faults.set(kind, weight);
  }
  return faults;
}

function drawTriggers(random: Random): Trigger[] {
  const triggers: Trigger[] = [];
  while (triggers.length < 3 && random.chance(0.6)) {
    const [on, chances] = random.pick(SPEAKING);
    triggers.push({ on, kind: random.pick(TRIGGERS), chance: random.pick(chances) });
  }
  if (random.chance(0.3)) triggers.push({ on: 'accept', kind: 'hole', chance: 0.4 });
  if (random.chance(0.25)) triggers.push({ on: 'accept', kind: 'contest', chance: 0.1 });
  if (random.chance(0.45)) {
    triggers.push({ on: random.pick(['accept', 'early accept']), kind: 'late witness', chance: 0.4 });
  }
  return triggers;
}
