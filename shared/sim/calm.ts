import { toHex } from '../base/bytes.ts';
import type { PeerId } from '../base/ids.ts';
import { SUSPICION_TICKS, TICK_MS } from '../consensus/constants.ts';
import type { Replica } from '../replica/replica.ts';
import type { Chaos } from './chaos.ts';
import { CheckFailed, check } from './check.ts';
import type { ForcedRecovery } from './faults-recovery.ts';
import type { DiskTimes, SimNode } from './node.ts';
import { hasQuorums, type Scene } from './scene.ts';

const REST_MS = 2500;

/** The second phase: enough is made whole, and then all that was saved must be committed, everywhere the same, within bounded time (liveness). */
export class Calm {
  readonly #scene: Scene;
  readonly #chaos: Chaos;
  readonly #recovery: ForcedRecovery;
  readonly #disk: DiskTimes;
  readonly #calmMs: number;

  constructor(
    scene: Scene,
    init: {
      readonly chaos: Chaos;
      readonly recovery: ForcedRecovery;
      readonly disk: DiskTimes;
      readonly calmMs: number;
    },
  ) {
    this.#scene = scene;
    this.#chaos = init.chaos;
    this.#recovery = init.recovery;
    this.#disk = init.disk;
    this.#calmMs = init.calmMs;
  }

  /** @returns how long it took. @throws CheckFailed */
  comeTogether(): number {
    const { scheduler, people, links, plan, nodes, note } = this.#scene;
    const from = scheduler.nowMs;
    this.#chaos.end();
    for (const twin of this.#scene.twins) twin.retire();
    people.rest();
    links.repair();
    Object.assign(this.#disk, { batchMaxMs: 0.5, markMaxMs: 0.3 });
    if (plan.recovers === true) this.#recover();
    else if (plan.partlyHealed) this.#healPart();
    note('-- all is whole again');
    links.heal();
    for (const node of nodes) this.#makeWhole(node);
    // One that was put back finds out by itself, now that all others reach it; one that asks hears from a person (`Disks.found`).
    for (const node of nodes) {
      const isLooked = node.isDamaged ? node.wasCopied : node.isOld;
      if ((node.isTreated || node.isDamaged) && !isLooked) this.#chaos.disks.bringBack(node);
    }
    this.#await(nodes, 'all');
    const calmMs = scheduler.nowMs - from;
    check(people.barriersOpen >= 0, 'a barrier was served twice');
    if (plan.watchRest && this.#scene.gone.size === 0) this.#watchRest();
    return calmMs;
  }

  /** Its disk is quick and has room; where it hung for ever, somebody ends the process. */
  #makeWhole(node: SimNode): void {
    node.repairDisk();
    node.start();
  }

  /** The survivors of a forced recovery go on as a group of their own. */
  #recover(): void {
    const { scheduler, nodes, links } = this.#scene;
    links.heal();
    for (const node of nodes) this.#makeWhole(node);
    const survivors = this.#recovery.begin();
    if (survivors === null) return;
    const until = scheduler.nowMs + this.#calmMs;
    while (!this.#recovery.isOver(survivors)) {
      if (scheduler.nowMs >= until) throw new CheckFailed(`no recovery after ${this.#calmMs} ms: ${this.#states()}`);
      scheduler.runUntil(scheduler.nowMs + 100);
    }
  }

  /** A random part that has its quorums must manage without the rest, which stays cut off or down, hung or damaged. */
  #healPart(): void {
    const { nodes, random, choices, links, scheduler, note } = this.#scene;
    const part = new Set(nodes.filter((n) => n.hasStore && !n.isTreated && !n.isDamaged));
    for (const node of this.#shuffled()) {
      const has = hasQuorums(choices, (n) => part.has(n) && n !== node, nodes);
      if (has && random.chance(0.8)) part.delete(node);
    }
    const names = `${[...part].map((n) => n.name)}`;
    const rest = nodes.filter((n) => !part.has(n));
    const canManage = () => hasQuorums(choices, (n) => part.has(n), nodes);
    if (rest.length === 0 || !canManage()) return;
    note(`-- only ${names} are whole again`);
    links.partition(nodes.length, [[...part].map((n) => n.index), rest.map((n) => n.index)]);
    for (const node of rest) if (random.chance(0.5)) node.crash(random.chance(0.5));
    for (const node of part) this.#makeWhole(node);
    // Until the rest counts as gone a change may still be proposed that needs it; then nobody can help.
    scheduler.runUntil(scheduler.nowMs + 2 * SUSPICION_TICKS * TICK_MS);
    if (canManage()) this.#await([...part], names);
  }

  #shuffled(): SimNode[] {
    return this.#scene.nodes
      .map((node) => ({ node, at: this.#scene.random.number() }))
      .sort((a, b) => a.at - b.at)
      .map(({ node }) => node);
  }

  #await(nodes: readonly SimNode[], who: string): void {
    const { scheduler } = this.#scene;
    const until = scheduler.nowMs + this.#calmMs;
    while (scheduler.nowMs < until) {
      scheduler.runUntil(scheduler.nowMs + 100);
      if (this.#areTogether(nodes)) return;
    }
    throw new CheckFailed(`${who} not together after ${this.#calmMs} ms: ${this.#states()}`);
  }

  #areTogether(nodes: readonly SimNode[]): boolean {
    const there = nodes.filter((node) => !this.#chaos.group.expelled.has(node) && !this.#scene.gone.has(node));
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
    const { scheduler, choices } = this.#scene;
    const until = scheduler.nowMs + this.#calmMs;
    while (scheduler.nowMs < until) {
      const { prefix } = choices;
      scheduler.runUntil(scheduler.nowMs + REST_MS);
      if (prefix === choices.prefix && this.#isAtRest()) return;
    }
    throw new CheckFailed(`no rest after ${this.#calmMs} ms: ${this.#states()}`);
  }

  #isAtRest(): boolean {
    const { nodes, choices } = this.#scene;
    const there = nodes.filter((node) => !this.#chaos.group.expelled.has(node)).map((n) => n.replica as Replica);
    const [first] = there as [Replica];
    const { leader } = first.inspect();
    const { voters } = choices.newest.configuration;
    const wanted = first.reader.members().filter((m) => m.pinned === 'voter');
    const vote = wanted.every((m) => voters.some((v) => v.peer === m.peer && v.incarnation === m.incarnation));
    return vote && leader !== null && there.every((r) => r.inspect().leader === leader);
  }

  #states(): string {
    return this.#scene.nodes.map((node) => this.#stateOf(node)).join('; ');
  }

  #stateOf(node: SimNode): string {
    const r = node.replica;
    if (!r) return `${node.name} ${node.hasStore ? 'is down' : 'never joined'}`;
    const v = r.inspect();
    return (
      `${node.name} prefix ${v.prefix} applied ${r.applied} pending ${r.outbox.pending} leader ${this.#nameOf(v.leader)} ` +
      `voters ${v.configuration.configuration.voters.map((w) => this.#nameOf(w.peer))} fetching ${v.fetching}${r.isSound ? '' : ' damaged'}`
    );
  }

  #nameOf(peer: PeerId | null): string {
    return this.#scene.nodes.find((n) => n.peer === peer)?.name ?? '-';
  }
}
