import { describe, expect, test } from 'vitest';
import { InvariantError } from '../../shared/base/assert.ts';
import {
  FETCH_TICKS,
  HEARTBEAT_TICKS,
  IN_FLIGHT_MAX,
  RESEND_TICKS,
  SUSPICION_TICKS,
} from '../../shared/consensus/constants.ts';
import type { Input } from '../../shared/consensus/io.ts';
import type { Accept, Message, Promise1b, Values } from '../../shared/consensus/messages.ts';
import { type Envelope, Lab } from './lab.ts';
import { at, ballot, GENESIS_DIGEST, incarnationOf, peerOf, showValue, value } from './names.ts';

const messages = (lab: Lab, pattern: string): Message[] => lab.select(pattern).map((e) => e.message);
const proposes = (...texts: string[]): Input[] =>
  texts.map((text) => ({ type: 'propose', value: value(text), afterBatch: false }));
const accept = (n: string, s: number, v: string, watermark = 0): Accept => ({
  type: 'accept',
  ballot: ballot(n),
  configuration: at(0),
  slot: at(s),
  value: value(v),
  watermark: at(watermark),
});
/** `n`'s own peer says this to `to`. */
function tell(lab: Lab, to: string, m: Message & { ballot: ReturnType<typeof ballot> }): void {
  const from = lab.names.find((name) => lab.host(name).peer === m.ballot.peer) as string;
  const incarnation = lab.host(from).incarnation;
  lab.input(to, { type: 'message', from: peerOf(from), incarnation, message: m });
}

describe('phase 1', () => {
  test('runs once for all open slots', () => {
    const lab = new Lab({ voters: 'ABC' });
    lab.elect('A');
    for (let i = 0; i < 20; i++) {
      lab.propose('A', `x${i}`);
      lab.settle();
    }
    expect(lab.log.filter((line) => / prepare /.test(line))).toHaveLength(2);
    expect(lab.core('A').prefix).toBe(21);
  });

  test('tells everything accepted above the floor, and re-proposes the highest accepted ballot of each slot', () => {
    const lab = new Lab({ voters: 'ABCDE' });
    lab.elect('A');
    // Slots 2 and 3 under 2.A on B; slot 3 anew under 3.B on C.
    lab.input('A', ...proposes('x', 'y'));
    lab.deliver('A>B accept');
    lab.drop('A>*');
    tell(lab, 'C', accept('3.B', 3, 'z'));
    lab.crash('A');
    lab.bag = [];
    lab.campaign('E', 'A');
    lab.deliver('E>BC prepare');
    lab.deliver('BC>E promise');
    const issued = messages(lab, 'E>D accept') as Accept[];
    expect(issued.map((m) => [m.slot, showValue(m.value)])).toEqual([
      [2, 'x'],
      [3, 'z'],
    ]);
  });

  test('fills gaps with no-ops, and only then proposes anything new', () => {
    const lab = new Lab({ voters: 'ABC' });
    lab.elect('A');
    lab.input('A', ...proposes('x', 'y', 'z'));
    const [, , z] = lab.select('A>B accept') as [Envelope, Envelope, Envelope];
    lab.deliverOne(z);
    lab.crash('A');
    lab.bag = [];
    lab.campaign('C', 'A');
    lab.deliver('C>B prepare');
    lab.input('C', ...lab.take('B>C promise'), ...proposes('new'));
    const issued = messages(lab, 'C>B accept') as Accept[];
    expect(issued.map((m) => [m.slot, showValue(m.value)])).toEqual([
      [2, 'noop'],
      [3, 'noop'],
      [4, 'z'],
      [5, 'new'],
    ]);
  });

  test('of a leader at its own ballot is granted again', () => {
    const lab = new Lab({ voters: 'ABC' });
    lab.tick(4);
    lab.campaign('A');
    lab.duplicate('A>B prepare');
    lab.deliver('A>B prepare');
    expect(messages(lab, 'B>A promise')).toHaveLength(2);
  });

  test('of a leader at its own ballot is granted even where another leader is still heard', () => {
    const lab = new Lab({ voters: 'ABC' });
    lab.tick(4);
    lab.campaign('A');
    lab.duplicate('A>B prepare');
    const [first, again] = lab.select('A>B prepare') as [Envelope, Envelope];
    lab.deliverOne(first);
    lab.input('B', {
      type: 'message',
      from: peerOf('C'),
      incarnation: lab.host('C').incarnation,
      message: {
        type: 'heartbeat',
        promised: null,
        leading: ballot('1.C'),
        hearsLeader: null,
        hears: [peerOf('B')],
        prefix: at(0),
        digest: GENESIS_DIGEST,
        durable: at(0),
        votes: true,
        note: new Uint8Array(0),
      },
    });
    lab.deliverOne(again);
    expect(messages(lab, 'B>A promise|nack').map((m) => m.type)).toEqual(['promise', 'promise']);
  });

  test('does not begin before the ballot is on the disk, and its round is never used again', () => {
    const lab = new Lab({ voters: 'ABC' });
    lab.hang('A');
    lab.campaign('A');
    expect(lab.select('A>*')).toEqual([]);
    lab.unhang('A');
    expect(messages(lab, 'A>B')).toMatchObject([{ type: 'prepare', ballot: ballot('2.A') }]);
    lab.crash('A');
    lab.restart('A');
    lab.bag = [];
    lab.campaign('A');
    expect(messages(lab, 'A>B')).toMatchObject([{ type: 'prepare', ballot: ballot('3.A') }]);
  });

  test('goes above every round that it heard of', () => {
    const lab = new Lab({ voters: 'ABC' });
    tell(lab, 'B', accept('17.C', 1, 'x'));
    lab.tick(2);
    lab.campaign('A', 'C');
    expect(messages(lab, 'A>B prepare')).toMatchObject([{ ballot: ballot('18.A') }]);
  });
});

