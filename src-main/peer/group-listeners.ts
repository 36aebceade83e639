import type { Change } from '../../shared/document/index.ts';

/** Who is told of what passes in one group: those who show it, those who wait for a command, and those who wait for the store. */
export class GroupListeners {
  readonly #watchers = new Set<(changes: readonly Change[]) => void>();
  /** Whoever waits for a command: told when the disk did not take it. */
  readonly #waiters = new Set<(error: Error) => void>();
  #whenOpen: (() => void)[] = [];

  /** Called after every turn that applied something. Returns how to stop. */
  watch(watcher: (changes: readonly Change[]) => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** `onError` is called where the disk fails before the caller's command is safe. Returns how to stop. */
  waiting(onError: (error: Error) => void): () => void {
    this.#waiters.add(onError);
    return () => this.#waiters.delete(onError);
  }

  /** Resolves with the next `tellOpen`. */
  whenOpen(): Promise<void> {
    return new Promise((resolve) => this.#whenOpen.push(resolve));
  }

  /** @param changes empty where everything may be another: the store was opened anew */
  tellChanges(changes: readonly Change[]): void {
    for (const watcher of this.#watchers) watcher(changes);
  }

  /** Each is told once. */
  tellWaiters(error: Error): void {
    // Some of them wait again, for another try.
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const waiter of waiters) waiter(error);
  }

  /** The store is open, or can't be opened for now. */
  tellOpen(): void {
    for (const resolve of this.#whenOpen.splice(0)) resolve();
  }
}
