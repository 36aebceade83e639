import { asArray, asInteger, asText, type Cbor, decodeCbor, encodeCbor, FormatError } from '../../shared/base/cbor.ts';

/**
 * The control stream of a connection between members. It is never paused, so that a peer that is busy with its frames is not
 * taken for a dead one.
 */
export type Pulse =
  /** The dialer asks for this connection to become the one between the two, and says where it listens. */
  | { readonly type: 'open'; readonly addresses: readonly string[] }
  /** The dialled side agrees; the dialer now opens the other streams. */
  | { readonly type: 'accept'; readonly addresses: readonly string[] }
  /** Another connection between the two is alive, or is about to be: this one is closed. */
  | { readonly type: 'reject' }
  | { readonly type: 'ping'; readonly nonce: number }
  | { readonly type: 'pong'; readonly nonce: number }
  /** How many bytes arrived on a paced stream, in all: what the sender's window is measured by. */
  | { readonly type: 'ack'; readonly purpose: PacedPurpose; readonly bytes: number };

/** Purposes whose bytes in flight are limited, so that they never fill the line in front of consensus and pings. */
export type PacedPurpose = 'session' | 'bulk';

export const PULSE_BYTES_MAX = 8 * 1024;
/** What one side may announce. */
export const ANNOUNCED_ADDRESSES_MAX = 16;
const ADDRESS_LETTERS_MAX = 200;

const PACED: readonly PacedPurpose[] = ['session', 'bulk'];

export function encodePulse(pulse: Pulse): Uint8Array {
  return encodeCbor(fieldsOf(pulse));
}

function fieldsOf(pulse: Pulse): Cbor {
  switch (pulse.type) {
    case 'open':
      return [0, boundAddresses(pulse.addresses)];
    case 'accept':
      return [1, boundAddresses(pulse.addresses)];
    case 'reject':
      return [2];
    case 'ping':
      return [3, pulse.nonce];
    case 'pong':
      return [4, pulse.nonce];
    case 'ack':
      return [5, PACED.indexOf(pulse.purpose), pulse.bytes];
  }
}

const boundAddresses = (addresses: readonly string[]): string[] =>
  addresses.filter((address) => address.length <= ADDRESS_LETTERS_MAX).slice(0, ANNOUNCED_ADDRESSES_MAX);

/** @throws FormatError */
export function decodePulse(bytes: Uint8Array): Pulse {
  const fields = asArray(decodeCbor(bytes));
  const kind = asInteger(fields[0], 0, 5);
  asArray(fields, [2, 2, 1, 2, 2, 3][kind]);
  switch (kind) {
    case 0:
      return { type: 'open', addresses: asAddresses(fields[1]) };
    case 1:
      return { type: 'accept', addresses: asAddresses(fields[1]) };
    case 2:
      return { type: 'reject' };
    case 3:
      return { type: 'ping', nonce: asInteger(fields[1]) };
    case 4:
      return { type: 'pong', nonce: asInteger(fields[1]) };
    default:
      return { type: 'ack', purpose: PACED[asInteger(fields[1], 0, 1)] as PacedPurpose, bytes: asInteger(fields[2]) };
  }
}

function asAddresses(field: Cbor | undefined): string[] {
  const addresses = asArray(field);
  if (addresses.length > ANNOUNCED_ADDRESSES_MAX) throw new FormatError('too many addresses');
  return addresses.map((address) => asText(address, ADDRESS_LETTERS_MAX));
}
