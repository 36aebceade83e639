// Who leads, who votes, who goes away and who leaves, by commands to real processes.
import { expect, test } from 'vitest';
import {
  enter,
  leaderOf,
  type Peer,
  ticketOf,
  until,
  untilAgreed,
  untilStatus,
  untilTogether,
  worldForEach,
} from './harness.ts';

const world = worldForEach();

test('leadership goes where a keeper says, also when the leader is elsewhere, and nowhere else', async () => {
  const peers = await world().group('Ana', 'Ben', 'Cleo');
  const [ana, ben, cleo] = peers;
  const dan = await world().start('Dan');
  await enter(dan, ana);
  await untilAgreed(ana, dan);

  for (const peer of [cleo, ben, ana, ben]) {
    expect(await ana.does('lead', peer.id)).toEqual([{ peer: peer.id, role: 'voter' }]);
    expect((await leaderOf(peers)).id).toBe(peer.id);
    expect(await cleo.does('append', 'on')).toMatchObject([{ status: 'committed' }]);
  }
  // Asking again changes nothing.
  const { ballot } = await ana.status();
  await ana.does('lead', 'Ben');
  expect((await ana.status()).ballot).toEqual(ballot);

  expect(await cleo.synod('lead', 'Cleo')).toMatchObject({ code: 1, error: 'REFUSED_NO_RIGHTS' });
  expect(await ana.synod('lead', 'Dan')).toMatchObject({ code: 1, error: 'CANNOT_LEAD', err: /Promote it first/ });
  await cleo.kill();
  await untilStatus(ana, 'Cleo is away', ({ quorum }) => quorum.reachable === 2);
  expect(await ana.synod('lead', 'Cleo')).toMatchObject({ code: 1, error: 'CANNOT_LEAD', err: /not here/ });
  expect((await leaderOf(peers)).id).toBe(ben.id);
});

test('quorum sizes are set, hold what they say, and are refused where they are unsafe', async () => {
  const peers = await world().group('Ana', 'Ben', 'Cleo');
  const [ana, ben, cleo] = peers;
  const majorities = {
    voters: 3,
    phase1: 2,
    phase2: 2,
    witnesses: 0,
    survives: { writing: 1, electing: 1 },
    pinned: false,
  };
  expect(await cleo.does('quorum')).toEqual([majorities]);
  const unsafe = await ana.synod('quorum', '--phase1', '1', '--phase2', '2');
  expect(unsafe).toMatchObject({ code: 1, error: 'QUORUM_UNSAFE' });
  expect(unsafe.err).toContain('1 + 2 = 3');
  expect(await ana.synod('quorum', '--phase1', '3', '--phase2', '1')).toMatchObject({ error: 'QUORUM_UNSAFE' });
  expect(await ben.synod('quorum', '--phase1', '3', '--phase2', '2')).toMatchObject({ error: 'REFUSED_NO_RIGHTS' });

  expect(await ana.does('quorum', '--phase1', '1', '--phase2', '3')).toEqual([
    { voters: 3, phase1: 1, phase2: 3, witnesses: 0, survives: { writing: 0, electing: 0 }, pinned: true },
  ]);
  await untilAgreed(...peers);
  await cleo.kill();
  expect(await ana.does('append', '--timeout', '4s', 'all are needed')).toMatchObject([{ status: 'saved' }]);
  await cleo.start();
  await untilAgreed(...peers);
  expect((await ana.log()).map(({ text }) => text)).toEqual(['all are needed']);

  expect(await ana.does('quorum', '--phase1', '3', '--phase2', '2')).toMatchObject([
    { phase1: 3, phase2: 2, pinned: true },
  ]);
  await untilAgreed(...peers);
  await ana.does('lead', 'Ana');
  await cleo.kill();
  await untilStatus(ana, 'Cleo is away', ({ quorum }) => quorum.reachable === 2);
  expect(await ana.does('append', 'one may be away')).toMatchObject([{ status: 'committed' }]);
  expect(await ana.status()).toMatchObject({ canCommit: true, quorum: { phase1: 3, phase2: 2 } });
  await cleo.start();
  expect(await ana.does('quorum', '--majorities')).toEqual([majorities]);

  // With another number of voters they rest.
  await ana.does('quorum', '--phase1', '3', '--phase2', '2');
  await ana.does('demote', 'Cleo');
  expect(await ana.does('quorum')).toMatchObject([{ voters: 2, phase1: 2, phase2: 2, pinned: false }]);
  expect((await ana.status()).voting.summary).toMatch(/Both are needed.*Quorum sizes were set for 3 voters/);
  await ana.does('promote', 'Cleo');
  expect(await ana.does('quorum')).toMatchObject([{ voters: 3, phase1: 3, phase2: 2, pinned: true }]);
});

test('who goes away gives up leading, and is back with the next start', async () => {
  const peers = await world().group('Ana', 'Ben', 'Cleo');
  const [ana, ben, cleo] = peers;
  await ana.does('lead', 'Ben');
  const [said] = await ben.does('away', '--until', '1h');
  expect(said).toEqual({ peer: ben.id, away: true, until: expect.any(String), others: 2 });
  await untilStatus(ana, 'another one leads', ({ leader }) => leader !== null && leader !== ben.id);
  const away = (await cleo.status()).members.find(({ peer }) => peer === ben.id);
  expect(away).toMatchObject({ role: 'voter', away: { until: said.until } });
  expect(await ana.synod('lead', 'Ben')).toMatchObject({ error: 'CANNOT_LEAD' });

  expect(await ben.does('away', '--back')).toEqual([{ peer: ben.id, away: false, until: null, others: 2 }]);
  await ana.does('lead', 'Ben');
  await ben.does('away');
  await untilStatus(ana, 'another one leads', ({ leader }) => leader !== null && leader !== ben.id);
  await ben.stop();
  await ben.start();
  await untilStatus(ana, 'it is back', ({ members }) => members.every((member) => member.away === undefined));
  await ana.does('lead', 'Ben');
});

