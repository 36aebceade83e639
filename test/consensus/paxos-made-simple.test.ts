import { describe, expect, test } from 'vitest';
import { Random } from '../../shared/base/random.ts';
import type { Accept, Message, Prepare } from '../../shared/consensus/messages.ts';
import { type Envelope, Lab } from './lab.ts';
import { at, ballot, showValue, value } from './names.ts';

// Basic Paxos is the one-slot case. The tests are named after the sentences of Lamport's "Paxos Made Simple" (2001), §2: a proposal's number is a
// ballot, and everything here happens in slot 1.

const prepare = (n: string): Prepare => ({
  type: 'prepare',
  ballot: ballot(n),
  configuration: at(0),
  slot: at(1),
  transferFrom: null,
});
const accept = (n: string, v: string): Accept => ({
  type: 'accept',
  ballot: ballot(n),
  configuration: at(0),
  slot: at(1),
  value: value(v),
  watermark: at(0),
});

/** One acceptor by itself. Says what it answers to a message of the peer whose number it bears. */
class Acceptor {
  readonly lab = new Lab({ voters: 'ABCDE', alpha: 1 });

  tell(m: Prepare | Accept): Message[] {
    const from = this.lab.names.find((name) => this.lab.host(name).peer === m.ballot.peer) as string;
    this.lab.post(from, 'E', m);
    this.lab.bag = this.lab.bag.slice(-1);
    this.lab.deliver();
    return this.lab.select('E>*').map((e) => e.message);
  }

  get promised(): unknown {
    return this.lab.host('E').disk.promised;
  }
  get accepted(): string | null {
    const record = this.lab.host('E').disk.log.get(1);
    return record ? showValue(record.value) : null;
  }
  restart(): void {
    this.lab.crash('E');
    this.lab.restart('E');
  }
}

/** Phase 1 of `name` over the acceptors in `over`, and then phase 2a with `text`, should it be free to choose. Accept requests stay in the bag. */
function propose(lab: Lab, name: string, text: string, over: string): void {
  lab.campaign(name);
  lab.deliver(`${name}>${over} prepare`);
  lab.drop('*>* prepare');
  lab.input(name, ...lab.take(`${over}>${name} promise`), { type: 'propose', value: value(text), afterBatch: false });
}

/** Phase 2b and learning. */
function accepted(lab: Lab, name: string, over: string): void {
  lab.deliver(`${name}>${over} accept`);
  lab.drop('*>* accept');
  lab.deliver(`${over}>${name} accepted`);
}

const issued = (lab: Lab, name: string): string[] =>
  lab.bag.flatMap((e) => (e.from === name && e.message.type === 'accept' ? [showValue(e.message.value)] : []));

describe('§2.1 The problem', () => {
  test('"Only a value that has been proposed may be chosen"', () => {
    const lab = new Lab({ voters: 'ABC', alpha: 1 });
    propose(lab, 'A', 'x', 'BC');
    accepted(lab, 'A', 'BC');
    expect(lab.checkers.chosenIn(1)).toBe('x');
  });

  test('"Only a single value is chosen"', () => {
    const lab = new Lab({ voters: 'ABC', alpha: 1 });
    propose(lab, 'A', 'x', 'BC');
    propose(lab, 'C', 'y', 'AB');
    lab.settle();
    lab.tick(3);
    expect(lab.names.map((name) => lab.committed(name)[0])).toEqual(['y', 'y', 'y']);
  });

  test('"A process never learns that a value has been chosen unless it actually has been"', () => {
    const lab = new Lab({ voters: 'ABCDE', alpha: 1 });
    propose(lab, 'A', 'x', 'BC');
    lab.deliver('A>B accept');
    lab.deliver('B>A accepted');
    // Two of five, the proposer's own among them.
    expect(lab.committed('A')).toEqual([]);
    lab.duplicate('*>A accepted');
    lab.deliver('A>B accept');
    lab.deliver('B>A accepted');
    expect(lab.committed('A')).toEqual([]);
    lab.deliver('A>C accept');
    lab.deliver('C>A accepted');
    expect(lab.committed('A')).toEqual(['x']);
  });
});

