import { afterEach, describe, expect, test, vi } from 'vitest';
import { InvariantError } from '../../shared/base/assert.ts';
import { equal } from '../../shared/base/bytes.ts';
import { type Ballot, compareBallots } from '../../shared/consensus/ballot.ts';
import type { Input } from '../../shared/consensus/io.ts';
import { Ledger } from '../../shared/consensus/ledger.ts';
import type { Accept, Accepted, Promise1b } from '../../shared/consensus/messages.ts';
import { Proposer } from '../../shared/consensus/proposer.ts';
import { Violation } from './checkers.ts';
import { Disk, Lab } from './lab.ts';
import { at, ballot, peerOf, value } from './names.ts';
import { walk } from './walk.ts';

// What a model check of the rules found to break agreement once a rule is weakened. Each is told twice: with the rule, and nothing happens; with
// the rule weakened, and the checkers (or the core's own assertions) see it.

afterEach(() => {
  vi.restoreAllMocks();
});

/** @param story tells it, with the rule weakened or not. */
function rule(name: string, story: (weak: boolean) => void): void {
  describe(name, () => {
    test('holds', () => {
      story(false);
    });
    test('weakened, is seen to break', () => {
      let caught: unknown;
      try {
        story(true);
      } catch (error) {
        caught = error;
      }
      expect(caught instanceof Violation || caught instanceof InvariantError, `caught: ${caught}`).toBe(true);
    });
  });
}

const proposes = (...texts: string[]): Input[] =>
  texts.map((text) => ({ type: 'propose', value: value(text), afterBatch: false }));

/** Changes Promises as they leave. */
function tamperPromises(lab: Lab, change: (m: Promise1b) => Promise1b): void {
  lab.onLeave = (e) => (e.message.type === 'promise' ? change(e.message) : e.message);
}

/** `name` campaigns with promises of `over` and proposes `texts` in the turn in which they are complete. */
function lead(lab: Lab, name: string, over: string, ...texts: string[]): void {
  lab.campaign(name);
  lab.deliver(`${name}>${over} prepare`);
  lab.drop(`${name}>* prepare`);
  lab.input(name, ...lab.take(`${over}>${name} promise`), ...proposes(...texts));
}

/** What `name` proposed is accepted by `over` and heard of. */
function accepted(lab: Lab, name: string, over: string): void {
  lab.deliver(`${name}>${over} accept`);
  lab.drop(`${name}>* accept`);
  lab.deliver(`${over}>${name} accepted`);
}

rule('a watermark covers only what its leader proposed; one that learns another value steps down', (weak) => {
  const lab = new Lab({ voters: 'ABCDE' });
  lab.elect('A');
  if (weak) {
    const stepDown = Proposer.prototype.stepDown;
    vi.spyOn(Proposer.prototype, 'stepDown').mockImplementation(function (this: Proposer, reason: string) {
      if (!reason.includes('decided by another ballot')) stepDown.call(this, reason);
    });
  }
  lab.propose('A', 'x');
  lab.deliver('A>B accept');
  lab.bag = [];
  lab.cut('A-CDE', 'B-CDE');
  lead(lab, 'C', 'DE', 'y');
  accepted(lab, 'C', 'DE');
  lab.bag = [];
  // A learns y in 2, where it proposed x itself and B accepted that.
  lab.input('A', {
    type: 'message',
    from: peerOf('D'),
    incarnation: lab.host('D').incarnation,
    message: { type: 'values', from: at(2), values: [value('y')], digest: lab.core('C').digest, prefix: at(2) },
  });
  lab.tick(3, ['A', 'B']);
  expect(lab.committed('B')).not.toContain('x');
});

rule('a Promise lists everything above its floor, with no upper limit', (weak) => {
  const lab = new Lab({ voters: 'ABC', alpha: 1 });
  // The horizon of a candidate that knows nothing is slot 1.
  if (weak) tamperPromises(lab, (m) => ({ ...m, accepted: m.accepted.filter((row) => row.slot <= 1) }));
  lead(lab, 'A', 'B', 'x');
  accepted(lab, 'A', 'B');
  lab.deliver('A>B commit');
  lab.propose('A', 'y');
  lab.deliver('A>B accept');
  expect(lab.checkers.chosenIn(2)).toBe('y');
  lab.crash('A');
  lab.bag = [];
  lead(lab, 'C', 'B');
  lab.settle();
  lab.propose('C', 'z');
  lab.settle();
  expect(lab.committed('C').slice(0, 2)).toEqual(['x', 'y']);
});

