import { toHex } from '../base/bytes.ts';
import {
  asArray,
  asBoolean,
  asBytes,
  asInteger,
  asText,
  type Cbor,
  decodeCbor,
  encodeCbor,
  FormatError,
  orNull,
} from '../base/cbor.ts';
import { HASH_BYTES, hashFor } from '../base/hash.ts';
import {
  type EntryId,
  type GroupId,
  type Incarnation,
  incarnationBytes,
  incarnationFromBytes,
  keyFromPeer,
  type PeerId,
  type Position,
  parseEntryId,
  parseGroupId,
  peerFromKey,
  position as positionOf,
  type Seq,
  type Slot,
  seq as seqOf,
  slot as slotOf,
} from '../base/ids.ts';
import { TAG_BYTES } from './bodies.ts';
import { REFUSALS, type RefusalCode, refusalOf } from './codes.ts';
import { KIND_MAX, KINDS, type KindName, kindName } from './kinds.ts';
import type { QuorumSizes } from './quorum.ts';
import { asPinnedRole, asRights, OFFSET_MAX_MINUTES, type PinnedRole, type Rights, TIME_MAX_MS } from './types.ts';

/**
 * The state machine's records. All keys begin with `s/`; a record is a CBOR array whose first element is its version.
 * The state hash is the sum of `H('state' ‖ key ‖ record)` over all of them but `s/applied`, which holds it. (Keys are ASCII
 * and a record's first byte is not, so no two pairs of key and record read the same.)
 */
export interface Codec<T> {
  encode(record: T): Uint8Array;
  /** @throws FormatError */
  decode(bytes: Uint8Array): T;
}

/** A key and what stands there. */
export interface Place<T> {
  readonly key: string;
  readonly codec: Codec<T>;
}

export const STATE_PREFIX = 's/';
const VERSION = 1;

/** An entry: what it is now. */
export interface EntryRecord {
  readonly id: EntryId;
  readonly position: Position;
  /** The creation's. */
  readonly slot: Slot;
  /** The current revision; the first is 1. */
  readonly revision: number;
  readonly removed: boolean;
  /** The tag of the command that made the current revision: what an edit must name as its base. */
  readonly tag: Uint8Array;
  /** The revision whose record holds the current text (or held it, where the entry is removed). */
  readonly textRevision: number;
}

/** A mark on a clock that is off by more than five minutes. For people to see; the order never depends on it. */
export type ClockMark = 'ahead' | 'behind' | null;

/** One revision of an entry: who made it, when, and its text where it brought one. */
export interface RevisionRecord {
  readonly slot: Slot;
  readonly author: PeerId;
  readonly writer: string;
  readonly timeMs: number;
  readonly offsetMinutes: number;
  /** The leader's clock. */
  readonly placedMs: number;
  readonly kind: Extract<KindName, 'create' | 'edit' | 'remove' | 'restore'>;
  /** Null for a removal and for a restoration, whose text stands in `textRevision`. */
  readonly text: string | null;
  readonly textRevision: number;
  readonly tag: Uint8Array;
  readonly overlap: boolean;
  /** `ahead`: written more than 5 minutes after it was placed. `behind`: before what its author had already seen. */
  readonly clock: ClockMark;
}

/** A session: the commands of one incarnation that were judged. Kept for ever, so that nothing old is judged again. */
export interface SessionRecord {
  readonly lastSeq: Seq;
  readonly lastHash: Uint8Array;
  readonly closed: boolean;
  /** The last of the commands that were refused, so that an outbox that missed the outcome can still tell. */
  readonly refusals: readonly Refusal[];
}

export interface Refusal {
  readonly seq: Seq;
  readonly code: RefusalCode;
}

/** Refusals that a session remembers. */
export const REFUSALS_KEPT = 64;

export interface MemberRecord {
  readonly name: string;
  readonly rights: Rights;
  readonly pinned: PinnedRole;
  /** The incarnation whose session is open. */
  readonly incarnation: Incarnation;
  /** Where it was admitted last. */
  readonly sinceSlot: Slot;
  /** Null for a member; else where it was expelled. */
  readonly expelledSlot: Slot | null;
  /** Commands judged in the group before it was expelled; an invitation must be younger. 0 for a member. */
  readonly expelledAt: number;
  /** What it said of going away; null once it said that it is back. */
  readonly away: Away | null;
}

