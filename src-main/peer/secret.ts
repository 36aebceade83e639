import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

/** Nobody guesses it. 43 characters that fit in a URL and in a header. */
export const newToken = (): string => randomBytes(32).toString('base64url');

export const isToken = (text: unknown): text is string => typeof text === 'string' && /^[\w-]{43}$/.test(text);

/** Takes as long whatever differs, lengths included. */
export function sameSecret(given: string, expected: string): boolean {
  const hash = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(hash(given), hash(expected));
}
