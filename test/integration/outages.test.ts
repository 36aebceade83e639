// What a group does while its machines are killed, hang, restart and come back.
import { expect, test } from 'vitest';
import type { LogLine } from '../../shared/ipc/contract.ts';
import {
  enter,
  leaderOf,
  never,
  type Peer,
  textsOf,
  until,
  untilAgreed,
  untilStatus,
  untilTogether,
  worldForEach,
} from './harness.ts';

const world = worldForEach();

/** The leader, and the others. */
async function byRole(peers: readonly Peer[]): Promise<{ leader: Peer; others: Peer[] }> {
  const leader = await leaderOf(peers);
  return { leader, others: peers.filter((peer) => peer !== leader) };
}

test('the leader is killed: writing goes on, and it catches up when it is back', async () => {
  const peers = await world().group('Ana', 'Ben', 'Cleo');
  const { leader, others } = await byRole(peers);
  const [one, other] = others as [Peer, Peer];
  await leader.does('append', 'before');

  await leader.kill();
  expect(await one.does('append', 'without it')).toMatchObject([{ status: 'committed', position: 2 }]);
  expect(await other.does('append', 'without it again')).toMatchObject([{ status: 'committed', position: 3 }]);
  expect((await leaderOf(others)).id).not.toBe(leader.id);

  await leader.start();
  await untilAgreed(...peers);
  expect(textsOf(await leader.log())).toEqual(['before', 'without it', 'without it again']);
  expect(await leader.does('append', 'back')).toMatchObject([{ status: 'committed', position: 4 }]);
});

test('a leader that hangs is replaced, and follows the new one when it wakes up', async () => {
  const peers = await world().group('Ana', 'Ben', 'Cleo');
  const { leader, others } = await byRole(peers);

  leader.pause();
  const [one, other] = others as [Peer, Peer];
  expect(await one.does('append', '--timeout', '60s', 'while it hangs')).toMatchObject([{ status: 'committed' }]);
  const { leader: successor } = await other.status();
  expect([one.id, other.id]).toContain(successor);

  leader.resume();
  expect(await leader.does('append', '--timeout', '60s', 'awake')).toMatchObject([{ status: 'committed' }]);
  await untilAgreed(...peers);
  expect(textsOf(await leader.log())).toEqual(['while it hangs', 'awake']);
});

test('a peer alone goes on saving through its restarts, says why, and all is committed once when others return', async () => {
  const peers = await world().group('Ana', 'Ben', 'Cleo');
  const [ana, ben, cleo] = peers;
  await ana.does('append', 'together');
  await untilAgreed(...peers);
  await Promise.all([ana.kill(), ben.kill()]);
  await untilStatus(cleo, 'it is alone', ({ whyCode }) => whyCode === 'ALONE');

  const saved: string[] = [];
  for (const text of ['one', 'two', 'three']) {
    const [answer] = await cleo.does('append', '--timeout', '1s', text);
    expect(answer).toMatchObject({ status: 'saved', position: null, slot: null, whyCode: 'ALONE' });
    saved.push(answer.id);
    await (text === 'two' ? cleo.kill() : cleo.stop());
    await cleo.start();
    await untilStatus(cleo, 'it is alone', ({ whyCode }) => whyCode === 'ALONE');
  }
  const status = await untilStatus(cleo, 'it is alone', ({ whyCode }) => whyCode === 'ALONE');
  expect(status).toMatchObject({ canCommit: false, pending: 3, quorum: { phase1: 2, voters: 3, reachable: 1 } });
  expect(status.why).toMatch(/^Needs 2 of 3 voters; (Ana and Ben|Ben and Ana) are unreachable/);

  const pending = (log: LogLine[]): LogLine[] => log.filter((line) => line.status === 'pending');
  const waiting = pending(await cleo.log('--pending'));
  expect(waiting.map(({ id, text, position }) => [id, text, position])).toEqual([
    [saved[0], 'one', null],
    [saved[1], 'two', null],
    [saved[2], 'three', null],
  ]);
  for (const line of waiting) expect(line).toMatchObject({ whyCode: 'ALONE', why: expect.stringContaining('Ana') });
  expect(textsOf(await cleo.log())).toEqual(['together']);

  await Promise.all([ana.start(), ben.start()]);
  await untilAgreed(...peers);
  for (const peer of peers) expect(textsOf(await peer.log('--pending'))).toEqual(['together', 'one', 'two', 'three']);
  expect((await ana.log()).slice(1).map(({ id }) => id)).toEqual(saved);
});

