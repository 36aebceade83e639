import { toHex } from '../base/bytes.ts';
import type { EntryId, PeerId } from '../base/ids.ts';
import { Random } from '../base/random.ts';
import { type Body, encodeGenesis, invitationBytes, isRefused } from '../document/index.ts';
import type { Outgoing, Replica, ReplicaEvents } from '../replica/replica.ts';
import { Agreement, CheckFailed, check, checkLog, type Wish } from './checkers.ts';
import { simSigner } from './keys.ts';
import { type LinkFaults, Links } from './links.ts';
import { type DiskTimes, SimNode } from './node.ts';
import { Scheduler } from './scheduler.ts';

export interface WorldOptions {
  readonly seed: number;
  /** Virtual time of the phase in which anything may break. */
  readonly chaosMs?: number;
  /** Virtual time within which everything must have come together once it is whole again. */
  readonly calmMs?: number;
  /** Lines of the transcript that are kept. */
  readonly transcriptLines?: number;
}

export interface Report {
  readonly seed: number;
  readonly nodes: number;
  readonly events: number;
  readonly entries: number;
  readonly slots: number;
  readonly virtualMs: number;
  readonly calmMs: number;
  readonly faults: Readonly<Record<string, number>>;
}

/** What a seed found. The transcript's last lines are in the message. */
export class SimulationFailed extends Error {
  override readonly name = 'SimulationFailed';
  readonly seed: number;
  constructor(seed: number, cause: unknown, transcript: readonly string[]) {
    const message = cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause);
    super(`seed ${seed}: ${message}\n${transcript.join('\n')}`, { cause });
    this.seed = seed;
  }
}

const LEVEL = 1;

/**
 * A whole group under one seed: production replicas on treacherous disks and links. First a phase in which anything may break and nothing may
 * go wrong (safety), then everything is made whole and all that was saved must be committed, everywhere the same, within bounded time (liveness).
 */
export class World {
  readonly #options: Required<WorldOptions>;
  readonly #random: Random;
  readonly #scheduler = new Scheduler();
  readonly #links: Links;
  readonly #nodes: SimNode[] = [];
  readonly #agreement = new Agreement();
  readonly #wishes: Wish[] = [];
  readonly #written: number[] = [];
  readonly #faults: Record<string, number> = {};
  readonly #transcript: string[] = [];
  readonly #disk: DiskTimes;
  /** Frames go through their bytes in some seeds; in the others the message objects travel, which is quicker. */
  readonly #asBytes: boolean;
  readonly #alpha: number;
  #chaos = true;
  /** The highest slot whose commit somebody was told of. */
  #toldSlot = 0;

  constructor(options: WorldOptions) {
    this.#options = { chaosMs: 12_000, calmMs: 60_000, transcriptLines: 150, ...options };
    const random = new Random(options.seed);
    this.#random = random;
    const faults: LinkFaults = {
      loss: random.pick([0, 0.01, 0.05, 0.2]),
      duplication: random.pick([0, 0.02, 0.2]),
      delayMinMs: 0.2,
      delayMaxMs: random.pick([1, 5, 40, 150]),
    };
    this.#links = new Links(this.#scheduler, random, faults);
    this.#disk = { batchMinMs: 0.1, batchMaxMs: random.pick([0.5, 3, 30]), markMaxMs: random.pick([0.3, 10]) };
    this.#asBytes = random.chance(0.2);
    this.#alpha = random.pick([1, 2, 3, 8, 64]);
    const around = {
      send: (from: SimNode, out: Outgoing) => this.#send(from, out),
      turned: (node: SimNode) => this.#turned(node),
      events: (node: SimNode) => this.#eventsOf(node),
      note: (line: string) => this.#note(line),
      disk: this.#disk,
    };
    const nodes = 1 + random.below(5);
    for (let i = 0; i < nodes; i++) {
      this.#nodes.push(new SimNode(i, this.#scheduler, random, around));
      this.#written.push(0);
    }
  }

