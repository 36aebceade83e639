import { setTimeout as sleep } from 'node:timers/promises';
import type { Connection, Stream } from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import type { Incarnation, PeerId } from '../../../shared/base/ids.ts';
import { encodeMessage } from '../../../shared/consensus/codec.ts';
import type { Message } from '../../../shared/consensus/messages.ts';
import { decodeEnvelope, type Envelope, encodeEnvelope, type Layer } from '../../../shared/wire/envelope.ts';
import { decodeSessionMessage, encodeSessionMessage } from '../../../shared/wire/session-messages.ts';
import { type Identity, loadOrCreateIdentity } from '../../../src-main/group/identity.ts';
import { encodeFrame, FrameDecoder } from '../../../src-main/network/framing.ts';
import { type Host, startHost } from '../../../src-main/network/libp2p-host.ts';
import { createLibp2pNetwork } from '../../../src-main/network/libp2p-network.ts';
import type { Network, Purpose } from '../../../src-main/network/network.ts';
import { DATA_PROTOCOLS, PULSE_PROTOCOL } from '../../../src-main/network/protocols.ts';
import { decodePulse, encodePulse, type Pulse } from '../../../src-main/network/pulse.ts';
import { inspectStore } from '../../../src-main/peer/group-store.ts';
import { openLevelStore } from '../../../src-main/storage/level-store.ts';
import { after, type Machine, until } from './harness.ts';

/** Whoever has a member's directory can speak as that member. What they can say to harm the others is tried out here. */

/** From one try to enter to the next: each costs both sides a handshake. */
const AGAIN_MS = 200;

export interface Stolen extends Identity {
  readonly incarnation: Incarnation;
}

/** The identity of a machine that is stopped. */
export async function steal(machine: Machine): Promise<Stolen> {
  const port = await openLevelStore(await machine.groupDir(), { create: false });
  try {
    const { incarnation } = await inspectStore(port);
    return { ...(await loadOrCreateIdentity(machine.dir)), incarnation };
  } finally {
    await port.close();
  }
}

/** A libp2p node with an identity and none of Synod's manners. */
export async function startRogue(seed: Uint8Array): Promise<Host> {
  const rogue = await startHost({ privateKeySeed: seed, listen: ['/ip4/127.0.0.1/tcp/0'], gater: {}, onSeen: null });
  after(() => rogue.node.stop());
  return rogue;
}

export const dial = (rogue: Host, victim: Machine): Promise<Connection> => rogue.node.dial(multiaddr(victim.address));

export function sendPulse(stream: Stream, pulse: Pulse): void {
  stream.send(encodeFrame(encodePulse(pulse)));
}

export interface Entered {
  readonly connection: Connection;
  readonly pulse: Stream;
  readonly data: Readonly<Record<Purpose, Stream>>;
  /** No ping is answered any more. */
  fallSilent(): void;
}

/** Goes through the handshake as a member would, and hands back the open streams. */
export async function enter(rogue: Host, victim: Machine): Promise<Entered> {
  return until(async () => {
    try {
      return await tryToEnter(rogue, victim);
    } catch {
      await sleep(AGAIN_MS); // still shunned for what it did before, or taken for the connection it had
      return null;
    }
  }, 'the way in');
}

async function tryToEnter(rogue: Host, victim: Machine): Promise<Entered> {
  const connection = await dial(rogue, victim);
  try {
    const signal = AbortSignal.timeout(5_000);
    const pulse = await connection.newStream(PULSE_PROTOCOL, { signal });
    const heard: Pulse[] = [];
    const decoder = new FrameDecoder(8_192);
    let silent = false;
    pulse.addEventListener('message', ({ data }) => {
      decoder.push(data.subarray(), (body) => {
        const said = decodePulse(body);
        heard.push(said);
        if (said.type === 'ping' && !silent && pulse.writeStatus === 'writable')
          sendPulse(pulse, { type: 'pong', nonce: said.nonce });
      });
    });
    sendPulse(pulse, { type: 'open', addresses: [] });
    await until(() => heard.some(({ type }) => type === 'accept'), 'the other side accepts', 3_000);
    const open = (purpose: Purpose): Promise<Stream> => connection.newStream(DATA_PROTOCOLS[purpose], { signal });
    const data = { consensus: await open('consensus'), session: await open('session'), bulk: await open('bulk') };
    return {
      connection,
      pulse,
      data,
      fallSilent: () => {
        silent = true;
      },
    };
  } catch (error) {
    connection.abort(error as Error);
    throw error;
  }
}

