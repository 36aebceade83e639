import { hash } from 'node:crypto';
import { installSha256 } from '../../shared/base/hash.ts';
import { SimulationFailed, World } from '../../shared/sim/world.ts';
import { shrink } from './shrink.ts';

/** Seeds of every run of the tests. */
export const SEEDS = 1000;
const SHARDS = 4;
/** For making a failing seed small. */
const SHRINKING_MS = 60_000;

/** Runs one part of the seeds and says how fast. One that fails is made small, as far as there is time. */
export function runShard(shard: number): number {
  installSha256((bytes) => hash('sha256', bytes, 'buffer'));
  const started = process.cpuUsage();
  let ran = 0;
  for (let seed = 1 + shard; seed <= SEEDS; seed += SHARDS) {
    runSeed(seed);
    ran++;
  }
  const { user, system } = process.cpuUsage(started);
  const seconds = (user + system) / 1e6;
  console.log(`${ran} seeds, ${(ran / seconds).toFixed(1)} seeds/s of one core`);
  return ran;
}

/** @throws Error with the small story's transcript, and the story as JSON */
export function runSeed(seed: number): void {
  try {
    new World({ seed }).run();
  } catch (error) {
    if (!(error instanceof SimulationFailed)) throw error;
    const small = shrink(seed, SHRINKING_MS);
    throw new Error(small === null ? error.message : `${small.transcript}\n${small.summary}\n${small.json}`, {
      cause: error,
    });
  }
}
