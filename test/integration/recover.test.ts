// Machines that are gone for good: those who are left go on by a forced recovery, and what returns later finds its place.
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { enter, type Peer, textsOf, untilAgreed, untilStatus, worldForEach } from './harness.ts';

const world = worldForEach();

/** The machine is lost with its disk. */
async function destroy(...peers: readonly Peer[]): Promise<void> {
  await Promise.all(peers.map((peer) => peer.kill()));
  for (const peer of peers) rmSync(peer.dir, { recursive: true, force: true, maxRetries: 5 });
}

const keep = (...peers: readonly Peer[]): string[] => peers.flatMap((peer) => ['--keep', peer.name]);

test('the last of three goes on alone: nothing that is saved there is lost, and what waited is committed', async () => {
  const [ana, ben, cleo] = await world().group('Ana', 'Ben', 'Cleo');
  for (const text of ['one', 'two', 'three']) await ben.does('append', text);
  await untilAgreed(ana, ben, cleo);
  await destroy(ben, cleo);
  const [waiting] = await ana.does('append', '--timeout', '300ms', 'written alone');
  expect(waiting).toMatchObject({ status: 'saved' });
  const before = await ana.log();

  expect(await ana.synod('recover', ...keep(ana), '--force')).toMatchObject({ code: 1, error: 'PEER_RUNNING' });
  await ana.stop();
  expect(await ana.synod('recover')).toMatchObject({ code: 2, error: 'USAGE' });
  expect(await ana.synod('recover', ...keep(ben), '--dry-run')).toMatchObject({ code: 2, error: 'USAGE' });
  expect(await ana.synod('recover', '--keep', 'Nobody', '--dry-run')).toMatchObject({
    code: 1,
    error: 'MEMBER_NOT_FOUND',
  });

  const plan = {
    step: 'planned',
    title: 'Log',
    kept: [{ name: 'Ana' }],
    givenUp: [{ name: 'Ben' }, { name: 'Cleo' }],
    position: 3,
    lossless: false,
    shortfalls: [{ voters: 3, q2: 2, kept: 1 }],
    at: null,
    epoch: null,
  };
  expect(await ana.synod('recover', ...keep(ana), '--dry-run', '--force')).toMatchObject({ code: 0, lines: [plan] });
  expect(await ana.synod('recover', ...keep(ana))).toMatchObject({ code: 1, lines: [plan], error: 'FORCE_NEEDED' });
  await ana.start();
  await untilStatus(ana, 'nothing was changed by that', ({ canCommit, quorum }) => !canCommit && quorum.voters === 3);
  await ana.stop();

  const [done] = await ana.does('recover', ...keep(ana), '--force');
  expect(done).toMatchObject({
    step: 'recovered',
    kept: [{ name: 'Ana' }],
    epoch: expect.stringMatching(/^[0-9a-f]{64}$/),
  });
  expect(await ana.does('verify')).toMatchObject([{ ok: true }]);
  await ana.start();
  await untilStatus(
    ana,
    'it decides alone',
    ({ canCommit, quorum, pending }) => canCommit && quorum.voters === 1 && pending === 0,
  );
  const after = await ana.log();
  expect(after.slice(0, 3)).toEqual(before);
  expect(after[3]).toMatchObject({ id: waiting.id, text: 'written alone' });
  expect(await ana.does('append', 'goes on')).toMatchObject([{ status: 'committed', position: 5 }]);
  await ana.kill();
  await ana.start();
  await untilStatus(ana, 'it goes on after a crash, too', ({ canCommit }) => canCommit);
  expect(textsOf(await ana.log())).toEqual(['one', 'two', 'three', 'written alone', 'goes on']);
});

