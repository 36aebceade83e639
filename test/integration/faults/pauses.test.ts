// Processes that stand still (SIGSTOP) and go on (SIGCONT), or are killed, while all three write.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { Random } from '../../../shared/base/random.ts';
import type { Author } from '../author.ts';
import { leaderOf, type Peer, until, untilStatus, untilTogether, worldForAll } from '../harness.ts';
import { authorsAt, expectKept, expectVerified } from './kept.ts';

const SEED = Number(process.env.SYNOD_FAULT_SEED ?? 29);
/** SYNOD_FAULT_STEPS makes a long run of it. */
const STEPS = Number(process.env.SYNOD_FAULT_STEPS ?? 5);
const LINES_PER_STEP = 60;
/** A machine that stands still is replaced after 1.5 s without a heartbeat. Milliseconds. */
const PAUSE_MS_MAX = 2_500;

// There is no such signal on Windows.
describe.skipIf(process.platform === 'win32')('three that all write', () => {
  const world = worldForAll();
  let peers: Peer[] = [];
  const followers = async (): Promise<Peer[]> => {
    const leader = await leaderOf(peers);
    return peers.filter((peer) => peer !== leader);
  };
  /** A test that fails leaves the others running for the next. */
  afterEach(() => {
    for (const peer of peers) peer.resume();
  });

  test('come together', async () => {
    peers = await world.group('Ana', 'Ben', 'Cleo');
  });

  const victims: readonly (readonly [string, () => Promise<readonly Peer[]>])[] = [
    ['the leader', async () => [await leaderOf(peers)]],
    ['a follower', async () => (await followers()).slice(0, 1)],
    ['both followers: two of three', followers],
    ['the leader and a follower: two of three', async () => [await leaderOf(peers), (await followers())[0] as Peer]],
    ['all three', async () => peers],
  ];
  test.each(victims)('%s stand still, and go on', async (name, choose) => {
    const chosen = await choose();
    const awake = peers.filter((peer) => !chosen.includes(peer));
    const authors = authorsAt(peers, 40, SEED, ` with ${name}`);
    for (const author of authors) author.granted = 20;
    const writing = Promise.all(authors.map((author) => author.run()));
    await until('half of it is written', () => authors.every(({ acknowledged }) => acknowledged >= 20));
    for (const peer of chosen) peer.pause();
    for (const author of authors) author.granted = 40;
    const isOf = (group: readonly Peer[]) => (author: Author) => group.includes(author.peer);
    if (awake.length === 2) {
      // Two of three decide without it.
      const others = authors.filter(isOf(awake));
      await until('the others write on', () => others.every((author) => author.isDone));
    } else if (awake.length === 1) {
      const [alone] = awake as [Peer];
      await untilStatus(alone, 'it says who is missing', ({ canCommit, whyCode, why }) => {
        return !canCommit && whyCode !== null && chosen.some((peer) => why?.includes(peer.name));
      });
      const saved = await alone.does('append', '--wait', 'saved', `saved with ${name}`);
      expect(saved).toMatchObject([{ status: 'saved', position: null }]);
    } else await sleep(PAUSE_MS_MAX);
    for (const peer of chosen) peer.resume();
    await writing;
    await expectKept(peers, authors);
  });

  test(`at random: kills, pauses of one and of two, writers everywhere (seed ${SEED})`, {
    timeout: 60_000 + STEPS * 15_000,
  }, async () => {
    const random = new Random(SEED);
    const authors = authorsAt(peers, STEPS * LINES_PER_STEP, SEED, ' at random');
    const writing = Promise.all(authors.map((author) => author.run()));
    for (let step = 1; step <= STEPS; step++) {
      for (const author of authors) author.granted = step * LINES_PER_STEP;
      await sleep(random.below(300));
      const first = random.pick(peers);
      const second = random.chance(0.3) ? random.pick(peers.filter((peer) => peer !== first)) : null;
      const chosen = second === null ? [first] : [first, second];
      for (const peer of chosen) {
        if (random.chance(0.4)) await peer.kill();
        else peer.pause();
      }
      await sleep(random.below(PAUSE_MS_MAX));
      for (const peer of chosen) {
        if (peer.isRunning) peer.resume();
        else await peer.start();
      }
      if (random.chance(0.3)) await Promise.all(peers.map((peer) => untilTogether(peer, 3)));
    }
    await writing;
    await expectKept(peers, authors);
  });

  test('every record is whole afterwards', () => expectVerified(peers));
});
