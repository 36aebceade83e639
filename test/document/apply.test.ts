import { describe, expect, test } from 'vitest';
import { encodeCbor } from '../../shared/base/cbor.ts';
import { ZERO_HASH } from '../../shared/base/hash.ts';
import { type EntryId, parseEntryId, position, slot } from '../../shared/base/ids.ts';
import {
  type Body,
  type EntryRecord,
  encodeBatch,
  entryMarks,
  entryView,
  historyView,
  KINDS,
  keyedEntryId,
  REFUSALS_KEPT,
  RESERVED,
  redactRun,
  signRun,
} from '../../shared/document/index.ts';
import { admitBody, editOf, fakeSigner, idAt, Log, START_MS, write } from './fixture.ts';

const ghost = parseEntryId('eabcdefghijklmnopqrstuvwxy');
const MINUTE = 60_000;

describe('entries', () => {
  test('get positions in the order of the log, from 1', () => {
    const log = new Log();
    const ben = log.join('Ben');
    const first = log.apply(log.ana.run(write('one'), write('two')), ben.run(write('three')));
    log.apply(log.ana.run(write('four')));
    expect(log.lines).toEqual(['#1 one', '#2 two', '#3 three', '#4 four']);
    expect(first.outcomes.map((each) => each.verdict)).toEqual(
      [1, 2, 3].map((n) => ({ took: [{ entry: idAt(log, n), position: n, slot: 2, revision: 1 }] })),
    );
  });

  test('keep every revision', () => {
    const log = new Log();
    const ben = log.join('Ben');
    log.apply(log.ana.run(write('draft')));
    const id = idAt(log, 1);
    log.apply(ben.run(editOf(log, id, 'better')));
    log.apply(log.ana.run({ kind: 'remove', entry: id }));
    expect(log.lines).toEqual(['#1 (removed)']);
    log.apply(log.ana.run({ kind: 'restore', entry: id, revision: null }));
    expect(log.lines).toEqual(['#1 better']);
    log.apply(ben.run({ kind: 'restore', entry: id, revision: 1 }));
    const history = historyView(log.read, id).map((each) => `${each.revision} ${each.name}: ${each.text ?? '-'}`);
    expect(history).toEqual(['1 : draft', '2 Ben: better', '3 : -', '4 : better', '5 Ben: draft']);
    log.apply(ben.run({ kind: 'restore', entry: id, revision: 3 }));
    expect(log.lines).toEqual(['#1 better']);
  });

  test('are shown as the command line prints them', () => {
    const log = new Log();
    log.apply(log.ana.run({ kind: 'profile', name: "Ana's laptop" }));
    log.try([log.ana.with({ writer: 'Ana', timeMs: START_MS + 250 }, write('Bed 4'))], START_MS + MINUTE);
    expect(entryView(log.read, log.read.entryAt(position(1)))).toEqual({
      position: 1,
      slot: 2,
      id: idAt(log, 1),
      author: log.ana.peer,
      name: "Ana's laptop",
      writer: 'Ana',
      time: '2026-11-20T13:00:00.250+01:00',
      placed: '2026-11-20T12:01:00.000Z',
      text: 'Bed 4',
      revision: 1,
      removed: false,
    });
    expect(entryView(log.read, log.read.entry(ghost))).toBeUndefined();
  });

  test('a change says where it was chosen, not where its entry was', () => {
    const log = new Log();
    log.apply(log.ana.run(write('one')));
    log.apply(log.ana.run(write('two')));
    const entry = idAt(log, 1);
    const [edited] = log.apply(log.ana.run(editOf(log, entry, 'one, better'))).outcomes;
    const slotNow = log.read.appliedSlot();
    expect(slotNow).toBeGreaterThan(log.read.entry(entry)?.slot as number);
    expect(edited?.verdict).toEqual({ took: [{ entry, position: 1, slot: slotNow, revision: 2 }] });
    expect(log.read.history(entry).map(({ slot }) => slot)).toEqual([log.read.entry(entry)?.slot, slotNow]);
  });

  test('are found by slot', () => {
    const log = new Log();
    log.apply(log.ana.run(write('a'), write('b')));
    log.skip();
    log.apply(log.ana.run(write('c')));
    const after = (n: number) => log.read.firstPositionAfter(slot(n));
    expect([0, 1, 2, 3, 9].map(after)).toEqual([1, 3, 3, 4, 4]);
  });
});

