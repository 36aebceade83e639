import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareText } from '../../shared/base/bytes.ts';
import { incarnationFromBytes, type PeerId, slot } from '../../shared/base/ids.ts';
import { type Configuration, majorities } from '../../shared/consensus/configuration.ts';
import { type Machine, seatsFor, wantedVoters } from '../../shared/replica/policy.ts';

const incarnation = (n: number) => incarnationFromBytes(new Uint8Array(16).fill(n));

/**
 * A machine in a few letters: its name, and then what is not as usual (here, sound, steady, not meant to stay on).
 * `!` stays on, `~` here for too short, `-` away since yesterday morning at most, `x` gone for longer, `d` damaged, `a` said that it goes away,
 * `*` pinned voter, `w` pinned witness, `l` pinned learner, `?` never heard, `2` its store was made anew, `<` here for longer than the others.
 */
function machine(spec: string): Machine {
  const [name = '', ...marks] = spec;
  const has = (mark: string): boolean => marks.includes(mark);
  const isHere = !(has('-') || has('x') || has('?'));
  const isReady = isHere && !has('d') && !has('a');
  return {
    peer: name as PeerId,
    incarnation: incarnation(has('2') ? 2 : 1),
    pinned: has('*') ? 'voter' : has('w') ? 'witness' : has('l') ? 'learner' : null,
    isReady,
    isSteady: isReady && !has('~'),
    isHere,
    isAway: has('a'),
    isLost: has('x') || has('d') || has('a'),
    staysOn: has('?') ? null : has('!'),
    presence: has('<') ? 5 : 1,
  };
}

const machines = (specs: string): Machine[] => specs.split(' ').filter(Boolean).map(machine);

/** `now` are the letters of those who vote. */
function configuration(now: string, of: readonly Machine[]): Configuration {
  const voters = [...now].map((name) => {
    const member = of.find((m) => m.peer === name);
    return { peer: name as PeerId, incarnation: incarnation(1), witness: member?.pinned === 'witness' };
  });
  return { previous: slot(0), epoch: new Uint8Array(32), voters, ...majorities(Math.max(1, voters.length)) };
}

/** The letters of those who should vote, and why; where all is well, those who do. */
function decided(now: string, specs: string, decides = true): string {
  const all = machines(specs);
  const wanted = wantedVoters(configuration(now, all), all, decides);
  return wanted === null ? now : `${wanted.voters.map((v) => v.peer).join('')} ${wanted.why}`;
}

const letters = 'ABCDEFGH';
const list = (n: number, mark = ''): string => [...letters.slice(0, n)].map((name) => name + mark).join(' ');

describe('so many machines, so many votes', () => {
  test.each([
    [1, 'A', 'A'],
    [2, 'A', 'A'],
    [3, 'ABC more', 'ABC more'],
    [4, 'ABC more', 'ABC more'],
    [5, 'ABC more', 'ABCDE more'],
    [6, 'ABC more', 'ABCDE more'],
    [7, 'ABC more', 'ABCDE more'],
    [8, 'ABC more', 'ABCDE more'],
  ])('%i', (n, passing, stayingOn) => {
    expect(decided('A', list(n))).toBe(passing);
    expect(decided('A', list(n, '!'))).toBe(stayingOn);
    expect([seatsFor(n, false), seatsFor(n, true)]).toEqual([passing, stayingOn].map((of) => of.split(' ')[0]?.length));
  });

  test('machines that stay on vote alone, as many as there are of them', () => {
    expect(decided('A', 'A B! C D')).toBe('B stays-on');
    expect(decided('ABC', 'A B C D!')).toBe('D stays-on');
    expect(decided('ABC', 'A B C D! E!')).toBe('D stays-on');
    expect(decided('ABC', 'A B C D! E! F!')).toBe('DEF stays-on');
    expect(decided('D', 'A B C D!')).toBe('D');
    expect(decided('A', 'A! B! C! D! E F')).toBe('ABC more');
  });

  test('only steady ones are given a vote', () => {
    expect(decided('A', 'A B C~')).toBe('A');
    expect(decided('A', 'A B C~ D')).toBe('ABD more');
    expect(decided('A', 'A Bd Cd D-')).toBe('A');
    expect(decided('A', 'A B!~ C!~')).toBe('A');
  });

  test('the one that has been here for longer is preferred, but nobody gives way to it', () => {
    expect(decided('A', 'A B C D<')).toBe('ABD more');
    expect(decided('ABC', 'A B C D<')).toBe('ABC');
    expect(decided('A', 'A! B!<')).toBe('A');
  });
});

