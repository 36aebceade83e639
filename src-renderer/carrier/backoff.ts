const FIRST_MS = 250;
const MOST_MS = 5_000;

/**
 * How long to wait before trying again, after so many failures in a row. It doubles from 0.25 s to 5 s; up to a fifth is taken off by chance, so that
 * several windows don't knock together.
 * @param chance 0 to 1
 */
export function backoffMs(failures: number, chance: number): number {
  const whole = Math.min(MOST_MS, FIRST_MS * 2 ** Math.min(failures, 16));
  return Math.max(FIRST_MS, Math.round(whole * (1 - chance / 5)));
}
