import { networkInterfaces } from 'node:os';
import type { Connection, Libp2p, Stream } from '@libp2p/interface';
import type { PeerId } from '../../shared/base/ids.ts';
import type { LocalAddress } from './address-rank.ts';
import { dialableAddress, isLoopback } from './addresses.ts';
import { dialPeer } from './dial.ts';
import { Gate } from './gate.ts';
import { dialJoin, hostJoin } from './join.ts';
import { type HostTransport, startHost } from './libp2p-host.ts';
import { Link } from './link.ts';
import { PING_INTERVAL_MS } from './liveness.ts';
import {
  JoinDialError,
  type JoinStream,
  type MemberAddress,
  type Network,
  type NetworkEvents,
  type Purpose,
} from './network.ts';
import { DATA_PROTOCOLS, JOIN_PROTOCOL, PULSE_PROTOCOL } from './protocols.ts';
import { checkFrameSize, PURPOSES } from './send-queue.ts';

export { NetworkError } from './libp2p-host.ts';

/** A tick this late means that the process or the machine slept. Milliseconds. */
const STOOD_STILL_MS = 2_500;
/** For what is queued to leave when the peer stops. Milliseconds. */
const FLUSH_MS = 1_000;
/** A connection of a member that is used for nothing by then is closed. Milliseconds. */
const IDLE_MS = 15_000;
/** Strangers are reported this often at most. Milliseconds. */
const STRANGER_REPORT_MS = 1_000;

export interface Libp2pNetworkInit {
  /** Ed25519 seed, 32 bytes; its public key is the peer id. */
  readonly privateKeySeed: Uint8Array;
  /** Multiaddrs; port 0 for any. */
  readonly listen: readonly string[];
  readonly mdns: boolean;
  readonly events: NetworkEvents;
  readonly log?: (level: 'debug' | 'info' | 'warn' | 'error', message: string, detail?: unknown) => void;
}

/** @throws NetworkError where an address can't be listened on. */
export async function createLibp2pNetwork(init: Libp2pNetworkInit): Promise<Network> {
  const network = new Libp2pNetwork(init);
  await network.start(init);
  return network;
}

class Libp2pNetwork implements Network {
  readonly #events: NetworkEvents;
  readonly #log: NonNullable<Libp2pNetworkInit['log']>;
  readonly #links = new Map<PeerId, Link>();
  readonly #joinTargets = new Map<PeerId, number>();
  readonly #gate: Gate;
  #node!: Libp2p;
  #transport!: HostTransport;
  #self!: PeerId;
  #onJoin: ((stream: JoinStream) => Promise<void>) | null = null;
  #timer: NodeJS.Timeout | null = null;
  #tickMs = 0;
  #strangerReportMs = Number.NEGATIVE_INFINITY;
  #interfaces = '';
  #stopped: Promise<void> | null = null;

