import { describe, expect, test } from 'vitest';
import { Random } from '../../shared/base/random.ts';
import type { Accept } from '../../shared/consensus/messages.ts';
import { configurationValue, decodeValue } from '../../shared/consensus/value.ts';
import { Lab } from './lab.ts';
import { at, ballot, configuration, hashPayload, peerOf, showVoters, value } from './names.ts';

// R1 and R2: a configuration chosen in s governs from s + α; phase 1 is per configuration; nobody accepts in a configuration's slots before it holds
// everything below them.

function group(voters: string, learners: string, alpha: number, seed = 1): Lab {
  const random = new Random(seed);
  return new Lab({ voters, learners, alpha, random: () => random.number() });
}

const newest = (lab: Lab, name: string): string => showVoters(lab.view(name).configuration.configuration.voters);
const inForce = (lab: Lab, name: string): boolean => lab.core(name).prefix >= lab.view(name).configuration.from;

/** One leader, and it commits something that all of `everywhere` get. */
function commits(lab: Lab, everywhere: string, within = 300): string {
  const text = `v${lab.log.length}`;
  lab.tickUntil(() => {
    for (const name of lab.leaders) if (!lab.committed(name).includes(text)) lab.propose(name, text);
    return [...everywhere].every((name) => lab.committed(name).includes(text));
  }, within);
  return lab.leaders[0] as string;
}

/** The change is made by whoever leads, and an idle group gets to its force by itself. */
function change(lab: Lab, to: string, within = 300): void {
  lab.tickUntil(() => {
    const [leader] = lab.leaders;
    if (leader === undefined) return false;
    if (newest(lab, leader) !== to) lab.reconfigure(leader, to);
    return newest(lab, leader) === to && lab.core(leader).prefix >= lab.view(leader).configuration.from - 1;
  }, within);
}