describe('keys', () => {
  test('the same key and text is the same entry, also from a new incarnation and after an edit', () => {
    const log = new Log();
    log.apply(log.ana.run(write('temperature 4', 'k1')));
    log.apply(log.ana.run(editOf(log, idAt(log, 1), 'temperature 5')));
    const again = log.author('Ana', 2);
    const result = log.apply(
      log.ana.run(write('temperature 4', 'k1')),
      again.run({ kind: 'openSession' }, write('temperature 4', 'k1')),
    );
    const same = { took: [{ entry: keyedEntryId(log.group, log.ana.peer, 'k1'), position: 1, slot: 1, revision: 2 }] };
    expect(result.outcomes.map((each) => each.verdict)).toEqual([same, { took: [expect.anything()] }, same]);
    expect(log.lines).toEqual(['#1 temperature 5']);
  });

  test("another text is refused; another peer's same key is another entry", () => {
    const log = new Log();
    const ben = log.join('Ben');
    expect(log.says(log.ana.run(write('a', 'k')), ben.run(write('b', 'k')), log.ana.run(write('c', 'k')))).toEqual([
      'took',
      'took',
      'KEY_REUSED',
    ]);
    expect(log.lines).toEqual(['#1 a', '#2 b']);
  });
});

describe('each refusal', () => {
  const story = (bodies: (log: Log) => Body[]) => {
    const log = new Log();
    log.join('Ben');
    log.apply(log.ana.run(write('one')));
    const { seq } = log.ana;
    const [said] = log.says(log.ana.run(...bodies(log))).slice(-1);
    expect(log.read.session(log.ana.peer, log.ana.session.incarnation)?.lastSeq).toBe(log.ana.seq);
    expect(log.ana.seq).toBeGreaterThan(seq);
    // And it never blocks its author.
    expect(log.says(log.ana.run(write('goes on')))).toEqual(['took']);
    expect(log.read.stateHash()).toEqual(log.recomputed);
    return said;
  };
  const remove: Body = { kind: 'remove', entry: ghost };
  const one = (log: Log) => idAt(log, 1);

  test.each<[string, (log: Log) => Body[]]>([
    ['NO_SUCH_ENTRY', () => [remove]],
    ['NO_SUCH_ENTRY', () => [{ kind: 'restore', entry: ghost, revision: null }]],
    [
      'NO_SUCH_ENTRY',
      () => [{ kind: 'edit', entry: ghost, baseRevision: 1, baseTag: new Uint8Array(8), text: 'x', overlap: false }],
    ],
    ['NO_SUCH_REVISION', (log) => [{ kind: 'restore', entry: one(log), revision: 2 }]],
    ['STALE_BASE', (log) => [editOf(log, one(log), 'two'), editOf(log, one(log), 'three')]],
    ['STALE_BASE', (log) => [{ ...editOf(log, one(log), 'x'), baseTag: new Uint8Array(8) } as Body]],
    ['ENTRY_REMOVED', (log) => [{ kind: 'remove', entry: one(log) }, editOf(log, one(log), 'x')]],
    [
      'ENTRY_REMOVED',
      (log) => [
        { kind: 'remove', entry: one(log) },
        { kind: 'remove', entry: one(log) },
      ],
    ],
    ['NOT_REMOVED', (log) => [{ kind: 'restore', entry: one(log), revision: null }]],
    ['KEY_REUSED', () => [write('a', 'k'), write('b', 'k')]],
    ['TEXT_EMPTY', () => [write('')]],
    ['TEXT_EMPTY', (log) => [editOf(log, one(log), '')]],
    ['TEXT_EMPTY', () => [{ kind: 'rename', title: '' }]],
    ['TEXT_EMPTY', () => [{ kind: 'profile', name: '' }]],
    ['TEXT_BAD', () => [write('a\r\nb')]],
    ['TEXT_BAD', () => [{ kind: 'profile', name: 'a\nb' }]],
    ['TEXT_TOO_LONG', () => [write('é'.repeat(2 ** 19 + 1))]],
    ['TEXT_TOO_LONG', () => [{ kind: 'rename', title: 'é'.repeat(251) }]],
    ['LAST_KEEPER', (log) => [{ kind: 'expel', peer: log.ana.peer }]],
    ['LAST_KEEPER', (log) => [{ kind: 'rights', peer: log.ana.peer, rights: 'writer' }]],
    ['NO_SUCH_MEMBER', (log) => [{ kind: 'expel', peer: log.author('Nobody', 1).peer }]],
    ['NO_SUCH_MEMBER', (log) => [{ kind: 'rights', peer: log.author('Nobody', 1).peer, rights: 'reader' }]],
    ['NO_SUCH_MEMBER', (log) => [{ kind: 'pinRole', peer: log.author('Nobody', 1).peer, role: 'voter' }]],
    ['INVITATION_UNKNOWN', () => [{ kind: 'revoke', key: fakeSigner('never made').publicKey }]],
    [
      'INVITATION_UNKNOWN',
      () => [
        { kind: 'invite', key: fakeSigner('i').publicKey, rights: 'writer', pinned: null, expiresMs: null },
        { kind: 'revoke', key: fakeSigner('i').publicKey },
        { kind: 'revoke', key: fakeSigner('i').publicKey },
      ],
    ],
    ['QUORUM_UNSAFE', () => [{ kind: 'quorum', voters: 3, phase1: 1, phase2: 2 }]],
    ['QUORUM_UNSAFE', () => [{ kind: 'quorum', voters: 3, phase1: 3, phase2: 1 }]],
    ['QUORUM_UNSAFE', () => [{ kind: 'quorum', voters: 2, phase1: 3, phase2: 2 }]],
    ['INVITATION_UNKNOWN', (log) => [admitBody(log.author('Cy', 1).session, fakeSigner('never made'), 'Cy')]],
  ])('%s', (code, bodies) => {
    expect(story(bodies)).toBe(code);
  });

  test('the largest text is taken', () => {
    const log = new Log();
    expect(log.says(log.ana.run(write('é'.repeat(2 ** 19))))).toEqual(['took']);
  });

  test('MALFORMED: signed, and of no shape that its kind allows', () => {
    const log = new Log();
    const odd = (payload: Uint8Array, kind: number = KINDS.create) => log.ana.with({ payload, kind }, write('x'));
    const bad = [
      odd(new Uint8Array(0)),
      odd(Uint8Array.of(0xff)),
      odd(encodeCbor(['w', ['text']])),
      odd(encodeCbor(['w'.repeat(201), [null, 'text']])),
      odd(encodeCbor(['w', ['', 'text']])),
      odd(encodeCbor(['w', []]), KINDS.bundle),
      odd(encodeCbor(['w', [3, 2, null]]), KINDS.quorum),
      odd(encodeCbor(['w', [16, null, null]]), KINDS.quorum),
      odd(encodeCbor(['w', [false, 5]]), KINDS.away),
      odd(encodeCbor(['w', [new Uint8Array(31)]]), KINDS.revoke),
      odd(encodeCbor(['w', [[KINDS.openSession, []]]]), KINDS.bundle),
      odd(encodeCbor(['w', [[KINDS.bundle, [[KINDS.create, [null, 'x']]]]]]), KINDS.bundle),
    ];
    expect(log.says(...bad)).toEqual(bad.map(() => 'MALFORMED'));
    expect(log.says(log.ana.run(write('x')))).toEqual(['took']);
  });

  test('LEVEL_NOT_AGREED: written by a newer peer before the group agreed', () => {
    const log = new Log();
    expect(log.says(log.ana.with({ level: 2 }, write('x')), log.ana.run(write('y')))).toEqual([
      'LEVEL_NOT_AGREED',
      'took',
    ]);
  });

  test('the last of them are remembered in the session, for an outbox that missed them', () => {
    const log = new Log();
    for (let i = 0; i < REFUSALS_KEPT; i++) log.apply(log.ana.run(remove, write('fine')));
    log.apply(log.ana.run(write('')));
    const kept = log.read.session(log.ana.peer, log.ana.session.incarnation)?.refusals ?? [];
    expect(kept).toHaveLength(REFUSALS_KEPT);
    expect(kept[0]).toEqual({ seq: 3, code: 'NO_SUCH_ENTRY' });
    expect(kept.at(-1)).toEqual({ seq: REFUSALS_KEPT * 2 + 1, code: 'TEXT_EMPTY' });
  });
});

