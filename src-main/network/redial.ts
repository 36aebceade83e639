import type { Connection } from '@libp2p/interface';
import { AddressBook } from './address-book.ts';
import type { LocalAddress } from './address-rank.ts';
import { backoffMs } from './backoff.ts';
import type { DialAttempt, DialResult } from './dial.ts';

/** A whole round over a member's addresses. Milliseconds. */
const DIAL_ROUND_MS = 15_000;
/** A wait up to this is not worth cutting short. Milliseconds. */
const SHORT_WAIT_MS = 1_000;

interface RedialInit {
  /** Before every dial; the larger peer id waits, so that mostly only one of two dials. Milliseconds. */
  readonly yieldMs: number;
  /** No connection is there or being settled. */
  readonly isWanted: () => boolean;
  readonly dial: (addresses: readonly string[], signal: AbortSignal) => Promise<DialResult>;
  readonly localAddresses: () => readonly LocalAddress[];
  readonly onDialled: (connection: Connection, address: string) => void;
  readonly onFailed: (failures: number, attempts: readonly DialAttempt[]) => void;
  /** Monotonic, milliseconds. */
  readonly now: () => number;
  /** In [0, 1). */
  readonly random: () => number;
}

/** Dials one member until it is connected, for ever, with backoff. */
export class Redial {
  readonly book = new AddressBook();
  readonly #init: RedialInit;
  #dial: AbortController | null = null;
  #timer: NodeJS.Timeout | null = null;
  #dueMs = 0;
  #failures = 0;

  constructor(init: RedialInit) {
    this.#init = init;
  }

  /** The wait that a next failure would bring. Milliseconds. */
  get backoffMs(): number {
    return backoffMs(this.#failures, this.#init.random());
  }

  /** After a connection's end: a sound one starts without backoff. */
  lost(wasSound: boolean): void {
    this.#failures = wasSound ? 0 : this.#failures + 1;
  }

  /** Dials after the backoff, unless a dial is planned or running. */
  plan(): void {
    if (this.#dial === null && this.#timer === null) this.#planIn(this.#init.yieldMs + this.backoffMs);
  }

  /** There is reason to hope: forgets the backoff. */
  hurry(): void {
    this.#failures = 0;
    this.#planIn(this.#init.yieldMs);
  }

  /** The member was just seen alive: don't wait out a long backoff. */
  nudge(): void {
    if (this.#timer !== null && this.#dueMs - this.#init.now() > SHORT_WAIT_MS) this.#planIn(this.#init.yieldMs);
  }

  cancel(): void {
    this.#dial?.abort();
    this.#dial = null;
    this.#clearTimer();
  }

  #planIn(delayMs: number): void {
    this.#clearTimer();
    if (this.#dial !== null || this.book.isEmpty || !this.#init.isWanted()) return;
    this.#dueMs = this.#init.now() + delayMs;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      void this.#dialNow();
    }, delayMs);
    this.#timer.unref();
  }

  #clearTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  async #dialNow(): Promise<void> {
    const dial = new AbortController();
    this.#dial = dial;
    const timer = setTimeout(() => dial.abort(), DIAL_ROUND_MS);
    timer.unref();
    const result = await this.#init.dial(this.book.candidates(this.#init.localAddresses()), dial.signal);
    clearTimeout(timer);
    if (this.#dial !== dial) {
      if (result.ok) result.connection.abort(new Error('no longer needed'));
      return;
    }
    this.#dial = null;
    if (result.ok) {
      this.book.worked(result.address);
      this.#init.onDialled(result.connection, result.address);
    } else {
      this.#failures++;
      this.#init.onFailed(this.#failures, result.attempts);
      this.plan();
    }
  }
}
