import { describe, expect, test } from 'vitest';
import { Random } from '../../shared/base/random.ts';
import { TICK_MS } from '../../shared/consensus/constants.ts';
import { HASTY, QuietGroup } from './quiet-group.ts';

const STEADY_S = (HASTY.steadyTicks * TICK_MS) / 1000;
const GONE_S = (HASTY.goneTicks * TICK_MS) / 1000;
const REIGN_S = (HASTY.reignTicks * TICK_MS) / 1000;
const REST_MS = HASTY.restTicks * TICK_MS;
/** For elections, changes and their α slots. */
const MOMENT_S = 5;
const SETTLED_S = STEADY_S + MOMENT_S;

describe('votes by policy', () => {
  test.each([
    [1, 0, '0'],
    [2, 0, '0'],
    [3, 0, '012'],
    [4, 0, '012'],
    [6, 0, '012'],
    [5, 5, '01234'],
    [7, 7, '01234'],
  ])('%i machines, %i of which stay on', (count, stayOn, voters) => {
    const group = new QuietGroup(count, { stayOn });
    group.run(SETTLED_S);
    expect(group.voters).toBe(voters);
    expect(group.at(group.leader).voting()).toEqual({ policy: true, next: null });
  });

  test('machines that stay on take over, votes and leadership', () => {
    const group = new QuietGroup(5, { stayOn: 3 });
    group.run(SETTLED_S);
    expect(group.voters).toBe('234');
    expect([2, 3, 4]).toContain(group.leader);
  });

  test('nobody gets a vote before it was here for long enough, without a break', () => {
    const group = new QuietGroup(3);
    group.run(STEADY_S - 3);
    group.cut(2);
    group.run(2);
    group.join(2);
    group.run(3);
    expect(group.voters).toBe('0');
    expect(group.at(0).voting().next).toMatchObject({
      voters: [group.peer(0), group.peer(1), group.peer(2)],
      joins: [group.peer(1), group.peer(2)],
      why: 'more',
      waitsFor: { for: 'steady', peers: [group.peer(2)] },
    });
    group.run(SETTLED_S);
    expect(group.voters).toBe('012');
    // Never through two: one change names all of them.
    expect(group.seen.map(({ voters }) => voters)).toEqual(['0', '012']);
  });

  test('a voter that is gone is replaced after a day, if there is somebody', () => {
    const group = new QuietGroup(4);
    group.run(SETTLED_S);
    const away = [1, 2].find((i) => i !== group.leader) as number;
    group.cut(away);
    group.run(GONE_S - MOMENT_S);
    expect(group.voters).toBe('012');
    group.run(2 * MOMENT_S);
    expect(group.voters).toBe([0, 1, 2, 3].filter((i) => i !== away).join(''));
    group.join(away);
    group.run(SETTLED_S);
    expect(group.voters).toBe([0, 1, 2, 3].filter((i) => i !== away).join(''));
  });

  test('without anybody to take its place it keeps its vote', () => {
    const group = new QuietGroup(3);
    group.run(SETTLED_S);
    const away = [1, 2].find((i) => i !== group.leader) as number;
    group.cut(away);
    group.run(GONE_S + SETTLED_S);
    expect(group.voters).toBe('012');
  });

  test('a peer that has just started leaves the voters alone, but for what people do', () => {
    const group = new QuietGroup(4);
    group.run(SETTLED_S);
    for (const node of group.nodes) node.crash(false);
    for (const node of group.nodes) node.start();
    group.run(3);
    const other = [0, 1, 2].find((i) => i !== group.leader) as number;
    group.write(group.leader, { kind: 'pinRole', peer: group.peer(other), role: 'learner' });
    group.run(1);
    const rest = [0, 1, 2].filter((i) => i !== other).join('');
    expect(group.voters).toBe(rest);
    group.run(SETTLED_S);
    expect(group.voters).toBe(`${rest}3`);
  });
});

