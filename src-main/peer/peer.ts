import { hash } from 'node:crypto';
import { hostname } from 'node:os';
import { isAbsolute } from 'node:path';
import { FormatError } from '../../shared/base/cbor.ts';
import { installSha256 } from '../../shared/base/hash.ts';
import type { GroupId, PeerId } from '../../shared/base/ids.ts';
import { nameProblem, type TextProblem } from '../../shared/document/index.ts';
import { StoreError } from '../../shared/driver/store.ts';
import type { BackupEvent, PeerService, PeerStatus } from '../../shared/ipc/contract.ts';
import { PeerError } from '../../shared/ipc/errors.ts';
import { decodeEnvelope, type Envelope } from '../../shared/wire/envelope.ts';
import { prepareDataDir } from '../group/data-dir.ts';
import { type Identity, loadOrCreateIdentity } from '../group/identity.ts';
import { type LocalSettings, openLocal } from '../group/local.ts';
import { createVerifier } from '../group/verifier.ts';
import { createLibp2pNetwork, NetworkError } from '../network/libp2p-network.ts';
import type { Network, NetworkEvents } from '../network/network.ts';
import { JoinDoor } from './admission.ts';
import { backUp } from './backup.ts';
import { Drafts } from './drafts.ts';
import { storeFailure } from './failures.ts';
import type { GroupHost } from './group-host.ts';
import { Groups } from './groups.ts';
import { listenWhereKnown } from './listening.ts';
import type { Log } from './log.ts';
import type { Meter } from './meter.ts';
import { checkPlace, placeOf } from './place.ts';
import { isToken, newToken } from './secret.ts';
import { createService } from './service.ts';
import { peerStatus } from './status.ts';
import { Whereabouts } from './whereabouts.ts';

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

const isPort = (value: unknown): value is number =>
  Number.isInteger(value) && (value as number) > 0 && (value as number) < 65_536;

const WEB_TOKEN = 'web-token';
const WEB_PORT = 'web-port';

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
  readonly #verifier = createVerifier();
  #local!: LocalSettings;
  #identity!: Identity;
  #groups!: Groups;
  #whereabouts!: Whereabouts;
  #network: Network | null = null;
  #door: JoinDoor | null = null;
  #service!: PeerService;
  #name = '';
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
      hosts: this.#groups.hosts,
      network: this.#net,
      status: () =>
        peerStatus({
          self: this.peer,
          name: this.#name,
          hosts: this.#groups.hosts,
          broken: this.#groups.broken,
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
    await prepareDataDir(dir);
    this.#identity = await loadOrCreateIdentity(dir);
    const doubt = await checkPlace(this.#local, await placeOf(dir), this.#options.isMoved ?? false);
    if (name !== undefined) {
      const problem = nameProblem(name);
      if (problem !== null) throw unfitName(problem);
      await this.#local.setName(name);
    }
    this.#name = this.#local.name() ?? (hostname() || 'a machine');
    this.#groups = new Groups({
      dir,
      identity: this.#identity,
      local: this.#local,
      verifier: this.#verifier,
      network: () => this.#net,
      name: () => this.#name,
      staysOn: this.#options.staysOn ?? false,
      doubts: doubt === null ? [] : [{ code: 'OTHER_PLACE', message: doubt }],
      isMoved: this.#options.isMoved ?? false,
      meter: this.#options.meter ?? null,
      log: this.#log,
      onMembers: () => this.#updateMembers(),
      onHello: (from, hello) => this.#whereabouts.onHello(from, hello),
      onInvitations: () => this.#door?.tend(),
      onFatal: (error) => void this.close(storeFailure(error)),
    });
    const { hosts } = this.#groups;
    this.#whereabouts = new Whereabouts({
      self: this.peer,
      hosts,
      local: this.#local,
      network: () => this.#net,
      log: this.#log,
      onHeard: () => this.#updateMembers(),
    });
    this.#network = await listenWhereKnown(this.#options.listen ?? [], this.#local, (addresses) =>
      this.#createNetwork(addresses),
    );
    this.#door = new JoinDoor({
      hosts,
      network: () => this.#net,
      verifier: this.#verifier,
      selfName: () => this.#name,
      addressesOf: (peer) => this.#whereabouts.of(peer),
      log: this.#log,
    });
    await this.#groups.open();
    this.#service = createService({
      self: this.peer,
      name: () => this.#name,
      rename: (name) => this.#rename(name),
      hosts,
      broken: this.#groups.broken,
      network: this.#net,
      drafts: new Drafts(this.#local),
      ownAddresses: () => this.#whereabouts.own(),
      create: (title, signal) => this.#groups.create(title, signal),
      join: (ticket, timeoutMs, signal) => this.#groups.join(ticket, timeoutMs, signal),
      backup: (path, signal) => this.#backup(path, signal),
    });
    this.#door.start();
  }

  get #net(): Network {
    return this.#network as Network;
  }

  #createNetwork(listen: readonly string[]): Promise<Network> {
    const events: NetworkEvents = {
      onFrame: (from, _purpose, frame) => this.#onFrame(from, frame),
      onConnection: (peer, connected) => this.#whereabouts.onConnection(peer, connected),
      onAddresses: (peer, addresses) => this.#whereabouts.onAddresses(peer, addresses),
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
    return this.#groups.hosts.get(envelope.group)?.receive(from, envelope);
  }

  #updateMembers(): void {
    this.#whereabouts.tellNetwork();
    this.#door?.tend();
  }

  /** What this machine is called from now on, in all its groups. */
  async #rename(name: string): Promise<void> {
    const problem = nameProblem(name);
    if (problem !== null) throw unfitName(problem);
    await this.#local.setName(name);
    this.#name = name;
  }

  #backup(path: string, signal: AbortSignal): AsyncIterable<BackupEvent> {
    const hostOf = (group: GroupId): GroupHost => {
      const host = this.#groups.hosts.get(group);
      if (host === undefined) throw new StoreError('CLOSED', 'the store is closed');
      return host;
    };
    if (!isAbsolute(path)) throw new PeerError('USAGE', 'The path of a backup is absolute.');
    const [[group, failure] = []] = this.#groups.broken;
    if (failure !== undefined) throw new PeerError(failure.code, `${group} can't be backed up: ${failure.message}`);
    const source = {
      peer: this.peer,
      dir: this.#options.dir,
      local: this.#local,
      groups: [...this.#groups.hosts.keys()],
      membersOf: (of: GroupId) => hostOf(of).replica.peers,
      snapshotOf: (of: GroupId) => hostOf(of).snapshot(),
    };
    return backUp(source, path, signal);
  }

  close(error?: Error): Promise<void> {
    this.#closing ??= this.#close().finally(() => this.#resolveClosed(error));
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#door?.stop();
    await this.#groups?.close();
    await this.#network?.stop();
    await this.#local?.close();
  }
}
