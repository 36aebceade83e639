import type { PeerId } from '../base/ids.ts';
import type { Random } from '../base/random.ts';
import type { Links } from './links.ts';
import type { SimNode } from './node.ts';
import type { Scheduler } from './scheduler.ts';

const LOOK_MS = 100;
/** How long it takes until somebody dials again. */
const DIAL_MS = [0, 0, 30, 400, 1500];
/** A cut link says nothing by itself: a reset comes at once, a silence is noticed after some time, if it lasts so long. */
const SILENCE_MS = [0, 0, 250, 3000, 12_000];

interface Pair {
  readonly a: SimNode;
  readonly b: SimNode;
  /** The processes at its ends; null: there is no connection. */
  open: { readonly a: number; readonly b: number } | null;
  /** What is there is to be closed then, or what is not there to be opened, if nothing changes; null: nothing is to be done. */
  dueMs: number | null;
}

/**
 * Which processes have a connection, as the network tells them. It is one where both run and nothing is cut between them, either way. Frames do not ask for it (`links.ts`): one
 * may come before a connection is there, or after its end, and votes wait for the greeting of their run all the same.
 */
export class Connections {
  readonly counts = { 'connection opened': 0, 'connection closed': 0 };
  readonly #links: Links;
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  readonly #pairs: Pair[] = [];
  readonly #nodes: SimNode[] = [];

  constructor(links: Links, scheduler: Scheduler, random: Random) {
    this.#links = links;
    this.#scheduler = scheduler;
    this.#random = random;
  }

  begin(): void {
    for (const pair of this.#pairs) this.#look(pair);
    this.#scheduler.after(LOOK_MS, () => this.begin());
  }

  add(node: SimNode): void {
    for (const other of this.#nodes)
      if (other.peer !== node.peer) this.#pairs.push({ a: other, b: node, open: null, dueMs: null });
    this.#nodes.push(node);
  }

  /** With whom this very process has one. */
  of(node: SimNode): readonly PeerId[] {
    return this.#pairs.flatMap(({ a, b, open }) => {
      if (a === node && open?.a === node.process) return [b.peer];
      return b === node && open?.b === node.process ? [a.peer] : [];
    });
  }

  #look(pair: Pair): void {
    const { a, b, open } = pair;
    const isWhole = !this.#links.isCut(a.index, b.index) && !this.#links.isCut(b.index, a.index);
    if (open === null) {
      if (!isWhole || !a.isRunning || !b.isRunning) pair.dueMs = null;
      else if (this.#isDue(pair, DIAL_MS)) this.#open(pair);
      return;
    }
    const isAThere = a.isRunning && a.process === open.a;
    const isBThere = b.isRunning && b.process === open.b;
    if (isWhole && isAThere && isBThere) pair.dueMs = null;
    else if (isWhole && this.#isTold(pair)) this.#close(pair);
    else if (this.#isDue(pair, SILENCE_MS)) this.#close(pair);
  }

  /** A process that ends closes what it has; a machine that loses its power does not, but its next process is another one. */
  #isTold({ a, b, open }: Pair): boolean {
    const ended = (node: SimNode, process: number | undefined): boolean =>
      node.process === process ? !node.isRunning && !node.lostPower : node.isRunning;
    return ended(a, open?.a) || ended(b, open?.b);
  }

  #isDue(pair: Pair, afterMs: readonly number[]): boolean {
    pair.dueMs ??= this.#scheduler.nowMs + this.#random.pick(afterMs);
    if (this.#scheduler.nowMs < pair.dueMs) return false;
    pair.dueMs = null;
    return true;
  }

  #open(pair: Pair): void {
    const { a, b } = pair;
    this.counts['connection opened']++;
    pair.open = { a: a.process, b: b.process };
    this.#tell(a, a.process, b, true);
    this.#tell(b, b.process, a, true);
  }

  #close(pair: Pair): void {
    const { a, b, open } = pair;
    if (open === null) return;
    this.counts['connection closed']++;
    pair.open = null;
    this.#tell(a, open.a, b, false);
    this.#tell(b, open.b, a, false);
  }

  #tell(node: SimNode, process: number, { peer }: SimNode, isConnected: boolean): void {
    if (node.process === process) node.deliver((replica) => replica.connection(peer, isConnected));
  }
}
