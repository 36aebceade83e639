/** How many requests a command keeps in flight: enough that the group agrees on them in batches. */
export const IN_FLIGHT_MAX = 256;
/** What they may hold together, so that long entries don't crowd the peer. UTF-16 units. */
const IN_FLIGHT_LENGTH_MAX = 8 * 1024 * 1024;

export interface PipelineSteps<Item, Result> {
  /** Reads one after the other, and no further than there is room. `signal` aborts when the pipeline gives up. */
  source(signal: AbortSignal): AsyncIterable<Item>;
  lengthOf(item: Item): number;
  /** Begins an item's work. The promise must not reject. */
  start(item: Item): Promise<Result>;
  /** Takes the results in the order of the items. Throwing gives up on the rest. */
  finish(result: Result): Promise<void>;
}

/** Works on many items at once and yet finishes them in order, as soon as each one's turn comes. */
export async function pipelined<Item, Result>(outer: AbortSignal, steps: PipelineSteps<Item, Result>): Promise<void> {
  const giveUp = new AbortController();
  const queue: { result: Promise<Result>; length: number }[] = [];
  let queuedLength = 0;
  let sourceEnded = false;
  let wake = (): void => {};
  let changed = new Promise<void>((resolve) => {
    wake = resolve;
  });
  const notify = (): void => {
    const wakeAll = wake;
    changed = new Promise<void>((resolve) => {
      wake = resolve;
    });
    wakeAll();
  };

  async function finishAll(): Promise<void> {
    for (;;) {
      const head = queue[0];
      if (head) {
        await steps.finish(await head.result);
        queue.shift();
        queuedLength -= head.length;
        notify();
      } else if (sourceEnded) {
        return;
      } else {
        await changed;
      }
    }
  }

  let failure: { error: unknown } | undefined;
  const finishing = finishAll().catch((error: unknown) => {
    failure = { error };
    giveUp.abort();
    notify();
  });
  try {
    for await (const item of steps.source(AbortSignal.any([outer, giveUp.signal]))) {
      const length = steps.lengthOf(item);
      queue.push({ result: steps.start(item), length });
      queuedLength += length;
      notify();
      while (!failure && (queue.length >= IN_FLIGHT_MAX || queuedLength >= IN_FLIGHT_LENGTH_MAX)) await changed;
      if (failure) break;
    }
  } catch (error) {
    failure ??= { error };
  } finally {
    sourceEnded = true;
    notify();
  }
  // What is under way gets its answer, also where reading on failed.
  await finishing;
  if (failure) throw failure.error;
}