describe.each([1, 2, 3, 8])('with α = %i', (alpha) => {
  test('a voter is added', () => {
    const lab = group('AB', 'C', alpha);
    lab.electByTime();
    change(lab, 'ABC');
    commits(lab, 'ABC');
    lab.crash(lab.leaders[0] === 'A' ? 'B' : 'A');
    commits(lab, [...lab.names].filter((name) => lab.host(name).core !== null).join(''));
  });

  test('a voter is removed, and is not missed', () => {
    const lab = group('ABC', '', alpha);
    lab.elect('A');
    change(lab, 'AB');
    lab.crash('C');
    commits(lab, 'AB');
  });

  test('a voter is replaced by a learner, and the old one is not missed', () => {
    const lab = group('ABC', 'D', alpha);
    lab.elect('A');
    commits(lab, 'ABCD');
    change(lab, 'ABD');
    lab.crash('C', 'B');
    commits(lab, 'AD');
  });

  test('a store that was lost comes back as another voter (R7)', () => {
    const lab = group('ABC', '', alpha);
    lab.elect('A');
    lab.propose('A', 'x');
    lab.tick(2);
    lab.wipe('C');
    lab.tick(20);
    expect(lab.committed('C')).toContain('x');
    change(lab, "ABC'2");
    lab.crash('B');
    commits(lab, 'AC');
  });

  test('all voters change at once', () => {
    const lab = group('ABC', 'DE', alpha);
    lab.electByTime();
    commits(lab, 'ABCDE');
    change(lab, 'CDE');
    const leader = commits(lab, 'CDE');
    expect('CDE').toContain(leader);
    lab.crash('A', 'B');
    commits(lab, 'CDE');
  });

  test('down to one voter and up again', () => {
    const lab = group('ABC', '', alpha);
    lab.elect('B');
    change(lab, 'B');
    lab.crash('A', 'C');
    commits(lab, 'B');
    lab.restart('A', 'C');
    commits(lab, 'ABC');
    change(lab, 'ABC');
    commits(lab, 'ABC');
  });

  test('the leader is removed, and hands over to one that stays', () => {
    const lab = group('ABC', '', alpha);
    lab.elect('C');
    change(lab, 'AB');
    lab.tickUntil(() => lab.leaders.length === 1 && lab.leaders[0] !== 'C', 10);
    expect(lab.log.filter((line) => / transfer /.test(line))).toHaveLength(1);
    commits(lab, 'ABC');
    expect(lab.log.filter((line) => line.startsWith('C leads'))).toHaveLength(1);
  });

  test('an idle group is carried by no-ops to the slot where the change has force, and no further', () => {
    const lab = group('ABC', 'D', alpha);
    lab.elect('A');
    lab.tick(20);
    lab.reconfigure('A', 'ABD');
    lab.tick(200);
    expect(newest(lab, 'A')).toBe('ABD');
    // Chosen in 2, governs from 2 + α: every slot below that is filled, so that the old voters are done.
    expect(lab.core('A').prefix).toBe(2 + alpha - 1);
    expect(new Set(lab.committed('A').slice(2))).toEqual(new Set(alpha > 1 ? ['noop'] : []));
  });

  test('changes follow each other, and each waits for the one before', () => {
    const lab = group('ABC', 'DE', alpha);
    lab.electByTime();
    commits(lab, 'ABCDE');
    for (const to of ['ABD', 'ADE', 'CDE', 'ABC', 'ABCDE', 'B', 'BDE']) {
      change(lab, to);
      commits(lab, to);
    }
    expect(lab.checkers.configurations.map((c) => showVoters(c.configuration.voters)).slice(1)).toEqual([
      'ABD',
      'ADE',
      'CDE',
      'ABC',
      'ABCDE',
      'B',
      'BDE',
    ]);
  });

  test('values in flight across the border are committed, and the own acceptor takes its part', () => {
    const lab = group('ABC', 'D', alpha);
    lab.elect('A');
    lab.tick(20);
    lab.reconfigure('A', 'AD');
    lab.deliver('A>BC accept');
    lab.deliver('BC>A accepted');
    // Slot 2 is chosen, and D promises for the new configuration while the old one's slots are still open.
    lab.loses = (e) => e.message.type === 'accepted' && 'BC'.includes(e.from);
    for (let i = 0; i < alpha + 4; i++) {
      lab.propose('A', `x${i}`);
      lab.tick(1);
    }
    lab.loses = () => false;
    // Two of two must accept then: the leader's own acceptor is one of them.
    lab.tickUntil(() => {
      lab.propose('A', 'after');
      return inForce(lab, 'A');
    }, 25);
    lab.tick(20);
    expect(lab.view('A').inFlight).toBe(0);
    expect(lab.log.filter((line) => / leads /.test(line))).toHaveLength(1);
  });

  test('down to the leader alone under load, nothing stands still', () => {
    const lab = group('ABC', '', alpha);
    lab.elect('A');
    lab.tick(10);
    lab.reconfigure('A', 'A');
    for (let i = 0; i < 2 * alpha; i++) {
      lab.propose('A', `x${i}`, `y${i}`);
      lab.settle();
    }
    lab.tick(3);
    expect(inForce(lab, 'A')).toBe(true);
    expect(lab.view('A').inFlight).toBe(0);
    expect(lab.leaders).toEqual(['A']);
  });

  test('the leader crashes in the middle of a change; accepted but unchosen, it binds the next leader', () => {
    const lab = group('ABC', 'D', alpha);
    lab.elect('A');
    lab.tick(20);
    lab.reconfigure('A', 'ABD');
    lab.deliver('A>B accept');
    lab.bag = [];
    lab.crash('A');
    expect(lab.checkers.chosenIn(2)).toBe('{ABD after 0}');
    lab.campaign('C', 'A');
    lab.deliver('C>B prepare');
    lab.deliver('B>C promise');
    expect(lab.view('C').leads).toBe(true);
    lab.reconfigure('C', 'BC');
    lab.settle();
    lab.tick(150);
    // What was accepted came first; C, which has no place in it, handed over.
    expect(lab.committed('B')[1]).toBe('{ABD after 0}');
    commits(lab, 'BD');
  });
});

