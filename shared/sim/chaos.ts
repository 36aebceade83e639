import type { Random } from '../base/random.ts';
import { count } from '../consensus/configuration.ts';
import type { Outgoing } from '../replica/replica.ts';
import { acceptorName, type Choices } from './choices.ts';
import type { Links } from './links.ts';
import type { SimNode } from './node.ts';
import { type People, write } from './people.ts';
import type { FaultKind, Plan, Step, Trigger } from './plan.ts';
import type { Scheduler } from './scheduler.ts';

export interface ChaosInit {
  readonly plan: Plan;
  readonly nodes: readonly SimNode[];
  readonly links: Links;
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly choices: () => Choices;
  readonly people: People;
  readonly note: (line: string) => void;
}

/** Breaks things: by chance, just as a message leaves, and between the steps of a turn. */
export class Chaos {
  readonly faults: Record<string, number> = {};
  readonly expelled = new Set<SimNode>();
  readonly #init: ChaosInit;
  readonly #triggers = new Map<string, Trigger[]>();
  #over = false;
  #healPlanned = false;

  constructor(init: ChaosInit) {
    this.#init = init;
    for (const trigger of init.plan.triggers) {
      this.#triggers.set(trigger.on, [...(this.#triggers.get(trigger.on) ?? []), trigger]);
    }
  }

  begin(): void {
    this.#init.scheduler.after(this.#init.plan.firstFaultMs, () => this.#next());
  }

  end(): void {
    this.#over = true;
  }

  #next(): void {
    if (this.#over) return;
    const { random, plan, scheduler } = this.#init;
    const kind = this.#draw();
    if (kind !== null) this.#break(kind);
    scheduler.after(random.number() * 2 * plan.faultEveryMs, () => this.#next());
  }

  #draw(): FaultKind | null {
    const { faults } = this.#init.plan;
    let sum = 0;
    for (const weight of faults.values()) sum += weight;
    let at = this.#init.random.number() * sum;
    for (const [kind, weight] of faults) {
      at -= weight;
      if (at < 0) return kind;
    }
    return null;
  }

