import {
  asArray,
  asBytes,
  asInteger,
  asText,
  type Cbor,
  decodeCbor,
  encodeCbor,
  FormatError,
} from '../../shared/base/cbor.ts';
import {
  type GroupId,
  type Incarnation,
  incarnationBytes,
  incarnationFromBytes,
  keyFromPeer,
  type PeerId,
  parseGroupId,
  peerFromKey,
} from '../../shared/base/ids.ts';
import { NAME_MAX_BYTES, TITLE_MAX_BYTES } from '../../shared/document/text.ts';
import type { PinnedRole, Rights } from '../../shared/document/types.ts';
import { JOIN_FRAME_BYTES_MAX } from '../network/network.ts';
import { KEY_BYTES, SIGNATURE_BYTES } from './keys.ts';
import { MESSAGE_BYTES_MAX, oneLine } from './text.ts';
import { readAddresses } from './ticket.ts';

/**
 * The join conversation: one question, any number of `waiting`, one final answer. Each frame is a CBOR array that begins with the
 * version and a word. See README.md for the table.
 */
export const JOIN_VERSION = 1;

/** A member's part in consensus. */
export type Role = NonNullable<PinnedRole>;

const RIGHTS: readonly Rights[] = ['keeper', 'writer', 'reader'];
const ROLES: readonly Role[] = ['voter', 'learner', 'witness'];

/** The guest's only frame: "let me in with this invitation". Who asks is what Noise proved, so it isn't in here. */
export interface JoinRequest {
  readonly group: GroupId;
  /** The invitation's public key, 32 bytes. */
  readonly invitationKey: Uint8Array;
  /** Of the store that the guest is going to make. */
  readonly incarnation: Incarnation;
  /** How the guest's machine wants to be called. A claim, like every name. */
  readonly name: string;
  /** By the invitation's private key over the document's `invitationBytes`: no other peer can use it. */
  readonly signature: Uint8Array;
}

/** Somebody in the group, as the host knows them: whom to dial first. */
export interface JoinMember {
  readonly peer: PeerId;
  readonly name: string;
  readonly addresses: readonly string[];
}

/** The invitation was good and the group is being asked; sent again so that a silent host can be told from a patient one. */
export interface JoinWaiting {
  readonly type: 'waiting';
  /** The host's name. */
  readonly host: string;
  /** What is waited for, in words: "needs 2 of 3 voters; Ana's laptop is unreachable". May be empty. */
  readonly why: string;
}

/** The group has agreed: the guest is a member. Final. */
export interface JoinAdmitted {
  readonly type: 'admitted';
  /** The value of slot 0. Its hash is the group's id, so that it can't be another group's. */
  readonly genesis: Uint8Array;
  readonly title: string;
  readonly rights: Rights;
  readonly role: Role;
  readonly members: readonly JoinMember[];
  /** Opaque here: what the layer above wants the newcomer to know first (configuration, prefix). May be empty. */
  readonly info: Uint8Array;
}

/**
 * - `TICKET_EXPIRED`, `INVITATION_USED` (by another machine), `INVITATION_REVOKED`, `INVITATION_UNKNOWN` (here, or the group is): this ticket is no good.
 * - `BAD_REQUEST`: the question is malformed or its signature is wrong.
 * - `UPDATE_NEEDED`: the guest speaks a version that the host doesn't.
 * - `TRY_LATER`: the host can't let anybody in just now; the same question may be asked again.
 */
export type JoinRefusalCode =
  | 'TICKET_EXPIRED'
  | 'INVITATION_USED'
  | 'INVITATION_REVOKED'
  | 'INVITATION_UNKNOWN'
  | 'BAD_REQUEST'
  | 'UPDATE_NEEDED'
  | 'TRY_LATER';

export const JOIN_REFUSAL_CODES: readonly JoinRefusalCode[] = [
  'TICKET_EXPIRED',
  'INVITATION_USED',
  'INVITATION_REVOKED',
  'INVITATION_UNKNOWN',
  'BAD_REQUEST',
  'UPDATE_NEEDED',
  'TRY_LATER',
];

/** No. Final for this conversation. */
export interface JoinRefused {
  readonly type: 'refused';
  /** Null where a newer host gives a reason that this version doesn't know. */
  readonly code: JoinRefusalCode | null;
  /** In the host's words; shown only where the code is unknown or `TRY_LATER`. */
  readonly message: string;
}

export type JoinAnswer = JoinWaiting | JoinAdmitted | JoinRefused;

/** The other side speaks a newer version. */
export class JoinVersionError extends Error {
  override readonly name = 'JoinVersionError';
}

/** A question has 370 bytes with the longest name. */
export const REQUEST_BYTES_MAX = 1024;
export const GENESIS_BYTES_MAX = 64 * 1024;
export const INFO_BYTES_MAX = 64 * 1024;
/** What the list of members may take of a frame; those at its end are left out. The newcomer learns of them from the log. */
const MEMBERS_BYTES_MAX = 96 * 1024;
const MEMBERS_MAX = 1024;
const MEMBER_ADDRESSES_MAX = 8;

export function encodeJoinRequest(request: JoinRequest): Uint8Array {
  return encodeCbor([
    JOIN_VERSION,
    'join',
    request.group,
    request.invitationKey,
    incarnationBytes(request.incarnation),
    oneLine(request.name, NAME_MAX_BYTES),
    request.signature,
  ]);
}