describe('floors (R4)', () => {
  test('a candidate fetches up to its quorum’s highest floor before it proposes, and never fills below it', () => {
    const lab = new Lab({ voters: 'ABC' });
    lab.elect('A');
    lab.cut('A-C');
    lab.propose('A', 'x', 'y', 'z');
    lab.settle();
    lab.crash('A');
    lab.heal();
    expect([lab.core('B').prefix, lab.core('C').prefix]).toEqual([4, 1]);
    lab.campaign('C', 'A');
    lab.deliver('C>B prepare');
    lab.deliver('B>C promise');
    expect(messages(lab, 'C>* accept')).toEqual([]);
    expect(lab.core('C').room()).toBe(0);
    expect(messages(lab, 'C>B fetch')).toMatchObject([{ from: 2 }]);
    lab.settle();
    expect(lab.committed('C')).toEqual(['noop', 'x', 'y', 'z', 'noop']);
  });

  test('what was accepted below the floor is not listed', () => {
    const lab = new Lab({ voters: 'ABC' });
    lab.elect('A');
    lab.propose('A', 'x', 'y');
    lab.settle();
    lab.crash('A');
    lab.campaign('C', 'A');
    lab.deliver('C>B prepare');
    const [m] = messages(lab, 'B>C promise') as [Promise1b];
    expect(m).toMatchObject({ floor: 3, accepted: [] });
    expect(m.digest).toEqual(lab.core('B').digest);
  });
});

describe('a large Promise', () => {
  const big = (letter: string): string => letter.repeat(700_000);

  function candidate(): Lab {
    const lab = new Lab({ voters: 'ABC' });
    lab.elect('A');
    for (const letter of 'xyz') lab.propose('A', big(letter));
    lab.deliver('A>B accept');
    lab.crash('A');
    lab.bag = [];
    lab.campaign('C', 'A');
    lab.deliver('C>B prepare');
    return lab;
  }

  test('comes in parts and counts only when it is complete', () => {
    const lab = candidate();
    const parts = lab.select('B>C promise');
    expect(parts.map((e) => [(e.message as Promise1b).part, (e.message as Promise1b).parts])).toEqual([
      [0, 3],
      [1, 3],
      [2, 3],
    ]);
    for (const e of parts.slice(0, 2)) lab.deliverOne(e);
    expect(lab.view('C').leads).toBe(false);
    lab.deliverOne(parts[2] as Envelope);
    expect(lab.view('C').leads).toBe(true);
    lab.settle();
    expect(lab.committed('C').slice(1, 4)).toEqual(['x', 'y', 'z'].map((l) => showValue(value(big(l)))));
  });

  test('with a part lost does not count, until it is asked for again', () => {
    const lab = candidate();
    lab.deliverOne(lab.select('B>C promise')[0] as Envelope);
    lab.deliverOne(lab.select('B>C promise')[1] as Envelope);
    expect(lab.view('C').leads).toBe(false);
    lab.bag = [];
    lab.tick(RESEND_TICKS + 2, ['B', 'C']);
    expect(lab.committed('C').slice(1, 4)).toEqual(['x', 'y', 'z'].map((l) => showValue(value(big(l)))));
  });

  test('is cut from one moment: parts of two answers are not mixed', () => {
    const lab = candidate();
    const parts = lab.select('B>C promise');
    const other = { ...(parts[2] as Envelope).message, listing: new Uint8Array(8), accepted: [] } as Promise1b;
    lab.deliverOne(parts[0] as Envelope);
    lab.deliverOne(parts[1] as Envelope);
    lab.bag = [];
    lab.post('B', 'C', other);
    lab.deliver('B>C promise');
    expect(lab.view('C').leads).toBe(false);
  });
});

