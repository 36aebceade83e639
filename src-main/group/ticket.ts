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

/**
 * `TICKET_NOT_ONE`: some other text. `TICKET_MISTYPED`: letters are wrong or missing. `TICKET_TOO_LONG`: it goes on after any ticket's end.
 * `TICKET_MANY`: two tickets that differ. `TICKET_NEWER`: made by a newer version.
 */
export type TicketErrorCode = 'TICKET_NOT_ONE' | 'TICKET_MISTYPED' | 'TICKET_TOO_LONG' | 'TICKET_MANY' | 'TICKET_NEWER';

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
  TICKET_TOO_LONG: 'That is too long for a ticket. Copy it again, and nothing else.',
  TICKET_MANY:
    'There are two different tickets in this text, and each is for one log or one machine. Paste one of them.',
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
/** About twice what the limits above allow. Letters; what is longer is not looked at as a ticket. */
const LETTERS_MAX = 8192;
/**
 * How many endings of what may be tickets are tried in one text. Enough for one that was typed from paper in groups of four letters, and little work
 * whatever is pasted.
 */
const ENDINGS_MAX = 500;

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
 * Reads a ticket as people hand it over: broken over lines, with spaces, in capitals, in quotes, as a `synod:` link, or in the message that it came in.
 * @throws TicketError
 */
export function parseTicket(text: string): Ticket {
  const found = findTickets(text);
  const [letters, another] = found.good;
  if (another !== undefined) throw new TicketError('TICKET_MANY');
  if (letters === undefined) throw new TicketError(found.why);
  try {
    return decodeTicket(bodyOf(letters) as Uint8Array);
  } catch (error) {
    throw error instanceof TicketError ? error : new TicketError('TICKET_MISTYPED', { cause: error });
  }
}

/** The tickets in a text, each once, as their letters; and what to say where there is none. */
function findTickets(text: string): { readonly good: readonly string[]; readonly why: TicketErrorCode } {
  const good = new Set<string>();
  let why: TicketErrorCode = 'TICKET_NOT_ONE';
  let endings = ENDINGS_MAX;
  const spaced = text.toLowerCase().replace(NO_LETTERS, ' ');
  const beginnings = [...spaced.matchAll(BEGINNING)];
  for (const [at, { 0: prefix, 1: version, index }] of beginnings.entries()) {
    if (version !== '1') {
      if (why === 'TICKET_NOT_ONE') why = 'TICKET_NEWER';
      continue;
    }
    if (why !== 'TICKET_TOO_LONG') why = 'TICKET_MISTYPED';
    // Where the ticket ends and the message goes on is not to be seen, as both are letters: the checksum tells.
    const rest = spaced.slice(index + prefix.length, beginnings[at + 1]?.index);
    let letters = '';
    for (const part of (rest.match(RUN)?.[0] ?? '').split(' ')) {
      if (part === '') continue;
      letters += part;
      if (letters.length > LETTERS_MAX) {
        why = 'TICKET_TOO_LONG';
        break;
      }
      if (endings === 0) break;
      endings -= 1;
      if (bodyOf(letters) === null) continue;
      good.add(letters);
      break;
    }
  }
  return { good: [...good], why };
}

/** What stands between a ticket's letters where it was broken over lines, quoted or marked. */
const NO_LETTERS = /[\s\u00ad\u200b-\u200d\u2060\ufeff"'`<>]+/g;
/** With the version. No other letter of a ticket is a 1, so the next beginning is never within one. */
const BEGINNING = /(?<![a-z0-9])s ?y ?n ?o ?d ?([0-9])/g;
const RUN = /^[a-z2-7 ]*/;

/** Null where the letters are not those of a whole ticket. */
function bodyOf(letters: string): Uint8Array | null {
  try {
    const bytes = fromBase32(letters);
    const body = bytes.subarray(0, Math.max(0, bytes.length - CHECK_BYTES));
    return equal(checksum(body), bytes.subarray(body.length)) ? body : null;
  } catch {
    return null;
  }
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
