import { describe, expect, test } from 'vitest';
import { slot } from '../../shared/base/ids.ts';
import { Random } from '../../shared/base/random.ts';
import { BACKOFF_TICKS, STALL_TICKS, SUSPICION_TICKS } from '../../shared/consensus/constants.ts';
import { Lab } from './lab.ts';
import { ballot, peerOf } from './names.ts';

// R11. Quorum-connected election, after Omni-Paxos' ballot leader election; the partitions are the ones of its paper, §2 and §5.2.

/** Silence is noticed, then one backoff, then a few messages. */
const FAILOVER_TICKS = SUSPICION_TICKS + BACKOFF_TICKS + 10;

function group(voters: string, seed = 1, learners = ''): Lab {
  const random = new Random(seed);
  return new Lab({ voters, learners, random: () => random.number() });
}

const elections = (lab: Lab): number => lab.log.filter((line) => / leads /.test(line)).length;

/** Exactly one of `able` leads, and what it proposes is committed on `everywhere`. */
function expectLeader(lab: Lab, able: string, everywhere: string, within = 4 * FAILOVER_TICKS): string {
  const text = `v${lab.log.length}`;
  lab.tickUntil(() => {
    const leader = lab.leaders.find((name) => able.includes(name) && !lab.host(name).hung);
    if (leader !== undefined && !lab.committed(leader).includes(text)) lab.propose(leader, text);
    return [...everywhere].every((name) => lab.committed(name).includes(text));
  }, within);
  const leaders = lab.leaders.filter((name) => able.includes(name) && !lab.host(name).hung);
  expect(leaders).toHaveLength(1);
  return leaders[0] as string;
}

describe('a first leader', () => {
  test.each(['A', 'AB', 'ABC', 'ABCDE'])('is found among %s', (voters) => {
    const lab = group(voters);
    expect(lab.tickUntil(() => lab.leaders.length > 0, FAILOVER_TICKS)).toBeLessThanOrEqual(FAILOVER_TICKS);
    expectLeader(lab, voters, voters);
  });

  test('of a group of one does not wait', () => {
    const lab = group('A');
    lab.tick();
    expect(lab.leaders).toEqual(['A']);
  });

  test('is known to learners', () => {
    const lab = group('ABC', 1, 'D');
    const leader = expectLeader(lab, 'ABC', 'ABCD');
    lab.tick(10);
    expect(lab.view('D').leader).toBe(peerOf(leader));
  });

  test('is never a learner or a witness', () => {
    const lab = group('Abc', 3, 'D');
    expectLeader(lab, 'A', 'AD');
    lab.crash('A');
    lab.tick(10 * FAILOVER_TICKS);
    expect(lab.leaders).toEqual([]);
  });

  test('is never one whose store is damaged', () => {
    const lab = group('ABC');
    lab.crash('A', 'B', 'C');
    lab.host('C').votes = false;
    lab.restart('A', 'B', 'C');
    expectLeader(lab, 'AB', 'ABC');
    expect(lab.view('C').votes).toBe(false);
    expect(lab.log.some((line) => /^C>. (promise|accepted|prepare)/.test(line))).toBe(false);
  });

  test('is not one that may not lead', () => {
    const lab = group('ABC');
    for (const name of 'AC') lab.input(name, { type: 'may-lead', may: false });
    expectLeader(lab, 'B', 'ABC');
  });
});