describe('rights', () => {
  test('a reader reads, renames itself, and leaves', () => {
    const log = new Log();
    log.apply(log.ana.run(write('one')));
    const cy = log.join('Cy', 'reader');
    const one = idAt(log, 1);
    const run = cy.run(
      write('x'),
      editOf(log, one, 'x'),
      { kind: 'remove', entry: one },
      { kind: 'rename', title: 'x' },
      { kind: 'profile', name: 'Cyrus' },
      { kind: 'expel', peer: log.ana.peer },
      { kind: 'expel', peer: cy.peer },
      { kind: 'profile', name: 'x' },
    );
    const no = 'NO_RIGHTS';
    expect(log.says(run)).toEqual([no, no, no, no, 'took', no, 'took', 'NOT_MEMBER']);
    expect(log.read.members().map((each) => each.peer)).toEqual([log.ana.peer]);
    expect(log.read.members({ former: true }).map((each) => each.name)).toEqual(['', 'Cyrus']);
  });

  test("a writer edits and removes any entry, and does no keeper's work", () => {
    const log = new Log();
    const ben = log.join('Ben');
    const key = fakeSigner('k');
    log.apply(log.ana.run(write('one')));
    const run = ben.run(
      editOf(log, idAt(log, 1), 'better'),
      { kind: 'remove', entry: idAt(log, 1) },
      { kind: 'rename', title: 'Ward 3' },
      { kind: 'invite', key: key.publicKey, rights: 'writer', pinned: null, expiresMs: null },
      { kind: 'rights', peer: ben.peer, rights: 'keeper' },
      { kind: 'pinRole', peer: ben.peer, role: 'voter' },
      admitBody(log.author('Cy', 1).session, key, 'Cy'),
    );
    const no = 'NO_RIGHTS';
    expect(log.says(run)).toEqual(['took', 'took', 'took', no, no, no, no]);
    expect(log.read.title()).toBe('Ward 3');
  });

  test('anybody says that it is away, and back; what others do stays theirs', () => {
    const log = new Log();
    const cy = log.join('Cy', 'reader');
    const key = fakeSigner('k').publicKey;
    const run = cy.run(
      { kind: 'away', isAway: true, untilMs: 5 },
      { kind: 'revoke', key },
      { kind: 'quorum', voters: 1, phase1: 1, phase2: 1 },
    );
    expect(log.says(run)).toEqual(['took', 'NO_RIGHTS', 'NO_RIGHTS']);
    expect(log.read.members().map((each) => each.away)).toEqual([null, { untilMs: 5 }]);
    expect(log.says(cy.run({ kind: 'away', isAway: true, untilMs: null }))).toEqual(['took']);
    expect(log.read.member(cy.peer)?.away).toEqual({ untilMs: null });
    expect(log.says(cy.run({ kind: 'away', isAway: false, untilMs: null }))).toEqual(['took']);
    expect(log.read.member(cy.peer)?.away).toBeNull();
  });

  test('who was removed while it was away comes back as somebody who is here', () => {
    const log = new Log();
    const cy = log.join('Cy');
    log.apply(cy.run({ kind: 'away', isAway: true, untilMs: null }), log.ana.run({ kind: 'expel', peer: cy.peer }));
    log.admit(cy);
    expect(log.read.member(cy.peer)).toMatchObject({ expelledSlot: null, away: null });
  });

  test('quorum sizes are kept for the number that they were set for, until majorities are asked for', () => {
    const log = new Log();
    expect(log.read.meta().quorum).toBeNull();
    expect(log.says(log.ana.run({ kind: 'quorum', voters: 5, phase1: 4, phase2: 2 }))).toEqual(['took']);
    expect(log.read.meta().quorum).toEqual({ voters: 5, phase1: 4, phase2: 2 });
    expect(log.says(log.ana.run({ kind: 'quorum', voters: 5, phase1: 3, phase2: 2 }))).toEqual(['QUORUM_UNSAFE']);
    expect(log.read.meta().quorum).toMatchObject({ phase1: 4 });
    expect(log.says(log.ana.run({ kind: 'quorum', voters: 5, phase1: null, phase2: null }))).toEqual(['took']);
    expect(log.read.meta().quorum).toBeNull();
  });

  test('a forced recovery without a keeper makes keepers of those who go on, and one with a keeper changes nobody', () => {
    const log = new Log();
    const [ben, cy] = [log.join('Ben', 'writer'), log.join('Cy', 'reader')];
    log.recovered(log.ana, ben);
    expect([ben, cy].map(({ peer }) => log.read.member(peer)?.rights)).toEqual(['writer', 'reader']);
    const { changes } = log.recovered(ben, cy, log.author('Stranger', 7));
    expect(changes.map((change) => change.type === 'member' && change.peer)).toEqual([ben.peer, cy.peer]);
    expect([ben, cy].map(({ peer }) => log.read.member(peer)?.rights)).toEqual(['keeper', 'keeper']);
    expect(log.read.meta().keepers).toBe(3);
    expect(log.read.stateHash()).toEqual(log.recomputed);
    expect(log.says(cy.run({ kind: 'expel', peer: log.ana.peer }))).toEqual(['took']);
  });

  test('keepers make keepers, and one is always left', () => {
    const log = new Log();
    const ben = log.join('Ben', 'keeper');
    expect(log.says(ben.run({ kind: 'expel', peer: log.ana.peer }), log.ana.run(write('x')))).toEqual([
      'took',
      'NOT_MEMBER',
    ]);
    expect(log.says(ben.run({ kind: 'expel', peer: ben.peer }))).toEqual(['LAST_KEEPER']);
    const cy = log.author('Cy', 1);
    const key = fakeSigner('k');
    const invite: Body = { kind: 'invite', key: key.publicKey, rights: 'writer', pinned: 'witness', expiresMs: 5 };
    expect(log.says(ben.run(invite, admitBody(cy.session, key, 'Cy')))).toEqual(['took', 'took']);
    expect(log.read.member(cy.peer)).toMatchObject({ rights: 'writer', pinned: 'witness', name: 'Cy' });
    const swap = [
      { kind: 'rights', peer: cy.peer, rights: 'keeper' },
      { kind: 'rights', peer: ben.peer, rights: 'keeper' },
      { kind: 'rights', peer: ben.peer, rights: 'reader' },
      { kind: 'pinRole', peer: cy.peer, role: null },
    ] as const;
    expect(log.says(ben.run(...swap))).toEqual(['took', 'took', 'took', 'NO_RIGHTS']);
    expect(log.read.meta().keepers).toBe(1);
    expect(log.says(cy.run({ kind: 'rights', peer: cy.peer, rights: 'writer' }))).toEqual(['LAST_KEEPER']);
  });
});

