import type { Accept } from '../consensus/messages.ts';
import type { Outgoing } from '../replica/replica.ts';
import { ballotName } from './choices.ts';
import { Disks } from './faults-disks.ts';
import { Governance } from './faults-group.ts';
import { Cuts } from './faults-links.ts';
import { Machines } from './faults-machines.ts';
import type { SimNode } from './node.ts';
import type { FaultKind, Faults, Occasion, Step, Trigger, TriggerKind } from './plan.ts';
import { leaderOf, roundTripMs, type Scene } from './scene.ts';
import { Stories } from './stories.ts';

const EARLY_ACCEPTS = 3;
const FORMING_MS_MAX = 4000;
const READS_MAX = 12;
const NEEDS_COMMANDS: ReadonlySet<TriggerKind> = new Set(['hole', 'contest']);

/** Says when something breaks: by chance, just as a message leaves, and between the steps of a turn. What then happens is the business of the `faults-…` files. */
export class Chaos {
  readonly disks: Disks;
  readonly group: Governance;
  readonly #scene: Scene;
  readonly #machines: Machines;
  readonly #cuts: Cuts;
  readonly #stories: Stories;
  readonly #triggers = new Map<Occasion, Trigger[]>();
  /** Accepts that left, by ballot. */
  readonly #proposals = new Map<string, number>();
  #struckMs = 0;
  #begun = false;

  constructor(scene: Scene) {
    this.#scene = scene;
    this.#machines = new Machines(scene);
    this.#cuts = new Cuts(scene, () => this.#stories.isUnderWay);
    this.#stories = new Stories(scene, this.#cuts, this.#machines);
    this.disks = new Disks(scene);
    this.group = new Governance(scene);
    for (const trigger of scene.plan.triggers) {
      this.#triggers.set(trigger.on, [...(this.#triggers.get(trigger.on) ?? []), trigger]);
    }
  }

