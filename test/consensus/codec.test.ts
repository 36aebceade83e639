import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { concat } from '../../shared/base/bytes.ts';
import { type Cbor, decodeCbor, encodeCbor, FormatError } from '../../shared/base/cbor.ts';
import { incarnationFromBytes, peerFromKey, type Slot } from '../../shared/base/ids.ts';
import { type Ballot, ROUND_MAX } from '../../shared/consensus/ballot.ts';
import { decodeMessage, encodeMessage } from '../../shared/consensus/codec.ts';
import { type Configuration, configurationFault } from '../../shared/consensus/configuration.ts';
import type { Message } from '../../shared/consensus/messages.ts';
import { commandsValue, configurationValue, decodeValue, NOOP, type Value } from '../../shared/consensus/value.ts';
import { ballot, hashPayload, value } from './names.ts';

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const peer = bytes(32).map(peerFromKey);
const incarnation = bytes(16).map(incarnationFromBytes);
const slot = fc.maxSafeNat().map((n) => n as Slot);
const openSlot = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }).map((n) => n as Slot);
const digest = bytes(32);
const ballots: fc.Arbitrary<Ballot> = fc.record({
  round: fc.integer({ min: 1, max: ROUND_MAX - 1 }),
  peer,
  incarnation,
});
const orNone = fc.option(ballots, { nil: null });

const configurations: fc.Arbitrary<Configuration> = fc
  .record({
    previous: slot,
    epoch: bytes(32),
    voters: fc.uniqueArray(fc.record({ peer, incarnation, witness: fc.boolean() }), {
      minLength: 1,
      maxLength: 7,
      selector: (v) => v.peer,
    }),
    q1: fc.integer({ min: 1, max: 7 }),
    q2: fc.integer({ min: 1, max: 7 }),
  })
  .filter((c) => configurationFault(c) === null);

const values: fc.Arbitrary<Value> = fc.oneof(
  fc.constant(NOOP),
  configurations.map(configurationValue),
  fc.uint8Array({ maxLength: 40 }).map((payload) => commandsValue(payload, hashPayload)),
);

const common = { ballot: ballots, configuration: slot };
const arbitraries: { readonly [T in Message['type']]: fc.Arbitrary<Message & { type: T }> } = {
  prepare: fc.record({ type: fc.constant('prepare'), ...common, slot: openSlot, transferFrom: orNone }),
  promise: fc.record({
    type: fc.constant('promise'),
    ...common,
    floor: slot,
    digest,
    listing: bytes(8),
    part: fc.nat(5),
    parts: fc.integer({ min: 6, max: 9 }),
    accepted: fc.array(fc.record({ slot: openSlot, ballot: ballots, value: values }), { maxLength: 4 }),
  }),
  accept: fc.record({ type: fc.constant('accept'), ...common, slot: openSlot, value: values, watermark: slot }),
  accepted: fc.record({ type: fc.constant('accepted'), ballot: ballots, slots: fc.array(openSlot), prefix: slot }),
  nack: fc.record({
    type: fc.constant('nack'),
    ballot: ballots,
    promised: orNone,
    reason: fc.constantFrom('ballot', 'leader'),
  }),
  behind: fc.record({
    type: fc.constant('behind'),
    ballot: ballots,
    slot: openSlot,
    lacks: fc.constantFrom('you', 'me'),
    prefix: slot,
    digest,
  }),
  commit: fc.record({ type: fc.constant('commit'), ballot: ballots, watermark: slot, digest }),
  heartbeat: fc.record({
    type: fc.constant('heartbeat'),
    promised: orNone,
    leading: orNone,
    hearsLeader: orNone,
    hears: fc.array(peer, { maxLength: 8 }),
    prefix: slot,
    digest,
    durable: slot,
    votes: fc.boolean(),
    note: fc.uint8Array({ maxLength: 1024 }),
  }),
  fetch: fc.record({ type: fc.constant('fetch'), from: openSlot }),
  'not-held': fc.record({ type: fc.constant('not-held'), from: openSlot, held: openSlot }),
  values: fc.record({
    type: fc.constant('values'),
    from: openSlot,
    values: fc.array(values, { maxLength: 5 }),
    digest,
    prefix: slot,
  }),
  transfer: fc.record({ type: fc.constant('transfer'), ballot: ballots }),
  barrier: fc.record({ type: fc.constant('barrier'), id: fc.maxSafeNat() }),
  'barrier-reached': fc.record({ type: fc.constant('barrier-reached'), id: fc.maxSafeNat(), slot: openSlot }),
};
const anyMessage = fc.oneof(...(Object.values(arbitraries) as fc.Arbitrary<Message>[]));

const decode = (raw: Uint8Array): Message => decodeMessage(raw, hashPayload);