describe('the force rule', () => {
  test('a change that does not name the configuration governing its slot has no force', () => {
    const lab = group('ABC', 'D', 2);
    lab.elect('A');
    lab.tick(20);
    choose(lab, configurationValue(configuration('ABD', 5)));
    expect(lab.committed('B').at(-1)).toBe('{ABD after 5}');
    lab.tick(50);
    expect(newest(lab, 'B')).toBe('ABC');
    expect(lab.checkers.configurations).toHaveLength(1);
    commits(lab, 'ABCD');
  });

  test('of two changes chosen in one window only the first has force', () => {
    const lab = group('ABC', 'D', 4);
    lab.elect('A');
    lab.tick(20);
    // Both name 0, both are chosen where 0 governs; the second finds a newer one below it.
    choose(lab, configurationValue(configuration('ABD', 0)), configurationValue(configuration('BCD', 0)));
    expect(lab.committed('B').slice(1, 3)).toEqual(['{ABD after 0}', '{BCD after 0}']);
    lab.tick(150);
    expect(newest(lab, 'B')).toBe('ABD');
    expect(lab.checkers.configurations).toHaveLength(2);
    commits(lab, 'ABD');
  });

  test('A → B → A: the old name does not fit the second A', () => {
    const lab = group('ABC', 'D', 2);
    lab.elect('A');
    lab.tick(20);
    change(lab, 'ABD');
    change(lab, 'ABC');
    const { slot } = lab.view('A').configuration;
    expect(slot).toBeGreaterThan(2);
    choose(lab, configurationValue(configuration('AB', 0)));
    lab.tick(20);
    expect(newest(lab, 'A')).toBe('ABC');
  });

  /** Puts a change through that a correct leader would not propose. */
  function choose(lab: Lab, ...changes: ReturnType<typeof configurationValue>[]): void {
    const inputs = changes.map((change) => ({ type: 'propose' as const, value: change, afterBatch: false }));
    lab.input(lab.leaders[0] as string, ...inputs);
    lab.settle();
  }
});

describe('a change is proposed only', () => {
  test('by a leader', () => {
    const lab = group('ABC', 'D', 2);
    lab.elect('A');
    lab.tick(20);
    lab.reconfigure('B', 'ABD');
    lab.settle();
    expect(lab.core('A').prefix).toBe(1);
    expect(lab.view('B').changeObstacle).toMatch(/does not lead/);
  });

  test('after a value of its own ballot is committed (the single-server bug)', () => {
    const lab = group('ABC', 'D', 4);
    lab.tick(20);
    lab.campaign('A');
    lab.deliver('A>* prepare');
    lab.deliver('*>A promise');
    expect(lab.view('A').leads).toBe(true);
    lab.reconfigure('A', 'ABD');
    expect(lab.view('A').changeObstacle).toMatch(/nothing of this ballot/);
    lab.settle();
    lab.reconfigure('A', 'ABD');
    lab.settle();
    expect(lab.committed('A')).toContain('{ABD after 0}');
  });

  test('one at a time', () => {
    const lab = group('ABC', 'D', 4);
    lab.elect('A');
    lab.tick(20);
    lab.reconfigure('A', 'ABD');
    expect(lab.view('A').changeObstacle).toMatch(/on its way/);
    lab.reconfigure('A', 'AB');
    expect(lab.view('A').inFlight).toBe(1);
    lab.deliver('A>B accept');
    lab.deliver('B>A accepted');
    expect(lab.view('A').changeObstacle).not.toBeNull();
    lab.settle();
    lab.tick(20);
    expect(lab.checkers.configurations).toHaveLength(2);
  });

  test('once the one before has force', () => {
    const lab = group('ABC', 'D', 32);
    lab.elect('A');
    lab.tick(20);
    lab.reconfigure('A', 'ABD');
    lab.deliver('A>B accept');
    lab.deliver('B>A accepted');
    expect(lab.view('A').configuration.from).toBe(34);
    expect(lab.view('A').changeObstacle).toMatch(/not in force yet/);
    lab.reconfigure('A', 'AB');
    lab.tick(20);
    expect(lab.committed('A').filter((text) => text.startsWith('{'))).toEqual(['{ABD after 0}']);
  });

  test('where no earlier one binds the leader', () => {
    const lab = group('ABC', 'D', 8);
    lab.elect('A');
    lab.tick(20);
    lab.propose('A', 'x');
    lab.reconfigure('A', 'ABD');
    lab.deliver('A>B accept');
    lab.crash('A');
    lab.bag = [];
    lab.campaign('C', 'A');
    lab.deliver('C>B prepare');
    lab.deliver('B>C promise');
    const [x] = lab.select('C>B accept');
    if (x) lab.deliverOne(x);
    lab.deliver('B>C accepted');
    expect(lab.core('C').prefix).toBe(2);
    expect(lab.view('C').changeObstacle).toMatch(/binds/);
  });

  test('while the new voters are connected, caught up, sound and the ones that are named', () => {
    const lab = group('ABC', 'DE', 4);
    lab.elect('A');
    lab.cut('E-ABCD');
    lab.tick(40);
    const ask = (to: string) => lab.core('A').changeObstacle(configuration(to));
    expect(ask('AD')).toBeNull();
    expect(ask('AE')).toMatch(/caught up/);
    expect(ask("AB'2")).toMatch(/caught up/);
    expect(ask("A'2B")).toMatch(/caught up/);
    lab.crash('D');
    lab.host('D').votes = false;
    lab.restart('D');
    lab.tick(20);
    expect(ask('AD')).toMatch(/caught up/);
  });

  test('with quorums that meet', () => {
    const lab = group('ABC', 'D', 4);
    lab.elect('A');
    lab.tick(20);
    for (const sizes of [
      { q1: 1, q2: 2 },
      { q1: 3, q2: 1 },
      { q1: 2, q2: 4 },
    ]) {
      lab.reconfigure('A', 'ABD', sizes);
    }
    lab.reconfigure('A', 'abc');
    lab.reconfigure('A', 'AAB');
    lab.settle();
    expect(lab.core('A').prefix).toBe(1);
    lab.reconfigure('A', 'ABCD', { q1: 3, q2: 2 });
    lab.tick(10);
    expect(lab.view('A').configuration.configuration).toMatchObject({ q1: 3, q2: 2 });
  });
});

