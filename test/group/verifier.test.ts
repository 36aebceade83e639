import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../shared/base/bytes.ts';
import type { SignedBytes } from '../../shared/base/crypto.ts';
import { CACHED_KEYS_MAX, cachedKeys, publicKeyObject, signerFromSeed } from '../../src-main/group/keys.ts';
import { createVerifier } from '../../src-main/group/verifier.ts';
import { seeded } from './made-up.ts';

const signers = Array.from({ length: 4 }, (_, n) => signerFromSeed(seeded(n)(32)));

function signed(n: number, text = `text ${n}`): SignedBytes {
  const signer = signers[n % signers.length]!;
  const bytes = utf8(text);
  return { publicKey: signer.publicKey, bytes, signature: signer.sign(bytes) };
}

function flip(bytes: Uint8Array, at: number): Uint8Array {
  const copy = bytes.slice();
  copy[at] = (copy[at] as number) ^ 1;
  return copy;
}

describe('a verifier', () => {
  test('takes what was signed and nothing else, at once and off the thread alike', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(3),
        fc.uint8Array({ minLength: 1, maxLength: 200 }),
        fc.nat(1000),
        async (n, bytes, at) => {
          const signer = signers[n]!;
          const good = { publicKey: signer.publicKey, bytes, signature: signer.sign(bytes) };
          const others: SignedBytes[] = [
            { ...good, bytes: flip(bytes, at % bytes.length) },
            { ...good, signature: flip(good.signature, at % 64) },
            { ...good, publicKey: flip(good.publicKey, at % 32) },
            { ...good, publicKey: signers[(n + 1) % 4]!.publicKey },
            { ...good, signature: good.signature.subarray(1) },
            { ...good, publicKey: good.publicKey.subarray(1) },
            { ...good, signature: new Uint8Array(0) },
            { ...good, publicKey: new Uint8Array(0) },
          ];
          const list = [good, ...others, good];
          const expected = [true, ...others.map(() => false), true];
          expect(await createVerifier().verifyAll(list)).toEqual(expected);
          const atOnce = createVerifier();
          expect(list.map((each) => atOnce.verify(each))).toEqual(expected);
        },
      ),
      { numRuns: 25 },
    );
  });

  test('refuses keys that are no point, and S beyond the order', async () => {
    const good = signed(1);
    const order = Buffer.from('edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010', 'hex');
    const beyond = good.signature.slice();
    let carry = 0;
    for (let i = 0; i < 32; i++) {
      carry += (beyond[32 + i] as number) + (order[i] as number);
      beyond[32 + i] = carry & 255;
      carry >>= 8;
    }
    const list = [
      { ...good, signature: beyond },
      { ...good, publicKey: new Uint8Array(32).fill(255) },
      { ...good, publicKey: new Uint8Array(32) },
    ];
    expect(await createVerifier().verifyAll(list)).toEqual([false, false, false]);
    expect(list.map((each) => createVerifier().verify(each))).toEqual([false, false, false]);
  });

  test('remembers: what was checked off the thread is not checked again when it is applied', async () => {
    const verifier = createVerifier();
    const list = [signed(1), signed(2), { ...signed(3), bytes: utf8('other') }];
    const verdicts = await verifier.verifyAll(list);
    expect(verifier.inspect()).toEqual({ cached: 3, checked: 3, inFlight: 0 });
    expect(list.map((each) => verifier.verify(each))).toEqual(verdicts);
    expect(await verifier.verifyAll(list)).toEqual(verdicts);
    expect(verifier.inspect().checked).toBe(3);
  });

  test('does not let a bad signature speak for the good one of the same bytes, nor the other way round', () => {
    const verifier = createVerifier();
    const good = signed(1);
    const bad = { ...good, signature: flip(good.signature, 5) };
    expect([verifier.verify(bad), verifier.verify(good), verifier.verify(bad)]).toEqual([false, true, false]);
  });

  test('keeps verdicts in bounds, and still finds the right ones', async () => {
    const verifier = createVerifier(16);
    const list = Array.from({ length: 100 }, (_, n) => (n % 3 ? signed(n) : { ...signed(n), bytes: utf8('other') }));
    const expected = list.map((_, n) => n % 3 !== 0);
    expect(await verifier.verifyAll(list)).toEqual(expected);
    expect(verifier.inspect().cached).toBeLessThanOrEqual(16);
    expect(list.map((each) => verifier.verify(each))).toEqual(expected);
    expect(verifier.inspect().cached).toBeLessThanOrEqual(16);
  });

  test('answers an empty list without work', async () => {
    const verifier = createVerifier();
    expect(await verifier.verifyAll([])).toEqual([]);
    expect(verifier.inspect()).toEqual({ cached: 0, checked: 0, inFlight: 0 });
  });

  test('has only a few on the pool at a time, also over several calls', async () => {
    const verifier = createVerifier();
    const calls = [0, 1, 2].map((call) =>
      verifier.verifyAll(Array.from({ length: 50 }, (_, n) => signed(n, `${call} ${n}`))),
    );
    expect(verifier.inspect().inFlight).toBe(8);
    expect((await Promise.all(calls)).flat()).toEqual(new Array(150).fill(true));
    expect(verifier.inspect()).toMatchObject({ checked: 150, inFlight: 0 });
  });
});

test('key objects are made once and kept in bounds', () => {
  const key = signers[0]!.publicKey;
  expect(publicKeyObject(key)).toBe(publicKeyObject(key.slice()));
  const random = seeded(99);
  for (let n = 0; n < CACHED_KEYS_MAX + 50; n++) {
    publicKeyObject(random(32));
    publicKeyObject(key);
  }
  expect(cachedKeys()).toBe(CACHED_KEYS_MAX);
  const before = publicKeyObject(key);
  expect(publicKeyObject(key)).toBe(before);
});