test('--strict, --wait saved and a timeout, where the group can not agree', async () => {
  const [ana, ben] = await world().group('Ana', 'Ben', 'Cleo');
  const cleo = world().peers[2] as Peer;
  await Promise.all([ben.kill(), cleo.kill()]);
  await untilStatus(ana, 'it is alone', ({ whyCode }) => whyCode === 'ALONE');

  const strict = await ana.synod('append', '--strict', '--timeout', '300ms', 'a');
  expect(strict).toMatchObject({ code: 4, lines: [{ status: 'saved', position: null, whyCode: 'ALONE' }] });
  const lenient = await ana.synod('append', '--timeout', '300ms', 'b');
  expect(lenient).toMatchObject({ code: 0, lines: [{ status: 'saved', whyCode: 'ALONE' }] });
  const quick = await ana.synod('append', '--wait', 'saved', 'c');
  expect(quick).toMatchObject({ code: 0, lines: [{ status: 'saved', position: null }] });
  expect(await ana.synod('barrier', '--timeout', '300ms')).toMatchObject({ code: 4, lines: [], error: 'TIMED_OUT' });
  const invitation = await ana.synod('invite', '--timeout', '300ms');
  expect(invitation).toMatchObject({ code: 4, lines: [], error: 'TIMED_OUT' });
  expect(invitation.err).toMatch(/Needs 2 of 3 voters/);

  await ben.start();
  await untilAgreed(ana, ben);
  expect(textsOf(await ben.log())).toEqual(['a', 'b', 'c']);
});

test('an entry written under a key while alone is still the same entry after the restart', async () => {
  const [ana, ben, cleo] = await world().group('Ana', 'Ben', 'Cleo');
  await Promise.all([ben.kill(), cleo.kill()]);
  const append = ['append', '--key', 'k1', '--timeout', '300ms'];
  const [first] = await ana.does(...append, 'once');
  const [second] = await ana.does(...append, 'once');
  await ana.kill();
  await ana.start();
  const [third] = await ana.does(...append, 'once');
  expect([second.id, third.id]).toEqual([first.id, first.id]);
  expect(await ana.synod(...append, 'otherwise')).toMatchObject({ code: 1, error: 'KEY_REUSED' });

  await ben.start();
  await untilAgreed(ana, ben);
  expect(textsOf(await ben.log())).toEqual(['once']);
});

test('a clean stop hands leadership over before the process ends', async () => {
  const peers = await world().group('Ana', 'Ben', 'Cleo');
  const { leader, others } = await byRole(peers);
  await leader.does('append', 'before');
  expect(await leader.stop()).toBe(0);

  // They were told, and did not have to find out: it led no more before it was gone.
  for (const { stderr } of others) {
    const events = stderr.split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line)] : []));
    const followed = events.findLastIndex((event) => event.leader === leader.id);
    const left = events.findLastIndex((event) => event.message === 'disconnected' && event.peer === leader.id);
    expect(left).toBeGreaterThan(followed);
    expect(events.slice(followed + 1, left).some((event) => 'leader' in event)).toBe(true);
  }
  const [one] = others as [Peer];
  expect(await one.does('append', 'after')).toMatchObject([{ status: 'committed', position: 2 }]);
});

test('all three stop, or are killed, and go on where they were', async () => {
  const peers = await world().group('Ana', 'Ben', 'Cleo');
  const [ana, ben, cleo] = peers;
  for (const [at, peer] of peers.entries()) await peer.does('append', `entry ${at + 1}`);
  const before = await untilAgreed(...peers);

  expect(await Promise.all(peers.map((peer) => peer.stop()))).toEqual([0, 0, 0]);
  await Promise.all(peers.map((peer) => peer.start()));
  expect(await ben.does('append', 'after the stop')).toMatchObject([{ status: 'committed', position: 4 }]);
  await untilAgreed(...peers);

  await Promise.all(peers.map((peer) => peer.kill()));
  await Promise.all(peers.map((peer) => peer.start()));
  expect(await cleo.does('append', 'after the cut')).toMatchObject([{ status: 'committed', position: 5 }]);
  const after = await untilAgreed(...peers);
  expect(textsOf(await ana.log())).toEqual(['entry 1', 'entry 2', 'entry 3', 'after the stop', 'after the cut']);
  expect(after.applied).toBeGreaterThan(before.applied);
});

test('a peer that comes back at another address is found', async () => {
  const peers = await world().group('Ana', 'Ben', 'Cleo');
  const [ana, ben, cleo] = peers;
  await cleo.stop();
  await cleo.start({ otherPort: true });
  await ana.does('append', 'moved');
  await untilAgreed(...peers);

  // The others have learned the new address: they find it there by themselves after their own restart.
  await ben.stop();
  await ben.start();
  await ana.stop();
  expect(await ben.does('append', '--timeout', '60s', 'found')).toMatchObject([{ status: 'committed' }]);
  await untilAgreed(ben, cleo);
});

