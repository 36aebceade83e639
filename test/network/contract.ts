import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { uint32 } from '../../shared/base/bytes.ts';
import type { PeerId } from '../../shared/base/ids.ts';
import {
  FRAME_BYTES_MAX,
  type Network,
  type NetworkEvents,
  type Purpose,
  QUEUE_BYTES_MAX,
} from '../../src-main/network/network.ts';
import { joinContract } from './join-contract.ts';
import { deferred, Recorder, rest, until } from './recorder.ts';

/** Networks that can reach each other. */
export interface World {
  /** The same `seed` (1 … 255) is the same peer; each start listens on an address of its own. */
  start(seed: number, events: NetworkEvents): Promise<Network>;
  stop(): Promise<void>;
}

export interface Node {
  readonly network: Network;
  readonly events: Recorder;
}

const PURPOSES: readonly Purpose[] = ['consensus', 'session', 'bulk'];

/** What every network must do, whatever it is made of. */
export function networkContract(name: string, makeWorld: () => World): void {
  describe(`network contract: ${name}`, () => {
    let world: World;
    let running: Network[] = [];

    beforeEach(() => {
      world = makeWorld();
      running = [];
    });

    afterEach(async () => {
      await Promise.all(running.map((network) => network.stop()));
      await world.stop();
    });

    const start = async (seed: number): Promise<Node> => {
      const events = new Recorder();
      const network = await world.start(seed, events);
      running.push(network);
      return { network, events };
    };

    const pair = async (): Promise<[Node, Node]> => {
      const nodes: [Node, Node] = [await start(1), await start(2)];
      await introduce(...nodes);
      return nodes;
    };

    test('members connect, and both are told once', async () => {
      const [a, b] = await pair();
      await rest();
      expect(a.events.connections).toEqual([{ peer: b.network.self, connected: true }]);
      expect(b.events.connections).toEqual([{ peer: a.network.self, connected: true }]);
    });

    test.each([1, 2])('it is enough that peer %i of two knows an address', async (knowing) => {
      const nodes = [await start(1), await start(2)] as const;
      for (const [at, node] of nodes.entries()) {
        const other = nodes[1 - at] as Node;
        const addresses = at === knowing - 1 ? other.network.addresses() : [];
        node.network.setMembers([{ peer: other.network.self, addresses }]);
      }
      await connected(...nodes);
    });

    test('four members that dial each other at once settle on one connection per pair, without flapping', async () => {
      const nodes = await Promise.all([1, 2, 3, 4].map(start));
      await introduce(...nodes);
      await rest(1_000);
      for (const node of nodes) {
        for (const other of nodes) {
          if (other !== node) expect(node.events.connectionsOf(other.network.self)).toEqual([true]);
        }
      }
    });

    test('frames of each purpose arrive once, whole and in the order sent', async () => {
      const [a, b] = await pair();
      const sizes = [0, 1, 200, 0, 65_530, 65_536, 65_537, 3, 300_000, FRAME_BYTES_MAX, 17];
      for (const [at, size] of sizes.entries()) {
        for (const purpose of PURPOSES) expect(a.network.send(b.network.self, purpose, pattern(size, at))).toBe(true);
      }
      await until(() => b.events.frames.length === sizes.length * PURPOSES.length, 'all frames');
      for (const purpose of PURPOSES) {
        const got = b.events.frames.filter((received) => received.purpose === purpose);
        expect(got.every(({ from }) => from === a.network.self)).toBe(true);
        expect(got.map(({ frame }) => frame.length)).toEqual(sizes);
        expect(got.every(({ frame }, at) => Buffer.compare(frame, pattern(frame.length, at)) === 0)).toBe(true);
      }
    });

    test('many small frames go both ways at once in order', async () => {
      const [a, b] = await pair();
      const count = 20_000;
      for (let n = 0; n < count; n++) {
        expect(a.network.send(b.network.self, 'session', uint32(n))).toBe(true);
        expect(b.network.send(a.network.self, 'session', uint32(n))).toBe(true);
        if (n % 1_000 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      for (const { events } of [a, b]) {
        await until(() => events.frames.length === count, 'all frames');
        expect(events.frames.every(({ frame }, n) => Buffer.compare(frame, uint32(n)) === 0)).toBe(true);
      }
    });

    test('a frame over the limit is the sender’s mistake', async () => {
      const [a, b] = await pair();
      const frame = new Uint8Array(FRAME_BYTES_MAX + 1);
      expect(() => a.network.send(b.network.self, 'bulk', frame)).toThrow(RangeError);
      expect(a.network.isConnected(b.network.self)).toBe(true);
    });

    test('nothing is taken for who is not connected', async () => {
      const a = await start(1);
      const b = await start(2);
      expect(a.network.send(b.network.self, 'consensus', uint32(1))).toBe(false);
      expect(a.network.queuedBytes(b.network.self, 'consensus')).toBe(0);
      expect(await a.network.whenBelow(b.network.self, 'consensus', 1)).toBe(false);
      expect(a.network.rttMs(b.network.self)).toBeNull();
      expect(a.network.lastSeenMs(b.network.self)).toBeNull();
    });

    test('while a handler is busy nothing more of that purpose is delivered, but other purposes are', async () => {
      const [a, b] = await pair();
      const busy = deferred();
      b.events.handler = ({ purpose }) => (purpose === 'bulk' ? busy.promise : undefined);
      for (let n = 0; n < 3; n++) a.network.send(b.network.self, 'bulk', uint32(n));
      a.network.send(b.network.self, 'consensus', uint32(9));
      const count = (purpose: Purpose): number => b.events.frames.filter((got) => got.purpose === purpose).length;
      await until(() => count('consensus') === 1 && count('bulk') === 1, 'one frame each');
      await rest();
      expect(count('bulk')).toBe(1);
      busy.resolve();
      await until(() => count('bulk') === 3, 'the rest');
    });

    test('the queue is bounded: what is taken arrives, what is not is refused, and a slow reader stops the sender', async () => {
      const [a, b] = await pair();
      const busy = deferred();
      b.events.handler = () => busy.promise;
      const to = b.network.self;
      const frame = 64 * 1024;
      let taken = 0;
      // More than queue, wire and inbox hold together: a sender that is never refused would fill the memory.
      for (let bytes = 0; bytes < 4 * QUEUE_BYTES_MAX; bytes += frame) {
        if (a.network.send(to, 'bulk', pattern(frame, taken))) taken++;
        else await new Promise((resolve) => setTimeout(resolve, 1));
      }
      expect(taken * frame).toBeLessThan(2 * QUEUE_BYTES_MAX);
      await rest();
      expect(a.network.queuedBytes(to, 'bulk')).toBeGreaterThan(QUEUE_BYTES_MAX / 2);
      expect(a.network.queuedBytes(to, 'bulk')).toBeLessThanOrEqual(QUEUE_BYTES_MAX);
      expect(a.network.queuedBytes(to, 'consensus')).toBe(0);
      expect(a.network.isConnected(to)).toBe(true);

      const low = a.network.whenBelow(to, 'bulk', 1024 * 1024);
      expect(await Promise.race([low, rest(50)])).toBeUndefined();
      busy.resolve();
      expect(await low).toBe(true);
      expect(a.network.queuedBytes(to, 'bulk')).toBeLessThan(1024 * 1024);
      await until(() => b.events.frames.length === taken, 'what was taken');
      expect(b.events.frames.every((got, at) => Buffer.compare(got.frame, pattern(frame, at)) === 0)).toBe(true);
      expect(b.events.connectionsOf(a.network.self)).toEqual([true]);
    });

    test('backpressure stops and resumes again and again', async () => {
      const [a, b] = await pair();
      let delivered = 0;
      b.events.keepFrames = false;
      b.events.handler = async () => {
        if (++delivered % 40 === 0) await rest(5);
      };
      const count = 600;
      for (let n = 0; n < count; n++) {
        while (!a.network.send(b.network.self, 'bulk', new Uint8Array(128 * 1024))) {
          expect(await a.network.whenBelow(b.network.self, 'bulk', 4 * 1024 * 1024)).toBe(true);
        }
      }
      await until(() => delivered === count, 'all frames');
      expect(a.events.problems.concat(b.events.problems)).toEqual([]);
    });

    test('consensus passes bulk that is stuck', async () => {
      const [a, b] = await pair();
      const busy = deferred();
      b.events.handler = ({ purpose }) => (purpose === 'bulk' ? busy.promise : undefined);
      while (a.network.send(b.network.self, 'bulk', new Uint8Array(1024 * 1024)));
      // The bulk that filled the queue leaves room for what is small.
      expect(a.network.send(b.network.self, 'consensus', uint32(7))).toBe(true);
      await until(() => b.events.frames.some(({ purpose }) => purpose === 'consensus'), 'consensus');
      busy.resolve();
    });

    test('a handler that fails is reported, and the next frame comes', async () => {
      const [a, b] = await pair();
      b.events.handler = ({ frame }) => {
        if (frame[3] === 0) throw new Error('broken at once');
        if (frame[3] === 1) return Promise.reject(new Error('broken later'));
        return undefined;
      };
      for (let n = 0; n < 3; n++) a.network.send(b.network.self, 'consensus', uint32(n));
      await until(() => b.events.frames.length === 3, 'all frames');
      expect(b.events.problemCodes()).toEqual(['HANDLER_FAILED', 'HANDLER_FAILED']);
      expect(b.events.connectionsOf(a.network.self)).toEqual([true]);
    });

    test('who is no longer a member is cut off at once and can’t come back', async () => {
      const [a, b] = await pair();
      const busy = deferred();
      b.events.handler = () => busy.promise;
      for (let n = 0; n < 8; n++) a.network.send(b.network.self, 'bulk', new Uint8Array(FRAME_BYTES_MAX - 64));
      const waiting = a.network.whenBelow(b.network.self, 'bulk', 1);
      a.network.setMembers([]);
      expect(a.network.isConnected(b.network.self)).toBe(false);
      expect(a.network.send(b.network.self, 'consensus', uint32(1))).toBe(false);
      expect(await waiting).toBe(false);
      await until(() => !b.network.isConnected(a.network.self), 'the end at the other side');
      busy.resolve();
      await until(() => a.events.problemCodes().includes('STRANGER'), 'an attempt to come back');
      await rest();
      expect(a.events.connectionsOf(b.network.self)).toEqual([true, false]);
      expect(b.events.connectionsOf(a.network.self)).toEqual([true, false]);

      a.network.setMembers([{ peer: b.network.self, addresses: b.network.addresses() }]);
      await connected(a, b);
      expect(a.events.connectionsOf(b.network.self)).toEqual([true, false, true]);
    });

    test('a stranger is refused and reported', async () => {
      const a = await start(1);
      const b = await start(2);
      a.network.setMembers([{ peer: b.network.self, addresses: b.network.addresses() }]);
      await until(() => b.events.problemCodes().includes('STRANGER'), 'the report');
      expect(b.events.problems.find(({ code }) => code === 'STRANGER')?.peer).toBe(a.network.self);
      await rest();
      expect(a.events.connections.concat(b.events.connections)).toEqual([]);
    });

    test('a peer that restarts elsewhere is found again by its new address', async () => {
      const [a, b] = await pair();
      for (const round of [1, 2]) {
        await (running.pop() as Network).stop();
        await until(() => !a.network.isConnected(b.network.self), 'the loss');
        const again = await start(2);
        expect(again.network.self).toBe(b.network.self);
        // Only the one that stayed knows where: the other side must be dialled.
        a.network.setMembers([{ peer: b.network.self, addresses: again.network.addresses() }]);
        again.network.setMembers([{ peer: a.network.self, addresses: [] }]);
        await connected(a, again);
        again.network.send(a.network.self, 'consensus', uint32(round));
        await until(() => a.events.frames.length === round, 'a frame of the restarted peer');
      }
      expect(a.events.connectionsOf(b.network.self)).toEqual([true, false, true, false, true]);
    });

    test('one’s own id among the members means nothing', async () => {
      const a = await start(1);
      a.network.setMembers([{ peer: a.network.self, addresses: a.network.addresses() }]);
      await rest();
      expect(a.network.isConnected(a.network.self)).toBe(false);
      expect(a.events.problems).toEqual([]);
    });

    test('addresses that worked are told, without the peer id', async () => {
      const [a, b] = await pair();
      const told = [...a.events.addresses, ...b.events.addresses];
      expect(told.length).toBeGreaterThan(0);
      for (const { addresses } of told)
        for (const address of addresses) expect(address).toMatch(/^\/ip4\/[^/]+\/tcp\/\d+$/);
    });

    test('lastSeenMs and rttMs speak of who is connected', async () => {
      const [a, b] = await pair();
      b.network.send(a.network.self, 'consensus', uint32(1));
      await until(() => a.network.rttMs(b.network.self) !== null, 'a round trip');
      await until(() => a.network.lastSeenMs(b.network.self) !== null, 'a sign of life');
      expect(a.network.rttMs(b.network.self)).toBeGreaterThanOrEqual(0);
      expect(Math.abs(Date.now() - (a.network.lastSeenMs(b.network.self) as number))).toBeLessThan(60_000);
    });

    test('stop sends what is queued, tells the others, and can be called again', async () => {
      const [a, b] = await pair();
      // Far more than a new connection lets go at once, and little enough for the time that a stop has, however busy the machine.
      const last = Array.from({ length: 6 }, (_, n) => pattern(300_000, n));
      for (const frame of last) expect(a.network.send(b.network.self, 'consensus', frame)).toBe(true);
      expect(a.network.queuedBytes(b.network.self, 'consensus')).toBeGreaterThan(1_500_000);
      await Promise.all([a.network.stop(), a.network.stop()]);
      await a.network.stop();
      await until(() => b.events.connections.length === 2, 'the loss');
      expect(b.events.frames).toHaveLength(last.length);
      expect(b.events.frames.every(({ frame }, n) => Buffer.compare(frame, last[n] as Uint8Array) === 0)).toBe(true);
      expect(a.events.connectionsOf(b.network.self)).toEqual([true, false]);
      expect(a.network.isConnected(b.network.self)).toBe(false);
      expect(a.network.send(b.network.self, 'consensus', uint32(1))).toBe(false);
      a.network.setMembers([{ peer: b.network.self, addresses: b.network.addresses() }]);
      a.network.wake();
      await rest();
      expect(a.network.isConnected(b.network.self)).toBe(false);
    });

    joinContract(start);
  });
}

/** Everybody becomes everybody's member, and is waited for. */
export async function introduce(...nodes: readonly Node[]): Promise<void> {
  for (const { network } of nodes) {
    network.setMembers(
      nodes.map(({ network: { self, addresses } }, at) => ({
        peer: self,
        addresses: addresses.call(nodes[at]?.network),
      })),
    );
  }
  await connected(...nodes);
}

export async function connected(...nodes: readonly Node[]): Promise<void> {
  const sees = (a: Node, b: Node): boolean => a === b || a.network.isConnected(b.network.self as PeerId);
  await until(() => nodes.every((a) => nodes.every((b) => sees(a, b))), 'all connections');
}

/** Bytes that tell their frame and their place in it. */
function pattern(size: number, salt: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at++) bytes[at] = (at * 31 + (at >>> 8) + salt) & 255;
  return bytes;
}
