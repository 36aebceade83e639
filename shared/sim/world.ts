import type { PeerId } from '../base/ids.ts';
import { Random } from '../base/random.ts';
import { decodeGenesis } from '../document/genesis.ts';
import { encodeGenesis, invitationBytes, LEVEL } from '../document/index.ts';
import { KEEPING_LIMITS } from '../replica/keeping.ts';
import { firstConfiguration } from '../replica/opening.ts';
import type { PolicyTimes } from '../replica/policy.ts';
import type { Outgoing, Replica, ReplicaEvents } from '../replica/replica.ts';
import { Calm } from './calm.ts';
import { Chaos } from './chaos.ts';
import { check } from './check.ts';
import { Agreement, checkLog } from './checkers.ts';
import { Choices } from './choices.ts';
import { Connections } from './connections.ts';
import { ForcedRecovery } from './faults-recovery.ts';
import { Injections } from './injections.ts';
import { simSigner } from './keys.ts';
import { Links } from './links.ts';
import { type NodeSurroundings, SimNode } from './node.ts';
import type { NodeStore } from './node-store.ts';
import { People, write } from './people.ts';
import type { Plan } from './plan.ts';
import { drawPlan } from './plan-draw.ts';
import type { Scene } from './scene.ts';
import { Scheduler } from './scheduler.ts';
import { describe, saying, Transcript } from './transcript.ts';
import { Words } from './words.ts';

export interface WorldOptions {
  readonly seed: number;
  /** Instead of the one that the seed draws. */
  readonly plan?: Plan;
  /** Only these of its injections happen, by their numbers; null: all. */
  readonly only?: readonly number[] | null;
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
  /** Configurations that took force; lost stores whose machine votes again as another incarnation. */
  readonly reconfigurations: number;
  readonly readmissions: number;
  /** Stores that were found damaged. */
  readonly damagedStores: number;
  /** Stores that were mended in their places. */
  readonly mendedStores: number;
  /** Writes that a disk did not take. */
  readonly failedWrites: number;
  /** Snapshots that were installed, and slots that were dropped or skipped at the end, at all nodes together. */
  readonly snapshots: number;
  readonly slotsNotKept: number;
  /** How often somebody saw another one lead than before, or nobody. */
  readonly leaderChanges: number;
  readonly virtualMs: number;
  /** How long it took to come together. */
  readonly calmMs: number;
  readonly faults: Readonly<Record<string, number>>;
  /** How many injections were asked for: their numbers are below this. */
  readonly injections: number;
  /** Over everything that was said, and when: equal for equal seeds. */
  readonly fingerprint: string;
}

/** What a seed found. The transcript's last lines are in the message. */
export class SimulationFailed extends Error {
  override readonly name = 'SimulationFailed';
  readonly seed: number;
  /** `CheckFailed`: seen from outside. Anything else was noticed by the code itself. */
  readonly by: string;
  /** What it found, in a line. */
  readonly finding: string;
  /** How many injections were asked for until then. */
  readonly injections: number;
  readonly transcript: readonly string[];
  constructor(seed: number, cause: unknown, transcript: readonly string[], injections: number) {
    const message = cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause);
    super(`seed ${seed}: ${message}\n${transcript.join('\n')}`, { cause });
    this.seed = seed;
    this.by = cause instanceof Error ? cause.name : 'unknown';
    this.finding = message;
    this.injections = injections;
    this.transcript = transcript;
  }
}

const QUEUE_MAX = 5000;
/** Every so many machines one stays on. */
const STAYS_ON_EVERY = 3;

/**
 * A whole group under one seed: production replicas on treacherous disks and links. First a phase in which anything may break and nothing may
 * go wrong (safety), then enough is made whole and all that was saved must be committed, everywhere the same, within bounded time (liveness).
 */
export class World {
  readonly plan: Plan;
  readonly #options: Required<Omit<WorldOptions, 'plan' | 'only'>>;
  readonly #random: Random;
  readonly #scheduler = new Scheduler();
  readonly #transcript: Transcript;
  readonly #links: Links;
  readonly #connections: Connections;
  readonly #nodes: SimNode[] = [];
  readonly #agreement = new Agreement();
  readonly #choices: Choices;
  readonly #words: Words;
  readonly #people: People;
  readonly #scene: Scene;
  readonly #chaos: Chaos;
  readonly #recovery: ForcedRecovery;
  readonly #around: NodeSurroundings;
  readonly #genesis: Uint8Array;
  readonly #asVoter = new Set<SimNode>();
  #damagedStores = 0;
  #leaderChanges = 0;

