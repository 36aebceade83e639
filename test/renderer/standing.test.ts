import { describe, expect, test } from 'vitest';
import type { GroupStatus, MemberStatus } from '../../shared/ipc/contract.ts';
import { survivedBy } from '../../shared/ipc/survived.ts';
import { memberWords } from '../../src-renderer/words/people.ts';
import { behind, comingWords, damageWords, isFarBehind, missedWords } from '../../src-renderer/words/progress.ts';
import { standing, survival } from '../../src-renderer/words/standing.ts';
import { isFetching, readOnlyWords } from '../../src-renderer/words/writing.ts';

const member = (name: string, more: Partial<MemberStatus> = {}): MemberStatus => ({
  peer: name,
  name,
  role: 'voter',
  rights: 'writer',
  connected: true,
  chosen: 100,
  rttMs: null,
  lastSeen: null,
  ...more,
});

const status = (more: Partial<GroupStatus> = {}): GroupStatus => ({
  group: 'g',
  title: 'Ward 3',
  role: 'voter',
  rights: 'writer',
  leader: 'Ana',
  ballot: [1, 'Ana', 'i'],
  chosen: 100,
  applied: 100,
  positions: 57,
  digest: '',
  state: '',
  pending: 0,
  canCommit: true,
  why: null,
  whyCode: null,
  quorum: { phase1: 2, phase2: 2, voters: 3, reachable: 3 },
  voting: { policy: true, summary: '', spare: { writing: 1, electing: 1 }, canLead: 3, next: null },
  members: [member('Ana'), member('Ben'), member('NAS')],
  ...more,
});

const preview = (here: number): NonNullable<GroupStatus['preview']> => ({ slot: 90, positions: 1930, here });

describe('the sentence at the top', () => {
  test.each<[string, Partial<GroupStatus>]>([
    ['3 of 3 here · all agreed', {}],
    ['3 of 3 here · 2 on the way', { pending: 2 }],
    ['waiting for 1 more', { whyCode: 'ALONE', quorum: { phase1: 2, phase2: 2, voters: 3, reachable: 1 } }],
    ['waiting for 2 more', { whyCode: 'NO_QUORUM', quorum: { phase1: 3, phase2: 2, voters: 4, reachable: 1 } }],
    ['choosing who leads', { whyCode: 'NO_LEADER' }],
    ['no way to who leads', { whyCode: 'LEADER_UNREACHABLE' }],
    ['update needed', { whyCode: 'UPDATE_NEEDED' }],
    ['this copy is damaged', { whyCode: 'DAMAGED' }],
    ['this copy is damaged · repairing, 12 of 100', { whyCode: 'DAMAGED', applied: 12 }],
    ['fetching the log, 0 of 100', { whyCode: 'CATCHING_UP', applied: 0 }],
    ['fetching the log, 20 of 100', { applied: 20 }],
    ['fetching the log, 412 of 1\u202f930 entries', { applied: 20, preview: preview(412) }],
    // However near the slots are, and with nobody here to tell them.
    ['fetching the log, 412 of 1\u202f930 entries', { applied: 99, preview: preview(412) }],
    [
      'fetching the log, 412 of 1\u202f930 entries',
      { applied: 0, whyCode: 'CATCHING_UP', preview: preview(412), members: [] },
    ],
    ['fetching the log, verifying 1\u202f930 entries', { applied: 20, preview: preview(1930) }],
    ['3 of 3 here · all agreed', { applied: 90 }],
    ['no longer a member', { whyCode: 'REMOVED', applied: 20 }],
  ])('%s', (sentence, more) => {
    expect(standing(status(more)).sentence).toBe(sentence);
  });

  test('has a reason to show exactly when something is in the way', () => {
    expect(standing(status()).hasReason).toBe(false);
    expect(standing(status({ whyCode: 'ALONE' })).hasReason).toBe(true);
  });
});