describe('phase 2', () => {
  test('is pipelined: sixteen in flight and no more', () => {
    const lab = new Lab({ voters: 'ABC', alpha: 64 });
    lab.elect('A');
    expect(lab.core('A').room()).toBe(IN_FLIGHT_MAX);
    for (let i = 0; i < 40; i++) lab.propose('A', `x${i}`);
    expect(lab.view('A').inFlight).toBe(16);
    expect(lab.core('A').room()).toBe(0);
    lab.settle();
    expect(lab.core('A').room()).toBe(16);
    expect(lab.core('A').prefix).toBe(17);
  });

  test.each([1, 2, 3])('goes no further than the horizon, prefix + α (%i)', (alpha) => {
    const lab = new Lab({ voters: 'ABC', alpha });
    lab.elect('A');
    expect(lab.core('A').room()).toBe(alpha);
    lab.input('A', ...proposes('a', 'b', 'c', 'd'));
    expect(Math.max(...(messages(lab, 'A>B accept') as Accept[]).map((m) => m.slot))).toBe(1 + alpha);
  });

  test('acceptances in any order commit in order', () => {
    const lab = new Lab({ voters: 'ABC' });
    lab.elect('A');
    lab.propose('A', 'x', 'y', 'z');
    for (const e of lab.select('A>B accept').reverse()) lab.deliverOne(e);
    const answers = lab.select('B>A accepted');
    lab.deliverOne(answers[0] as Envelope);
    lab.deliverOne(answers[1] as Envelope);
    expect(lab.core('A').prefix).toBe(1);
    lab.deliverOne(answers[2] as Envelope);
    expect(lab.committed('A')).toEqual(['noop', 'x', 'y', 'z']);
  });

  test('acceptances of one turn are told in one message', () => {
    const lab = new Lab({ voters: 'ABC' });
    lab.elect('A');
    lab.propose('A', 'x', 'y', 'z');
    lab.input('B', ...lab.take('A>B accept'));
    expect(messages(lab, 'B>A accepted')).toMatchObject([{ slots: [2, 3, 4] }]);
  });

  test('duplicates of an acceptance count once', () => {
    const lab = new Lab({ voters: 'ABCDE' });
    lab.elect('A');
    lab.propose('A', 'x');
    lab.deliver('A>B accept');
    for (let i = 0; i < 3; i++) lab.duplicate('B>A accepted');
    lab.deliver('B>A accepted');
    expect(lab.core('A').prefix).toBe(1);
  });

  test('acceptances of strangers, learners and other stores do not count', () => {
    const lab = new Lab({ voters: 'ABC', learners: 'D' });
    lab.elect('A');
    lab.propose('A', 'x');
    const accepted = { type: 'accepted' as const, ballot: ballot('2.A'), slots: [at(2)], prefix: at(1) };
    const say = (from: string, incarnation = lab.host(from).incarnation): void =>
      lab.input('A', { type: 'message', from: peerOf(from), incarnation, message: accepted });
    say('D');
    say('B', incarnationOf('B', 2));
    expect(lab.core('A').prefix).toBe(1);
  });

  test('an Accept leaves while the own disk still writes; the own vote counts once it has', () => {
    const lab = new Lab({ voters: 'ABC' });
    lab.elect('A');
    lab.cut('A-C');
    lab.hang('A');
    lab.propose('A', 'x');
    lab.deliver('A>B accept');
    lab.deliver('B>A accepted');
    expect(lab.checkers.chosenIn(2)).toBeNull();
    expect(lab.core('A').prefix).toBe(1);
    lab.unhang('A');
    expect(lab.core('A').prefix).toBe(2);
  });

  test('a value that this turn is still to save leaves after the write', () => {
    const lab = new Lab({ voters: 'ABC' });
    lab.elect('A');
    lab.hang('A');
    lab.input('A', { type: 'propose', value: value('x'), afterBatch: true });
    expect(lab.select('A>* accept')).toEqual([]);
    lab.unhang('A');
    expect(lab.select('A>* accept')).toHaveLength(2);
  });

  test('what was lost is sent again, and a link that comes back is used at once', () => {
    const lab = new Lab({ voters: 'ABC' });
    lab.elect('A');
    lab.tick(10);
    lab.propose('A', 'x');
    lab.drop('A>* accept');
    lab.tick(RESEND_TICKS + 1);
    expect(lab.committed('A')).toContain('x');
    lab.propose('A', 'y');
    lab.drop('A>* accept');
    lab.input('A', { type: 'connection', peer: peerOf('B'), connected: true });
    expect(messages(lab, 'A>B accept')).toHaveLength(1);
  });

  test('flexible quorums: 4 + 2 of 5', () => {
    const lab = new Lab({ voters: 'ABCDE', q1: 4, q2: 2 });
    lab.tick(10);
    lab.campaign('A');
    lab.deliver('A>BC prepare');
    lab.deliver('BC>A promise');
    expect(lab.view('A').leads).toBe(false);
    lab.deliver('A>D prepare');
    lab.deliver('D>A promise');
    expect(lab.view('A').leads).toBe(true);
    lab.deliver('A>B accept');
    lab.deliver('B>A accepted');
    expect(lab.core('A').prefix).toBe(1);
  });
});