  begin(): void {
    const { scheduler, plan, nodes, choices } = this.#scene;
    if (this.#scene.isOver) return;
    const isFormed = choices.newest.configuration.voters.length >= Math.min(plan.voters, nodes.length);
    if (plan.formsInPeace && !isFormed && scheduler.nowMs < FORMING_MS_MAX)
      return scheduler.after(100, () => this.begin());
    this.#begun = true;
    this.#scene.note('-- let there be chaos');
    this.#next(plan.hard, plan.hardEveryMs);
    this.#next(plan.soft, plan.softEveryMs);
    if (plan.rollingIsolation) {
      scheduler.after(plan.softEveryMs, () => this.#stories.roll(() => leaderOf(this.#scene)));
    }
  }

  end(): void {
    this.#scene.isOver = true;
  }

  #next(faults: Faults, everyMs: number): void {
    const { random, scheduler } = this.#scene;
    scheduler.after(random.number() * 2 * everyMs, () => {
      if (this.#scene.isOver) return;
      const kind = this.#draw(faults);
      if (kind !== null && !this.#stories.isUnderWay) this.#break(kind);
      this.#next(faults, everyMs);
    });
  }

  #draw(faults: Faults): FaultKind | null {
    const kinds = Object.entries(faults) as [FaultKind, number][];
    let sum = 0;
    for (const [, weight] of kinds) sum += weight;
    let at = this.#scene.random.number() * sum;
    for (const [kind, weight] of kinds) {
      at -= weight;
      if (at < 0) return kind;
    }
    return null;
  }

  #break(kind: FaultKind): void {
    const { random, nodes } = this.#scene;
    const node = random.pick(nodes);
    switch (kind) {
      case 'kill':
        return this.#machines.crash(node);
      case 'outage':
        return this.#machines.outage();
      case 'pause':
        return this.#machines.pause(node);
      case 'clock jump':
        return this.#machines.jumpClock(node);
      case 'partition':
        return this.#cuts.halves();
      case 'isolated leader':
        if (this.#cuts.isHealPlanned) return;
        return this.#cuts.isolate(leaderOf(this.#scene), random.chance(0.5) ? random.pick(nodes) : null, kind);
      case 'one-way cut':
        return this.#cuts.oneWay();
      case 'partial partition':
        return this.#cuts.partly();
      case 'flapping link':
        return this.#cuts.flap(node, random.pick(nodes));
      case 'clog':
        return this.#cuts.clog(node);
      case 'slow disk':
        return this.disks.slow(node);
      case 'hung disk':
        return this.disks.hang(node, (hung) => this.#machines.crash(hung));
      case 'failed disk':
        return this.disks.fail(node);
      case 'full disk':
        return this.disks.fill(node);
      case 'damaged store':
        return this.disks.damage(node);
      case 'rot':
        return this.disks.rotWhileRunning(node);
      case 'restored backup':
        return this.disks.restore();
      case 'copied store':
        return this.disks.copy();
      case 'wipe':
        return this.disks.wipe(node);
      case 'hand-over':
        return this.group.handOver();
      case 'role change':
        return this.group.pin(
          [node],
          random.chance(0.65) ? 'voter' : this.group.isForWitness(node) ? 'witness' : 'learner',
        );
      case 'voters replaced':
        return this.group.replaceVoters();
      case 'quorum sizes':
        return this.group.resize();
      case 'expulsion':
        return this.group.expel(node);
    }
  }

  /** As a message leaves `from`, before it does or a moment later. Null: nothing special. Otherwise it arrives in copies after these times, or never. */
  leaves(from: SimNode, out: Outgoing): readonly number[] | null {
    if (this.#scene.isOver || !this.#begun) return null;
    const told = this.#stories.leaves(from, out);
    if (told !== undefined) return told;
    if (this.#stories.isUnderWay) return null;
    const triggers = this.#triggers.get(this.#occasionOf(out));
    if (triggers === undefined) return null;
    const { random, scheduler } = this.#scene;
    let copiesAfterMs: readonly number[] | null = null;
    for (const trigger of triggers) {
      if (NEEDS_COMMANDS.has(trigger.kind) && !bringsCommands(out)) continue;
      if (!random.chance(trigger.chance) || !this.#mayStrike()) continue;
      const to = this.#scene.nodes.find((n) => n.peer === out.to[random.below(out.to.length)]) ?? from;
      if (trigger.kind === 'late witness') {
        this.#stories.lateWitness(from, to);
        continue;
      }
      if (trigger.kind === 'contest') {
        this.#stories.contest(from, out.message as Accept);
        return null;
      }
      if (trigger.kind === 'hole') return this.#stories.hole(from);
      const isNow = random.chance(0.5);
      // A node can't die in the middle of its own turn here: its last words are lost instead.
      if (isNow && trigger.kind === 'sender dies') copiesAfterMs = [];
      else if (isNow && trigger.kind.startsWith('sender ')) {
        this.#pull(trigger, from, to);
        continue;
      }
      scheduler.after(isNow ? 0 : random.number() * roundTripMs(this.#scene), () => this.#pull(trigger, from, to));
    }
    return copiesAfterMs;
  }

  /** Blows at chosen moments keep their distance: an election takes two seconds, and without leaders nothing can go wrong. */
  #mayStrike(): boolean {
    const { nowMs } = this.#scene.scheduler;
    if (nowMs - this.#struckMs < this.#scene.plan.blowEveryMs) return false;
    this.#struckMs = nowMs;
    return true;
  }

  /** A leader's first proposals are the ones that meet what others proposed before it. */
  #occasionOf({ message }: Outgoing): Occasion {
    if (message.type !== 'accept') return message.type;
    const name = ballotName(message.ballot);
    const proposals = (this.#proposals.get(name) ?? 0) + 1;
    this.#proposals.set(name, proposals);
    return proposals <= EARLY_ACCEPTS ? 'early accept' : 'accept';
  }

  #pull({ kind, on }: Trigger, from: SimNode, to: SimNode): void {
    if (this.#scene.isOver) return;
    this.#scene.note(`-- at ${on} of ${from.name}:`);
    switch (kind) {
      case 'sender dies':
        return this.#machines.crash(from);
      case 'receiver dies':
        return this.#machines.crash(to);
      case 'sender isolated':
        return this.#cuts.isolate(from, null);
      case 'sender with one follower':
        return this.#cuts.isolate(from, to);
      case 'receiver isolated':
        return this.#cuts.isolate(to, null);
      case 'hand-over':
        return this.group.handOver();
      // These are made where the message leaves.
      case 'contest':
      case 'hole':
      case 'late witness':
        return;
    }
  }

  reached(node: SimNode, step: Step): void {
    if (!this.#diesAt(step)) return;
    this.#scene.note(`-- after ${step}:`);
    this.#machines.crash(node);
  }

  #diesAt(step: Step): boolean {
    const chance = this.#scene.plan.deadlySteps[step];
    if (chance === 0 || this.#scene.isOver || !this.#begun) return false;
    return this.#scene.random.chance(chance) && this.#mayStrike();
  }

  /** After how many reads the node dies in the midst of applying, if there are so many; null: it doesn't. */
  diesApplying(node: SimNode): number | null {
    if (!this.#diesAt('applying')) return null;
    const reads = this.#scene.random.below(READS_MAX);
    return this.#scene.injections.strike('death while applying', `${node.name}, read ${reads}`) ? reads : null;
  }

  died(node: SimNode): void {
    node.crash(this.#scene.random.chance(0.5));
    this.#machines.startLater(node, this.#scene.random.number() * this.#scene.plan.downMs);
  }

  /** The peer stopped because its disk failed; a person starts it again later. */
  stopped(node: SimNode): void {
    this.#machines.startLater(node, 200 + this.#scene.random.number() * this.#scene.plan.downMs);
  }
}

function bringsCommands({ message }: Outgoing): boolean {
  return message.type === 'accept' && message.value.kind === 'commands';
}