describe('§2.2 Choosing a value', () => {
  test('P1 "An acceptor must accept the first proposal that it receives."', () => {
    const acceptor = new Acceptor();
    expect(acceptor.tell(accept('1.A', 'x'))).toMatchObject([{ type: 'accepted', slots: [1] }]);
    expect(acceptor.accepted).toBe('x');
  });

  test('"an acceptor must be allowed to accept more than one proposal"', () => {
    const acceptor = new Acceptor();
    acceptor.tell(accept('1.A', 'x'));
    expect(acceptor.tell(accept('2.B', 'y'))).toMatchObject([{ type: 'accepted' }]);
    expect(acceptor.accepted).toBe('y');
  });

  test('P1a "An acceptor can accept a proposal numbered n iff it has not responded to a prepare request having a number greater than n."', () => {
    const iff = new Acceptor();
    iff.tell(prepare('3.C'));
    expect(iff.tell(accept('2.B', 'x'))).toMatchObject([{ type: 'nack', reason: 'ballot', promised: ballot('3.C') }]);
    expect(iff.accepted).toBeNull();
    expect(iff.tell(accept('3.C', 'y'))).toMatchObject([{ type: 'accepted' }]);
    expect(iff.tell(accept('4.A', 'z'))).toMatchObject([{ type: 'accepted' }]);
  });

  test('P2 "If a proposal with value v is chosen, then every higher-numbered proposal that is chosen has value v."', () => {
    const lab = new Lab({ voters: 'ABC', alpha: 1 });
    propose(lab, 'A', 'v', 'BC');
    accepted(lab, 'A', 'B');
    expect(lab.checkers.chosenIn(1)).toBe('v');
    lab.bag = [];
    propose(lab, 'C', 'w', 'B');
    accepted(lab, 'C', 'AB');
    expect(lab.committed('C')).toEqual(['v']);
  });

  test('P2a "…every higher-numbered proposal accepted by any acceptor has value v." — also by one that received none before', () => {
    // The paper's own example: c has not received any proposal, a new proposer "wakes up" and issues a higher-numbered one with another value.
    const lab = new Lab({ voters: 'ABC', alpha: 1 });
    propose(lab, 'A', 'v', 'BC');
    accepted(lab, 'A', 'B');
    lab.bag = [];
    expect(lab.host('C').disk.everAccepted.size).toBe(0);
    propose(lab, 'C', 'w', 'B');
    lab.settle();
    expect([...lab.host('C').disk.everAccepted.values()]).toEqual(['v']);
  });

  test('P2b "…every higher-numbered proposal issued by any proposer has value v."', () => {
    const lab = new Lab({ voters: 'ABC', alpha: 1 });
    propose(lab, 'A', 'v', 'BC');
    accepted(lab, 'A', 'B');
    lab.bag = [];
    for (const [name, over] of [
      ['C', 'B'],
      ['B', 'C'],
      ['C', 'B'],
    ] as const) {
      propose(lab, name, `w${name}`, over);
      expect(new Set(issued(lab, name))).toEqual(new Set(['v']));
      lab.bag = [];
      lab.crash(name);
      lab.restart(name);
    }
  });

  describe('P2c "…there is a set S consisting of a majority of acceptors such that either', () => {
    test('(a) no acceptor in S has accepted any proposal numbered less than n": any value', () => {
      const lab = new Lab({ voters: 'ABC', alpha: 1 });
      propose(lab, 'A', 'x', 'BC');
      expect(new Set(issued(lab, 'A'))).toEqual(new Set(['x']));
    });

    test('(b) v is the value of the highest-numbered proposal among all proposals numbered less than n accepted by the acceptors in S."', () => {
      const lab = new Lab({ voters: 'ABCDE', alpha: 1 });
      // Only D holds 1.A's x, only C holds the later y.
      propose(lab, 'A', 'x', 'BD');
      lab.crash('A');
      lab.deliver('A>D accept');
      lab.bag = [];
      propose(lab, 'B', 'y', 'CE');
      lab.crash('B');
      lab.deliver('B>C accept');
      lab.bag = [];
      propose(lab, 'E', 'z', 'CD');
      expect(new Set(issued(lab, 'E'))).toEqual(new Set(['y']));
    });

    test('and of fewer than a majority nothing follows: nothing is issued', () => {
      const lab = new Lab({ voters: 'ABCDE', alpha: 1 });
      propose(lab, 'A', 'x', 'B');
      expect(issued(lab, 'A')).toEqual([]);
    });
  });

  describe('Phase 1.', () => {
    test('(a) "A proposer selects a proposal number n and sends a prepare request with number n to a majority of acceptors."', () => {
      const lab = new Lab({ voters: 'ABC', alpha: 1 });
      lab.campaign('A');
      expect(lab.select('A>* prepare').map((e) => e.to)).toEqual(['B', 'C']);
    });

    test('(b) "…greater than that of any prepare request to which it has already responded, then it responds to the request with a promise not to accept any more proposals numbered less than n', () => {
      const acceptor = new Acceptor();
      expect(acceptor.tell(prepare('2.B'))).toMatchObject([{ type: 'promise', accepted: [] }]);
      expect(acceptor.tell(prepare('1.A'))).toMatchObject([{ type: 'nack', promised: ballot('2.B') }]);
      expect(acceptor.tell(accept('1.A', 'x'))).toMatchObject([{ type: 'nack' }]);
      expect(acceptor.tell(prepare('2.C'))).toMatchObject([{ type: 'promise' }]);
      expect(acceptor.promised).toEqual(ballot('2.C'));
    });

    test('and with the highest-numbered proposal (if any) that it has accepted."', () => {
      const acceptor = new Acceptor();
      acceptor.tell(accept('1.A', 'x'));
      acceptor.tell(accept('2.B', 'y'));
      expect(acceptor.tell(prepare('3.C'))).toMatchObject([
        { type: 'promise', accepted: [{ slot: 1, ballot: ballot('2.B'), value: { hash: value('y').hash } }] },
      ]);
    });

    test('a prepare request that it responded to before is answered again (the answer may have been lost)', () => {
      const acceptor = new Acceptor();
      acceptor.tell(prepare('2.B'));
      expect(acceptor.tell(prepare('2.B'))).toMatchObject([{ type: 'promise' }]);
    });
  });

  describe('Phase 2.', () => {
    test('(a) "If the proposer receives a response to its prepare requests (numbered n) from a majority of acceptors, then it sends an accept request…', () => {
      const lab = new Lab({ voters: 'ABC', alpha: 1 });
      lab.campaign('A');
      lab.deliver('A>B prepare');
      expect(lab.select('A>* accept')).toEqual([]);
      lab.deliver('B>A promise');
      expect(lab.select('A>* accept').map((e) => e.to)).toEqual(['B', 'C']);
    });

    test('(a) …or is any value if the responses reported no proposals."', () => {
      const lab = new Lab({ voters: 'ABC', alpha: 1 });
      propose(lab, 'A', 'anything', 'B');
      expect(issued(lab, 'A')).toEqual(['anything', 'anything']);
    });

    test('(a) responses to a request with another number do not count', () => {
      const lab = new Lab({ voters: 'ABC', alpha: 1 });
      lab.campaign('A');
      lab.deliver('A>B prepare');
      const late = lab.take('B>A promise');
      lab.crash('A');
      lab.restart('A');
      lab.campaign('A');
      lab.bag = [];
      lab.input('A', ...late);
      expect(lab.view('A').leads).toBe(false);
    });

    test('(b) "If an acceptor receives an accept request for a proposal numbered n, it accepts the proposal unless it has already responded to a prepare request having a number greater than n."', () => {
      const acceptor = new Acceptor();
      acceptor.tell(prepare('2.B'));
      expect(acceptor.tell(accept('2.B', 'x'))).toMatchObject([{ type: 'accepted', ballot: ballot('2.B') }]);
      acceptor.tell(prepare('3.C'));
      expect(acceptor.tell(accept('2.B', 'x'))).toMatchObject([{ type: 'nack', promised: ballot('3.C') }]);
      expect(acceptor.accepted).toBe('x');
    });

    test('accepting a proposal numbered n promises n as well', () => {
      const acceptor = new Acceptor();
      acceptor.tell(accept('2.B', 'x'));
      expect(acceptor.promised).toEqual(ballot('2.B'));
      expect(acceptor.tell(accept('1.A', 'y'))).toMatchObject([{ type: 'nack' }]);
      expect(acceptor.tell(prepare('1.C'))).toMatchObject([{ type: 'nack' }]);
    });
  });

  test('"it should probably inform the proposer, who should then abandon its proposal."', () => {
    const lab = new Lab({ voters: 'ABC', alpha: 1 });
    propose(lab, 'A', 'x', 'BC');
    lab.campaign('B');
    lab.deliver('B>C prepare');
    lab.deliver('A>C accept');
    expect(lab.view('A').leads).toBe(true);
    lab.deliver('C>A nack');
    expect(lab.view('A').leads).toBe(false);
  });

  test('"an acceptor must remember this information even if it fails and then restarts."', () => {
    const acceptor = new Acceptor();
    acceptor.tell(accept('1.A', 'x'));
    acceptor.tell(prepare('3.C'));
    acceptor.restart();
    expect(acceptor.tell(accept('2.B', 'y'))).toMatchObject([{ type: 'nack', promised: ballot('3.C') }]);
    expect(acceptor.tell(prepare('4.D'))).toMatchObject([
      { type: 'promise', accepted: [{ ballot: ballot('1.A'), value: { hash: value('x').hash } }] },
    ]);
  });

  test('"the proposer can always abandon a proposal and forget all about it—as long as it never tries to issue another proposal with the same number."', () => {
    const lab = new Lab({ voters: 'ABC', alpha: 1 });
    propose(lab, 'A', 'x', 'BC');
    lab.deliver('A>B accept');
    lab.crash('A');
    lab.restart('A');
    lab.bag = [];
    expect(lab.view('A').leads).toBe(false);
    lab.campaign('A');
    const [e] = lab.select('A>B prepare');
    expect(e?.message).toMatchObject({ ballot: ballot('3.A') });
  });
});

