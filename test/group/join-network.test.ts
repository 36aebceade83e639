import { test as base, expect, onTestFinished } from 'vitest';
import { joinGroup } from '../../src-main/group/join-guest.ts';
import { MemoryHub } from '../../src-main/network/memory-network.ts';
import type { Network, NetworkEvents } from '../../src-main/network/network.ts';
import { admitted, GROUP, GUEST, HOST, JoinWorld, OTHER } from './join-world.ts';
import { someIncarnation } from './made-up.ts';
import { settle } from './manual-clock.ts';

// The same conversation over the network interface: the door, who answers there, and who does not.

const events: NetworkEvents = { onFrame() {}, onConnection() {}, onAddresses() {}, onProblem() {} };

interface Wires {
  readonly hub: MemoryHub;
  readonly world: JoinWorld;
  readonly host: Network;
  readonly other: Network;
  readonly guest: Network;
}

const test = base.extend<{ wires: Wires }>({
  // biome-ignore lint/correctness/noEmptyPattern: vitest reads the pattern
  wires: async ({}, use) => {
    const hub = new MemoryHub();
    const networks = [HOST, OTHER, GUEST].map((peer) => hub.create(peer, events));
    const [host, other, guest] = networks as [Network, Network, Network];
    await use({ hub, world: new JoinWorld(), host, other, guest });
    for (const network of networks) await network.stop();
  },
});

function join({ world, guest, host }: Wires, addresses: readonly string[] = host.addresses()) {
  const outcomes: string[] = [];
  const controller = new AbortController();
  onTestFinished(() => controller.abort());
  const promise = joinGroup({
    network: guest,
    ticket: world.ticket({ addresses: addresses.map((address) => address.replace(/\/p2p\/.*/, '')) }),
    incarnation: someIncarnation(5),
    name: 'Ben',
    signal: controller.signal,
    onOutcome: ({ code }) => outcomes.push(code),
    clock: world.clock,
  });
  promise.catch(() => {});
  return { promise, outcomes, controller };
}

test('a guest gets in through an open door', async ({ wires }) => {
  const { world, host } = wires;
  host.setJoinDoor(world.host.onJoin);
  const { promise, outcomes } = join(wires);
  await settle();
  world.asked[0]?.judge(admitted);
  expect(await promise).toMatchObject({ group: GROUP, rights: 'writer', role: 'learner' });
  await settle();
  expect(outcomes).toEqual([]);
  expect(world.host.inspect()).toEqual({ conversations: 0, admitting: 0, uncollected: 0 });
  expect(world.host.wantsDoor()).toBe(false);
  expect(world.clock.timers).toBe(0);
});

test('a door that shuts and opens again in the middle costs nothing but time', async ({ wires }) => {
  const { world, host } = wires;
  host.setJoinDoor(world.host.onJoin);
  const { promise, outcomes } = join(wires);
  await settle();
  world.asked[0]?.wait('needs 2 of 3 voters');
  await world.clock.pass(1_000);
  host.setJoinDoor(null);
  await world.clock.pass(8_000);
  expect(outcomes).toEqual(['WAITING', 'REFUSED']);
  expect(world.host.wantsDoor()).toBe(true);
  host.setJoinDoor(world.host.onJoin);
  await world.clock.pass(5_000);
  expect(world.asked).toHaveLength(1);
  world.asked[0]?.judge(admitted);
  expect((await promise).genesis).toEqual(world.genesis);
});

test.for<[string, (wires: Wires) => readonly string[] | undefined]>([
  ['REFUSED', () => undefined],
  ['WRONG_PEER', ({ other }) => other.addresses()],
  ['NO_ANSWER', () => ['10.20.4.17']],
  ['NO_ANSWER', () => []],
  [
    'NO_ANSWER',
    ({ hub, world, host }) => {
      host.setJoinDoor(world.host.onJoin);
      hub.cut(HOST, GUEST);
      return undefined;
    },
  ],
])('%s is told', async ([code, place], { wires }) => {
  const { promise, outcomes, controller } = join(wires, place(wires));
  await wires.world.clock.pass(30_000);
  expect(outcomes).toEqual([code]);
  controller.abort();
  await expect(promise).rejects.toMatchObject({ code, final: false });
});

test('one good address among bad ones is enough', async ({ wires }) => {
  const { world, host, other } = wires;
  host.setJoinDoor(world.host.onJoin);
  const { promise } = join(wires, ['10.20.4.17', ...other.addresses(), ...host.addresses()]);
  await settle();
  world.asked[0]?.judge(admitted);
  expect((await promise).group).toBe(GROUP);
});

test('eight strangers that say nothing hold the door for ten seconds, not longer', async ({ wires }) => {
  const { world, host, guest } = wires;
  host.setJoinDoor(world.host.onJoin);
  const { signal } = new AbortController();
  for (let n = 0; n < 8; n++)
    await guest.dialJoin(
      HOST,
      host.addresses().map((each) => each.replace(/\/p2p\/.*/, '')),
      signal,
    );
  const { promise, outcomes } = join(wires);
  await world.clock.pass(20_000);
  expect(outcomes).toEqual(['REFUSED', 'WAITING']);
  world.asked[0]?.judge(admitted);
  expect((await promise).group).toBe(GROUP);
});
