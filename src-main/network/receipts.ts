import type { PacedPurpose } from './pulse.ts';

/** Acknowledged at once. Below the smallest window would do; more would only cost packets. Bytes. */
const ACK_NOW_BYTES = 256 * 1024;
/** Acknowledged soon. At most half the smallest window, or a sender could wait for ever. Bytes. */
const ACK_SOON_BYTES = 16 * 1024;
const ACK_SOON_MS = 5;

interface Receipt {
  received: number;
  acked: number;
}

/** The receiving half of send-window.ts: counts what arrived and says so, now and then. */
export class Receipts {
  readonly #tell: (purpose: PacedPurpose, bytes: number) => void;
  readonly #receipts: Readonly<Record<PacedPurpose, Receipt>> = {
    session: { received: 0, acked: 0 },
    bulk: { received: 0, acked: 0 },
  };
  #timer: NodeJS.Timeout | null = null;

  constructor(tell: (purpose: PacedPurpose, bytes: number) => void) {
    this.#tell = tell;
  }

  received(purpose: PacedPurpose, bytes: number): void {
    const receipt = this.#receipts[purpose];
    receipt.received += bytes;
    const open = receipt.received - receipt.acked;
    if (open >= ACK_NOW_BYTES) this.#ack(purpose);
    else if (open >= ACK_SOON_BYTES && this.#timer === null) {
      this.#timer = setTimeout(() => this.#ackAll(), ACK_SOON_MS);
      this.#timer.unref();
    }
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #ackAll(): void {
    this.#timer = null;
    this.#ack('session');
    this.#ack('bulk');
  }

  #ack(purpose: PacedPurpose): void {
    const receipt = this.#receipts[purpose];
    if (receipt.received === receipt.acked) return;
    receipt.acked = receipt.received;
    this.#tell(purpose, receipt.received);
  }
}