describe('going away', () => {
  test('hands the vote over, and the leadership', () => {
    const group = new QuietGroup(4);
    group.run(SETTLED_S);
    const { leader } = group;
    group.write(leader, { kind: 'away', isAway: true, untilMs: null });
    group.run(MOMENT_S);
    expect(group.leader).not.toBe(leader);
    expect(group.voters).toBe([0, 1, 2, 3].filter((i) => i !== leader).join(''));
    group.write(leader, { kind: 'away', isAway: false, untilMs: null });
    group.run(SETTLED_S);
    expect(group.voters).toBe([0, 1, 2, 3].filter((i) => i !== leader).join(''));
  });

  test('the only voter hands over to the one that is there', () => {
    const group = new QuietGroup(2);
    group.run(SETTLED_S);
    group.write(0, { kind: 'away', isAway: true, untilMs: null });
    group.run(MOMENT_S);
    expect([group.leader, group.voters]).toEqual([1, '1']);
  });

  test('with nobody to take the vote, only the leadership moves', () => {
    const group = new QuietGroup(3);
    group.run(SETTLED_S);
    const { leader } = group;
    group.write(leader, { kind: 'away', isAway: true, untilMs: null });
    group.run(MOMENT_S);
    expect(group.voters).toBe('012');
    expect(group.leader).not.toBe(leader);
  });

  test('until then: by the leader’s clock it is over by itself', () => {
    const group = new QuietGroup(4);
    group.run(SETTLED_S);
    const other = [0, 1, 2].find((i) => i !== group.leader) as number;
    // Over before it began: nothing moves.
    group.write(other, { kind: 'away', isAway: true, untilMs: group.clockMs(group.leader) - 1 });
    group.run(MOMENT_S);
    expect(group.voters).toBe('012');
    group.write(other, { kind: 'away', isAway: true, untilMs: group.clockMs(group.leader) + 60_000 });
    group.run(MOMENT_S);
    expect(group.voters).toBe([0, 1, 2, 3].filter((i) => i !== other).join(''));
  });
});

describe('by hand', () => {
  test('a pinned voter gets its vote without delay, and the number that comes of it stays', () => {
    const group = new QuietGroup(2);
    group.write(0, { kind: 'pinRole', peer: group.peer(1), role: 'voter' });
    group.run(MOMENT_S);
    expect(group.voters).toBe('01');
    group.run(2 * SETTLED_S);
    expect(group.voters).toBe('01');
    expect(group.at(0).voting().next).toBeNull();
  });

  test('a pinned voter that is away is waited for', () => {
    const group = new QuietGroup(2);
    group.cut(1);
    group.run(3);
    group.write(0, { kind: 'pinRole', peer: group.peer(1), role: 'voter' });
    group.run(1);
    expect(group.at(0).voting().next).toMatchObject({
      joins: [group.peer(1)],
      why: 'hand',
      waitsFor: { for: 'here', peers: [group.peer(1)] },
    });
    group.join(1);
    group.run(MOMENT_S);
    expect(group.voters).toBe('01');
  });

  test('a leader that is removed hands over, and its vote goes to whoever is there', () => {
    const group = new QuietGroup(4);
    group.run(SETTLED_S);
    const { leader } = group;
    group.write(leader, { kind: 'expel', peer: group.peer(leader) });
    group.run(MOMENT_S);
    expect(group.leader).not.toBe(leader);
    expect(group.voters).toBe([0, 1, 2, 3].filter((i) => i !== leader).join(''));
  });

  test('quorum sizes are brought in line, as long as there are so many voters', () => {
    const group = new QuietGroup(4, { stayOn: 4 });
    group.run(SETTLED_S);
    const sizes = (): unknown => {
      const { q1, q2, voters } = group.at(group.leader).inspect().configuration.configuration;
      return [voters.length, q1, q2];
    };
    group.write(group.leader, { kind: 'quorum', voters: 3, phase1: 1, phase2: 3 });
    group.run(MOMENT_S);
    expect(sizes()).toEqual([3, 1, 3]);
    group.write(group.leader, { kind: 'pinRole', peer: group.peer(3), role: 'voter' });
    group.run(MOMENT_S);
    expect(sizes()).toEqual([4, 3, 3]);
    group.write(group.leader, { kind: 'pinRole', peer: group.peer(3), role: 'learner' });
    group.run(MOMENT_S);
    expect(sizes()).toEqual([3, 1, 3]);
    group.write(group.leader, { kind: 'quorum', voters: 3, phase1: null, phase2: null });
    group.run(MOMENT_S);
    expect(sizes()).toEqual([3, 2, 2]);
  });
});