/** Anything but a message or a FormatError is a fault. */
function takes(raw: Uint8Array): void {
  try {
    const m = decode(raw);
    expect(encodeMessage(m)).toEqual(raw);
  } catch (error) {
    expect(error, String(error)).toBeInstanceOf(FormatError);
  }
}

const runs = { numRuns: 200, seed: 20 };

describe('messages', () => {
  test.each(Object.keys(arbitraries) as Message['type'][])('%s comes back as it was', (type) => {
    fc.assert(
      fc.property(arbitraries[type] as fc.Arbitrary<Message>, (m) => {
        expect(decode(encodeMessage(m))).toEqual(m);
      }),
      { ...runs, numRuns: 60 },
    );
  });

  test('have numbers that never change', () => {
    const first = (m: Message): unknown => (decodeCbor(encodeMessage(m)) as Cbor[])[0];
    const numbers = Object.entries(arbitraries).map(([type, some]) => [
      type,
      first(fc.sample(some as fc.Arbitrary<Message>, { numRuns: 1, seed: 1 })[0] as Message),
    ]);
    expect(Object.fromEntries(numbers)).toEqual({
      prepare: 1,
      promise: 2,
      accept: 3,
      accepted: 4,
      nack: 5,
      behind: 6,
      commit: 7,
      heartbeat: 8,
      fetch: 9,
      values: 10,
      transfer: 11,
      barrier: 12,
      'barrier-reached': 13,
      'not-held': 14,
    });
  });
});

describe('hostile bytes give a FormatError and nothing else', () => {
  test('at random', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), takes), { ...runs, numRuns: 2000 });
  });

  test('as CBOR of any shape', () => {
    const { shape } = fc.letrec<{ shape: Cbor }>((tie) => ({
      shape: fc.oneof(
        { maxDepth: 4 },
        fc.constantFrom<Cbor[]>(null, true, false, -1, 0, 2 ** 53 - 1, '', 'text'),
        fc.integer({ min: -1000, max: 2 ** 48 }),
        fc.uint8Array({ maxLength: 40 }),
        fc.constantFrom(new Uint8Array(32), new Uint8Array(16), new Uint8Array(8)),
        fc.array(tie('shape'), { maxLength: 10 }),
      ),
    }));
    const like = fc.tuple(fc.integer({ min: 0, max: 15 }), fc.array(shape, { maxLength: 9 }));
    fc.assert(
      fc.property(like, ([type, fields]) => takes(encodeCbor([type, ...fields]))),
      { ...runs, numRuns: 600 },
    );
  });

  test('as messages with one byte changed, cut off, or with bytes behind', () => {
    fc.assert(
      fc.property(anyMessage, fc.nat(), fc.integer({ min: 1, max: 255 }), (m, where, by) => {
        const raw = encodeMessage(m);
        const changed = raw.slice();
        changed[where % raw.length] = (changed[where % raw.length] as number) ^ by;
        takes(changed);
        takes(raw.subarray(0, where % raw.length));
        expect(() => decode(concat(raw, Uint8Array.of(by)))).toThrow(FormatError);
      }),
      { ...runs, numRuns: 1000 },
    );
  });

  test('as messages with one field replaced', () => {
    const field = fc.oneof<fc.Arbitrary<Cbor>[]>(
      fc.constantFrom<Cbor[]>(null, true, -1, 0, 2 ** 53 - 1, '', [], [[]], new Uint8Array(0), new Uint8Array(31)),
      fc.uint8Array({ maxLength: 40 }),
    );
    fc.assert(
      fc.property(anyMessage, fc.nat(), field, (m, where, instead) => {
        const fields = [...(decodeCbor(encodeMessage(m)) as Cbor[])];
        fields[where % fields.length] = instead;
        takes(encodeCbor(fields));
      }),
      { ...runs, numRuns: 1500 },
    );
  });

  test.each([100, 1_000, 3_000, 10_000, 100_000, 1_000_000])('nested %i deep', (depth) => {
    takes(concat(new Uint8Array(depth).fill(0x81), Uint8Array.of(0)));
    takes(new Uint8Array(depth).fill(0x81));
    takes(concat(new Uint8Array(depth).fill(0xc1), Uint8Array.of(0)));
    takes(
      concat(
        ...Array.from({ length: depth > 10_000 ? 1 : depth }, () => Uint8Array.of(0xa1, 0x61, 0x61)),
        Uint8Array.of(0),
      ),
    );
  });

  test('lengths that promise more than there is', () => {
    for (const head of [0x9a, 0xba, 0x5a, 0x7a]) {
      takes(Uint8Array.of(head, 0xff, 0xff, 0xff, 0xff, 0));
      takes(Uint8Array.of(0x82, 4, head, 0x7f, 0xff, 0xff, 0xff));
    }
    takes(Uint8Array.of(0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff));
  });
});