  #break(kind: FaultKind): void {
    const { random, nodes, links, scheduler } = this.#init;
    const node = random.pick(nodes);
    switch (kind) {
      case 'kill':
        return this.#crash(node);
      case 'outage':
        for (const each of nodes) if (random.chance(0.6)) this.#crash(each);
        return;
      case 'partition': {
        const left = nodes.map((n) => n.index).filter(() => random.chance(0.5));
        const right = nodes.map((n) => n.index).filter((i) => !left.includes(i));
        return this.#split([left, right]);
      }
      case 'isolated leader':
        return this.#isolate(this.#leader(), random.chance(0.5) ? random.pick(nodes) : null);
      case 'one-way cut':
        for (let i = 0; i < 2; i++) links.cut(random.below(nodes.length), random.below(nodes.length));
        return this.#fault(kind, '');
      case 'clog': {
        const to = random.below(nodes.length);
        links.clog(node.index, to, scheduler.nowMs + 300 + random.number() * 4000);
        return this.#fault(kind, `n${node.index} > n${to}`);
      }
      case 'heal':
        return this.#heal();
      case 'hand-over':
        return this.#handOver();
      case 'role change':
        return this.#pin([node], random.chance(0.65) ? 'voter' : 'learner');
      case 'voters replaced': {
        const others = nodes.filter(() => random.chance(0.5));
        this.#pin(others, 'learner');
        return this.#pin(
          nodes.filter((each) => !others.includes(each)),
          'voter',
        );
      }
      case 'pause':
        if (node.isUp) this.#fault(kind, node.name);
        return node.pause(50 + random.number() * random.pick([500, 4000]));
      case 'slow disk': {
        const forMs = 200 + random.number() * 3000;
        node.slownessMs = random.pick([60, 400, 3000]);
        scheduler.after(forMs, () => {
          node.slownessMs = 0;
        });
        return this.#fault(kind, `${node.name}, ${node.slownessMs} ms`);
      }
      case 'wipe':
        return this.#wipe(node);
      case 'expulsion':
        return this.#expel(node);
    }
  }

  /** As a message leaves `from`, before it does or a moment later. True: it never left. */
  leaves(from: SimNode, out: Outgoing): boolean {
    if (this.#over) return false;
    const triggers = this.#triggers.get(out.message.type);
    if (triggers === undefined) return false;
    const { random, scheduler } = this.#init;
    let swallowed = false;
    for (const trigger of triggers) {
      if (!random.chance(trigger.chance)) continue;
      const to = this.#init.nodes.find((n) => n.peer === out.to[random.below(out.to.length)]) ?? from;
      const isNow = random.chance(0.5);
      // A node can't die in the middle of its own turn here: its last words are lost instead.
      if (isNow && trigger.kind === 'sender dies') swallowed = true;
      if (isNow && trigger.kind.startsWith('sender ') && !swallowed) this.#pull(trigger, from, to);
      else scheduler.after(isNow ? 0 : random.number() * 5, () => this.#pull(trigger, from, to));
    }
    return swallowed;
  }

  #pull({ kind, on }: Trigger, from: SimNode, to: SimNode): void {
    if (this.#over) return;
    this.#fault(`${kind} at ${on}`, from.name);
    switch (kind) {
      case 'sender dies':
        return this.#crash(from);
      case 'receiver dies':
        return this.#crash(to);
      case 'sender isolated':
        return this.#isolate(from, null);
      case 'sender with one follower':
        return this.#isolate(from, to);
      case 'receiver isolated':
        return this.#isolate(to, null);
      case 'hand-over':
        return this.#handOver();
    }
  }

  reached(node: SimNode, step: Step): void {
    const chance = this.#init.plan.deadlySteps[step];
    if (chance === 0 || this.#over || !this.#init.random.chance(chance)) return;
    this.#fault(`death after ${step}`, node.name);
    this.#crash(node);
  }

  #leader(): SimNode {
    const { nodes, random } = this.#init;
    return nodes.find((n) => n.replica?.inspect().leads) ?? random.pick(nodes);
  }

  #crash(node: SimNode): void {
    if (!node.isUp) return;
    const { random, scheduler, plan } = this.#init;
    const powerCut = random.chance(0.5);
    this.#fault(powerCut ? 'power cut' : 'kill', node.name);
    node.crash(powerCut);
    scheduler.after(random.number() * plan.downMs, () => node.start());
  }

  #split(groups: readonly (readonly number[])[]): void {
    this.#init.links.partition(this.#init.nodes.length, groups);
    this.#fault('partition', groups.map((g) => `{${g}}`).join(' | '));
    this.#planHeal();
  }

  /** `node` hears nobody but `company`, for a while. */
  #isolate(node: SimNode, company: SimNode | null): void {
    const alone = [node.index, ...(company && company !== node ? [company.index] : [])];
    this.#split([alone, this.#init.nodes.map((n) => n.index).filter((i) => !alone.includes(i))]);
  }

  /** A partition lasts for some elections, not for ever: most bugs want the two sides to meet again. */
  #planHeal(): void {
    if (this.#healPlanned) return;
    const { random, scheduler } = this.#init;
    this.#healPlanned = true;
    scheduler.after(random.number() * random.pick([500, 3000, 6000]), () => {
      this.#healPlanned = false;
      if (!this.#over) this.#heal();
    });
  }

  #heal(): void {
    const { links, nodes } = this.#init;
    links.heal();
    for (const a of nodes) for (const b of nodes) if (a !== b) a.replica?.connection(b.peer, true);
    this.#fault('heal', '');
  }

  #handOver(): void {
    const { random, nodes } = this.#init;
    const leader = nodes.find((n) => n.replica?.inspect().leads);
    if (!leader?.replica) return;
    const to = random.chance(0.8) ? random.pick(nodes) : null;
    leader.replica.handOver(to?.peer ?? null);
    leader.pump();
    this.#fault('hand-over', `${leader.name} to ${to?.name ?? 'anybody'}`);
  }

  #pin(nodes: readonly SimNode[], role: 'voter' | 'learner'): void {
    const keeper = this.#init.nodes[0];
    if (!keeper?.replica) return;
    for (const node of nodes) {
      if (!keeper.replica.reader.member(node.peer)) continue;
      write(keeper.replica, { kind: 'pinRole', peer: node.peer, role });
      this.#fault('role change', `${node.name} to ${role}`);
    }
    keeper.pump();
  }

  /** Only where the quorums of every configuration that may be needed stand without it. */
  #wipe(node: SimNode): void {
    const { nodes } = this.#init;
    const genesis = nodes.find((n) => n.replica !== null)?.replica?.genesisBytes;
    const isReadmitted = (n: SimNode) => !n.wiped || n.replica?.reader.member(n.peer)?.incarnation === n.incarnation;
    if (node.index === 0 || !genesis || !node.hasStore || !nodes.every(isReadmitted)) return;
    if (this.#init.choices().newest.configuration.voters.length < 3) return;
    if (!hasQuorums(this.#init.choices(), (n) => n !== node, nodes)) return;
    this.#fault('wipe', node.name);
    this.#init.people.excuse(node, false);
    node.wipe(genesis);
  }

  #expel(node: SimNode): void {
    const keeper = this.#init.nodes[0];
    const isMember = keeper?.replica?.reader.member(node.peer)?.expelledSlot === null;
    if (node.index === 0 || !keeper?.replica || !isMember || this.expelled.size > 0) return;
    this.expelled.add(node);
    this.#init.people.excuse(node, true);
    write(keeper.replica, { kind: 'expel', peer: node.peer });
    keeper.pump();
    this.#fault('expulsion', node.name);
  }

  #fault(kind: string, detail: string): void {
    this.faults[kind] = (this.faults[kind] ?? 0) + 1;
    this.#init.note(`-- ${kind} ${detail}`);
  }
}

/** Do those nodes, under the incarnations that they have now, make up both quorums of everything that may be needed? */
export function hasQuorums(choices: Choices, isThere: (node: SimNode) => boolean, nodes: readonly SimNode[]): boolean {
  const there = new Set(nodes.filter((n) => n.hasStore && isThere(n)).map((n) => acceptorName(n)));
  return choices.needed().every((c) => count(c, (v) => there.has(acceptorName(v))) >= Math.max(c.q1, c.q2));
}
