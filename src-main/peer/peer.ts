import { hash, randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { isAbsolute } from 'node:path';
import { FormatError } from '../../shared/base/cbor.ts';
import { installSha256 } from '../../shared/base/hash.ts';
import {
  type GroupId,
  groupIdOf,
  type Incarnation,
  incarnationFromBytes,
  type PeerId,
  parsePeerId,
  slot as slotOf,
} from '../../shared/base/ids.ts';
import { ALPHA } from '../../shared/consensus/constants.ts';
import {
  type Body,
  encodeGenesis,
  LEVEL,
  nameProblem,
  type TextProblem,
  TITLE_MAX_BYTES,
} from '../../shared/document/index.ts';
import type { Problem } from '../../shared/driver/journal-format.ts';
import { StoreError } from '../../shared/driver/store.ts';
import type { BackupEvent, GroupName, JoinEvent, PeerService, PeerStatus } from '../../shared/ipc/contract.ts';
import { PeerError } from '../../shared/ipc/errors.ts';
import { decodeEnvelope, type Envelope } from '../../shared/wire/envelope.ts';
import { type Hello, KNOWN_MAX } from '../../shared/wire/session-messages.ts';
import { dataDir, listGroups, prepareDataDir } from '../group/data-dir.ts';
import { loadOrCreateIdentity } from '../group/identity.ts';
import type { JoinHost } from '../group/join-host.ts';
import { signerFromSeed } from '../group/keys.ts';
import { openLocal } from '../group/local.ts';
import { createVerifier } from '../group/verifier.ts';
import { DEFAULT_PORT } from '../network/addresses.ts';
import { createLibp2pNetwork, NetworkError } from '../network/libp2p-network.ts';
import type { Network, NetworkEvents } from '../network/network.ts';
import { createAdmission } from './admission.ts';
import { backUp, metKey } from './backup.ts';
import { Drafts } from './drafts.ts';
import { storeFailure } from './failures.ts';
import { GroupHost, type Log } from './group-host.ts';
import { join, ticketOf } from './joining.ts';
import type { Meter } from './meter.ts';
import { checkPlace, placeOf } from './place.ts';
import { finishSwaps } from './recovery-aside.ts';
import { isToken, newToken } from './secret.ts';
import { createService } from './service.ts';
import { peerStatus, roleOf } from './status.ts';
import { command, said } from './writing.ts';

export interface PeerOptions {
  /** The data directory; made where it is missing. */
  readonly dir: string;
  /** How this machine calls itself from now on; else as before, else the host's name. */
  readonly name?: string;
  /** Multiaddrs to listen on. Without, the default port on all interfaces, or another one where that is taken. */
  readonly listen?: readonly string[];
  /** Look for members by mDNS too. On unless said otherwise. */
  readonly mdns?: boolean;
  readonly log?: Log;
  /** A machine that is meant to stay on. */
  readonly staysOn?: boolean;
  /** Told of what passes, for metrics. */
  readonly meter?: Meter;
  /** A person says that the directory was moved, or that this copy of it is the one to keep: no other one runs. */
  readonly isMoved?: boolean;
}

export interface Peer {
  readonly peer: PeerId;
  readonly service: PeerService;
  /** Multiaddrs that this peer listens on, with `/p2p/`. */
  addresses(): readonly string[];
  /** By what an open page finds back after a restart: the secret, made at the first call, and the port that was last kept, if any. */
  webPlace(): Promise<WebPlace>;
  keepWebPort(port: number): Promise<void>;
  /** How things stand inside, for health checks and metrics; it stays good as groups come. */
  view(): PeerView;
  /** The machine woke up or changed networks: looks for everybody at once. */
  wake(): void;
  /** Hands leadership over, finishes what is under way, lets go of everything. Safe to call twice. */
  close(): Promise<void>;
  /** Resolves once the peer has ended: with the error that ended it, or undefined after `close`. */
  readonly closed: Promise<Error | undefined>;
}

/** To be looked at only: everything in it is the running peer's own. */
export interface PeerView {
  readonly hosts: ReadonlyMap<GroupId, GroupHost>;
  readonly network: Network;
  status(): PeerStatus;
}

/** Where this installation's window is served to browsers. */
export interface WebPlace {
  readonly token: string;
  readonly port: number | null;
}

const VERSION = '0.1.0';
const ANY_PORT = /\/tcp\/0$/;
const isPort = (value: unknown): value is number =>
  Number.isInteger(value) && (value as number) > 0 && (value as number) < 65_536;
const listenKey = (address: string): string => `listen${address}`;

const WEB_TOKEN = 'web-token';
const WEB_PORT = 'web-port';

/** Whether the door for joiners should be open is looked at this often, and at every change. Milliseconds. */
const DOOR_MS = 500;

/**
 * Runs a peer: identity, network and one host per group, in this process. No signal handlers, no exit, nothing on the console.
 * @throws PeerError, SetupError, NetworkError
 */
export async function openPeer(options: PeerOptions): Promise<Peer> {
  installSha256((bytes) => new Uint8Array(hash('sha256', bytes, 'buffer')));
  const peer = new RunningPeer(options);
  try {
    await peer.open();
  } catch (error) {
    await peer.close().catch(() => undefined);
    throw namedFailure(error);
  }
  return peer;
}

async function* joinedBefore(host: GroupHost, self: PeerId): AsyncGenerator<JoinEvent> {
  yield joinedEvent(host, self);
}

function joinedEvent(host: GroupHost, self: PeerId): JoinEvent {
  return { kind: 'joined', group: host.group, title: host.replica.reader.title() ?? '', role: roleOf(host, self) };
}

const unfitName = (problem: TextProblem): PeerError =>
  new PeerError(problem, 'A machine needs a name of at most 200 bytes without control characters.');

function namedFailure(error: unknown): unknown {
  if (error instanceof StoreError) return storeFailure(error);
  if (!(error instanceof NetworkError)) return error;
  return new PeerError(error.code === 'PORT_IN_USE' ? 'PORT_IN_USE' : 'BAD_ADDRESS', error.message, { cause: error });
}

class RunningPeer implements Peer {
  readonly #options: PeerOptions;
  readonly #log: Log;
  readonly #hosts = new Map<GroupId, GroupHost>();
  /** Groups whose store can't be opened, and why. */
  readonly #broken = new Map<GroupId, PeerError>();
  readonly #verifier = createVerifier();
  #local!: Awaited<ReturnType<typeof openLocal>>;
  #identity!: Awaited<ReturnType<typeof loadOrCreateIdentity>>;
  #network: Network | null = null;
  #admission: JoinHost | null = null;
  #service!: PeerService;
  #name = '';
  /** What speaks against this directory being the only one of its kind. */
  #doubts: readonly Problem[] = [];
  #doorTimer: NodeJS.Timeout | null = null;
  #isDoorOpen = false;
  #closing: Promise<void> | null = null;
  #resolveClosed: (error: Error | undefined) => void = () => {};
  readonly closed: Promise<Error | undefined>;

  constructor(options: PeerOptions) {
    this.#options = options;
    this.#log = options.log ?? ((): void => {});
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
  }

  get peer(): PeerId {
    return this.#identity.peer;
  }
  get service(): PeerService {
    return this.#service;
  }

  addresses(): readonly string[] {
    return this.#network?.addresses() ?? [];
  }

  async webPlace(): Promise<WebPlace> {
    const [known, port] = [this.#local.get(WEB_TOKEN), this.#local.get(WEB_PORT)];
    const token = isToken(known) ? known : newToken();
    if (token !== known) await this.#local.set(WEB_TOKEN, token);
    return { token, port: isPort(port) ? port : null };
  }

  async keepWebPort(port: number): Promise<void> {
    if (this.#local.get(WEB_PORT) !== port) await this.#local.set(WEB_PORT, port);
  }

  view(): PeerView {
    return {
      hosts: this.#hosts,
      network: this.#net,
      status: () =>
        peerStatus({
          self: this.peer,
          name: this.#name,
          hosts: this.#hosts,
          broken: this.#broken,
          network: this.#net,
        }),
    };
  }

  wake(): void {
    this.#network?.wake();
  }

  async open(): Promise<void> {
    const { dir, name } = this.#options;
    this.#local = await openLocal(dir);
    const place = await prepareDataDir(dir);
    this.#identity = await loadOrCreateIdentity(dir);
    const doubt = await checkPlace(this.#local, await placeOf(dir), this.#options.isMoved ?? false);
    this.#doubts = doubt === null ? [] : [{ code: 'OTHER_PLACE', message: doubt }];
    if (name !== undefined) {
      const problem = nameProblem(name);
      if (problem !== null) throw unfitName(problem);
      await this.#local.setName(name);
    }
    this.#name = this.#local.name() ?? (hostname() || 'a machine');
    this.#network = await this.#listen();
    this.#admission = createAdmission({
      host: (group) => this.#hosts.get(group),
      network: () => this.#net,
      verifier: this.#verifier,
      selfName: () => this.#name,
      addressesOf: (peer) => (peer === this.peer ? this.#ownAddresses() : this.#local.addresses(peer)),
      log: this.#log,
    });
    await finishSwaps(place.groups);
    for (const group of await listGroups(place)) await this.#openKnownGroup(group);
    // With nothing else to serve, somebody has to update; with other groups, those are served meanwhile.
    const broken = [...this.#broken.values()];
    if (this.#hosts.size === 0 && broken.every(({ code }) => code === 'NEWER_FORMAT')) {
      for (const failure of broken) throw failure;
    }
    this.#service = createService({
      self: this.peer,
      name: () => this.#name,
      rename: (name) => this.#rename(name),
      hosts: this.#hosts,
      broken: this.#broken,
      network: this.#net,
      drafts: new Drafts(this.#local),
      ownAddresses: () => this.#ownAddresses(),
      create: (title, signal) => this.#create(title, signal),
      join: (ticket, timeoutMs, signal) => this.#join(ticket, timeoutMs, signal),
      backup: (path, signal) => this.#backup(path, signal),
    });
    this.#doorTimer = setInterval(() => this.#tendDoor(), DOOR_MS);
  }

  get #net(): Network {
    return this.#network as Network;
  }

  // --- network

  async #listen(): Promise<Network> {
    const { listen } = this.#options;
    if (listen !== undefined && listen.length > 0) return this.#listenAt(listen);
    const everywhere = (port: number): string[] => [`/ip4/0.0.0.0/tcp/${port}`, `/ip6/::/tcp/${port}`];
    // A machine without IPv6 listens on IPv4 alone.
    const ip4 = (port: number): string[] => everywhere(port).slice(0, 1);
    const remembered = this.#local.listenPort();
    for (const port of [DEFAULT_PORT, ...(remembered === null ? [] : [remembered]), 0]) {
      for (const addresses of [everywhere(port), ip4(port)]) {
        try {
          const network = await this.#createNetwork(addresses);
          const got = /\/tcp\/(\d+)/.exec(network.addresses()[0] ?? '')?.[1];
          await this.#local.setListenPort(port === DEFAULT_PORT || got === undefined ? null : Number(got));
          return network;
        } catch (error) {
          if (!(error instanceof NetworkError)) throw error;
          if (error.code === 'PORT_IN_USE') break;
        }
      }
    }
    throw new PeerError('PORT_IN_USE', 'No port to listen on could be had. Name one with --listen.');
  }

  /** Where any port will do, the last one is tried first: the others remember it. */
  async #listenAt(listen: readonly string[]): Promise<Network> {
    const remembered = listen.map((address) => this.#local.get(listenKey(address)));
    const again = listen.map((address, i) =>
      ANY_PORT.test(address) && typeof remembered[i] === 'number'
        ? address.replace(ANY_PORT, `/tcp/${remembered[i]}`)
        : address,
    );
    const network = await this.#createNetwork(again).catch((error: unknown) => {
      if (!(error instanceof NetworkError) || again.every((address, i) => address === listen[i])) throw error;
      return this.#createNetwork(listen);
    });
    for (const address of listen) {
      const prefix = address.replace(ANY_PORT, '/tcp/');
      const got = network.addresses().find((each) => each.startsWith(prefix));
      const port = ANY_PORT.test(address) ? Number(/\/tcp\/(\d+)/.exec(got ?? '')?.[1]) : Number.NaN;
      if (port > 0) await this.#local.set(listenKey(address), port);
    }
    return network;
  }

  #createNetwork(listen: readonly string[]): Promise<Network> {
    const events: NetworkEvents = {
      onFrame: (from, _purpose, frame) => this.#onFrame(from, frame),
      onConnection: (peer, connected) => this.#onConnection(peer, connected),
      onAddresses: (peer, addresses) => this.#onAddresses(peer, addresses),
      onProblem: ({ code, peer, message }) => this.#log('warn', message, { code, peer }),
    };
    return createLibp2pNetwork({
      privateKeySeed: this.#identity.seed,
      listen,
      mdns: this.#options.mdns ?? true,
      events,
      log: (level, message, detail) => this.#log(level, message, detail === undefined ? undefined : { detail }),
    });
  }

  #onFrame(from: PeerId, frame: Uint8Array): void | Promise<void> {
    let envelope: Envelope;
    try {
      envelope = decodeEnvelope(frame);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      return this.#log('warn', 'a frame could not be read and was dropped; does the other side run the same version?', {
        from,
        error: error.message,
      });
    }
    return this.#hosts.get(envelope.group)?.receive(from, envelope);
  }

  #onConnection(peer: PeerId, connected: boolean): void {
    this.#log('info', connected ? 'connected' : 'disconnected', { peer });
    for (const host of this.#hosts.values()) {
      if (!host.isPeer(peer)) continue;
      host.connection(peer, connected);
      if (connected) this.#sayHello(host, peer);
    }
  }

  #sayHello(host: GroupHost, peer: PeerId): void {
    const others = host.replica.peers.filter((each) => each !== peer);
    const known = others.map((each) => ({ peer: each, addresses: this.#local.addresses(each) }));
    host.replica.say(peer, {
      type: 'hello',
      addresses: this.#ownAddresses().slice(0, 16),
      levelMax: LEVEL,
      version: VERSION,
      known: known.filter(({ addresses }) => addresses.length > 0).slice(0, KNOWN_MAX),
    });
    host.wake();
  }

  /** Where `from` listens now, and where it knows others to be; what is new of its own is passed on, so that all find all. */
  async #onHello(from: PeerId, hello: Hello): Promise<void> {
    await this.#learn(from, hello.addresses);
    for (const { peer, addresses } of hello.known) {
      const had = this.#local.addresses(peer);
      const fresh = addresses.filter((address) => !had.includes(address));
      // Also of somebody whose admission has not arrived here yet.
      if (peer === this.peer || fresh.length === 0 || this.#net.isConnected(peer)) continue;
      await this.#local.rememberAddresses(peer, fresh);
    }
    this.#updateMembers();
  }

  #onAddresses(peer: PeerId, addresses: readonly string[]): void {
    this.#learn(peer, addresses).catch((error: unknown) =>
      this.#log('warn', 'addresses could not be remembered', { error: String(error) }),
    );
  }

  /** Where a member listens, by its own word or because it was reached there. What is new is passed on to the others. */
  async #learn(peer: PeerId, addresses: readonly string[]): Promise<void> {
    const before = this.#local.addresses(peer);
    const isNew = addresses.some((address) => !before.includes(address));
    if (addresses.length > 0) await this.#local.rememberAddresses(peer, addresses);
    if (!isNew) return;
    for (const host of this.#hosts.values()) {
      if (!host.isPeer(peer)) continue;
      for (const other of host.replica.peers) {
        if (other !== peer && this.#net.isConnected(other)) this.#sayHello(host, other);
      }
    }
  }

  #ownAddresses(): readonly string[] {
    return this.#net.addresses().map((address) => address.replace(/\/p2p\/[^/]+$/, ''));
  }

  #updateMembers(): void {
    if (this.#network === null) return;
    const peers = new Set([...this.#hosts.values()].flatMap((host) => [...host.replica.peers]));
    this.#network.setMembers([...peers].map((peer) => ({ peer, addresses: this.#local.addresses(peer) })));
    this.#tendDoor();
  }

  /** Strangers may knock only while an invitation is open here or somebody is being let in. */
  #tendDoor(): void {
    const admission = this.#admission;
    if (admission === null || this.#network === null) return;
    const wanted =
      admission.wantsDoor() ||
      [...this.#hosts.values()].some(
        ({ replica, isOpen }) =>
          isOpen &&
          replica.reader.member(replica.self)?.rights === 'keeper' &&
          replica.reader.invitations().some(({ expiresMs }) => expiresMs === null || expiresMs > Date.now()),
      );
    if (wanted === this.#isDoorOpen) return;
    this.#isDoorOpen = wanted;
    this.#network.setJoinDoor(wanted ? admission.onJoin : null);
  }

  // --- groups

  /** One group that can't be opened is no reason to keep the others waiting; the disk itself, or a newer version's only group, is. */
  async #openKnownGroup(group: GroupId): Promise<void> {
    try {
      await this.#openGroup(group);
    } catch (error) {
      const isOne = error instanceof StoreError && (error.code === 'CORRUPT' || error.code === 'NEWER_FORMAT');
      if (!isOne) throw error;
      const failure = storeFailure(error);
      this.#log('error', `a group can't be opened: ${failure.message}`, { group });
      this.#broken.set(group, failure);
    }
  }

  async #openGroup(group: GroupId): Promise<GroupHost> {
    const host = await GroupHost.open({
      dir: dataDir(this.#options.dir).group(group),
      self: this.peer,
      signer: this.#identity.signer,
      verifier: this.#verifier,
      network: () => this.#net,
      staysOn: this.#options.staysOn ?? false,
      doubts: this.#doubts,
      isSettled: this.#options.isMoved ?? false,
      log: (level, message, detail) => this.#log(level, message, { group, ...detail }),
      meter: this.#options.meter?.of(group) ?? null,
      events: {
        onPeers: () => this.#updateMembers(),
        onHello: (from, hello) => {
          this.#onHello(from, hello).catch((error: unknown) =>
            this.#log('warn', 'addresses could not be remembered', { error: String(error) }),
          );
        },
      },
      onFatal: (error) => void this.#end(storeFailure(error)),
    });
    this.#hosts.set(host.group, host);
    host.watch((changes) => {
      if (changes.some((c) => c.type === 'invitation' || c.type === 'member')) this.#tendDoor();
      if (changes.some((c) => c.type === 'member')) this.#rememberMembers(host);
    });
    const met = this.#local.get(metKey(host.group));
    if (Array.isArray(met) && Array.isArray(met[1])) {
      const [at, peers] = met as [number, readonly string[]];
      host.meet(
        peers.map((peer) => parsePeerId(String(peer))),
        slotOf(Number(at)),
      );
    }
    this.#rememberMembers(host);
    this.#updateMembers();
    this.#introduce(host);
    return host;
  }

  /** Should this store lose its log, it still knows whom to fetch it from, and who may come in. */
  #rememberMembers({ group, replica }: GroupHost): void {
    if (!replica.isSound || replica.reader.member(replica.self)?.expelledSlot !== null) return;
    const others = replica.reader.members().filter(({ peer }) => peer !== replica.self);
    const known = [replica.applied, others.map(({ peer }) => peer)];
    const before = this.#local.get(metKey(group));
    if (Array.isArray(before) && String(before[1]) === String(known[1])) return;
    this.#local.set(metKey(group), known).catch((error: unknown) => {
      this.#log('warn', 'the members could not be remembered', { group, error: String(error) });
    });
  }

  /** The group learns what this machine is called now, and that it is here. */
  #introduce(host: GroupHost): void {
    const { replica } = host;
    const member = replica.reader.member(replica.self);
    if (!replica.isSound || member?.expelledSlot !== null) return;
    const tell = (body: Body): void => void replica.write(body, said(host, undefined), {}, { quiet: true });
    if (member.name !== this.#name) tell({ kind: 'profile', name: this.#name });
    // Whoever starts this machine is back.
    if (member.away !== null) tell({ kind: 'away', isAway: false, untilMs: null });
    host.wake();
  }

  /** What this machine is called from now on, in all its groups. */
  async #rename(name: string): Promise<void> {
    const problem = nameProblem(name);
    if (problem !== null) throw unfitName(problem);
    await this.#local.setName(name);
    this.#name = name;
  }

  async #create(title: string, signal: AbortSignal): Promise<GroupName> {
    const problem = nameProblem(title, TITLE_MAX_BYTES);
    if (problem !== null)
      throw new PeerError(problem, 'A log needs a title of at most 500 bytes without control characters.');
    const incarnation = incarnationFromBytes(new Uint8Array(randomBytes(16)));
    const genesis = encodeGenesis({
      alpha: ALPHA,
      level: LEVEL,
      founder: this.peer,
      incarnation,
      nonce: new Uint8Array(randomBytes(16)),
      timeMs: Date.now(),
    });
    const host = await this.#newGroup(genesis, incarnation);
    await command(host, this.#net, { kind: 'rename', title }, 10_000, signal);
    return { group: host.group, title };
  }

  async #newGroup(genesis: Uint8Array, incarnation: Incarnation): Promise<GroupHost> {
    const group = groupIdOf(genesis);
    try {
      await GroupHost.create(dataDir(this.#options.dir).group(group), genesis, incarnation);
      return await this.#openGroup(group);
    } catch (error) {
      throw error instanceof StoreError ? storeFailure(error) : error;
    }
  }

  #join(text: string, timeoutMs: number, signal: AbortSignal): AsyncIterable<JoinEvent> {
    const ticket = ticketOf(text);
    const host = this.#hosts.get(ticket.group);
    const usedHere = (of: GroupHost): boolean =>
      of.replica.reader.invitation(signerFromSeed(ticket.seed).publicKey)?.usedBy === this.peer;
    if (host && host.replica.reader.member(this.peer)?.expelledSlot === null) {
      // The same joiner's repeat is harmless: an interrupted join can be asked for again.
      if (usedHere(host)) return joinedBefore(host, this.peer);
      throw new PeerError('ALREADY_MEMBER', `This machine is in ${ticket.title || 'that group'} already.`);
    }
    return join(text, timeoutMs, signal, {
      network: this.#net,
      local: this.#local,
      name: this.#name,
      incarnation: host?.replica.incarnation ?? null,
      isIn: () => {
        const now = this.#hosts.get(ticket.group);
        if (!now?.isOpen || now.replica.reader.member(this.peer)?.expelledSlot !== null) return null;
        return usedHere(now) ? joinedEvent(now, this.peer) : null;
      },
      admit: async (joined, incarnation) => {
        for (const { peer, addresses } of joined.members) await this.#local.rememberAddresses(peer, addresses);
        // Until the log itself is here, those who were named are whom it comes from.
        const met = joined.members.map((m) => m.peer).filter((peer) => peer !== this.peer);
        await this.#local.set(metKey(joined.group), [0, met]);
        const known = this.#hosts.get(joined.group);
        if (known === undefined) await this.#newGroup(joined.genesis, incarnation);
        else {
          known.meet(met, slotOf(0));
          known.wake();
        }
      },
    });
  }

  #backup(path: string, signal: AbortSignal): AsyncIterable<BackupEvent> {
    const hostOf = (group: GroupId): GroupHost => {
      const host = this.#hosts.get(group);
      if (host === undefined) throw new StoreError('CLOSED', 'the store is closed');
      return host;
    };
    if (!isAbsolute(path)) throw new PeerError('USAGE', 'The path of a backup is absolute.');
    const [[group, failure] = []] = this.#broken;
    if (failure !== undefined) throw new PeerError(failure.code, `${group} can't be backed up: ${failure.message}`);
    const source = {
      peer: this.peer,
      dir: this.#options.dir,
      local: this.#local,
      groups: [...this.#hosts.keys()],
      membersOf: (of: GroupId) => hostOf(of).replica.peers,
      snapshotOf: (of: GroupId) => hostOf(of).snapshot(),
    };
    return backUp(source, path, signal);
  }

  // --- the end

  async #end(error: Error | undefined): Promise<void> {
    await this.close(error);
  }

  close(error?: Error): Promise<void> {
    this.#closing ??= this.#close().finally(() => this.#resolveClosed(error));
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#doorTimer !== null) clearInterval(this.#doorTimer);
    this.#admission?.stop();
    await Promise.allSettled([...this.#hosts.values()].map((host) => host.close()));
    await this.#network?.stop();
    await this.#local?.close();
  }
}
