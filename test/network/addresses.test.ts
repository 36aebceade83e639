import { describe, expect, test } from 'vitest';
import { AddressBook, CANDIDATES_MAX } from '../../src-main/network/address-book.ts';
import { dialableAddress, isLoopback, parseAddress, splitMultiaddr } from '../../src-main/network/addresses.ts';

describe('parseAddress', () => {
  test.each([
    ['10.20.4.17', '/ip4/10.20.4.17/tcp/4747'],
    ['10.20.4.17:99', '/ip4/10.20.4.17/tcp/99'],
    [' nas.local ', '/dns/nas.local/tcp/4747'],
    ['nas:5000', '/dns/nas/tcp/5000'],
    ['my_host-2.example.org.', '/dns/my_host-2.example.org./tcp/4747'],
    ['fd00::1', '/ip6/fd00::1/tcp/4747'],
    ['[fd00::1]', '/ip6/fd00::1/tcp/4747'],
    ['[fd00::1]:80', '/ip6/fd00::1/tcp/80'],
    ['/ip4/1.2.3.4/tcp/5', '/ip4/1.2.3.4/tcp/5'],
    ['/ip4/1.2.3.4/tcp/5/p2p/12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5', '/ip4/1.2.3.4/tcp/5'],
    ['/dns4/host/tcp/65535', '/dns4/host/tcp/65535'],
  ])('%s', (text, address) => {
    expect(parseAddress(text)).toEqual({ ok: true, address });
  });

  test.each([
    '',
    '  ',
    ':80',
    'host:',
    'host:0',
    'host:65536',
    'host:abc',
    '[nas]:80',
    '1.2.3',
    '1.2.3.4.5',
    '300.1.1.1',
    'a b',
    'http://x',
    '/ip4/1.2.3.4',
    '/ip4/1.2.3.4/udp/5',
    '/ip4/1.2.3.4/tcp/0',
    '/ip4/1.2.3.4/tcp/99999',
    '/ip4/nas/tcp/1',
    '/ip4/0.0.0.0/tcp/1',
    '/unix/tmp/x',
    '/ip4/1.2.3.4/tcp/5/ws',
    '-x-/y',
    `${'a'.repeat(64)}.org`,
  ])('%j is refused with a reason', (text) => {
    const parsed = parseAddress(text);
    expect(parsed.ok).toBe(false);
    expect(parsed.ok ? '' : parsed.message).not.toBe('');
  });
});

describe('multiaddrs', () => {
  test('are taken apart', () => {
    expect(splitMultiaddr('/ip6/::1/tcp/0')).toEqual({ kind: 'ip6', host: '::1', port: 0, peer: null });
    expect(splitMultiaddr('/ip4/1.2.3.4/tcp/1/p2p/0OIl')).toBeNull();
    expect(dialableAddress('/ip6/::/tcp/4747')).toBeNull();
  });

  test('loopback is known by any spelling', () => {
    for (const host of ['/ip4/127.3.2.1', '/ip6/::1', '/dns/localhost']) expect(isLoopback(`${host}/tcp/1`)).toBe(true);
    expect(isLoopback('/ip4/10.0.0.1/tcp/1')).toBe(false);
  });
});

describe('AddressBook', () => {
  const at = (n: number): string => `/ip4/10.0.0.${n}/tcp/4747`;

  test('what worked last comes first, then what was named last', () => {
    const book = new AddressBook();
    expect(book.add([at(1), at(2), 'rubbish'])).toEqual([at(1), at(2)]);
    book.worked(at(2));
    expect(book.add([at(3), at(2)])).toEqual([at(3)]);
    expect(book.candidates([])).toEqual([at(2), at(3), at(1)]);
  });

  test('is bounded, and forgets what never worked first', () => {
    const book = new AddressBook();
    book.worked(at(1));
    for (let n = 2; n < 200; n++) book.add([at(n)]);
    const candidates = book.candidates([]);
    expect(candidates).toHaveLength(CANDIDATES_MAX);
    expect(candidates[0]).toBe(at(1));
  });
});