describe('watermarks (base rule 3)', () => {
  test('say which value was chosen where the local acceptance is under that very ballot', () => {
    const lab = new Lab({ voters: 'ABC' });
    lab.elect('A');
    lab.propose('A', 'x');
    lab.settle();
    expect(lab.committed('B')).toEqual(['noop', 'x']);
    expect(lab.log.some((line) => /fetch/.test(line))).toBe(false);
  });

  test('with another ballot’s value held locally, it is not believed: the chosen one is fetched', () => {
    const lab = new Lab({ voters: 'ABCDE' });
    lab.elect('A');
    lab.propose('A', 'x');
    lab.deliver('A>E accept');
    lab.crash('A');
    lab.bag = [];
    lab.cut('B-E');
    lab.campaign('B', 'A');
    lab.deliver('B>CD prepare');
    lab.input('B', ...lab.take('CD>B promise'), ...proposes('y'));
    lab.settle();
    expect(lab.checkers.chosenIn(2)).toBe('y');
    lab.heal();
    lab.deliver();
    tell(lab, 'E', {
      type: 'commit',
      ballot: lab.view('B').ballot ?? ballot('1.B'),
      watermark: at(2),
      digest: lab.core('B').digest,
    });
    expect(lab.committed('E')).toEqual(['noop']);
    expect(messages(lab, 'E>B fetch')).toHaveLength(1);
    lab.settle();
    expect(lab.committed('E').slice(0, 2)).toEqual(['noop', 'y']);
  });

  describe('who lacks much', () => {
    /** C was away for `count` values of A's. It hears everybody again, and nothing was fetched yet. */
    function behind(count: number): Lab {
      const lab = new Lab({ voters: 'ABC', chunk: 4 });
      lab.elect('A');
      lab.tick(HEARTBEAT_TICKS);
      lab.cut('C-AB');
      for (let i = 0; i < count; i++) {
        lab.propose('A', `x${i}`);
        lab.settle();
      }
      lab.tick(HEARTBEAT_TICKS);
      lab.heal();
      return lab;
    }
    const sources = (lab: Lab): string[] => lab.log.flatMap((line) => /C>(\w) fetch/.exec(line)?.[1] ?? []);

    test('fetches it from a follower once one is heard, and only the end of it from the leader', () => {
      const lab = behind(100);
      lab.tickUntil(() => lab.core('C').prefix === lab.core('A').prefix, 50);
      const asked = sources(lab);
      expect(asked.filter((name) => name === 'B').length).toBeGreaterThan(20);
      expect(asked.filter((name) => name === 'A').length).toBeLessThanOrEqual(1 + Math.ceil(IN_FLIGHT_MAX / 4));
      expect(lab.committed('C')).toEqual(lab.committed('A'));
    });

    test('fetches it from the leader where the follower gives no answer', () => {
      const lab = behind(100);
      lab.onServe = (name, m) => (name === 'B' ? null : m);
      lab.tickUntil(() => lab.core('C').prefix === lab.core('A').prefix, 3 * FETCH_TICKS);
      expect(sources(lab).filter((name) => name === 'B')).toHaveLength(1);
      expect(lab.committed('C')).toEqual(lab.committed('A'));
    });

    test('no more than may be on its way comes from the leader, who has all of it', () => {
      const lab = behind(IN_FLIGHT_MAX);
      lab.tickUntil(() => lab.core('C').prefix === lab.core('A').prefix, 50);
      expect(new Set(sources(lab))).toEqual(new Set(['A']));
    });
  });

  test('a leader that learns a value other than its own steps down at once', () => {
    const lab = new Lab({ voters: 'ABCDE' });
    lab.elect('A');
    lab.cut('A-CDE');
    lab.propose('A', 'x');
    lab.deliver('A>B accept');
    lab.crash('B');
    lab.bag = [];
    lab.campaign('C', 'A');
    lab.deliver('C>DE prepare');
    lab.input('C', ...lab.take('DE>C promise'), ...proposes('y'));
    lab.settle();
    expect(lab.checkers.chosenIn(2)).toBe('y');
    expect(lab.view('A').leads).toBe(true);
    const values: Values = {
      type: 'values',
      from: at(2),
      values: [value('y')],
      digest: lab.core('C').digest,
      prefix: at(2),
    };
    lab.heal();
    lab.bag = [];
    lab.input('A', { type: 'message', from: peerOf('D'), incarnation: lab.host('D').incarnation, message: values });
    expect(lab.view('A').leads).toBe(false);
    // No word of its goes out that would cover slot 2 with its own ballot.
    expect(
      messages(lab, 'A>*').some((m) => m.type === 'commit' || (m.type === 'heartbeat' && m.leading !== null)),
    ).toBe(false);
  });

  test('another digest at the same prefix stops the peer', () => {
    const lab = new Lab({ voters: 'ABC' });
    lab.elect('A');
    lab.settle();
    const wrong = { type: 'commit' as const, ballot: ballot('2.A'), watermark: at(1), digest: GENESIS_DIGEST };
    expect(() => tell(lab, 'B', wrong)).toThrow(InvariantError);
  });
});

