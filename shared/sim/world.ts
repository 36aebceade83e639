import { toHex, utf8 } from '../base/bytes.ts';
import { crc32c } from '../base/crc32c.ts';
import type { PeerId } from '../base/ids.ts';
import { Random } from '../base/random.ts';
import { SUSPICION_TICKS, TICK_MS } from '../consensus/constants.ts';
import { decodeGenesis } from '../document/genesis.ts';
import { encodeGenesis, invitationBytes, LEVEL } from '../document/index.ts';
import { firstConfiguration } from '../replica/opening.ts';
import type { PolicyTimes } from '../replica/policy.ts';
import type { Outgoing, Replica, ReplicaEvents } from '../replica/replica.ts';
import { Chaos, hasQuorums } from './chaos.ts';
import { CheckFailed, check } from './check.ts';
import { Agreement, checkLog } from './checkers.ts';
import { Choices } from './choices.ts';
import { simSigner } from './keys.ts';
import { Links } from './links.ts';
import { type NodeSurroundings, SimNode } from './node.ts';
import { People, write } from './people.ts';
import { drawKeeping, drawPlan, type Plan } from './plan.ts';
import { Scheduler } from './scheduler.ts';
import { Words } from './words.ts';

export interface WorldOptions {
  readonly seed: number;
  /** Virtual time within which everything must have come together once it is whole again. */
  readonly calmMs?: number;
  /** Lines of the transcript that are kept. */
  readonly transcriptLines?: number;
  /** The transcript names every message, too. */
  readonly traceMessages?: boolean;
  /** How patient the policy about voters is; every third machine stays on then. Null: production's times, in which a seed is over before anything comes of it. */
  readonly policy?: PolicyTimes | null;
}

export interface Report {
  readonly seed: number;
  readonly nodes: number;
  readonly events: number;
  readonly entries: number;
  readonly slots: number;
  readonly barriers: number;
  readonly refusals: number;
  /** Ballots under which something was proposed; slots proposed in by several; slots with several values proposed. */
  readonly ballots: number;
  readonly slotsAgain: number;
  readonly slotsContested: number;
  readonly virtualMs: number;
  /** How long it took to come together. */
  readonly calmMs: number;
  readonly faults: Readonly<Record<string, number>>;
  /** Over everything that was said, and when: equal for equal seeds. */
  readonly fingerprint: string;
}

/** What a seed found. The transcript's last lines are in the message. */
export class SimulationFailed extends Error {
  override readonly name = 'SimulationFailed';
  readonly seed: number;
  /** `CheckFailed`: seen from outside. Anything else was noticed by the code itself. */
  readonly by: string;
  constructor(seed: number, cause: unknown, transcript: readonly string[]) {
    const message = cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause);
    super(`seed ${seed}: ${message}\n${transcript.join('\n')}`, { cause });
    this.seed = seed;
    this.by = cause instanceof Error ? cause.name : 'unknown';
  }
}

const QUEUE_MAX = 5000;
/** Away from the seeds that are run. */
const KEEPING_SEEDS = 2 ** 40;
const REST_MS = 2500;
/** Every so many machines one stays on. */
const STAYS_ON_EVERY = 3;

/**
 * A whole group under one seed: production replicas on treacherous disks and links. First a phase in which anything may break and nothing may
 * go wrong (safety), then enough is made whole and all that was saved must be committed, everywhere the same, within bounded time (liveness).
 */
export class World {
  readonly plan: Plan;
  readonly #options: Required<WorldOptions>;
  readonly #random: Random;
  readonly #scheduler = new Scheduler();
  readonly #links: Links;
  readonly #nodes: SimNode[] = [];
  readonly #agreement = new Agreement();
  readonly #choices: Choices;
  readonly #words: Words;
  readonly #people: People;
  readonly #chaos: Chaos;
  readonly #transcript: string[] = [];
  readonly #genesis: Uint8Array;
  readonly #asVoter = new Set<SimNode>();
  #fingerprint = 0;

