import { Socket } from 'node:net';
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { uint32 } from '../../shared/base/bytes.ts';
import { STRANGERS_MAX, UNPROVEN_PER_HOST_MAX } from '../../src-main/network/gate.ts';
import { createLibp2pNetwork, NetworkError } from '../../src-main/network/libp2p-network.ts';
import { type Network, type Purpose, QUEUE_BYTES_MAX } from '../../src-main/network/network.ts';
import { DATA_PROTOCOLS, JOIN_PROTOCOL, PULSE_PROTOCOL } from '../../src-main/network/protocols.ts';
import { connected, introduce, type Node } from './contract.ts';
import { seedOf, startOnLoopback } from './libp2p-world.ts';
import { Line } from './line.ts';
import { deferred, Recorder, rest, until } from './recorder.ts';
import { dialAsRogue, portOf, rawSocket, startRogue } from './rogue.ts';

vi.setConfig({ testTimeout: 90_000 });

const MIB = 1024 * 1024;
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start(seed: number, port = 0): Promise<Node> {
  const events = new Recorder();
  const network = await startOnLoopback(seed, events, port);
  cleanups.push(() => network.stop());
  return { network, events };
}

async function pair(): Promise<[Node, Node]> {
  const nodes: [Node, Node] = [await start(1), await start(2)];
  await introduce(...nodes);
  return nodes;
}

/** Sends to a reader that is stuck until nothing more is taken. On consensus nothing but the stream's own backpressure holds back. Returns the bytes taken. */
async function fill(from: Network, to: Network, purpose: Purpose): Promise<number> {
  let taken = 0;
  for (let refused = 0; refused < 50; ) {
    if (from.send(to.self, purpose, new Uint8Array(128 * 1024))) {
      taken += 128 * 1024;
      refused = 0;
    } else {
      refused++;
      await rest(2);
    }
  }
  return taken;
}

describe('trap 1: onDrain() resolves at once from the second stall on', () => {
  test('a sender that stalls again and again never holds more than queue, window and inbox', async () => {
    const [a, b] = await pair();
    b.events.keepFrames = false;
    for (let stall = 0; stall < 4; stall++) {
      const busy = deferred();
      b.events.handler = () => busy.promise;
      const taken = await fill(a.network, b.network, 'consensus');
      expect(taken).toBeLessThan(QUEUE_BYTES_MAX + 6 * MIB);
      expect(taken).toBeGreaterThan(QUEUE_BYTES_MAX - MIB); // and all room is free again after each stall
      b.events.handler = null;
      busy.resolve();
      expect(await a.network.whenBelow(b.network.self, 'consensus', 1)).toBe(true);
    }
    expect(a.events.connectionsOf(b.network.self)).toEqual([true]);
  });
});

describe('trap 2: a paused stream is reset once its window has grown', () => {
  test('a reader that pauses after a long fast transfer keeps the connection and every frame', async () => {
    const [a, b] = await pair();
    b.events.keepFrames = false;
    let got = 0;
    b.events.handler = () => {
      got++;
    };
    for (let n = 0; n < 600; n++) {
      while (!a.network.send(b.network.self, 'consensus', new Uint8Array(128 * 1024))) {
        await a.network.whenBelow(b.network.self, 'consensus', 8 * MIB);
      }
    }
    await until(() => got === 600, 'the transfer that opens the window');
    const busy = deferred();
    b.events.handler = () => {
      got++;
      return busy.promise;
    };
    const taken = await fill(a.network, b.network, 'consensus');
    await rest(500);
    busy.resolve();
    await until(() => got === 600 + taken / (128 * 1024), 'every frame');
    expect(b.events.connectionsOf(a.network.self)).toEqual([true]);
    expect(a.events.problems.concat(b.events.problems)).toEqual([]);
  });
});

describe('more packets than frames', () => {
  test('a frame is one packet: no length ahead of it, no window update behind it', async () => {
    const [a, b] = await pair();
    const writes = vi.spyOn(Socket.prototype, 'write');
    onTestFinished(() => writes.mockRestore());
    let got = 0;
    b.events.handler = () => {
      got++;
    };
    for (let n = 1; n <= 100; n++) {
      a.network.send(b.network.self, 'consensus', new Uint8Array(1024));
      await until(() => got === n, `frame ${n}`);
    }
    // The rest is for a ping now and then.
    expect(writes.mock.calls.length).toBeGreaterThanOrEqual(100);
    expect(writes.mock.calls.length).toBeLessThan(150);
  });
});

