import type { Random } from '../base/random.ts';
import type { Message } from '../consensus/messages.ts';
import { KEEPING_LIMITS, type KeepingLimits } from '../replica/keeping.ts';
import type { FaultKind, Faults, Occasion, Plan, Trigger, TriggerKind } from './plan.ts';

const HARD: Faults = {
  kill: 4,
  outage: 1,
  partition: 3,
  'isolated leader': 5,
  'one-way cut': 1,
  pause: 2,
  'slow disk': 2,
  wipe: 3,
  'partial partition': 3,
  'hung disk': 2,
  'failed disk': 2,
  'full disk': 2,
  'damaged store': 12,
};
const SOFT: Faults = {
  'hand-over': 5,
  clog: 4,
  'role change': 2,
  'voters replaced': 1,
  expulsion: 2,
  'flapping link': 2,
  'clock jump': 0.5,
  'quorum sizes': 2,
  rot: 0.7,
};
/** On in fewer seeds than the rest. */
const RARER: ReadonlySet<FaultKind> = new Set(['failed disk', 'full disk', 'flapping link']);
/** A voter may be lost at any time, or the group may be changed at any time: never both in one seed. */
const LOSING: readonly FaultKind[] = ['wipe', 'damaged store', 'rot'];
const GOVERNING: readonly FaultKind[] = ['role change', 'voters replaced', 'expulsion', 'quorum sizes'];

/** A backup that is put back, or a data directory that is copied, can't be told by the store alone: members tell it by the runs that they saw (R7). */
const OLD_STORES: Faults = { 'restored backup': 12, 'copied store': 12 };

/** How many of those seeds end with a forced recovery, if they may. */
const RECOVERING = 0.35;

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
  // What a lost store takes along must not be needed by a change that is made at the same time.
  const isLosing = random.chance(0.5);
  for (const kind of isLosing ? GOVERNING : LOSING) {
    delete hard[kind];
    delete soft[kind];
  }
  const rare = (chance: number, of: readonly number[]): number => (random.chance(chance) ? random.pick(of) : 0);
  const nodes = random.pick([1, 2, 3, 3, 3, 3, 3, 4, 5, 5, 5, 5, 6, 7]);
  const plan: Plan = {
    nodes,
    alpha: random.pick([1, 2, 2, 3, 3, 4, 8, 8, 16, 64]),
    asBytes: random.chance(0.15),
    links: {
      loss: random.pick([0, 0, 0.01, 0.05, 0.2, 0.3]),
      duplication: random.pick([0, 0.02, 0.02, 0.2, 0.5]),
      replay: rare(0.2, [0.01, 0.1, 0.5]),
      replayMaxMs: random.pick([2000, 10_000]),
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
    deadlySteps: {
      begun: rare(0.12, [0.003, 0.02]),
      batch: rare(0.25, [0.003, 0.02]),
      mark: rare(0.25, [0.003, 0.02]),
      sending: rare(0.12, [0.003, 0.02]),
      sent: rare(0.12, [0.003, 0.02]),
      applying: rare(0.12, [0.02, 0.1]),
      applied: rare(0.25, [0.003, 0.02]),
    },
    blowEveryMs: random.pick([200, 1200, 2500]),
    workEveryMs: random.pick([100, 200, 400]),
    wishesMax: 60,
    flurries: random.pick([0, 0.15, 0.4]),
    barriers: random.pick([0.05, 0.3]),
    voters: random.chance(0.8) ? nodes : 1 + random.below(nodes),
    chaosMs: random.pick([5000, 9000, 14_000]),
    partlyHealed: random.chance(0.4),
    watchRest: random.chance(0.25),
    failure: null,
    clockDrift: random.chance(0.3) ? random.pick([0.05, 0.4]) : 0,
    keeping: drawKeeping(random),
  };
  // Drawn last, so that what was drawn before them is what it always was.
  if (!isLosing) return random.chance(RECOVERING) && mayRecover(plan) ? { ...plan, recovers: true } : plan;
  return random.chance(0.3) ? withOldStores(random, plan) : plan;
}

/** What was dropped somewhere can't be held against what is left, and who was expelled is no survivor. */
const mayRecover = ({ keeping, soft, nodes }: Plan): boolean =>
  keeping === KEEPING_LIMITS && soft.expulsion === undefined && nodes > 1;

/** Mostly instead of the other losses: a group can spare one store at a time. */
function withOldStores(random: Random, plan: Plan): Plan {
  const hard = { ...plan.hard, ...OLD_STORES };
  const soft = { ...plan.soft };
  if (random.chance(0.7)) for (const kind of LOSING) for (const faults of [hard, soft]) delete faults[kind];
  // They come to something only once a backup is behind the store, and others have seen so.
  return { ...plan, hard, soft, formsInPeace: true, chaosMs: Math.max(9000, plan.chaosMs) };
}

/** Stores that drop what others hold, and take snapshots after a few slots. */
function drawKeeping(random: Random): KeepingLimits {
  if (random.chance(0.6)) return KEEPING_LIMITS;
  return {
    ...KEEPING_LIMITS,
    keepSlots: random.pick([null, 0, 3, 20]),
    witnessKeepSlots: random.pick([0, 3, 20]),
    snapshotLagSlots: random.pick([1, 5, 30]),
    snapshotPartBytes: random.pick([200, 2000, 256 * 1024]),
  };
}

function drawFaults(random: Random, weights: Faults): Partial<Record<FaultKind, number>> {
  const faults: Partial<Record<FaultKind, number>> = {};
  for (const [kind, weight] of Object.entries(weights) as [FaultKind, number][]) {
    if (random.chance(RARER.has(kind) ? 0.25 : 0.5)) faults[kind] = weight;
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