describe('promises of a configuration', () => {
  test('count only for its slots: the new one is prepared before its first slot is used', () => {
    const lab = group('ABC', 'DE', 2);
    lab.elect('A');
    lab.tick(20);
    lab.cut('A-D', 'A-E');
    lab.reconfigure('A', 'ADE');
    lab.loses = (e) => e.message.type === 'promise' && 'DE'.includes(e.from);
    lab.heal();
    lab.settle();
    lab.tick(12);
    lab.reconfigure('A', 'ADE');
    lab.tick(10);
    for (const text of ['x', 'y', 'z', 'u']) lab.propose('A', text);
    lab.tick(5);
    const border = lab.view('A').configuration.from;
    expect(newest(lab, 'A')).toBe('ADE');
    expect(lab.core('A').prefix).toBeLessThan(border);
    expect(accepts(lab).filter((m) => m.slot >= border)).toEqual([]);
    lab.loses = () => false;
    commits(lab, 'ADE');
  });

  test('do not count from outside it, nor from another store of the same peer', () => {
    const lab = group('ABC', 'D', 2);
    lab.tick(20);
    lab.campaign('A');
    lab.bag = lab.bag.filter((e) => e.message.type !== 'prepare');
    const round = lab.core('A').promised?.round;
    const promise = {
      type: 'promise' as const,
      ballot: ballot(`${round}.A`),
      configuration: at(0),
      floor: at(0),
      digest: lab.core('A').digest,
      listing: new Uint8Array(8),
      part: 0,
      parts: 1,
      accepted: [],
    };
    const send = (from: string, incarnation = lab.host(from).incarnation) =>
      lab.input('A', { type: 'message', from: peerOf(from), incarnation, message: promise });
    send('D');
    send('B', lab.host('C').incarnation);
    expect(lab.view('A').leads).toBe(false);
    send('B');
    expect(lab.view('A').leads).toBe(true);
  });
});