describe('§2.3 Learning a chosen value', () => {
  test('"a learner must find out that a proposal has been accepted by a majority of acceptors."', () => {
    const lab = new Lab({ voters: 'ABC', learners: 'D', alpha: 1 });
    propose(lab, 'A', 'x', 'BC');
    lab.settle();
    lab.tick(10);
    expect(lab.committed('D')[0]).toBe('x');
  });

  test('acceptances of different proposals do not add up to a majority, even of one value', () => {
    const lab = new Lab({ voters: 'ABCDE', alpha: 1 });
    propose(lab, 'A', 'x', 'BC');
    lab.deliver('A>B accept');
    // Accepted by A and B under its number. C does not answer to that number, but to a later one.
    const [e] = lab.take('B>A accepted');
    if (e) lab.input('A', e);
    lab.input('A', {
      type: 'message',
      from: lab.host('C').peer,
      incarnation: lab.host('C').incarnation,
      message: { type: 'accepted', ballot: ballot('9.C'), slots: [at(1)], prefix: at(0) },
    });
    expect(lab.committed('A')).toEqual([]);
  });

  test('"Because of message loss, a value could be chosen with no learner ever finding out." … "it can have a proposer issue a proposal, using the algorithm described above."', () => {
    const lab = new Lab({ voters: 'ABC', alpha: 1 });
    propose(lab, 'A', 'x', 'BC');
    lab.deliver('A>B accept');
    lab.crash('A');
    lab.bag = [];
    expect(lab.checkers.chosenIn(1)).toBe('x');
    expect(lab.names.flatMap((name) => lab.committed(name))).toEqual([]);
    propose(lab, 'C', 'y', 'B');
    lab.settle();
    expect(lab.committed('C')[0]).toBe('x');
  });
});

