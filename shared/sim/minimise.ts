import type { FaultKind, Faults, Plan, Step } from './plan.ts';
import { SimulationFailed, World } from './world.ts';

/** A story that can be told again: what a file under test/sim/regressions holds. Plain data. */
export interface Replay {
  readonly seed: number;
  readonly plan: Plan;
  /** The numbers of the injections that happen; null: all. */
  readonly only: readonly number[] | null;
}

export interface Minimised {
  readonly replay: Replay;
  readonly failure: SimulationFailed;
  readonly runs: number;
}

/** What a story comes to; null: all went well. Errors of the simulator's own are not caught. */
export function failureOf(replay: Replay, transcriptLines = 1): SimulationFailed | null {
  try {
    new World({ ...replay, transcriptLines }).run();
    return null;
  } catch (error) {
    if (error instanceof SimulationFailed) return error;
    throw error;
  }
}

/** Names and numbers aside, and only how it begins: two failures with one signature are one bug, as a rule. */
export function signature({ finding }: SimulationFailed): string {
  return finding
    .replace(/\b\w*\d[\w.]*/g, '#')
    .replace(/#(,#)+/g, '#')
    .replace(/ all | # /g, ' ')
    .split(' ')
    .slice(0, 8)
    .join(' ');
}

/**
 * Makes a failing story small, as long as the same check fails: whole features are switched off, nodes, time and wishes are taken away, then single injections
 * (delta debugging, after Zeller). Ends early once `isTimeUp`.
 */
export function minimise(seed: number, plan: Plan, isTimeUp: () => boolean): Minimised | null {
  const first = failureOf({ seed, plan, only: null });
  return first === null ? null : new Minimiser({ seed, plan, only: null }, first, isTimeUp).run();
}

class Minimiser {
  #best: Replay;
  #failure: SimulationFailed;
  #runs = 1;
  readonly #signature: string;
  readonly #isTimeUp: () => boolean;

  constructor(start: Replay, failure: SimulationFailed, isTimeUp: () => boolean) {
    this.#best = start;
    this.#failure = failure;
    this.#signature = signature(failure);
    this.#isTimeUp = isTimeUp;
  }

  run(): Minimised {
    this.#simplifyPlan();
    this.#dropInjections();
    // With fewer blows, less may be needed around them.
    this.#simplifyPlan();
    this.#dropInjections();
    return { replay: this.#best, failure: this.#failure, runs: this.#runs };
  }

  /** Does it still fail like that? Then it is the one to go on with. */
  #try(candidate: Replay): boolean {
    if (this.#isTimeUp()) return false;
    this.#runs++;
    const failure = failureOf(candidate);
    if (failure === null || signature(failure) !== this.#signature) return false;
    this.#best = candidate;
    this.#failure = failure;
    return true;
  }

  #simplifyPlan(): void {
    for (let isSmaller = true; isSmaller && !this.#isTimeUp(); ) {
      isSmaller = false;
      for (const simplify of SIMPLER) {
        for (const plan of simplify(this.#best.plan)) {
          if (JSON.stringify(plan) === JSON.stringify(this.#best.plan)) continue;
          if (this.#try({ ...this.#best, plan })) {
            isSmaller = true;
            break;
          }
        }
      }
    }
  }

  #dropInjections(): void {
    let kept = [...(this.#best.only ?? Array.from({ length: this.#failure.injections }, (_, n) => n))];
    if (!this.#try({ ...this.#best, only: kept })) return;
    for (let size = Math.ceil(kept.length / 2); size >= 1 && !this.#isTimeUp(); ) {
      let isSmaller = false;
      for (let at = 0; at < kept.length; ) {
        const left = [...kept.slice(0, at), ...kept.slice(at + size)];
        if (this.#try({ ...this.#best, only: left })) {
          kept = left;
          isSmaller = true;
        } else at += size;
      }
      if (size === 1 && !isSmaller) return;
      size = size === 1 ? 1 : Math.ceil(size / 2);
    }
  }
}

type Simplify = (plan: Plan) => Plan[];

const without = (faults: Faults, kind: FaultKind): Faults => {
  const { [kind]: _, ...rest } = faults;
  return rest;
};
const kindsOf = (faults: Faults): FaultKind[] => Object.keys(faults) as FaultKind[];

/** From what takes much away to what takes little. */
const SIMPLER: readonly Simplify[] = [
  (p) => [{ ...p, hard: {}, soft: {} }],
  (p) => [{ ...p, hard: {} }],
  (p) => [{ ...p, soft: {} }],
  (p) => [{ ...p, triggers: [] }],
  (p) => [{ ...p, partlyHealed: false, watchRest: false, rollingIsolation: false, clockDrift: 0 }],
  (p) => kindsOf(p.hard).map((kind) => ({ ...p, hard: without(p.hard, kind) })),
  (p) => kindsOf(p.soft).map((kind) => ({ ...p, soft: without(p.soft, kind) })),
  (p) => p.triggers.map((_, i) => ({ ...p, triggers: p.triggers.toSpliced(i, 1) })),
  (p) =>
    (Object.keys(p.deadlySteps) as Step[])
      .filter((step) => p.deadlySteps[step] > 0)
      .map((step) => ({ ...p, deadlySteps: { ...p.deadlySteps, [step]: 0 } })),
  (p) => [{ ...p, failure: null }],
  (p) => [
    { ...p, rollingIsolation: false },
    { ...p, partlyHealed: false },
    { ...p, watchRest: false },
  ],
  (p) => [
    { ...p, links: { ...p.links, loss: 0 } },
    { ...p, links: { ...p.links, duplication: 0 } },
    { ...p, links: { ...p.links, replay: 0 } },
    { ...p, links: { ...p.links, straggle: 0 } },
    { ...p, links: { ...p.links, held: null } },
    { ...p, links: { ...p.links, dropsUnderWay: false } },
    { ...p, links: { ...p.links, delayMaxMs: 1 } },
    { ...p, disk: { batchMinMs: 0.1, batchMaxMs: 0.5, markMaxMs: 0.3 } },
    { ...p, clockDrift: 0 },
    { ...p, asBytes: false },
  ],
  (p) => (p.nodes > 1 ? [{ ...p, nodes: p.nodes - 1, voters: Math.min(p.voters, p.nodes - 1) }] : []),
  (p) => [0.5, 0.8].map((part) => ({ ...p, chaosMs: Math.ceil(p.chaosMs * part) })),
  (p) => [0.3, 0.7].map((part) => ({ ...p, wishesMax: Math.ceil(p.wishesMax * part) })),
  (p) => [
    { ...p, flurries: 0 },
    { ...p, barriers: 0 },
    { ...p, formsInPeace: true },
    { ...p, workEveryMs: p.workEveryMs * 2 },
  ],
];
