import type { SimNode } from './node.ts';
import { leaderOf, type Scene } from './scene.ts';

type Pair = readonly [number, number];

/** Cuts between nodes: for some elections, not for ever, since most bugs want the two sides to meet again. */
export class Cuts {
  readonly #scene: Scene;
  /** While a story is told, chance doesn't heal. */
  readonly #isStaged: () => boolean;
  isHealPlanned = false;

  constructor(scene: Scene, isStaged: () => boolean) {
    this.#scene = scene;
    this.#isStaged = isStaged;
  }

  halves(): void {
    const { nodes, random } = this.#scene;
    if (this.isHealPlanned) return;
    const left = nodes.map((n) => n.index).filter(() => random.chance(0.5));
    this.split(
      'partition',
      left,
      nodes.map((n) => n.index).filter((i) => !left.includes(i)),
    );
  }

  split(kind: string, left: readonly number[], right: readonly number[]): void {
    const { injections, links, nodes } = this.#scene;
    if (!injections.strike(kind, `{${left}} | {${right}}`)) return;
    links.partition(nodes.length, [left, right]);
    this.planHeal();
  }

  /** `node` hears nobody but `company`, for a while. */
  isolate(node: SimNode, company: SimNode | null, kind = 'partition'): void {
    const { people, nodes } = this.#scene;
    people.flurry(node, 4);
    const alone = [node.index, ...(company && company !== node ? [company.index] : [])];
    this.split(
      kind,
      alone,
      nodes.map((n) => n.index).filter((i) => !alone.includes(i)),
    );
  }

  isAlone(node: SimNode): boolean {
    return this.#scene.nodes.every((n) => n === node || this.#scene.links.isCut(n.index, node.index));
  }

  oneWay(): void {
    const { nodes, random, links, injections } = this.#scene;
    const pairs = [0, 1].map((): Pair => [random.below(nodes.length), random.below(nodes.length)]);
    if (!injections.strike('one-way cut', pairs.map(([a, b]) => `n${a} > n${b}`).join(', '))) return;
    for (const [a, b] of pairs) links.cut(a, b);
    this.planHeal();
  }

  /**
   * The topologies of Omni-Paxos' evaluation, and a bridge. *Quorum loss*: all hear one who doesn't lead, and nobody else. *Constrained*: the same, with the leader cut
   * off from all. *Chain*: everybody hears the next ones only. *Bridge*: two groups share one node.
   */
  partly(): void {
    const { nodes, random, links, injections } = this.#scene;
    if (this.isHealPlanned || nodes.length < 3) return;
    const leader = leaderOf(this.#scene).index;
    const others = nodes.map((n) => n.index).filter((i) => i !== leader);
    const hub = random.pick(others);
    const shapes: Record<string, () => Pair[]> = {
      'quorum loss': () => nodes.filter((n) => n.index !== hub).map((n): Pair => [hub, n.index]),
      constrained: () => others.filter((i) => i !== hub).map((i): Pair => [hub, i]),
      chain: () => chain([...others.slice(0, others.length >> 1), leader, ...others.slice(others.length >> 1)]),
      'chain, led from its end': () => chain([leader, ...others]),
      bridge: () => {
        const left = others.filter((i) => i !== hub && random.chance(0.5));
        const right = nodes.map((n) => n.index).filter((i) => i !== hub && !left.includes(i));
        return [...mesh([hub, ...left]), ...mesh([hub, ...right])];
      },
    };
    const shape = random.pick(Object.keys(shapes));
    const pairs = (shapes[shape] as () => Pair[])();
    if (!injections.strike('partial partition', `${shape}: ${pairs.map(([a, b]) => `n${a}–n${b}`).join(' ')}`)) return;
    links.connectOnly(nodes.length, pairs);
    this.planHeal();
  }

  clog(from: SimNode): void {
    const { nodes, random, links, scheduler, injections } = this.#scene;
    const to = random.below(nodes.length);
    const forMs = random.number() * random.pick([300, 1200, 5000]);
    if (injections.strike('clog', `n${from.index} > n${to}`)) links.clog(from.index, to, scheduler.nowMs + forMs);
  }

  flap(a: SimNode, b: SimNode): void {
    const { random, scheduler, injections } = this.#scene;
    const everyMs = random.pick([20, 150, 800]);
    const untilMs = scheduler.nowMs + 1000 + random.number() * 4000;
    if (a !== b && injections.strike('flapping link', `${a.name}–${b.name}`))
      this.#flap(a.index, b.index, everyMs, untilMs);
  }

  #flap(a: number, b: number, everyMs: number, untilMs: number): void {
    const { random, scheduler, links } = this.#scene;
    if (this.#scene.isOver) return;
    const isUp = scheduler.nowMs >= untilMs || random.chance(0.5);
    for (const [from, to] of [[a, b] as const, [b, a] as const]) {
      if (isUp) links.join(from, to);
      else links.cut(from, to);
    }
    if (scheduler.nowMs < untilMs) {
      scheduler.after(everyMs * (0.5 + random.number()), () => this.#flap(a, b, everyMs, untilMs));
    }
  }

  planHeal(): void {
    if (this.isHealPlanned) return;
    const { random, scheduler } = this.#scene;
    this.isHealPlanned = true;
    scheduler.after(random.pick([300, 2000, 2000]) + random.number() * 3000, () => {
      this.isHealPlanned = false;
      if (this.#scene.isOver) return;
      if (this.#isStaged()) this.planHeal();
      else this.#heal();
    });
  }

  #heal(): void {
    this.#scene.links.heal();
    this.#scene.note('-- heal');
  }
}

const chain = (order: readonly number[]): Pair[] => order.slice(1).map((b, i): Pair => [order[i] as number, b]);
const mesh = (all: readonly number[]): Pair[] => all.flatMap((a) => all.filter((b) => b > a).map((b): Pair => [a, b]));
