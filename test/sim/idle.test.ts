import { hash } from 'node:crypto';
import { expect, test } from 'vitest';
import { installSha256 } from '../../shared/base/hash.ts';
import { type Report, World } from '../../shared/sim/world.ts';
import { quietPlan } from './quiet.ts';

installSha256((bytes) => hash('sha256', bytes, 'buffer'));

const HOUR_MS = 3_600_000;
/** A whole day takes minutes: SYNOD_IDLE_HOURS=24 npx vitest run --project sim test/sim/idle.test.ts */
const HOURS = Number(process.env.SYNOD_IDLE_HOURS ?? '0.5');

function idle(forMs: number, loss: number): Report {
  const plan = quietPlan({ wishesMax: 0, workEveryMs: 1e9, chaosMs: forMs });
  return new World({ seed: 1, plan: { ...plan, links: { ...plan.links, loss } } }).run();
}

test(`three nodes with nothing to do keep their leader, though 30 % of all frames are lost (${HOURS} h)`, {
  timeout: 3_600_000,
}, () => {
  const formed = idle(30_000, 0.3);
  const later = idle(HOURS * HOUR_MS, 0.3);
  expect(later.faults.lost).toBeGreaterThan(10 * (formed.faults.lost ?? 0));
  expect(later.leaderChanges).toBe(formed.leaderChanges);
});

test('and that would be seen: with 80 % lost they do not', () => {
  expect(idle(120_000, 0.8).leaderChanges).toBeGreaterThan(idle(30_000, 0.3).leaderChanges + 10);
});
