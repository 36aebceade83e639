import { Random } from '../../shared/base/random.ts';
import { failureOf, minimise } from '../../shared/sim/minimise.ts';
import { drawPlan } from '../../shared/sim/plan-draw.ts';

export interface Shrunk {
  /** Of the small story. */
  readonly transcript: string;
  readonly summary: string;
  /** For a file that `--replay` reads. */
  readonly json: string;
}

/** The smallest story found in that time that fails as this seed does; null where the seed passes. */
export function shrink(seed: number, forMs: number): Shrunk | null {
  const until = Date.now() + forMs;
  const small = minimise(seed, drawPlan(new Random(seed)), () => Date.now() > until);
  if (small === null) return null;
  const { replay, runs } = small;
  const failure = failureOf(replay, 5000);
  const injections = replay.only === null ? 'all' : `${replay.only.length}`;
  return {
    transcript: failure?.message ?? '',
    summary: `seed ${seed}, ${runs} runs: ${replay.plan.nodes} nodes, ${injections} injections. Keep it as test/sim/regressions/NAME.json; npm run sim -- --replay FILE`,
    json: JSON.stringify({ found: small.failure.finding.slice(0, 200), ...replay }),
  };
}