/** @throws FormatError, JoinVersionError */
export function decodeJoinRequest(frame: Uint8Array): JoinRequest {
  if (frame.length > REQUEST_BYTES_MAX) throw new FormatError('a question of this length is none');
  const fields = decodeFrame(frame);
  const [, word, group, invitationKey, incarnation, name, signature] = asArray(fields, 7);
  if (word !== 'join') throw new FormatError('not a join question');
  return {
    group: parseGroupId(asText(group)),
    invitationKey: asBytes(invitationKey, KEY_BYTES),
    incarnation: incarnationFromBytes(asBytes(incarnation)),
    name: readName(name),
    signature: asBytes(signature, SIGNATURE_BYTES),
  };
}

/** Names and words are cut to length; @throws RangeError where `genesis` or `info` is larger than a frame can carry. */
export function encodeJoinAnswer(answer: JoinAnswer): Uint8Array {
  switch (answer.type) {
    case 'waiting':
      return encodeCbor([
        JOIN_VERSION,
        'waiting',
        oneLine(answer.host, NAME_MAX_BYTES),
        oneLine(answer.why, MESSAGE_BYTES_MAX),
      ]);
    case 'refused':
      return encodeCbor([
        JOIN_VERSION,
        'refused',
        answer.code ?? 'TRY_LATER',
        oneLine(answer.message, MESSAGE_BYTES_MAX),
      ]);
    case 'admitted':
      if (answer.genesis.length > GENESIS_BYTES_MAX)
        throw new RangeError(`a genesis of ${answer.genesis.length} bytes`);
      if (answer.info.length > INFO_BYTES_MAX) throw new RangeError(`an info of ${answer.info.length} bytes`);
      return encodeCbor([
        JOIN_VERSION,
        'admitted',
        answer.genesis,
        oneLine(answer.title, TITLE_MAX_BYTES),
        answer.rights,
        answer.role,
        memberRows(answer.members),
        answer.info,
      ]);
  }
}

/** @throws FormatError, JoinVersionError */
export function decodeJoinAnswer(frame: Uint8Array): JoinAnswer {
  if (frame.length > JOIN_FRAME_BYTES_MAX) throw new FormatError('an answer of this length is none');
  const fields = decodeFrame(frame);
  switch (fields[1]) {
    case 'waiting': {
      const [, , host, why] = asArray(fields, 4);
      return {
        type: 'waiting',
        host: oneLine(asText(host), NAME_MAX_BYTES),
        why: oneLine(asText(why), MESSAGE_BYTES_MAX),
      };
    }
    case 'refused': {
      const [, , code, message] = asArray(fields, 4);
      return {
        type: 'refused',
        code: oneOf(JOIN_REFUSAL_CODES, asText(code)) ?? null,
        message: oneLine(asText(message), MESSAGE_BYTES_MAX),
      };
    }
    case 'admitted':
      return decodeAdmitted(fields);
    default:
      throw new FormatError('not a join answer');
  }
}

function decodeAdmitted(fields: readonly Cbor[]): JoinAdmitted {
  const [, , genesis, title, rights, role, members, info] = asArray(fields, 8);
  const knownRights = oneOf(RIGHTS, asText(rights));
  const knownRole = oneOf(ROLES, asText(role));
  if (knownRights === undefined || knownRole === undefined) throw new FormatError('unknown rights or role');
  const rows = asArray(members);
  if (rows.length > MEMBERS_MAX) throw new FormatError('too many members');
  return {
    type: 'admitted',
    genesis: asBytes(genesis, undefined, GENESIS_BYTES_MAX).slice(),
    title: oneLine(asText(title), TITLE_MAX_BYTES),
    rights: knownRights,
    role: knownRole,
    members: rows.map(decodeMember),
    info: asBytes(info, undefined, INFO_BYTES_MAX).slice(),
  };
}

function decodeMember(row: Cbor): JoinMember {
  const [key, name, addresses] = asArray(row, 3);
  return {
    peer: peerFromKey(asBytes(key, KEY_BYTES)),
    name: oneLine(asText(name), NAME_MAX_BYTES),
    addresses: readAddresses(addresses, MEMBER_ADDRESSES_MAX),
  };
}

function memberRows(members: readonly JoinMember[]): readonly Cbor[] {
  const rows: Cbor[] = [];
  let size = 0;
  for (const member of members.slice(0, MEMBERS_MAX)) {
    const row: Cbor = [
      keyFromPeer(member.peer),
      oneLine(member.name, NAME_MAX_BYTES),
      member.addresses.slice(0, MEMBER_ADDRESSES_MAX),
    ];
    size += encodeCbor(row).length;
    if (size > MEMBERS_BYTES_MAX) break;
    rows.push(row);
  }
  return rows;
}

/** The version decides before anything else is looked at. */
function decodeFrame(frame: Uint8Array): readonly Cbor[] {
  const fields = asArray(decodeCbor(frame));
  const version = asInteger(fields[0], 1);
  if (version > JOIN_VERSION) throw new JoinVersionError(`version ${version}`);
  return fields;
}

/** A name that would have to be changed to be shown is refused: the guest sends it as it will stand in the log. */
function readName(value: Cbor | undefined): string {
  const name = asText(value);
  if (name === '' || name !== oneLine(name, NAME_MAX_BYTES)) throw new FormatError('not a name');
  return name;
}

function oneOf<T extends string>(list: readonly T[], text: string): T | undefined {
  return list.find((each) => each === text);
}
