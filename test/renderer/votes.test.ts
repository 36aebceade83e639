import { describe, expect, test } from 'vitest';
import type { MemberStatus } from '../../shared/ipc/contract.ts';
import { PeerError } from '../../shared/ipc/errors.ts';
import { changeFailed } from '../../src-renderer/words/changing.ts';
import { advice, decides, invitationWords, invitesVoter, outlook } from '../../src-renderer/words/votes.ts';

/** "Ana", a voter; "ben", one who reads along; "*Cy", a witness; with a minus one who is away, with a cross one who is being removed. */
const group = (...names: readonly string[]): { members: MemberStatus[] } => ({
  members: names.map((each) => {
    const name = each.replace(/[-*×]/g, '');
    return {
      peer: name,
      name,
      role: each.includes('*') ? 'witness' : name === name.toLowerCase() ? 'learner' : 'voter',
      rights: 'writer',
      connected: !each.includes('-'),
      ...(each.includes('×') ? { removing: true as const } : {}),
      chosen: 1,
      rttMs: null,
      lastSeen: null,
    };
  }),
});

describe('so many who decide', () => {
  test.each([
    [1, 'Then one machine decides; while it is away, nothing is agreed.'],
    [2, 'Then 2 decide, and both are needed. A third would let one be away.'],
    [3, 'Then 3 machines decide; any one may be away.'],
    [4, 'Then 4 decide, and 3 are needed: any one may be away, as with 3.'],
    [5, 'Then 5 machines decide; any two may be away.'],
    [6, 'Then 6 decide, and 4 are needed: any two may be away, as with 5.'],
  ])('%i', (voters, words) => {
    expect(decides(voters)).toBe(words);
  });

  test.each([
    [2, 1, 'Then 2 decide, and both are needed. A third would let one be away.'],
    [3, 2, 'Then 3 decide, and only one of them can lead: while it is away, nothing is agreed.'],
    [3, 1, 'Then 3 machines decide; any one may be away.'],
    [5, 3, 'Then 5 decide; any one may be away: of the two that can lead, one has to be here.'],
    [5, 2, 'Then 5 machines decide; any two may be away.'],
  ])('%i, of whom %i are witnesses', (voters, witnesses, words) => {
    expect(decides(voters, witnesses)).toBe(words);
  });
});

describe('what a change leads to', () => {
  test('a vote given, one or two at once', () => {
    expect(outlook(group('Ana', 'ben'), 'promote', ['ben'])).toEqual({ result: decides(2), warning: null });
    expect(outlook(group('Ana', 'ben', 'cy'), 'promote', ['ben', 'cy'])).toEqual({ result: decides(3), warning: null });
  });

  test('a vote for a machine that is away counts later, and holds nobody up', () => {
    expect(outlook(group('Ana', '-ben'), 'promote', ['ben']).warning).toBe(
      'ben is away: the vote counts from when it is back and up to date.',
    );
  });

  test('a vote taken back, or a voter removed, with those who are here', () => {
    for (const change of ['demote', 'expel'] as const) {
      expect(outlook(group('Ana', 'Ben', 'Cy'), change, ['Cy'])).toEqual({ result: decides(2), warning: null });
    }
  });

  test('with one away, it says who would be missed', () => {
    expect(outlook(group('Ana', '-Ben', 'Cy'), 'expel', ['Cy']).warning).toBe(
      'Ben is away now: nothing would be agreed until it is back.',
    );
    expect(outlook(group('Ana', '-Ben', '-Cy', 'Dan', 'Eve'), 'demote', ['Eve']).warning).toBe(
      'Ben and Cy are away now: nothing would be agreed until one of them is back.',
    );
    // The one that goes is the one that was missing.
    expect(outlook(group('Ana', 'Ben', '-Cy'), 'expel', ['Cy']).warning).toBeNull();
  });

  test('where witnesses are left, what they can’t do', () => {
    expect(outlook(group('Ana', '*Ben', '*Cy', 'dan'), 'promote', ['dan'])).toEqual({
      result: decides(4, 2),
      warning: null,
    });
    expect(outlook(group('Ana', 'Dan', '*Ben', '*Cy'), 'demote', ['Dan']).result).toBe(decides(3, 2));
    expect(outlook(group('Ana', '*Ben', '*Cy'), 'demote', ['Ana']).result).toBe(
      'No other machine that votes can lead, so it votes on until one does that can.',
    );
    expect(outlook(group('-Ana', 'Dan', '*Ben', '*Cy'), 'demote', ['Dan']).warning).toBe(
      'Ana is away now: nothing would be agreed until it is back.',
    );
    expect(invitationWords(group('Ana', '*Ben'), true)).toBe(decides(3, 1));
    expect(advice(group('Ana', '*Ben', '*Cy', 'dan'))).toEqual({
      words: 'dan reads along. With its vote, any one of 4 may be away.',
      peers: ['dan'],
    });
  });

  test('one that is being removed does not decide then', () => {
    expect(outlook(group('Ana', 'Ben', '×Cy', 'dan'), 'promote', ['dan']).result).toBe(decides(3));
    expect(invitesVoter(group('Ana', 'Ben', '×Cy'))).toBe(true);
  });

  test('removing one without a vote changes nothing about it', () => {
    expect(outlook(group('Ana', 'ben'), 'expel', ['ben']).result).toMatch(/no vote/);
  });
});

