import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FormatError } from '../../shared/base/cbor.ts';
import { groupIdOf, incarnationFromBytes, peerFromKey, slot } from '../../shared/base/ids.ts';
import { decodeEnvelope, type Envelope, encodeEnvelope } from '../../shared/wire/envelope.ts';
import { decodeNote, encodeNote, type Note } from '../../shared/wire/note.ts';
import { decodeSessionMessage, encodeSessionMessage, type SessionMessage } from '../../shared/wire/session-messages.ts';

const bytes = (length: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: length, maxLength: length });
const peer = bytes(32).map(peerFromKey);

const envelope: fc.Arbitrary<Envelope> = fc.record({
  group: fc.uint8Array().map(groupIdOf),
  epoch: bytes(32),
  incarnation: bytes(16).map(incarnationFromBytes),
  nonce: bytes(8),
  turn: fc.nat(),
  layer: fc.constantFrom('consensus', 'session'),
  body: fc.uint8Array({ maxLength: 200 }),
});

const addresses = fc.array(fc.string({ maxLength: 40 }), { maxLength: 16 });
const message: fc.Arbitrary<SessionMessage> = fc.oneof(
  fc.record({ type: fc.constant('offer'), runs: fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 8 }) }),
  fc.record({
    type: fc.constant('hello'),
    addresses,
    levelMax: fc.integer({ min: 1, max: 1000 }),
    version: fc.string({ maxLength: 20 }),
    known: fc.array(fc.record({ peer, addresses }), { maxLength: 8 }),
  }),
  fc.record({ type: fc.constant('lead'), to: peer }),
  fc.record({
    type: fc.constant('greeting'),
    asks: fc.boolean(),
    seen: fc.array(
      fc.record({
        incarnation: bytes(16).map(incarnationFromBytes),
        nonce: bytes(8),
        turn: fc.nat(),
        twice: fc.boolean(),
      }),
      { maxLength: 16 },
    ),
  }),
  fc.record({
    type: fc.constant('recovery'),
    renunciations: fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 8 }),
  }),
  fc.record({ type: fc.constant('recovery-ask'), slot: fc.integer({ min: 1 }).map(slot), hash: bytes(32) }),
  fc.record({
    type: fc.constant('recovery-value'),
    slot: fc.integer({ min: 1 }).map(slot),
    value: fc.uint8Array({ maxLength: 60 }),
  }),
) as fc.Arbitrary<SessionMessage>;

const note: fc.Arbitrary<Note> = fc.record({
  levelMax: fc.integer({ min: 1, max: 1000 }),
  applied: fc.nat().map(slot),
  state: bytes(32),
  staysOn: fc.boolean(),
  logBytes: fc.nat(),
  stateBytes: fc.nat(),
});

/** Whatever is done to the bytes, the only way to fail is a FormatError. */
function refusesDamage<T>(
  encode: (value: T) => Uint8Array,
  decode: (bytes: Uint8Array) => T,
  any: fc.Arbitrary<T>,
): void {
  fc.assert(
    fc.property(any, fc.nat(), fc.integer({ min: 1, max: 255 }), (value, at, by) => {
      const whole = encode(value);
      expect(decode(whole)).toEqual(value);
      const damaged = whole.slice();
      damaged[at % whole.length] = ((damaged[at % whole.length] as number) + by) & 255;
      for (const wrong of [damaged, whole.slice(0, at % whole.length), Uint8Array.of(...whole, 0)]) {
        try {
          expect([...encode(decode(wrong))]).toEqual([...wrong]);
        } catch (error) {
          expect(error).toBeInstanceOf(FormatError);
        }
      }
    }),
    { numRuns: 400 },
  );
}

describe('what travels between members', () => {
  it('an envelope comes out as it went in, or is refused', () =>
    refusesDamage(encodeEnvelope, decodeEnvelope, envelope));
  it('a session message comes out as it went in, or is refused', () =>
    refusesDamage(encodeSessionMessage, decodeSessionMessage, message));
  it('a note comes out as it went in, or is refused', () => refusesDamage(encodeNote, decodeNote, note));

  it('bounds what one hello can bring', () => {
    const many = { type: 'hello', addresses: Array.from({ length: 17 }, () => '/ip4/1.2.3.4/tcp/1') } as const;
    const hello: SessionMessage = { ...many, levelMax: 1, version: '', known: [] };
    expect(() => decodeSessionMessage(encodeSessionMessage(hello))).toThrow(FormatError);
  });
});
