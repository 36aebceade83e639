import { expect, test } from 'vitest';
import { encodeCbor, FormatError } from '../../shared/base/cbor.ts';
import { decodeTail, encodeTail } from '../../shared/session/index.ts';

const hash = new Uint8Array(32).fill(7);

test('a tail is read as it was written; an older one has its number alone', () => {
  expect(decodeTail(encodeTail({ seq: 9, hash }))).toEqual({ seq: 9, hash });
  expect(decodeTail(encodeCbor(9))).toEqual({ seq: 9, hash: null });
});

test('what is no tail is refused', () => {
  for (const bad of [
    encodeCbor([9]),
    encodeCbor([9, 'x']),
    encodeCbor([-1, hash]),
    encodeCbor([9, new Uint8Array(31)]),
  ]) {
    expect(() => decodeTail(bad)).toThrow(FormatError);
  }
});