describe('only one spelling is taken', () => {
  const refused = (...raw: number[]): void => expect(() => decode(Uint8Array.from(raw))).toThrow(FormatError);

  test('of numbers', () => {
    expect(decode(Uint8Array.of(0x82, 9, 5))).toEqual({ type: 'fetch', from: 5 });
    refused(0x82, 9, 0x18, 5);
    refused(0x82, 0x18, 9, 5);
    refused(0x82, 9, 0xf9, 0x45, 0x00);
    refused(0x82, 9, 0xfb, 0x40, 0x14, 0, 0, 0, 0, 0, 0);
  });

  test('of lengths', () => {
    refused(0x98, 2, 9, 5);
    refused(0x9f, 9, 5, 0xff);
    refused(0xd8, 0x2a, 0x82, 9, 5);
    refused(0x82, 9, 5, 0);
    refused(0x82, 9);
    refused();
  });

  test('of nothing at all', () => {
    refused(0x82, 9, 0xf7);
    refused(0x82, 9, 0xf6);
    refused(0x82, 9, 0xf9, 0x80, 0x00);
  });
});

describe('limits', () => {
  const of = (...fields: Cbor[]): Message => decode(encodeCbor(fields));

  test('slot 0 is the genesis and is never proposed in, fetched or barred', () => {
    expect(() => of(9, 0)).toThrow(FormatError);
    expect(() => of(13, 1, 0)).toThrow(FormatError);
    expect(of(9, 1)).toEqual({ type: 'fetch', from: 1 });
  });

  test('a part lies within its parts', () => {
    const [m] = fc.sample(arbitraries.promise, { numRuns: 1, seed: 3 }) as [Message & { type: 'promise' }];
    expect(() => decode(encodeMessage({ ...m, part: 6, parts: 6 }))).toThrow(FormatError);
    expect(() => decode(encodeMessage({ ...m, part: 0, parts: 5000 }))).toThrow(FormatError);
  });

  test('notes, lists and rounds are bounded', () => {
    const [m] = fc.sample(arbitraries.heartbeat, { numRuns: 1, seed: 3 }) as [Message & { type: 'heartbeat' }];
    expect(() => decode(encodeMessage({ ...m, note: new Uint8Array(1025) }))).toThrow(FormatError);
    expect(() => decode(encodeMessage({ ...m, hears: new Array(1025).fill(ballot('1.A').peer) }))).toThrow(FormatError);
    expect(() => of(11, [ROUND_MAX, new Uint8Array(32), new Uint8Array(16)])).toThrow(FormatError);
    expect(() => of(11, [0, new Uint8Array(32), new Uint8Array(16)])).toThrow(FormatError);
    expect(() =>
      decode(
        encodeMessage({
          type: 'accepted',
          ballot: ballot('1.A'),
          slots: new Array(4097).fill(1 as Slot),
          prefix: 0 as Slot,
        }),
      ),
    ).toThrow(FormatError);
  });
});

describe('values', () => {
  const of = (...raw: number[]): Value => decodeValue(Uint8Array.from(raw), hashPayload);

  test('come back as they were, hash and all', () => {
    fc.assert(
      fc.property(values, (v) => {
        expect(decodeValue(v.bytes, hashPayload)).toEqual(v);
      }),
      runs,
    );
  });

  test('of an unknown kind, empty, or no-ops with something in them are refused', () => {
    for (const raw of [[], [3], [255, 1], [0, 0]]) expect(() => of(...raw)).toThrow(FormatError);
  });

  test('whose payload the layer above refuses are refused', () => {
    const picky = () => {
      throw new FormatError('not for me');
    };
    expect(() => decodeValue(value('x').bytes, picky)).toThrow(FormatError);
  });

  test('that are configurations of another kind are kept as they are, unread', () => {
    expect(of(1, 0x82, 1, 2)).toMatchObject({ kind: 'configuration', configuration: null });
    expect(of(1)).toMatchObject({ kind: 'configuration', configuration: null });
  });

  test('that are configurations whose quorums may miss each other are not read', () => {
    const c = { previous: 0 as Slot, epoch: new Uint8Array(32), q1: 1, q2: 1 };
    const three = ['A', 'B', 'C'].map((name) => ({ ...ballot(`1.${name}`), witness: false }));
    const bad = configurationValue({ ...c, voters: three });
    expect(decodeValue(bad.bytes, hashPayload)).toMatchObject({ configuration: null });
  });

  test('with another kind have another hash', () => {
    const payload = new Uint8Array(0);
    const hashes = [NOOP.hash, commandsValue(payload, hashPayload).hash, of(1).hash].map(String);
    expect(new Set(hashes).size).toBe(3);
  });
});
