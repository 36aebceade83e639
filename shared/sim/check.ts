/** A promise of the design was broken, seen from outside. */
export class CheckFailed extends Error {
  override readonly name = 'CheckFailed';
}

/** The words are made only where they are needed: most checks run for every message. */
export function check(condition: boolean, message: string | (() => string)): asserts condition {
  if (!condition) throw new CheckFailed(typeof message === 'string' ? message : message());
}