  constructor(options: WorldOptions) {
    this.#options = { calmMs: 60_000, transcriptLines: 150, traceMessages: false, policy: null, ...options };
    const random = new Random(options.seed);
    this.#random = random;
    this.plan = { ...drawPlan(random), keeping: drawKeeping(new Random(options.seed + KEEPING_SEEDS)) };
    this.#links = new Links(this.#scheduler, random, this.plan.links);
    const around: NodeSurroundings = {
      send: (from, out) => this.#send(from, out),
      landed: (node, landed) => this.#words.landed(node, landed),
      reached: (node, step) => this.#chaos.reached(node, step),
      turned: (node) => this.#turned(node),
      ticked: (node, replica) => this.#people.openSession(node, replica),
      events: (node) => this.#eventsOf(node),
      note: (line) => this.#note(line),
      disk: { ...this.plan.disk },
      settings: ({ index }) => {
        const { policy } = this.#options;
        const { keeping: limits } = this.plan;
        return policy === null ? { limits } : { limits, policy, staysOn: index % STAYS_ON_EVERY === 0 };
      },
    };
    this.#around = around;
    for (let i = 0; i < this.plan.nodes; i++) {
      const node = new SimNode(i, this.#scheduler, random, around);
      node.drift = 1 + (random.number() - 0.5) * 2 * this.plan.clockDrift;
      this.#nodes.push(node);
      if (i < this.plan.voters) this.#asVoter.add(node);
    }
    const [founder] = this.#nodes as [SimNode];
    this.#genesis = encodeGenesis({
      alpha: this.plan.alpha,
      level: LEVEL,
      founder: founder.peer,
      incarnation: founder.incarnation,
      nonce: random.bytes(16),
      timeMs: 1.7e12,
    });
    this.#choices = new Choices(this.plan.alpha, firstConfiguration(decodeGenesis(this.#genesis), this.#genesis));
    this.#words = new Words(this.#choices);
    const shared = { nodes: this.#nodes, random, scheduler: this.#scheduler, plan: this.plan };
    this.#people = new People(shared);
    this.#chaos = new Chaos({
      ...shared,
      links: this.#links,
      choices: () => this.#choices,
      people: this.#people,
      note: (line) => this.#note(line),
    });
  }

  readonly #around: NodeSurroundings;

  /** @throws SimulationFailed */
  run(): Report {
    try {
      this.#note(describe(this.plan));
      this.#begin();
      this.#scheduler.runUntil(this.plan.chaosMs);
      const calmMs = this.#comeTogether();
      const [first] = this.#nodes;
      const entries = checkLog(first?.replica as Replica, this.#people.wishes);
      this.#countKept();
      return {
        seed: this.#options.seed,
        nodes: this.#nodes.length,
        events: this.#scheduler.events,
        entries,
        slots: this.#agreement.highest,
        barriers: this.#people.barriersServed,
        refusals: this.#people.refusals,
        ...this.#choices.contest,
        virtualMs: this.#scheduler.nowMs,
        calmMs,
        faults: { ...this.#chaos.faults, ...this.#links.counts },
        fingerprint: (this.#fingerprint >>> 0).toString(16),
      };
    } catch (error) {
      throw new SimulationFailed(this.#options.seed, error, this.#transcript);
    }
  }

  #countKept(): void {
    const { faults } = this.#chaos;
    for (const { installs, disk } of this.#nodes) {
      faults['snapshot installed'] = (faults['snapshot installed'] ?? 0) + installs;
      for (const { from, to } of disk.missing.ranges)
        faults['value dropped'] = (faults['value dropped'] ?? 0) + to - from + 1;
    }
  }

  #begin(): void {
    const [founder] = this.#nodes as [SimNode];
    founder.found(this.#genesis);
    for (const node of this.#nodes.slice(1)) {
      this.#scheduler.after(100 + this.#random.number() * 700, () => this.#admit(node));
    }
    this.#people.begin();
    this.#chaos.begin();
  }

  /** Invites and admits a node by a keeper's hand, and starts it as soon as the group has agreed. */
  #admit(node: SimNode): void {
    const keeper = this.#nodes[0]?.replica;
    if (!keeper) {
      this.#scheduler.after(200, () => this.#admit(node));
      return;
    }
    const key = this.#random.bytes(32);
    const joiner = { group: keeper.group, peer: node.peer, incarnation: node.incarnation, name: node.name };
    write(keeper, {
      kind: 'invite',
      key,
      rights: 'writer',
      pinned: this.#asVoter.has(node) ? 'voter' : null,
      expiresMs: null,
    });
    write(keeper, {
      kind: 'admit',
      key,
      joiner: node.peer,
      incarnation: node.incarnation,
      signature: simSigner(key).sign(invitationBytes(joiner)),
      name: joiner.name,
    });
    this.#nodes[0]?.pump();
    this.#awaitAdmission(node, 40);
  }

  #awaitAdmission(node: SimNode, triesLeft: number): void {
    const host = this.#nodes.find((each) => each.replica?.reader.member(node.peer)?.expelledSlot === null);
    if (host?.replica) return node.found(host.replica.genesisBytes);
    if (triesLeft > 0) this.#scheduler.after(100, () => this.#awaitAdmission(node, triesLeft - 1));
    else this.#admit(node);
  }

  // --- whole again

  #comeTogether(): number {
    const from = this.#scheduler.nowMs;
    this.#chaos.end();
    this.#people.rest();
    this.#links.repair();
    Object.assign(this.#around.disk, { batchMaxMs: 0.5, markMaxMs: 0.3 });
    if (this.plan.partlyHealed) this.#healPart();
    this.#note('-- all is whole again');
    this.#links.heal();
    for (const node of this.#nodes) {
      node.slownessMs = 0;
      node.start();
    }
    this.#await(this.#nodes, 'all');
    const calmMs = this.#scheduler.nowMs - from;
    check(this.#people.barriersOpen >= 0, 'a barrier was served twice');
    if (this.plan.watchRest) this.#watchRest();
    return calmMs;
  }

  /** A random part that has its quorums must manage without the rest, which stays cut off or down. */
  #healPart(): void {
    const part = new Set(this.#nodes.filter((n) => n.hasStore));
    for (const node of this.#shuffled()) {
      const has = hasQuorums(this.#choices, (n) => part.has(n) && n !== node, this.#nodes);
      if (has && this.#random.chance(0.8)) part.delete(node);
    }
    const rest = this.#nodes.filter((n) => !part.has(n));
    if (rest.length === 0 || !hasQuorums(this.#choices, (n) => part.has(n), this.#nodes)) return;
    this.#note(`-- only ${[...part].map((n) => n.name)} are whole again`);
    this.#links.partition(this.#nodes.length, [[...part].map((n) => n.index), rest.map((n) => n.index)]);
    for (const node of rest) if (this.#random.chance(0.5)) node.crash(this.#random.chance(0.5));
    for (const node of part) {
      node.slownessMs = 0;
      node.start();
    }
    // Until the rest counts as gone a change may still be proposed that needs it; then nobody can help.
    this.#scheduler.runUntil(this.#scheduler.nowMs + 2 * SUSPICION_TICKS * TICK_MS);
    if (!hasQuorums(this.#choices, (n) => part.has(n), this.#nodes)) return;
    this.#await([...part], `${[...part].map((n) => n.name)}`);
  }

  #shuffled(): SimNode[] {
    return this.#nodes
      .map((node) => ({ node, at: this.#random.number() }))
      .sort((a, b) => a.at - b.at)
      .map(({ node }) => node);
  }

  #await(nodes: readonly SimNode[], who: string): void {
    const until = this.#scheduler.nowMs + this.#options.calmMs;
    while (this.#scheduler.nowMs < until) {
      this.#scheduler.runUntil(this.#scheduler.nowMs + 100);
      if (this.#areTogether(nodes)) return;
    }
    throw new CheckFailed(
      `${who} not together after ${this.#options.calmMs} ms: ${this.#nodes.map((n) => this.#stateOf(n)).join('; ')}`,
    );
  }

  #areTogether(nodes: readonly SimNode[]): boolean {
    const there = nodes.filter((node) => !this.#chaos.expelled.has(node));
    if (there.length === 0) return true; // the rest are expelled, and vote only until others can
    const full = there.filter((node) => node.replica?.isWitness !== true);
    const first = full[0]?.replica;
    if (!first) return full.length === 0;
    const { applied } = first;
    for (const node of there) {
      const r = node.replica;
      if (r?.isWitness) {
        if (r.prefix !== applied) return false;
        continue;
      }
      if (r === null || r.outbox.pending > 0 || r.prefix !== applied || r.applied !== applied) return false;
      if (node.wiped && r.reader.member(node.peer)?.incarnation !== node.incarnation) return false;
    }
    const state = toHex(first.reader.stateHash());
    return full.every(({ replica }) => toHex((replica as Replica).reader.stateHash()) === state);
  }

  /** A group with nothing to do comes to rest: one leader that all see, the voters that were asked for, and no new slots. */
  #watchRest(): void {
    const until = this.#scheduler.nowMs + this.#options.calmMs;
    while (this.#scheduler.nowMs < until) {
      const { prefix } = this.#choices;
      this.#scheduler.runUntil(this.#scheduler.nowMs + REST_MS);
      if (prefix === this.#choices.prefix && this.#isAtRest()) return;
    }
    throw new CheckFailed(
      `no rest after ${this.#options.calmMs} ms: ${this.#nodes.map((n) => this.#stateOf(n)).join('; ')}`,
    );
  }

  #isAtRest(): boolean {
    const there = this.#nodes.filter((node) => !this.#chaos.expelled.has(node)).map((n) => n.replica as Replica);
    const [first] = there as [Replica];
    const { leader } = first.inspect();
    const { voters } = this.#choices.newest.configuration;
    const wanted = first.reader.members().filter((m) => m.pinned === 'voter');
    const vote = wanted.every((m) => voters.some((v) => v.peer === m.peer && v.incarnation === m.incarnation));
    return vote && leader !== null && there.every((r) => r.inspect().leader === leader);
  }

  #stateOf(node: SimNode): string {
    const r = node.replica;
    if (!r) return `${node.name} ${node.hasStore ? 'is down' : 'never joined'}`;
    const v = r.inspect();
    return (
      `${node.name} prefix ${v.prefix} applied ${r.applied} pending ${r.outbox.pending} leader ${this.#nameOf(v.leader)} ` +
      `voters ${v.configuration.configuration.voters.map((w) => this.#nameOf(w.peer))} fetching ${v.fetching}`
    );
  }

  #nameOf(peer: PeerId | null): string {
    return this.#nodes.find((n) => n.peer === peer)?.name ?? '-';
  }

  // --- wiring

  #send(from: SimNode, out: Outgoing): void {
    this.#words.leave(from, out);
    const copiesAfterMs = this.#chaos.leaves(from, out);
    const { type } = out.message;
    const frame = this.plan.asBytes ? from.frameOf(out) : null;
    const { incarnation } = from;
    this.#fingerprint =
      (Math.imul(this.#fingerprint, 31) +
        type.length +
        from.index * 101 +
        out.to.length * 7 +
        this.#scheduler.nowMs * 1000) |
      0;
    if (this.#options.traceMessages && type !== 'heartbeat')
      this.#note(`   ${from.name} ${saying(out)} > ${out.to.map((p) => this.#nameOf(p))}`);
    for (const peer of out.to) {
      const to = this.#nodes.find((n) => n.peer === peer);
      if (!to) continue;
      const arrive = (): void =>
        to.deliver((replica) => {
          if (frame) replica.receiveFrame(from.peer, frame);
          else replica.receive(from.peer, incarnation, out);
        });
      if (copiesAfterMs === null) this.#links.send(from.index, to.index, type, arrive);
      else for (const ms of copiesAfterMs) this.#scheduler.after(ms, arrive);
    }
  }

  #turned(node: SimNode): void {
    const { replica } = node;
    if (replica === null) return;
    this.#agreement.look(node.name, replica);
    if (replica.prefix > this.#choices.prefix) this.#choices.said(replica.prefix, node.name);
    check(!replica.isForked, () => `${node.name} believes that its store was copied`);
    check(replica.paused == null, () => `${node.name} can't apply`);
    check(replica.queuedInputs <= QUEUE_MAX, () => `${replica.queuedInputs} inputs wait at ${node.name}`);
  }

  #eventsOf(node: SimNode): ReplicaEvents {
    return {
      onLeader: (leader) => this.#note(`${node.name} sees ${leader ? this.#nameOf(leader) : 'nobody'} lead`),
      onProblem: ({ code, message }) => this.#note(`${node.name} ${code}: ${message}`),
    };
  }

  #note(line: string): void {
    this.#fingerprint = crc32c(utf8(line), this.#fingerprint >>> 0) | 0;
    this.#transcript.push(`${this.#scheduler.nowMs.toFixed(1).padStart(9)} ${line}`);
    if (this.#transcript.length > this.#options.transcriptLines) this.#transcript.shift();
  }
}

function describe(plan: Plan): string {
  const faults = [...plan.hard.keys(), ...plan.soft.keys()].join(', ');
  const triggers = plan.triggers.map((t) => `${t.kind} at ${t.on}`).join(', ');
  return `${plan.nodes} nodes, α ${plan.alpha}, held back: ${plan.links.held ?? 'nothing'}; ${faults}; ${triggers}`;
}

function saying(out: Outgoing): string {
  if (out.layer !== 'consensus') return out.message.type;
  const m = out.message;
  switch (m.type) {
    case 'prepare':
      return `prepare ${m.ballot.round} c${m.configuration} from ${m.slot}`;
    case 'promise':
      return `promise ${m.ballot.round} c${m.configuration} floor ${m.floor} [${m.accepted.map((a) => `${a.slot}@${a.ballot.round}`)}]`;
    case 'accept':
      return `accept ${m.slot}@${m.ballot.round} c${m.configuration} ${m.value.kind} w${m.watermark}`;
    case 'accepted':
      return `accepted ${m.slots}@${m.ballot.round}`;
    case 'nack':
      return `nack ${m.ballot.round}, ${m.reason} (${m.promised?.round ?? 0})`;
    case 'behind':
      return `behind ${m.ballot.round} at ${m.slot}: ${m.lacks} lacks, prefix ${m.prefix}`;
    case 'commit':
      return `commit ${m.watermark}@${m.ballot.round}`;
    case 'fetch':
      return `fetch ${m.from}`;
    case 'values':
      return `values ${m.from}–${m.from + m.values.length - 1}`;
    case 'transfer':
      return `transfer ${m.ballot.round}`;
    default:
      return m.type;
  }
}
