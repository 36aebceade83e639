import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { concat, utf8 } from '../../shared/base/bytes.ts';
import { encodeCbor } from '../../shared/base/cbor.ts';
import { hashFor } from '../../shared/base/hash.ts';
import { base32, fromBase32, keyFromPeer } from '../../shared/base/ids.ts';
import {
  createInvitationKey,
  formatTicket,
  parseTicket,
  TICKET_ADDRESSES_MAX,
  type Ticket,
  TicketError,
  type TicketErrorCode,
  ticketLink,
} from '../../src-main/group/ticket.ts';
import { seeded, someGroup, somePeer } from './made-up.ts';

const ticket: Ticket = {
  group: someGroup(1),
  addresses: ['/ip4/10.20.4.17/tcp/4747', 'nas.local:4747'],
  inviter: somePeer(2),
  seed: seeded(3)(32),
  title: 'Ward 3 · night log',
  expiresMs: 1_800_000_000_000,
};
const text = formatTicket(ticket);

function codeOf(broken: string): TicketErrorCode | 'accepted' {
  try {
    parseTicket(broken);
    return 'accepted';
  } catch (error) {
    if (error instanceof TicketError) return error.code;
    throw error;
  }
}

const withCheck = (body: Uint8Array) => `synod1${base32(concat(body, hashFor('ticket', body).subarray(0, 4)))}`;