/** A member that keeps the manners of the network and none of the group's. */
export class BadMember {
  readonly stolen: Stolen;
  readonly network: Network;
  /** Frames that came, by sender. */
  readonly heard: { from: PeerId; frame: Uint8Array; envelope: Envelope }[];
  #turn = 1_000_000;
  readonly #nonce = new Uint8Array(8).fill(7);

  private constructor(stolen: Stolen, network: Network, heard: BadMember['heard']) {
    this.stolen = stolen;
    this.network = network;
    this.heard = heard;
  }

  static async start(stolen: Stolen, victims: readonly Machine[]): Promise<BadMember> {
    const heard: BadMember['heard'] = [];
    // Votes of whoever has not greeted count for nothing: it would be shut out before it did any harm.
    const greetBack = (from: PeerId, { layer, body }: Envelope): void => {
      if (layer !== 'session') return;
      const said = decodeSessionMessage(body);
      if (said.type === 'greeting' && said.asks) member?.greet(from);
    };
    let member: BadMember | null = null;
    const network = await createLibp2pNetwork({
      privateKeySeed: stolen.seed,
      listen: ['/ip4/127.0.0.1/tcp/0'],
      mdns: false,
      events: {
        onFrame: (from, _purpose, frame) => {
          const envelope = decodeEnvelope(frame);
          if (heard.length < 5_000) heard.push({ from, frame, envelope });
          greetBack(from, envelope);
        },
        onConnection: () => {},
        onAddresses: () => {},
        onProblem: () => {},
      },
    });
    after(() => network.stop());
    network.setMembers(
      victims.map(({ id, address }) => ({ peer: id as PeerId, addresses: [address.replace(/\/p2p\/.*$/, '')] })),
    );
    member = new BadMember(stolen, network, heard);
    for (const { id, name } of victims) await until(() => network.isConnected(id as PeerId), `a connection to ${name}`);
    await until(() => heard.length > 0, 'a frame to learn the epoch from');
    for (const { id } of victims) member.greet(id as PeerId);
    return member;
  }

  get model(): Envelope {
    return (this.heard[0] as { envelope: Envelope }).envelope;
  }

  /** A good envelope around whatever it is. */
  frame(layer: Layer, body: Uint8Array, changed: Partial<Envelope> = {}): Uint8Array {
    const { group, epoch } = this.model;
    const { incarnation } = this.stolen;
    return encodeEnvelope({
      group,
      epoch,
      incarnation,
      nonce: this.#nonce,
      turn: ++this.#turn,
      layer,
      body,
      ...changed,
    });
  }

  greet(peer: PeerId): void {
    const body = encodeSessionMessage({ type: 'greeting', asks: false, seen: [] });
    this.network.send(peer, 'session', this.frame('session', body));
  }

  send(victim: Machine, purpose: Purpose, frame: Uint8Array): void {
    this.network.send(victim.id as PeerId, purpose, frame);
  }

  say(victim: Machine, message: Message): void {
    this.send(victim, 'consensus', this.frame('consensus', encodeMessage(message)));
  }

  /** Until everything that was said before was taken in: an answer to a question comes after it. */
  async settled(victim: Machine): Promise<void> {
    const before = this.heard.length;
    await until(
      () => this.heard.slice(before).filter(({ from }) => from === victim.id).length >= 3 || !victim.isRunning,
      `${victim.name} goes on speaking`,
    );
  }
}