describe('invitations', () => {
  const open = (log: Log, name = 'k') => {
    const key = fakeSigner(name);
    log.apply(log.ana.run({ kind: 'invite', key: key.publicKey, rights: 'writer', pinned: null, expiresMs: null }));
    return key;
  };

  test('a revoked one lets nobody in, and one that was used is not revoked', () => {
    const log = new Log();
    const [one, other] = [open(log, 'one'), open(log, 'other')];
    const [ben, cy] = [log.author('Ben', 1), log.author('Cy', 1)];
    const says = log.says(
      log.ana.run(
        { kind: 'revoke', key: one.publicKey },
        admitBody(ben.session, one, 'Ben'),
        admitBody(cy.session, other, 'Cy'),
        { kind: 'revoke', key: other.publicKey },
      ),
    );
    expect(says).toEqual(['took', 'INVITATION_UNKNOWN', 'took', 'INVITATION_USED']);
    expect(log.read.invitations()).toEqual([]);
    expect(log.read.invitation(one.publicKey)).toMatchObject({ revoked: true, usedBy: null });
    expect(log.read.members().map((each) => each.name)).toEqual(['', 'Cy']);
  });

  test('the first joiner wins; its repeat is harmless', () => {
    const log = new Log();
    const key = open(log);
    const [ben, cy] = [log.author('Ben', 1), log.author('Cy', 1)];
    expect(log.read.invitations().map((each) => each.usedBy)).toEqual([null]);
    const says = log.says(
      log.ana.run(
        admitBody(ben.session, key, 'Ben'),
        admitBody(cy.session, key, 'Cy'),
        admitBody(ben.session, key, 'Ben'),
      ),
      ben.run(write('hello')),
    );
    expect(says).toEqual(['took', 'INVITATION_USED', 'took', 'took']);
    expect(log.read.invitations()).toEqual([]);
    expect(log.read.invitation(key.publicKey)?.usedBy).toBe(ben.peer);
    expect(log.read.session(ben.peer, ben.session.incarnation)?.lastSeq).toBe(1);
  });

  test('only with its key, for this joiner, this incarnation, this name and this group', () => {
    const log = new Log();
    const key = open(log);
    const ben = log.author('Ben', 1);
    const good = admitBody(ben.session, key, 'Ben');
    const other = log.author('Ben', 2).session;
    const wrong = [
      { ...good, signature: fakeSigner('x').sign(new Uint8Array(1)) },
      { ...good, joiner: log.author('Cy', 1).peer },
      { ...good, incarnation: other.incarnation },
      { ...good, name: 'Ana' },
      { ...admitBody({ ...ben.session, group: 'gaaaaaaaaaaaaaaaaaaaaaaaaa' as typeof log.group }, key, 'Ben') },
    ];
    expect(log.says(log.ana.run(...wrong))).toEqual(wrong.map(() => 'INVITATION_BAD'));
    expect(log.says(log.ana.run(good))).toEqual(['took']);
  });

  test('a member needs none, and does not use it up', () => {
    const log = new Log();
    const ben = log.join('Ben');
    const key = open(log);
    expect(log.says(log.ana.run(admitBody(ben.session, key, 'Ben')))).toEqual(['ALREADY_MEMBER']);
    expect(log.says(log.ana.run(admitBody(log.author('Cy', 1).session, key, 'Cy')))).toEqual(['took']);
  });

  test('a key serves once', () => {
    const log = new Log();
    const key = open(log);
    const again: Body = { kind: 'invite', key: key.publicKey, rights: 'keeper', pinned: null, expiresMs: null };
    expect(log.says(log.ana.run(again))).toEqual(['INVITATION_REUSED']);
    expect(log.read.invitation(key.publicKey)?.rights).toBe('writer');
  });

  test('a removed member comes back only with one that was made after its removal', () => {
    const log = new Log();
    const ben = log.join('Ben');
    const early = open(log, 'early');
    log.apply(log.ana.run({ kind: 'expel', peer: ben.peer }));
    expect(log.says(ben.run(write('still me')))).toEqual(['NOT_MEMBER']);
    expect(log.says(log.ana.run(admitBody(ben.session, early, 'Ben')))).toEqual(['INVITATION_UNKNOWN']);
    const late = open(log, 'late');
    expect(log.says(log.ana.run(admitBody(ben.session, late, 'Ben')))).toEqual(['took']);
    // Its session goes on: what was refused stays refused.
    expect(log.says(ben.run(write('back')))).toEqual(['took']);
    expect(log.lines).toEqual(['#1 back']);
    expect(log.read.members({ former: true })).toHaveLength(2);
  });

  test('who comes back with another store leaves the old session closed for ever', () => {
    const log = new Log();
    const ben = log.join('Ben');
    log.apply(log.ana.run({ kind: 'expel', peer: ben.peer }));
    const back = log.admit(log.author('Ben', 2), 'writer', 'Ben');
    expect(log.says(ben.run({ kind: 'openSession' }), back.run(write('back')))).toEqual(['SESSION_CLOSED', 'took']);
    log.apply(log.ana.run({ kind: 'expel', peer: ben.peer }));
    const key = open(log);
    expect(log.says(log.ana.run(admitBody(ben.session, key, 'Ben')))).toEqual(['SESSION_CLOSED']);
  });

  test('those of a removed keeper go with it, and a used one lets nobody back in', () => {
    const log = new Log();
    const ben = log.join('Ben', 'keeper');
    const key = fakeSigner('back door');
    log.apply(ben.run({ kind: 'invite', key: key.publicKey, rights: 'keeper', pinned: null, expiresMs: null }));
    const kept = open(log, 'kept');
    log.apply(log.ana.run({ kind: 'expel', peer: ben.peer }));
    expect(log.read.invitations().map((each) => each.key)).toEqual([kept.publicKey]);
    const newcomer = log.author('Ben in disguise', 1).session;
    expect(log.says(log.ana.run(admitBody(newcomer, key, 'B')))).toEqual(['INVITATION_UNKNOWN']);

    const cy = log.author('Cy', 1);
    log.apply(log.ana.run(admitBody(cy.session, kept, 'Cy'), { kind: 'expel', peer: cy.peer }));
    expect(log.says(log.ana.run(admitBody(cy.session, kept, 'Cy')))).toEqual(['INVITATION_USED']);
  });
});

