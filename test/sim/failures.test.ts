import { hash } from 'node:crypto';
import { expect, test } from 'vitest';
import { installSha256 } from '../../shared/base/hash.ts';
import { World } from '../../shared/sim/world.ts';
import { quietPlan } from './quiet.ts';

installSha256((bytes) => hash('sha256', bytes, 'buffer'));

// After Omni-Paxos' storage that fails at its n-th operation, for every n: batches and marks, of the leader and of a follower.
const WRITES_MAX = 400;

test.each([
  ['EIO: the peer stops, and is started again by somebody', 'DISK_FAILED', 0],
  ['EIO at a follower', 'DISK_FAILED', 1],
  ['ENOSPC: the store is closed, opened and looked at', 'DISK_FULL', 0],
  ['ENOSPC at a follower', 'DISK_FULL', 1],
] as const)('any one write may fail. %s', { timeout: 200_000 }, (_, code, node) => {
  let failures = 0;
  let entries = 0;
  for (let write = 3; write < WRITES_MAX; write++) {
    const plan = quietPlan({ failure: { node, write, code }, chaosMs: 1500, wishesMax: 6 });
    const report = new World({ seed: 1, plan }).run();
    entries += report.entries;
    // It never came to so many writes: all that there are have failed once.
    if (report.failedWrites === 0) break;
    failures++;
  }
  expect(failures).toBeGreaterThan(20);
  expect(entries).toBeGreaterThan(failures);
  expect(failures).toBeLessThan(WRITES_MAX - 3);
});
