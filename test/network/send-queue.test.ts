import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { Purpose } from '../../src-main/network/network.ts';
import { SLICE_BYTES_MAX } from '../../src-main/network/send-lane.ts';
import { PURPOSES, SendQueue } from '../../src-main/network/send-queue.ts';

interface Sent {
  readonly purpose: Purpose;
  readonly bytes: number;
}

/** A queue before streams that take everything at once. */
function queueOf(sent: Sent[]): SendQueue {
  const sink = (purpose: Purpose) => ({
    writableNeedsDrain: false,
    send: (slice: Uint8Array): boolean => {
      sent.push({ purpose, bytes: slice.length });
      return true;
    },
  });
  return new SendQueue({
    sinks: { consensus: sink('consensus'), session: sink('session'), bulk: sink('bulk') },
    now: () => 0,
    onFailed: (error) => expect.fail(error.message),
  });
}

/** What left since it was looked at last. */
const taken = (sent: Sent[]): Purpose[] => sent.splice(0).map(({ purpose }) => purpose);

test('what is not bulk leaves at once, and bulk only after this turn of the event loop', async () => {
  const sent: Sent[] = [];
  const queue = queueOf(sent);
  for (const purpose of PURPOSES.toReversed()) queue.push(purpose, new Uint8Array(1_000));
  queue.flush();
  expect(taken(sent)).toEqual(['consensus', 'session']);
  await Promise.resolve();
  expect(taken(sent)).toEqual([]);
  await nextTurn();
  expect(taken(sent)).toEqual(['bulk']);
  expect(queue.bytes).toBe(0);
});

test('of bulk one slice leaves in a turn of the event loop, and a vote never waits for more than that', async () => {
  const sent: Sent[] = [];
  const queue = queueOf(sent);
  queue.push('bulk', new Uint8Array(8 * SLICE_BYTES_MAX));
  queue.flush();
  // The window grows with what arrives at once.
  for (let acked = 0; acked < 4 * SLICE_BYTES_MAX; ) {
    await nextTurn();
    acked += sent.splice(0).reduce((sum, { bytes }) => sum + bytes, 0);
    queue.acked('bulk', acked, null);
  }
  for (let slice = 0; slice < 2; slice++) {
    queue.push('consensus', new Uint8Array(100));
    queue.flush();
    expect(taken(sent)).toEqual(['consensus']);
    await nextTurn();
    expect(taken(sent)).toEqual(['bulk']);
  }
});

test('nothing of bulk leaves once it is closed', async () => {
  const sent: Sent[] = [];
  const queue = queueOf(sent);
  queue.push('bulk', new Uint8Array(10));
  queue.flush();
  queue.close();
  await nextTurn();
  expect(sent).toEqual([]);
});