export interface Away {
  /** Null where it did not say until when. */
  readonly untilMs: number | null;
}

export interface InvitationRecord {
  readonly rights: Rights;
  readonly pinned: PinnedRole;
  readonly expiresMs: number | null;
  readonly by: PeerId;
  readonly slot: Slot;
  /** Commands judged in the group before it was made. */
  readonly madeAt: number;
  readonly usedBy: PeerId | null;
  /** A keeper took it back, or its maker was expelled, before anybody used it. */
  readonly revoked: boolean;
}

export interface MetaRecord {
  readonly group: GroupId;
  readonly alpha: number;
  readonly level: number;
  readonly title: string | null;
  /** How many positions are taken. */
  readonly positions: number;
  /** Commands judged, taken or refused: a clock that only the log moves. */
  readonly judged: number;
  readonly keepers: number;
  /** Null: majorities. */
  readonly quorum: QuorumSizes | null;
}

/** When slots were placed, thinned out: enough to tell a clock that is off, bounded for ever. */
export type ClockRecord = readonly (readonly [slot: Slot, placedMs: number])[];

export interface AppliedRecord extends Sizes {
  readonly slot: Slot;
  readonly stateHash: Uint8Array;
}

/** How much it would be to fetch; functions of the log, and nothing but a choice of the cheaper way rests on them. Bytes. */
export interface Sizes {
  /** The values with commands up to here. */
  readonly logBytes: number;
  /** The state's keys and records, without the one that says so. */
  readonly stateBytes: number;
}

function codec<T>(to: (record: T) => readonly Cbor[], from: (fields: readonly Cbor[]) => T): Codec<T> {
  return {
    encode: (record) => encodeCbor([VERSION, ...to(record)]),
    decode: (bytes) => {
      const [version, ...fields] = asArray(decodeCbor(bytes));
      if (version !== VERSION) throw new FormatError('a state record of another version');
      return from(fields);
    },
  };
}

/** As many records of one kind as every batch looks at again. */
const REMEMBERED = 8;

/**
 * For records that every batch reads and writes. Neither they nor their bytes are ever changed in place, so what was encoded or decoded last is known by
 * its bytes. (A WeakMap of all would do too, but it keeps what is in it alive until the next full collection: a fifth of the work of a busy peer.)
 */
function remembering<T>({ encode, decode }: Codec<T>): Codec<T> {
  const known: { readonly bytes: Uint8Array; readonly record: T }[] = [];
  let next = 0;
  const remember = (bytes: Uint8Array, record: T): void => {
    known[next] = { bytes, record };
    next = (next + 1) % REMEMBERED;
  };
  return {
    encode: (record) => {
      const bytes = encode(record);
      remember(bytes, record);
      return bytes;
    },
    decode: (bytes) => {
      for (const each of known) if (each.bytes === bytes) return each.record;
      const record = decode(bytes);
      remember(bytes, record);
      return record;
    },
  };
}

const asSlot = (value: Cbor | undefined): Slot => slotOf(asInteger(value));
const asPeer = (value: Cbor | undefined): PeerId => peerFromKey(asBytes(value, 32));

const entryCodec = codec<EntryRecord>(
  (r) => [r.id, r.position, r.slot, r.revision, r.removed, r.tag, r.textRevision],
  (fields) => {
    const [id, position, slot, revision, removed, tag, textRevision] = asArray(fields, 7);
    return {
      id: parseEntryId(asText(id, 26)),
      position: positionOf(asInteger(position, 1)),
      slot: asSlot(slot),
      revision: asInteger(revision, 1),
      removed: asBoolean(removed),
      tag: asBytes(tag, TAG_BYTES),
      textRevision: asInteger(textRevision, 1),
    };
  },
);

const positionCodec = codec<Position>(
  (position) => [position],
  (fields) => {
    const [position] = asArray(fields, 1);
    return positionOf(asInteger(position, 1));
  },
);

const CLOCK_MARKS: readonly ClockMark[] = [null, 'ahead', 'behind'];

