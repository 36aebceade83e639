import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { PENDING_MAX, pushedBack } from '../../src-main/peer/push-back.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function groupOf(pending: number, leader: string | null) {
  const watchers = new Set<() => void>();
  const state = { pending, leader };
  return {
    state,
    watchers,
    applied: () => {
      for (const watcher of [...watchers]) watcher();
    },
    replica: {
      outbox: {
        get pending() {
          return state.pending;
        },
      },
      get leader() {
        return state.leader;
      },
    },
    watch(watcher: () => void) {
      watchers.add(watcher);
      return () => void watchers.delete(watcher);
    },
  };
}

async function hasEnded(wait: Promise<void>): Promise<boolean> {
  let ended = false;
  void wait.then(() => {
    ended = true;
  });
  await vi.advanceTimersByTimeAsync(0);
  return ended;
}

test('who is no faster than the group is answered at once', async () => {
  expect(await hasEnded(pushedBack(groupOf(PENDING_MAX, 'ana')))).toBe(true);
});

test('who is faster is answered once so much is agreed', async () => {
  const group = groupOf(PENDING_MAX + 2, 'ana');
  const wait = pushedBack(group);
  group.state.pending = PENDING_MAX + 1;
  group.applied();
  expect(await hasEnded(wait)).toBe(false);
  group.state.pending = PENDING_MAX;
  group.applied();
  expect(await hasEnded(wait)).toBe(true);
  expect(group.watchers.size).toBe(0);
});

test('where nobody leads nothing is held back, however much waits', async () => {
  expect(await hasEnded(pushedBack(groupOf(1_000_000, null)))).toBe(true);
});

test('a group that stalls holds one answer back for a second, not longer', async () => {
  const group = groupOf(PENDING_MAX + 1, 'ana');
  const wait = pushedBack(group);
  await vi.advanceTimersByTimeAsync(999);
  expect(await hasEnded(wait)).toBe(false);
  await vi.advanceTimersByTimeAsync(1);
  expect(await hasEnded(wait)).toBe(true);
  expect(group.watchers.size).toBe(0);
});
