import type { PeerId } from '../../shared/base/ids.ts';
import { dialableAddress, parseAddress } from './addresses.ts';
import { STRANGER_MS, STRANGERS_MAX } from './gate.ts';
import { joinPair } from './memory-join.ts';
import { MemoryPipe } from './memory-pipe.ts';
import {
  JoinDialError,
  type JoinStream,
  type MemberAddress,
  type Network,
  type NetworkEvents,
  type Purpose,
} from './network.ts';
import { checkFrameSize } from './send-queue.ts';

const FIRST_PORT = 20_001;
/** Turns of the loop that a stopping network waits for its queues. */
const FLUSH_TURNS_MAX = 1_000;
// Taken when the module loads: tests that put a false clock in its place still get their frames.
const soon = setImmediate;

/** Connects memory networks with each other: the place of the wires, with scissors. */
export class MemoryHub {
  readonly #networks = new Map<string, MemoryNetwork>();
  readonly #cuts = new Set<string>();
  #nextPort = FIRST_PORT;
  #settling = false;

  /** A network that listens on an address of its own, a new one each time. */
  create(self: PeerId, events: NetworkEvents): Network {
    const address = `/ip4/127.0.0.1/tcp/${this.#nextPort++}`;
    const network = new MemoryNetwork(self, address, events, this);
    this.#networks.set(address, network);
    return network;
  }

  /** No frame passes between the two until healed; both lose the connection now. */
  cut(a: PeerId, b: PeerId): void {
    this.#cuts.add(pairKey(a, b));
    this.settleSoon();
  }

