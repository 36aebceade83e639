import { randomBytes } from 'node:crypto';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { concat, uint32 } from '../../shared/base/bytes.ts';
import type { PeerId } from '../../shared/base/ids.ts';
import { encodeFrame } from '../../src-main/network/framing.ts';
import { FRAME_BYTES_MAX } from '../../src-main/network/network.ts';
import { DATA_PROTOCOLS, PULSE_PROTOCOL } from '../../src-main/network/protocols.ts';
import { connected, introduce, type Node } from './contract.ts';
import { startOnLoopback } from './libp2p-world.ts';
import { Recorder, rest, until } from './recorder.ts';
import { dialAsRogue, enterAsMember, rawSocket, sendPulse, startRogue } from './rogue.ts';

vi.setConfig({ testTimeout: 60_000 });

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start(seed: number): Promise<Node> {
  const events = new Recorder();
  const network = await startOnLoopback(seed, events);
  cleanups.push(() => network.stop());
  return { network, events };
}

/** a and b are members of each other; so is the rogue, with a real member's key. */
async function withRogue() {
  const [a, b] = [await start(1), await start(2)];
  const rogue = await startRogue(3);
  cleanups.push(() => rogue.node.stop());
  const peer = rogue.node.peerId.toString() as PeerId;
  await introduce(a, b);
  a.network.setMembers([
    { peer, addresses: [] },
    { peer: b.network.self, addresses: b.network.addresses() },
  ]);
  return { a, b, rogue, peer };
}

/** The peer still serves its members. */
async function expectSound(a: Node, b: Node): Promise<void> {
  const before = b.events.frames.length;
  expect(a.network.send(b.network.self, 'consensus', uint32(1))).toBe(true);
  await until(() => b.events.frames.length === before + 1, 'a frame between members');
  expect(a.events.connectionsOf(b.network.self)).toEqual([true]);
}

describe('a member that sends rubbish', () => {
  test.each([
    ['an oversized length', uint32(FRAME_BYTES_MAX + 2), 'FRAME_TOO_LARGE'],
    ['the largest length', uint32(0xffffffff), 'FRAME_TOO_LARGE'],
    ['an empty frame without version', uint32(0), 'FRAME_BAD'],
    ['an unknown version', Uint8Array.of(0, 0, 0, 1, 99), 'FRAME_BAD'],
    ['a good frame, then garbage', concat(encodeFrame(uint32(5)), new Uint8Array(64).fill(255)), 'FRAME_TOO_LARGE'],
  ])('%s on consensus: cut off and reported, the others unharmed', async (_, bytes, code) => {
    const { a, b, rogue, peer } = await withRogue();
    const { connection, consensus } = await enterAsMember(rogue, a.network);
    consensus.send(bytes);
    await until(() => !a.network.isConnected(peer), 'the cut');
    await until(() => connection.status !== 'open', 'the end of the connection');
    expect(a.events.problems.filter((problem) => problem.peer === peer).map((problem) => problem.code)).toEqual([code]);
    expect(a.events.connectionsOf(peer)).toEqual([true, false]);
    await expectSound(a, b);
  });

  test('rubbish on the pulse', async () => {
    const { a, b, rogue, peer } = await withRogue();
    const { pulse } = await enterAsMember(rogue, a.network);
    pulse.send(encodeFrame(Uint8Array.of(1, 2, 3)));
    await until(() => !a.network.isConnected(peer), 'the cut');
    expect(a.events.problemCodes()).toContain('FRAME_BAD');
    await expectSound(a, b);
  });

  test('an acknowledgement of what was never sent', async () => {
    const { a, b, rogue, peer } = await withRogue();
    const { pulse } = await enterAsMember(rogue, a.network);
    sendPulse(pulse, { type: 'ack', purpose: 'bulk', bytes: 1_000_000 });
    await until(() => !a.network.isConnected(peer), 'the cut');
    expect(a.events.problemCodes()).toContain('FRAME_BAD');
    await expectSound(a, b);
  });

  test('it may come back later', async () => {
    const { a, rogue, peer } = await withRogue();
    const { consensus } = await enterAsMember(rogue, a.network);
    consensus.send(uint32(0));
    await until(() => !a.network.isConnected(peer), 'the cut');
    let isBack = false;
    for (let attempt = 0; !isBack && attempt < 50; attempt++) {
      isBack = await dialAsRogue(rogue, a.network)
        .then((connection) => connection.newStream(PULSE_PROTOCOL, { signal: AbortSignal.timeout(3_000) }))
        .then(() => true)
        .catch(() => false);
      if (!isBack) await rest(50);
    }
    expect(isBack).toBe(true);
  });

  test('streams without a handshake, and a second one of a purpose', async () => {
    const { a, b, rogue, peer } = await withRogue();
    const early = await dialAsRogue(rogue, a.network);
    const stream = await early.newStream(DATA_PROTOCOLS.consensus);
    await until(() => stream.status !== 'open', 'the reset');
    expect(a.events.connectionsOf(peer)).toEqual([]);
    await early.close();
    const { connection, consensus } = await enterAsMember(rogue, a.network);
    const second = await connection.newStream(DATA_PROTOCOLS.consensus).catch(() => null);
    if (second !== null) await until(() => second.status !== 'open', 'the reset of the second');
    expect(consensus.status).toBe('open');
    await expectSound(a, b);
  });
});

describe('a raw TCP client', () => {
  test('sends rubbish to the port: it is thrown out, and the peer goes on', async () => {
    const [a, b] = [await start(1), await start(2)];
    await introduce(a, b);
    const rubbish = [
      randomBytes(10_000),
      Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'),
      Buffer.from('\x13/multistream/1.0.0\n\x07/noise\nabcdefghijklmnopqrstuvwxyz'),
      Buffer.concat([
        Buffer.from('\x13/multistream/1.0.0\n\x07/noise\n'),
        Buffer.from([0xff, 0xff]),
        randomBytes(70_000),
      ]),
      Buffer.alloc(0),
    ];
    await Promise.all(
      rubbish.map(async (bytes) => {
        const { socket, closed } = await rawSocket(a.network);
        socket.write(bytes);
        await closed;
      }),
    );
    await expectSound(a, b);
    await b.network.stop();
    const again = await start(2);
    again.network.setMembers([{ peer: a.network.self, addresses: a.network.addresses() }]);
    await connected(a, again);
  });
});
