import type { PeerId } from '../../shared/base/ids.ts';

/**
 * The network as the peer sees it: opaque frames to and from members, one long-lived stream per peer and purpose, so that
 * consensus is never stuck behind a bulk transfer. It exists twice, on libp2p and in memory; one contract suite runs on both.
 */
export type Purpose = 'consensus' | 'session' | 'bulk';

/** A frame's body, after the length and the version byte. Bytes. Larger frames are refused by the sender and cut the receiver's stream. */
export const FRAME_BYTES_MAX = 2 * 1024 * 1024;
/** What may wait for one peer, over all its purposes, before `send` refuses. Bytes. */
export const QUEUE_BYTES_MAX = 16 * 1024 * 1024;

export interface MemberAddress {
  readonly peer: PeerId;
  /** Multiaddrs without the `/p2p/` part, best first; may be empty (then the other side must dial, or discovery must find it). */
  readonly addresses: readonly string[];
}

export interface NetworkEvents {
  /** Frames of one peer and purpose arrive in the order sent, each once, or not at all. While a returned promise is open, no further frame of that peer and purpose is delivered and reading pauses. */
  onFrame(from: PeerId, purpose: Purpose, frame: Uint8Array): void | Promise<void>;
  /** A member can be sent to from now on, or no longer. Alternates per peer. */
  onConnection(peer: PeerId, connected: boolean): void;
  /** Addresses that worked or were announced for a member; worth remembering. */
  onAddresses(peer: PeerId, addresses: readonly string[]): void;
  /** A frame was refused or a peer misbehaved: for the log. */
  onProblem(problem: NetworkProblem): void;
}

export interface NetworkProblem {
  readonly code: 'FRAME_TOO_LARGE' | 'FRAME_BAD' | 'STRANGER' | 'DIAL_FAILED' | 'PEER_SILENT' | 'HANDLER_FAILED';
  readonly peer: PeerId | null;
  readonly message: string;
}

/** One request–answer conversation with a stranger or with the host one asks to join: a bounded, half-duplex sequence of frames. */
export interface JoinStream {
  /** As authenticated by Noise. */
  readonly peer: PeerId;
  /** Where the other side was seen, for remembering. */
  readonly address: string;
  send(frame: Uint8Array): void;
  /** The next frame, or null once the other side closed. @throws where the signal aborts or the stream breaks. */
  receive(signal: AbortSignal): Promise<Uint8Array | null>;
  close(): Promise<void>;
}

/** A frame on the join stream. Bytes. */
export const JOIN_FRAME_BYTES_MAX = 256 * 1024;

export interface Network {
  readonly self: PeerId;
  /** Multiaddrs that this host listens on, each with `/p2p/SELF`. */
  addresses(): readonly string[];
  /**
   * Who may connect, and who is dialled: all members of all groups but oneself. Replaces the previous set; those gone are cut off
   * at once. Dials by itself with backoff 0.25 → 30 s, jittered, for ever.
   */
  setMembers(members: readonly MemberAddress[]): void;
  /**
   * While not null, strangers may open the join protocol and nothing else: at most 8 at a time, 30 s each.
   * Joins of one's own need no door: `dialJoin`.
   */
  setJoinDoor(onJoin: ((stream: JoinStream) => Promise<void>) | null): void;
  /** Dials `host:port` or multiaddrs and opens the join protocol; the other side must prove to be `peer`. @throws JoinDialError */
  dialJoin(peer: PeerId, addresses: readonly string[], signal: AbortSignal): Promise<JoinStream>;
  isConnected(peer: PeerId): boolean;
  /** The last measured round trip in milliseconds, or null. */
  rttMs(peer: PeerId): number | null;
  /** When the peer was last heard, as milliseconds since 1970, or null. */
  lastSeenMs(peer: PeerId): number | null;
  /**
   * Queues a frame. False where it was not taken: not connected, or the peer's queue is full. Taken is not delivered: the connection can
   * break. Never blocks and never throws for a peer's state; throws RangeError for a frame over FRAME_BYTES_MAX.
   */
  send(to: PeerId, purpose: Purpose, frame: Uint8Array): boolean;
  /** What was sent so far leaves now, before this turn of the loop goes on with other work. Without it, it leaves at the end of the turn's microtasks. */
  flush(): void;
  /** Bytes that wait for the peer on that purpose's stream; bulk senders hold back by it. */
  queuedBytes(to: PeerId, purpose: Purpose): number;
  /** The machine woke up or changed networks: checks every connection and dials at once, whatever the backoff. */
  wake(): void;
  /** Resolves true once the purpose's queue is below `bytes`, false once the peer is gone. */
  whenBelow(to: PeerId, purpose: Purpose, bytes: number): Promise<boolean>;
  stop(): Promise<void>;
}

/** `NO_ANSWER`: nobody there or a firewall. `WRONG_PEER`: somebody else answers there. `REFUSED`: there, but its door is shut. */
export class JoinDialError extends Error {
  override readonly name = 'JoinDialError';
  readonly code: 'NO_ANSWER' | 'WRONG_PEER' | 'REFUSED' | 'ABORTED';
  constructor(code: JoinDialError['code'], message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}