describe('trap 3: five connections a second per host, ten unproven in all', () => {
  test('a dozen members of one host come at once', async () => {
    const host = await start(1);
    const others = await Promise.all(Array.from({ length: 12 }, (_, n) => start(n + 2)));
    const members = [host, ...others].map(({ network }) => ({ peer: network.self, addresses: [] }));
    host.network.setMembers(members);
    for (const { network } of others) {
      network.setMembers([{ peer: host.network.self, addresses: host.network.addresses() }]);
    }
    await until(() => others.every(({ network }) => host.network.isConnected(network.self)), 'all members');
    for (const { network } of others) expect(host.events.connectionsOf(network.self)).toEqual([true]);
    // Not by trying again: none was refused.
    for (const { events } of others) expect(events.problems).toEqual([]);
  });

  test('strangers who say nothing are bounded per host, thrown out after a while, and shut nobody out for good', async () => {
    const [a, b] = [await start(1), await start(2)];
    const silent = await Promise.all(Array.from({ length: UNPROVEN_PER_HOST_MAX + 10 }, () => rawSocket(a.network)));
    const closed = silent.map(() => false);
    silent.forEach(({ closed: end }, at) => void end.then(() => (closed[at] = true)));
    await until(() => closed.filter(Boolean).length >= 10, 'the surplus is refused at once');
    expect(closed.filter(Boolean)).toHaveLength(10); // the others still have time to prove who they are
    await until(() => closed.every(Boolean), 'the others are thrown out');
    await introduce(a, b);
  });
});

describe('trap 4: simultaneous dials leave two connections', () => {
  test('round after round, both dial at once and settle without flapping', async () => {
    for (let round = 0; round < 8; round++) {
      const [a, b] = [await start(2 * round + 1), await start(2 * round + 2)];
      await introduce(a, b);
      // Now make both dial at the same moment, again and again.
      for (const { network } of [a, b]) network.wake();
      await rest(150);
      expect(a.events.connectionsOf(b.network.self)).toEqual([true]);
      expect(b.events.connectionsOf(a.network.self)).toEqual([true]);
      a.network.send(b.network.self, 'consensus', uint32(round));
      b.network.send(a.network.self, 'consensus', uint32(round));
      await until(() => a.events.frames.length === 1 && b.events.frames.length === 1, 'frames both ways');
    }
  });

  test('a process that comes back while its old connection still seems alive takes over', async () => {
    const a = await start(1);
    const b = await start(2);
    const line = await Line.to(portOf(a.network));
    cleanups.push(() => line.close());
    a.network.setMembers([{ peer: b.network.self, addresses: [] }]);
    b.network.setMembers([{ peer: a.network.self, addresses: [line.address] }]);
    await connected(a, b);
    line.silence(); // a does not learn that b is gone
    await b.network.stop();
    const again = await start(2);
    again.network.setMembers([{ peer: a.network.self, addresses: a.network.addresses() }]);
    await until(() => again.network.isConnected(a.network.self), 'the new process');
    await until(() => a.events.connectionsOf(b.network.self).length === 3, 'the change at the other side');
    expect(a.events.connectionsOf(b.network.self)).toEqual([true, false, true]);
    expect(a.events.problemCodes()).not.toContain('PEER_SILENT');
  });
});

describe('trap 5: no autodial, and keep-alive gives up after five tries', () => {
  test('a member that was gone for more than five dials is dialled still', async () => {
    const a = await start(1);
    const b = await start(2);
    const port = portOf(b.network);
    await introduce(a, b);
    await b.network.stop();
    await until(() => !a.network.isConnected(b.network.self), 'the loss');
    const tries = (): number =>
      Math.max(
        0,
        ...a.events.problems
          .filter(({ code }) => code === 'DIAL_FAILED')
          .map(({ message }) => Number.parseInt(message, 10)),
      );
    await until(() => tries() >= 4, 'dials by itself');
    const again = await start(2, port);
    again.network.setMembers([{ peer: a.network.self, addresses: [] }]); // knows nothing: must be dialled
    await connected(a, again);
  });
});

describe('trap 6: nothing in TCP notices a silent line', () => {
  test('both sides notice within seconds, say PEER_SILENT, and come back when the line does', async () => {
    const a = await start(1);
    const b = await start(2);
    const line = await Line.to(portOf(a.network));
    cleanups.push(() => line.close());
    a.network.setMembers([{ peer: b.network.self, addresses: [] }]);
    b.network.setMembers([{ peer: a.network.self, addresses: [line.address] }]);
    await connected(a, b);
    line.silence();
    await until(() => !a.network.isConnected(b.network.self) && !b.network.isConnected(a.network.self), 'both notice');
    for (const { events } of [a, b]) expect(events.problemCodes()).toContain('PEER_SILENT');
    line.speak();
    await connected(a, b);
  });

  test('a line that stutters is kept', async () => {
    const a = await start(1);
    const b = await start(2);
    const line = await Line.to(portOf(a.network));
    cleanups.push(() => line.close());
    a.network.setMembers([{ peer: b.network.self, addresses: [] }]);
    b.network.setMembers([{ peer: a.network.self, addresses: [line.address] }]);
    await connected(a, b);
    for (let stutter = 0; stutter < 3; stutter++) {
      line.silence();
      await rest(2_500);
      line.speak();
      await rest(200);
    }
    expect(a.events.connectionsOf(b.network.self)).toEqual([true]);
    expect(b.events.connectionsOf(a.network.self)).toEqual([true]);
  });

  test('a reader that is busy for long is not taken for dead', async () => {
    const [a, b] = await pair();
    const busy = deferred();
    b.events.handler = () => busy.promise;
    await fill(a.network, b.network, 'bulk');
    await rest(6_500);
    expect(a.network.isConnected(b.network.self)).toBe(true);
    busy.resolve();
    await until(() => a.network.queuedBytes(b.network.self, 'bulk') === 0, 'the rest');
    expect(a.events.connectionsOf(b.network.self)).toEqual([true]);
  });
});

