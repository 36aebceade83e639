import {
  asArray,
  asBoolean,
  asBytes,
  asInteger,
  asList,
  asText,
  type Cbor,
  decodeCbor,
  encodeCbor,
  FormatError,
} from '../base/cbor.ts';
import {
  type Incarnation,
  incarnationBytes,
  incarnationFromBytes,
  keyFromPeer,
  type PeerId,
  peerFromKey,
  type Slot,
  slot,
} from '../base/ids.ts';

/** An author's signed runs on their way to the leader: all that are not committed yet, in order, from the first on. */
export interface Offer {
  readonly type: 'offer';
  /** Encoded runs. */
  readonly runs: readonly Uint8Array[];
}

/** Said on every new connection, and again when somebody's addresses changed: where the sender listens, and where others were seen. */
export interface Hello {
  readonly type: 'hello';
  /** Multiaddrs without `/p2p/`. At most 16. */
  readonly addresses: readonly string[];
  readonly levelMax: number;
  /** The program's version, for people. */
  readonly version: string;
  /** Other members' addresses as the sender knows them, so that two who joined through a third find each other. At most 64. */
  readonly known: readonly KnownPeer[];
}

export interface KnownPeer {
  readonly peer: PeerId;
  readonly addresses: readonly string[];
}

/** A keeper's machine asks the leader to hand over to `to`. */
export interface Lead {
  readonly type: 'lead';
  readonly to: PeerId;
}

/**
 * Said on every new connection, to whoever is asked for it, and when one of the receiver's stores turns out to run twice: what the sender saw of the receiver's
 * stores, so that one that was copied or put back notices (R7). Votes are neither counted nor answered before the other side's came.
 */
export interface Greeting {
  readonly type: 'greeting';
  /** The receiver's is not here yet, and is asked for. */
  readonly asks: boolean;
  /** At most 16. */
  readonly seen: readonly Seen[];
}

/** A store as another member saw it. */
export interface Seen {
  readonly incarnation: Incarnation;
  /** One of its runs. 8 bytes. */
  readonly nonce: Uint8Array;
  /** The highest that it told. */
  readonly turn: number;
  /** A run of it came back after another one had greeted: both live. */
  readonly twice: boolean;
}

/**
 * Forced recovery (R12): who renounced an epoch, each with a signature, as far as the sender knows. Once they are complete they prove the epoch that follows.
 * This message and the next two are taken whatever epoch stands on their frame.
 */
export interface Recovery {
  readonly type: 'recovery';
  /** Encoded renunciations of one epoch. */
  readonly renunciations: readonly Uint8Array[];
}

/** "Send me the value with this hash, which you hold in this slot": what a recovered log needs and the sender never accepted. */
export interface RecoveryAsk {
  readonly type: 'recovery-ask';
  readonly slot: Slot;
  readonly hash: Uint8Array;
}

export interface RecoveryValue {
  readonly type: 'recovery-value';
  readonly slot: Slot;
  readonly value: Uint8Array;
}

export type RecoveryMessage = Recovery | RecoveryAsk | RecoveryValue;

export type SessionMessage = Offer | Hello | Lead | Greeting | RecoveryMessage;

export const isRecoveryMessage = (m: SessionMessage): m is RecoveryMessage =>
  m.type === 'recovery' || m.type === 'recovery-ask' || m.type === 'recovery-value';

const OFFER = 1;
const HELLO = 2;
const LEAD = 3;
const GREETING = 4;
const SEEN_MAX = 16;
const RECOVERY = 8;
const RECOVERY_ASK = 9;
const RECOVERY_VALUE = 10;
/** More survivors than a group has machines in practice. */
export const SURVIVORS_MAX = 64;
const RUNS_MAX = 4096;
const ADDRESSES_MAX = 16;
export const KNOWN_MAX = 64;
const ADDRESS_LENGTH_MAX = 256;

export function encodeSessionMessage(m: SessionMessage): Uint8Array {
  switch (m.type) {
    case 'offer':
      return encodeCbor([OFFER, m.runs]);
    case 'hello':
      return encodeCbor(hello(m));
    case 'lead':
      return encodeCbor([LEAD, keyFromPeer(m.to)]);
    case 'greeting':
      return encodeCbor([GREETING, m.asks, encodeSeen(m.seen)]);
    case 'recovery':
      return encodeCbor([RECOVERY, m.renunciations]);
    case 'recovery-ask':
      return encodeCbor([RECOVERY_ASK, m.slot, m.hash]);
    case 'recovery-value':
      return encodeCbor([RECOVERY_VALUE, m.slot, m.value]);
  }
}

export function encodeSeen(seen: readonly Seen[]): Cbor {
  return seen.map(({ incarnation, nonce, turn, twice }) => [incarnationBytes(incarnation), nonce, turn, twice]);
}

/** @throws FormatError */
export function decodeSeen(value: Cbor | undefined): Seen[] {
  return asList(value, SEEN_MAX).map((item) => {
    const [incarnation, nonce, turn, twice] = asArray(item, 4);
    return {
      incarnation: incarnationFromBytes(asBytes(incarnation, 16)),
      nonce: asBytes(nonce, 8),
      turn: asInteger(turn),
      twice: asBoolean(twice),
    };
  });
}

const hello = (m: Hello): Cbor => [
  HELLO,
  m.addresses,
  m.levelMax,
  m.version,
  m.known.map(({ peer, addresses }) => [keyFromPeer(peer), addresses]),
];

const asAddresses = (value: Cbor | undefined): string[] =>
  asList(value, ADDRESSES_MAX).map((a) => asText(a, ADDRESS_LENGTH_MAX));

/** @throws FormatError */
export function decodeSessionMessage(bytes: Uint8Array): SessionMessage {
  const [type, ...f] = asArray(decodeCbor(bytes));
  if (type === OFFER && f.length === 1) {
    return { type: 'offer', runs: asList(f[0], RUNS_MAX).map((run) => asBytes(run)) };
  }
  if (type === HELLO && f.length === 4) {
    return {
      type: 'hello',
      addresses: asAddresses(f[0]),
      levelMax: asInteger(f[1], 1),
      version: asText(f[2], 64),
      known: asList(f[3], KNOWN_MAX).map((item) => {
        const [peer, addresses] = asArray(item, 2);
        return { peer: peerFromKey(asBytes(peer, 32)), addresses: asAddresses(addresses) };
      }),
    };
  }
  if (type === LEAD && f.length === 1) return { type: 'lead', to: peerFromKey(asBytes(f[0], 32)) };
  if (type === GREETING && f.length === 2) return { type: 'greeting', asks: asBoolean(f[0]), seen: decodeSeen(f[1]) };
  if (type === RECOVERY && f.length === 1) {
    return { type: 'recovery', renunciations: asList(f[0], SURVIVORS_MAX).map((each) => asBytes(each)) };
  }
  if (type === RECOVERY_ASK && f.length === 2) {
    return { type: 'recovery-ask', slot: slot(asInteger(f[0], 1)), hash: asBytes(f[1], 32) };
  }
  if (type === RECOVERY_VALUE && f.length === 2) {
    return { type: 'recovery-value', slot: slot(asInteger(f[0], 1)), value: asBytes(f[1]) };
  }
  throw new FormatError('an unknown session message');
}
