import type { SignedBytes } from '../base/crypto.ts';
import type { Message } from '../consensus/messages.ts';
import type { Value } from '../consensus/value.ts';
import { type Batch, decodeBatch, type Run, runSignature } from '../document/index.ts';

/** Verdicts on signatures: at once, or off the thread. In the order of the list. */
export type VerifyAll = (signed: readonly SignedBytes[]) => readonly boolean[] | Promise<readonly boolean[]>;

/**
 * Signatures are verified before a message reaches the core, once per run; apply then reads the verdict. A run is an object that lives as long as its
 * value does, so the verdicts need no clearing.
 */
export class Verdicts {
  readonly #known = new WeakMap<Run, boolean>();
  readonly #verifyAll: VerifyAll;
  readonly #verifyNow: (signed: SignedBytes) => boolean;

  constructor(verifyAll: VerifyAll, verifyNow: (signed: SignedBytes) => boolean) {
    this.#verifyAll = verifyAll;
    this.#verifyNow = verifyNow;
  }

  /** One's own, just signed. */
  trust(run: Run): void {
    this.#known.set(run, true);
  }

  /** For apply. What was read from the disk after a restart is verified here. */
  of(run: Run): boolean {
    let verdict = this.#known.get(run);
    if (verdict === undefined) {
      verdict = this.#verifyNow(runSignature(run));
      this.#known.set(run, verdict);
    }
    return verdict;
  }

  /** Makes sure that there is a verdict on each. Calls `then` with whether all are valid: at once where nothing had to wait. */
  ensure(runs: readonly Run[], then: (allValid: boolean) => void): void | Promise<void> {
    const unknown = runs.filter((run) => !this.#known.has(run));
    const finish = (verdicts: readonly boolean[]): void => {
      unknown.forEach((run, i) => {
        this.#known.set(run, verdicts[i] === true);
      });
      then(runs.every((run) => this.#known.get(run) === true));
    };
    if (unknown.length === 0) return finish([]);
    const verdicts = this.#verifyAll(unknown.map(runSignature));
    return verdicts instanceof Promise ? verdicts.then(finish) : finish(verdicts as readonly boolean[]);
  }
}

/** Every run in a message's values. */
export function runsIn(message: Message): readonly Run[] {
  switch (message.type) {
    case 'accept':
      return runsOf(message.value);
    case 'values':
      return message.values.flatMap(runsOf);
    case 'promise':
      return message.accepted.flatMap((row) => runsOf(row.value));
    default:
      return [];
  }
}

/** A payload that can't be decoded has no hash, so it never became a value. */
function runsOf(value: Value): readonly Run[] {
  return value.kind === 'commands' ? (decodeBatch(value.payload) as Batch).runs : [];
}
