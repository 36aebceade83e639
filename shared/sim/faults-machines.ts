import type { SimNode } from './node.ts';
import type { Scene } from './scene.ts';

const HOUR_MS = 3_600_000;

/** Processes end, stand still, and have wrong clocks. */
export class Machines {
  readonly #scene: Scene;

  constructor(scene: Scene) {
    this.#scene = scene;
  }

  crash(node: SimNode, downMs: number = this.#scene.plan.downMs): void {
    const { random, injections } = this.#scene;
    if (!node.isUp) return;
    const powerCut = random.chance(0.5);
    const backMs = random.number() * downMs;
    if (!injections.strike(powerCut ? 'power cut' : 'kill', node.name)) return;
    node.crash(powerCut);
    this.startLater(node, backMs);
  }

  startLater(node: SimNode, afterMs: number): void {
    this.#scene.scheduler.after(afterMs, () => node.start());
  }

  crashSoon(node: SimNode, afterMs: number): void {
    this.#scene.scheduler.after(afterMs, () => {
      if (!this.#scene.isOver) this.crash(node, 20);
    });
  }

  outage(): void {
    const { nodes, random } = this.#scene;
    for (const each of nodes) if (random.chance(0.6)) this.crash(each);
  }

  pause(node: SimNode): void {
    const { random, injections } = this.#scene;
    const forMs = 50 + random.number() * random.pick([500, 4000]);
    if (node.isUp && injections.strike('pause', node.name)) node.pause(forMs);
  }

  /** Only what people read comes of it. */
  jumpClock(node: SimNode): void {
    const { random, injections } = this.#scene;
    const byMs = random.pick([-1, 1]) * random.pick([1, 24, 24 * 365]) * HOUR_MS * random.number();
    if (injections.strike('clock jump', `${node.name} by ${(byMs / HOUR_MS).toFixed(0)} h`)) node.clockSkewMs += byMs;
  }
}