describe('after the leader', () => {
  /** Whoever has a connection to `gone` sees it close. */
  const close = (lab: Lab, gone: string, ...seenBy: string[]): void => {
    for (const name of seenBy) lab.input(name, { type: 'connection', peer: peerOf(gone), connected: false });
  };

  test('ended, and its connections with it, another one leads long before its silence would have told', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const lab = group('ABC', seed);
      const leader = expectLeader(lab, 'ABC', 'ABC');
      const others = [...'ABC'].filter((name) => name !== leader);
      lab.crash(leader);
      close(lab, leader, ...others);
      const took = lab.tickUntil(() => others.some((name) => lab.leaders.includes(name)), SUSPICION_TICKS);
      expect(took).toBeLessThan(SUSPICION_TICKS);
    }
  });

  test('lost one connection that comes back at once, or that only one of the others had, it leads on', () => {
    const lab = group('ABC', 5);
    const leader = expectLeader(lab, 'ABC', 'ABC');
    const [one, other] = [...'ABC'].filter((name) => name !== leader) as [string, string];
    const before = elections(lab);
    for (const name of [one, other]) {
      close(lab, leader, name);
      lab.tick(3);
      lab.input(name, { type: 'connection', peer: peerOf(leader), connected: true });
      lab.tick(FAILOVER_TICKS);
    }
    // Its heartbeats still come to the other one, and by another way to this one.
    close(lab, leader, one);
    lab.tick(FAILOVER_TICKS);
    expect(elections(lab)).toBe(before);
    expect(lab.leaders).toEqual([leader]);
  });

  test('crashed, another one leads within silence and backoff', () => {
    const lab = group('ABC');
    const first = expectLeader(lab, 'ABC', 'ABC');
    lab.crash(first);
    const ticks = lab.tickUntil(() => lab.leaders.length > 0, FAILOVER_TICKS);
    expect(ticks).toBeGreaterThanOrEqual(SUSPICION_TICKS - 2);
    const rest = lab.names.filter((name) => name !== first).join('');
    expectLeader(lab, rest, rest);
  });

  test('restarted quickly, there is a leader under a new ballot', () => {
    const lab = group('ABC');
    const first = expectLeader(lab, 'ABC', 'ABC');
    const before = lab.view(first).ballot?.round as number;
    lab.crash(first);
    lab.restart(first);
    const next = expectLeader(lab, 'ABC', 'ABC');
    expect(lab.view(next).ballot?.round).toBeGreaterThan(before);
  });

  test("'s disk hung, it falls silent and another one leads", () => {
    const lab = group('ABC');
    const first = expectLeader(lab, 'ABC', 'ABC');
    lab.hang(first);
    const rest = lab.names.filter((name) => name !== first).join('');
    lab.tickUntil(() => lab.leaders.some((name) => name !== first), FAILOVER_TICKS);
    expectLeader(lab, rest, rest);
    lab.unhang(first);
    lab.tick(5);
    expect(lab.leaders).toHaveLength(1);
    expectLeader(lab, rest, 'ABC');
  });

  test('lost its quorum, it steps down and takes no more values', () => {
    const lab = group('ABC');
    const first = expectLeader(lab, 'ABC', 'ABC');
    lab.cut(`${first}-ABC`);
    lab.tick(SUSPICION_TICKS + 1);
    expect(lab.leaders).not.toContain(first);
    expect(lab.core(first).room()).toBe(0);
  });

  test('all restarted, the log goes on', () => {
    const lab = group('ABCDE');
    expectLeader(lab, 'ABCDE', 'ABCDE');
    lab.crash(...lab.names);
    lab.restart(...lab.names);
    expectLeader(lab, 'ABCDE', 'ABCDE');
  });

  test('alone is left of two, nothing is committed until the other is back', () => {
    const lab = group('AB');
    expectLeader(lab, 'AB', 'AB');
    lab.crash('B');
    lab.tick(10 * FAILOVER_TICKS);
    expect(lab.leaders).toEqual([]);
    lab.restart('B');
    expectLeader(lab, 'AB', 'AB');
  });
});

describe('partitions of the Omni-Paxos paper', () => {
  test('quorum-loss: all but the hub lose the quorum, so the hub leads', { timeout: 60_000 }, () => {
    for (const seed of [1, 2, 3]) {
      const lab = group('ABCDE', seed);
      const old = expectLeader(lab, 'ABCDE', 'ABCDE');
      const hub = old === 'A' ? 'B' : 'A';
      lab.only(`${hub}-ABCDE`);
      expect(expectLeader(lab, hub, 'ABCDE')).toBe(hub);
      const before = elections(lab);
      lab.tick(500);
      expect(elections(lab)).toBe(before);
    }
  });

  test('constrained: the only one with a quorum has the oldest log, catches up first, and leads', () => {
    const lab = group('ABCDE');
    const old = expectLeader(lab, 'ABCDE', 'ABCDE');
    const hub = old === 'A' ? 'B' : 'A';
    lab.cut(`${hub}-ABCDE`);
    for (let i = 0; i < 20; i++) {
      lab.propose(old, `p${i}`);
      lab.settle();
    }
    expect(lab.core(hub).prefix).toBeLessThan(lab.core(old).prefix);
    // The leader is cut off from everybody, the others from all but the hub.
    lab.only(`${hub}-${lab.names.filter((name) => name !== old).join('')}`);
    const rest = lab.names.filter((name) => name !== old).join('');
    expect(expectLeader(lab, hub, rest)).toBe(hub);
  });

  test('chained: a leader at the end of the chain keeps leading, and the other end does not disturb it', () => {
    const lab = group('ABC');
    lab.elect('A');
    lab.only('A-B', 'B-C');
    const before = elections(lab);
    lab.tick(1000);
    expect(elections(lab)).toBe(before);
    expect(lab.leaders).toEqual(['A']);
    expect(lab.propose('A', 'x')).toBe(true);
    lab.tick(30);
    expect(lab.committed('C')).toContain('x');
  });

  test('chained: five in a row settle on one in the middle', () => {
    const lab = group('ABCDE', 4);
    expectLeader(lab, 'ABCDE', 'ABCDE');
    lab.only('A-B', 'B-C', 'C-D', 'D-E');
    const leader = expectLeader(lab, 'BCD', 'ABCDE', 10 * FAILOVER_TICKS);
    const before = elections(lab);
    lab.tick(500);
    expect(elections(lab)).toBe(before);
    expect(lab.leaders).toEqual([leader]);
  });
});

