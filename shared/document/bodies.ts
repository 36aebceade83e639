import { utf8 } from '../base/bytes.ts';
import {
  asArray,
  asBoolean,
  asBytes,
  asInteger,
  asText,
  type Cbor,
  encodeCbor,
  FormatError,
  orNull,
} from '../base/cbor.ts';
import {
  type EntryId,
  type Incarnation,
  incarnationBytes,
  incarnationFromBytes,
  keyFromPeer,
  type PeerId,
  parseEntryId,
  peerFromKey,
} from '../base/ids.ts';
import { KIND_MAX, KINDS, kindName } from './kinds.ts';
import { QUORUM_VOTERS_MAX } from './quorum.ts';
import { decodeStrictly } from './strict.ts';
import { KEY_MAX_BYTES, NAME_MAX_BYTES } from './text.ts';
import { asPinnedRole, asRights, type PinnedRole, type Rights, TIME_MAX_MS } from './types.ts';

/** A new entry at the next position. */
export interface CreateBody {
  readonly kind: 'create';
  /** Scoped to the author's peer: the same key with the same text is the same entry. */
  readonly key: string | null;
  readonly text: string;
}

/** A whole new text, made on one revision. */
export interface EditBody {
  readonly kind: 'edit';
  readonly entry: EntryId;
  readonly baseRevision: number;
  /** 8 bytes: the tag of the command that made that revision. Numbers alone could name somebody else's revision. */
  readonly baseTag: Uint8Array;
  readonly text: string;
  /** The text was merged, and keeps two wordings of the same place. */
  readonly overlap: boolean;
}

export interface RemoveBody {
  readonly kind: 'remove';
  readonly entry: EntryId;
}

/** Back from removal, or back to an older revision's text. */
export interface RestoreBody {
  readonly kind: 'restore';
  readonly entry: EntryId;
  /** Null: the text that the entry had when it was removed. */
  readonly revision: number | null;
}

export interface RenameBody {
  readonly kind: 'rename';
  readonly title: string;
}

export interface ProfileBody {
  readonly kind: 'profile';
  readonly name: string;
}

export interface InviteBody {
  readonly kind: 'invite';
  /** The invitation's Ed25519 public key. */
  readonly key: Uint8Array;
  readonly rights: Rights;
  readonly pinned: PinnedRole;
  /** Informational: judged before an admission is proposed, never at apply. */
  readonly expiresMs: number | null;
}

export interface AdmitBody {
  readonly kind: 'admit';
  readonly key: Uint8Array;
  readonly joiner: PeerId;
  readonly incarnation: Incarnation;
  /** By the invitation's key, over `invitationBytes`. */
  readonly signature: Uint8Array;
  readonly name: string;
}

/** Also how a member leaves: by expelling itself. */
export interface ExpelBody {
  readonly kind: 'expel';
  readonly peer: PeerId;
}

export interface RightsBody {
  readonly kind: 'rights';
  readonly peer: PeerId;
  readonly rights: Rights;
}

export interface PinRoleBody {
  readonly kind: 'pinRole';
  readonly peer: PeerId;
  readonly role: PinnedRole;
}

/** An invitation that nobody used yet opens nothing any more. */
export interface RevokeBody {
  readonly kind: 'revoke';
  /** The invitation's Ed25519 public key. */
  readonly key: Uint8Array;
}

/** How many voters each phase takes, as long as there are so many voters. Both null: majorities, however many there are. */
export interface QuorumBody {
  readonly kind: 'quorum';
  /** The number of voters that the sizes are meant for. */
  readonly voters: number;
  readonly phase1: number | null;
  readonly phase2: number | null;
}

/** The author's machine goes away for a while, or is back: while it is away, others vote and lead in its place. */
export interface AwayBody {
  readonly kind: 'away';
  readonly isAway: boolean;
  /** When it means to be back; null where it can't say, and where it is back. Held against a leader's clock, never at apply. */
  readonly untilMs: number | null;
}

/** The first command of a new incarnation. Closes the peer's older sessions. */
export interface OpenSessionBody {
  readonly kind: 'openSession';
}

