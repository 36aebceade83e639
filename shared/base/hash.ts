import { sha256 as portable } from '@noble/hashes/sha2.js';
import { utf8 } from './bytes.ts';

/** SHA-256: 32 bytes. Synchronous, so that the core's step never waits. */
export type Sha256 = (bytes: Uint8Array) => Uint8Array;

let sha256Now: Sha256 = portable;

/** Puts the platform's SHA-256 in place of the portable one, where it is faster. Same function, so never a choice of format. */
export function installSha256(fast: Sha256): void {
  sha256Now = fast;
}

export function sha256(bytes: Uint8Array): Uint8Array {
  return sha256Now(bytes);
}

export const HASH_BYTES = 32;
export const ZERO_HASH: Uint8Array = new Uint8Array(HASH_BYTES);

/** What a hash or a signature is for. A prefix per purpose, so that bytes made for one can't be used for another. */
export type Purpose =
  | 'command'
  | 'run'
  | 'payload'
  | 'value'
  | 'digest'
  | 'genesis'
  | 'entry'
  | 'state'
  | 'turn'
  | 'batch'
  | 'invitation'
  | 'ticket'
  | 'epoch'
  | 'recovery';

const prefixes = new Map<Purpose, Uint8Array>();

/** `synod/PURPOSE/1\0` */
export function domain(purpose: Purpose): Uint8Array {
  let prefix = prefixes.get(purpose);
  if (!prefix) {
    prefix = utf8(`synod/${purpose}/1\0`);
    prefixes.set(purpose, prefix);
  }
  return prefix;
}

/** Where short inputs are put together; nearly all are. The hash is taken before anybody else can write here. */
const workspace = new Uint8Array(8 * 1024);

/** SHA-256 over the purpose's prefix and then the parts, one after the other. A string stands for its bytes and must be ASCII. */
export function hashFor(purpose: Purpose, ...parts: readonly (Uint8Array | string)[]): Uint8Array {
  const prefix = domain(purpose);
  let size = prefix.length;
  for (const part of parts) size += part.length;
  const input = size <= workspace.length ? workspace : new Uint8Array(size);
  input.set(prefix);
  let at = prefix.length;
  for (const part of parts) {
    if (typeof part === 'string') for (let i = 0; i < part.length; i++) input[at + i] = part.charCodeAt(i);
    else input.set(part, at);
    at += part.length;
  }
  return sha256Now(input.subarray(0, size));
}
