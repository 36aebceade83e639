export const BACKOFF_MIN_MS = 250;
export const BACKOFF_MAX_MS = 30_000;

/** The wait after `failures` dials in a row that failed (0, 1, …): doubled each time, and ± 25 %. `random` is in [0, 1). Milliseconds. */
export function backoffMs(failures: number, random: number): number {
  const base = Math.min(BACKOFF_MAX_MS / 1.25, BACKOFF_MIN_MS * 2 ** Math.min(failures, 16));
  return base * (0.75 + random / 2);
}