export type SingleBody =
  | CreateBody
  | EditBody
  | RemoveBody
  | RestoreBody
  | RenameBody
  | ProfileBody
  | InviteBody
  | AdmitBody
  | ExpelBody
  | RightsBody
  | PinRoleBody
  | OpenSessionBody
  | RevokeBody
  | QuorumBody
  | AwayBody;

/** Several bodies, all or nothing, under one seq. Never a bundle or an `openSession` inside. */
export interface BundleBody {
  readonly kind: 'bundle';
  readonly bodies: readonly SingleBody[];
}

export type Body = SingleBody | BundleBody;

export interface Payload {
  /** The name of the person at the keyboard: a claim; the signature proves the machine. May be empty. */
  readonly writer: string;
  readonly body: Body;
}

/** Bodies in one bundle. */
export const BUNDLE_MAX = 1024;
export const TAG_BYTES = 8;

/** A kind that this build does not know: its reader pauses rather than guess (R10). */
export class UnknownKindError extends Error {
  override readonly name = 'UnknownKindError';
  readonly kind: number;
  constructor(kind: number) {
    super(`a command of the unknown kind ${kind}`);
    this.kind = kind;
  }
}

/** CBOR `[writer, body]`. */
export function encodePayload(payload: Payload): Uint8Array {
  return encodeCbor([payload.writer, toCbor(payload.body)]);
}

/**
 * `kind` is the header's.
 * @throws UnknownKindError, also for a kind inside a bundle
 * @throws FormatError
 */
export function decodePayload(kind: number, bytes: Uint8Array): Payload {
  if (kindName(kind) === undefined) throw new UnknownKindError(kind);
  return decodeStrictly(bytes, (value) => {
    const [writer, body] = asArray(value, 2);
    return { writer: asShortText(writer, NAME_MAX_BYTES), body: bodyFrom(kind, body) };
  });
}

function toCbor(body: Body): Cbor {
  switch (body.kind) {
    case 'bundle':
      return body.bodies.map((each) => [KINDS[each.kind], toCbor(each)]);
    case 'create':
      return [body.key, body.text];
    case 'edit':
      return [body.entry, body.baseRevision, body.baseTag, body.text, body.overlap];
    case 'remove':
      return [body.entry];
    case 'restore':
      return [body.entry, body.revision];
    case 'rename':
      return [body.title];
    case 'profile':
      return [body.name];
    case 'invite':
      return [body.key, body.rights, body.pinned, body.expiresMs];
    case 'admit':
      return [body.key, keyFromPeer(body.joiner), incarnationBytes(body.incarnation), body.signature, body.name];
    case 'expel':
      return [keyFromPeer(body.peer)];
    case 'rights':
      return [keyFromPeer(body.peer), body.rights];
    case 'pinRole':
      return [keyFromPeer(body.peer), body.role];
    case 'openSession':
      return [];
    case 'revoke':
      return [body.key];
    case 'quorum':
      return [body.voters, body.phase1, body.phase2];
    case 'away':
      return [body.isAway, body.untilMs];
  }
}

function bodyFrom(kind: number, value: Cbor | undefined): Body {
  return kind === KINDS.bundle ? bundleFrom(value) : singleFrom(kind, value);
}

function bundleFrom(value: Cbor | undefined): BundleBody {
  const items = asArray(value);
  if (items.length === 0 || items.length > BUNDLE_MAX) throw new FormatError(`1 … ${BUNDLE_MAX} bodies expected`);
  // Which kinds there are comes first: a bundle with one unknown body is unknown, whatever else is wrong with it.
  const pairs = items.map((item) => {
    const [kind, body] = asArray(item, 2);
    const number = asInteger(kind, 0, KIND_MAX);
    if (kindName(number) === undefined) throw new UnknownKindError(number);
    return [number, body] as const;
  });
  return {
    kind: 'bundle',
    bodies: pairs.map(([kind, body]) => {
      if (kind === KINDS.bundle || kind === KINDS.openSession) throw new FormatError('a kind that no bundle holds');
      return singleFrom(kind, body);
    }),
  };
}