describe('sessions', () => {
  test('duplicates are dropped, gaps are not applied', () => {
    const log = new Log();
    const [a, b, c] = [log.ana.run(write('a')), log.ana.run(write('b')), log.ana.run(write('c'))];
    const result = log.apply(a, c, a, b, b);
    expect(result.ignored.map(({ seq, why }) => `${seq} ${why}`)).toEqual(['3 gap', '1 duplicate', '2 duplicate']);
    log.apply(c, a);
    expect(log.lines).toEqual(['#1 a', '#2 b', '#3 c']);
  });

  test('runs that overlap are judged command by command', () => {
    const log = new Log();
    const whole = log.ana.run(write('a'), write('b'), write('c'));
    const start = signRun(log.ana.session, whole.commands.slice(0, 2), log.ana.signer);
    log.apply(start);
    log.apply(whole);
    expect(log.lines).toEqual(['#1 a', '#2 b', '#3 c']);
  });

  test('a fork of a session is not applied', () => {
    const log = new Log();
    const copy = log.author('Ana', 1);
    copy.run(write('what the copy wrote'));
    log.apply(log.ana.run(write('a')));
    expect(log.apply(copy.run(write('b'))).ignored).toMatchObject([{ why: 'fork', seq: 2 }]);
    expect(log.says(log.ana.run(write('c')))).toEqual(['took']);
  });

  test("a bad signature, another group and a stranger are ignored and consume nobody's seq", () => {
    const log = new Log();
    const good = log.ana.run(write('a'));
    const forged = signRun(log.ana.session, good.commands, fakeSigner('Mallory'));
    const elsewhere = new Log().author('Ana', 1);
    const other = { ...elsewhere.session, group: 'gaaaaaaaaaaaaaaaaaaaaaaaaa' as typeof log.group };
    const foreign = signRun(other, elsewhere.run(write('x')).commands, log.ana.signer);
    const stranger = log.author('Nobody', 1).run(write('x'), { kind: 'openSession' });
    const result = log.apply(forged, foreign, stranger, good);
    expect(result.ignored.map((each) => each.why)).toEqual(['signature', 'group', 'stranger', 'stranger']);
    expect(log.lines).toEqual(['#1 a']);
    expect(log.kv.under('s/s/')).toHaveLength(1);
  });

  test("a new incarnation's first command closes the older session for ever", () => {
    const log = new Log();
    const late = log.ana.run(write('too late'));
    const next = log.author('Ana', 2);
    const eager = log.author('Ana', 3);
    expect(log.apply(eager.run(write('no opening'))).ignored).toMatchObject([{ why: 'stranger' }]);
    expect(log.says(next.run({ kind: 'openSession' }, write('new')), late)).toEqual(['took', 'took', 'SESSION_CLOSED']);
    expect(log.says(next.run(write('more')))).toEqual(['took']);
    expect(log.lines).toEqual(['#1 new', '#2 more']);
    // Nor can the old one be opened again.
    expect(log.says(log.ana.run({ kind: 'openSession' }))).toEqual(['SESSION_CLOSED']);
    expect(log.read.member(log.ana.peer)?.incarnation).toBe(next.session.incarnation);
  });

  test('an opening that is refused leaves the older session as it was', () => {
    const log = new Log();
    const next = log.author('Ana', 2);
    expect(log.says(next.with({ level: 2 }, { kind: 'openSession' }), next.run(write('x')))).toEqual([
      'LEVEL_NOT_AGREED',
      'SESSION_CLOSED',
    ]);
    expect(
      log.says(log.ana.run(write('old goes on')), next.run({ kind: 'openSession' }), next.run(write('new'))),
    ).toEqual(['took', 'took', 'took']);
    expect(log.says(log.ana.run(write('x')))).toEqual(['SESSION_CLOSED']);
  });

  test('a removed peer opens no new session', () => {
    const log = new Log();
    const ben = log.join('Ben');
    log.apply(log.ana.run({ kind: 'expel', peer: ben.peer }));
    const next = log.author('Ben', 2);
    expect(log.apply(next.run({ kind: 'openSession' })).ignored).toMatchObject([{ why: 'stranger' }]);
  });
});

