import type { Accept } from '../consensus/messages.ts';
import type { Outgoing } from '../replica/replica.ts';
import { ballotName } from './choices.ts';
import type { Cuts } from './faults-links.ts';
import type { Machines } from './faults-machines.ts';
import type { SimNode } from './node.ts';
import { roundTripMs, type Scene } from './scene.ts';

const LATE_COPIES = 8;
/** Less than it takes until a proposal is sent again. */
const HOLE_MS_MAX = 450;
const CONTEST_MS = 7000;

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

/** Several blows that belong together, each at its moment: what chance alone would hardly ever bring about. */
export class Stories {
  readonly #scene: Scene;
  readonly #cuts: Cuts;
  readonly #machines: Machines;
  #witness: LateWitness | null = null;
  #contest: Contest | null = null;

  constructor(scene: Scene, cuts: Cuts, machines: Machines) {
    this.#scene = scene;
    this.#cuts = cuts;
    this.#machines = machines;
  }

  /** A longer story is under way, and chance keeps out of it. */
  get isUnderWay(): boolean {
    return this.#contest !== null || this.#witness?.isCalled === true;
  }

  /** As a message leaves: undefined where no story is about it. See `Chaos.leaves`. */
  leaves(from: SimNode, out: Outgoing): readonly number[] | null | undefined {
    if (out.message.type === 'accepted' && this.#witness?.follower === from) return this.#callWitness(this.#witness);
    if (this.#contest !== null) return this.#goOnContesting(this.#contest, from, out);
    return undefined;
  }

  /** A leader's proposal is to come to one follower only. */
  lateWitness(leader: SimNode, follower: SimNode): void {
    this.#cuts.isolate(leader, follower);
    leader.slownessMs = 500;
    this.#witness = { leader, follower, isCalled: false };
  }

  /**
   * The follower's word is on its way for seconds, in copies; it is cut off then. Meanwhile the leader starts anew, perhaps before its own acceptance
   * was on the disk, and before the others do, so that it leads again.
   */
  #callWitness(witness: LateWitness): readonly number[] | null {
    const { random, scheduler, nodes, injections } = this.#scene;
    const { leader, follower } = witness;
    if (!witness.isCalled) {
      if (!injections.strike('late witness', `${follower.name} to ${leader.name}`)) {
        this.#witness = null;
        leader.slownessMs = 0;
        return null;
      }
      witness.isCalled = true;
      scheduler.after(0, () => this.#cuts.isolate(follower, null));
      this.#machines.crashSoon(leader, 0);
      scheduler.after(1, () => {
        leader.slownessMs = 0;
      });
      for (const node of nodes) {
        if (node === leader || node === follower) continue;
        this.#machines.crashSoon(node, 200 + random.number() * 500);
        node.slownessMs = random.pick([5, 400, 800]);
      }
      scheduler.after(5000, () => {
        this.#witness = null;
        for (const node of nodes) node.slownessMs = 0;
      });
    }
    return Array.from({ length: LATE_COPIES }, () => 1500 + random.number() * 3000);
  }

  contest(from: SimNode, accept: Accept): void {
    const { scheduler, injections } = this.#scene;
    if (!injections.strike('contest', from.name)) return;
    this.#contest = { first: from, ballot: ballotName(accept.ballot), second: null };
    scheduler.after(CONTEST_MS, () => {
      this.#contest = null;
    });
    this.#cuts.isolate(from, null);
  }

  /** The next leader's first value is accepted all around, and before it hears so it is cut off, too; the one before comes back. */
  #goOnContesting(contest: Contest, from: SimNode, { message }: Outgoing): readonly number[] | null {
    if (message.type === 'accept' && contest.second === null && ballotName(message.ballot) !== contest.ballot) {
      if (from === contest.first) return null;
      contest.second = from;
      this.#scene.people.flurry(from, 3);
    } else if (message.type === 'accepted' && contest.second !== null && message.ballot.peer === contest.second.peer) {
      const { second } = contest;
      if (!this.#cuts.isAlone(second)) this.#scene.scheduler.after(0, () => this.#cuts.isolate(second, null));
      return [];
    }
    return null;
  }

  /** A proposal is lost to everybody, the next ones are not, and the leader is gone before it says it again. */
  hole(from: SimNode): readonly number[] | null {
    const { random, scheduler, people, injections } = this.#scene;
    if (!injections.strike('hole', from.name)) return null;
    people.flurry(from, 6);
    scheduler.after(20 + random.number() * HOLE_MS_MAX, () => {
      if (!this.#scene.isOver) this.#cuts.isolate(from, null);
    });
    return [];
  }

  /** One leader after the other is cut off in the middle of its work, and the one before comes back. */
  roll(leader: () => SimNode): void {
    if (this.#scene.isOver) return;
    const { random, scheduler, people, nodes } = this.#scene;
    scheduler.after(1800 + random.number() * 2000, () => this.roll(leader));
    if (this.isUnderWay) return;
    const node = leader();
    people.flurry(node, 3 + random.below(8));
    scheduler.after(random.number() * (20 + roundTripMs(this.#scene)), () => {
      if (!this.#scene.isOver) this.#cuts.isolate(node, random.chance(0.5) ? random.pick(nodes) : null);
    });
  }
}
