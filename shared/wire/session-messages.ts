import { asArray, asBytes, asInteger, asText, type Cbor, decodeCbor, encodeCbor, FormatError } from '../base/cbor.ts';
import { keyFromPeer, type PeerId, peerFromKey } from '../base/ids.ts';

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

export type SessionMessage = Offer | Hello | Lead;

const OFFER = 1;
const HELLO = 2;
const LEAD = 3;
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
  }
}

const hello = (m: Hello): Cbor => [
  HELLO,
  m.addresses,
  m.levelMax,
  m.version,
  m.known.map(({ peer, addresses }) => [keyFromPeer(peer), addresses]),
];

const asAddresses = (value: Cbor | undefined): string[] =>
  list(value, ADDRESSES_MAX).map((a) => asText(a, ADDRESS_LENGTH_MAX));

/** @throws FormatError */
export function decodeSessionMessage(bytes: Uint8Array): SessionMessage {
  const [type, ...f] = asArray(decodeCbor(bytes));
  if (type === OFFER && f.length === 1) {
    return { type: 'offer', runs: list(f[0], RUNS_MAX).map((run) => asBytes(run)) };
  }
  if (type === HELLO && f.length === 4) {
    return {
      type: 'hello',
      addresses: asAddresses(f[0]),
      levelMax: asInteger(f[1], 1),
      version: asText(f[2], 64),
      known: list(f[3], KNOWN_MAX).map((item) => {
        const [peer, addresses] = asArray(item, 2);
        return { peer: peerFromKey(asBytes(peer, 32)), addresses: asAddresses(addresses) };
      }),
    };
  }
  if (type === LEAD && f.length === 1) return { type: 'lead', to: peerFromKey(asBytes(f[0], 32)) };
  throw new FormatError('an unknown session message');
}

function list(value: Cbor | undefined, max: number): readonly Cbor[] {
  const items = asArray(value);
  if (items.length > max) throw new FormatError(`more than ${max} items`);
  return items;
}