test('a member leaves by itself; the log goes on without it, and stays readable there', async () => {
  const peers = await world().group('Ana', 'Ben', 'Cleo');
  const [ana, ben, cleo] = peers;
  await ben.does('append', 'from Ben');
  await untilAgreed(...peers);
  expect(await ana.synod('leave')).toMatchObject({ code: 1, error: 'REFUSED_LAST_KEEPER' });

  await cleo.kill();
  await untilStatus(ben, 'Cleo is away', ({ quorum }) => quorum.reachable === 2);
  const refused = await ben.synod('leave');
  expect(refused).toMatchObject({ code: 1, error: 'QUORUM_NEEDED' });
  expect(refused.err).toContain('Cleo');
  await cleo.start();
  await untilTogether(ana, 3);

  await ana.does('lead', 'Ben');
  expect(await ben.does('leave')).toEqual([{ peer: ben.id, role: null }]);
  await untilTogether(ana, 2);
  expect(await ana.does('append', 'without Ben')).toMatchObject([{ status: 'committed' }]);
  expect((await ana.status()).members.map(({ name }) => name).toSorted()).toEqual(['Ana', 'Cleo']);
  await untilStatus(ben, 'it knows', ({ whyCode }) => whyCode === 'REMOVED');
  expect((await ben.log()).map(({ text }) => text)).toEqual(['from Ben']);
  expect(await ben.does('append', '--timeout', '1s', 'too late')).toMatchObject([
    { status: 'saved', whyCode: 'REMOVED' },
  ]);
});

test('the only voter does not leave, nor is it removed', async () => {
  const ana = await world().start('Ana');
  await ana.does('create', 'Log');
  const ben = await world().start('Ben');
  await enter(ben, ana, '--rights', 'keeper');
  await untilAgreed(ana, ben);
  expect(await ana.synod('leave')).toMatchObject({ code: 1, error: 'LAST_VOTER' });
  expect(await ben.synod('expel', 'Ana')).toMatchObject({ code: 1, error: 'LAST_VOTER' });
  const { voting } = await ben.status();
  expect(voting).toMatchObject({ policy: true, next: null });
  expect(voting.summary).toMatch(/^1 machine decides.*A third machine would let any one be away\.$/);
});

test('three machines that nobody gave votes to are told who will vote, and when', async () => {
  const ana = await world().start('Ana');
  await ana.does('create', 'Log');
  const [ben, cleo] = [await world().start('Ben'), await world().start('Cleo')];
  for (const peer of [ben, cleo]) await enter(peer, ana);
  const told = async (peer: Peer) =>
    untilStatus(peer, 'all three will vote', ({ voting }) => voting.next?.voters.length === 3);
  for (const peer of [ana, ben]) {
    const { voting, quorum } = await told(peer);
    expect(quorum.voters).toBe(1);
    expect(voting.policy).toBe(true);
    expect(voting.next?.why).toMatch(
      /^(Ben and Cleo|Cleo and Ben) join the voters: with 3 that vote, any 1 may be away\.$/,
    );
    expect(voting.next?.waitsFor).toMatch(/be here for (9|10) minutes more without a break$/);
  }
});

test('invitations are listed and taken back; names change for everybody', async () => {
  const ana = await world().start('Ana');
  await ana.does('create', 'Log');
  const ben = await world().start('Ben');
  expect(await ana.does('invites')).toEqual([]);
  const ticket = await ticketOf(ana, '--role', 'witness', '--expires', '1h');
  await ticketOf(ana, '--expires', '1ms');
  const open = (await ana.does('invites')) as { key: string }[];
  expect(open).toMatchObject([
    { rights: 'writer', role: 'witness', by: ana.id, name: 'Ana', expired: false },
    { role: null, expired: true },
  ]);
  const [first, second] = open as [{ key: string }, { key: string }];
  expect(await ana.synod('revoke', 'zz')).toMatchObject({ code: 1, error: 'INVITATION_NOT_FOUND' });
  expect(await ana.synod('revoke', '')).toMatchObject({ code: 2, error: 'USAGE' });
  expect(await ana.does('revoke', first.key.slice(0, 16))).toEqual([first]);
  expect(await ana.does('revoke', second.key)).toMatchObject([{ key: second.key, expired: true }]);
  expect(await ana.does('invites')).toEqual([]);
  expect(await ben.synod('join', ticket, '--timeout', '5s')).toMatchObject({ code: 4 });

  await enter(ben, ana);
  await ben.does('rename', 'Ward 3');
  expect(await ben.does('profile', '--name', 'NAS')).toEqual([{ peer: ben.id, name: 'NAS' }]);
  expect(await ben.does('profile')).toEqual([{ peer: ben.id, name: 'NAS' }]);
  const status = await until('the names are here', async () => {
    const seen = await ana.status();
    return seen.title === 'Ward 3' && seen.members.some(({ name }) => name === 'NAS') && seen;
  });
  expect(status.members.map(({ name }) => name)).toEqual(['Ana', 'NAS']);
});