describe('a ticket', () => {
  test('reads back as it was written', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 ** 32 }),
        fc.array(fc.stringMatching(/^[\x21-\x7e]{1,60}$/), { maxLength: TICKET_ADDRESSES_MAX }),
        fc.stringMatching(/^[a-zäöü·]([ ]?[a-zäöü·]){0,25}$/),
        fc.option(fc.nat(2 ** 31)),
        (n, addresses, title, expiresMs) => {
          const made: Ticket = {
            group: someGroup(n),
            addresses,
            inviter: somePeer(n + 1),
            seed: seeded(n + 2)(32),
            title,
            expiresMs,
          };
          expect(parseTicket(formatTicket(made))).toEqual(made);
        },
      ),
      { numRuns: 30 },
    );
  });

  test('keeps this form for ever', () => {
    const body = encodeCbor([
      1,
      ticket.group,
      ticket.addresses,
      keyFromPeer(ticket.inviter),
      ticket.seed,
      ticket.title,
      ticket.expiresMs,
    ]);
    expect(text).toBe(withCheck(body));
  });

  test('is read in capitals, broken over lines, in quotes and as a link', () => {
    const lines = text.replace(/.{60}/g, '$&\r\n   ');
    for (const form of [
      `  ${text}\n`,
      text.toUpperCase(),
      lines,
      `"${text}"`,
      `<${text}>`,
      `\u200b${text}\ufeff`,
      ticketLink(text),
      `SYNOD:${text.toUpperCase()}`,
      `synod://join/${text}`,
      `synod://${text}/`,
    ]) {
      expect(parseTicket(form)).toEqual(ticket);
    }
  });

  test('is found in the message that it came in', () => {
    const lines = text.replace(/.{60}/g, '$&\r\n> ');
    const other = formatTicket({ ...ticket, group: someGroup(9) });
    for (const form of [
      `Hello, here is it: ${text} see you`,
      `Hello,\n\nhere is it:\n\n> ${lines}\n\nsee you at seven\nAna`,
      `It begins with synod1, don't be confused: ${text}.`,
      `(${ticketLink(text)}), or as text: ${text.toUpperCase()}!`,
      `Join with Synod 2 and ${text}, not with ${other.slice(0, -1)}`,
      `${text}\n${'and so on '.repeat(20_000)}`,
      `${'before it '.repeat(20_000)}${text}`,
      `by letter: ${text.replace(/.{4}/g, '$& ')}`,
    ]) {
      expect(parseTicket(form), form.slice(0, 60)).toEqual(ticket);
    }
    expect(codeOf(`one ${text} and one ${other}`)).toBe('TICKET_MANY');
    expect(codeOf(`${text}${other}`)).toBe('TICKET_MISTYPED');
    expect(codeOf(`Hello, here is it: ${text.slice(0, -1)} see you`)).toBe('TICKET_MISTYPED');
  });

  test('that goes on without end is too long, in little time', () => {
    const mega = 1024 * 1024;
    const begun = performance.now();
    for (const piece of ['a', 'a ', 'ab\n']) {
      expect(codeOf(`synod1${piece.repeat(mega / piece.length)}`), piece).toMatch(/^TICKET_(TOO_LONG|MISTYPED)$/);
    }
    expect(codeOf(`synod1${'a'.repeat(mega)}`)).toBe('TICKET_TOO_LONG');
    expect(codeOf('synod1aa '.repeat(mega / 9))).toBe('TICKET_MISTYPED');
    expect(codeOf('s y n o d '.repeat(mega / 10))).toBe('TICKET_NOT_ONE');
    expect(performance.now() - begun).toBeLessThan(3_000);
  });

  test('with any single letter changed is refused', () => {
    const letters = 'abcdefghijklmnopqrstuvwxyz0123456789';
    for (let at = 0; at < text.length; at++) {
      for (const letter of letters) {
        if (letter === text[at]) continue;
        const broken = text.slice(0, at) + letter + text.slice(at + 1);
        const expected = at < 5 ? 'TICKET_NOT_ONE' : at === 5 ? /TICKET_N/ : 'TICKET_MISTYPED';
        expect(codeOf(broken), `letter ${at} as ${letter}`).toMatch(expected);
      }
    }
  });

  test('with a letter missing, added or two swapped is refused', () => {
    for (let at = 6; at < text.length; at++) {
      expect(codeOf(text.slice(0, at) + text.slice(at + 1))).toBe('TICKET_MISTYPED');
      expect(codeOf(`${text.slice(0, at)}a${text.slice(at)}`)).toBe('TICKET_MISTYPED');
      const [a, b] = [text[at] ?? '', text[at + 1] ?? ''];
      if (a !== b && b !== '') expect(codeOf(text.slice(0, at) + b + a + text.slice(at + 2))).toBe('TICKET_MISTYPED');
    }
    expect(codeOf(text.slice(0, 100))).toBe('TICKET_MISTYPED');
    expect(codeOf('synod1')).toBe('TICKET_MISTYPED');
  });

  test('is told from other text', () => {
    for (const other of [
      '',
      '  ',
      'hello',
      'https://example.org',
      'synod',
      'synodx',
      text.slice(1),
      'x'.repeat(100_000),
    ]) {
      expect(codeOf(other)).toBe('TICKET_NOT_ONE');
    }
  });

  test('of a newer version says so, whatever else is in it', () => {
    expect(codeOf(`synod2${text.slice(6)}`)).toBe('TICKET_NEWER');
    expect(codeOf(withCheck(encodeCbor([2, 'quite', 'different'])))).toBe('TICKET_NEWER');
  });

  test('with a good checksum over a bad content is refused', () => {
    const peer = keyFromPeer(ticket.inviter);
    for (const fields of [
      [],
      ['1'],
      [0, ticket.group, [], peer, ticket.seed, '', null],
      [1, 'gnot-a-group', [], peer, ticket.seed, '', null],
      [1, ticket.group, 'here', peer, ticket.seed, '', null],
      [1, ticket.group, [7], peer, ticket.seed, '', null],
      [1, ticket.group, [], peer.subarray(1), ticket.seed, '', null],
      [1, ticket.group, [], peer, ticket.seed.subarray(1), '', null],
      [1, ticket.group, [], peer, ticket.seed, null, null],
      [1, ticket.group, [], peer, ticket.seed, '', -5],
      [1, ticket.group, [], peer, ticket.seed, '', null, 1],
    ]) {
      expect(codeOf(withCheck(encodeCbor(fields)))).toBe('TICKET_MISTYPED');
    }
    expect(codeOf(withCheck(new Uint8Array(200).fill(0x81)))).toBe('TICKET_MISTYPED');
  });

  test('whatever is pasted, either reads or has a named error', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (other) => void codeOf(`synod1${other}`)));
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => void codeOf(withCheck(bytes))));
  });

  test('stays short: the best addresses, the beginning of the title', () => {
    const many = Array.from({ length: 40 }, (_, i) => `/ip4/10.0.0.${i}/tcp/4747`);
    const parsed = parseTicket(formatTicket({ ...ticket, addresses: many, title: 'Ω'.repeat(500) }));
    expect(parsed.addresses).toEqual(many.slice(0, TICKET_ADDRESSES_MAX));
    expect(parsed.title).toBe('Ω'.repeat(60));
  });

  test('can not bring control characters to the terminal', () => {
    const body = encodeCbor([
      1,
      ticket.group,
      ['10.0.0.1\u001b[2J', '10.0.0.2'],
      keyFromPeer(ticket.inviter),
      ticket.seed,
      'a\u001b[31m\nb\u202ec',
      null,
    ]);
    expect(parseTicket(withCheck(body))).toMatchObject({ addresses: ['10.0.0.2'], title: 'a [31m b c' });
  });
});

test('an invitation key is new each time, and its seed leads to its public key', () => {
  const a = createInvitationKey();
  const b = createInvitationKey();
  expect(a.seed).not.toEqual(b.seed);
  expect(createInvitationKey(() => a.seed).publicKey).toEqual(a.publicKey);
});

test('base32 agrees with RFC 4648', () => {
  expect(base32(utf8('foobar'))).toBe('mzxw6ytboi');
  expect(fromBase32('MZXW6YTBOI')).toEqual(utf8('foobar'));
});