describe('two values for one slot and ballot', () => {
  test('stop the acceptor', () => {
    const lab = new Lab({ voters: 'ABC' });
    tell(lab, 'B', accept('1.A', 1, 'x'));
    expect(() => tell(lab, 'B', accept('1.A', 1, 'y'))).toThrow(InvariantError);
  });

  test('stop the candidate that is told of them', () => {
    const lab = new Lab({ voters: 'ABCDE' });
    lab.campaign('E');
    const promise = (v: string): Promise1b => ({
      type: 'promise',
      ballot: lab.core('E').promised ?? ballot('1.E'),
      configuration: at(0),
      floor: at(0),
      digest: GENESIS_DIGEST,
      listing: new Uint8Array(8),
      part: 0,
      parts: 1,
      accepted: [{ slot: at(1), ballot: ballot('1.A'), value: value(v) }],
    });
    const say = (from: string, v: string): void =>
      lab.input('E', {
        type: 'message',
        from: peerOf(from),
        incarnation: lab.host(from).incarnation,
        message: promise(v),
      });
    say('B', 'x');
    expect(() => say('C', 'y')).toThrow(InvariantError);
  });

  test('the same value twice is fine, and is answered twice', () => {
    const lab = new Lab({ voters: 'ABC' });
    tell(lab, 'B', accept('1.A', 1, 'x'));
    tell(lab, 'B', accept('1.A', 1, 'x'));
    expect(messages(lab, 'B>A accepted')).toHaveLength(2);
  });
});