const revisionCodec = codec<RevisionRecord>(
  (r) => [
    r.slot,
    keyFromPeer(r.author),
    r.writer,
    r.timeMs,
    r.offsetMinutes,
    r.placedMs,
    KINDS[r.kind],
    r.text,
    r.textRevision,
    r.tag,
    r.overlap,
    CLOCK_MARKS.indexOf(r.clock),
  ],
  (fields) => {
    const [slot, author, writer, timeMs, offset, placedMs, kind, text, textRevision, tag, overlap, clock] = asArray(
      fields,
      12,
    );
    return {
      slot: asSlot(slot),
      author: asPeer(author),
      writer: asText(writer),
      timeMs: asInteger(timeMs, 0, TIME_MAX_MS),
      offsetMinutes: asInteger(offset, -OFFSET_MAX_MINUTES, OFFSET_MAX_MINUTES),
      placedMs: asInteger(placedMs, 0, TIME_MAX_MS),
      kind: asRevisionKind(kind),
      text: orNull(text, asText),
      textRevision: asInteger(textRevision, 1),
      tag: asBytes(tag, TAG_BYTES),
      overlap: asBoolean(overlap),
      clock: CLOCK_MARKS[asInteger(clock, 0, 2)] as ClockMark,
    };
  },
);

function asRevisionKind(value: Cbor | undefined): RevisionRecord['kind'] {
  const name = kindName(asInteger(value, 1, KIND_MAX));
  if (name === 'create' || name === 'edit' || name === 'remove' || name === 'restore') return name;
  throw new FormatError('no kind that makes a revision');
}

const sessionCodec = remembering(
  codec<SessionRecord>(
    (r) => [r.lastSeq, r.lastHash, r.closed, r.refusals.map((each) => [each.seq, REFUSALS[each.code]])],
    (fields) => {
      const [lastSeq, lastHash, closed, refusals] = asArray(fields, 4);
      return {
        lastSeq: seqOf(asInteger(lastSeq)),
        lastHash: asBytes(lastHash, HASH_BYTES),
        closed: asBoolean(closed),
        refusals: asArray(refusals).map((each) => {
          const [seq, number] = asArray(each, 2);
          const code = refusalOf(asInteger(number));
          if (code === undefined) throw new FormatError('no such refusal');
          return { seq: seqOf(asInteger(seq, 1)), code };
        }),
      };
    },
  ),
);

const memberCodec = remembering(
  codec<MemberRecord>(
    (r) => [
      r.name,
      r.rights,
      r.pinned,
      incarnationBytes(r.incarnation),
      r.sinceSlot,
      r.expelledSlot,
      r.expelledAt,
      r.away === null ? null : [r.away.untilMs],
    ],
    (fields) => {
      const [name, rights, pinned, incarnation, sinceSlot, expelledSlot, expelledAt, away] = asArray(fields, 8);
      return {
        name: asText(name),
        rights: asRights(rights),
        pinned: asPinnedRole(pinned),
        incarnation: incarnationFromBytes(asBytes(incarnation, 16)),
        sinceSlot: asSlot(sinceSlot),
        expelledSlot: orNull(expelledSlot, asSlot),
        expelledAt: asInteger(expelledAt),
        away: orNull(away, asAway),
      };
    },
  ),
);

function asAway(value: Cbor | undefined): Away {
  const [untilMs] = asArray(value, 1);
  return { untilMs: orNull(untilMs, (ms) => asInteger(ms, 0, TIME_MAX_MS)) };
}

const invitationCodec = codec<InvitationRecord>(
  (r) => [
    r.rights,
    r.pinned,
    r.expiresMs,
    keyFromPeer(r.by),
    r.slot,
    r.madeAt,
    r.usedBy === null ? null : keyFromPeer(r.usedBy),
    r.revoked,
  ],
  (fields) => {
    const [rights, pinned, expiresMs, by, slot, madeAt, usedBy, revoked] = asArray(fields, 8);
    return {
      rights: asRights(rights),
      pinned: asPinnedRole(pinned),
      expiresMs: orNull(expiresMs, (ms) => asInteger(ms, 0, TIME_MAX_MS)),
      by: asPeer(by),
      slot: asSlot(slot),
      madeAt: asInteger(madeAt),
      usedBy: orNull(usedBy, asPeer),
      revoked: asBoolean(revoked),
    };
  },
);

