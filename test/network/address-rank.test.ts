import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type LocalAddress, rankAddresses } from '../../src-main/network/address-rank.ts';

const LAPTOP: readonly LocalAddress[] = [
  { name: 'lo', address: '127.0.0.1', prefix: 8 },
  { name: 'wlan0', address: '192.168.1.20', prefix: 24 },
  { name: 'wlan0', address: '2001:db8:1:2::20', prefix: 64 },
  { name: 'wlan0', address: 'fe80::20', prefix: 64 },
  { name: 'docker0', address: '172.17.0.1', prefix: 16 },
  { name: 'tailscale0', address: '100.100.3.4', prefix: 32 },
  { name: 'br-1a2b', address: '172.20.0.1', prefix: 16 },
];

const tcp = (host: string): string => `/${host.includes(':') ? 'ip6' : 'ip4'}/${host}/tcp/4747`;

describe('address ranking', () => {
  test('the same subnet first; names; elsewhere; loopback; Docker and VPN; link-local last', () => {
    const best = [
      tcp('192.168.1.7'),
      tcp('2001:db8:1:2::7'),
      '/dns/nas.local/tcp/4747',
      tcp('10.0.0.7'),
      tcp('2001:db8:9::7'),
      tcp('127.0.0.1'),
      tcp('172.17.0.5'),
      tcp('172.20.0.9'),
      tcp('100.99.1.1'),
      tcp('169.254.3.4'),
      tcp('fe80::9'),
    ];
    expect(rankAddresses([...best].reverse(), LAPTOP).map(rankGroup)).toEqual(best.map(rankGroup));
    expect(rankAddresses(best, LAPTOP)).toEqual(best);
  });

  test('a subnet counts by its prefix, not by its text', () => {
    const local: LocalAddress[] = [{ name: 'eth0', address: '10.4.3.9', prefix: 22 }];
    expect(rankAddresses([tcp('10.4.4.1'), tcp('10.4.1.1')], local)[0]).toBe(tcp('10.4.1.1'));
    const six: LocalAddress[] = [{ name: 'eth0', address: 'fd00:0:0:7::1', prefix: 64 }];
    expect(rankAddresses([tcp('fd00:0:0:8::1'), tcp('fd00::7:1:2:3:4')], six)[0]).toBe(tcp('fd00::7:1:2:3:4'));
  });

  test('a container’s own eth0 in Docker’s range is its real network', () => {
    const local: LocalAddress[] = [{ name: 'eth0', address: '172.17.0.3', prefix: 16 }];
    expect(rankAddresses([tcp('10.0.0.1'), tcp('172.17.0.4')], local)[0]).toBe(tcp('172.17.0.4'));
  });

  test('every address stays, once, and what can’t be read comes last', () => {
    const odd = ['rubbish', '/ip4/999.1.1.1/tcp/1', '/ip6/::ffff:10.1.2.3/tcp/1'];
    const ranked = rankAddresses([...odd, tcp('10.0.0.1'), tcp('10.0.0.1')], LAPTOP);
    expect(ranked).toHaveLength(4);
    expect(ranked.slice(2).sort()).toEqual([...odd.slice(0, 2)].sort());
  });

  test('ranking twice changes nothing', () => {
    const hosts = fc.oneof(fc.ipV4(), fc.ipV6(), fc.constantFrom('192.168.1.1', '172.17.3.3', 'fe80::1'));
    fc.assert(
      fc.property(fc.array(hosts, { maxLength: 20 }), (list) => {
        const once = rankAddresses(list.map(tcp), LAPTOP);
        expect(rankAddresses(once, LAPTOP)).toEqual(once);
        expect(new Set(once)).toEqual(new Set(list.map(tcp)));
      }),
    );
  });
});

/** Equal for addresses of one rank, whose order among each other is free here. */
function rankGroup(address: string): string {
  if (/192\.168\.1\.|2001:db8:1:2/.test(address)) return 'same subnet';
  if (address.includes('/dns/')) return 'name';
  if (address.includes('127.0.0.1')) return 'loopback';
  if (/172\.|100\.99/.test(address)) return 'virtual';
  return /169\.254|fe80/.test(address) ? 'link-local' : 'elsewhere';
}
