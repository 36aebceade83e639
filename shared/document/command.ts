import { uint32, utf8 } from '../base/bytes.ts';
import { encodeCbor } from '../base/cbor.ts';
import { hashFor } from '../base/hash.ts';
import {
  type EntryId,
  entryIdOf,
  type GroupId,
  type Incarnation,
  incarnationBytes,
  keyFromPeer,
  type PeerId,
  type Seq,
  type Slot,
} from '../base/ids.ts';
import { TAG_BYTES } from './bodies.ts';

export const COMMAND_VERSION = 1;
export const SALT_BYTES = 16;

/**
 * A signed user operation.
 *
 * Header: CBOR `[1, group, peer (32), incarnation (16), seq, prev (32), level, saw, time, offset, kind, payloadHash (32)]`.
 * The command's hash is `H('command' ‖ header)`; `prev` is the hash of the session's command before, zeros for the first.
 * Payload: CBOR `[writer, body]`; `payloadHash = H('payload' ‖ salt ‖ payload)`. A redaction deletes payload **and** salt:
 * with the salt left behind a short text could be guessed from its hash.
 */
export interface Command {
  readonly seq: Seq;
  readonly prev: Uint8Array;
  readonly level: number;
  /** The applied slot that the author's peer showed when it was written. */
  readonly saw: Slot;
  /** The author's clock, milliseconds since 1970 UTC. */
  readonly timeMs: number;
  /** The author's UTC offset, minutes east. */
  readonly offsetMinutes: number;
  /** One of `KINDS`, or a number that this build does not know. */
  readonly kind: number;
  /** 16 random bytes; null after a redaction. */
  readonly salt: Uint8Array | null;
  /** Null after a redaction. */
  readonly payload: Uint8Array | null;
  readonly payloadHash: Uint8Array;
  readonly hash: Uint8Array;
}

/** Whose commands a run holds: the fields that all its headers share. */
export interface SessionId {
  readonly group: GroupId;
  readonly peer: PeerId;
  readonly incarnation: Incarnation;
}

/** A command's own fields, before its place in the chain is known. */
export type CommandFields = Omit<Command, 'hash' | 'payloadHash' | 'prev' | 'seq'>;

export const payloadHashOf = (salt: Uint8Array, payload: Uint8Array): Uint8Array => hashFor('payload', salt, payload);

/** Where a command stands in its session, and what is the same for every header of it. */
export interface ChainStart {
  readonly session: SessionId;
  readonly peerKey: Uint8Array;
  readonly incarnationBytes: Uint8Array;
}

export function chainOf(session: SessionId): ChainStart {
  return {
    session,
    peerKey: keyFromPeer(session.peer),
    incarnationBytes: incarnationBytes(session.incarnation),
  };
}

/** Gives a command its place: header, hash. `payloadHash` is given where payload and salt are gone. */
export function placeCommand(
  chain: ChainStart,
  seq: Seq,
  prev: Uint8Array,
  fields: CommandFields,
  payloadHash: Uint8Array,
): Command {
  const header = encodeCbor([
    COMMAND_VERSION,
    chain.session.group,
    chain.peerKey,
    chain.incarnationBytes,
    seq,
    prev,
    fields.level,
    fields.saw,
    fields.timeMs,
    fields.offsetMinutes,
    fields.kind,
    payloadHash,
  ]);
  return { ...fields, seq, prev, payloadHash, hash: hashFor('command', header) };
}

/**
 * Eight bytes that name the command, or one body of a bundle, that made a revision. `index` is null for a command that
 * is no bundle: then it is the start of the command's hash; else of `H('command' ‖ hash ‖ index as 4 bytes)`.
 */
export function tagOf(hash: Uint8Array, index: number | null): Uint8Array {
  const whole = index === null ? hash : hashFor('command', hash, uint32(index));
  return whole.slice(0, TAG_BYTES);
}

const KEYED = utf8('k');
const NUMBERED = utf8('s');

/** The entry that a key stands for: the same for all sessions of the author's peer. */
export function keyedEntryId(group: GroupId, peer: PeerId, key: string): EntryId {
  return entryIdOf(group, keyFromPeer(peer), KEYED, utf8(key));
}

/** The entry that a command without a key makes. `index` is its place in a bundle, 0 where it is none. */
export function numberedEntryId(session: SessionId, seq: Seq, index: number): EntryId {
  return entryIdOf(
    session.group,
    keyFromPeer(session.peer),
    NUMBERED,
    incarnationBytes(session.incarnation),
    uint32(Math.floor(seq / 2 ** 32)),
    uint32(seq >>> 0),
    uint32(index),
  );
}