describe('trap 7: the default gater allows everything', () => {
  test('a stranger gets no protocol, neither before nor after its identity is known', async () => {
    const a = await start(1);
    const rogue = await startRogue(9);
    cleanups.push(() => rogue.node.stop());
    for (const protocol of [PULSE_PROTOCOL, JOIN_PROTOCOL, ...Object.values(DATA_PROTOCOLS), '/ipfs/id/1.0.0']) {
      const opened = await dialAsRogue(rogue, a.network)
        .then((connection) => connection.newStream(protocol, { signal: AbortSignal.timeout(3_000) }))
        .then(() => 'open')
        .catch(() => 'refused');
      expect(opened).toBe('refused');
    }
    expect(a.events.problemCodes()).toContain('STRANGER');
  });

  test('while the door is open a stranger gets the join protocol, and a reset on any other', async () => {
    const a = await start(1);
    const end = deferred();
    a.network.setJoinDoor(() => end.promise);
    const rogue = await startRogue(9);
    cleanups.push(() => rogue.node.stop());
    const connection = await dialAsRogue(rogue, a.network);
    const join = await connection.newStream(JOIN_PROTOCOL);
    expect(join.status).toBe('open');
    for (const protocol of [PULSE_PROTOCOL, ...Object.values(DATA_PROTOCOLS)]) {
      const ended = await connection.newStream(protocol).then(
        async (stream) => {
          await until(() => stream.status !== 'open', 'the reset');
          return 'reset';
        },
        () => 'reset',
      );
      expect(ended).toBe('reset');
    }
    await expect(connection.newStream('/ipfs/id/1.0.0', { signal: AbortSignal.timeout(3_000) })).rejects.toThrow();
    end.resolve();
  });

  test('one stranger can’t take all places with many connections beyond the bound', async () => {
    const a = await start(1);
    a.network.setJoinDoor(() => new Promise(() => {}));
    const rogues = await Promise.all(Array.from({ length: STRANGERS_MAX + 4 }, (_, n) => startRogue(20 + n)));
    cleanups.push(() => Promise.all(rogues.map((rogue) => rogue.node.stop())));
    const open = await Promise.all(
      rogues.map((rogue) =>
        dialAsRogue(rogue, a.network)
          .then((connection) => connection.newStream(JOIN_PROTOCOL, { signal: AbortSignal.timeout(5_000) }))
          .then(() => 1)
          .catch(() => 0),
      ),
    );
    expect(open.reduce<number>((sum, one) => sum + one, 0)).toBe(STRANGERS_MAX);
    a.network.setJoinDoor(null);
    await until(() => rogues.every(({ node }) => node.getConnections().length === 0), 'all strangers are dismissed');
  });
});

describe('trap 8: libp2p announces every address it has', () => {
  test('what is announced over loopback are dialable addresses without wildcard and peer id', async () => {
    const [a, b] = await pair();
    const told = [...a.events.addresses, ...b.events.addresses].flatMap(({ addresses }) => addresses);
    expect(told.length).toBeGreaterThan(0);
    for (const address of told) expect(address).toMatch(/^\/ip4\/127\.0\.0\.1\/tcp\/[1-9]\d*$/);
  });
});

describe('listening', () => {
  test('a port that is taken is PORT_IN_USE, an address that is not here LISTEN_FAILED, and both leave nothing behind', async () => {
    const a = await start(1);
    const code = (listen: string): Promise<string> =>
      createLibp2pNetwork({ privateKeySeed: seedOf(2), listen: [listen], mdns: false, events: new Recorder() }).then(
        () => 'none',
        (error: unknown) => (error instanceof NetworkError ? error.code : String(error)),
      );
    expect(await code(`/ip4/127.0.0.1/tcp/${portOf(a.network)}`)).toBe('PORT_IN_USE');
    expect(await code('/ip4/203.0.113.7/tcp/0')).toBe('LISTEN_FAILED');
    expect(await code('rubbish')).toBe('LISTEN_FAILED');
  });
});