describe('bundles', () => {
  test('all or nothing, under one seq', () => {
    const log = new Log();
    const before = log.kv.under('s/e/').length;
    const bundle = (...bodies: Body[]) => log.ana.run({ kind: 'bundle', bodies: bodies as never });
    const result = log.apply(
      bundle(write('a'), { kind: 'rename', title: 'new' }, { kind: 'remove', entry: ghost }),
      bundle(write('b'), write('c', 'k'), { kind: 'rename', title: 'newer' }),
      bundle(write('d'), write('x', 'k')),
    );
    expect(result.outcomes.map(({ verdict }) => ('refused' in verdict ? verdict : verdict.took.length))).toEqual([
      { refused: 'NO_SUCH_ENTRY', detail: expect.stringContaining('body 2') },
      3,
      { refused: 'KEY_REUSED', detail: expect.stringContaining('body 1') },
    ]);
    expect(log.lines).toEqual(['#1 b', '#2 c']);
    expect(log.read.title()).toBe('newer');
    expect(log.kv.under('s/e/')).toHaveLength(before + 2);
    expect(result.changes.map((each) => each.type)).toEqual(['entry', 'entry', 'title']);
    expect(log.read.stateHash()).toEqual(log.recomputed);
  });

  test('several edits of one entry in a row, by the removal and restoration between them', () => {
    const log = new Log();
    log.apply(log.ana.run(write('a')));
    const entry = idAt(log, 1);
    const bodies = [
      editOf(log, entry, 'b'),
      { kind: 'remove', entry },
      { kind: 'restore', entry, revision: 1 },
    ] as never;
    expect(log.says(log.ana.run({ kind: 'bundle', bodies }))).toEqual(['took']);
    expect(log.lines).toEqual(['#1 a']);
    expect(log.read.entry(entry)).toMatchObject({ revision: 4, textRevision: 1 });
    expect(log.says(log.ana.run(editOf(log, entry, 'c')))).toEqual(['took']);
  });

  test('rights are looked at anew for each body', () => {
    const log = new Log();
    const ben = log.join('Ben', 'keeper');
    const bodies = [
      { kind: 'rights', peer: ben.peer, rights: 'writer' },
      { kind: 'expel', peer: log.ana.peer },
    ] as const;
    expect(log.says(ben.run({ kind: 'bundle', bodies }))).toEqual(['NO_RIGHTS']);
    expect(log.read.member(ben.peer)?.rights).toBe('keeper');
    expect(log.read.meta().keepers).toBe(2);
  });
});

