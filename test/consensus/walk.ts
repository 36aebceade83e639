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
  /** Time passes for all alike and messages take random times, so that elections run as in life; else everything moves one by one. */
  readonly timed?: boolean;
  /** False leaves out the liveness check at the end. */
  readonly live?: boolean;
}

const SETS = ['A', 'AB', 'ABC', 'BCD', 'ACE', 'ABCDE', 'CDE', 'ABD', 'BE', 'AbC', 'DE', 'E'];

/**
 * One short life of a small group under everything that can go wrong at once: loss, duplicates, any order, crashes with and without a hung disk,
 * partitions, duels, handovers, changes of voters. The checkers watch. At the end all is mended, and the group must go on.
 */
export function walk({ seed, steps = 400, weaken, make, timed = false, live = true }: Walk): Lab {
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
    [timed ? 0 : 4, () => campaign(random.pick(up()))],
    [3, () => reconfigure()],
    [1, () => someLeader((name) => lab.input(name, { type: 'hand-over', to: null }))],
    [1, () => up().length > 0 && lab.barrier(random.pick(up()), next++)],
    [2, () => lab.crash(random.pick(lab.names))],
    [1, () => wipe(random.pick(lab.names))],
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
  function reconfigure(): void {
    const to = random.pick(SETS).replace(/[A-Z]/gi, (letter) => letter + generation(letter.toUpperCase()));
    someLeader((name) => lab.reconfigure(name, to));
  }
  function generation(name: string): string {
    const { generation } = lab.host(name);
    return generation > 1 ? `'${generation}` : '';
  }
  /** Only as many stores are lost as leave a quorum in every configuration that still matters. */
  function wipe(name: string): void {
    const { checkers } = lab;
    const { peer } = lab.host(name);
    // What the others hold for certain; a slot after that may be chosen already, and only its voters know.
    const held = Math.max(...lab.names.filter((other) => other !== name).map((other) => lab.host(other).disk.prefix));
    const matter = checkers.configurations.slice(checkers.configurations.indexOf(checkers.governing(held + 1)));
    const bearable = matter.every(({ configuration: c }) => {
      const sound = c.voters.filter((v) => v.peer !== peer && lab.host(nameOf(v.peer)).incarnation === v.incarnation);
      const able = sound.some((v) => !v.witness);
      return able && sound.length >= Math.max(c.q1, c.q2);
    });
    if (bearable && !checkers.isChangePending) lab.wipe(name);
  }
  function restartOne(): void {
    const down = lab.names.filter((name) => lab.host(name).core === null);
    if (down.length > 0) lab.restart(random.pick(down));
  }

  function unhangAll(): void {
    for (const name of lab.names) if (lab.host(name).hung) lab.unhang(name);
  }

  /** A tick of everybody's clock; what is in the bag arrives, waits or is lost. */
  function pass(): void {
    const isRough = random.chance(0.3);
    for (const name of lab.names) lab.input(name, { type: 'tick' });
    for (const e of [...lab.bag]) {
      if (random.chance(isRough ? 0.4 : 0.9)) lab.deliverOne(e);
      else if (random.chance(0.1)) lab.bag.splice(lab.bag.indexOf(e), 1);
    }
  }

  try {
    lab.tick(10);
    for (let i = 0; i < steps; i++) {
      if (timed) pass();
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
