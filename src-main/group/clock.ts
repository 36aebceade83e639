/** Time as the join conversation needs it, so that tests hold it in their hands. */
export interface Clock {
  /** Milliseconds since 1970, for judging expiry; it may jump. */
  nowMs(): number;
  /** Runs once after `ms` milliseconds of running time. The returned function calls it off. */
  after(ms: number, run: () => void): () => void;
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  after: (ms, run) => {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};

/** A signal that aborts after `ms`, or together with `outer`. `clear` it when done. */
export interface Deadline {
  readonly signal: AbortSignal;
  clear(): void;
}

export function deadline(clock: Clock, ms: number, outer?: AbortSignal): Deadline {
  const controller = new AbortController();
  const abort = () => controller.abort();
  const cancel = clock.after(ms, abort);
  if (outer?.aborted) abort();
  outer?.addEventListener('abort', abort, { once: true });
  return {
    signal: controller.signal,
    clear: () => {
      cancel();
      outer?.removeEventListener('abort', abort);
    },
  };
}

/** Resolves after `ms`, or at once when the signal aborts. */
export function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      cancel();
      signal.removeEventListener('abort', done);
      resolve();
    };
    const cancel = clock.after(ms, done);
    signal.addEventListener('abort', done, { once: true });
  });
}