describe('who leads', () => {
  /** Three pinned voters, the last machine of which stays on. */
  function three(): QuietGroup {
    const group = new QuietGroup(3, { stayOn: 1 });
    for (const i of [0, 1, 2]) group.write(0, { kind: 'pinRole', peer: group.peer(i), role: 'voter' });
    group.run(3);
    return group;
  }

  test('a machine that stays on, in the end', () => {
    const group = three();
    group.run(REIGN_S + SETTLED_S);
    expect(group.leader).toBe(2);
    group.at(1).askToLead(group.peer(1));
    group.run(2);
    expect(group.leader).toBe(1);
    // What a person asked for is not undone at once.
    group.run(REIGN_S - 3);
    expect(group.leader).toBe(1);
    group.run(MOMENT_S);
    expect(group.leader).toBe(2);
  });

  test('on a stop it is preferred, too', () => {
    const group = three();
    expect(group.leader).toBe(0);
    group.at(0).handOver(null);
    group.run(1);
    expect(group.leader).toBe(2);
  });

  test('a keeper says so, and nobody else', () => {
    const group = new QuietGroup(3);
    group.run(SETTLED_S);
    const { leader } = group;
    const other = [0, 1, 2].find((i) => i !== leader) as number;
    group.write(leader, { kind: 'rights', peer: group.peer(other), rights: 'writer' });
    group.run(1);
    group.at(other).askToLead(group.peer(other));
    group.run(2);
    expect(group.leader).toBe(leader);
    group.write(leader, { kind: 'rights', peer: group.peer(other), rights: 'keeper' });
    group.run(1);
    group.at(other).askToLead(group.peer(other));
    group.run(2);
    expect(group.leader).toBe(other);
  });
});

test.each([1, 2, 3])(
  'whoever comes and goes, it is never an even number, and one change at a time (seed %i)',
  (seed) => {
    const random = new Random(seed);
    const group = new QuietGroup(7, { seed, stayOn: random.below(2) * 5 });
    group.run(SETTLED_S);
    const out = new Set<number>();
    for (let round = 0; round < 25; round++) {
      const i = random.below(7);
      const voters = group.leader < 0 ? '' : group.voters;
      // A minority of the voters at a time, so that the group can go on.
      const absent = [...out].filter((each) => voters.includes(String(each))).length;
      if (out.has(i)) {
        group.join(i);
        out.delete(i);
      } else if (!voters.includes(String(i)) || absent + 1 <= (voters.length - 1) / 2) {
        group.cut(i);
        out.add(i);
      }
      group.run(random.pick([0.5, 2, STEADY_S, SETTLED_S]));
    }
    group.join(0, 1, 2, 3, 4, 5, 6);
    group.run(SETTLED_S);
    for (const { voters } of group.seen) expect([1, 3, 5]).toContain(voters.length);
    const gaps = group.seen.slice(1).map(({ atMs }, i) => atMs - (group.seen[i]?.atMs ?? 0));
    for (const gap of gaps) expect(gap).toBeGreaterThanOrEqual(REST_MS);
    // With less than a day between, everybody who votes goes on: nothing flaps.
    const { length } = group.seen;
    group.run(4 * SETTLED_S);
    expect(group.seen.length).toBe(length);
    expect(group.at(group.leader).voting().next).toBeNull();
  },
  30_000,
);