test('two of five go on, killed again and again on their way; neither has another log than the other', async () => {
  const [ana, ben, cleo, dora, emil] = await world().group('Ana', 'Ben', 'Cleo', 'Dora', 'Emil');
  for (let i = 1; i <= 5; i++) await emil.does('append', `entry ${i}`);
  await untilAgreed(ana, ben, cleo, dora, emil);
  await destroy(cleo, dora, emil);
  for (const peer of [ana, ben]) await peer.does('append', '--timeout', '300ms', `${peer.name} alone`);
  const before = await ana.log();
  await Promise.all([ana.kill(), ben.kill()]);

  const [consent] = await ana.does('recover', ...keep(ana, ben), '--force');
  expect(consent).toMatchObject({ step: 'consented', lossless: false, shortfalls: [{ voters: 5, q2: 3, kept: 2 }] });
  await Promise.all([ana.start(), ben.start()]);
  const waits = await untilStatus(
    ana,
    'it waits for Ben',
    ({ whyCode, why }) => whyCode === 'RECOVERING' && !why?.includes('not reachable'),
  );
  expect(waits.why).toMatch(
    /^Waiting for the other survivors. Ben has yet to consent: .*--keep Ana --keep Ben|--keep Ben --keep Ana/,
  );
  await ben.stop();
  // The same consent again changes nothing.
  await ana.stop();
  expect(await ana.does('recover', ...keep(ben, ana), '--force')).toEqual([consent]);
  await ben.does('recover', ...keep(ana, ben), '--force');

  const isDone = async (peer: Peer): Promise<boolean> => {
    const { quorum, canCommit } = await peer.status();
    return canCommit && quorum.voters === 2;
  };
  for (let kills = 0; kills < 12; kills++) {
    await Promise.all([ana.start(), ben.start()]);
    const ends = performance.now() + 80 * (kills + 1);
    while (performance.now() < ends && !(await isDone(ana))) await new Promise((resolve) => setTimeout(resolve, 10));
    await Promise.all(kills % 3 === 0 ? [ana.kill()] : kills % 3 === 1 ? [ben.kill()] : [ana.kill(), ben.kill()]);
    await Promise.all([ana, ben].map((peer) => peer.isRunning && peer.kill()));
  }
  await Promise.all([ana.start(), ben.start()]);
  for (const peer of [ana, ben])
    await untilStatus(peer, 'it goes on', ({ canCommit, quorum }) => canCommit && quorum.voters === 2);
  await untilAgreed(ana, ben);
  const after = await ben.log();
  expect(after.slice(0, 5)).toEqual(before);
  expect(textsOf(after.slice(5)).toSorted()).toEqual(['Ana alone', 'Ben alone']);
  expect(await ben.does('append', 'together')).toMatchObject([{ status: 'committed', position: 8 }]);
  await Promise.all([ana.stop(), ben.stop()]);
  for (const peer of [ana, ben]) expect(await peer.does('verify')).toMatchObject([{ ok: true }]);
});

test('the other one of two goes on, and a new machine joins it', async () => {
  const [ana, ben] = await world().group('Ana', 'Ben');
  await ana.does('append', 'both have it');
  await untilAgreed(ana, ben);
  await destroy(ana);
  await ben.stop();
  const [done] = await ben.does('recover', ...keep(ben), '--force');
  // Both had to hold each entry, so the one that is left has all of them.
  expect(done).toMatchObject({ step: 'recovered', lossless: true, shortfalls: [] });
  await ben.start();
  await ben.does('append', '--timeout', '60s', 'alone now');
  const dora = await world().start('Dora');
  await enter(dora, ben, '--role', 'voter');
  await untilAgreed(dora, ben);
  expect(textsOf(await dora.log())).toEqual(['both have it', 'alone now']);
});

