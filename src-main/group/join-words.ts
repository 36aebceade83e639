import { DEFAULT_PORT, parseAddress, splitMultiaddr } from '../network/addresses.ts';
import type { JoinOutcome } from './join-guest.ts';

/** What a joiner is told: what happened, and what to do. The host's own words appear only where nothing better is known. */

const NEW_TICKET = 'Ask for a new one.';

/** Said at once: the first that is known of an attempt may take some seconds. */
export const lookingFor = (title: string): string =>
  `Looking for the machine that ${title === '' ? 'made this ticket' : `invites to ${title}`}…`;

export const noAnswer = (addresses: readonly string[]): JoinOutcome => ({
  code: 'NO_ANSWER',
  message:
    addresses.length === 0
      ? 'No answer: the ticket names no address, and its maker was not found on this network. Ask for a new one while it is connected.'
      : `No answer from ${placesOf(addresses)}. A firewall or a Wi-Fi that separates devices is likely, or Synod is not running there.`,
});

export const noReply = (addresses: readonly string[]): JoinOutcome => ({
  code: 'NO_ANSWER',
  message: `No answer from ${placesOf(addresses)}: the connection was made, but nothing came back. Synod may be busy or stopping there.`,
});

export const wrongPeer = (addresses: readonly string[]): JoinOutcome => ({
  code: 'WRONG_PEER',
  message: `Another machine answers at ${placesOf(addresses)}, not the one that made this ticket. Its address may have changed: ask for a new ticket.`,
});

export const doorShut = (addresses: readonly string[]): JoinOutcome => ({
  code: 'REFUSED',
  message: `${placesOf(addresses)} lets nobody in just now. The ticket is probably used or expired: ask for a new one.`,
});

export const refused = (message: string): JoinOutcome => ({
  code: 'REFUSED',
  message: message === '' ? 'Nobody is let in just now.' : message,
});

export const waiting = (host: string, why: string): JoinOutcome => ({
  code: 'WAITING',
  message: `${host === '' ? 'The other machine' : host} let you in; waiting for the group${why === '' ? '' : `: ${why}`}`,
});

export const notYet = (): JoinOutcome => ({
  code: 'NOT_YET',
  message: "The group hasn't let you in yet. Run the same command again.",
});

export const expired = (expiresMs: number | null): JoinOutcome => ({
  code: 'TICKET_EXPIRED',
  message: `This ticket ${expiresMs === null ? 'has expired' : `was good until ${minuteOf(expiresMs)}`}. ${NEW_TICKET}`,
});

export const used = (): JoinOutcome => ({
  code: 'INVITATION_USED',
  message: `This ticket was already used by another machine; each lets one in. ${NEW_TICKET}`,
});

export const revoked = (): JoinOutcome => ({
  code: 'INVITATION_REVOKED',
  message: `This ticket was withdrawn. ${NEW_TICKET}`,
});

export const unknown = (): JoinOutcome => ({
  code: 'INVITATION_UNKNOWN',
  message: `The machine that made this ticket doesn't know it any more. ${NEW_TICKET}`,
});

export const ownTicket = (): JoinOutcome => ({
  code: 'OWN_TICKET',
  message: 'This ticket was made on this machine, which is in the group already. Use it on another one.',
});

export const updateNeeded = (): JoinOutcome => ({
  code: 'UPDATE_NEEDED',
  message: 'The other machine runs another version of Synod. Update the older of the two.',
});

export const notUnderstood = (): JoinOutcome => ({
  code: 'BAD_ANSWER',
  message: `The other machine did not understand the question. Check that both run the same version of Synod.`,
});

export const badAnswer = (address: string): JoinOutcome => ({
  code: 'BAD_ANSWER',
  message: `What ${placesOf([address])} sent is not this group. Nothing of it was kept. Ask who invited you.`,
});

const SHOWN_PLACES = 3;

/** "10.20.4.17", "10.20.4.17 or nas.local:5000", "10.20.4.17, 10.20.4.18, nas.local and 2 more". */
export function placesOf(addresses: readonly string[]): string {
  const places = [...new Set(addresses.map(placeOf))];
  const shown = places.slice(0, SHOWN_PLACES);
  const more = places.length - shown.length;
  if (more > 0) return `${shown.join(', ')} and ${more} more`;
  return shown.length < 2 ? (shown[0] ?? 'the other machine') : `${shown.slice(0, -1).join(', ')} or ${shown.at(-1)}`;
}

/** Host, and the port where it isn't the usual one. */
function placeOf(address: string): string {
  const parsed = parseAddress(address.replace(/\/p2p\/.*$/, ''));
  const parts = parsed.ok ? splitMultiaddr(parsed.address) : null;
  if (!parts) return address;
  if (parts.port === DEFAULT_PORT) return parts.host;
  return parts.kind === 'ip6' ? `[${parts.host}]:${parts.port}` : `${parts.host}:${parts.port}`;
}

/** This machine's time, to the minute, the same in every language: `2026-11-20 14:05`. */
function minuteOf(ms: number): string {
  const time = new Date(ms);
  if (Number.isNaN(time.getTime())) return 'a date long past';
  const two = (n: number) => String(n).padStart(2, '0');
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} ${two(time.getHours())}:${two(time.getMinutes())}`;
}