describe('clocks', () => {
  const mark = (log: Log, at: number) => entryMarks(log.read, log.read.entryAt(position(at)) as EntryRecord).clock;

  test('are marked when more than 5 minutes past placing, or before what the author saw', () => {
    const log = new Log();
    const at = (minutes: number) => START_MS + minutes * MINUTE;
    log.try([log.ana.with({ timeMs: at(60) }, write('on time'))], at(60));
    log.try([log.ana.with({ timeMs: at(66), saw: 1 }, write('ahead'))], at(60));
    log.try([log.ana.with({ timeMs: at(65), saw: 1 }, write('just within'))], at(60));
    log.try([log.ana.with({ timeMs: at(54), saw: 1 }, write('before what it saw'))], at(120));
    log.try([log.ana.with({ timeMs: at(56), saw: 1 }, write('a little before'))], at(120));
    log.try([log.ana.with({ timeMs: at(2), saw: 0 }, write('written offline, placed late'))], at(120));
    log.try([log.ana.with({ timeMs: at(60), saw: 4 }, write('saw the 4th'))], at(120));
    expect([1, 2, 3, 4, 5, 6, 7].map((n) => mark(log, n))).toEqual([
      null,
      'ahead',
      null,
      'behind',
      null,
      null,
      'behind',
    ]);
  });

  test('what is kept for it stays small, however long the log', () => {
    const log = new Log();
    for (let i = 1; i <= 1000; i++)
      log.try([log.ana.with({ timeMs: START_MS }, write('x'))], START_MS + i * 2 * MINUTE);
    expect((log.kv.get('s/clock') as Uint8Array).length).toBeLessThan(2500);
    const late = START_MS + 1000 * 2 * MINUTE;
    log.try([log.ana.with({ timeMs: late - 60 * MINUTE, saw: 1000 }, write('behind'))], late);
    log.try([log.ana.with({ timeMs: late - 60 * MINUTE, saw: 10 }, write('fine'))], late);
    expect([1001, 1002].map((n) => mark(log, n))).toEqual(['behind', null]);
  });
});