describe('§2.4 Progress', () => {
  test('"It’s easy to construct a scenario in which two proposers each keep issuing a sequence of proposals with increasing numbers, none of which are ever chosen."', () => {
    const lab = new Lab({ voters: 'ABC', alpha: 1 });
    for (let i = 0; i < 10; i++) {
      for (const [name, other] of ['AB', 'BA']) {
        lab.campaign(name as string, 'C');
        lab.deliver(`${name}>C prepare`);
        lab.deliver(`C>${name} promise`);
        // The other one's accept requests come too late now.
        lab.deliver(`${other}>C accept`);
        lab.deliver(`C>${other} nack`);
        lab.drop(`*>${name}${other}`);
      }
    }
    expect(lab.checkers.chosenIn(1)).toBeNull();
    expect(lab.core('C').promised?.round).toBeGreaterThan(10);
  });

  test('"If the distinguished proposer can communicate successfully with a majority of acceptors, and if it uses a proposal with number greater than any already used, then it will succeed in issuing a proposal that is accepted."', () => {
    const lab = new Lab({ voters: 'ABC', alpha: 1 });
    lab.host('C').disk.promised = ballot('40.B');
    lab.crash('C');
    lab.restart('C');
    lab.tick(80);
    expect(lab.leaders).toHaveLength(1);
    expect(lab.checkers.chosenIn(1)).toBe('noop');
    expect(lab.core(lab.leaders[0] as string).promised?.round).toBeGreaterThan(40);
  });
});