test('a lost machine returns with entries that nobody else had: its old log stays readable, and they are agreed on once', async () => {
  const [ana, ben, cleo] = await world().group('Ana', 'Ben', 'Cleo');
  await ana.does('append', 'all have it');
  await untilAgreed(ana, ben, cleo);
  await cleo.stop();
  const [byAna] = await ana.does('append', 'by Ana, without Cleo');
  const [byBen] = await ben.does('append', 'by Ben, without Cleo');
  expect(byBen).toMatchObject({ status: 'committed', position: 3 });
  await untilAgreed(ana, ben);
  await Promise.all([ana.stop(), ben.stop()]);

  const [done] = await cleo.does('recover', ...keep(cleo), '--force');
  expect(done).toMatchObject({ step: 'recovered', lossless: false });
  await cleo.start();
  await untilStatus(cleo, 'it goes on', ({ canCommit }) => canCommit);
  expect(await cleo.does('append', 'by Cleo alone')).toMatchObject([{ status: 'committed', position: 2 }]);

  await ben.start();
  const { recovered } = await untilStatus(ben, 'it began anew', (status) => (status.recovered?.aside.length ?? 0) > 0);
  const [aside] = recovered?.aside ?? [];
  const old = readFileSync(join(aside as string, 'log.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(old).toMatchObject([
    { position: 1 },
    { position: 2, id: byAna.id },
    { position: 3, id: byBen.id, text: 'by Ben, without Cleo' },
  ]);
  const all = ['by Ana, without Cleo', 'by Ben, without Cleo', 'by Cleo alone'];
  await untilStatus(cleo, 'what only Ben had is there', ({ positions }) => positions === 4);
  await untilAgreed(ben, cleo);
  const log = await cleo.log();
  expect(log.slice(0, 2)).toMatchObject([{ text: 'all have it' }, { text: 'by Cleo alone' }]);
  expect(textsOf(log.slice(1)).toSorted()).toEqual(all);
  expect(log.find(({ text }) => text === 'by Ana, without Cleo')).toMatchObject({ id: byAna.id, author: ana.id });

  // The author of one of them returns as well, when it is there already.
  await ben.kill();
  await ben.start();
  await ana.start();
  await untilStatus(ana, 'it began anew', (status) => (status.recovered?.aside.length ?? 0) > 0);
  await ana.does('append', '--timeout', '60s', 'Ana is back');
  await untilAgreed(ana, ben, cleo);
  expect(textsOf((await ana.log()).slice(1)).toSorted()).toEqual(['Ana is back', ...all]);
  for (const peer of [ana, ben, cleo]) expect(await peer.stop()).toBe(0);
  for (const peer of [ana, ben, cleo]) expect(await peer.does('verify')).toMatchObject([{ ok: true }]);
  await Promise.all([ana, ben, cleo].map((peer) => peer.start()));
  await untilAgreed(ana, ben, cleo);
});

test('two sides that each went on alone and meet: both say so, with the other one’s name, and both go on', async () => {
  const [ana, ben, cleo] = await world().group('Ana', 'Ben', 'Cleo');
  await ana.does('append', 'all have it');
  await untilAgreed(ana, ben, cleo);
  await destroy(cleo);
  await Promise.all([ana.stop(), ben.stop()]);
  for (const peer of [ana, ben]) await peer.does('recover', ...keep(peer), '--force');
  await ana.start();
  await untilStatus(ana, 'it goes on', ({ canCommit }) => canCommit);
  expect(await ana.synod('health')).toMatchObject({ code: 0 });
  await ben.start();
  for (const [peer, other] of [
    [ana, ben],
    [ben, ana],
  ] as const) {
    const { why, members } = await untilStatus(peer, 'two logs', (s) => s.whyCode === 'SPLIT' && s.canCommit);
    expect(why).toContain(`${other.name} went on with another log by a forced recovery`);
    expect(members.map(({ name, split }) => [name, split ?? false])).toEqual(
      members.map(({ name }) => [name, name === other.name]),
    );
    expect(await peer.synod('health')).toMatchObject({
      code: 4,
      lines: [{ ok: false, problems: [{ code: 'SPLIT' }] }],
    });
    expect(await peer.does('append', `by ${peer.name}`)).toMatchObject([{ status: 'committed', position: 2 }]);
  }
  await ben.stop();
  await untilStatus(ana, 'the other one is not heard any more', ({ whyCode }) => whyCode === null);
});
