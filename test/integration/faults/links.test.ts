// Links that are cut, both ways and one way, and that are slow: who leads, what is committed, and what it costs.
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Random } from '../../../shared/base/random.ts';
import { freePort, leaderOf, never, type Peer, until, untilAgreed, untilStatus, untilTogether } from '../harness.ts';
import { authorsAt, expectKept, expectVerified } from './kept.ts';
import { Links } from './links.ts';

/** Long enough for an election, at times. Milliseconds. */
const STEP_MS_MAX = 3_000;
const MIB = 1024 * 1024;
/** An outage is longer than a commit waits here, so that nothing depends on how quick the others are. */
const PATIENT = ['--timeout', '80s'] as const;

/** Peers that see each other, behind links; the same ones for all tests of a `describe`. */
function linked(names: readonly string[], serveArgs: (name: string) => readonly string[] = () => []) {
  let links: Links;
  let peers: Peer[] = [];
  beforeAll(async () => {
    links = await Links.between(names, serveArgs);
    peers = await links.world.group(...names);
  }, 120_000);
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') {
      for (const { name, stderr } of peers) console.error(`--- ${name}\n${stderr.slice(-3_000)}`);
    }
    links.heal();
    await Promise.all(peers.map((peer) => untilTogether(peer, peers.length)));
  });
  afterAll(async () => {
    try {
      await expectVerified(peers);
    } finally {
      expect(await links?.close()).toEqual([]);
    }
  });
  return {
    get links(): Links {
      return links;
    },
    get peers(): Peer[] {
      return peers;
    },
  };
}

let written = 0;
const committed = async (peer: Peer): Promise<void> => {
  const answer = await peer.does('append', ...PATIENT, `${peer.name} ${++written}`);
  expect(answer).toMatchObject([{ status: 'committed' }]);
};

async function leaderFirst(peers: readonly Peer[]): Promise<Peer[]> {
  const leader = await leaderOf(peers);
  return [leader, ...peers.filter((peer) => peer !== leader)];
}