test('one that lacks what others hold catches up before it tries', () => {
  // B, the second to draw, waits longest; C would be first.
  let draws = 0;
  const lab = new Lab({ voters: 'ABC', random: () => (++draws === 2 ? 0.99 : 0) });
  lab.elect('A');
  lab.cut('A-C');
  lab.propose('A', 'x');
  lab.settle();
  // C can hear that B holds more, but gets nothing of it for now.
  lab.onServe = (_, m) => (m.from > 1 ? null : m);
  lab.tick(4);
  lab.crash('A');
  lab.heal();
  lab.tickUntil(() => lab.leaders.length > 0, FAILOVER_TICKS);
  expect(lab.leaders).toEqual(['B']);
  expect(lab.log.filter((line) => /^C>. prepare/.test(line))).toEqual([]);
});

describe('links that work one way', () => {
  test('from the leader only: it hears nobody, steps down, and another one leads', () => {
    const lab = group('ABC');
    lab.elect('A');
    lab.cut('BC>A');
    expectLeader(lab, 'BC', 'BC');
  });

  test('to the leader only: it is not heard, so it steps down, and another one leads', () => {
    const lab = group('ABC');
    lab.elect('A');
    lab.cut('A>BC');
    expectLeader(lab, 'BC', 'BC');
  });

  test('are none: who is not heard neither leads nor tries to', () => {
    const lab = group('AB');
    lab.elect('A');
    lab.cut('A>B');
    lab.tick(2 * SUSPICION_TICKS + 2);
    expect(lab.leaders).toEqual([]);
    const before = lab.log.length;
    lab.tick(300);
    expect(lab.log.slice(before).filter((line) => / prepare /.test(line))).toEqual([]);
  });

  test('between two followers do no harm', () => {
    const lab = group('ABC');
    lab.elect('A');
    lab.cut('B>C');
    const before = elections(lab);
    lab.tick(500);
    expect(elections(lab)).toBe(before);
  });

  test('from the leader to one of two followers: the group goes on', () => {
    const lab = group('ABC');
    lab.elect('A');
    lab.cut('A>B');
    const before = elections(lab);
    lab.tick(300);
    expectLeader(lab, 'ABC', 'C');
    expect(elections(lab) - before).toBeLessThanOrEqual(1);
  });
});

describe('duels', () => {
  test('with the unluckiest backoff, always the same for all, end', () => {
    const lab = new Lab({ voters: 'ABCDE', random: () => 0 });
    expectLeader(lab, 'ABCDE', 'ABCDE');
  });

  test('where every message takes two ticks and the backoff is random, end', { timeout: 60_000 }, () => {
    for (let seed = 1; seed <= 20; seed++) {
      const random = new Random(seed);
      const lab = new Lab({ voters: 'ABCDE', random: () => random.number() });
      const follow = (): boolean => lab.names.every((name) => lab.view(name).leader === peerOf(lab.leaders[0] ?? 'Z'));
      const ticks = slowly(lab, 2, 400, () => follow() && lab.names.every((name) => lab.core(name).prefix > 0));
      expect(ticks, `seed ${seed}`).toBeLessThan(400);
    }
  });

  test('two that try at once: the higher ballot wins, the other one yields', () => {
    const lab = new Lab({ voters: 'ABC' });
    lab.tick(10);
    lab.campaign('A');
    lab.campaign('B');
    lab.settle();
    expect(lab.leaders).toEqual(['B']);
    expect(lab.view('A').leader).toBe(peerOf('B'));
  });
});