describe('three machines, one invited after the other', () => {
  test('come to three that vote, and never stand with two on the way', () => {
    expect(invitesVoter(group('Ana'))).toBe(false);
    expect(invitationWords(group('Ana'), false)).toMatch(/Ana alone decides\. Invite two: .* the group lets them vote/);
    expect(advice(group('Ana'))).toMatchObject({ peers: [] });
    expect(invitesVoter(group('Ana', 'ben'))).toBe(false);
    expect(advice(group('Ana', 'ben'))?.words).toBe('One more machine, and three can vote: then any one may be away.');
    expect(advice(group('Ana', 'ben', 'cy'))).toEqual({
      words: 'ben and cy read along. With their votes, any one of 3 may be away.',
      peers: ['ben', 'cy'],
    });
    expect(advice(group('Ana', 'Ben', 'Cy'))).toBeNull();
  });

  test('an even number gains by one more', () => {
    expect(invitesVoter(group('Ana', 'Ben'))).toBe(true);
    expect(invitationWords(group('Ana'), true)).toMatch(
      /both are needed.* Left to the group, it votes once a third is here/,
    );
    expect(advice(group('Ana', 'Ben', 'cy'))).toMatchObject({ peers: ['cy'] });
    expect(advice(group('Ana', 'Ben', '-cy'))).toMatchObject({ peers: [] });
    expect(advice(group('Ana', 'Ben', 'Cy', 'Dan', 'eve'))?.words).toBe(
      'eve reads along. With its vote, any two of 5 may be away.',
    );
  });
});

test('what went wrong names the thing and the way out', () => {
  const failed = (code: ConstructorParameters<typeof PeerError>[0]): string =>
    changeFailed(new PeerError(code, 'As the peer said.'), 'demote', 'Ben');
  expect(failed('LAST_VOTER')).toBe('Ben is the only machine that votes. Give another one a vote first.');
  expect(failed('TIMED_OUT')).toBe(
    'As the peer said. It was asked for, and comes into force by itself as soon as it can.',
  );
  expect(failed('REFUSED_NO_RIGHTS')).toMatch(/only keepers/);
  expect(failed('REFUSED_LAST_KEEPER')).toMatch(/only keeper/);
  expect(failed('REFUSED_NO_SUCH_MEMBER')).toBe('Ben is no longer a member.');
  expect(failed('DISK_FULL')).toBe('As the peer said.');
});
