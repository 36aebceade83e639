import { connect, type Socket } from 'node:net';
import type { Connection, Stream } from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import { encodeFrame, FrameDecoder } from '../../src-main/network/framing.ts';
import { type Host, startHost } from '../../src-main/network/libp2p-host.ts';
import type { Network } from '../../src-main/network/network.ts';
import { DATA_PROTOCOLS, PULSE_PROTOCOL } from '../../src-main/network/protocols.ts';
import { decodePulse, encodePulse, type Pulse } from '../../src-main/network/pulse.ts';
import { seedOf } from './libp2p-world.ts';
import { until } from './recorder.ts';

/** A libp2p node with a peer's identity and none of its manners. */
export async function startRogue(seed: number): Promise<Host> {
  return await startHost({ privateKeySeed: seedOf(seed), listen: ['/ip4/127.0.0.1/tcp/0'], gater: {}, onSeen: null });
}

export const dialAsRogue = (rogue: Host, network: Network): Promise<Connection> =>
  rogue.node.dial(multiaddr(network.addresses()[0] as string), { force: true }); // a new one, whatever is there

export function sendPulse(stream: Stream, pulse: Pulse): void {
  stream.send(encodeFrame(encodePulse(pulse)));
}

/** Goes through the handshake as a member would, and hands back the open streams. */
export async function enterAsMember(
  rogue: Host,
  network: Network,
): Promise<{ connection: Connection; pulse: Stream; consensus: Stream; bulk: Stream }> {
  const connection = await dialAsRogue(rogue, network);
  const pulse = await connection.newStream(PULSE_PROTOCOL);
  const heard: Pulse[] = [];
  const decoder = new FrameDecoder(8_192);
  pulse.addEventListener('message', ({ data }) =>
    decoder.push(data.subarray(), (body) => heard.push(decodePulse(body))),
  );
  sendPulse(pulse, { type: 'open', addresses: [] });
  await until(() => heard.some(({ type }) => type === 'accept'), 'the other side accepts');
  const consensus = await connection.newStream(DATA_PROTOCOLS.consensus);
  await connection.newStream(DATA_PROTOCOLS.session);
  const bulk = await connection.newStream(DATA_PROTOCOLS.bulk);
  await until(() => network.isConnected(rogue.node.peerId.toString() as never), 'the rogue is connected');
  return { connection, pulse, consensus, bulk };
}

export function portOf(network: Network): number {
  return Number(/tcp\/(\d+)/.exec(network.addresses()[0] as string)?.[1]);
}

/** A bare TCP client. */
export function rawSocket(network: Network): Promise<{ socket: Socket; closed: Promise<void> }> {
  return new Promise((resolve, reject) => {
    const socket = connect(portOf(network), '127.0.0.1');
    const closed = new Promise<void>((done) => socket.once('close', () => done()));
    socket.once('connect', () => resolve({ socket, closed }));
    socket.once('error', reject);
    socket.on('error', () => {}); // a reset is one way to be thrown out
    socket.resume();
  });
}
