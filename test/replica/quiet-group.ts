import { Random } from '../../shared/base/random.ts';
import type { Body } from '../../shared/document/index.ts';
import { encodeGenesis, invitationBytes, LEVEL } from '../../shared/document/index.ts';
import { KEEPING_LIMITS } from '../../shared/replica/keeping.ts';
import type { PolicyTimes } from '../../shared/replica/policy.ts';
import type { Outgoing, Replica } from '../../shared/replica/replica.ts';
import { simSigner } from '../../shared/sim/keys.ts';
import { SimNode } from '../../shared/sim/node.ts';
import { Scheduler } from '../../shared/sim/scheduler.ts';

/** The policy in seconds instead of minutes and hours. Ticks of 50 ms. */
export const HASTY: PolicyTimes = {
  steadyTicks: 100,
  goneTicks: 1200,
  restTicks: 60,
  reignTicks: 200,
  presenceTicks: 600,
};
const LINK_MS = 3;

/** Production replicas that tick in virtual time, on disks and links without faults; what breaks is broken by hand. */
export class QuietGroup {
  readonly nodes: SimNode[];
  readonly #scheduler = new Scheduler();
  readonly #random: Random;
  readonly #cut = new Set<SimNode>();
  readonly #linkMs: number;
  /** For parts of snapshots, by all machines. */
  snapshotAsks = 0;
  /** The voters of every configuration with force that a leader saw, in order, with the second of it. */
  readonly seen: { readonly atMs: number; readonly voters: string }[] = [];

  /** @param stayOn how many of the machines, the last ones, stay on @param later how many, the last ones, nobody has admitted yet */
  constructor(count: number, { seed = 1, stayOn = 0, later = 0, limits = KEEPING_LIMITS, linkMs = LINK_MS } = {}) {
    this.#linkMs = linkMs;
    this.#random = new Random(seed);
    this.nodes = Array.from(
      { length: count },
      (_, i) =>
        new SimNode(i, this.#scheduler, this.#random, {
          send: (from, out) => this.#send(from, out),
          landed: () => {},
          reached: () => {},
          turned: () => {},
          diesApplying: () => null,
          died: () => {},
          stopped: () => {},
          damaged: () => {},
          failure: null,
          damages: false,
          ticked: (_node, replica) => this.#look(replica),
          events: () => ({}),
          connections: () => [],
          note: () => {},
          disk: { batchMinMs: 0.1, batchMaxMs: 0.5, markMaxMs: 0.3 },
          settings: (node) => ({ limits, policy: HASTY, staysOn: this.nodes.indexOf(node) >= count - stayOn }),
        }),
    );
    // Names in the order of their ids, so that a tie is decided for the first.
    this.nodes.sort((a, b) => (a.peer < b.peer ? -1 : 1));
    const [founder, ...others] = this.nodes as [SimNode, ...SimNode[]];
    founder.found(
      encodeGenesis({
        alpha: 16,
        level: LEVEL,
        founder: founder.peer,
        incarnation: founder.incarnation,
        nonce: this.#random.bytes(16),
        timeMs: 1.7e12,
      }),
    );
    this.run(3);
    for (const node of others.slice(0, others.length - later)) this.admit(node);
  }

  #send(from: SimNode, out: Outgoing): void {
    if (out.layer === 'snapshot' && out.message.type === 'snapshot-ask') this.snapshotAsks++;
    const frame = from.frameOf(out);
    for (const peer of out.to) {
      const to = this.nodes.find((n) => n.peer === peer);
      if (!to || this.#cut.has(from) || this.#cut.has(to)) continue;
      this.#scheduler.after(this.#linkMs, () => {
        if (this.#cut.has(to)) return;
        to.deliver((replica) => void replica.receiveFrame(from.peer, frame));
      });
    }
  }

  #look(replica: Replica): void {
    const { leads, configuration } = replica.inspect();
    if (!leads) return;
    const voters = this.namesOf(configuration.configuration.voters.map((v) => v.peer));
    if (this.seen.at(-1)?.voters !== voters) this.seen.push({ atMs: this.#scheduler.nowMs, voters });
  }

  /** `0` is the founder. */
  namesOf(peers: readonly string[]): string {
    return this.nodes.flatMap((node, i) => (peers.includes(node.peer) ? [String(i)] : [])).join('');
  }

  admit(node: SimNode, pinned: 'voter' | null = null): void {
    const keeper = this.at(0);
    const key = this.#random.bytes(32);
    const joiner = { group: keeper.group, peer: node.peer, incarnation: node.incarnation, name: node.name };
    this.write(0, { kind: 'invite', key, rights: 'keeper', pinned, expiresMs: null });
    const signature = simSigner(key).sign(invitationBytes(joiner));
    const { peer, incarnation } = node;
    this.write(0, { kind: 'admit', key, joiner: peer, incarnation, signature, name: node.name });
    this.run(1);
    node.found(keeper.genesisBytes);
  }

  at(i: number): Replica {
    const replica = this.nodes[i]?.replica;
    if (!replica) throw new Error(`${i} is down`);
    return replica;
  }

  peer(i: number) {
    return (this.nodes[i] as SimNode).peer;
  }

  /** This machine's clock, as its replica sees it. Milliseconds. */
  clockMs(i: number): number {
    return Math.round(this.#scheduler.nowMs + 1.7e12 + (this.nodes[i] as SimNode).clockSkewMs);
  }

  write(i: number, body: Body): void {
    const replica = this.at(i);
    const said = { writer: '', timeMs: 1.7e12, offsetMinutes: 0, saw: replica.applied, level: LEVEL };
    replica.write(body, said, {});
    (this.nodes[i] as SimNode).pump();
  }

  run(seconds: number): void {
    this.#scheduler.runUntil(this.#scheduler.nowMs + seconds * 1000);
  }

  cut(...machines: readonly number[]): void {
    for (const i of machines) this.#cut.add(this.nodes[i] as SimNode);
  }

  join(...machines: readonly number[]): void {
    for (const i of machines) this.#cut.delete(this.nodes[i] as SimNode);
  }

  get leader(): number {
    return this.nodes.findIndex((node) => node.replica?.inspect().leads);
  }

  /** As the one that leads sees them. */
  get voters(): string {
    const { voters } = this.at(this.leader).inspect().configuration.configuration;
    return this.namesOf(voters.map((v) => v.peer));
  }
}