rule('promises of a configuration count only for its slots', (weak) => {
  // {BCD}, chosen in 2, takes over from {ABC} in slot 4. C commits 4=x with D; B knows only that the change was chosen.
  const lab = new Lab({ voters: 'ABC', learners: 'D', alpha: 2 });
  lab.elect('C');
  lab.tick(20);
  lab.reconfigure('C', 'BCD');
  lab.deliver('C>AB accept');
  lab.deliver('AB>C accepted');
  lab.deliver('C>AB commit');
  lab.cut('C-B', 'B-D');
  lab.deliver('C>A accept');
  lab.deliver('A>C accepted');
  lab.cut('A-C', 'A-D');
  lab.settle();
  lab.tick(2, ['C', 'D']);
  lab.propose('C', 'x');
  lab.settle();
  expect(lab.checkers.chosenIn(4)).toBe('x');
  lab.crash('C');
  lab.campaign('B', 'C');
  lab.deliver('B>A prepare');
  if (weak) {
    // A's promise for {ABC} is passed off as D's for {BCD}.
    for (const input of lab.select('A>B promise')) {
      const message = { ...(input.message as Promise1b), configuration: at(2) };
      lab.input('B', { type: 'message', from: peerOf('D'), incarnation: lab.host('D').incarnation, message });
    }
  }
  lab.settle();
  lab.propose('B', 'y');
  lab.settle();
  lab.heal();
  lab.tick(60, ['A', 'B', 'D']);
  expect(lab.committed('B')[3]).toBe('x');
});

rule('a ballot is never resumed after a restart (R3)', (weak) => {
  const lab = new Lab({ voters: 'ABC' });
  if (weak) {
    lab.onCrash = (disk) => {
      disk.promised = null;
    };
  }
  lab.campaign('A');
  lab.crash('A');
  lab.restart('A');
  lab.campaign('A');
});

rule('one’s own vote counts once it is durable', (weak) => {
  const lab = new Lab({ voters: 'A' });
  lab.tick(2);
  lab.eagerSelf = weak;
  lab.hang('A');
  lab.propose('A', 'x');
  expect(lab.core('A').prefix).toBe(1);
  lab.unhang('A');
  expect(lab.committed('A')).toEqual(['noop', 'x']);
});

rule('no word of a promise or an acceptance leaves before it is on the disk (base rule 1)', (weak) => {
  const lab = new Lab({ voters: 'ABC' });
  lab.sendsFirst = weak;
  lab.tick(2);
  lab.campaign('A');
  lab.settle();
});

rule('a promise survives a restart', (weak) => {
  const lab = new Lab({ voters: 'ABC' });
  lab.elect('A');
  const before = lab.host('B').disk.promised;
  lab.propose('A', 'x');
  const late = lab.take('A>B accept');
  lab.crash('A');
  lab.bag = [];
  lead(lab, 'C', 'B', 'y');
  if (weak) {
    lab.onCrash = (disk) => {
      disk.promised = before;
    };
  }
  lab.crash('B');
  lab.restart('B');
  lab.input('B', ...late);
  accepted(lab, 'C', 'B');
  expect(lab.committed('C')[1]).toBe('y');
});

rule('an acceptance survives a restart', (weak) => {
  const lab = new Lab({ voters: 'ABC' });
  lab.elect('A');
  lab.propose('A', 'x');
  accepted(lab, 'A', 'B');
  lab.crash('A');
  lab.bag = [];
  if (weak) {
    lab.onCrash = (disk) => {
      disk.log.delete(2);
    };
  }
  lab.crash('B');
  lab.restart('B');
  lead(lab, 'C', 'B', 'y');
  accepted(lab, 'C', 'B');
  expect(lab.committed('C')[1]).toBe('x');
});

rule('nothing is filled in below a floor', (weak) => {
  const lab = new Lab({ voters: 'ABC' });
  lab.elect('A');
  lab.cut('A-C');
  lab.propose('A', 'x');
  lab.settle();
  lab.crash('A');
  lab.heal();
  if (weak) tamperPromises(lab, (m) => ({ ...m, floor: at(1), digest: lab.core('C').digest }));
  lead(lab, 'C', 'B');
  lab.settle();
  expect(lab.committed('C').slice(0, 2)).toEqual(['noop', 'x']);
});