describe('refusals say why', () => {
  test('Nack with the higher ballot', () => {
    const lab = new Lab({ voters: 'ABC' });
    tell(lab, 'B', accept('5.C', 1, 'x'));
    tell(lab, 'B', accept('4.A', 1, 'y'));
    expect(messages(lab, 'B>A nack')).toMatchObject([
      { ballot: ballot('4.A'), promised: ballot('5.C'), reason: 'ballot' },
    ]);
  });

  test('Nack "a leader is heard", and the candidate gives up', () => {
    const lab = new Lab({ voters: 'ABC' });
    lab.elect('A');
    lab.tick(4);
    lab.campaign('C', 'B');
    lab.deliver('C>B prepare');
    expect(messages(lab, 'B>C nack')).toMatchObject([{ reason: 'leader' }]);
    lab.deliver('B>C nack');
    expect(lab.view('C').inFlight).toBe(0);
    lab.bag = [];
    lab.tick(4);
    expect(lab.leaders).toEqual(['A']);
  });

  test('Behind "I lack": the acceptor does not know what governs that slot, and fetches', () => {
    const lab = new Lab({ voters: 'ABC', alpha: 2 });
    lab.elect('A');
    lab.cut('A-C');
    for (const text of ['x', 'y', 'z']) {
      lab.propose('A', text);
      lab.settle();
    }
    lab.heal();
    lab.propose('A', 'u');
    lab.deliver('A>C accept');
    expect(messages(lab, 'C>A behind')).toMatchObject([{ slot: 5, lacks: 'me', prefix: 1 }]);
    lab.settle();
    lab.tick(3);
    expect(lab.committed('C')).toEqual(['noop', 'x', 'y', 'z', 'u']);
  });

  test('Behind "you lack": the sender names a configuration that is over', () => {
    const lab = new Lab({ voters: 'ABC', learners: 'D', alpha: 1 });
    lab.elect('A');
    lab.tick(20);
    lab.reconfigure('A', 'ABD');
    lab.tick(20);
    lab.propose('A', 'x');
    lab.settle();
    tell(lab, 'B', { ...accept('50.C', lab.core('B').prefix + 1, 'z'), configuration: at(0) });
    expect(messages(lab, 'B>C behind')).toMatchObject([{ lacks: 'you', prefix: 3 }]);
  });

  test('Behind "you lack": the slot is chosen already, and the one refused learns it', () => {
    const lab = new Lab({ voters: 'ABC' });
    lab.elect('A');
    lab.cut('A-C');
    lab.propose('A', 'x');
    lab.settle();
    lab.crash('A');
    lab.heal();
    tell(lab, 'B', accept('50.C', 2, 'z'));
    expect(messages(lab, 'B>C behind')).toMatchObject([{ slot: 2, lacks: 'you', prefix: 2 }]);
    lab.settle();
    expect(lab.committed('C')).toEqual(['noop', 'x']);
  });

  test('those who lacked something are asked again as soon as they say that they have it', () => {
    const lab = new Lab({ voters: 'ABC', alpha: 1 });
    lab.elect('A');
    lab.tick(6);
    lab.cut('A-C');
    lab.propose('A', 'x');
    lab.settle();
    lab.heal();
    lab.crash('B');
    lab.propose('A', 'y');
    lab.settle();
    const ticks = lab.tickUntil(() => lab.committed('C').includes('y'), RESEND_TICKS, ['A', 'C']);
    expect(ticks).toBeLessThanOrEqual(4);
  });
});

