import {
  asArray,
  asBoolean,
  asBytes,
  asInteger,
  asList,
  type Cbor,
  decodeCbor,
  encodeCbor,
  FormatError,
  orNull,
} from '../base/cbor.ts';
import { keyFromPeer, peerFromKey, type Slot, slot } from '../base/ids.ts';
import { decodeBallot, encodeBallot } from './ballot.ts';
import { NOTE_BYTES_MAX } from './constants.ts';
import type { Message } from './messages.ts';
import { decodeValue, type HashPayload } from './value.ts';

/**
 * Messages as deterministic CBOR arrays: a number for the type, then the fields in the order of `messages.ts`. Numbers are never used again
 * for something else. Limits are checked here, so that what comes out is of the right size, range and type (base rule 6).
 */
const TYPES = {
  prepare: 1,
  promise: 2,
  accept: 3,
  accepted: 4,
  nack: 5,
  behind: 6,
  commit: 7,
  heartbeat: 8,
  fetch: 9,
  values: 10,
  transfer: 11,
  barrier: 12,
  'barrier-reached': 13,
  'not-held': 14,
} as const satisfies Record<Message['type'], number>;

const LISTED_MAX = 4096;
const PEERS_MAX = 1024;

export function encodeMessage(m: Message): Uint8Array {
  return encodeCbor([TYPES[m.type], ...fields(m)]);
}

function fields(m: Message): Cbor[] {
  switch (m.type) {
    case 'prepare':
      return [encodeBallot(m.ballot), m.configuration, m.slot, encodeBallot(m.transferFrom)];
    case 'promise':
      return [
        encodeBallot(m.ballot),
        m.configuration,
        m.floor,
        m.digest,
        m.listing,
        m.part,
        m.parts,
        m.accepted.map((a) => [a.slot, encodeBallot(a.ballot), a.value.bytes]),
      ];
    case 'accept':
      return [encodeBallot(m.ballot), m.configuration, m.slot, m.value.bytes, m.watermark];
    case 'accepted':
      return [encodeBallot(m.ballot), m.slots, m.prefix];
    case 'nack':
      return [encodeBallot(m.ballot), encodeBallot(m.promised), m.reason === 'ballot' ? 0 : 1];
    case 'behind':
      return [encodeBallot(m.ballot), m.slot, m.lacks === 'you' ? 0 : 1, m.prefix, m.digest];
    case 'commit':
      return [encodeBallot(m.ballot), m.watermark, m.digest];
    case 'heartbeat':
      return [
        encodeBallot(m.promised),
        encodeBallot(m.leading),
        encodeBallot(m.hearsLeader),
        m.hears.map(keyFromPeer),
        m.prefix,
        m.digest,
        m.durable,
        m.votes,
        m.note,
      ];
    case 'fetch':
      return [m.from];
    case 'not-held':
      return [m.from, m.held];
    case 'values':
      return [m.from, m.values.map((v) => v.bytes), m.digest, m.prefix];
    case 'transfer':
      return [encodeBallot(m.ballot)];
    case 'barrier':
      return [m.id];
    case 'barrier-reached':
      return [m.id, m.slot];
  }
}

const asSlot = (value: Cbor | undefined): Slot => slot(asInteger(value));
/** One that can be proposed in: slot 0 is the genesis. */
const asOpenSlot = (value: Cbor | undefined): Slot => slot(asInteger(value, 1));
const asHash = (value: Cbor | undefined): Uint8Array => asBytes(value, 32);