describe('three voters', () => {
  const trio = linked(['Ana', 'Ben', 'Cleo']);

  test('the leader is cut off: the others go on, it says whom it misses, and what it saved is committed once', async () => {
    const { links, peers } = trio;
    const [leader, one, other] = (await leaderFirst(peers)) as [Peer, Peer, Peer];
    links.cut(leader, one);
    links.cut(leader, other);
    const saved = await leader.does('append', '--wait', 'saved', 'saved alone');
    expect(saved).toMatchObject([{ status: 'saved', position: null }]);
    await committed(one);
    await committed(other);
    expect([one.id, other.id]).toContain((await one.status()).leader);
    const { why } = await untilStatus(leader, 'it is alone', ({ whyCode }) => whyCode === 'ALONE');
    expect(why).toMatch(/^Needs 2 of 3 voters; .* are unreachable/);
    links.heal();
    await untilAgreed(...peers);
    const texts = (await one.log()).map(({ text }) => text);
    expect(texts.filter((text) => text === 'saved alone')).toHaveLength(1);
  });

  /**
   * Who has lost the leader learns from the others, and its own entries wait until it hears the leader again, or until somebody carries them there: either
   * is right here, and they get one place each.
   */
  async function savedAtLeast(peer: Peer): Promise<string> {
    const text = `${peer.name} ${++written}`;
    expect(await peer.does('append', '--timeout', '1s', text)).toMatchObject([{ id: expect.any(String) }]);
    return text;
  }

  async function expectOnce(text: string): Promise<void> {
    for (const peer of trio.peers) expect((await peer.log()).filter((line) => line.text === text)).toHaveLength(1);
  }

  test('a chain: leader and one follower have lost each other, and the one between has both', async () => {
    const { links, peers } = trio;
    const [leader, one, between] = (await leaderFirst(peers)) as [Peer, Peer, Peer];
    links.cut(leader, one);
    for (const peer of [leader, between, leader]) await committed(peer);
    // What is agreed reaches the far end by way of the middle, and nobody takes the lead away.
    const { applied } = await leader.status();
    await untilStatus(one, 'it has what the others agreed on', (status) => status.applied >= applied);
    expect((await between.status()).leader).not.toBeNull();
    const text = await savedAtLeast(one);
    await untilStatus(one, 'it says whom it has lost', ({ whyCode, why }) => {
      return whyCode === 'LEADER_UNREACHABLE' && why?.startsWith(`${leader.name} leads`) === true;
    });
    links.heal();
    await untilAgreed(...peers);
    await expectOnce(text);
  });

  test.each([
    ['from the leader to a follower', true],
    ['from a follower to the leader', false],
  ])('one way only, %s: the others commit, and it learns', async (_, isOutward) => {
    const { links, peers } = trio;
    const [leader, one, other] = (await leaderFirst(peers)) as [Peer, Peer, Peer];
    if (isOutward) links.cutOneWay(leader, one);
    else links.cutOneWay(one, leader);
    for (const peer of [other, leader]) await committed(peer);
    const { applied } = await leader.status();
    await untilStatus(one, 'it has what the others agreed on', (status) => status.applied >= applied);
    const text = await savedAtLeast(one);
    links.heal();
    await untilAgreed(...peers);
    await expectOnce(text);
  });

  test('the leader hears nobody, though all hear it: the others go on', async () => {
    const { links, peers } = trio;
    const [leader, one, other] = (await leaderFirst(peers)) as [Peer, Peer, Peer];
    links.cutOneWay(one, leader);
    links.cutOneWay(other, leader);
    await committed(one);
    await committed(other);
    links.heal();
    await committed(leader);
    await untilAgreed(...peers);
  });

  test('writers everywhere while links come and go', async () => {
    const { links, peers } = trio;
    const authors = authorsAt(peers, 120, 7, ' while links go');
    const writing = Promise.all(authors.map((author) => author.run()));
    const random = new Random(7);
    const [ana, ben, cleo] = peers as [Peer, Peer, Peer];
    const steps = [
      () => links.cut(ana, ben),
      () => links.cutOneWay(ben, cleo),
      () => links.delay(ana, cleo, 40),
      () => links.cut(cleo, ana),
      () => undefined,
    ];
    for (const [at, step] of steps.entries()) {
      links.heal();
      step();
      const granted = 24 * (at + 1);
      for (const author of authors) author.granted = granted;
      await sleep(random.below(STEP_MS_MAX));
      // Whoever has lost the leader waits for the next step.
      await until('two of them write on', () => authors.filter((each) => each.acknowledged >= granted).length >= 2);
    }
    await writing;
    await expectKept(peers, authors);
  });

  test('a slow link to a follower: two of three commit at their own pace, and it has all of it in the end', async () => {
    const { links, peers } = trio;
    const [leader, slow, other] = (await leaderFirst(peers)) as [Peer, Peer, Peer];
    links.delay(leader, slow, 150);
    links.delay(slow, other, 150);
    for (const peer of [leader, other, slow]) await committed(peer);
    await untilAgreed(...peers);
  });
});

describe('five voters', () => {
  const five = linked(['Ana', 'Ben', 'Cleo', 'Dora', 'Emil']);

  /** All links but those of the hub are cut. */
  async function aroundHub(isLeaderCutOff: boolean): Promise<{ hub: Peer; leader: Peer; others: Peer[] }> {
    const { links, peers } = five;
    const [leader, hub, ...others] = (await leaderFirst(peers)) as [Peer, Peer, ...Peer[]];
    for (const [at, one] of others.entries()) {
      links.cut(leader, one);
      for (const other of others.slice(at + 1)) links.cut(one, other);
    }
    if (isLeaderCutOff) links.cut(leader, hub);
    return { hub, leader, others };
  }

  test('quorum loss: the leader keeps one link, to the only one that still hears a majority, and that one leads', async () => {
    const { hub, leader, others } = await aroundHub(false);
    for (const peer of [hub, ...others, leader]) await committed(peer);
    expect((await hub.status()).leader).toBe(hub.id);
    expect((await leader.status()).leader).toBe(hub.id);
    await untilAgreed(...five.peers);
  });

  test('constrained: the leader is gone, and the only one that hears a majority lacks what the others have', async () => {
    const { links, peers } = five;
    const [leader, behind, ...others] = (await leaderFirst(peers)) as [Peer, Peer, ...Peer[]];
    for (const peer of peers) if (peer !== behind) links.cut(behind, peer);
    for (const peer of others) await committed(peer);
    const { applied } = await untilAgreed(leader, ...others);
    expect((await behind.status()).applied).toBeLessThan(applied);
    links.heal();
    for (const [at, one] of others.entries()) {
      links.cut(leader, one);
      for (const other of others.slice(at + 1)) links.cut(one, other);
    }
    links.cut(leader, behind);
    for (const peer of [behind, ...others]) await committed(peer);
    links.heal();
    await untilAgreed(...peers);
  });
});