describe('what the group survives', () => {
  /** As the peer says it. @param canLead so many of those who are here are no witnesses */
  function voting({ phase1: q1, phase2: q2, reachable }: GroupStatus['quorum'], canLead = reachable) {
    const voters = Array.from({ length: reachable }, (_, at) => ({ witness: at >= canLead }));
    return { ...status().voting, spare: survivedBy({ voters, q1, q2 }), canLead };
  }

  test.each<[string, GroupStatus['quorum']]>([
    ['survives one machine away', { phase1: 2, phase2: 2, voters: 3, reachable: 3 }],
    [
      'goes on as long as its leader is here; one more is needed to choose another',
      { phase1: 4, phase2: 2, voters: 5, reachable: 3 },
    ],
    ['survives two machines away', { phase1: 3, phase2: 3, voters: 5, reachable: 5 }],
    ['needs both machines that decide', { phase1: 2, phase2: 2, voters: 2, reachable: 2 }],
    ['needs all three that are here', { phase1: 3, phase2: 2, voters: 4, reachable: 3 }],
    ["can't agree until one more is back", { phase1: 2, phase2: 2, voters: 3, reachable: 1 }],
    ['one machine decides; without it nothing is agreed', { phase1: 1, phase2: 1, voters: 1, reachable: 1 }],
  ])('%s', (words, quorum) => {
    expect(survival(status({ quorum, voting: voting(quorum) }))).toBe(words);
  });

  test('a witness votes and never leads', () => {
    const quorum = { phase1: 2, phase2: 2, voters: 3, reachable: 3 };
    const [ana, ben, cy] = [member('Ana'), member('Ben', { role: 'witness' }), member('Cy', { role: 'witness' })];
    const withOne = { quorum, voting: voting(quorum, 1), members: [ana, ben, cy] };
    expect(survival(status(withOne))).toBe('needs Ana: of those here only it can lead');
    const withTwo = { quorum, voting: voting(quorum, 2), members: [ana, ben, member('Cy')] };
    expect(survival(status(withTwo))).toBe('survives one machine away');
    const without = {
      quorum: { ...quorum, reachable: 2 },
      voting: voting({ ...quorum, reachable: 2 }, 0),
      members: [{ ...ana, connected: false }, ben, cy],
    };
    expect(survival(status(without))).toBe("can't agree until a machine that can lead is back");
    // The status tells of nobody else that a copy is damaged.
    const damaged = {
      quorum: { ...quorum, voters: 5 },
      voting: voting(quorum, 1),
      members: [ana, ben, cy, member('Dan')],
    };
    expect(survival(status(damaged))).toBe('needs one machine: of those here only it can lead');
  });

  test('nobody can come back to a damaged machine that decides alone', () => {
    const quorum = { phase1: 1, phase2: 1, voters: 1, reachable: 0 };
    const words = "can't agree: this machine alone decides, and its copy was damaged";
    expect(survival(status({ quorum, whyCode: 'NEEDS_DECISION', role: 'voter' }))).toBe(words);
    expect(survival(status({ quorum, whyCode: 'NEEDS_DECISION', role: 'learner' }))).toMatch(/too few are left/);
    expect(survival(status({ quorum, whyCode: 'DAMAGED', role: 'voter' }))).toBe("can't agree until one more is back");
  });
});

describe('a damaged copy', () => {
  test('says from whom it is repaired, and how far', () => {
    const alone = status({ applied: 12, members: [member('Ana', { chosen: 12 }), member('NAS')] });
    expect(damageWords(alone)).toBe(
      'A file on this disk was damaged. Nothing is lost in the group: repairing from NAS, 12 of 100.',
    );
    expect(damageWords(status({ applied: 12 }))).toMatch(/repairing from the other machines, 12 of 100\.$/);
  });

  test('says what it can do when it is whole, and what it waits for when nobody is here', () => {
    expect(damageWords(status())).toMatch(/all that was agreed is here again\. This copy votes again once/);
    const away = { applied: 12, members: [member('Ana', { chosen: 12 }), member('Ben', { connected: false })] };
    expect(damageWords(status(away))).toMatch(/fetched when another machine can be reached\.$/);
  });
});