describe('a voter that is not there', () => {
  test.each<[string, string, string]>([
    ['keeps its vote for a day', 'A B C- D', 'ABC'],
    ['then makes room for a steady one', 'A B Cx D', 'ABD gone'],
    ['if there is one', 'A B Cx', 'ABC'],
    ['which has to be here for a while', 'A B Cx D~', 'ABC'],
    ['makes room at once where it said so', 'A B Ca D', 'ABD away'],
    ['not for one that said so, too', 'A B Ca Da', 'ABC'],
    ['makes room where its store is damaged', 'A B Cd D', 'ABD damaged'],
    ['is not swapped among those that stay on for one that does not', 'A! B! C!x D', 'ABC'],
    ['but for one that does', 'A! B! C!x D!', 'ABD gone'],
    ['and was not heard since this peer looks counts as it did', 'A! B! C?', 'ABC'],
  ])('%s', (_what, specs, expected) => {
    expect(decided('ABC', specs)).toBe(expected);
  });

  test('the only voter hands its vote over as it goes away', () => {
    expect(decided('A', 'Aa B')).toBe('B away');
    expect(decided('A', 'Aa B~')).toBe('A');
    expect(decided('A', 'A!a B C D')).toBe('BCD away');
  });
});

describe('roles given by hand', () => {
  test.each<[string, string, string, string]>([
    ['a pinned voter gets its vote once it is here', 'A', 'A B*', 'AB hand'],
    ['and no sooner', 'A', 'A B*-', 'A'],
    ['it need not be steady', 'A', 'A B*~', 'AB hand'],
    ['an even number made by hand is left alone', 'AB', 'A B*', 'AB'],
    ['also where there are four', 'ABCD', 'A B C D*', 'ABCD'],
    ['a third machine makes it odd', 'AB', 'A B* C', 'ABC more'],
    ['pinned votes count among those that the machines ask for', 'AB', 'A* B* C', 'ABC more'],
    ['a pinned learner never votes', 'A', 'A Bl C', 'A'],
    ['one that did stops', 'ABC', 'A B* Cl', 'AB hand'],
    ['with none pinned, two left over are one too many', 'ABC', 'A B Cl', 'A fewer'],
    ['a removed voter is replaced in the same change', 'ABC', 'A B D', 'ABD more'],
    ['without a steady one, one is left of two', 'ABC', 'A B', 'A fewer'],
    ['but not with a pin', 'ABC', 'A B*', 'AB hand'],
    ['a pinned one that does not stay on votes beside one that does', 'A', 'A* B!', 'A'],
    ['others give way to one that stays on', 'AC', 'A* B! C', 'AB stays-on'],
    ['a pin rests while its machine is away', 'ABC', 'A B* C*a D', 'ABD away'],
    ['and its vote is not missed for where there are two', 'AB', 'A B*a', 'A away'],
    ['it does not get a vote while it is away', 'A', 'A B*a', 'A'],
    ['a store made anew is followed', 'ABC', 'A B* C*2', 'ABC hand'],
    ['once it is here', 'ABC', 'A B* C*2-', 'ABC'],
    ['a witness votes, and is never alone', 'A', 'A Bw', 'AB hand'],
    ['a witness counts among the machines', 'AB', 'A Bw C', 'ABC more'],
    ['witnesses are not left alone', 'AB', 'Al Bw', 'AB'],
    ['who is no member any more keeps the last vote until somebody can take it', 'A', 'B~', 'A'],
    ['which is the first steady one', 'A', 'B C', 'B hand'],
  ])('%s', (_what, now, specs, expected) => {
    expect(decided(now, specs)).toBe(expected);
  });

  test('alone decide where the policy may not', () => {
    expect(decided('A', 'A B C', false)).toBe('A');
    expect(decided('ABC', 'A B Cl', false)).toBe('AB hand');
    expect(decided('ABC', 'A B Cx D', false)).toBe('ABC');
  });

  test('what was asked for is told from what can wait', () => {
    const asked = (now: string, specs: string): boolean | undefined => {
      const all = machines(specs);
      return wantedVoters(configuration(now, all), all, true)?.isAsked;
    };
    expect(asked('A', 'A B C')).toBe(false);
    expect(asked('ABC', 'A B Cx D')).toBe(false);
    expect(asked('ABC', 'A B Ca D')).toBe(true);
    expect(asked('ABC', 'A B D')).toBe(true);
  });
});

