import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { toHex, utf8 } from '../../shared/base/bytes.ts';
import { FormatError } from '../../shared/base/cbor.ts';
import {
  KEY_NUMBER_MAX,
  numberKey,
  numberOfKey,
  prefixRange,
  RecordError,
  seal,
  unseal,
} from '../../shared/driver/records.ts';

const bytes = fc.uint8Array({ maxLength: 200 });
const key = fc.stringMatching(/^[a-z]\/[0-9a-f]{1,13}$/);

const codeOf = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    if (error instanceof RecordError) return error.code;
    throw error;
  }
  return 'none';
};

describe('a sealed record', () => {
  test('gives back what went in', () => {
    fc.assert(
      fc.property(key, fc.integer({ min: 1, max: 255 }), bytes, (key, version, payload) => {
        expect(unseal(key, seal(key, version, payload), 255)).toEqual({ version, payload });
      }),
    );
  });

  test('has the bytes that it had in the first version', () => {
    expect(toHex(seal('l/0000000000039', 1, utf8('value')))).toBe('0176616c756573b525a0');
  });

  test('notices every single flipped bit', () => {
    const record = seal('l/1', 1, utf8('a value'));
    for (let bit = 0; bit < record.length * 8; bit++) {
      const damaged = record.slice();
      damaged[bit >> 3] = (damaged[bit >> 3] as number) ^ (1 << (bit & 7));
      expect(codeOf(() => unseal('l/1', damaged))).toBe('CHECKSUM');
    }
  });

  test('notices that it lies under another key', () => {
    fc.assert(
      fc.property(key, key, bytes, (mine, other, payload) => {
        fc.pre(mine !== other);
        expect(codeOf(() => unseal(other, seal(mine, 1, payload)))).toBe('CHECKSUM');
      }),
    );
  });

  test('notices that it is cut off', () => {
    const record = seal('l/1', 1, utf8('a value'));
    for (let length = 0; length < record.length; length++) {
      expect(codeOf(() => unseal('l/1', record.subarray(0, length)))).toBe(length < 5 ? 'TRUNCATED' : 'CHECKSUM');
    }
  });

  test('of a newer version is not called damaged, and a damaged one is not called newer', () => {
    const newer = seal('l/1', 2, utf8('a value'));
    expect(codeOf(() => unseal('l/1', newer))).toBe('NEWER_FORMAT');
    newer[3] = (newer[3] as number) ^ 1;
    expect(codeOf(() => unseal('l/1', newer))).toBe('CHECKSUM');
  });
});

describe('keys of numbers', () => {
  const number = fc.integer({ min: 0, max: KEY_NUMBER_MAX });

  test('are 13 lower-case hex digits after the prefix', () => {
    expect(numberKey('l/', 57)).toBe('l/0000000000039');
    expect(numberKey('l/', KEY_NUMBER_MAX)).toBe('l/fffffffffffff');
  });

  test('are in the order of the numbers, and lead back to them', () => {
    fc.assert(
      fc.property(number, number, (a, b) => {
        expect(Math.sign(a - b)).toBe(numberKey('l/', a) < numberKey('l/', b) ? -1 : a === b ? 0 : 1);
        expect(numberOfKey('l/', numberKey('l/', a))).toBe(a);
      }),
    );
  });

  test.each(['m/0000000000039', 'l/39', 'l/000000000003G', 'l/000000000003A', 'l/00000000000390', 'l/'])(
    '%s is none',
    (key) => {
      expect(() => numberOfKey('l/', key)).toThrow(FormatError);
    },
  );

  test('lie in the range of their prefix, and others do not', () => {
    const { gte, lt } = prefixRange('t/');
    const inside = (key: string) => key >= gte && key < lt;
    expect([numberKey('t/', 0), numberKey('t/', KEY_NUMBER_MAX)].every(inside)).toBe(true);
    expect(['t!', 't0', 's/0000000000000', 'u/0000000000000'].some(inside)).toBe(false);
  });
});