  /** @throws SimulationFailed */
  run(): Report {
    try {
      this.#begin();
      this.#scheduler.runUntil(this.#options.chaosMs);
      const calmMs = this.#comeTogether();
      const [first] = this.#nodes;
      const entries = checkLog(first?.replica as Replica, this.#wishes);
      return {
        seed: this.#options.seed,
        nodes: this.#nodes.length,
        events: this.#scheduler.events,
        entries,
        slots: this.#agreement.highest,
        virtualMs: this.#scheduler.nowMs,
        calmMs,
        faults: { ...this.#faults, ...this.#links.counts },
      };
    } catch (error) {
      throw new SimulationFailed(this.#options.seed, error, this.#transcript);
    }
  }

  #begin(): void {
    const [founder] = this.#nodes as [SimNode];
    founder.found(
      encodeGenesis({
        alpha: this.#alpha,
        level: LEVEL,
        founder: founder.peer,
        incarnation: founder.incarnation,
        nonce: this.#random.bytes(16),
        timeMs: 1.7e12,
      }),
    );
    for (const node of this.#nodes.slice(1)) {
      this.#scheduler.after(100 + this.#random.number() * 1500, () => this.#admit(node, this.#random.chance(0.8)));
    }
    this.#scheduler.after(200, () => this.#workload());
    this.#scheduler.after(1500, () => this.#breakSomething());
  }

  // --- what people do

  #workload(): void {
    if (!this.#chaos) return;
    const node = this.#random.pick(this.#nodes);
    const { replica } = node;
    if (replica !== null) {
      const burst = this.#random.chance(0.1) ? 8 : 1;
      for (let i = 0; i < burst; i++) this.#act(node, replica);
      node.pump();
    }
    this.#scheduler.after(this.#random.number() * 250, () => this.#workload());
  }

  #act(node: SimNode, replica: Replica): void {
    const dice = this.#random.number();
    const positions = replica.reader.positions();
    const entry = positions > 0 ? replica.reader.entryIdAt(1 + this.#random.below(positions)) : undefined;
    if (dice < 0.7 || entry === undefined) return this.#create(node, replica);
    if (dice < 0.8) {
      const text = `edited by n${node.index} at ${this.#scheduler.nowMs.toFixed(0)}`;
      replica.edit({ entry, text }, this.#says(replica), {});
    } else if (dice < 0.87) this.#write(replica, { kind: 'remove', entry: entry as EntryId });
    else if (dice < 0.93) this.#write(replica, { kind: 'restore', entry: entry as EntryId, revision: null });
    else this.#barrier(node, replica);
  }

  #create(node: SimNode, replica: Replica): void {
    const n = (this.#written[node.index] as number) + 1;
    this.#written[node.index] = n;
    const text = `n${node.index} wrote ${n}`;
    const wish: Wish = { node: node.index, text, n, saved: false, position: null, refused: null };
    this.#wishes.push(wish);
    const made = replica.write({ kind: 'create', key: null, text }, this.#says(replica), {
      saved: () => {
        wish.saved = true;
      },
      settled: (verdict) => {
        if (isRefused(verdict)) wish.refused = verdict.refused;
        else wish.position = verdict.took[0]?.position ?? null;
        this.#toldSlot = Math.max(this.#toldSlot, replica.applied);
      },
    });
    check(!('refused' in made), `${text} was refused at once`);
  }

  #write(replica: Replica, body: Body): void {
    replica.write(body, this.#says(replica), {});
  }

  #says(replica: Replica) {
    return { writer: 'somebody', timeMs: 1.7e12, offsetMinutes: 0, saw: replica.applied, level: LEVEL };
  }

  /** A linearizable read: what it is served from is no older than anything told before it was asked. */
  #barrier(node: SimNode, replica: Replica): void {
    const told = this.#toldSlot;
    replica.barrier((at) => {
      check(at >= told, `a barrier at n${node.index} was served from slot ${at}, though ${told} had been told before`);
      this.#toldSlot = Math.max(this.#toldSlot, at);
    });
  }