test('two members that never met are introduced by a third', async () => {
  const [ana, ben, cleo] = ['Ana', 'Ben', 'Cleo'].map((name) => world().peer(name)) as [Peer, Peer, Peer];
  await Promise.all([ana.start(), ben.start(), cleo.start()]);
  await ana.does('create', 'Log');
  await enter(ben, ana, '--role', 'learner');
  await ben.stop();
  await enter(cleo, ana, '--role', 'learner');
  // Cleo knows where Ben was, and Ben knows nothing of her: only Ana can tell them.
  await ben.start({ otherPort: true });
  for (const name of ['Ben', 'Cleo']) await ana.does('promote', '--timeout', '60s', name);
  for (const peer of [ben, cleo]) await untilTogether(peer, 3);
  await ana.kill();
  expect(await ben.does('append', '--timeout', '60s', 'without the one who knew')).toMatchObject([
    { status: 'committed' },
  ]);
});

test('edits made apart merge: no words are lost, and overlapping wordings are both kept', async () => {
  const peers = await world().group('Ana', 'Ben', 'Cleo');
  const [ana, ben, cleo] = peers;
  const [{ id }] = (await ana.does('append', 'Main bus B undervolt at 55 hours')) as [{ id: string }];
  const [{ id: contested }] = (await ana.does('append', 'Tank two reads zero')) as [{ id: string }];
  await untilAgreed(...peers);

  await Promise.all([ana.kill(), ben.kill()]);
  const apart = ['--timeout', '300ms'];
  expect(await cleo.does('edit', ...apart, id, 'Main bus B undervolt at 55 hours 55 minutes')).toMatchObject([
    { id, status: 'saved', revision: 2 },
  ]);
  await cleo.does('edit', ...apart, contested, 'Tank two reads empty');
  await cleo.kill();
  await Promise.all([ana.start(), ben.start()]);
  await ana.does('edit', id, 'Houston: main bus B undervolt at 55 hours');
  await ana.does('edit', contested, 'Tank two reads nothing');
  await cleo.start();
  await untilAgreed(...peers);

  for (const peer of peers) {
    const [merged, both] = textsOf(await peer.log());
    expect(merged).toBe('Houston: main bus B undervolt at 55 hours 55 minutes');
    expect(both).toMatch(/Tank two reads.*(empty.*nothing|nothing.*empty)/s);
  }
  const revisions = await cleo.does('history', id);
  expect(revisions.map(({ revision, author }) => [revision, author])).toEqual([
    [1, ana.id],
    [2, ana.id],
    [3, cleo.id],
  ]);
});

test('entries and edits of an entry that is itself still pending are committed in order', async () => {
  const [ana, ben, cleo] = await world().group('Ana', 'Ben', 'Cleo');
  await Promise.all([ana.kill(), ben.kill()]);
  const apart = ['--timeout', '300ms'];
  const [{ id }] = (await cleo.does('append', ...apart, 'draft')) as [{ id: string }];
  expect(await cleo.does('edit', ...apart, id, 'final')).toMatchObject([{ id, status: 'saved', revision: 2 }]);
  expect(await cleo.log('--pending')).toMatchObject([{ id, text: 'final', status: 'pending', revision: 2 }]);
  await cleo.kill();
  await cleo.start();
  await ana.start();
  await untilAgreed(ana, cleo);
  expect(await ana.log()).toMatchObject([{ id, text: 'final', revision: 2, position: 1 }]);
});

test('a client whose peer was killed is told so, and a command that finds nobody exits 3', async () => {
  const ana = await world().start('Ana');
  const service = await ana.service();
  await ana.kill();
  await expect(
    until('the client notices', async () => {
      await service.status({}, never);
      return false;
    }),
  ).rejects.toMatchObject({ code: 'PEER_LOST' });
  await expect(service.status({}, never)).rejects.toMatchObject({ code: 'PEER_LOST' });
  expect(await ana.synod('status')).toMatchObject({ code: 3, error: 'NO_PEER', lines: [] });
});

test('one directory serves one process', async () => {
  const ana = await world().start('Ana');
  await ana.does('create', 'Log');
  const second = await ana.launch(['serve', '--listen', '/ip4/127.0.0.1/tcp/0', '--no-mdns']).ended;
  expect(second).toMatchObject({ code: 1, error: 'DIR_LOCKED', lines: [] });
  expect(await ana.synod('verify')).toMatchObject({ code: 1, error: 'PEER_RUNNING' });
  expect(await ana.does('append', 'unharmed')).toMatchObject([{ status: 'committed', position: 1 }]);
});