function singleFrom(kind: number, value: Cbor | undefined): SingleBody {
  const name = kindName(kind);
  switch (name) {
    case 'create': {
      const [key, text] = asArray(value, 2);
      return { kind: name, key: orNull(key, asKey), text: asText(text) };
    }
    case 'edit': {
      const [entry, baseRevision, baseTag, text, overlap] = asArray(value, 5);
      return {
        kind: name,
        entry: asEntryId(entry),
        baseRevision: asInteger(baseRevision, 1),
        baseTag: asBytes(baseTag, TAG_BYTES),
        text: asText(text),
        overlap: asBoolean(overlap),
      };
    }
    case 'remove': {
      const [entry] = asArray(value, 1);
      return { kind: name, entry: asEntryId(entry) };
    }
    case 'restore': {
      const [entry, revision] = asArray(value, 2);
      return { kind: name, entry: asEntryId(entry), revision: orNull(revision, (n) => asInteger(n, 1)) };
    }
    case 'rename': {
      const [title] = asArray(value, 1);
      return { kind: name, title: asText(title) };
    }
    case 'profile': {
      const [own] = asArray(value, 1);
      return { kind: name, name: asText(own) };
    }
    case 'invite': {
      const [key, rights, pinned, expiresMs] = asArray(value, 4);
      return {
        kind: name,
        key: asBytes(key, 32),
        rights: asRights(rights),
        pinned: asPinnedRole(pinned),
        expiresMs: orNull(expiresMs, (ms) => asInteger(ms, 0, TIME_MAX_MS)),
      };
    }
    case 'admit': {
      const [key, joiner, incarnation, signature, own] = asArray(value, 5);
      return {
        kind: name,
        key: asBytes(key, 32),
        joiner: asPeer(joiner),
        incarnation: incarnationFromBytes(asBytes(incarnation, 16)),
        signature: asBytes(signature, 64),
        name: asText(own),
      };
    }
    case 'expel': {
      const [peer] = asArray(value, 1);
      return { kind: name, peer: asPeer(peer) };
    }
    case 'rights': {
      const [peer, rights] = asArray(value, 2);
      return { kind: name, peer: asPeer(peer), rights: asRights(rights) };
    }
    case 'pinRole': {
      const [peer, role] = asArray(value, 2);
      return { kind: name, peer: asPeer(peer), role: asPinnedRole(role) };
    }
    case 'openSession':
      asArray(value, 0);
      return { kind: name };
    case 'revoke': {
      const [key] = asArray(value, 1);
      return { kind: name, key: asBytes(key, 32) };
    }
    case 'quorum': {
      const [voters, phase1, phase2] = asArray(value, 3);
      if ((phase1 === null) !== (phase2 === null)) throw new FormatError('one quorum size without the other');
      const size = (each: Cbor | undefined) => orNull(each, (n) => asInteger(n, 1, QUORUM_VOTERS_MAX));
      return {
        kind: name,
        voters: asInteger(voters, 1, QUORUM_VOTERS_MAX),
        phase1: size(phase1),
        phase2: size(phase2),
      };
    }
    case 'away': {
      const [isAway, untilMs] = asArray(value, 2);
      const away = asBoolean(isAway);
      if (!away && untilMs !== null) throw new FormatError('back, and until when');
      return { kind: name, isAway: away, untilMs: orNull(untilMs, (ms) => asInteger(ms, 0, TIME_MAX_MS)) };
    }
    default:
      throw new UnknownKindError(kind);
  }
}

const asPeer = (value: Cbor | undefined): PeerId => peerFromKey(asBytes(value, 32));
const asEntryId = (value: Cbor | undefined): EntryId => parseEntryId(asText(value, 26));

function asKey(value: Cbor | undefined): string {
  const key = asShortText(value, KEY_MAX_BYTES);
  if (key === '') throw new FormatError('an empty key');
  return key;
}

function asShortText(value: Cbor | undefined, maxBytes: number): string {
  const text = asText(value, maxBytes);
  if (text.length * 3 > maxBytes && utf8(text).length > maxBytes) throw new FormatError('a text is too long');
  return text;
}
