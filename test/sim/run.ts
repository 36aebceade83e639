import { spawnSync } from 'node:child_process';
import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { installSha256 } from '../../shared/base/hash.ts';
import { Random } from '../../shared/base/random.ts';
import type { Replay } from '../../shared/sim/minimise.ts';
import { drawPlan } from '../../shared/sim/plan-draw.ts';
import { table } from '../../shared/sim/tally.ts';
import { SimulationFailed, World } from '../../shared/sim/world.ts';
import { runSeeds } from './jobs.ts';
import { shrink } from './shrink.ts';

const USAGE = `
  npm run sim                         100 seeds
  npm run sim -- --seed 17            one, with its transcript where it fails; --messages names each message
  npm run sim -- --seeds 100000 --from 1000 --jobs 8
  npm run sim -- --list 3,17,40
  npm run sim -- --seed 17 --minimise the smallest story that fails the same way, as JSON; --minutes N at most (2)
  npm run sim -- --replay FILE.json   tells it again
  npm run sim -- --mutant NAME        with a bug planted (mutants.ts), until a seed catches it
`;

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string', default: '100' },
    from: { type: 'string', default: '1' },
    /** Which seeds, one by one. */
    list: { type: 'string' },
    jobs: { type: 'string', default: '1' },
    mutant: { type: 'string' },
    /** Ends once so many seeds have failed; 0: never. */
    'stop-after': { type: 'string', default: '0' },
    minimise: { type: 'boolean', default: false },
    minutes: { type: 'string', default: '2' },
    replay: { type: 'string' },
    /** Every message in the transcript. */
    messages: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

installSha256((bytes) => hash('sha256', bytes, 'buffer'));

if (values.help) console.log(USAGE);
else if (values.mutant !== undefined) runAgainWithMutant(values.mutant);
else if (values.replay !== undefined) tell(readReplay(values.replay));
else if (values.minimise) minimiseSeed(Number(values.seed));
else if (values.seed !== undefined && !values.json) tell(drawn(Number(values.seed)));
else await runMany();

function drawn(seed: number): Replay {
  return { seed, plan: drawPlan(new Random(seed)), only: null };
}

function readReplay(path: string): Replay {
  const { seed, plan, only } = JSON.parse(readFileSync(path, 'utf8')) as Replay;
  return { seed, plan, only };
}

/** The bug is planted as the modules are loaded, so in a process of its own. */
function runAgainWithMutant(name: string): void {
  const at = process.argv.indexOf('--mutant');
  const rest = process.argv.slice(2).filter((_, i) => i !== at - 2 && i !== at - 1);
  const { status } = spawnSync(
    process.execPath,
    [
      '--import',
      new URL('mutate.ts', import.meta.url).href,
      ...process.argv.slice(1, 2),
      ...['--stop-after', '1'],
      ...rest,
    ],
    { stdio: 'inherit', env: { ...process.env, SYNOD_MUTANT: name } },
  );
  process.exitCode = status ?? 1;
}

/** One story: its report, or all of its transcript. */
function tell(replay: Replay): void {
  try {
    console.log(new World({ ...replay, transcriptLines: 5000, traceMessages: values.messages }).run());
  } catch (error) {
    if (!(error instanceof SimulationFailed)) throw error;
    console.error(error.message);
    console.error((error.cause as Error).stack);
    process.exitCode = 1;
  }
}

function minimiseSeed(seed: number): void {
  const small = shrink(seed, Number(values.minutes) * 60_000);
  if (small === null) return console.log(`seed ${seed} passes`);
  console.error(small.transcript);
  console.error(small.summary);
  console.log(small.json);
  process.exitCode = 1;
}

async function runMany(): Promise<void> {
  const { tally, failed, cpuSeconds, seconds } = await runSeeds({
    seeds: seedsAsked(),
    jobs: Number(values.jobs),
    stopAfter: Number(values['stop-after']),
    onFailure: ({ message }) => {
      if (!values.json) console.error(message);
    },
    onProgress: (done, of, failures) => {
      if (process.stderr.isTTY) process.stderr.write(`\r${done} of ${of} seeds, ${failures} failed `);
      else if (done % 5000 === 0) console.error(`${done} of ${of} seeds, ${failures} failed`);
    },
  });
  if (process.stderr.isTTY) process.stderr.write('\n');
  const ran = tally.seeds + failed.length;
  process.exitCode = failed.length === 0 ? 0 : 1;
  if (values.json) return console.log(JSON.stringify({ ran, seconds: cpuSeconds, tally, failed }));
  console.log(table(tally));
  console.log(
    `${ran} seeds in ${seconds.toFixed(1)} s (${(ran / seconds).toFixed(1)} seeds/s; ${(ran / cpuSeconds).toFixed(1)} seeds/s of one core)`,
  );
  console.log(
    `${tally.seeds} passed, ${failed.length} failed${failed.length > 0 ? `: ${failed.map((f) => f.seed)}` : ''}`,
  );
}

function seedsAsked(): number[] {
  if (values.seed !== undefined) return [Number(values.seed)];
  if (values.list !== undefined) return values.list.split(',').map(Number);
  return Array.from({ length: Number(values.seeds) }, (_, i) => Number(values.from) + i);
}
