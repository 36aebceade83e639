import { concat } from '../base/bytes.ts';
import type { SignedBytes, Signer, Verifier } from '../base/crypto.ts';
import { sha256 } from '../base/hash.ts';

/** A stand-in for Ed25519 that is cheap: no secret in it, but a signature still fits only these bytes and this key. */
export function simSigner(publicKey: Uint8Array): Signer {
  return { publicKey, sign: (bytes) => signature(publicKey, bytes) };
}

export const simVerifier: Verifier = {
  verify({ publicKey, bytes, signature: given }: SignedBytes): boolean {
    const right = signature(publicKey, bytes);
    return right.every((byte, i) => byte === given[i]);
  },
};

function signature(publicKey: Uint8Array, bytes: Uint8Array): Uint8Array {
  const half = sha256(concat(publicKey, bytes));
  return concat(half, half);
}
