import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { NOTHING_YET, sum, type Tally, tallyOf } from '../../shared/sim/tally.ts';
import { SimulationFailed, World } from '../../shared/sim/world.ts';

export interface Failed {
  readonly seed: number;
  readonly by: string;
  /** In one line. */
  readonly message: string;
}

export interface Ran {
  readonly tally: Tally;
  readonly failed: readonly Failed[];
  /** Processor time of all processes. */
  readonly cpuSeconds: number;
  readonly seconds: number;
}

export interface RunInit {
  readonly seeds: readonly number[];
  readonly jobs: number;
  /** Ends once so many have failed; 0: never. */
  readonly stopAfter: number;
  onFailure(failed: Failed): void;
  onProgress(done: number, of: number, failures: number): void;
}

/** One seed's outcome. Anything but a failed check or a broken rule is an error of the simulator's own, and is thrown. */
export function runSeed(seed: number): Tally | Failed {
  try {
    return tallyOf(new World({ seed }).run());
  } catch (error) {
    if (!(error instanceof SimulationFailed)) throw error;
    return { seed, by: error.by, message: error.message.split('\n')[0] ?? '' };
  }
}

/** Seeds one after the other here, or in `jobs` processes. Ctrl+C ends it with what it has so far. */
export async function runSeeds(init: RunInit): Promise<Ran> {
  const started = Date.now();
  const failed: Failed[] = [];
  let tally = NOTHING_YET;
  let isOver = false;
  const onInterrupt = (): void => {
    isOver = true;
  };
  process.on('SIGINT', onInterrupt);
  const take = (outcome: Tally | Failed): boolean => {
    if ('by' in outcome) {
      failed.push(outcome);
      init.onFailure(outcome);
    } else tally = sum(tally, outcome);
    init.onProgress(tally.seeds + failed.length, init.seeds.length, failed.length);
    if (init.stopAfter > 0 && failed.length >= init.stopAfter) isOver = true;
    return !isOver;
  };
  const run = init.jobs > 1 ? runElsewhere : runHere;
  const cpuSeconds = await run(init, take, () => isOver);
  process.off('SIGINT', onInterrupt);
  failed.sort((a, b) => a.seed - b.seed);
  return { tally, failed, cpuSeconds, seconds: (Date.now() - started) / 1000 };
}

type Take = (outcome: Tally | Failed) => boolean;

const cpuSecondsSince = (before: NodeJS.CpuUsage): number => {
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
};

async function runHere({ seeds }: RunInit, take: Take, isOver: () => boolean): Promise<number> {
  const before = process.cpuUsage();
  for (const seed of seeds) {
    if (!take(runSeed(seed))) break;
    // Lets a signal in.
    await new Promise((resolve) => setImmediate(resolve));
    if (isOver()) break;
  }
  return cpuSecondsSince(before);
}

/** What a worker sends: outcomes, and at the end its processor time. */
export type FromWorker = { readonly outcome: Tally | Failed } | { readonly cpuSeconds: number };
/** What it is sent: the next seed, or that there is none. */
export type ToWorker = { readonly seed: number | null };

function runElsewhere({ seeds, jobs }: RunInit, take: Take, isOver: () => boolean): Promise<number> {
  const worker = fileURLToPath(new URL('worker.ts', import.meta.url));
  const next = seeds[Symbol.iterator]();
  let cpuSeconds = 0;
  const one = (): Promise<void> =>
    new Promise((resolve, reject) => {
      // In a group of its own, so that Ctrl+C reaches this process alone.
      const child = fork(worker, { detached: true });
      const feed = (): void => {
        const step = isOver() ? { done: true as const } : next.next();
        child.send({ seed: step.done ? null : step.value } satisfies ToWorker);
      };
      child.on('message', (message) => {
        const said = message as FromWorker;
        if ('cpuSeconds' in said) cpuSeconds += said.cpuSeconds;
        else {
          take(said.outcome);
          feed();
        }
      });
      child.on('error', reject);
      child.on('exit', (code) => (code === 0 ? resolve() : reject(new Error(`a worker ended with ${code}`))));
      feed();
    });
  return Promise.all(Array.from({ length: jobs }, one)).then(() => cpuSeconds);
}