describe('a follower that takes nothing more', () => {
  const ports = new Map<string, number>();
  beforeAll(async () => {
    for (const name of ['Ana', 'Ben', 'Cleo']) ports.set(name, await freePort());
  });
  const trio = linked(['Ana', 'Ben', 'Cleo'], (name) => ['--metrics', `127.0.0.1:${ports.get(name)}`]);

  async function measured(peer: Peer): Promise<{ residentBytes: number; queueBytes: number }> {
    const text = await (await fetch(`http://127.0.0.1:${ports.get(peer.name)}/metrics`)).text();
    const values = (name: string): number[] =>
      text.split('\n').flatMap((line) => (line.startsWith(name) ? [Number(line.slice(line.lastIndexOf(' ')))] : []));
    return {
      residentBytes: Math.max(...values('process_resident_memory_bytes')),
      queueBytes: Math.max(0, ...values('synod_peer_queue_bytes')),
    };
  }

  /** What may wait for one peer, by the design. */
  const QUEUE_BYTES_MAX = 16 * MIB;
  const ENTRY_BYTES = 256 * 1024;
  /** With those of the other way to hinder it, 50 MiB. */
  const ENTRIES = 100;
  const IN_FLIGHT = 4;
  /** Garbage and buffers of the database, in a process that has written as much before: more than was seen. */
  const GROWTH_BYTES_MAX = 4 * ENTRIES * ENTRY_BYTES;

  /** Returns the most that waited for one peer at any time. Bytes. */
  async function writeMuch(leader: Peer): Promise<number> {
    const service = await leader.service();
    let waitsAtMost = 0;
    let left = ENTRIES;
    const writer = async (): Promise<void> => {
      while (left-- > 0) {
        const text = randomBytes(ENTRY_BYTES / 2).toString('hex');
        const answer = await service.append({ text, wait: 'committed', timeoutMs: 80_000 }, never);
        expect(answer.status).toBe('committed');
        waitsAtMost = Math.max(waitsAtMost, (await measured(leader)).queueBytes);
      }
    };
    await Promise.all(Array.from({ length: IN_FLIGHT }, writer));
    return waitsAtMost;
  }

  test.each([
    ['its link is open and silent', (links: Links, leader: Peer, victim: Peer) => links.cut(leader, victim)],
    [
      'its link is far too slow',
      (links: Links, leader: Peer, victim: Peer) => links.throttle(leader, victim, 200 * 1024),
    ],
  ])(
    '%s: 25 MiB are committed without it, and what waits for it is bounded',
    { timeout: 240_000 },
    async (how, hinder) => {
      const { links, peers } = trio;
      const [leader, victim] = (await leaderFirst(peers)) as [Peer, Peer];
      if (how.includes('silent')) await writeMuch(leader); // so that caches are full, and compiled what is compiled
      const before = await measured(leader);
      hinder(links, leader, victim);
      const waitsAtMost = await writeMuch(leader);
      const after = await measured(leader);
      const grown = after.residentBytes - before.residentBytes;
      console.log(`${how}: at most ${Math.round(waitsAtMost / MIB)} MiB waited, ${Math.round(grown / MIB)} MiB grown`);
      expect(waitsAtMost).toBeLessThanOrEqual(QUEUE_BYTES_MAX);
      expect(grown).toBeLessThan(GROWTH_BYTES_MAX);
      links.heal();
      await untilAgreed(...peers);
    },
  );
});
