import type { Random } from '../base/random.ts';
import type { Message } from '../consensus/messages.ts';
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
  | 'heal'
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
  | 'hand-over';

export interface Trigger {
  readonly on: Message['type'];
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
  /** Weights of the faults that are on. */
  readonly faults: ReadonlyMap<FaultKind, number>;
  readonly faultEveryMs: number;
  readonly firstFaultMs: number;
  readonly downMs: number;
  readonly triggers: readonly Trigger[];
  /** A node dies between these steps of a turn: after its batch, after its mark, after its words left. */
  readonly deadlySteps: Readonly<Record<Step, number>>;
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

const WEIGHTS: Readonly<Record<FaultKind, number>> = {
  kill: 4,
  outage: 1,
  partition: 3,
  'isolated leader': 4,
  'one-way cut': 2,
  clog: 4,
  heal: 4,
  'hand-over': 8,
  'role change': 2,
  'voters replaced': 1,
  pause: 2,
  'slow disk': 2,
  wipe: 2,
  expulsion: 0.5,
};

/** What may be held back, and what triggers wait for: the rarer, the likelier they pull. */
const HELD: readonly Message['type'][] = ['prepare', 'promise', 'accept', 'accept', 'accepted', 'accepted', 'commit'];
const SPEAKING: readonly (readonly [Message['type'], readonly number[]])[] = [
  ['prepare', [0.1, 0.3]],
  ['promise', [0.1, 0.3]],
  ['transfer', [0.3, 0.8]],
  ['accept', [0.01, 0.05]],
  ['accept', [0.01, 0.05]],
  ['accepted', [0.01, 0.05]],
  ['commit', [0.01, 0.05]],
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
  const turmoil = random.chance(0.4);
  const faults = drawFaults(random, turmoil);
  const rare = (chance: number, of: readonly number[]): number => (random.chance(chance) ? random.pick(of) : 0);
  const nodes = random.pick([1, 2, 3, 3, 3, 3, 4, 5, 5, 5, 5, 6]);
  return {
    nodes,
    alpha: random.pick([1, 2, 2, 3, 4, 8, 64]),
    asBytes: random.chance(0.15),
    links: {
      loss: random.pick([0, 0, 0.01, 0.05, 0.2]),
      duplication: random.pick([0, 0.02, 0.2]),
      delayMinMs: 0.2,
      delayMaxMs: random.pick([1, 5, 40, 150]),
      straggle: rare(0.4, [0.01, 0.05, 0.2]),
      straggleMaxMs: random.pick([1000, 5000]),
      held: random.chance(0.5) ? random.pick(HELD) : null,
      holding: random.pick([0.2, 0.5, 0.9]),
      holdMaxMs: random.pick([400, 2500, 5000]),
    },
    disk: { batchMinMs: 0.1, batchMaxMs: random.pick([0.5, 3, 30]), markMaxMs: random.pick([0.3, 10]) },
    faults,
    faultEveryMs: turmoil ? random.pick([120, 300]) : random.pick([400, 900]),
    firstFaultMs: random.pick([300, 1200]),
    downMs: random.pick([50, 600, 2500]),
    triggers: drawTriggers(random),
    deadlySteps: { batch: rare(0.25, [0.003, 0.02]), mark: rare(0.25, [0.003, 0.02]), sent: rare(0.25, [0.003, 0.02]) },
    workEveryMs: random.pick([100, 200, 400]),
    wishesMax: 60,
    flurries: random.pick([0, 0.15, 0.4]),
    barriers: random.pick([0.05, 0.3]),
    voters: random.chance(0.8) ? nodes : 1 + random.below(nodes),
    chaosMs: random.pick([4000, 8000, 12_000]),
    partlyHealed: random.chance(0.4),
    watchRest: random.chance(0.25),
    clockDrift: random.chance(0.3) ? random.pick([0.05, 0.4]) : 0,
  };
}

function drawFaults(random: Random, turmoil: boolean): ReadonlyMap<FaultKind, number> {
  const faults = new Map<FaultKind, number>();
  for (const [kind, weight] of Object.entries(WEIGHTS) as [FaultKind, number][]) {
    if (random.chance(0.45)) faults.set(kind, weight);
  }
  if (turmoil) faults.set('hand-over', WEIGHTS['hand-over']);
  if (faults.has('partition') || faults.has('isolated leader') || faults.has('one-way cut'))
    faults.set('heal', WEIGHTS.heal);
  // What a wiped machine takes along must not be needed by a change that is made at the same time.
  if (faults.has('wipe'))
    for (const kind of ['role change', 'voters replaced', 'expulsion'] as const) faults.delete(kind);
  return faults;
}

function drawTriggers(random: Random): Trigger[] {
  const triggers: Trigger[] = [];
  while (triggers.length < 2 && random.chance(0.5)) {
    const [on, chances] = random.pick(SPEAKING);
    triggers.push({ on, kind: random.pick(TRIGGERS), chance: random.pick(chances) });
  }
  return triggers;
}