const keysCodec = remembering(
  codec<readonly Uint8Array[]>(
    (keys) => [keys],
    (fields) => {
      const [keys] = asArray(fields, 1);
      return asArray(keys).map((key) => asBytes(key, 32));
    },
  ),
);

const metaCodec = remembering(
  codec<MetaRecord>(
    (r) => [
      r.group,
      r.alpha,
      r.level,
      r.title,
      r.positions,
      r.judged,
      r.keepers,
      r.quorum === null ? null : [r.quorum.voters, r.quorum.phase1, r.quorum.phase2],
    ],
    (fields) => {
      const [group, alpha, level, title, positions, judged, keepers, quorum] = asArray(fields, 8);
      return {
        group: parseGroupId(asText(group, 26)),
        alpha: asInteger(alpha, 1),
        level: asInteger(level, 1),
        title: orNull(title, asText),
        positions: asInteger(positions),
        judged: asInteger(judged),
        keepers: asInteger(keepers),
        quorum: orNull(quorum, asQuorumSizes),
      };
    },
  ),
);

function asQuorumSizes(value: Cbor | undefined): QuorumSizes {
  const [voters, phase1, phase2] = asArray(value, 3);
  return { voters: asInteger(voters, 1), phase1: asInteger(phase1, 1), phase2: asInteger(phase2, 1) };
}

const clockCodec = remembering(
  codec<ClockRecord>(
    (points) => [points],
    (fields) => {
      const [points] = asArray(fields, 1);
      return asArray(points).map((point) => {
        const [slot, placedMs] = asArray(point, 2);
        return [asSlot(slot), asInteger(placedMs, 0, TIME_MAX_MS)] as const;
      });
    },
  ),
);

const appliedCodec = remembering(
  codec<AppliedRecord>(
    (r) => [r.slot, r.stateHash, r.logBytes, r.stateBytes],
    (fields) => {
      // A record without the sizes is as good: they count from there.
      const [slot, stateHash, logBytes, stateBytes] = fields.length === 2 ? [...fields, 0, 0] : asArray(fields, 4);
      return {
        slot: asSlot(slot),
        stateHash: asBytes(stateHash, HASH_BYTES),
        logBytes: asInteger(logBytes),
        stateBytes: asInteger(stateBytes),
      };
    },
  ),
);

/** 13 hex digits: 52 bits, in the order of the numbers. */
export const numberKey = (n: number): string => n.toString(16).padStart(13, '0');

/**
 * What is large stands under positions, which grow: so a database that keeps its keys in order appends. Ids are anywhere, and what stands under them is
 * moved again and again.
 */
export const positionPlace = (id: EntryId): Place<Position> => ({ key: `s/e/${id}`, codec: positionCodec });
export const entryPlace = (at: Position): Place<EntryRecord> => ({ key: `s/p/${numberKey(at)}`, codec: entryCodec });
export const revisionPlace = (at: Position, n: number): Place<RevisionRecord> => ({
  key: `s/r/${numberKey(at)}/${n}`,
  codec: revisionCodec,
});
export const sessionPlace = (peer: PeerId, incarnation: Incarnation): Place<SessionRecord> => ({
  key: `s/s/${peer}/${incarnation}`,
  codec: sessionCodec,
});
export const memberPlace = (peer: PeerId): Place<MemberRecord> => ({ key: `s/m/${peer}`, codec: memberCodec });
export const invitationPlace = (key: Uint8Array): Place<InvitationRecord> => ({
  key: `s/v/${toHex(key)}`,
  codec: invitationCodec,
});
/** The peers that are or were members, in the order in which they came. */
export const membersPlace: Place<readonly Uint8Array[]> = { key: 's/members', codec: keysCodec };
/** The keys of the invitations that are open. */
export const invitationsPlace: Place<readonly Uint8Array[]> = { key: 's/invitations', codec: keysCodec };
export const metaPlace: Place<MetaRecord> = { key: 's/meta', codec: metaCodec };
export const clockPlace: Place<ClockRecord> = { key: 's/clock', codec: clockCodec };
/** The one state record outside of the state hash. */
export const appliedPlace: Place<AppliedRecord> = { key: 's/applied', codec: appliedCodec };

/** What a record adds to the state hash. */
export const recordHash = (key: string, record: Uint8Array): Uint8Array => hashFor('state', key, record);