describe('in place of the field stands why nothing can be written', () => {
  test.each<[RegExp, Partial<GroupStatus>]>([
    [/^You can read this log\./, { rights: 'reader' }],
    [/^This machine is no longer a member\./, { whyCode: 'REMOVED' }],
    [/^This may be one of two copies/, { whyCode: 'COPIED' }],
  ])('%s', (words, more) => {
    expect(readOnlyWords(status(more))).toMatch(words);
  });

  test('but not while its own rights are on their way here', () => {
    const coming = status({ rights: 'reader', whyCode: 'CATCHING_UP' });
    expect(readOnlyWords(coming)).toBeNull();
    expect(isFetching(coming)).toBe(true);
    expect(readOnlyWords(status({ whyCode: 'ALONE' }))).toBeNull();
    expect(readOnlyWords(status({ whyCode: 'DAMAGED' }))).toBeNull();
  });
});

describe('while a snapshot is coming', () => {
  test('one sentence says what the grey entries are, and no second figure', () => {
    expect(comingWords(status())).toBeNull();
    expect(comingWords(status({ preview: preview(0) }))).toBe('The newest entries are on their way.');
    expect(comingWords(status({ preview: preview(500) }))).toBe(
      'Entries in grey can be read and are not verified yet: that takes the rest of the log, which is coming.',
    );
    expect(comingWords(status({ preview: preview(1930) }))).toBe('Entries in grey are here and are being verified.');
  });

  const said = (more: Partial<GroupStatus>): string => {
    const missed = behind(status(more));
    return missed === null ? 'nothing' : missedWords(missed);
  };

  test('who asks is told from whom the rest comes, of all or of nothing never', () => {
    expect(said({ applied: 12, preview: preview(412) })).toBe(
      'This machine has 412 of 1\u202f930 entries, the newest first; the rest comes from the other machines. They are verified once all are here.',
    );
    expect(said({ members: [member('Ana', { connected: false })], preview: preview(412) })).toContain(
      'the rest comes from another machine, once one can be reached.',
    );
    expect(said({ preview: preview(1930) })).toBe('All 1\u202f930 entries of the log are here and are being verified.');
    expect(said({ applied: 12 })).toBe(
      'This machine has 12 of 100 steps of the log; the rest comes from the other machines.',
    );
  });

  test('nothing is agreed before the last of it is, however little lacks', () => {
    expect(isFarBehind(status({ applied: 99, preview: preview(1929) }))).toBe(true);
    expect(isFarBehind(status({ applied: 99 }))).toBe(false);
  });
});

test('a member says who leads, who is away and who is behind', () => {
  const ben = member('Ben', { connected: false, chosen: 88, role: 'learner' });
  const group = status({ members: [member('Ana'), ben] });
  expect(memberWords(group.members[0]!, group, false)).toBe('leads');
  expect(memberWords(ben, group, false)).toBe('reads along · not seen yet · 12 behind');
  const damaged = { ...group, whyCode: 'DAMAGED' as const };
  expect(memberWords(ben, damaged, true)).toBe('does not vote yet');
  expect(memberWords(ben, damaged, false)).toBe('reads along · not seen yet · 12 behind');
});

test('a member that is being removed, or went on with another log, says so', () => {
  const [ana, cy, dan] = [
    member('Ana', { removing: true }),
    member('Cy', { removing: true, role: 'witness', connected: false }),
    member('Dan', { split: true }),
  ];
  const group = status({ members: [ana, member('Ben'), cy, dan] });
  expect([ana, cy, dan].map((each) => memberWords(each, group, false))).toEqual([
    'being removed · leads until then',
    'being removed · votes until then · not seen yet',
    'went on with another log',
  ]);
  expect(standing(group).sentence).toBe('2 of 2 here · all agreed');
});
