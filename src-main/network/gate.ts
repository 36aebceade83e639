import type { ConnectionGater, MultiaddrConnection } from '@libp2p/interface';
import type { PeerId } from '../../shared/base/ids.ts';
import { splitMultiaddr } from './addresses.ts';

/** Strangers that may be connected at once while the door is open. */
export const STRANGERS_MAX = 8;
/** How long a stranger may stay. Milliseconds. */
export const STRANGER_MS = 30_000;
/** Connections of one host that have not proved who they are yet: so many that a restart of many members fits, so few that one host can't crowd out the others. */
export const UNPROVEN_PER_HOST_MAX = 16;
/** To prove who one is. Milliseconds. */
export const PROVE_MS = 5_000;
/** Connections of one member; more than two are only there while some are closing. */
export const CONNECTIONS_PER_MEMBER_MAX = 8;

export interface GateRules {
  isMember(peer: PeerId): boolean;
  /** Sent rubbish a moment ago. */
  isShunned(peer: PeerId): boolean;
  isDoorOpen(): boolean;
  /** A host that this peer itself asks to let it join. */
  isJoinTarget(peer: PeerId): boolean;
  onStranger(peer: PeerId, message: string): void;
}

/**
 * Who may connect: members; strangers only while the join door is open, few and shortly. Judged when noise has proved the other
 * side's id and before any protocol is spoken; until then, by host and number.
 */
export class Gate {
  readonly #rules: GateRules;
  readonly #unproven = new Map<string, Set<MultiaddrConnection>>();
  readonly #strangers = new Set<MultiaddrConnection>();
  readonly #memberConnections = new Map<PeerId, number>();

  constructor(rules: GateRules) {
    this.#rules = rules;
  }

  gater(): ConnectionGater {
    return {
      denyInboundConnection: (connection) => !this.#admitUnproven(connection),
      denyInboundEncryptedConnection: (peer, connection) => !this.#admitInbound(peer.toString() as PeerId, connection),
      denyOutboundEncryptedConnection: (peer) => {
        const id = peer.toString() as PeerId;
        return !this.#rules.isMember(id) && !this.#rules.isJoinTarget(id);
      },
      filterMultiaddrForPeer: () => false, // addresses are kept in address-book.ts, per member
    };
  }

  /** The door was shut: those who are still here as strangers go. */
  dismissStrangers(): void {
    for (const connection of this.#strangers) connection.abort(new Error('the join door was shut'));
  }

  #admitUnproven(connection: MultiaddrConnection): boolean {
    const host = splitMultiaddr(connection.remoteAddr.toString())?.host ?? '';
    const waiting = this.#unproven.get(host) ?? new Set();
    if (waiting.size >= UNPROVEN_PER_HOST_MAX) return false;
    waiting.add(connection);
    this.#unproven.set(host, waiting);
    connection.addEventListener('close', () => this.#proven(connection));
    return true;
  }

  #proven(connection: MultiaddrConnection): void {
    const host = splitMultiaddr(connection.remoteAddr.toString())?.host ?? '';
    const waiting = this.#unproven.get(host);
    waiting?.delete(connection);
    if (waiting?.size === 0) this.#unproven.delete(host);
  }

  #admitInbound(peer: PeerId, connection: MultiaddrConnection): boolean {
    this.#proven(connection);
    if (this.#rules.isShunned(peer)) return false;
    if (this.#rules.isMember(peer)) return this.#admitMember(peer, connection);
    if (!this.#rules.isDoorOpen()) return this.#turnAway(peer, 'not a member, and no invitation is open');
    if (this.#strangers.size >= STRANGERS_MAX) return this.#turnAway(peer, `${STRANGERS_MAX} others are joining`);
    this.#strangers.add(connection);
    const timer = setTimeout(() => connection.abort(new Error('a stranger stayed too long')), STRANGER_MS);
    timer.unref();
    connection.addEventListener('close', () => {
      clearTimeout(timer);
      this.#strangers.delete(connection);
    });
    return true;
  }

  #admitMember(peer: PeerId, connection: MultiaddrConnection): boolean {
    const count = this.#memberConnections.get(peer) ?? 0;
    if (count >= CONNECTIONS_PER_MEMBER_MAX) return false;
    this.#memberConnections.set(peer, count + 1);
    connection.addEventListener('close', () => {
      const left = (this.#memberConnections.get(peer) ?? 1) - 1;
      if (left === 0) this.#memberConnections.delete(peer);
      else this.#memberConnections.set(peer, left);
    });
    return true;
  }

  #turnAway(peer: PeerId, message: string): false {
    this.#rules.onStranger(peer, message);
    return false;
  }
}
