import { base58 } from '@scure/base';
import { compareBytes, compareText, fromHex, toHex } from './bytes.ts';
import { FormatError } from './cbor.ts';
import { hashFor, type Purpose } from './hash.ts';

declare const brand: unique symbol;
type Branded<T, Name extends string> = T & { readonly [brand]: Name };

/** One installation: an Ed25519 public key, in the form that libp2p shows (`12D3KooW…`). */
export type PeerId = Branded<string, 'PeerId'>;
/** Born with a store: 16 random bytes as 32 hex digits. A store that lost something gets a new one. */
export type Incarnation = Branded<string, 'Incarnation'>;
/** `g` and 25 base32 letters of the genesis' hash. */
export type GroupId = Branded<string, 'GroupId'>;
/** `e` and 25 base32 letters. */
export type EntryId = Branded<string, 'EntryId'>;
/** A place in the consensus log; 0 is the genesis. */
export type Slot = Branded<number, 'Slot'>;
/** An entry's number in the agreed order; the first is 1. */
export type Position = Branded<number, 'Position'>;
/** A command's number in its session; the first is 1. */
export type Seq = Branded<number, 'Seq'>;

export const slot = (n: number): Slot => n as Slot;
export const position = (n: number): Position => n as Position;
export const seq = (n: number): Seq => n as Seq;

/** libp2p's identity multihash of a protobuf-wrapped Ed25519 key: these six bytes, then the 32 of the key. */
const PEER_PREFIX = Uint8Array.of(0x00, 0x24, 0x08, 0x01, 0x12, 0x20);

const keyOfPeer = new Map<PeerId, Uint8Array>();
const peerOfKey = new Map<string, PeerId>();
/** Ids of strangers pass through here too, so the tables are emptied before they grow without bound. */
const CACHED_PEERS_MAX = 10_000;

/** Bytes as a key of a table: one letter a byte. (Spread, they would be iterated over, which takes four times as long.) */
const nameOf = (bytes: Uint8Array): string => Reflect.apply(String.fromCharCode, null, bytes);

function remember(peer: PeerId, key: Uint8Array): void {
  if (keyOfPeer.size >= CACHED_PEERS_MAX) {
    keyOfPeer.clear();
    peerOfKey.clear();
  }
  keyOfPeer.set(peer, key);
  peerOfKey.set(nameOf(key), peer);
}

/** @throws FormatError unless `key` has 32 bytes. */
export function peerFromKey(key: Uint8Array): PeerId {
  if (key.length !== 32) throw new FormatError('a peer key has 32 bytes');
  const known = peerOfKey.get(nameOf(key));
  if (known !== undefined) return known;
  const whole = new Uint8Array(38);
  whole.set(PEER_PREFIX);
  whole.set(key, 6);
  const peer = base58.encode(whole) as PeerId;
  remember(peer, key.slice());
  return peer;
}

/** The peer's 32-byte Ed25519 public key. @throws FormatError where `peer` is no such id. */
export function keyFromPeer(peer: PeerId): Uint8Array {
  const known = keyOfPeer.get(peer);
  if (known) return known;
  let whole: Uint8Array;
  try {
    whole = base58.decode(peer);
  } catch {
    throw new FormatError(`not a peer id: ${peer}`);
  }
  if (whole.length !== 38 || compareBytes(whole.subarray(0, 6), PEER_PREFIX) !== 0) {
    throw new FormatError(`not a peer id: ${peer}`);
  }
  const key = whole.slice(6);
  remember(peer, key);
  return key;
}

export function parsePeerId(text: string): PeerId {
  keyFromPeer(text as PeerId);
  return text as PeerId;
}

export function incarnationFromBytes(bytes: Uint8Array): Incarnation {
  if (bytes.length !== 16) throw new FormatError('an incarnation has 16 bytes');
  const name = nameOf(bytes);
  let incarnation = incarnationOfBytes.get(name);
  if (incarnation === undefined) {
    incarnation = toHex(bytes) as Incarnation;
    if (incarnationOfBytes.size >= CACHED_PEERS_MAX) incarnationOfBytes.clear();
    incarnationOfBytes.set(name, incarnation);
  }
  return incarnation;
}

/** 16 bytes, not to be written to. */
export function incarnationBytes(incarnation: Incarnation): Uint8Array {
  let bytes = bytesOfIncarnation.get(incarnation);
  if (bytes === undefined) {
    bytes = fromHex(incarnation);
    if (bytesOfIncarnation.size >= CACHED_PEERS_MAX) bytesOfIncarnation.clear();
    bytesOfIncarnation.set(incarnation, bytes);
  }
  return bytes;
}

const incarnationOfBytes = new Map<string, Incarnation>();
const bytesOfIncarnation = new Map<Incarnation, Uint8Array>();

const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567';

/** RFC 4648's alphabet in lower case, without padding. */
export function base32(bytes: Uint8Array): string {
  let text = '';
  let bits = 0;
  let value = 0;
  for (const byte of bytes) {
    value = ((value << 8) | byte) & 0xffff;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += BASE32[(value >>> bits) & 31];
    }
  }
  if (bits > 0) text += BASE32[(value << (5 - bits)) & 31];
  return text;
}

/** Case does not matter. @throws FormatError for other letters or bits left over that are not zero. */
export function fromBase32(text: string): Uint8Array {
  const bytes = new Uint8Array(Math.floor((text.length * 5) / 8));
  let bits = 0;
  let value = 0;
  let at = 0;
  for (const letter of text.toLowerCase()) {
    const digit = BASE32.indexOf(letter);
    if (digit < 0) throw new FormatError(`not a base32 letter: ${letter}`);
    value = ((value << 5) | digit) & 0xffff;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes[at++] = (value >>> bits) & 255;
    }
  }
  if (bits >= 5 || (value & ((1 << bits) - 1)) !== 0) throw new FormatError('base32 text is cut off');
  return bytes;
}

const ID_LETTERS = 25;

function idOf(letter: 'e' | 'g', purpose: Purpose, parts: readonly (Uint8Array | string)[]): string {
  return letter + base32(hashFor(purpose, ...parts)).slice(0, ID_LETTERS);
}

export const groupIdOf = (genesis: Uint8Array): GroupId => idOf('g', 'genesis', [genesis]) as GroupId;
export const entryIdOf = (...parts: readonly (Uint8Array | string)[]): EntryId => idOf('e', 'entry', parts) as EntryId;

const GROUP_PATTERN = /^g[a-z2-7]{25}$/;
const ENTRY_PATTERN = /^e[a-z2-7]{25}$/;

export function parseGroupId(text: string): GroupId {
  if (!GROUP_PATTERN.test(text)) throw new FormatError('not a group id');
  return text as GroupId;
}

export function parseEntryId(text: string): EntryId {
  if (!ENTRY_PATTERN.test(text)) throw new FormatError('not an entry id');
  return text as EntryId;
}

/** Peers in the order of their text: the same everywhere, and what ballots and tables use. */
export const comparePeers = (a: PeerId, b: PeerId): number => compareText(a, b);