  /** Invites and admits a node by a keeper's hand, and starts it as soon as the group has agreed. */
  #admit(node: SimNode, asVoter: boolean): void {
    const keeper = this.#nodes[0]?.replica;
    if (!keeper) {
      this.#scheduler.after(200, () => this.#admit(node, asVoter));
      return;
    }
    const key = this.#random.bytes(32);
    const joiner = { group: keeper.group, peer: node.peer, incarnation: node.incarnation, name: `n${node.index}` };
    this.#write(keeper, {
      kind: 'invite',
      key,
      rights: 'writer',
      pinned: asVoter ? 'voter' : null,
      expiresMs: null,
    });
    this.#write(keeper, {
      kind: 'admit',
      key,
      joiner: node.peer,
      incarnation: node.incarnation,
      signature: simSigner(key).sign(invitationBytes(joiner)),
      name: joiner.name,
    });
    this.#nodes[0]?.pump();
    this.#awaitAdmission(node, asVoter, 40);
  }

  #awaitAdmission(node: SimNode, asVoter: boolean, triesLeft: number): void {
    const host = this.#nodes.find((each) => each.replica?.reader.member(node.peer)?.expelledSlot === null);
    if (host?.replica) return node.found(host.replica.genesisBytes);
    if (triesLeft > 0) this.#scheduler.after(100, () => this.#awaitAdmission(node, asVoter, triesLeft - 1));
    else this.#admit(node, asVoter);
  }

  // --- what breaks

  #breakSomething(): void {
    if (!this.#chaos) return;
    const random = this.#random;
    const dice = random.number();
    const count = this.#nodes.length;
    if (dice < 0.3) this.#crash(random.pick(this.#nodes));
    else if (dice < 0.4) for (const node of this.#nodes) if (random.chance(0.6)) this.#crash(node);
    if (dice >= 0.4 && dice < 0.6) {
      const left = this.#nodes.map((n) => n.index).filter(() => random.chance(0.5));
      const right = this.#nodes.map((n) => n.index).filter((i) => !left.includes(i));
      this.#links.partition(count, [left, right]);
      this.#fault('partition', `{${left}} | {${right}}`);
    } else if (dice >= 0.6 && dice < 0.72) {
      for (let i = 0; i < 2; i++) this.#links.cut(random.below(count), random.below(count));
      this.#fault('one-way cut', '');
    } else if (dice >= 0.72 && dice < 0.9) {
      this.#links.heal();
      this.#fault('heal', '');
    } else if (dice >= 0.9) this.#changeMembers();
    this.#scheduler.after(200 + random.number() * 1800, () => this.#breakSomething());
  }

  #crash(node: SimNode): void {
    if (!node.isUp) return;
    const powerCut = this.#random.chance(0.5);
    node.crash(powerCut);
    this.#fault(powerCut ? 'power cut' : 'kill', '');
    this.#scheduler.after(this.#random.number() * 2500, () => node.start());
  }

  #changeMembers(): void {
    const keeper = this.#nodes[0]?.replica;
    const node = this.#random.pick(this.#nodes);
    if (!keeper || (node.index === 0 && this.#nodes.length === 1)) return;
    const role = this.#random.pick(['voter', 'learner', 'voter'] as const);
    this.#write(keeper, { kind: 'pinRole', peer: node.peer, role });
    this.#nodes[0]?.pump();
    this.#fault('role change', `n${node.index} to ${role}`);
  }

  #fault(kind: string, detail: string): void {
    this.#faults[kind] = (this.#faults[kind] ?? 0) + 1;
    this.#note(`-- ${kind} ${detail}`);
  }

  // --- everything whole again

  #comeTogether(): number {
    this.#chaos = false;
    this.#links.heal();
    Object.assign(this.#links.faults, { loss: 0, duplication: 0, delayMaxMs: 2 });
    Object.assign(this.#disk, { batchMaxMs: 0.5, markMaxMs: 0.3 });
    for (const node of this.#nodes) node.start();
    const from = this.#scheduler.nowMs;
    this.#note('-- all is whole again');
    const until = from + this.#options.calmMs;
    while (this.#scheduler.nowMs < until) {
      this.#scheduler.runUntil(this.#scheduler.nowMs + 250);
      if (this.#isTogether()) return this.#scheduler.nowMs - from;
    }
    throw new CheckFailed(
      `not together after ${this.#options.calmMs} ms: ${this.#nodes.map((n) => this.#stateOf(n)).join('; ')}`,
    );
  }

  #isTogether(): boolean {
    const replicas = this.#nodes.map((node) => node.replica);
    const [first] = replicas;
    if (!first) return false;
    return replicas.every(
      (r) =>
        r !== null &&
        r.applied === first.applied &&
        r.prefix === r.applied &&
        r.outbox.pending === 0 &&
        toHex(r.reader.stateHash()) === toHex(first.reader.stateHash()),
    );
  }

  #stateOf(node: SimNode): string {
    const r = node.replica;
    if (!r) return `n${node.index} ${node.hasStore ? 'is down' : 'never joined'}`;
    const v = r.inspect();
    const leader = this.#nodes.find((n) => n.peer === v.leader)?.index ?? '-';
    return (
      `n${node.index} prefix ${v.prefix} applied ${r.applied} pending ${r.outbox.pending} leader ${leader} ` +
      `voters ${v.configuration.configuration.voters.map((w) => this.#indexOf(w.peer)).join(',')} fetching ${v.fetching}`
    );
  }

  #indexOf(peer: PeerId): number {
    return this.#nodes.findIndex((n) => n.peer === peer);
  }

  // --- wiring

  #send(from: SimNode, out: Outgoing): void {
    const frame = this.#asBytes ? from.frameOf(out) : null;
    for (const peer of out.to) {
      const to = this.#nodes[this.#indexOf(peer)];
      if (!to) continue;
      this.#links.send(from.index, to.index, () =>
        to.deliver((replica) => {
          if (frame) replica.receiveFrame(from.peer, frame);
          else replica.receive(from.peer, from.incarnation, out);
        }),
      );
    }
  }

  #turned(node: SimNode): void {
    if (node.replica) this.#agreement.look(`n${node.index}`, node.replica);
    check(!node.replica?.isForked, `n${node.index} believes that its store was copied`);
    check(node.replica?.paused == null, `n${node.index} can't apply`);
  }

  #eventsOf(node: SimNode): ReplicaEvents {
    return {
      onLeader: (leader) => this.#note(`n${node.index} sees ${leader ? `n${this.#indexOf(leader)}` : 'nobody'} lead`),
      onProblem: ({ code, message }) => this.#note(`n${node.index} ${code}: ${message}`),
    };
  }

  #note(line: string): void {
    this.#transcript.push(`${this.#scheduler.nowMs.toFixed(1).padStart(9)} ${line}`);
    if (this.#transcript.length > this.#options.transcriptLines) this.#transcript.shift();
  }
}
