import type { Connection, Stream } from '@libp2p/interface';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { PeerId } from '../../shared/base/ids.ts';
import { FrameDecoder } from '../../src-main/network/framing.ts';
import type { Host } from '../../src-main/network/libp2p-host.ts';
import type { Network } from '../../src-main/network/network.ts';
import { DATA_PROTOCOLS, PULSE_PROTOCOL } from '../../src-main/network/protocols.ts';
import { decodePulse, PULSE_BYTES_MAX, type Pulse } from '../../src-main/network/pulse.ts';
import { startOnLoopback } from './libp2p-world.ts';
import { Recorder, rest, until } from './recorder.ts';
import { dialAsRogue, sendPulse, startRogue } from './rogue.ts';

vi.setConfig({ testTimeout: 60_000 });

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** One end of a pulse, played by hand; pings are answered, as a living peer does. */
class Played {
  readonly stream: Stream;
  readonly heard: string[] = [];

  constructor(stream: Stream) {
    this.stream = stream;
    const decoder = new FrameDecoder(PULSE_BYTES_MAX);
    const onPulse = (pulse: Pulse): void => {
      this.heard.push(pulse.type);
      if (pulse.type === 'ping') this.say({ type: 'pong', nonce: pulse.nonce });
    };
    stream.addEventListener('message', ({ data }) =>
      decoder.push(data.subarray(), (body) => onPulse(decodePulse(body))),
    );
  }

  say(pulse: Pulse): void {
    if (this.stream.writeStatus === 'writable') sendPulse(this.stream, pulse);
  }

  get answer(): string | null {
    return this.heard.find((type) => type === 'accept' || type === 'reject') ?? null;
  }
}

async function ask(rogue: Host, network: Network): Promise<{ connection: Connection; pulse: Played }> {
  const connection = await dialAsRogue(rogue, network);
  const pulse = new Played(await connection.newStream(PULSE_PROTOCOL));
  pulse.say({ type: 'open', addresses: [] });
  return { connection, pulse };
}

async function openData(connection: Connection): Promise<void> {
  for (const protocol of Object.values(DATA_PROTOCOLS)) await connection.newStream(protocol);
}

/** Two seeds whose peer ids are in the order wanted. */
async function nodeAndRogue(
  isNodeSmaller: boolean,
): Promise<{ network: Network; events: Recorder; rogue: Host; peer: PeerId }> {
  for (const [seed, rogueSeed] of [
    [1, 2],
    [2, 1],
  ] as const) {
    const events = new Recorder();
    const network = await startOnLoopback(seed, events);
    const rogue = await startRogue(rogueSeed);
    const peer = rogue.node.peerId.toString() as PeerId;
    cleanups.push(
      () => network.stop(),
      () => rogue.node.stop(),
    );
    if (network.self < peer === isNodeSmaller) return { network, events, rogue, peer };
  }
  throw new Error('two ids are in one order or the other');
}

const addressOf = (rogue: Host): string => String(rogue.node.getMultiaddrs()[0]).split('/p2p/')[0] as string;

describe('a connection is in use', () => {
  test('one that answers stays, and the new request is rejected', async () => {
    const { network, events, rogue, peer } = await nodeAndRogue(true);
    network.setMembers([{ peer, addresses: [] }]);
    const first = await ask(rogue, network);
    await until(() => first.pulse.answer === 'accept', 'the first is accepted');
    await openData(first.connection);
    await until(() => network.isConnected(peer), 'the first is in use');
    const second = await ask(rogue, network);
    await until(() => second.pulse.answer !== null || second.connection.status !== 'open', 'the second is answered');
    await rest();
    expect(second.pulse.answer).not.toBe('accept');
    expect(events.connectionsOf(peer)).toEqual([true]);
    expect(first.connection.status).toBe('open');
  });
});

describe('two requests cross', () => {
  /** The node has asked the rogue, unanswered, when the rogue asks by itself. */
  async function cross(isNodeSmaller: boolean) {
    const parts = await nodeAndRogue(isNodeSmaller);
    const { network, rogue, peer } = parts;
    let theirs: Played | null = null;
    await rogue.node.handle(PULSE_PROTOCOL, (stream) => {
      theirs ??= new Played(stream);
    });
    for (const protocol of Object.values(DATA_PROTOCOLS)) await rogue.node.handle(protocol, () => {});
    network.setMembers([{ peer, addresses: [addressOf(rogue)] }]);
    await until(() => theirs?.heard.includes('open') ?? false, 'the node asks');
    const mine = await ask(rogue, network);
    return { ...parts, theirs: theirs as unknown as Played, mine };
  }

  test('the smaller peer id holds to its own: it takes no other while it may still be answered', async () => {
    const { network, events, peer, theirs, mine } = await cross(true);
    await rest(500);
    expect(mine.pulse.answer).toBeNull();
    theirs.say({ type: 'accept', addresses: [] });
    await until(() => network.isConnected(peer), 'its own request is the one');
    await until(() => mine.connection.status !== 'open', 'the other is closed');
    expect(mine.pulse.answer).not.toBe('accept');
    expect(events.connectionsOf(peer)).toEqual([true]);
  });

  test('the smaller peer id takes the other request once its own stays unanswered', async () => {
    const { network, peer, mine } = await cross(true);
    await until(() => mine.pulse.answer === 'accept', 'it gives in');
    await openData(mine.connection);
    await until(() => network.isConnected(peer), 'the connection');
  });

  test('the larger peer id gives its own up at once', async () => {
    const { network, events, peer, theirs, mine } = await cross(false);
    await rest(500);
    theirs.say({ type: 'accept', addresses: [] }); // too late
    await until(() => mine.pulse.answer !== null, 'an answer');
    expect(mine.pulse.answer).toBe('accept');
    await openData(mine.connection);
    await until(() => network.isConnected(peer), 'the connection');
    await rest();
    expect(events.connectionsOf(peer)).toEqual([true]);
  });
});
