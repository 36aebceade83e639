import { Random } from '../../shared/base/random.ts';
import { Violation } from './checkers.ts';
import { Lab, type LabInit } from './lab.ts';
import { nameOf } from './names.ts';

export interface Walk {
  readonly seed: number;
  readonly steps?: number;
  /** Changed before the first step: planted faults. */
  readonly weaken?: (lab: Lab) => void;
  readonly make?: LabInit['make'];
  /** False leaves out the liveness check at the end. */
  readonly live?: boolean;
}

const SETS = ['A', 'AB', 'ABC', 'BCD', 'ACE', 'ABCDE', 'CDE', 'ABD', 'BE', 'AbC', 'DE', 'E'];

/**
 * One short life of a small group under everything that can go wrong at once: loss, duplicates, any order, crashes with and without a hung disk,
 * partitions, duels, handovers, changes of voters. The checkers watch. At the end all is mended, and the group must go on.
 */
export function walk({ seed, steps = 400, weaken, make, live = true }: Walk): Lab {
  const random = new Random(seed);
  const first = random.pick(['ABC', 'ABC', 'ABCDE', 'AB', 'ABC', 'A', 'AbC']);
  const lab = new Lab({
    voters: first,
    learners: [...'ABCDE'].filter((name) => !first.toUpperCase().includes(name)).join(''),
    alpha: random.pick([1, 2, 3, 4, 8]),
    chunk: random.pick([1, 2, 100]),
    encoded: false,
    random: () => random.number(),
    ...(make ? { make } : {}),
  });
  weaken?.(lab);
  let next = 0;
  const up = (): string[] => lab.names.filter((name) => lab.host(name).core !== null);
  const beats = (): void => {
    // Heartbeats would drown the rest, so most of them are taken out of the bag.
    if (lab.bag.length > 60) lab.bag = lab.bag.filter((e) => e.message.type !== 'heartbeat' || random.chance(0.2));
    while (lab.bag.length > 200) lab.bag.splice(random.below(lab.bag.length), 1);
  };

  const acts: readonly (readonly [number, () => void])[] = [
    [60, () => lab.bag.length > 0 && lab.deliverOne(random.pick(lab.bag))],
    [15, () => lab.bag.length > 0 && lab.deliverOne(lab.bag[0] as (typeof lab.bag)[0])],
    [8, () => void lab.bag.splice(random.below(Math.max(1, lab.bag.length)), 1)],
    [4, () => lab.bag.length > 0 && lab.bag.push(random.pick(lab.bag))],
    [10, () => lab.input(random.pick(lab.names), { type: 'tick' })],
    [2, () => lab.tick(random.below(12))],
    [2, () => lab.settle()],
    [6, () => someLeader((name) => lab.propose(name, `v${next++}`))],
    [4, () => campaign(random.pick(up()))],
    [3, () => someLeader((name) => lab.reconfigure(name, random.pick(SETS)))],
    [1, () => someLeader((name) => lab.input(name, { type: 'hand-over', to: null }))],
    [1, () => up().length > 0 && lab.barrier(random.pick(up()), next++)],
    [2, () => lab.crash(random.pick(lab.names))],
    [5, () => restartOne()],
    [2, () => lab.cut(`${random.pick(lab.names)}>${random.pick(lab.names)}`)],
    [1, () => lab.cut(`${random.pick(lab.names)}-${random.pick(lab.names)}`)],
    [2, () => lab.heal()],
    [1, () => up().length > 0 && lab.hang(random.pick(up()))],
    [2, () => unhangAll()],
  ];
  const total = acts.reduce((sum, [weight]) => sum + weight, 0);

  function someLeader(what: (name: string) => void): void {
    const leaders = lab.leaders.filter((name) => !lab.host(name).hung);
    if (leaders.length > 0) what(random.pick(leaders));
  }
  function campaign(name: string | undefined): void {
    if (name !== undefined) lab.campaign(name, random.pick(lab.names.filter((other) => other !== name)));
  }
  function restartOne(): void {
    const down = lab.names.filter((name) => lab.host(name).core === null);
    if (down.length > 0) lab.restart(random.pick(down));
  }

  function unhangAll(): void {
    for (const name of lab.names) if (lab.host(name).hung) lab.unhang(name);
  }

  try {
    lab.tick(10);
    for (let i = 0; i < steps; i++) {
      let at = random.below(total);
      const act = acts.find(([weight]) => {
        at -= weight;
        return at < 0;
      });
      act?.[1]();
      beats();
    }
    if (live) recovers(lab);
  } catch (error) {
    throw new Error(
      `seed ${seed}: ${error instanceof Error ? `${error.name}: ${error.message}` : String(error)}\n${lab.describe()}\n${lab.log.slice(-60).join('\n')}`,
      { cause: error },
    );
  }
  return lab;
}

/** Half a minute of good weather. */
const RECOVERY_TICKS = 600;

/** All is mended: a value can be committed within bounded time, and all hold the same. */
export function recovers(lab: Lab): void {
  lab.heal();
  lab.bag = [];
  lab.loses = () => false;
  for (const name of lab.names) {
    const host = lab.host(name);
    if (host.core === null) lab.restart(name);
    else if (host.hung) lab.unhang(name);
  }
  const text = 'after all';
  let ticks = 0;
  for (; ticks < RECOVERY_TICKS; ticks++) {
    lab.tick();
    if (lab.names.every((name) => lab.committed(name).includes(text))) break;
    const [leader, other] = lab.leaders;
    if (leader !== undefined && other === undefined && ticks % 20 === 0) lab.propose(leader, text);
  }
  if (ticks === RECOVERY_TICKS) {
    throw new Violation(`nothing is committed within ${RECOVERY_TICKS} ticks of good weather`);
  }
  lab.tick(60);
  const prefixes = new Set(lab.names.map((name) => lab.core(name).prefix));
  if (prefixes.size > 1) throw new Violation(`prefixes differ: ${[...prefixes]}`);
  const leaders = new Set(lab.names.map((name) => lab.view(name).leader));
  if (leaders.size > 1) throw new Violation(`leaders differ: ${[...leaders].map((p) => (p ? nameOf(p) : '-'))}`);
}