rule('|Q1| + |Q2| > N', (weak) => {
  const lab = new Lab({ voters: 'ABCD', ...(weak ? { q1: 2, q2: 2 } : {}) });
  lead(lab, 'A', 'BC', 'x');
  accepted(lab, 'A', 'B');
  lab.bag = [];
  lab.crash('A', 'B');
  lead(lab, 'C', 'D', 'y');
  lab.settle();
  expect(lab.committed('C')).toEqual([]);
});

rule('accepting a ballot promises it', (weak) => {
  if (weak) {
    const accept = Ledger.prototype.accept;
    vi.spyOn(Ledger.prototype, 'accept').mockImplementation(function (this: Ledger, ...args) {
      Object.defineProperty(this, 'promise', { value: () => {}, configurable: true });
      accept.apply(this, args);
      Reflect.deleteProperty(this, 'promise');
    });
  }
  const lab = new Lab({ voters: 'ABC' });
  lead(lab, 'A', 'B', 'x');
  accepted(lab, 'A', 'C');
  expect(compareBallots(lab.host('C').disk.promised, lab.host('A').disk.promised)).toBe(0);
});

rule('the highest accepted ballot binds', (weak) => {
  const lab = new Lab({ voters: 'ABCDE' });
  if (weak) {
    const isX = (row: Promise1b['accepted'][number]): boolean => equal(row.value.hash, value('x').hash);
    const raised = (m: Promise1b): Promise1b => ({
      ...m,
      accepted: m.accepted.map((row) => (isX(row) ? { ...row, ballot: { ...row.ballot, round: 99 } } : row)),
    });
    tamperPromises(lab, raised);
  }
  lead(lab, 'A', 'BC', 'x');
  lab.deliver('A>D accept');
  lab.crash('A');
  lab.restart('A');
  lab.bag = [];
  lead(lab, 'B', 'CE', 'y');
  accepted(lab, 'B', 'AC');
  expect(lab.checkers.chosenIn(1)).toBe('y');
  lab.crash('A', 'B');
  lab.bag = [];
  // E hears of x from D and of y from C.
  lead(lab, 'E', 'CD', 'z');
  lab.settle();
  expect(lab.committed('E')[0]).toBe('y');
});

rule('votes of different ballots do not add up', (weak) => {
  const lab = new Lab({ voters: 'ABCDE' });
  lead(lab, 'A', 'CD', 'x');
  lab.deliver('A>B accept');
  const [vote] = lab.take('B>A accepted') as [Input & { message: Accepted }];
  lab.bag = [];
  lead(lab, 'C', 'DE', 'y');
  const message = weak ? { ...vote.message, ballot: lab.core('C').promised as Ballot } : vote.message;
  lab.input('C', { type: 'message', from: peerOf('B'), incarnation: lab.host('B').incarnation, message });
  accepted(lab, 'C', 'D');
  expect(lab.core('C').prefix).toBe(0);
});

rule('a store that lost its memory does not count as the voter that it was (R7)', (weak) => {
  const lab = new Lab({ voters: 'ABC' });
  lead(lab, 'A', 'B', 'x');
  accepted(lab, 'A', 'B');
  expect(lab.checkers.chosenIn(1)).toBe('x');
  lab.bag = [];
  lab.crash('A', 'B');
  if (weak) {
    lab.host('B').disk = new Disk();
    lab.restart('B');
  } else {
    lab.wipe('B');
  }
  lead(lab, 'C', 'B', 'y');
  lab.settle();
  expect(lab.view('C').leads).toBe(weak);
});

describe('the horizon and the acceptor’s own check cover for each other', () => {
  test('with the horizon off, an acceptor refuses what it cannot judge', () => {
    const lab = new Lab({ voters: 'ABC', alpha: 2 });
    const beyond: Accept = {
      type: 'accept',
      ballot: ballot('1.A'),
      configuration: at(0),
      slot: at(3),
      value: value('x'),
      watermark: at(0),
    };
    lab.input('B', { type: 'message', from: peerOf('A'), incarnation: lab.host('A').incarnation, message: beyond });
    expect(lab.select('B>A').map((e) => e.message)).toMatchObject([{ type: 'behind', lacks: 'me' }]);
    expect(lab.core('B').accepted.size).toBe(0);
  });

  test('with the acceptors’ check off, a leader does not propose beyond the horizon', () => {
    const lab = new Lab({ voters: 'ABC', alpha: 2 });
    lab.elect('A');
    lab.input('A', ...proposes('a', 'b', 'c', 'd'));
    const slots = lab.select('A>B accept').map((e) => (e.message as Accept).slot);
    expect(slots).toEqual([2, 3]);
  });

  test('a leader that ignores it is seen', () => {
    const lab = new Lab({ voters: 'ABC', alpha: 2 });
    lab.elect('A');
    vi.spyOn(Ledger.prototype, 'horizon', 'get').mockReturnValue(at(99));
    expect(() => lab.input('A', ...proposes('a', 'b', 'c', 'd'))).toThrow(Violation);
  });
});

