import { hash, verify as verifyNatively } from 'node:crypto';
import { concat } from '../../shared/base/bytes.ts';
import type { SignedBytes, Verifier } from '../../shared/base/crypto.ts';
import { Recent } from '../../shared/base/recent.ts';
import { KEY_BYTES, publicKeyObject, SIGNATURE_BYTES } from './keys.ts';

/**
 * Checks Ed25519 signatures by the platform's library, and remembers the verdicts, so that what was checked off the main thread before it
 * reached the core costs one hash when it is applied. A verdict that was forgotten is found again, never guessed.
 *
 * Every peer must come to the same verdict. OpenSSL (Node) and BoringSSL (Electron) both check without the cofactor and refuse S ≥ L.
 */
export interface BatchVerifier extends Verifier {
  /** On libuv's pool, never the main thread; the verdicts in the order of `list`. */
  verifyAll(list: readonly SignedBytes[]): Promise<boolean[]>;
  inspect(): { readonly cached: number; readonly checked: number; readonly inFlight: number };
}

/** Values that are on their way at once: 16 batches of about a thousand commands, twice. */
export const VERDICTS_MAX = 32_768;
/** libuv's four threads also serve the disk: so few wait before it that its calls are delayed by well under a millisecond. */
const IN_FLIGHT_MAX = 8;

export function createVerifier(verdictsMax: number = VERDICTS_MAX): BatchVerifier {
  return new NativeVerifier(verdictsMax);
}

class NativeVerifier implements BatchVerifier {
  readonly #verdicts: Recent<string, boolean>;
  readonly #waiting: (() => void)[] = [];
  #waitingFrom = 0;
  #inFlight = 0;
  #checked = 0;

  constructor(verdictsMax: number) {
    this.#verdicts = new Recent(verdictsMax);
  }

  verify(signed: SignedBytes): boolean {
    if (!hasShape(signed)) return false;
    const name = nameOf(signed);
    const known = this.#verdicts.get(name);
    if (known !== undefined) return known;
    this.#checked++;
    const verdict = checkNow(signed);
    this.#verdicts.set(name, verdict);
    return verdict;
  }

  verifyAll(list: readonly SignedBytes[]): Promise<boolean[]> {
    if (list.length === 0) return Promise.resolve([]);
    return new Promise((resolve) => {
      const verdicts = new Array<boolean>(list.length).fill(false);
      let open = 1;
      const close = () => {
        if (--open === 0) resolve(verdicts);
      };
      for (const [i, signed] of list.entries()) {
        if (!hasShape(signed)) continue;
        const name = nameOf(signed);
        const known = this.#verdicts.get(name);
        if (known !== undefined) {
          verdicts[i] = known;
          continue;
        }
        open++;
        this.#enter(() =>
          checkOnPool(signed, (verdict) => {
            this.#leave();
            this.#verdicts.set(name, verdict);
            verdicts[i] = verdict;
            close();
          }),
        );
      }
      close();
    });
  }

  inspect(): { cached: number; checked: number; inFlight: number } {
    return { cached: this.#verdicts.size, checked: this.#checked, inFlight: this.#inFlight };
  }

  #enter(run: () => void): void {
    if (this.#inFlight >= IN_FLIGHT_MAX) {
      this.#waiting.push(run);
      return;
    }
    this.#inFlight++;
    this.#checked++;
    run();
  }

  #leave(): void {
    this.#inFlight--;
    const next = this.#waiting[this.#waitingFrom];
    if (next === undefined) return;
    this.#waitingFrom++;
    if (this.#waitingFrom === this.#waiting.length) {
      this.#waiting.length = 0;
      this.#waitingFrom = 0;
    }
    this.#enter(next);
  }
}

function hasShape(signed: SignedBytes): boolean {
  return signed.publicKey.length === KEY_BYTES && signed.signature.length === SIGNATURE_BYTES;
}

/** Covers the signature too: a false one must not speak for the true one of the same bytes. The first two have fixed lengths. */
function nameOf(signed: SignedBytes): string {
  return hash('sha256', concat(signed.publicKey, signed.signature, signed.bytes), 'base64');
}

/** A key that is no point on the curve is the sender's fault, not an exception. */
function checkNow(signed: SignedBytes): boolean {
  try {
    return verifyNatively(null, signed.bytes, publicKeyObject(signed.publicKey), signed.signature);
  } catch {
    return false;
  }
}

function checkOnPool(signed: SignedBytes, done: (verdict: boolean) => void): void {
  try {
    verifyNatively(null, signed.bytes, publicKeyObject(signed.publicKey), signed.signature, (error, verdict) =>
      done(error === null && verdict),
    );
  } catch {
    queueMicrotask(() => done(false));
  }
}
