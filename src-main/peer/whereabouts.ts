import type { GroupId, PeerId } from '../../shared/base/ids.ts';
import { LEVEL } from '../../shared/document/index.ts';
import { type Hello, KNOWN_MAX } from '../../shared/wire/session-messages.ts';
import type { LocalSettings } from '../group/local.ts';
import type { Network } from '../network/network.ts';
import type { GroupHost } from './group-host.ts';
import type { Log } from './log.ts';

export interface WhereaboutsInit {
  readonly self: PeerId;
  readonly hosts: ReadonlyMap<GroupId, GroupHost>;
  readonly local: LocalSettings;
  readonly network: () => Network;
  readonly log: Log;
  /** A hello was taken in: the network is to be told. */
  readonly onHeard: () => void;
}

const VERSION = '0.1.0';
/** At most so many own addresses are said in a hello. */
const OWN_ADDRESSES_MAX = 16;

/** Where the members of all groups listen: learned from them and from each other, remembered, passed on, and given to the network. */
export class Whereabouts {
  readonly #init: WhereaboutsInit;

  constructor(init: WhereaboutsInit) {
    this.#init = init;
  }

  /** Where this machine can be reached, without `/p2p/`; best first. */
  own(): readonly string[] {
    return this.#init
      .network()
      .addresses()
      .map((address) => address.replace(/\/p2p\/[^/]+$/, ''));
  }

  of(peer: PeerId): readonly string[] {
    return peer === this.#init.self ? this.own() : this.#init.local.addresses(peer);
  }

  /** Whom the network is to reach, and where: after a change of members, and after a hello. */
  tellNetwork(): void {
    const { hosts, local, network } = this.#init;
    const peers = new Set([...hosts.values()].flatMap((host) => [...host.replica.peers]));
    network().setMembers([...peers].map((peer) => ({ peer, addresses: local.addresses(peer) })));
  }

  onConnection(peer: PeerId, connected: boolean): void {
    this.#init.log('info', connected ? 'connected' : 'disconnected', { peer });
    for (const host of this.#init.hosts.values()) {
      if (!host.isPeer(peer)) continue;
      host.connection(peer, connected);
      if (connected) this.#sayHello(host, peer);
    }
  }

  /** Addresses that worked for a member, or were announced. */
  onAddresses(peer: PeerId, addresses: readonly string[]): void {
    this.#learn(peer, addresses).catch((error: unknown) => this.#notRemembered(error));
  }

  onHello(from: PeerId, hello: Hello): void {
    this.#hear(from, hello).catch((error: unknown) => this.#notRemembered(error));
  }

  /** Where `from` listens now, and where it knows others to be; what is new of its own is passed on, so that all find all. */
  async #hear(from: PeerId, hello: Hello): Promise<void> {
    const { self, local, network } = this.#init;
    await this.#learn(from, hello.addresses);
    for (const { peer, addresses } of hello.known) {
      const had = local.addresses(peer);
      const fresh = addresses.filter((address) => !had.includes(address));
      // Also of somebody whose admission has not arrived here yet.
      if (peer === self || fresh.length === 0 || network().isConnected(peer)) continue;
      await local.rememberAddresses(peer, fresh);
    }
    this.#init.onHeard();
  }

  /** Where a member listens, by its own word or because it was reached there. What is new is passed on to the others. */
  async #learn(peer: PeerId, addresses: readonly string[]): Promise<void> {
    const { hosts, local, network } = this.#init;
    const before = local.addresses(peer);
    const isNew = addresses.some((address) => !before.includes(address));
    if (addresses.length > 0) await local.rememberAddresses(peer, addresses);
    if (!isNew) return;
    for (const host of hosts.values()) {
      if (!host.isPeer(peer)) continue;
      for (const other of host.replica.peers) {
        if (other !== peer && network().isConnected(other)) this.#sayHello(host, other);
      }
    }
  }

  #sayHello(host: GroupHost, peer: PeerId): void {
    const others = host.replica.peers.filter((each) => each !== peer);
    const known = others.map((each) => ({ peer: each, addresses: this.#init.local.addresses(each) }));
    host.replica.say(peer, {
      type: 'hello',
      addresses: this.own().slice(0, OWN_ADDRESSES_MAX),
      levelMax: LEVEL,
      version: VERSION,
      known: known.filter(({ addresses }) => addresses.length > 0).slice(0, KNOWN_MAX),
    });
    host.wake();
  }

  #notRemembered(error: unknown): void {
    this.#init.log('warn', 'addresses could not be remembered', { error: String(error) });
  }
}
