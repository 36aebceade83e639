import type { Random } from '../base/random.ts';
import { count } from '../consensus/configuration.ts';
import type { Accept } from '../consensus/messages.ts';
import type { Outgoing } from '../replica/replica.ts';
import { acceptorName, ballotName, type Choices } from './choices.ts';
import type { Links } from './links.ts';
import type { SimNode } from './node.ts';
import { type People, write } from './people.ts';
import type { FaultKind, Occasion, Plan, Step, Trigger, TriggerKind } from './plan.ts';
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

const EARLY_ACCEPTS = 3;
const LATE_COPIES = 8;
/** Less than it takes until a proposal is sent again. */
const HOLE_MS_MAX = 450;

const CONTEST_MS = 7000;
const NEEDS_COMMANDS: ReadonlySet<TriggerKind> = new Set(['hole', 'contest']);

interface Contest {
  readonly first: SimNode;
  readonly ballot: string;
  second: SimNode | null;
}

interface LateWitness {
  readonly leader: SimNode;
  readonly follower: SimNode;
  isCalled: boolean;
}
const FORMING_MS_MAX = 4000;

/** Breaks things: by chance, just as a message leaves, and between the steps of a turn. */
export class Chaos {
  readonly faults: Record<string, number> = {};
  readonly expelled = new Set<SimNode>();
  readonly #init: ChaosInit;
  readonly #triggers = new Map<Occasion, Trigger[]>();
  /** Accepts that left, by ballot. */
  readonly #proposals = new Map<string, number>();
  #struckMs = 0;
  #witness: LateWitness | null = null;
  #contest: Contest | null = null;
  #ledBefore: SimNode | null = null;
  #begun = false;
  #over = false;
  #healPlanned = false;

  constructor(init: ChaosInit) {
    this.#init = init;
    for (const trigger of init.plan.triggers) {
      this.#triggers.set(trigger.on, [...(this.#triggers.get(trigger.on) ?? []), trigger]);
    }
  }

