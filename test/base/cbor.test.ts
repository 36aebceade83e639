import { decode, encode } from 'cborg';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Cbor, decodeCbor, encodeCbor, FormatError } from '../../shared/base/cbor.ts';

/** Node's test values compare by content; views and buffers are brought to one type. */
const plain = (value: unknown): unknown =>
  value instanceof Uint8Array ? [...value] : Array.isArray(value) ? value.map(plain) : value;

const anyValue: fc.Arbitrary<Cbor> = fc.letrec<{ value: Cbor }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom<Cbor>(null, true, false),
    fc.maxSafeInteger(),
    fc.integer({ min: -300, max: 70_000 }),
    fc.string({ unit: 'binary', maxLength: 100 }),
    fc.string({ maxLength: 300 }),
    fc.uint8Array({ maxLength: 300 }),
    fc.array(tie('value'), { maxLength: 30 }),
  ),
})).value;

describe('deterministic CBOR', () => {
  it('writes what a general library writes', () => {
    fc.assert(
      fc.property(anyValue, (value) => {
        expect([...encodeCbor(value)]).toEqual([...encode(value)]);
      }),
      { numRuns: 2000 },
    );
  });

  it('reads what it wrote, and what the library wrote', () => {
    fc.assert(
      fc.property(anyValue, (value) => {
        expect(plain(decodeCbor(encodeCbor(value)))).toEqual(plain(value));
        expect(plain(decodeCbor(new Uint8Array(encode(value))))).toEqual(plain(value));
      }),
      { numRuns: 2000 },
    );
  });

  it('takes any bytes only if they are the one way to write their value', () => {
    let taken = 0;
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 12 }), anyValue.map(mutated)), (bytes) => {
        let value: Cbor;
        try {
          value = decodeCbor(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(FormatError);
          return;
        }
        taken++;
        expect([...encodeCbor(value)]).toEqual([...bytes]);
        expect(plain(decode(bytes))).toEqual(plain(value));
      }),
      { numRuns: 20_000 },
    );
    expect(taken).toBeGreaterThan(100);
  });

  it.each([
    ['a longer head than needed', [0x18, 0x17]],
    ['a longer head for a length', [0x58, 0x01, 0x00]],
    ['an indefinite array', [0x9f, 0xff]],
    ['a map', [0xa0]],
    ['a tag', [0xc0, 0x00]],
    ['undefined', [0xf7]],
    ['a float', [0xf9, 0x00, 0x00]],
    ['an integer past 2⁵³', [0x1b, 0x00, 0x20, 0, 0, 0, 0, 0, 0]],
    ['a negative one past −2⁵³', [0x3b, 0x00, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]],
    ['bytes left over', [0x00, 0x00]],
    ['nothing', []],
    ['text that is not UTF-8', [0x61, 0xff]],
    ['an array longer than the bytes', [0x9a, 0xff, 0xff, 0xff, 0xff]],
    ['arrays nested without end', Array.from({ length: 100_000 }, () => 0x81)],
  ])('refuses %s', (_what, bytes) => {
    expect(() => decodeCbor(Uint8Array.from(bytes))).toThrow(FormatError);
  });

  it('leaves its workspace as it was when a value is refused', () => {
    expect(() => encodeCbor([1, [2, 1.5]])).toThrow(TypeError);
    expect([...encodeCbor([1])]).toEqual([0x81, 0x01]);
  });

  it('keeps long values whole', () => {
    const long = new Uint8Array(300_000).fill(7);
    expect(plain(decodeCbor(encodeCbor([long, 'x'.repeat(200_000), 'ü'.repeat(40_000)])))).toEqual(
      plain([long, 'x'.repeat(200_000), 'ü'.repeat(40_000)]),
    );
  });
});

/** One byte changed: what a mistake on the way looks like. */
function mutated(value: Cbor): Uint8Array {
  const bytes = encodeCbor(value);
  if (bytes.length > 0) bytes[0] = ((bytes[0] as number) + 1) & 255;
  return bytes;
}
