import { hash } from 'node:crypto';
import { expect, test } from 'vitest';
import { installSha256 } from '../../shared/base/hash.ts';
import { World } from '../../shared/sim/world.ts';

installSha256((bytes) => hash('sha256', bytes, 'buffer'));

/** Machines come and go within seconds here, and so do votes. Ticks of 50 ms. */
const HASTY = { steadyTicks: 40, goneTicks: 80, restTicks: 10, reignTicks: 40, presenceTicks: 100 };
const SEEDS = 30;

test('with a policy in a hurry all rules hold and the group comes together, whatever breaks', () => {
  let unlike = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { fingerprint } = new World({ seed, policy: HASTY }).run();
    if (fingerprint !== new World({ seed }).run().fingerprint) unlike++;
  }
  // It does something in them: another story than without it.
  expect(unlike).toBeGreaterThan(SEEDS / 6);
});