describe('handover (R2)', () => {
  test('a new voter accepts nothing before it holds everything below its first slot', () => {
    const lab = group('AB', 'C', 2);
    lab.elect('A');
    lab.tick(20);
    // C gets no chosen values from now on.
    lab.onServe = () => null;
    lab.reconfigure('A', 'BC');
    lab.tick(6);
    lab.propose('A', 'x', 'y');
    lab.tick(30);
    const border = lab.view('A').configuration.from;
    expect(lab.host('C').disk.everAccepted.size).toBe(0);
    expect(lab.checkers.prefix).toBeLessThan(border);
    lab.onServe = (_, m) => m;
    commits(lab, 'BC');
  });

  test('nor when a leader asks it to: it says that it lacks something', () => {
    const lab = group('ABC', 'D', 4);
    lab.elect('A');
    lab.tick(20);
    lab.reconfigure('A', 'ABD');
    lab.deliver('A>BC accept');
    lab.deliver('BC>A accepted');
    lab.deliver('A>D commit');
    lab.deliver('D>A fetch');
    lab.deliver('A>D values');
    expect(lab.core('D').prefix).toBe(2);
    lab.bag = [];
    const message: Accept = {
      type: 'accept',
      ballot: ballot('2.A'),
      configuration: at(2),
      slot: at(6),
      value: value('x'),
      watermark: at(2),
    };
    lab.input('D', { type: 'message', from: peerOf('A'), incarnation: lab.host('A').incarnation, message });
    expect(lab.core('D').accepted.size).toBe(0);
    expect(lab.select('D>A behind').map((e) => e.message)).toMatchObject([{ slot: 6, lacks: 'me', prefix: 2 }]);
  });

  test('to a voter of the new configuration only, while slots of the old one are open, does not happen', () => {
    const lab = group('ABC', 'D', 8);
    lab.elect('A');
    lab.tick(20);
    lab.reconfigure('A', 'DBC');
    lab.deliver('A>BC accept');
    lab.deliver('BC>A accepted');
    // The change is chosen in 2 and governs from 10; D is among the new voters, and it would be the best.
    lab.deliver('A>* commit');
    lab.deliver('D>A fetch');
    lab.deliver('A>D values');
    lab.bag = [];
    lab.input('A', { type: 'hand-over', to: null });
    lab.tick(12);
    expect(lab.leaders).not.toContain('D');
    commits(lab, 'ABCD');
  });

  test('a Transfer to one that can propose nothing yet does not make a leader that stands still', () => {
    const lab = group('ABC', 'D', 8);
    lab.elect('A');
    lab.tick(20);
    lab.reconfigure('A', 'DBC');
    lab.deliver('A>BC accept');
    lab.deliver('BC>A accepted');
    lab.deliver('A>* commit');
    lab.deliver('D>A fetch');
    lab.deliver('A>D values');
    lab.crash('A');
    lab.bag = [];
    const transfer = { type: 'transfer' as const, ballot: ballot('2.A') };
    lab.input('D', { type: 'message', from: peerOf('A'), incarnation: lab.host('A').incarnation, message: transfer });
    lab.settle();
    expect(lab.log.some((line) => line.startsWith('B>D promise'))).toBe(true);
    expect(lab.leaders).toEqual([]);
    commits(lab, 'BCD', 400);
  });
});

