import { FRAME_HEADER_BYTES } from './framing.ts';
import { FRAME_BYTES_MAX, type Purpose, QUEUE_BYTES_MAX } from './network.ts';
import type { PacedPurpose } from './pulse.ts';
import { SendLane, type Sink } from './send-lane.ts';
import { SendWindow } from './send-window.ts';

/** In the order in which they are served. */
export const PURPOSES: readonly Purpose[] = ['consensus', 'session', 'bulk'];

export const isPaced = (purpose: Purpose): purpose is PacedPurpose => purpose !== 'consensus';

/** @throws RangeError */
export function checkFrameSize(frame: Uint8Array): void {
  if (frame.length > FRAME_BYTES_MAX) {
    throw new RangeError(`a frame of ${frame.length} bytes, over FRAME_BYTES_MAX ${FRAME_BYTES_MAX}`);
  }
}

interface QueueInit {
  readonly sinks: Readonly<Record<Purpose, Sink>>;
  /** Monotonic, milliseconds. */
  readonly now: () => number;
  /** A stream refused to be written to. */
  readonly onFailed: (error: Error) => void;
}

/** All that waits for one connection to a member: one lane per purpose under one bound. */
export class SendQueue {
  readonly #now: () => number;
  readonly #onFailed: (error: Error) => void;
  readonly #windows: Readonly<Record<PacedPurpose, SendWindow>> = { session: new SendWindow(), bulk: new SendWindow() };
  readonly #lanes: Readonly<Record<Purpose, SendLane>>;
  #bytes = 0;
  #flushPlanned = false;
  #bulkPlanned: NodeJS.Immediate | null = null;

  constructor(init: QueueInit) {
    this.#now = init.now;
    this.#onFailed = init.onFailed;
    const onSent = (bytes: number): void => {
      this.#bytes -= bytes;
    };
    const lane = (purpose: Purpose): SendLane =>
      new SendLane(init.sinks[purpose], isPaced(purpose) ? this.#windows[purpose] : null, onSent);
    this.#lanes = { consensus: lane('consensus'), session: lane('session'), bulk: lane('bulk') };
  }

  /** Over all purposes, headers included. */
  get bytes(): number {
    return this.#bytes;
  }

  /** False where the queue is full. Sent at the end of this turn of the loop's microtasks or with `flush`, together with what else comes till then. */
  push(purpose: Purpose, frame: Uint8Array): boolean {
    const bytes = FRAME_HEADER_BYTES + frame.length;
    if (this.#bytes + bytes > QUEUE_BYTES_MAX) return false;
    this.#bytes += bytes;
    this.#lanes[purpose].push(frame);
    if (!this.#flushPlanned) {
      this.#flushPlanned = true;
      queueMicrotask(() => this.flush());
    }
    return true;
  }

  bytesOf(purpose: Purpose): number {
    return this.#lanes[purpose].bytes;
  }

  whenBelow(purpose: Purpose, bytes: number): Promise<boolean> {
    return this.#lanes[purpose].whenBelow(bytes);
  }

  drained(purpose: Purpose): void {
    this.#lanes[purpose].drained();
    this.#flushLane(purpose);
  }

  /** @throws RangeError for an acknowledgement of bytes never sent. */
  acked(purpose: PacedPurpose, total: number, roundTripMs: number | null): void {
    this.#windows[purpose].acked(total, this.#now(), roundTripMs);
    this.#flushLane(purpose);
  }

  close(): void {
    if (this.#bulkPlanned !== null) clearImmediate(this.#bulkPlanned);
    this.#bulkPlanned = null;
    for (const purpose of PURPOSES) this.#lanes[purpose].close();
    this.#bytes = 0;
  }

  /** Hands on what may be sent now, and bulk soon. */
  flush(): void {
    if (!this.#flushPlanned) return;
    this.#flushPlanned = false;
    for (const purpose of PURPOSES) this.#flushLane(purpose);
  }

  #flushLane(purpose: Purpose): void {
    if (purpose === 'bulk') this.#planBulk();
    else this.#guarded(() => this.#lanes[purpose].flush(this.#now()));
  }

  /**
   * Encrypting a slice takes a good part of a millisecond: bulk leaves once what this turn of the event loop has begun (a write to the disk, that others wait for) is
   * under way, and one slice in each, so that a vote never waits for more than that.
   */
  #planBulk(): void {
    if (this.#lanes.bulk.bytes === 0) return;
    this.#bulkPlanned ??= setImmediate(() => {
      this.#bulkPlanned = null;
      this.#guarded(() => {
        if (this.#lanes.bulk.flush(this.#now(), 1)) this.#planBulk();
      });
    });
  }

  #guarded(write: () => void): void {
    try {
      write();
    } catch (error) {
      this.#onFailed(error instanceof Error ? error : new Error(String(error)));
    }
  }
}
