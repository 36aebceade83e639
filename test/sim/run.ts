import { spawnSync } from 'node:child_process';
import { hash } from 'node:crypto';
import { parseArgs } from 'node:util';
import { installSha256 } from '../../shared/base/hash.ts';
import { SimulationFailed, World } from '../../shared/sim/world.ts';

/**
 *   npm run sim                         100 seeds
 *   npm run sim -- --seed 17            one, with its transcript where it fails
 *   npm run sim -- --seeds 5000 --from 1000
 *   npm run sim -- --mutant NAME        the same with a bug planted (`mutants.ts`), until a seed catches it
 */
const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string', default: '100' },
    from: { type: 'string', default: '1' },
    /** Which seeds, one by one. */
    list: { type: 'string' },
    mutant: { type: 'string' },
    /** Ends once so many seeds have failed; 0: never. */
    'stop-after': { type: 'string', default: '0' },
    /** Every message in the transcript. */
    messages: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});

if (values.mutant !== undefined) {
  const mutate = new URL('mutate.ts', import.meta.url).href;
  const at = process.argv.indexOf('--mutant');
  const rest = process.argv.slice(2).filter((_, i) => i !== at - 2 && i !== at - 1);
  const { status } = spawnSync(
    process.execPath,
    ['--import', mutate, ...process.argv.slice(1, 2), '--stop-after', '1', ...rest],
    {
      stdio: 'inherit',
      env: { ...process.env, SYNOD_MUTANT: values.mutant },
    },
  );
  process.exit(status ?? 1);
}

installSha256((bytes) => hash('sha256', bytes, 'buffer'));
runSeeds();

function runSeeds(): void {
  const started = process.cpuUsage();
  const total = {
    events: 0,
    entries: 0,
    slots: 0,
    barriers: 0,
    refusals: 0,
    ballots: 0,
    slotsAgain: 0,
    slotsContested: 0,
    virtualMs: 0,
    calmMs: 0,
  };
  let calmMostMs = 0;
  const faults: Record<string, number> = {};
  const failed: { seed: number; by: string; message: string }[] = [];
  let ran = 0;
  for (const seed of seedsAsked()) {
    ran++;
    try {
      const report = new World({ seed }).run();
      if (values.seed !== undefined && !values.json) console.log(report);
      for (const key of Object.keys(total) as (keyof typeof total)[]) total[key] += report[key];
      calmMostMs = Math.max(calmMostMs, report.calmMs);
      for (const [kind, n] of Object.entries(report.faults)) faults[kind] = (faults[kind] ?? 0) + n;
    } catch (error) {
      if (!(error instanceof SimulationFailed)) throw error;
      failed.push({ seed, by: error.by, message: error.message.split('\n')[0] ?? '' });
      if (!values.json) tell(seed, error);
      if (failed.length === Number(values['stop-after'])) break;
    }
  }
  const cpu = process.cpuUsage(started);
  const seconds = (cpu.user + cpu.system) / 1e6;
  const perSecond = ran / seconds;
  process.exitCode = failed.length === 0 ? 0 : 1;
  if (values.json) return console.log(JSON.stringify({ ran, seconds, perSecond, total, faults, failed }));
  console.log(faults);
  console.log({ ...total, calmMostMs });
  console.log(`${ran} seeds in ${seconds.toFixed(1)} s of one core (${perSecond.toFixed(1)} seeds/s)`);
  console.log(
    `${ran - failed.length} passed, ${failed.length} failed${failed.length > 0 ? `: ${failed.map((f) => f.seed)}` : ''}`,
  );
}

function seedsAsked(): number[] {
  if (values.seed !== undefined) return [Number(values.seed)];
  if (values.list !== undefined) return values.list.split(',').map(Number);
  return Array.from({ length: Number(values.seeds) }, (_, i) => Number(values.from) + i);
}

/** One line for each of many; for a single seed all of the transcript. */
function tell(seed: number, error: SimulationFailed): void {
  if (values.seed === undefined) return console.error(error.message.split('\n')[0]);
  try {
    new World({ seed, transcriptLines: 1500, traceMessages: values.messages }).run();
  } catch (again) {
    console.error((again as Error).message);
  }
  console.error((error.cause as Error).stack);
}