describe('learning', () => {
  test('from any peer, in chunks, the leader being gone', () => {
    const lab = new Lab({ voters: 'ABC', learners: 'DE', chunk: 3 });
    lab.elect('A');
    lab.cut('A-DE', 'BC-E');
    for (let i = 0; i < 10; i++) {
      lab.propose('A', `x${i}`);
      lab.settle();
    }
    lab.tick(40);
    lab.crash('A', 'B', 'C');
    lab.tick(60);
    expect(lab.core('D').prefix).toBe(11);
    expect(lab.committed('E')).toEqual(lab.committed('D'));
    expect(lab.log.filter((line) => line.startsWith('D>E values')).length).toBeGreaterThanOrEqual(4);
  });

  test('a wrong value in a chunk is not kept, and nothing of that chunk is', () => {
    const lab = new Lab({ voters: 'ABC', learners: 'D' });
    lab.elect('A');
    lab.cut('AC-D', 'A-D');
    lab.propose('A', 'x', 'y', 'z');
    lab.settle();
    lab.onServe = (from, m) =>
      from === 'B' ? { ...m, values: m.values.map((v, i) => (i === 2 ? value('wrong') : v)) } : m;
    lab.tick(30);
    expect(lab.log.some((line) => /^B>D values .*wrong/.test(line))).toBe(true);
    expect(lab.committed('D').slice(1)).toEqual([]);
    lab.heal();
    lab.tick(60);
    expect(lab.committed('D')).toEqual(['noop', 'x', 'y', 'z']);
  });

  test('chunks that were not asked for, overlap, or leave a gap do no harm', () => {
    const lab = new Lab({ voters: 'ABC', learners: 'D' });
    lab.elect('A');
    lab.propose('A', 'x', 'y');
    lab.settle();
    const { digest } = lab.core('A');
    lab.cut('ABC-D');
    const say = (from: number, ...texts: string[]): void =>
      lab.input('D', {
        type: 'message',
        from: peerOf('B'),
        incarnation: lab.host('B').incarnation,
        message: { type: 'values', from: at(from), values: texts.map(value), digest, prefix: at(3) },
      });
    lab.crash('D');
    lab.host('D').disk.prefix = Math.min(lab.host('D').disk.prefix, 3);
    lab.restart('D');
    say(5, 'y');
    say(1);
    say(1, 'noop', 'x', 'y');
    say(1, 'noop', 'x', 'y');
    say(2, 'x', 'y');
    expect(lab.committed('D')).toEqual(['noop', 'x', 'y']);
  });

  test('somebody who does not answer is left for another one', () => {
    const lab = new Lab({ voters: 'ABC', learners: 'D' });
    lab.elect('A');
    lab.cut('ABC-D');
    lab.propose('A', 'x');
    lab.settle();
    lab.tick(SUSPICION_TICKS + 2);
    lab.heal();
    const asked: string[] = [];
    lab.onServe = (from, m) => {
      asked.push(from);
      return from === 'A' ? null : m;
    };
    lab.tickUntil(() => lab.committed('D').includes('x'), 4 * FETCH_TICKS);
    expect(asked.length).toBeGreaterThan(0);
  });

  test('a follower that missed the Accept learns from the watermark at once', () => {
    const lab = new Lab({ voters: 'ABC' });
    lab.elect('A');
    lab.propose('A', 'x');
    lab.drop('A>C accept');
    lab.settle();
    expect(lab.committed('C')).toEqual(['noop', 'x']);
  });
});

describe('a damaged store', () => {
  test('neither promises nor accepts nor campaigns, but learns', () => {
    const lab = new Lab({ voters: 'ABC' });
    lab.elect('A');
    lab.crash('C');
    lab.host('C').votes = false;
    lab.restart('C');
    lab.bag = [];
    lab.propose('A', 'x');
    lab.settle();
    lab.tick(10);
    expect(lab.committed('C')).toEqual(['noop', 'x']);
    tell(lab, 'C', { type: 'prepare', ballot: ballot('90.B'), configuration: at(0), slot: at(3), transferFrom: null });
    tell(lab, 'C', accept('90.B', 3, 'z'));
    expect(messages(lab, 'C>* promise|accepted|nack')).toEqual([]);
    expect(lab.host('C').disk.promised?.round).toBeLessThan(90);
    lab.crash('A');
    lab.tick(400);
    expect(lab.leaders).toEqual([]);
  });
});

describe('after a crash', () => {
  test('promise, acceptances, prefix and configurations are what the disk held', () => {
    const lab = new Lab({ voters: 'ABC', learners: 'D', alpha: 2 });
    lab.elect('A');
    lab.tick(20);
    lab.reconfigure('A', 'ABD');
    lab.tick(20);
    lab.propose('A', 'x');
    lab.drop('A>D accept');
    lab.deliver('A>B accept');
    const before = { ...lab.view('B'), ballot: null, leader: null, reachable: 0 };
    lab.bag = [];
    lab.crash('B');
    lab.restart('B');
    expect({ ...lab.view('B'), ballot: null, leader: null, reachable: 0 }).toEqual(before);
    expect([...lab.core('B').accepted.keys()]).toEqual([4]);
  });

  test('what was chosen but not yet written as such is learned again', () => {
    const lab = new Lab({ voters: 'ABC' });
    lab.elect('A');
    lab.tick(2);
    lab.propose('A', 'x');
    lab.settle();
    lab.bag = [];
    lab.crash('B');
    lab.restart('B');
    expect(lab.core('B').prefix).toBe(1);
    lab.tick(4);
    expect(lab.committed('B')).toEqual(['noop', 'x']);
  });
});
