import type { Random } from '../base/random.ts';
import type { Scheduler } from './scheduler.ts';

export interface LinkFaults {
  /** 0 … 1 per frame. */
  loss: number;
  duplication: number;
  /** Frames take between these, so that they overtake each other. */
  delayMinMs: number;
  delayMaxMs: number;
}

export interface LinkCounts {
  sent: number;
  lost: number;
  duplicated: number;
  cut: number;
}

/** The network between numbered nodes: each direction of each pair may be cut by itself. */
export class Links {
  readonly faults: LinkFaults;
  readonly counts: LinkCounts = { sent: 0, lost: 0, duplicated: 0, cut: 0 };
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  readonly #cut = new Set<string>();

  constructor(scheduler: Scheduler, random: Random, faults: LinkFaults) {
    this.#scheduler = scheduler;
    this.#random = random;
    this.faults = faults;
  }

  cut(from: number, to: number): void {
    this.#cut.add(`${from}>${to}`);
  }

  /** The groups hear only themselves. Nodes that are in none hear nobody. */
  partition(nodes: number, groups: readonly (readonly number[])[]): void {
    this.heal();
    for (let a = 0; a < nodes; a++) {
      for (let b = 0; b < nodes; b++) {
        if (a !== b && !groups.some((g) => g.includes(a) && g.includes(b))) this.cut(a, b);
      }
    }
  }

  heal(): void {
    this.#cut.clear();
  }

  isCut(from: number, to: number): boolean {
    return this.#cut.has(`${from}>${to}`);
  }

  send(from: number, to: number, deliver: () => void): void {
    this.counts.sent++;
    if (this.isCut(from, to)) {
      this.counts.cut++;
      return;
    }
    if (this.#random.chance(this.faults.loss)) {
      this.counts.lost++;
      return;
    }
    const copies = this.#random.chance(this.faults.duplication) ? 2 : 1;
    if (copies === 2) this.counts.duplicated++;
    for (let i = 0; i < copies; i++) {
      const { delayMinMs, delayMaxMs } = this.faults;
      this.#scheduler.after(delayMinMs + this.#random.number() * (delayMaxMs - delayMinMs), deliver);
    }
  }
}
