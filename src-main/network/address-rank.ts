import { splitMultiaddr } from './addresses.ts';

/** One address of this machine, as the operating system lists it. */
export interface LocalAddress {
  /** `eth0`, `docker0`, `utun3`, … */
  readonly name: string;
  readonly address: string;
  /** Bits of the subnet: 0 … 32 for IPv4, 0 … 128 for IPv6. */
  readonly prefix: number;
}

/** Lower is tried first. */
const RANK = { sameSubnet: 0, name: 1, elsewhere: 2, loopback: 3, virtual: 4, linkLocal: 5, unknown: 6 } as const;

/** Bridges of containers and virtual machines, and tunnels: an address there seldom leads to another person's machine. */
const VIRTUAL_NAME =
  /^(docker|br-|veth|virbr|vmnet|vboxnet|vethernet|lxc|lxd|cni|podman|tun|tap|utun|wg|ppp|tailscale|zt)/i;

/** Docker's default bridge, and the carrier-grade range that mesh VPNs hand out (RFC 6598). */
const VIRTUAL_NETWORKS: readonly LocalAddress[] = [
  { name: 'docker', address: '172.17.0.0', prefix: 16 },
  { name: 'vpn', address: '100.64.0.0', prefix: 10 },
];

/** Best first; addresses of one rank keep the order they came in, and doubles go. */
export function rankAddresses(addresses: readonly string[], local: readonly LocalAddress[]): string[] {
  return [...new Set(addresses)]
    .map((address, at) => ({ address, at, rank: rankOf(address, local) }))
    .sort((a, b) => a.rank - b.rank || a.at - b.at)
    .map(({ address }) => address);
}

function rankOf(address: string, local: readonly LocalAddress[]): number {
  const parts = splitMultiaddr(address);
  if (!parts) return RANK.unknown;
  if (parts.kind.startsWith('dns')) return parts.host === 'localhost' ? RANK.loopback : RANK.name;
  const bits = addressBits(parts.host);
  if (bits === null) return RANK.unknown;
  if (parts.host === '::1' || parts.host.startsWith('127.')) return RANK.loopback;
  if (isLinkLocal(parts.host)) return RANK.linkLocal;
  const near = local.filter((own) => isWithin(bits, own));
  if (near.some((own) => !VIRTUAL_NAME.test(own.name))) return RANK.sameSubnet;
  if (near.length > 0 || VIRTUAL_NETWORKS.some((network) => isWithin(bits, network))) return RANK.virtual;
  return RANK.elsewhere;
}

const isLinkLocal = (host: string): boolean => host.startsWith('169.254.') || /^fe[89ab][0-9a-f]?:/i.test(host);

function isWithin(bits: string, network: LocalAddress): boolean {
  const own = addressBits(network.address);
  return own !== null && own.length === bits.length && own.slice(0, network.prefix) === bits.slice(0, network.prefix);
}

/** The address as 32 or 128 binary digits. */
function addressBits(host: string): string | null {
  if (host.includes(':')) return ip6Bits(host);
  const parts = host.split('.').map(Number);
  return parts.length === 4 ? parts.map((part) => part.toString(2).padStart(8, '0')).join('') : null;
}

function ip6Bits(text: string): string | null {
  let host = text.split('%')[0] as string;
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(host);
  if (dotted) {
    const [a, b, c, d] = (dotted[2] as string).split('.').map(Number) as [number, number, number, number];
    host = `${dotted[1]}${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
  }
  const [front = '', back] = host.split('::');
  const head = front === '' ? [] : front.split(':');
  const tail = back === undefined || back === '' ? [] : back.split(':');
  const zeros = back === undefined ? 0 : 8 - head.length - tail.length;
  if (zeros < 0) return null;
  const groups = [...head, ...Array<string>(zeros).fill('0'), ...tail];
  if (groups.length !== 8) return null;
  return groups.map((group) => Number.parseInt(group, 16).toString(2).padStart(16, '0')).join('');
}
