import { createPrivateKey, createPublicKey, type KeyObject, randomBytes, sign } from 'node:crypto';
import { concat, fromHex, toHex } from '../../shared/base/bytes.ts';
import type { RandomBytes, Signer } from '../../shared/base/crypto.ts';

/** What stands before the raw 32 bytes of an Ed25519 key in DER (RFC 8410, sections 4 and 7). */
const SPKI_PREFIX = fromHex('302a300506032b6570032100');
const PKCS8_PREFIX = fromHex('302e020100300506032b657004220420');

export const KEY_BYTES = 32;
export const SEED_BYTES = 32;
export const SIGNATURE_BYTES = 64;

/** A group has tens of members; the rest is room for strangers and for old histories. */
export const CACHED_KEYS_MAX = 1024;

const keyObjects = new Map<string, KeyObject>();

/** The platform's form of a raw public key, made once per key. At most `CACHED_KEYS_MAX` are kept, those used last. */
export function publicKeyObject(publicKey: Uint8Array): KeyObject {
  if (publicKey.length !== KEY_BYTES) throw new RangeError(`a public key has ${KEY_BYTES} bytes`);
  const name = toHex(publicKey);
  const known = keyObjects.get(name);
  if (known) {
    keyObjects.delete(name);
    keyObjects.set(name, known);
    return known;
  }
  const made = createPublicKey({ key: Buffer.from(concat(SPKI_PREFIX, publicKey)), format: 'der', type: 'spki' });
  if (keyObjects.size >= CACHED_KEYS_MAX) {
    const oldest = keyObjects.keys().next();
    if (!oldest.done) keyObjects.delete(oldest.value);
  }
  keyObjects.set(name, made);
  return made;
}

/** For tests and status: how many key objects are held. */
export const cachedKeys = (): number => keyObjects.size;

/** The private key that a 32-byte seed stands for. */
export function privateKeyObject(seed: Uint8Array): KeyObject {
  if (seed.length !== SEED_BYTES) throw new RangeError(`a seed has ${SEED_BYTES} bytes`);
  return createPrivateKey({ key: Buffer.from(concat(PKCS8_PREFIX, seed)), format: 'der', type: 'pkcs8' });
}

/** Signs by the platform's native library. */
export function signerFromSeed(seed: Uint8Array): Signer {
  const key = privateKeyObject(seed);
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
  return {
    publicKey: new Uint8Array(spki.subarray(SPKI_PREFIX.length)),
    sign: (bytes) => new Uint8Array(sign(null, bytes, key)),
  };
}

/** From the operating system. */
export const platformRandom: RandomBytes = (length) => {
  if (length > POOL_BYTES / 4) return new Uint8Array(randomBytes(length));
  if (poolAt + length > POOL_BYTES) {
    pool = new Uint8Array(randomBytes(POOL_BYTES));
    poolAt = 0;
  }
  poolAt += length;
  return pool.slice(poolAt - length, poolAt);
};

/** A salt for every command: the system is asked for many at a time. Bytes are given out once. */
const POOL_BYTES = 4096;
let pool = new Uint8Array(0);
let poolAt = POOL_BYTES;
