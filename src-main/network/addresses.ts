import { isIP } from 'node:net';

export const DEFAULT_PORT = 4747;

export type ParsedAddress =
  | { readonly ok: true; readonly address: string }
  | { readonly ok: false; readonly message: string };

/** The parts of a multiaddr that this network speaks: TCP over IP or a host name. */
export interface AddressParts {
  readonly kind: 'ip4' | 'ip6' | 'dns' | 'dns4' | 'dns6';
  readonly host: string;
  /** 1 … 65535 (0 only where one listens). */
  readonly port: number;
  /** The `/p2p/` part, if any. */
  readonly peer: string | null;
}

const HOST_NAME = /^(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9_](?:[a-z0-9_-]{0,62}))*\.?$/i;
const MULTIADDR = /^\/(ip4|ip6|dns|dns4|dns6)\/([^/]+)\/tcp\/(\d{1,5})(?:\/p2p\/([1-9A-HJ-NP-Za-km-z]+))?$/;

/** Null for what is no `/ip4|ip6|dns…/HOST/tcp/PORT[/p2p/PEER]`. */
export function splitMultiaddr(text: string): AddressParts | null {
  const match = MULTIADDR.exec(text);
  if (!match) return null;
  const [, kind, host, port, peer] = match as unknown as [string, AddressParts['kind'], string, string, string?];
  const fits = kind === 'ip4' ? isIP(host) === 4 : kind === 'ip6' ? isIP(host) === 6 : isHostName(host);
  if (!fits || Number(port) > 65_535) return null;
  return { kind, host, port: Number(port), peer: peer ?? null };
}

/** Without the `/p2p/` part; null for what can't be dialled. */
export function dialableAddress(text: string): string | null {
  const parts = splitMultiaddr(text);
  if (!parts || parts.port === 0 || parts.host === '0.0.0.0' || parts.host === '::') return null;
  return `/${parts.kind}/${parts.host}/tcp/${parts.port}`;
}

/** What a person types or pastes: `host`, `host:port`, IPv4, IPv6 (in brackets where a port follows), or a multiaddr; to a multiaddr without `/p2p/`. */
export function parseAddress(text: string): ParsedAddress {
  const input = text.trim();
  if (input === '') return refused('No address given.');
  if (input.startsWith('/')) {
    const address = dialableAddress(input);
    return address === null ? refused(`Not an address for TCP: ${input}`) : { ok: true, address };
  }
  if (isIP(input) === 6) return made(input, String(DEFAULT_PORT));
  const match = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(input);
  if (!match) return refused(`Not an address: ${input}. Expected host, host:port or [IPv6]:port.`);
  const [, bracketed, plain, port = String(DEFAULT_PORT)] = match;
  if (bracketed !== undefined && isIP(bracketed) !== 6) return refused(`Not an IPv6 address: ${bracketed}`);
  return made((bracketed ?? plain) as string, port);
}

function made(host: string, port: string): ParsedAddress {
  if (Number(port) < 1 || Number(port) > 65_535) return refused(`Not a port: ${port}. Ports are 1 to 65535.`);
  const family = isIP(host);
  if (family === 0 && !isHostName(host)) return refused(`Not a host name or an IP address: ${host}`);
  const kind = family === 4 ? 'ip4' : family === 6 ? 'ip6' : 'dns';
  return { ok: true, address: `/${kind}/${host}/tcp/${port}` };
}

/** Digits and dots alone are a mistyped IPv4 address, not a name. */
const isHostName = (host: string): boolean => HOST_NAME.test(host) && !/^[\d.]+$/.test(host);

const refused = (message: string): ParsedAddress => ({ ok: false, message });

export function isLoopback(address: string): boolean {
  const host = splitMultiaddr(address)?.host;
  return host !== undefined && (host === '::1' || host === 'localhost' || host.startsWith('127.'));
}
