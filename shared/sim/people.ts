import { type EntryId, position } from '../base/ids.ts';
import type { Random } from '../base/random.ts';
import { type Body, isRefused, LEVEL } from '../document/index.ts';
import type { Replica } from '../replica/replica.ts';
import { check } from './check.ts';
import type { Wish } from './checkers.ts';
import type { SimNode } from './node.ts';
import type { Plan } from './plan.ts';
import type { Scheduler } from './scheduler.ts';

export interface PeopleInit {
  readonly nodes: readonly SimNode[];
  readonly random: Random;
  readonly scheduler: Scheduler;
  readonly plan: Plan;
}

/** Those who sit at the machines: they write, edit, remove, restore, try what they may not do, and ask for linearizable reads. */
export class People {
  readonly wishes: Wish[] = [];
  barriersServed = 0;
  refusals = 0;
  #barriersAsked = 0;
  readonly #init: PeopleInit;
  readonly #written: number[];
  readonly #excused = new Set<SimNode>();
  #resting = false;
  /** The highest slot whose commit somebody was told of. */
  #toldSlot = 0;

  constructor(init: PeopleInit) {
    this.#init = init;
    this.#written = init.nodes.map(() => 0);
  }

  begin(): void {
    this.#init.scheduler.after(200, () => this.#work());
  }

  rest(): void {
    this.#resting = true;
  }

  /** Nobody promises anything any more for what was written there, or is from now on (`forGood`). */
  excuse(node: SimNode, forGood: boolean): void {
    if (forGood) this.#excused.add(node);
    for (const wish of this.wishes) if (wish.node === node.index) wish.excused = true;
  }

  /** Above this slot the log is another one now (R12), and what machines told that are lost holds no more. */
  forget(above: number): void {
    this.#toldSlot = Math.min(this.#toldSlot, above);
    for (const wish of this.wishes) if (wish.excused) wish.position = null;
  }

  /** What was written at that machine and is not judged, as far as it knows. */
  openAt({ index }: SimNode): readonly Wish[] {
    return this.wishes.filter((wish) => wish.node === index && wish.position === null && wish.refused === null);
  }

  get barriersOpen(): number {
    return this.#barriersAsked - this.barriersServed;
  }

  /** A wiped machine's first command opens its session; others are made only after it. */
  openSession(node: SimNode, replica: Replica): void {
    if (!node.wiped || !replica.isSound || !replica.outbox.needsOpenSession(replica.reader)) return;
    replica.write({ kind: 'openSession' }, says(replica), {}, { quiet: true });
  }

  #work(): void {
    if (this.#resting) return;
    const { random, plan, scheduler } = this.#init;
    const node = random.pick(this.#init.nodes);
    const { replica } = node;
    if (replica !== null && !node.isPaused && mayWrite(node, replica)) {
      const burst = random.chance(0.1) ? 6 : 1;
      for (let i = 0; i < burst; i++) this.#act(node, replica);
      if (random.chance(plan.flurries)) this.flurry(node, 6);
    }
    scheduler.after(random.number() * 2 * plan.workEveryMs, () => this.#work());
  }

  /** Commands shortly after one another, so that several slots with them are in flight at once. */
  flurry(node: SimNode, left: number): void {
    const { random, scheduler } = this.#init;
    scheduler.after(random.number() * 20, () => {
      const { replica } = node;
      if (this.#resting || replica === null || node.isPaused || !mayWrite(node, replica)) return;
      this.#act(node, replica);
      if (left > 1) this.flurry(node, left - 1);
    });
  }

  #act(node: SimNode, replica: Replica): void {
    node.use(replica, () => this.#do(node, replica));
  }

  #do(node: SimNode, replica: Replica): void {
    const { random, plan } = this.#init;
    if (random.chance(plan.barriers)) return this.#barrier(node, replica);
    const dice = random.number();
    const positions = replica.reader.positions();
    const entry = positions > 0 ? replica.reader.entryAt(position(1 + random.below(positions)))?.id : undefined;
    if (this.wishes.length < plan.wishesMax && (dice < 0.6 || entry === undefined)) return this.#create(node, replica);
    if (entry === undefined || dice < 0.45) return;
    if (dice < 0.75) this.#edit(node, replica, entry);
    else if (dice < 0.85) write(replica, { kind: 'remove', entry });
    else if (dice < 0.93) write(replica, { kind: 'restore', entry, revision: null });
    else this.#overreach(node, replica);
  }

  #create(node: SimNode, replica: Replica): void {
    const n = (this.#written[node.index] as number) + 1;
    this.#written[node.index] = n;
    const text = `${node.name} wrote ${n}`;
    const wish: Wish = {
      node: node.index,
      text,
      n,
      saved: false,
      position: null,
      refused: null,
      excused: this.#excused.has(node) || node.isTreated,
      isShared: false,
    };
    this.wishes.push(wish);
    let seq: number | null = null;
    const made = replica.write({ kind: 'create', key: null, text }, says(replica), {
      saved: () => {
        wish.saved = true;
        check(seq !== null && seq <= node.disk.ownSeq, () => `${text} is told to be saved, and is not on the disk`);
      },
      settled: (verdict) => {
        check(wish.position === null && wish.refused === null, () => `${text} was settled twice`);
        if (isRefused(verdict)) wish.refused = verdict.refused;
        else wish.position = verdict.took[0]?.position ?? null;
        this.#toldSlot = Math.max(this.#toldSlot, replica.applied);
      },
    });
    check(!('refused' in made), () => `${text} was refused at once`);
    seq = made.seq;
  }

  #edit(node: SimNode, replica: Replica, entry: EntryId): void {
    const text = `edited by ${node.name} at ${this.#init.scheduler.nowMs.toFixed(0)}`;
    replica.edit({ entry, text }, says(replica), {});
  }

  /** A writer who tries what only keepers may: refused at its place in the log, and it must not stand in the way of what follows. */
  #overreach(node: SimNode, replica: Replica): void {
    if (node.index === 0) return;
    replica.write({ kind: 'pinRole', peer: node.peer, role: 'learner' }, says(replica), {
      settled: (verdict) => {
        check(isRefused(verdict), () => `${node.name} did what only keepers may`);
        this.refusals++;
      },
    });
  }

  /** What a linearizable read is served from is no older than anything that was told to anybody before it was asked. */
  #barrier(node: SimNode, replica: Replica): void {
    const told = this.#toldSlot;
    this.#barriersAsked++;
    replica.barrier((at) => {
      this.barriersServed++;
      check(
        at >= told,
        () => `a barrier at ${node.name} was served from slot ${at}, though ${told} had been told before`,
      );
      check(
        at <= replica.applied,
        () => `a barrier at ${node.name} was served from slot ${at}, which is not applied there`,
      );
      this.#toldSlot = Math.max(this.#toldSlot, at);
    });
  }
}

export function says(replica: Replica) {
  return { writer: 'somebody', timeMs: 1.7e12, offsetMinutes: 0, saw: replica.applied, level: LEVEL };
}

export function write(replica: Replica, body: Body): void {
  replica.write(body, says(replica), {});
}

/** A damaged store takes nothing; where the machine was wiped, its new session must have been asked for. */
function mayWrite(node: SimNode, replica: Replica): boolean {
  if (!replica.isSound || replica.isWitness) return false;
  if (!node.wiped) return true;
  return replica.outbox.lastSeq > 0 && replica.reader.member(node.peer) !== undefined;
}
