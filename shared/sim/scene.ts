import type { Random } from '../base/random.ts';
import { count } from '../consensus/configuration.ts';
import { acceptorName, type Choices } from './choices.ts';
import type { Injections } from './injections.ts';
import type { Links } from './links.ts';
import type { SimNode } from './node.ts';
import type { NodeStore } from './node-store.ts';
import type { People } from './people.ts';
import type { Plan } from './plan.ts';
import type { Scheduler } from './scheduler.ts';

/** What all who break things work on. */
export interface Scene {
  readonly plan: Plan;
  readonly nodes: readonly SimNode[];
  readonly links: Links;
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly choices: Choices;
  readonly people: People;
  readonly injections: Injections;
  /** The time of breaking is over. */
  isOver: boolean;
  /** Copies of nodes that run beside them. */
  readonly twins: SimNode[];
  /** Lost for good, with their disks. */
  readonly gone: Set<SimNode>;
  /** In an epoch that others have left (R12): nobody takes what they say, and what they hold above its end is not the log any more. */
  readonly past: Set<SimNode>;
  /** Starts one on this copy of its store. */
  startTwin(of: SimNode, store: NodeStore): void;
  note(line: string): void;
}

export function leaderOf({ nodes, random }: Scene): SimNode {
  return nodes.find((n) => n.replica?.inspect().leads) ?? random.pick(nodes);
}

/** What a message takes there and back, with a write in between. */
export function roundTripMs({ plan: { links, disk } }: Scene): number {
  return 2 * links.delayMaxMs + disk.batchMaxMs + 2;
}

/** Does it vote, as far as its store goes? One whose store may turn out to be damaged is not counted on. */
const isSound = (node: SimNode): boolean => node.hasStore && !node.isTreated && !node.isDamaged;

/** Do those nodes, under the incarnations that they have now, make up both quorums of everything that may be needed? */
export function hasQuorums(choices: Choices, isThere: (node: SimNode) => boolean, nodes: readonly SimNode[]): boolean {
  const there = new Set(nodes.filter((n) => isSound(n) && isThere(n)).map((n) => acceptorName(n)));
  // Witnesses never lead, so one at least that is none.
  return choices
    .needed()
    .every(
      (c) =>
        count(c, (v) => there.has(acceptorName(v))) >= Math.max(c.q1, c.q2) &&
        c.voters.some((v) => !v.witness && there.has(acceptorName(v))),
    );
}

/**
 * May its store be lost? Not while another one was put back or copied and doesn't know it: who could tell it would be lost with that. Nor while a copy runs, which may
 * take its machine's place among the voters. Not the first node's, by whose hand the others are let in; nor that of a node that is still to become a voter: it would be counted on
 * from then on.
 */
export function canSpare({ choices, nodes, plan, twins }: Scene, node: SimNode): boolean {
  if (node.index === 0 || !node.hasStore || node.isTreated || node.isDamaged) return false;
  if (nodes.some((n) => n.isOld) || twins.some((n) => n.hasStore)) return false;
  const votes = choices.newest.configuration.voters.some((v) => acceptorName(v) === acceptorName(node));
  if (!votes && node.index < plan.voters) return false;
  return hasQuorums(choices, (n) => n !== node, nodes);
}