  constructor(options: WorldOptions) {
    const { seed, plan, only = null, ...rest } = options;
    this.#options = { seed, calmMs: 60_000, transcriptLines: 150, traceMessages: false, policy: null, ...rest };
    // A stream of its own for each, so that what one of them no longer draws changes nothing for the others.
    const stream = (n: number): Random => new Random(seed + (n + 1) * 2 ** 32);
    const random = stream(1);
    this.#random = random;
    // A plan that was written down may be older than what stores drop.
    this.plan = plan === undefined ? drawPlan(new Random(seed)) : { ...plan, keeping: plan.keeping ?? KEEPING_LIMITS };
    this.#transcript = new Transcript(this.#scheduler, this.#options.transcriptLines);
    this.#links = new Links(this.#scheduler, stream(2), this.plan.links);
    this.#connections = new Connections(this.#links, this.#scheduler, stream(5));
    const around = this.#surroundings();
    this.#around = around;
    for (let i = 0; i < this.plan.nodes; i++) {
      const node = new SimNode(i, this.#scheduler, stream(10 + i), around);
      node.drift = 1 + (random.number() - 0.5) * 2 * this.plan.clockDrift;
      this.#nodes.push(node);
      this.#connections.add(node);
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
    const shared = { nodes: this.#nodes, scheduler: this.#scheduler, plan: this.plan };
    this.#people = new People({ ...shared, random: stream(3) });
    const note = (line: string): void => this.#transcript.note(line);
    this.#scene = {
      ...shared,
      random: stream(4),
      links: this.#links,
      choices: this.#choices,
      people: this.#people,
      injections: new Injections(only, note),
      isOver: false,
      twins: [],
      gone: new Set(),
      past: new Set(),
      startTwin: (of, store) => this.#startTwin(of, store, stream(100 + of.index)),
      note,
    };
    this.#chaos = new Chaos(this.#scene);
    this.#recovery = new ForcedRecovery(this.#scene);
  }

  #surroundings(): NodeSurroundings {
    return {
      send: (from, out) => this.#send(from, out),
      landed: (node, landed) => {
        const changedAbove = this.#recovery.landed(node, landed);
        if (changedAbove !== null)
          for (const each of [this.#words, this.#agreement, this.#people]) each.forget(changedAbove);
        if (!this.#scene.past.has(node)) this.#words.landed(node, landed);
      },
      reached: (node, step) => this.#chaos.reached(node, step),
      diesApplying: (node) => this.#chaos.diesApplying(node),
      died: (node) => this.#chaos.died(node),
      stopped: (node) => this.#chaos.stopped(node),
      damaged: (node) => {
        this.#damagedStores++;
        this.#chaos.disks.found(node);
      },
      turned: (node) => this.#turned(node),
      ticked: (node, replica) => this.#people.openSession(node, replica),
      events: (node) => this.#eventsOf(node),
      connections: (node) => this.#connections.of(node),
      note: (line) => this.#transcript.note(line),
      disk: { ...this.plan.disk },
      settings: ({ index }) => {
        const { policy } = this.#options;
        const { keeping: limits } = this.plan;
        return policy === null ? { limits } : { limits, policy, staysOn: index % STAYS_ON_EVERY === 0 };
      },
      failure: this.plan.failure,
      damages: 'damaged store' in this.plan.hard,
    };
  }

  #startTwin(of: SimNode, store: NodeStore, random: Random): void {
    const twin = new SimNode(of.index, this.#scheduler, random, this.#around, { of, store });
    this.#scene.twins.push(twin);
    this.#connections.add(twin);
    twin.start();
  }

  /** @throws SimulationFailed */
  run(): Report {
    try {
      this.#transcript.note(describe(this.plan));
      this.#begin();
      this.#scheduler.runUntil(this.plan.chaosMs);
      const calm = new Calm(this.#scene, {
        chaos: this.#chaos,
        recovery: this.#recovery,
        disk: this.#around.disk,
        calmMs: this.#options.calmMs,
      });
      const calmMs = calm.comeTogether();
      const first = this.#nodes.find((node) => !this.#scene.gone.has(node));
      const entries = checkLog(first?.replica as Replica, this.#people.wishes);
      return {
        seed: this.#options.seed,
        nodes: this.#nodes.length,
        events: this.#scheduler.events,
        entries,
        slots: this.#agreement.highest,
        barriers: this.#people.barriersServed,
        refusals: this.#people.refusals,
        ...this.#choices.contest,
        reconfigurations: this.#choices.changes,
        readmissions: this.#choices.readmissions,
        damagedStores: this.#damagedStores,
        mendedStores: this.#nodes.reduce((n, node) => n + node.mends, 0),
        failedWrites: this.#nodes.reduce((n, node) => n + node.failedWrites, 0),
        snapshots: this.#nodes.reduce((n, node) => n + node.installs, 0),
        slotsNotKept: this.#nodes.reduce((n, node) => n + notKept(node), 0),
        leaderChanges: this.#leaderChanges,
        virtualMs: this.#scheduler.nowMs,
        calmMs,
        faults: { ...this.#scene.injections.counts, ...this.#links.counts, ...this.#connections.counts },
        injections: this.#scene.injections.asked,
        fingerprint: this.#transcript.fingerprint,
      };
    } catch (error) {
      throw new SimulationFailed(this.#options.seed, error, this.#transcript.lines, this.#scene.injections.asked);
    }
  }

  #begin(): void {
    const [founder] = this.#nodes as [SimNode];
    founder.found(this.#genesis);
    for (const node of this.#nodes.slice(1)) {
      this.#scheduler.after(100 + this.#random.number() * 700, () => this.#admit(node));
    }
    this.#connections.begin();
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

  // --- wiring

  #send(from: SimNode, out: Outgoing): void {
    if (!this.#scene.past.has(from)) this.#words.leave(from, out);
    const copiesAfterMs = this.#chaos.leaves(from, out);
    const { type } = out.message;
    const frame = this.plan.asBytes ? from.frameOf(out) : null;
    const head = frame === null ? from.head : null;
    // Links may bring anything again at any time; but a greeting belongs to a connection, and that ends with the process that made it before its next one makes another.
    const isGreeting = out.layer === 'session' && out.message.type === 'greeting';
    const { process } = from;
    this.#transcript.sent(from.index, type, out.to.length);
    if (this.#options.traceMessages && type !== 'heartbeat')
      this.#transcript.aside(`   ${from.name} ${saying(out)} > ${out.to.map((p) => this.#nameOf(p))}`);
    for (const peer of out.to) {
      const to = this.#nodes.find((n) => n.peer === peer);
      if (!to) continue;
      const receive = (replica: Replica): void => {
        if (frame) replica.receiveFrame(from.peer, frame);
        else if (head) replica.receiveOpened(from.peer, head, out);
      };
      const arrive = (): void => {
        if (isGreeting && from.process !== process) return;
        to.deliver(receive);
        for (const twin of this.#scene.twins) if (twin.peer === peer) twin.deliver(receive);
      };
      if (copiesAfterMs === null) this.#links.send(from.index, to.index, type, arrive);
      else for (const ms of copiesAfterMs) this.#scheduler.after(ms, arrive);
    }
  }

  #turned(node: SimNode): void {
    const { replica } = node;
    if (replica === null) return;
    this.#recovery.turned(node);
    if (this.#scene.past.has(node)) return;
    this.#agreement.look(node.name, replica, !node.lostState);
    if (replica.prefix > this.#choices.prefix) this.#choices.said(replica.prefix, node.name);
    check(!replica.isForked || node.isDamaged || node.isOld, () => `${node.name} believes that its store was copied`);
    check(replica.paused == null, () => `${node.name} can't apply`);
    check(replica.queuedInputs <= QUEUE_MAX, () => `${replica.queuedInputs} inputs wait at ${node.name}`);
  }

  #eventsOf(node: SimNode): ReplicaEvents {
    return {
      onLeader: (leader) => {
        this.#leaderChanges++;
        this.#transcript.note(`${node.name} sees ${leader ? this.#nameOf(leader) : 'nobody'} lead`);
      },
      onProblem: ({ code, message }) => this.#transcript.note(`${node.name} ${code}: ${message}`),
    };
  }

  #nameOf(peer: PeerId | null): string {
    return this.#nodes.find((n) => n.peer === peer)?.name ?? '-';
  }
}

const notKept = ({ disk }: SimNode): number => disk.missing.ranges.reduce((n, { from, to }) => n + to - from + 1, 0);