  /** Only peers of one group reach each other; peers in no group reach nobody. */
  partition(...groups: readonly (readonly PeerId[])[]): void {
    this.#cuts.clear();
    const peers = [...new Set([...this.#networks.values()].map(({ self }) => self))];
    for (const a of peers) {
      for (const b of peers) {
        const together = groups.some((group) => group.includes(a) && group.includes(b));
        if (a !== b && !together) this.#cuts.add(pairKey(a, b));
      }
    }
    this.settleSoon();
  }

  heal(a?: PeerId, b?: PeerId): void {
    if (a === undefined || b === undefined) this.#cuts.clear();
    else this.#cuts.delete(pairKey(a, b));
    this.settleSoon();
  }

  /** For the networks. */
  at(address: string): MemoryNetwork | undefined {
    return this.#networks.get(address);
  }

  /** For the networks. */
  isCut(a: PeerId, b: PeerId): boolean {
    return this.#cuts.has(pairKey(a, b));
  }

  /** For the networks. */
  remove(address: string): void {
    this.#networks.delete(address);
  }

  /** For the networks: what changed takes effect in the next turn of the loop, as it would on a wire. */
  settleSoon(): void {
    if (this.#settling) return;
    this.#settling = true;
    soon(() => {
      this.#settling = false;
      for (const network of [...this.#networks.values()]) network.settle();
    });
  }
}

const pairKey = (a: PeerId, b: PeerId): string => (a < b ? `${a} ${b}` : `${b} ${a}`);

/** The network interface without a network. Make it with MemoryHub.create. */
class MemoryNetwork implements Network {
  readonly self: PeerId;
  readonly #address: string;
  readonly #events: NetworkEvents;
  readonly #hub: MemoryHub;
  #members = new Map<PeerId, Set<string>>();
  readonly #pipes = new Map<PeerId, MemoryPipe>();
  readonly #lastSeen = new Map<PeerId, number>();
  readonly #complained = new Set<PeerId>();
  #onJoin: ((stream: JoinStream) => Promise<void>) | null = null;
  readonly #joins = new Map<JoinStream, () => void>();
  #stopped = false;

  constructor(self: PeerId, address: string, events: NetworkEvents, hub: MemoryHub) {
    this.self = self;
    this.#address = address;
    this.#events = events;
    this.#hub = hub;
  }

  addresses(): readonly string[] {
    return this.#stopped ? [] : [`${this.#address}/p2p/${this.self}`];
  }

  setMembers(members: readonly MemberAddress[]): void {
    if (this.#stopped) return;
    const others = members.filter(({ peer }) => peer !== this.self);
    const before = this.#members;
    this.#members = new Map(
      others.map(({ peer, addresses }) => [
        peer,
        new Set([...(before.get(peer) ?? []), ...addresses.flatMap((address) => dialableAddress(address) ?? [])]),
      ]),
    );
    this.#complained.clear();
    for (const [peer, pipe] of [...this.#pipes]) if (!this.#members.has(peer)) pipe.close();
    this.#hub.settleSoon();
  }

  setJoinDoor(onJoin: ((stream: JoinStream) => Promise<void>) | null): void {
    this.#onJoin = onJoin;
    if (onJoin === null) for (const end of [...this.#joins.values()]) end();
  }

  async dialJoin(peer: PeerId, addresses: readonly string[], signal: AbortSignal): Promise<JoinStream> {
    if (signal.aborted || this.#stopped) throw new JoinDialError('ABORTED', 'Joining was given up.');
    const parsed = addresses.flatMap((text) => {
      const result = parseAddress(text);
      return result.ok ? [result.address] : [];
    });
    const hosts = parsed.flatMap((address) => {
      const host = this.#hub.at(address);
      return host === undefined || this.#hub.isCut(this.self, host.self) ? [] : [host];
    });
    await new Promise((resolve) => soon(resolve));
    const host = hosts.find(({ self }) => self === peer);
    if (hosts.length === 0) throw new JoinDialError('NO_ANSWER', `No answer from ${addresses.join(', ')}.`);
    if (host === undefined) throw new JoinDialError('WRONG_PEER', `Another peer answers at ${addresses.join(', ')}.`);
    const stream = host.admit(this.self, this.#address);
    if (stream === null) throw new JoinDialError('REFUSED', 'It answers, but lets nobody join now.');
    return stream;
  }

  /** For the one that dials: its end of a join conversation, or null where it isn't let in. */
  admit(from: PeerId, address: string): JoinStream | null {
    const onJoin = this.#onJoin;
    if (onJoin === null || this.#joins.size >= STRANGERS_MAX) return null;
    const { host, guest, end } = joinPair(
      { peer: this.self, address: this.#address },
      { peer: from, address: `${address}/p2p/${from}` },
    );
    const timer = setTimeout(end, STRANGER_MS);
    timer.unref();
    this.#joins.set(host, end);
    const done = (): void => {
      clearTimeout(timer);
      this.#joins.delete(host);
    };
    onJoin(host)
      .then(() => host.close(), end)
      .finally(done);
    return guest;
  }

  isConnected(peer: PeerId): boolean {
    return this.#pipes.has(peer);
  }

  rttMs(peer: PeerId): number | null {
    return this.#pipes.has(peer) ? 0 : null;
  }

  lastSeenMs(peer: PeerId): number | null {
    return this.#lastSeen.get(peer) ?? null;
  }

  send(to: PeerId, purpose: Purpose, frame: Uint8Array): boolean {
    checkFrameSize(frame);
    return this.#pipes.get(to)?.send(purpose, frame) ?? false;
  }

  /** The wire takes frames as they come. */
  flush(): void {}

  queuedBytes(to: PeerId, purpose: Purpose): number {
    return this.#pipes.get(to)?.queuedBytes(purpose) ?? 0;
  }

  wake(): void {
    this.#hub.settleSoon();
  }

  whenBelow(to: PeerId, purpose: Purpose, bytes: number): Promise<boolean> {
    return this.#pipes.get(to)?.whenBelow(purpose, bytes) ?? Promise.resolve(false);
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#hub.remove(this.#address);
    this.setJoinDoor(null);
    await this.#flush();
    for (const pipe of [...this.#pipes.values()]) pipe.close();
    this.#members.clear();
  }

  /** What was sent last still leaves, unless a reader is stuck. */
  async #flush(): Promise<void> {
    const isBusy = (): boolean => [...this.#pipes.values()].some((pipe) => pipe.totalBytes > 0);
    for (let turn = 0; turn < FLUSH_TURNS_MAX && isBusy(); turn++) await new Promise((resolve) => soon(resolve));
    // One turn more for the wire, one for who waits on it.
    for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => soon(resolve));
  }

  /** For the hub: closes what may not be, and connects what may. */
  settle(): void {
    for (const [peer, pipe] of [...this.#pipes]) if (this.#hub.isCut(this.self, peer)) pipe.close();
    for (const [peer, addresses] of this.#members) {
      if (this.#pipes.has(peer) || this.#hub.isCut(this.self, peer)) continue;
      for (const address of addresses) {
        const other = this.#hub.at(address);
        if (other?.self === peer && this.#connect(other, address)) break;
      }
    }
  }

  #connect(other: MemoryNetwork, address: string): boolean {
    if (!other.#members.has(this.self)) {
      other.#complain(this.self);
      return false;
    }
    if (other.#pipes.has(this.self)) return false;
    const [here, there] = MemoryPipe.pair(
      () => this.#gone(other.self),
      () => other.#gone(this.self),
    );
    this.#pipes.set(other.self, here);
    other.#pipes.set(this.self, there);
    this.#members.get(other.self)?.add(address);
    other.#members.get(this.self)?.add(this.#address);
    this.#events.onAddresses(other.self, [address]);
    this.#come(other.self, here);
    other.#come(this.self, there);
    return true;
  }

  #come(peer: PeerId, pipe: MemoryPipe): void {
    if (this.#pipes.get(peer) !== pipe) return; // cut off again by an event's handler
    this.#events.onConnection(peer, true);
    pipe.open(
      (purpose, frame) => {
        this.#lastSeen.set(peer, Date.now());
        return this.#events.onFrame(peer, purpose, frame);
      },
      (error) => this.#events.onProblem({ code: 'HANDLER_FAILED', peer, message: String(error) }),
    );
  }

  #gone(peer: PeerId): void {
    this.#pipes.delete(peer);
    this.#events.onConnection(peer, false);
    this.#hub.settleSoon();
  }

  /** Once for each list of members. */
  #complain(stranger: PeerId): void {
    if (this.#complained.has(stranger)) return;
    this.#complained.add(stranger);
    this.#events.onProblem({ code: 'STRANGER', peer: stranger, message: 'not a member' });
  }
}