  begin(): void {
    const { scheduler, plan, nodes } = this.#init;
    const isFormed = this.#init.choices().newest.configuration.voters.length >= Math.min(plan.voters, nodes.length);
    if (plan.formsInPeace && !isFormed && scheduler.nowMs < FORMING_MS_MAX)
      return scheduler.after(100, () => this.begin());
    this.#begun = true;
    this.#init.note('-- let there be chaos');
    this.#next(plan.hard, plan.hardEveryMs);
    this.#next(plan.soft, plan.softEveryMs);
    if (plan.rollingIsolation) scheduler.after(plan.softEveryMs, () => this.#roll());
  }

  /** One leader after the other is cut off in the middle of its work, and the one before comes back. */
  #roll(): void {
    if (this.#over) return;
    const { random, scheduler, people, nodes } = this.#init;
    scheduler.after(1800 + random.number() * 2000, () => this.#roll());
    if (this.#isStaged) return;
    const leader = this.#leader();
    people.flurry(leader, 3 + random.below(8));
    scheduler.after(random.number() * (20 + this.#roundTripMs), () => {
      if (!this.#over) this.#isolate(leader, random.chance(0.5) ? random.pick(nodes) : null);
    });
  }

  end(): void {
    this.#over = true;
  }

  #next(faults: ReadonlyMap<FaultKind, number>, everyMs: number): void {
    const { random, scheduler } = this.#init;
    scheduler.after(random.number() * 2 * everyMs, () => {
      if (this.#over) return;
      const kind = this.#draw(faults);
      if (kind !== null && !this.#isStaged) this.#break(kind);
      this.#next(faults, everyMs);
    });
  }

  #draw(faults: ReadonlyMap<FaultKind, number>): FaultKind | null {
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
        if (this.#healPlanned) return;
        const left = nodes.map((n) => n.index).filter(() => random.chance(0.5));
        const right = nodes.map((n) => n.index).filter((i) => !left.includes(i));
        return this.#split([left, right]);
      }
      case 'isolated leader':
        if (this.#healPlanned) return;
        return this.#isolate(this.#leader(), random.chance(0.5) ? random.pick(nodes) : null);
      case 'one-way cut':
        for (let i = 0; i < 2; i++) links.cut(random.below(nodes.length), random.below(nodes.length));
        this.#planHeal();
        return this.#fault(kind, '');
      case 'clog': {
        const to = random.below(nodes.length);
        links.clog(node.index, to, scheduler.nowMs + random.number() * random.pick([300, 1200, 5000]));
        return this.#fault(kind, `n${node.index} > n${to}`);
      }
      case 'hand-over':
        return this.#handOver();
      case 'role change':
        return this.#pin([node], random.chance(0.65) ? 'voter' : this.#isWitness(node) ? 'witness' : 'learner');
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
        node.slownessMs = random.pick([20, 60, 60, 400, 3000]);
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

  /** As a message leaves `from`, before it does or a moment later. Null: nothing special. Otherwise it arrives in copies after these times, or never. */
  leaves(from: SimNode, out: Outgoing): readonly number[] | null {
    if (this.#over || !this.#begun) return null;
    if (out.message.type === 'accepted' && this.#witness?.follower === from) return this.#lateWitness(this.#witness);
    if (this.#contest !== null) return this.#goOnContesting(this.#contest, from, out);
    if (this.#isStaged) return null;
    const triggers = this.#triggers.get(this.#occasionOf(out));
    if (triggers === undefined) return null;
    const { random, scheduler } = this.#init;
    let copiesAfterMs: number[] | null = null;
    for (const trigger of triggers) {
      if (NEEDS_COMMANDS.has(trigger.kind) && !bringsCommands(out)) continue;
      if (!random.chance(trigger.chance) || !this.#mayStrike()) continue;
      const to = this.#init.nodes.find((n) => n.peer === out.to[random.below(out.to.length)]) ?? from;
      if (trigger.kind === 'late witness') {
        this.#isolate(from, to);
        from.slownessMs = 500;
        this.#witness = { leader: from, follower: to, isCalled: false };
        continue;
      }
      if (trigger.kind === 'contest') {
        this.#fault(trigger.kind, from.name);
        this.#contest = { first: from, ballot: ballotName((out.message as Accept).ballot), second: null };
        scheduler.after(CONTEST_MS, () => {
          this.#contest = null;
        });
        this.#isolate(from, null);
        return null;
      }
      if (trigger.kind === 'hole') {
        this.#fault(trigger.kind, from.name);
        this.#init.people.flurry(from, 6);
        scheduler.after(20 + random.number() * HOLE_MS_MAX, () => {
          if (!this.#over) this.#isolate(from, null);
        });
        return [];
      }
      const isNow = random.chance(0.5);
      // A node can't die in the middle of its own turn here: its last words are lost instead.
      if (isNow && trigger.kind === 'sender dies') copiesAfterMs = [];
      else if (isNow && trigger.kind.startsWith('sender ')) {
        this.#pull(trigger, from, to);
        continue;
      }
      scheduler.after(isNow ? 0 : random.number() * this.#roundTripMs, () => this.#pull(trigger, from, to));
    }
    return copiesAfterMs;
  }

  /**
   * A leader's proposal came to one follower only, whose word of it is on its way for seconds, in copies; it is cut off then. Meanwhile the leader
   * starts anew, perhaps before its own acceptance was on the disk, and before the others do, so that it leads again.
   */
  #lateWitness(witness: LateWitness): readonly number[] {
    const { random, scheduler, nodes } = this.#init;
    const { leader, follower } = witness;
    if (!witness.isCalled) {
      witness.isCalled = true;
      this.#fault('late witness', `${follower.name} to ${leader.name}`);
      scheduler.after(0, () => this.#isolate(follower, null));
      this.#crashSoon(leader, 0);
      scheduler.after(1, () => {
        leader.slownessMs = 0;
      });
      for (const node of nodes) {
        if (node === leader || node === follower) continue;
        this.#crashSoon(node, 200 + random.number() * 500);
        node.slownessMs = random.pick([5, 400, 800]);
      }
      scheduler.after(5000, () => {
        this.#witness = null;
        for (const node of nodes) node.slownessMs = 0;
      });
    }
    return Array.from({ length: LATE_COPIES }, () => 1500 + random.number() * 3000);
  }

  /** The next leader's first value is accepted all around, and before it hears so it is cut off, too; the one before comes back. */
  #goOnContesting(contest: Contest, from: SimNode, { message }: Outgoing): readonly number[] | null {
    if (message.type === 'accept' && contest.second === null && ballotName(message.ballot) !== contest.ballot) {
      if (from === contest.first) return null;
      contest.second = from;
      this.#init.people.flurry(from, 3);
    } else if (message.type === 'accepted' && contest.second !== null && message.ballot.peer === contest.second.peer) {
      const { second } = contest;
      if (!this.#isAlone(second)) this.#init.scheduler.after(0, () => this.#isolate(second, null));
      return [];
    }
    return null;
  }

  #isAlone(node: SimNode): boolean {
    return this.#init.nodes.every((n) => n === node || this.#init.links.isCut(n.index, node.index));
  }

  /** A longer story is under way, and chance keeps out of it. */
  get #isStaged(): boolean {
    return this.#contest !== null || this.#witness?.isCalled === true;
  }

  #crashSoon(node: SimNode, afterMs: number): void {
    this.#init.scheduler.after(afterMs, () => {
      if (!this.#over) this.#crash(node, 20);
    });
  }

  /** Blows at chosen moments keep their distance: an election takes two seconds, and without leaders nothing can go wrong. */
  #mayStrike(): boolean {
    const { nowMs } = this.#init.scheduler;
    if (nowMs - this.#struckMs < this.#init.plan.blowEveryMs) return false;
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

  get #roundTripMs(): number {
    const { links, disk } = this.#init.plan;
    return 2 * links.delayMaxMs + disk.batchMaxMs + 2;
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
      // These are made where the message leaves.
      case 'contest':
      case 'hole':
      case 'late witness':
        return;
    }
  }

  reached(node: SimNode, step: Step): void {
    const chance = this.#init.plan.deadlySteps[step];
    if (chance === 0 || this.#over || !this.#begun || !this.#init.random.chance(chance) || !this.#mayStrike()) return;
    this.#fault(`death after ${step}`, node.name);
    this.#crash(node);
  }

  #leader(): SimNode {
    const { nodes, random } = this.#init;
    return nodes.find((n) => n.replica?.inspect().leads) ?? random.pick(nodes);
  }

  #crash(node: SimNode, downMs = this.#init.plan.downMs): void {
    if (!node.isUp) return;
    const { random, scheduler } = this.#init;
    const powerCut = random.chance(0.5);
    this.#fault(powerCut ? 'power cut' : 'kill', node.name);
    node.crash(powerCut);
    scheduler.after(random.number() * downMs, () => node.start());
  }

  #split(groups: readonly (readonly number[])[]): void {
    this.#init.links.partition(this.#init.nodes.length, groups);
    this.#fault('partition', groups.map((g) => `{${g}}`).join(' | '));
    this.#planHeal();
  }

  /** `node` hears nobody but `company`, for a while. */
  #isolate(node: SimNode, company: SimNode | null): void {
    this.#init.people.flurry(node, 4);
    const alone = [node.index, ...(company && company !== node ? [company.index] : [])];
    this.#split([alone, this.#init.nodes.map((n) => n.index).filter((i) => !alone.includes(i))]);
  }

  /** A partition lasts for some elections, not for ever: most bugs want the two sides to meet again. */
  #planHeal(): void {
    if (this.#healPlanned) return;
    const { random, scheduler } = this.#init;
    this.#healPlanned = true;
    scheduler.after(random.pick([300, 2000, 2000]) + random.number() * 3000, () => {
      this.#healPlanned = false;
      if (this.#over) return;
      if (this.#isStaged) this.#planHeal();
      else this.#heal();
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
    const to = random.pick([this.#ledBefore, this.#laggard(leader), random.pick(nodes), null]);
    this.#ledBefore = leader;
    leader.replica.handOver(to?.peer ?? null);
    leader.pump();
    this.#fault('hand-over', `${leader.name} to ${to?.name ?? 'anybody'}`);
  }

  /** Whoever is up and holds least. */
  #laggard(but: SimNode): SimNode | null {
    const up = this.#init.nodes.filter((n) => n.isUp && n !== but);
    return up.sort((a, b) => a.prefix - b.prefix)[0] ?? null;
  }

  /** Where stores drop values, every other node may become a witness. The keeper writes too much to be one. */
  #isWitness({ index }: SimNode): boolean {
    return this.#init.plan.keeping.keepSlots !== null && index % 2 === 1;
  }

  #pin(nodes: readonly SimNode[], role: 'voter' | 'learner' | 'witness'): void {
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

function bringsCommands({ message }: Outgoing): boolean {
  return message.type === 'accept' && message.value.kind === 'commands';
}

/** Do those nodes, under the incarnations that they have now, make up both quorums of everything that may be needed? */
export function hasQuorums(choices: Choices, isThere: (node: SimNode) => boolean, nodes: readonly SimNode[]): boolean {
  const there = new Set(nodes.filter((n) => n.hasStore && isThere(n)).map((n) => acceptorName(n)));
  // Witnesses never lead, so one at least that is none.
  return choices
    .needed()
    .every(
      (c) =>
        count(c, (v) => there.has(acceptorName(v))) >= Math.max(c.q1, c.q2) &&
        c.voters.some((v) => !v.witness && there.has(acceptorName(v))),
    );
}
