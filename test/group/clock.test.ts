import { getEventListeners } from 'node:events';
import { expect, test } from 'vitest';
import { deadline, pause } from '../../src-main/group/clock.ts';
import { ManualClock } from './manual-clock.ts';

test('a deadline aborts when its time is up, or with the signal around it, and leaves nothing behind', async () => {
  const clock = new ManualClock();
  const outer = new AbortController();
  const first = deadline(clock, 10, outer.signal);
  await clock.pass(9);
  expect(first.signal.aborted).toBe(false);
  await clock.pass(1);
  expect(first.signal.aborted).toBe(true);
  first.clear();
  const second = deadline(clock, 10, outer.signal);
  outer.abort();
  expect(second.signal.aborted).toBe(true);
  second.clear();
  expect(deadline(clock, 10, outer.signal).signal.aborted).toBe(true);
  const third = deadline(clock, 10, new AbortController().signal);
  third.clear();
  await clock.pass(20);
  expect(third.signal.aborted).toBe(false);
  expect(clock.timers).toBe(0);
});

test('deadlines and pauses do not pile up on a long-lived signal', async () => {
  const clock = new ManualClock();
  const { signal } = new AbortController();
  for (let i = 0; i < 20; i++) {
    deadline(clock, 10, signal).clear();
    const pausing = pause(clock, 10, signal);
    await clock.pass(10);
    await pausing;
  }
  expect(getEventListeners(signal, 'abort')).toEqual([]);
});
