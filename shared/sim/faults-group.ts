import { configurationFault } from '../consensus/configuration.ts';
import type { SimNode } from './node.ts';
import { write } from './people.ts';
import type { Scene } from './scene.ts';

/** What people do with the group itself: who leads, who votes, how many it takes, who belongs to it. */
export class Governance {
  readonly expelled = new Set<SimNode>();
  readonly #scene: Scene;
  #ledBefore: SimNode | null = null;

  constructor(scene: Scene) {
    this.#scene = scene;
  }

  handOver(): void {
    const { random, nodes, injections } = this.#scene;
    const leader = nodes.find((n) => n.replica?.inspect().leads);
    if (!leader?.replica) return;
    const to = random.pick([this.#ledBefore, this.#laggard(leader), random.pick(nodes), null]);
    if (!injections.strike('hand-over', `${leader.name} to ${to?.name ?? 'anybody'}`)) return;
    this.#ledBefore = leader;
    leader.replica.handOver(to?.peer ?? null);
    leader.pump();
  }

  /** Whoever is up and holds least. */
  #laggard(but: SimNode): SimNode | null {
    const up = this.#scene.nodes.filter((n) => n.isUp && n !== but);
    return up.sort((a, b) => a.prefix - b.prefix)[0] ?? null;
  }

  pin(nodes: readonly SimNode[], role: 'voter' | 'learner' | 'witness'): void {
    const { injections } = this.#scene;
    const keeper = this.#scene.nodes[0];
    if (!keeper?.replica) return;
    for (const node of nodes) {
      if (!keeper.replica.reader.member(node.peer)) continue;
      if (injections.strike('role change', `${node.name} to ${role}`)) {
        write(keeper.replica, { kind: 'pinRole', peer: node.peer, role });
      }
    }
    keeper.pump();
  }

  /** Where stores drop values, every other node may become a witness. The first one lets the others in, and writes too much to be one. */
  isForWitness({ index }: SimNode): boolean {
    return this.#scene.plan.keeping.keepSlots !== null && index % 2 === 1;
  }

  replaceVoters(): void {
    const { nodes, random } = this.#scene;
    const others = nodes.filter(() => random.chance(0.5));
    this.pin(others, 'learner');
    this.pin(
      nodes.filter((each) => !others.includes(each)),
      'voter',
    );
  }

  /** Quorums of any sizes that meet each other. */
  resize(): void {
    const { nodes, random, injections, choices } = this.#scene;
    const leader = nodes.find((n) => n.replica?.inspect().leads);
    if (!leader?.replica) return;
    const { voters } = choices.newest.configuration;
    const q1 = 1 + random.below(voters.length);
    const q2 = 1 + random.below(voters.length);
    if (configurationFault({ voters, q1, q2 }) !== null) return;
    if (!injections.strike('quorum sizes', `${q1} and ${q2} of ${voters.length}`)) return;
    leader.replica.proposeQuorums(q1, q2);
    leader.pump();
  }

  expel(node: SimNode): void {
    const { people, injections } = this.#scene;
    const keeper = this.#scene.nodes[0];
    const isMember = keeper?.replica?.reader.member(node.peer)?.expelledSlot === null;
    if (node.index === 0 || !keeper?.replica || !isMember || this.expelled.size > 0) return;
    if (!injections.strike('expulsion', node.name)) return;
    this.expelled.add(node);
    people.excuse(node, true);
    write(keeper.replica, { kind: 'expel', peer: node.peer });
    keeper.pump();
  }
}