/** Messages arrive `delay` ticks after they were sent. Returns how many ticks passed. */
function slowly(lab: Lab, delay: number, max: number, until: () => boolean): number {
  const due: number[] = [];
  let now = 0;
  for (; now < max && !until(); now++) {
    for (const name of lab.names) lab.input(name, { type: 'tick' });
    due.push(...new Array<number>(lab.bag.length - due.length).fill(now + delay));
    while (due.length > 0 && (due[0] as number) <= now) {
      due.shift();
      lab.deliverOne(lab.bag[0] as (typeof lab.bag)[0]);
      due.push(...new Array<number>(lab.bag.length - due.length).fill(now + delay));
    }
  }
  return now;
}

describe('stability', () => {
  test('no needless election over 10,000 ticks with 30 % of the heartbeats lost', { timeout: 60_000 }, () => {
    const random = new Random(7);
    const lab = new Lab({ voters: 'ABC', random: () => random.number(), encoded: false });
    expectLeader(lab, 'ABC', 'ABC');
    const before = elections(lab);
    lab.loses = (e) => e.message.type === 'heartbeat' && random.chance(0.3);
    lab.tick(10_000);
    expect(elections(lab)).toBe(before);
  });

  test('a link that flaps does not dethrone a leader that keeps its quorum', () => {
    const lab = group('ABC');
    lab.elect('A');
    const before = elections(lab);
    for (let i = 0; i < 30; i++) {
      lab.cut('A-B');
      lab.tick(37);
      lab.heal();
      lab.tick(11);
    }
    expect(lab.leaders).toEqual(['A']);
    expect(elections(lab)).toBe(before);
  });

  test('one that comes back after a long absence does not disturb', () => {
    const lab = group('ABC');
    lab.elect('A');
    lab.cut('C-AB');
    lab.tick(400);
    lab.propose('A', 'x');
    const before = elections(lab);
    lab.heal();
    lab.tick(200);
    expect(elections(lab)).toBe(before);
    expect(lab.committed('C')).toContain('x');
  });

  test('a voter refuses to promise while it, or a neighbour, hears a leader', () => {
    const lab = group('ABC');
    lab.elect('A');
    lab.tick(4);
    lab.cut('A>C');
    lab.tick(SUSPICION_TICKS + 5);
    lab.heal();
    // C hears of A through B only; B refuses it although its ballot is higher.
    lab.post(
      'C',
      'B',
      {
        type: 'prepare',
        ballot: ballot('99.C'),
        configuration: lab.view('B').configuration.slot,
        slot: lab.view('B').window[0]?.from ?? lab.view('B').configuration.from,
        transferFrom: null,
      },
      lab.host('C').incarnation,
    );
    lab.deliver('C>B prepare');
    const answer = lab.select('B>C nack');
    expect(answer).toHaveLength(1);
    expect(answer[0]?.message).toMatchObject({ reason: 'leader' });
  });

  test('a heartbeat of another store under the same name does not count for the voter that is gone', () => {
    const lab = group('ABC');
    lab.elect('A');
    lab.crash('A');
    lab.wipe('B');
    lab.tick(10 * FAILOVER_TICKS);
    expect(lab.leaders).toEqual([]);
    expect(lab.view('C').reachable).toBe(1);
    expect(lab.log.filter((line) => /^C writes promise/.test(line))).toHaveLength(1);
  });

  test('somebody who claims a longer log and never serves it does not keep the others from leading', () => {
    const lab = group('ABC');
    lab.elect('C');
    // C alone knows that slot 2 is chosen; then its store is damaged, and what it holds can't be read.
    lab.propose('C', 'x');
    lab.deliver('C>A accept');
    lab.deliver('A>C accepted');
    lab.bag = [];
    expect(lab.core('C').prefix).toBe(2);
    lab.input('C', { type: 'tick' }, { type: 'tick' });
    lab.bag = [];
    lab.crash('C');
    lab.host('C').votes = false;
    lab.onServe = (from, m) => (from === 'C' ? null : m);
    lab.restart('C');
    expect(lab.core('C').prefix).toBe(2);
    expectLeader(lab, 'AB', 'AB', 10 * FAILOVER_TICKS);
    expect(lab.committed('A').slice(0, 2)).toEqual(['noop', 'x']);
  });
});

