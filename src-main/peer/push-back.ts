/** More own commands than this wait for the group: whoever writes is faster than it. */
export const PENDING_MAX = 4_096;
/** How long one answer is held back at most. Milliseconds. */
const HELD_BACK_MS = 1_000;

/** Of a group on this machine, what tells how fast it is. */
export interface Pressed {
  readonly replica: {
    readonly outbox: { readonly pending: number };
    /** Null where nobody leads. */
    readonly leader: unknown;
  };
  /** Called after every turn that applied something. Returns how to stop. */
  watch(watcher: () => void): () => void;
}

/**
 * A client that writes faster than the group agrees is answered a little later: so what waits in memory has a bound as long as the group goes on. Saved is saved
 * all the while; and where nobody leads nothing is held back, as nobody knows for how long.
 */
export function pushedBack(group: Pressed): Promise<void> {
  const isPressed = (): boolean => group.replica.outbox.pending > PENDING_MAX && group.replica.leader !== null;
  if (!isPressed()) return Promise.resolve();
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      stop();
      resolve();
    };
    const timer = setTimeout(end, HELD_BACK_MS);
    const stop = group.watch(() => {
      if (!isPressed()) end();
    });
  });
}
