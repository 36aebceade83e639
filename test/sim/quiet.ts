import { KEEPING_LIMITS } from '../../shared/replica/keeping.ts';
import type { Plan } from '../../shared/sim/plan.ts';

/** A group that nobody harms; what a test wants otherwise stands in `but`. */
export function quietPlan(but: Partial<Plan> = {}): Plan {
  return {
    nodes: 3,
    alpha: 8,
    asBytes: false,
    links: {
      loss: 0,
      duplication: 0,
      replay: 0,
      replayMaxMs: 0,
      delayMinMs: 0.2,
      delayMaxMs: 1,
      dropsUnderWay: false,
      straggle: 0,
      straggleMaxMs: 0,
      held: null,
      holding: 0,
      holdMaxMs: 0,
    },
    disk: { batchMinMs: 0.1, batchMaxMs: 0.5, markMaxMs: 0.3 },
    hard: {},
    hardEveryMs: 1e9,
    soft: {},
    softEveryMs: 1e9,
    formsInPeace: true,
    downMs: 300,
    rollingIsolation: false,
    triggers: [],
    deadlySteps: { begun: 0, batch: 0, mark: 0, sending: 0, sent: 0, applying: 0, applied: 0 },
    blowEveryMs: 1e9,
    workEveryMs: 100,
    wishesMax: 12,
    flurries: 0,
    barriers: 0,
    voters: but.nodes ?? 3,
    chaosMs: 2500,
    partlyHealed: false,
    watchRest: false,
    failure: null,
    clockDrift: 0,
    keeping: KEEPING_LIMITS,
    ...but,
  };
}
