import { concat, equal } from '../../shared/base/bytes.ts';
import {
  asArray,
  asBytes,
  asInteger,
  asText,
  type Cbor,
  decodeCbor,
  encodeCbor,
  orNull,
} from '../../shared/base/cbor.ts';
import type { RandomBytes } from '../../shared/base/crypto.ts';
import { hashFor } from '../../shared/base/hash.ts';
import {
  base32,
  fromBase32,
  type GroupId,
  keyFromPeer,
  type PeerId,
  parseGroupId,
  peerFromKey,
} from '../../shared/base/ids.ts';
import { KEY_BYTES, platformRandom, SEED_BYTES, signerFromSeed } from './keys.ts';
import { oneLine } from './text.ts';

/** What lets one machine into one group: whoever holds it may use it, once. */
export interface Ticket {
  readonly group: GroupId;
  /** Where the inviter was when it made the ticket: multiaddrs or `host:port`, best first. */
  readonly addresses: readonly string[];
  readonly inviter: PeerId;
  /** The invitation's private key, 32 bytes; the log holds its public one. */
  readonly seed: Uint8Array;
  /** For people only: the log's title when the ticket was made, maybe shortened. */
  readonly title: string;
  /** For people only, milliseconds since 1970: the group's own record of the invitation decides. */
  readonly expiresMs: number | null;
}

/** `TICKET_NOT_ONE`: some other text. `TICKET_MISTYPED`: letters are wrong or missing. `TICKET_NEWER`: made by a newer version. */
export type TicketErrorCode = 'TICKET_NOT_ONE' | 'TICKET_MISTYPED' | 'TICKET_NEWER';

export class TicketError extends Error {
  override readonly name = 'TicketError';
  readonly code: TicketErrorCode;
  constructor(code: TicketErrorCode, options?: { cause?: unknown }) {
    super(WORDS[code], options);
    this.code = code;
  }
}

const WORDS: Readonly<Record<TicketErrorCode, string>> = {
  TICKET_NOT_ONE: 'This is not a ticket: a ticket begins with synod1. Copy it whole from the message it came in.',
  TICKET_MISTYPED: 'Letters of this ticket are wrong or missing. Copy it whole, or ask for it again.',
  TICKET_NEWER: 'This ticket was made by a newer Synod. Update this one first.',
};

/** The digit is the version of the text; another one stands for another way to read it. */
const PREFIX = 'synod1';
const VERSION = 1;
const CHECK_BYTES = 4;

/** A ticket is pasted, typed from paper and drawn as a QR code: it stays short. */
export const TICKET_ADDRESSES_MAX = 8;
export const ADDRESS_LENGTH_MAX = 200;
const TICKET_TITLE_BYTES_MAX = 120;
/** About twice what the limits above allow. Text longer than this is not looked at. */
const TEXT_LENGTH_MAX = 8192;

/** A new invitation: the public key goes into the log, the seed into the ticket. */
export function createInvitationKey(random: RandomBytes = platformRandom): { publicKey: Uint8Array; seed: Uint8Array } {
  const seed = random(SEED_BYTES);
  return { seed, publicKey: signerFromSeed(seed).publicKey };
}

/** Takes the best addresses and the title's beginning where there is more than fits. */
export function formatTicket(ticket: Ticket): string {
  const body = encodeCbor([
    VERSION,
    parseGroupId(ticket.group),
    ticket.addresses.filter(isAddress).slice(0, TICKET_ADDRESSES_MAX),
    keyFromPeer(ticket.inviter),
    asBytes(ticket.seed, SEED_BYTES),
    oneLine(ticket.title, TICKET_TITLE_BYTES_MAX),
    ticket.expiresMs,
  ]);
  return PREFIX + base32(concat(body, checksum(body)));
}

/** The form that opens the app when it is clicked. */
export const ticketLink = (ticketText: string): string => `synod:${ticketText}`;

/**
 * Reads a ticket as people hand it over: broken over lines, with spaces, in capitals, in quotes or as a `synod:` link.
 * @throws TicketError
 */
export function parseTicket(text: string): Ticket {
  if (text.length > TEXT_LENGTH_MAX) throw new TicketError('TICKET_NOT_ONE');
  const letters = lettersOf(text);
  const version = /^synod([0-9])/.exec(letters)?.[1];
  if (version === undefined) throw new TicketError('TICKET_NOT_ONE');
  if (version !== '1') throw new TicketError('TICKET_NEWER');
  try {
    const bytes = fromBase32(letters.slice(PREFIX.length));
    const body = bytes.subarray(0, Math.max(0, bytes.length - CHECK_BYTES));
    if (!equal(checksum(body), bytes.subarray(body.length))) throw new TicketError('TICKET_MISTYPED');
    return decodeTicket(body);
  } catch (error) {
    throw error instanceof TicketError ? error : new TicketError('TICKET_MISTYPED', { cause: error });
  }
}

function lettersOf(text: string): string {
  return text
    .replace(/[\s\u00ad\u200b-\u200d\u2060\ufeff"'`<>]+/g, '')
    .toLowerCase()
    .replace(/^synod:(?:\/\/)?(?:join\/)?/, '')
    .replace(/[/.]$/, '');
}

function checksum(body: Uint8Array): Uint8Array {
  return hashFor('ticket', body).subarray(0, CHECK_BYTES);
}

function decodeTicket(body: Uint8Array): Ticket {
  const fields: readonly Cbor[] = asArray(decodeCbor(body));
  if (asInteger(fields[0], 1) > VERSION) throw new TicketError('TICKET_NEWER');
  const [, group, addresses, inviter, seed, title, expires] = asArray(fields, 7);
  return {
    group: parseGroupId(asText(group)),
    addresses: readAddresses(addresses, TICKET_ADDRESSES_MAX),
    inviter: peerFromKey(asBytes(inviter, KEY_BYTES)),
    seed: asBytes(seed, SEED_BYTES).slice(),
    title: oneLine(asText(title), TICKET_TITLE_BYTES_MAX),
    expiresMs: orNull(expires, (ms) => asInteger(ms)),
  };
}

/** Printable ASCII without spaces, so that it can be shown and dialled. What it means is the network's to say. */
export function isAddress(text: string): boolean {
  return text.length <= ADDRESS_LENGTH_MAX && /^[\x21-\x7e]+$/.test(text);
}

/** @throws FormatError where it is no list; addresses of a kind that this version doesn't take are passed over. */
export function readAddresses(value: Cbor | undefined, countMax: number): readonly string[] {
  return asArray(value)
    .slice(0, countMax)
    .map((address) => asText(address))
    .filter(isAddress);
}