describe('a leader that can propose nothing', () => {
  test('because the floor of a new voter that died is out of reach gives up, and the others go on without it', () => {
    // {ABCDE}, chosen in 2, takes over from {ABC} in slot 4. C has 4=x and 5=y chosen by C, D and E; D alone hears of it; C dies.
    const lab = group('ABC', 'DE', 2);
    lab.elect('C');
    lab.tick(20);
    lab.reconfigure('C', 'ABCDE');
    lab.deliver('C>AB accept');
    lab.deliver('AB>C accepted');
    lab.deliver('C>AB commit');
    lab.cut('C-B');
    lab.deliver('C>A accept');
    lab.deliver('A>C accepted');
    lab.cut('A-CDE');
    lab.settle();
    lab.tick(2, ['C', 'D', 'E']);
    lab.input('C', ...['x', 'y'].map((text) => ({ type: 'propose' as const, value: value(text), afterBatch: false })));
    lab.deliver('C>DE accept');
    lab.deliver('DE>C accepted');
    lab.deliver('C>D commit');
    lab.bag = [];
    lab.crash('C');
    expect(['A', 'B', 'D', 'E'].map((name) => lab.core(name).prefix)).toEqual([2, 2, 5, 3]);
    // B leads for {ABC}; then D's and E's promises for {ABCDE} come, and D is gone before it can serve what it promised from.
    lab.heal();
    lab.tick(2, ['A', 'B', 'E']);
    lab.campaign('B', 'C');
    lab.deliver('B>A prepare');
    lab.deliver('A>B promise');
    lab.deliver('B>DE prepare');
    lab.deliver('DE>B promise');
    lab.crash('D');
    commits(lab, 'ABE', 400);
    expect(lab.committed('B').slice(3, 5)).toEqual(['x', 'y']);
  });

  test('because it may not lead any more steps down, also where nobody can take over', () => {
    const lab = group('Ab', '', 8);
    lab.electByTime();
    lab.tick(10);
    lab.input('A', { type: 'may-lead', may: false });
    lab.tick(20);
    expect(lab.leaders).toEqual([]);
    lab.input('A', { type: 'may-lead', may: true });
    commits(lab, 'AB');
  });

  test('because it may not lead any more hands over as soon as somebody can take over', () => {
    const lab = group('ABC', '', 8);
    lab.elect('A');
    lab.tick(10);
    lab.loses = (e) => e.message.type === 'transfer';
    lab.input('A', { type: 'may-lead', may: false });
    lab.loses = () => false;
    lab.tick(100);
    expect(lab.leaders).toHaveLength(1);
    expect(lab.leaders).not.toContain('A');
  });
});

const accepts = (lab: Lab): Accept[] => lab.bag.map((e) => e.message).filter((m): m is Accept => m.type === 'accept');

describe('a configuration that this version cannot read', () => {
  /** Chooses bytes that only a later version understands, in slot 2. */
  function unreadable(alpha: number): Lab {
    const lab = group('ABC', 'D', alpha);
    lab.elect('A');
    lab.tick(20);
    const bytes = Uint8Array.of(1, 0x82, 1, 2);
    lab.input('A', { type: 'propose', value: decodeValue(bytes, hashPayload), afterBatch: false });
    return lab;
  }

  test('stops the vote from α slots later on, not before', () => {
    const lab = unreadable(3);
    lab.tick(4);
    for (const name of 'ABC') expect(lab.host(name).disk.blockedFrom).toBe(5);
    // Slots 3 and 4 are still this version's business; a leader of a later one fills them.
    const accept = (slot: number): unknown => {
      lab.input('B', {
        type: 'message',
        from: peerOf('C'),
        incarnation: lab.host('C').incarnation,
        message: {
          type: 'accept',
          ballot: ballot('90.C'),
          configuration: at(0),
          slot: at(slot),
          value: value(`later${slot}`),
          watermark: at(0),
        },
      });
      return lab.select('B>C accepted').length;
    };
    expect(accept(4)).toBe(1);
    expect(accept(5)).toBe(1);
    lab.tick(300);
    for (const name of 'ABC') expect(lab.core(name).prefix).toBeLessThan(5);
    expect(lab.leaders).toEqual([]);
  });

  test('is remembered over a restart', () => {
    const lab = unreadable(3);
    lab.tick(4);
    lab.crash('A', 'B', 'C');
    lab.restart('A', 'B', 'C');
    lab.tick(200);
    expect(lab.leaders).toEqual([]);
    expect(lab.log.filter((line) => /^[ABC] leads/.test(line))).toHaveLength(1);
  });

  test('leaves such a peer out of leading, also when it is asked to', () => {
    const lab = unreadable(3);
    lab.tick(4);
    lab.bag = [];
    const before = lab.log.length;
    lab.campaign('B', 'A');
    expect(lab.log.slice(before).filter((line) => / prepare /.test(line))).toEqual([]);
  });
});