const mark = fc.subarray([...'!~-xda?<'], { maxLength: 3 });
const pin = fc.constantFrom('', '', '', '*', 'w', 'l');
const group = fc
  .array(fc.tuple(mark, pin, fc.boolean()), { minLength: 1, maxLength: 8 })
  .map((list) => ({
    specs: list.map(([marks, by], i) => `${letters[i]}${marks.join('')}${by}`).join(' '),
    now: list.map(([, by, votes], i) => (votes && by !== 'l' ? (letters[i] as string) : '')).join('') || 'A',
  }))
  .filter(({ now, specs }) => [...now].some((name) => !specs.split(' ').some((s) => s[0] === name && s.includes('w'))));

const seed = 20261120;

describe('whatever the group', () => {
  const settled = (now: string, all: readonly Machine[]): string => {
    const wanted = wantedVoters(configuration(now, all), all, true);
    return wanted === null ? now : wanted.voters.map((v) => v.peer).join('');
  };

  test('somebody votes who holds the log; nobody votes who was told not to', () => {
    fc.assert(
      fc.property(group, ({ now, specs }) => {
        const all = machines(specs);
        const voters = settled(now, all);
        const ofVoters = all.filter((m) => voters.includes(m.peer));
        expect(ofVoters.some((m) => m.pinned !== 'witness')).toBe(true);
        const isLeft = ofVoters.filter((m) => m.pinned === 'learner').length === 0 || voters === now;
        expect(isLeft).toBe(true);
      }),
      { seed, numRuns: 3000 },
    );
  });

  test('the number is even only where votes were given by hand, and then the policy did not make it so', () => {
    fc.assert(
      fc.property(group, ({ now, specs }) => {
        const all = machines(specs);
        const byHand = wantedVoters(configuration(now, all), all, false)?.voters.length ?? now.length;
        const voters = settled(now, all);
        if (voters.length % 2 === 1) return;
        const pinned = all.some((m) => voters.includes(m.peer) && (m.pinned === 'voter' || m.pinned === 'witness'));
        expect(pinned).toBe(true);
        expect(voters.length).toBe(byHand);
      }),
      { seed, numRuns: 3000 },
    );
  });

  test('what it decides it leaves alone', () => {
    fc.assert(
      fc.property(group, ({ now, specs }) => {
        const all = machines(specs);
        const first = settled(now, all);
        expect(settled(first, all)).toBe(first);
      }),
      { seed, numRuns: 3000 },
    );
  });

  test('only steady machines get a vote that nobody gave them', () => {
    fc.assert(
      fc.property(group, ({ now, specs }) => {
        const all = machines(specs);
        for (const name of settled(now, all)) {
          const member = all.find((m) => m.peer === name) as Machine;
          if (now.includes(name) || member.pinned !== null) continue;
          expect(member.isSteady).toBe(true);
        }
      }),
      { seed, numRuns: 3000 },
    );
  });

  test('the order in which members came does not matter', () => {
    fc.assert(
      fc.property(group, fc.nat(), ({ now, specs }, by) => {
        const all = machines(specs);
        const turned = [...all.slice(by % all.length), ...all.slice(0, by % all.length)];
        const sorted = (text: string): string => [...text].toSorted(compareText).join('');
        expect(sorted(settled(now, turned))).toBe(sorted(settled(now, all)));
      }),
      { seed, numRuns: 1000 },
    );
  });
});