/** @param hash the hash of a payload of commands, which may refuse it. @throws FormatError */
export function decodeMessage(bytes: Uint8Array, hash: HashPayload): Message {
  const [type, ...f] = asArray(decodeCbor(bytes));
  const need = (n: number): void => {
    if (f.length !== n) throw new FormatError(`a message has ${n} fields, not ${f.length}`);
  };
  switch (type) {
    case TYPES.prepare:
      need(4);
      return {
        type: 'prepare',
        ballot: decodeBallot(f[0]),
        configuration: asSlot(f[1]),
        slot: asOpenSlot(f[2]),
        transferFrom: orNull(f[3], decodeBallot),
      };
    case TYPES.promise: {
      need(8);
      const parts = asInteger(f[6], 1, LISTED_MAX);
      return {
        type: 'promise',
        ballot: decodeBallot(f[0]),
        configuration: asSlot(f[1]),
        floor: asSlot(f[2]),
        digest: asHash(f[3]),
        listing: asBytes(f[4], 8),
        part: asInteger(f[5], 0, parts - 1),
        parts,
        accepted: asList(f[7], LISTED_MAX).map((row) => {
          const [at, ballot, value] = asArray(row, 3);
          return { slot: asOpenSlot(at), ballot: decodeBallot(ballot), value: decodeValue(asBytes(value), hash) };
        }),
      };
    }
    case TYPES.accept:
      need(5);
      return {
        type: 'accept',
        ballot: decodeBallot(f[0]),
        configuration: asSlot(f[1]),
        slot: asOpenSlot(f[2]),
        value: decodeValue(asBytes(f[3]), hash),
        watermark: asSlot(f[4]),
      };
    case TYPES.accepted:
      need(3);
      return {
        type: 'accepted',
        ballot: decodeBallot(f[0]),
        slots: asList(f[1], LISTED_MAX).map(asOpenSlot),
        prefix: asSlot(f[2]),
      };
    case TYPES.nack:
      need(3);
      return {
        type: 'nack',
        ballot: decodeBallot(f[0]),
        promised: orNull(f[1], decodeBallot),
        reason: asInteger(f[2], 0, 1) === 0 ? 'ballot' : 'leader',
      };
    case TYPES.behind:
      need(5);
      return {
        type: 'behind',
        ballot: decodeBallot(f[0]),
        slot: asOpenSlot(f[1]),
        lacks: asInteger(f[2], 0, 1) === 0 ? 'you' : 'me',
        prefix: asSlot(f[3]),
        digest: asHash(f[4]),
      };
    case TYPES.commit:
      need(3);
      return { type: 'commit', ballot: decodeBallot(f[0]), watermark: asSlot(f[1]), digest: asHash(f[2]) };
    case TYPES.heartbeat:
      need(9);
      return {
        type: 'heartbeat',
        promised: orNull(f[0], decodeBallot),
        leading: orNull(f[1], decodeBallot),
        hearsLeader: orNull(f[2], decodeBallot),
        hears: asList(f[3], PEERS_MAX).map((key) => peerFromKey(asBytes(key, 32))),
        prefix: asSlot(f[4]),
        digest: asHash(f[5]),
        durable: asSlot(f[6]),
        votes: asBoolean(f[7]),
        note: asBytes(f[8], undefined, NOTE_BYTES_MAX),
      };
    case TYPES.fetch:
      need(1);
      return { type: 'fetch', from: asOpenSlot(f[0]) };
    case TYPES['not-held']:
      need(2);
      return { type: 'not-held', from: asOpenSlot(f[0]), held: asOpenSlot(f[1]) };
    case TYPES.values:
      need(4);
      return {
        type: 'values',
        from: asOpenSlot(f[0]),
        values: asList(f[1], LISTED_MAX).map((value) => decodeValue(asBytes(value), hash)),
        digest: asHash(f[2]),
        prefix: asSlot(f[3]),
      };
    case TYPES.transfer:
      need(1);
      return { type: 'transfer', ballot: decodeBallot(f[0]) };
    case TYPES.barrier:
      need(1);
      return { type: 'barrier', id: asInteger(f[0]) };
    case TYPES['barrier-reached']:
      need(2);
      return { type: 'barrier-reached', id: asInteger(f[0]), slot: asOpenSlot(f[1]) };
    default:
      throw new FormatError('an unknown type of message');
  }
}