describe('what this build does not know', () => {
  test.each([
    [
      'a kind that comes later',
      (log: Log) =>
        encodeBatch(START_MS, [log.ana.run(write('a')), log.ana.with({ kind: RESERVED.redact }, write('x'))]),
    ],
    [
      'a kind that comes later, in a bundle',
      (log: Log) => {
        const payload = encodeCbor([
          'w',
          [
            [KINDS.create, [null, 'a']],
            [99, 'anything'],
          ],
        ]);
        return encodeBatch(START_MS, [log.ana.with({ kind: KINDS.bundle, payload }, write('x'))]);
      },
    ],
    ['a newer value', () => encodeCbor([2, 'x'])],
    [
      'a command without its content',
      (log: Log) => encodeBatch(START_MS, [redactRun(log.ana.run(write('x')), new Set([1]))]),
    ],
  ])('%s: nothing of the value is applied', (_name, bytes) => {
    const log = new Log();
    const before = [...log.kv.rows];
    expect(log.tryBytes(bytes(log))).toMatchObject({ type: 'update-needed', slot: 1 });
    expect([...log.kv.rows]).toEqual(before);
  });

  test('of somebody who may not write anyway, it is refused without a pause', () => {
    const log = new Log();
    const ben = log.join('Ben');
    log.apply(log.ana.run({ kind: 'expel', peer: ben.peer }));
    expect(log.says(ben.with({ kind: 99 }, write('x')))).toEqual(['NOT_MEMBER']);
  });

  test('a value that is no batch in any version is passed over, the same on every peer', () => {
    const log = new Log();
    const result = log.tryBytes(Uint8Array.of(1, 2, 3));
    expect(result).toMatchObject({ type: 'applied', ignored: [{ why: 'format' }] });
    expect(log.read.appliedSlot()).toBe(1);
  });
});

describe('the applied slot', () => {
  test('moves with no-ops and configurations, and nothing else does', () => {
    const log = new Log();
    log.apply(log.ana.run(write('a')));
    const hash = log.read.stateHash();
    expect(log.skip().ops).toHaveLength(1);
    expect(log.read.appliedSlot()).toBe(2);
    expect(log.read.stateHash()).toEqual(hash);
    expect(hash).not.toEqual(ZERO_HASH);
  });

  test('leaves none out', () => {
    const log = new Log();
    log.skip();
    const other = new Log();
    expect(() => {
      for (const _ of [1, 2]) log.kv.write(other.skip().ops);
      log.skip();
    }).toThrow('one after the other');
  });

  test('an id that no entry has', () => {
    const log = new Log();
    expect(log.read.entry(ghost as EntryId)).toBeUndefined();
    expect(log.read.history(ghost)).toEqual([]);
    expect(log.read.text(ghost)).toBeNull();
  });
});
