/** Ed25519 (RFC 8032) behind a port: the platform's native library in the peer, a cheap stand-in in the simulator. */
export interface Signer {
  /** The public key, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** 64 bytes over `bytes`, which begin with a purpose's prefix. */
  sign(bytes: Uint8Array): Uint8Array;
}

export interface SignedBytes {
  readonly publicKey: Uint8Array;
  readonly bytes: Uint8Array;
  readonly signature: Uint8Array;
}

export interface Verifier {
  /** On the calling thread. */
  verify(signed: SignedBytes): boolean;
}

/** 16 or 32 unguessable bytes at a time: salts, incarnations, keys. Seeded in the simulator. */
export type RandomBytes = (length: number) => Uint8Array;