describe('rules too strong stop the group; these are as weak as they must be', () => {
  test('an acceptor takes part in the old configuration’s slots although it knows the new one', () => {
    const lab = new Lab({ voters: 'ABC', learners: 'D', alpha: 3 });
    lab.elect('A');
    lab.tick(20);
    lab.reconfigure('A', 'ABD');
    lab.tick(20);
    expect(lab.core('A').prefix).toBe(4);
  });

  test('anybody may announce a digest: with no leader, a candidate still catches up', () => {
    const lab = new Lab({ voters: 'ABC' });
    lab.elect('A');
    lab.cut('A-C');
    lab.propose('A', 'x');
    lab.settle();
    lab.crash('A');
    lab.heal();
    lab.tick(6, ['B', 'C']);
    expect(lab.leaders).toEqual([]);
    lab.tick(40, ['B', 'C']);
    expect(lab.committed('C')).toContain('x');
  });

  test('a Prepare at the ballot promised before is granted: a leader prepares a further configuration under its own', () => {
    const lab = new Lab({ voters: 'ABC', learners: 'D', alpha: 2 });
    lab.elect('A');
    lab.tick(20);
    lab.reconfigure('A', 'ABD');
    lab.tick(20);
    lab.propose('A', 'x');
    lab.settle();
    expect(lab.committed('D')).toContain('x');
    expect(lab.log.filter((line) => / leads /.test(line))).toHaveLength(1);
  });

  test('Behind says who has to fetch: both directions lead on', () => {
    const lab = new Lab({ voters: 'ABC', learners: 'D', alpha: 1 });
    lab.elect('A');
    lab.tick(20);
    lab.cut('C-ABD');
    lab.reconfigure('A', 'ACD');
    lab.tick(10);
    lab.propose('A', 'x');
    lab.settle();
    lab.crash('A');
    lab.heal();
    // C knows nothing of the change; D has what it lacks.
    lab.tick(150);
    expect(lab.leaders).toHaveLength(1);
    expect(lab.committed('C')).toContain('x');
  });
});

describe('the random walk finds planted faults', () => {
  const faults: Record<string, (lab: Lab) => void> = {
    'Promises without what was accepted': (lab) => tamperPromises(lab, (m) => ({ ...m, accepted: [] })),
    'Promises with the floor forgotten': (lab) => tamperPromises(lab, (m) => ({ ...m, floor: at(0) })),
    'promises lost in a crash': (lab) => {
      lab.onCrash = (disk) => {
        disk.promised = null;
        for (const [s, record] of [...disk.log]) {
          if (
            record.ballot &&
            s > disk.prefix &&
            (!disk.promised || compareBallots(record.ballot, disk.promised) > 0)
          ) {
            disk.promised = record.ballot;
          }
        }
      };
    },
    'acceptances lost in a crash': (lab) => {
      lab.onCrash = (disk) => {
        for (const s of [...disk.log.keys()]) if (s > disk.prefix) disk.log.delete(s);
      };
    },
    'own votes counted too early': (lab) => {
      lab.eagerSelf = true;
    },
    'messages before their write': (lab) => {
      lab.sendsFirst = true;
    },
  };

  test.each(Object.entries(faults))('%s', { timeout: 60_000 }, (_, weaken) => {
    const seeds = Array.from({ length: 400 }, (_, i) => i + 1);
    const caught = seeds.find((seed) => {
      try {
        walk({ seed, weaken, live: false });
        return false;
      } catch (error) {
        const { cause } = error as Error;
        if (cause instanceof Violation || cause instanceof InvariantError) return true;
        throw error;
      }
    });
    expect(caught).toBeDefined();
  });
});
