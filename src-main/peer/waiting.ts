import { PeerError } from '../../shared/ipc/errors.ts';

/** What a wait ended with. */
export type Ended<T> = { readonly by: 'done'; readonly value: T } | { readonly by: 'timeout' };

/** Runs `start`, which returns how to stop, and waits for it to call one of the two; or for the time, or for the one who asked to lose interest. */
export function waitFor<T>(
  timeoutMs: number,
  signal: AbortSignal,
  start: (done: (value: T) => void, failed: (error: unknown) => void) => () => void,
): Promise<Ended<T>> {
  return new Promise((resolve, reject) => {
    let stop: (() => void) | null = null;
    let hasEnded = false;
    const end = (settle: () => void): void => {
      hasEnded = true;
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      stop?.();
      settle();
    };
    const onAbort = (): void =>
      end(() => reject(new PeerError('CANCELLED', 'The request was given up. What was saved is kept.')));
    const timer = Number.isFinite(timeoutMs)
      ? setTimeout(() => end(() => resolve({ by: 'timeout' })), timeoutMs)
      : undefined;
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) return onAbort();
    stop = start(
      (value) => end(() => resolve({ by: 'done', value })),
      (error) => end(() => reject(error)),
    );
    if (hasEnded) stop(); // it ended at once
  });
}