describe('a leader whose commits stand still', () => {
  test('gives up and lets the others go first', () => {
    const lab = group('ABC');
    lab.elect('A');
    // Heartbeats come through, acceptances do not.
    lab.loses = (e) => e.message.type === 'accepted' && e.to === 'A';
    lab.propose('A', 'x');
    const ticks = lab.tickUntil(() => !lab.leaders.includes('A'), STALL_TICKS + 2);
    expect(ticks).toBeGreaterThanOrEqual(STALL_TICKS - 1);
    expect(expectLeader(lab, 'BC', 'BC')).not.toBe('A');
    expect(lab.committed('B')).toContain('x');
  });

  test('is not one that merely has nothing to do', () => {
    const lab = group('ABC');
    lab.elect('A');
    lab.tick(5 * STALL_TICKS);
    expect(lab.leaders).toEqual(['A']);
  });
});

describe('handing over', () => {
  test('goes to the one wished for, at once, without an interregnum', () => {
    const lab = group('ABC');
    lab.elect('A');
    lab.tick(4);
    lab.input('A', { type: 'hand-over', to: peerOf('C') });
    lab.settle();
    expect(lab.leaders).toEqual(['C']);
    lab.tick(200);
    expect(lab.leaders).toEqual(['C']);
  });

  test('goes to the best where nobody is named', () => {
    const lab = group('ABC');
    lab.elect('A');
    lab.cut('A-B');
    lab.propose('A', 'x');
    lab.settle();
    lab.heal();
    lab.tick(2);
    lab.input('A', { type: 'hand-over', to: null });
    lab.settle();
    expect(lab.leaders).toHaveLength(1);
    expect(lab.leaders[0]).not.toBe('A');
  });

  test('waits for what is in flight and takes nothing new', () => {
    const lab = group('ABC');
    lab.elect('A');
    lab.tick(4);
    lab.propose('A', 'x');
    lab.input('A', { type: 'hand-over', to: peerOf('B') });
    expect(lab.core('A').room()).toBe(0);
    expect(lab.select('A>B transfer')).toHaveLength(0);
    lab.settle();
    lab.tick();
    expect(lab.leaders).toEqual(['B']);
    expect(lab.committed('B')).toContain('x');
  });

  test('without anybody to take over changes nothing', () => {
    const lab = group('A');
    lab.electByTime();
    lab.input('A', { type: 'hand-over', to: null });
    lab.tick(2);
    expect(lab.leaders).toEqual(['A']);
    expect(lab.propose('A', 'x')).toBe(true);
  });

  test('to somebody who died meanwhile does not leave the group without a leader', () => {
    const lab = group('ABC');
    lab.elect('A');
    lab.tick(4);
    lab.input('A', { type: 'hand-over', to: peerOf('B') });
    lab.crash('B');
    lab.settle();
    expectLeader(lab, 'AC', 'AC');
  });

  test('that loses its successor half-way is given up', () => {
    const lab = group('ABC');
    lab.elect('A');
    lab.tick(4);
    // B is gone, which A notices only in the middle of handing over to it; something stays in flight meanwhile.
    lab.crash('B');
    lab.tick(SUSPICION_TICKS - 8);
    lab.loses = (e) => e.message.type === 'accepted';
    lab.propose('A', 'x');
    lab.input('A', { type: 'hand-over', to: peerOf('B') });
    expect(lab.core('A').room()).toBe(0);
    lab.tick(12);
    lab.loses = () => false;
    expect(expectLeader(lab, 'AC', 'AC', 20)).toBe('A');
  });

  test('while it lasts does not keep anybody from leading', () => {
    const lab = group('ABC');
    lab.elect('A');
    lab.tick(4);
    lab.loses = (e) => e.message.type === 'accepted';
    lab.propose('A', 'x');
    lab.input('A', { type: 'hand-over', to: peerOf('B') });
    lab.tick(6);
    expect(lab.view('A').leads).toBe(true);
    const prepare = {
      type: 'prepare' as const,
      ballot: ballot('9.C'),
      configuration: slot(0),
      slot: slot(2),
      transferFrom: null,
    };
    lab.input('A', { type: 'message', from: peerOf('C'), incarnation: lab.host('C').incarnation, message: prepare });
    expect(lab.select('A>C promise')).toHaveLength(1);
  });

  test('is refused by a damaged store, a witness and a stranger', () => {
    const lab = new Lab({ voters: 'ABc', learners: 'D' });
    lab.crash('B');
    lab.host('B').votes = false;
    lab.restart('B');
    lab.tick(2);
    for (const name of 'BCD') lab.campaign(name, 'A');
    expect(lab.log.filter((line) => / prepare /.test(line))).toEqual([]);
  });
});
