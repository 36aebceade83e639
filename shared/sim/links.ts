import type { Random } from '../base/random.ts';
import type { Message } from '../consensus/messages.ts';
import type { Scheduler } from './scheduler.ts';

export interface LinkFaults {
  /** 0 … 1 per frame. */
  loss: number;
  duplication: number;
  /** 0 … 1 per frame: it comes once more, up to `replayMaxMs` later, whatever happened meanwhile. */
  replay: number;
  replayMaxMs: number;
  /** Frames take between these, so that they overtake each other. */
  delayMinMs: number;
  delayMaxMs: number;
  /** A cut takes along what is on its way. */
  dropsUnderWay: boolean;
  /** 0 … 1 per frame: it takes up to `straggleMaxMs`, and so arrives in a later reign. */
  straggle: number;
  straggleMaxMs: number;
  /** One type of message that is held back so often, for up to `holdMaxMs`. */
  held: Message['type'] | null;
  holding: number;
  holdMaxMs: number;
}

export interface LinkCounts {
  sent: number;
  lost: number;
  duplicated: number;
  replayed: number;
  cut: number;
  late: number;
}

/** The network between numbered nodes: each direction of each pair may be cut or clogged by itself. */
export class Links {
  readonly faults: LinkFaults;
  readonly counts: LinkCounts = { sent: 0, lost: 0, duplicated: 0, replayed: 0, cut: 0, late: 0 };
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  readonly #cut = new Set<number>();
  /** Nothing comes through a clogged direction before that time; then all of it does. */
  readonly #cloggedUntilMs = new Map<number, number>();

  constructor(scheduler: Scheduler, random: Random, faults: LinkFaults) {
    this.#scheduler = scheduler;
    this.#random = random;
    this.faults = { ...faults };
  }

  cut(from: number, to: number): void {
    this.#cut.add(direction(from, to));
  }

  join(from: number, to: number): void {
    this.#cut.delete(direction(from, to));
  }

  clog(from: number, to: number, untilMs: number): void {
    this.#cloggedUntilMs.set(direction(from, to), untilMs);
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

  /** Only these pairs hear each other. */
  connectOnly(nodes: number, pairs: readonly (readonly [number, number])[]): void {
    this.partition(nodes, []);
    for (const [a, b] of pairs) {
      this.join(a, b);
      this.join(b, a);
    }
  }

  heal(): void {
    this.#cut.clear();
    this.#cloggedUntilMs.clear();
  }

  isCut(from: number, to: number): boolean {
    return this.#cut.has(direction(from, to));
  }

  /** From now on everything arrives, at once and in order enough. */
  repair(): void {
    this.heal();
    Object.assign(this.faults, { loss: 0, duplication: 0, replay: 0, delayMaxMs: 2, straggle: 0, held: null });
  }

  send(from: number, to: number, type: string, deliver: () => void): void {
    this.counts.sent++;
    if (this.isCut(from, to)) {
      this.counts.cut++;
      return;
    }
    const random = this.#random;
    if (this.faults.loss > 0 && random.chance(this.faults.loss)) {
      this.counts.lost++;
      return;
    }
    let copies = 1;
    if (this.faults.duplication > 0 && random.chance(this.faults.duplication)) {
      copies = 2;
      this.counts.duplicated++;
    }
    const arrive = (): void => {
      if (this.faults.dropsUnderWay && this.isCut(from, to)) this.counts.cut++;
      else deliver();
    };
    if (this.faults.replay > 0 && random.chance(this.faults.replay)) {
      this.counts.replayed++;
      this.#scheduler.after(random.number() * this.faults.replayMaxMs, arrive);
    }
    for (let i = 0; i < copies; i++) this.#scheduler.after(this.#delayMs(direction(from, to), type), arrive);
  }

  #delayMs(along: number, type: string): number {
    const random = this.#random;
    const { delayMinMs, delayMaxMs, straggle, straggleMaxMs, held, holding, holdMaxMs } = this.faults;
    let delayMs = delayMinMs + random.number() * (delayMaxMs - delayMinMs);
    if (straggle > 0 && random.chance(straggle)) {
      delayMs += random.number() * straggleMaxMs;
      this.counts.late++;
    } else if (type === held && random.chance(holding)) {
      delayMs += random.number() * holdMaxMs;
      this.counts.late++;
    }
    const cloggedMs = (this.#cloggedUntilMs.get(along) ?? 0) - this.#scheduler.nowMs;
    if (cloggedMs > delayMs) {
      this.counts.late++;
      return cloggedMs + random.number();
    }
    return delayMs;
  }
}

const NODES_MAX = 64;
const direction = (from: number, to: number): number => from * NODES_MAX + to;