  constructor(init: Libp2pNetworkInit) {
    this.#events = init.events;
    this.#log = init.log ?? (() => {});
    this.#gate = new Gate({
      isMember: (peer) => this.#links.has(peer),
      isShunned: (peer) => this.#links.get(peer)?.isShunned ?? false,
      isDoorOpen: () => this.#onJoin !== null,
      isJoinTarget: (peer) => this.#joinTargets.has(peer),
      onStranger: (peer, message) => this.#onStranger(peer, message),
    });
  }

  async start(init: Libp2pNetworkInit): Promise<void> {
    const host = await startHost({
      privateKeySeed: init.privateKeySeed,
      listen: init.listen,
      gater: this.#gate.gater(),
      onSeen: init.mdns ? (peer, addresses) => this.#onSeen(peer, addresses) : null,
    });
    this.#node = host.node;
    this.#transport = host.transport;
    this.#self = host.node.peerId.toString() as PeerId;
    await this.#handle(PULSE_PROTOCOL, (link, stream, connection) => link.onPulse(connection, stream));
    for (const purpose of PURPOSES) {
      await this.#handle(DATA_PROTOCOLS[purpose], (link, stream, connection) =>
        link.onData(connection, purpose, stream),
      );
    }
    await this.#node.handle(JOIN_PROTOCOL, (stream, connection) => this.#onJoinStream(stream, connection), {
      maxInboundStreams: 1,
    });
    this.#node.addEventListener('connection:open', ({ detail }) => this.#closeWhenIdle(detail));
    this.#tickMs = this.#now();
    this.#interfaces = JSON.stringify(localAddresses());
    this.#timer = setInterval(() => this.#tick(), PING_INTERVAL_MS);
    this.#timer.unref();
    this.#log('info', 'listening', this.addresses());
  }

  get self(): PeerId {
    return this.#self;
  }

  addresses(): readonly string[] {
    return this.#transport.getAddrs().map((address) => `${address}/p2p/${this.#self}`);
  }

  setMembers(members: readonly MemberAddress[]): void {
    if (this.#stopped !== null) return;
    const wanted = new Map(members.filter(({ peer }) => peer !== this.#self).map((member) => [member.peer, member]));
    // Members first, events after: whoever is told that a peer went already finds the new set in force.
    const gone = [...this.#links.values()].filter(({ peer }) => !wanted.has(peer));
    for (const { peer } of gone) this.#links.delete(peer);
    for (const { peer } of wanted.values()) if (!this.#links.has(peer)) this.#links.set(peer, this.#newLink(peer));
    for (const link of gone) void link.stop('cut');
    for (const { peer, addresses } of wanted.values()) this.#links.get(peer)?.addAddresses(addresses);
  }

  setJoinDoor(onJoin: ((stream: JoinStream) => Promise<void>) | null): void {
    this.#onJoin = onJoin;
    if (onJoin === null) this.#gate.dismissStrangers();
  }

  async dialJoin(peer: PeerId, addresses: readonly string[], signal: AbortSignal): Promise<JoinStream> {
    if (this.#stopped !== null) throw new JoinDialError('ABORTED', 'The network has stopped.');
    this.#joinTargets.set(peer, (this.#joinTargets.get(peer) ?? 0) + 1);
    try {
      return await dialJoin(this.#transport, peer, addresses, signal);
    } finally {
      const left = (this.#joinTargets.get(peer) ?? 1) - 1;
      if (left === 0) this.#joinTargets.delete(peer);
      else this.#joinTargets.set(peer, left);
    }
  }

  isConnected(peer: PeerId): boolean {
    return this.#links.get(peer)?.channel != null;
  }

  rttMs(peer: PeerId): number | null {
    return this.#links.get(peer)?.channel?.rttMs ?? null;
  }

  lastSeenMs(peer: PeerId): number | null {
    return this.#links.get(peer)?.lastSeenMs ?? null;
  }

  send(to: PeerId, purpose: Purpose, frame: Uint8Array): boolean {
    checkFrameSize(frame);
    return this.#links.get(to)?.channel?.send(purpose, frame) ?? false;
  }

  flush(): void {
    for (const link of this.#links.values()) link.channel?.flush();
  }

  queuedBytes(to: PeerId, purpose: Purpose): number {
    return this.#links.get(to)?.channel?.queuedBytes(purpose) ?? 0;
  }

  whenBelow(to: PeerId, purpose: Purpose, bytes: number): Promise<boolean> {
    return this.#links.get(to)?.channel?.whenBelow(purpose, bytes) ?? Promise.resolve(false);
  }

  wake(): void {
    for (const link of this.#links.values()) {
      link.forgive();
      link.tick();
      link.hurry();
    }
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#onJoin = null;
    await this.#flush();
    const links = [...this.#links.values()];
    this.#links.clear();
    await Promise.all(links.map((link) => link.stop('closed')));
    await this.#node.stop();
  }

  /** What was sent last (a handover) still leaves. */
  async #flush(): Promise<void> {
    const waits = [...this.#links.values()].flatMap(({ channel }) =>
      channel === null ? [] : PURPOSES.map((purpose) => channel.whenBelow(purpose, 1)),
    );
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, FLUSH_MS);
    });
    await Promise.race([Promise.all(waits), limit]);
    clearTimeout(timer);
  }

  #newLink(peer: PeerId): Link {
    return new Link({
      self: this.#self,
      peer,
      events: this.#events,
      dial: (addresses, signal) => dialPeer(this.#transport, peer, addresses, signal),
      announce: (connection) => this.#announce(connection),
      localAddresses,
      now: () => this.#now(),
      random: Math.random,
      log: (message) => this.#log('debug', message, peer),
    });
  }

  #announce(connection: Connection): readonly string[] {
    const near = isLoopback(connection.remoteAddr.toString());
    return this.addresses()
      .flatMap((address) => dialableAddress(address) ?? [])
      .filter((address) => near || !isLoopback(address));
  }

  #now(): number {
    return performance.now();
  }

  /** Streams of one protocol, of members alone. */
  async #handle(protocol: string, then: (link: Link, stream: Stream, connection: Connection) => void): Promise<void> {
    await this.#node.handle(
      protocol,
      (stream, connection) => {
        const link = this.#links.get(connection.remotePeer.toString() as PeerId);
        if (link) then(link, stream, connection);
        else stream.abort(new Error('members only'));
      },
      { maxInboundStreams: 1, maxOutboundStreams: 1 },
    );
  }

  #onJoinStream(stream: Stream, connection: Connection): void {
    if (this.#onJoin === null) {
      stream.abort(new Error('nobody is let in now'));
      return;
    }
    hostJoin(connection, stream, this.#onJoin).catch((error: Error) => {
      this.#log('debug', 'a join conversation broke', error.message);
    });
  }

  #onSeen(peer: PeerId, addresses: readonly string[]): void {
    const link = this.#links.get(peer);
    if (!link) return;
    const fresh = link.addAddresses(addresses.filter((address) => !isLoopback(address)));
    if (fresh.length > 0) this.#events.onAddresses(peer, fresh);
    link.nudge();
  }

  #onStranger(peer: PeerId, message: string): void {
    const now = this.#now();
    if (now - this.#strangerReportMs < STRANGER_REPORT_MS) return;
    this.#strangerReportMs = now;
    this.#events.onProblem({ code: 'STRANGER', peer, message });
  }

  /** Members' connections carry streams soon or are of no use; those of strangers end by the gate's clock. */
  #closeWhenIdle(connection: Connection): void {
    const timer = setTimeout(() => {
      if (connection.streams.length === 0) connection.abort(new Error('nothing was asked of this connection'));
    }, IDLE_MS);
    timer.unref();
    connection.addEventListener('close', () => clearTimeout(timer));
  }

  #tick(): void {
    const now = this.#now();
    const late = now - this.#tickMs - PING_INTERVAL_MS > STOOD_STILL_MS;
    this.#tickMs = now;
    if (late) this.wake();
    else for (const link of this.#links.values()) link.tick();
    const interfaces = JSON.stringify(localAddresses());
    if (interfaces === this.#interfaces) return;
    this.#interfaces = interfaces;
    for (const link of this.#links.values()) link.hurry();
  }
}

function localAddresses(): LocalAddress[] {
  return Object.entries(networkInterfaces()).flatMap(([name, addresses]) =>
    (addresses ?? []).map(({ address, cidr }) => ({ name, address, prefix: Number(cidr?.split('/')[1] ?? 128) })),
  );
}
