import { hash } from 'node:crypto';
import { installSha256 } from '../../shared/base/hash.ts';
import { World } from '../../shared/sim/world.ts';

/** Seeds of every run of the tests. */
export const SEEDS = 1000;
const SHARDS = 4;

/** Runs one part of the seeds and says how fast. */
export function runShard(shard: number): number {
  installSha256((bytes) => hash('sha256', bytes, 'buffer'));
  const started = process.cpuUsage();
  let ran = 0;
  for (let seed = 1 + shard; seed <= SEEDS; seed += SHARDS) {
    new World({ seed }).run();
    ran++;
  }
  const { user, system } = process.cpuUsage(started);
  const seconds = (user + system) / 1e6;
  console.log(`${ran} seeds, ${(ran / seconds).toFixed(1)} seeds/s of one core`);
  return ran;
}