describe('§2.5 The implementation', () => {
  test('"two different proposers never issue a proposal with the same number."', () => {
    const lab = new Lab({ voters: 'ABC', alpha: 1 });
    for (const name of lab.names) lab.campaign(name, name === 'C' ? 'A' : 'C');
    const numbers = new Set(lab.select('*>* prepare').map((e) => JSON.stringify((e.message as Prepare).ballot)));
    expect(numbers.size).toBe(3);
  });

  test('"Each proposer remembers (in stable storage) the highest-numbered proposal it has tried to issue, and begins phase 1 with a higher proposal number than any it has already used."', () => {
    const lab = new Lab({ voters: 'ABC', alpha: 1 });
    const used: number[] = [];
    for (let i = 0; i < 5; i++) {
      lab.campaign('A');
      const [e] = lab.select('A>B prepare');
      used.push(((e as Envelope).message as Prepare).ballot.round);
      lab.bag = [];
      lab.crash('A');
      lab.restart('A');
    }
    expect(used).toEqual([2, 3, 4, 5, 6]);
  });

  test('"stable storage … records its intended response in stable storage before actually sending the response."', () => {
    const acceptor = new Acceptor();
    acceptor.lab.hang('E');
    expect(acceptor.tell(prepare('1.A'))).toEqual([]);
    acceptor.lab.unhang('E');
    expect(acceptor.lab.select('E>A promise')).toHaveLength(1);
    acceptor.lab.hang('E');
    acceptor.lab.bag = [];
    expect(acceptor.tell(accept('1.A', 'x'))).toEqual([]);
    acceptor.lab.unhang('E');
    expect(acceptor.lab.select('E>A accepted')).toHaveLength(1);
  });
});

test('any order, any loss, any duel: one slot has one value (1,000 seeded runs)', { timeout: 60_000 }, () => {
  for (let seed = 1; seed <= 1000; seed++) {
    const random = new Random(seed);
    const lab = new Lab({ voters: random.pick(['ABC', 'ABCD', 'ABCDE']), alpha: 1, encoded: false });
    for (let i = 0; i < 40; i++) {
      const name = random.pick(lab.names);
      if (random.chance(0.15)) lab.campaign(name, random.pick(lab.names.filter((n) => n !== name)));
      else if (random.chance(0.05)) {
        lab.crash(name);
        lab.restart(name);
      } else if (lab.bag.length > 0) {
        const e = random.pick(lab.bag);
        if (random.chance(0.1)) lab.bag.push(e);
        lab.deliverOne(e);
      }
    }
  }
});
