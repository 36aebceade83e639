// A value of the log that rotted on one machine's disk comes back from the others, and the machine stays the voter that it was.
import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { enter, launch, never, type Peer, until, untilAgreed, untilStatus, worldForEach } from '../harness.ts';
import { rot, VALUE, WORDING } from './rot.ts';

const world = worldForEach();

async function fill(peer: Peer): Promise<void> {
  const service = await peer.service();
  for (let n = 1; n <= 40; n++) {
    const text = `${n} ${randomBytes(1500).toString('base64')}`;
    await service.append({ text, wait: 'committed', timeoutMs: 60_000 }, never);
  }
}

test('values that rotted are fetched again, and the machine votes on as the one that it was', async () => {
  const peers = await world().group('Ana', 'Bea', 'Cleo');
  const [ana, bea, cleo] = peers;
  await fill(ana);
  const { group } = await untilAgreed(...peers);
  // What was in the write-ahead file goes into a table as the database is opened.
  await cleo.stop();
  await cleo.start();
  await untilAgreed(...peers);
  await cleo.stop();
  expect(rot(cleo, group, VALUE)).toBeGreaterThan(0);
  await cleo.start();
  await untilAgreed(...peers);
  const told = cleo.troubles.splice(0);
  expect(told.some((line) => /this copy was damaged: \d+ values of its log are fetched again/.test(line))).toBe(true);
  expect(told.some((line) => /incarnation|once the others have agreed/.test(line))).toBe(false);
  expect(await cleo.log()).toEqual(await ana.log());

  await ana.kill();
  await untilStatus(bea, 'the two go on without the third', ({ canCommit, leader }) => canCommit && leader !== ana.id);
  expect(await cleo.does('append', 'without Ana')).toMatchObject([{ status: 'committed' }]);
  await ana.start();
  await untilAgreed(...peers);
  await until('nothing is missing any more', async () => {
    await cleo.stop();
    const [found] = await cleo.does('verify');
    await cleo.start();
    expect(found).toMatchObject({ ok: true, problems: [] });
    return found.groups[0].missing === 0;
  });
});

test('a copy that is made anew says what happened, what is kept and who has to return, and nothing passes for a whole log meanwhile', async () => {
  const peers = await world().group('Ana', 'Bea', 'Cleo');
  const [ana, bea, cleo] = peers;
  await fill(ana);
  const { group } = await untilAgreed(...peers);
  const [first] = await ana.log('--limit', '1', '--since', '0');
  await cleo.stop();
  await cleo.start();
  await untilAgreed(...peers);
  await Promise.all(peers.map((peer) => peer.stop()));
  for (const key of [VALUE, WORDING]) expect(rot(cleo, group, key)).toBeGreaterThan(0);
  await cleo.start();

  const isTold = async (): Promise<void> => {
    const { why, whyCode, canCommit, positions, mending } = await cleo.status();
    expect({ whyCode, canCommit, positions, why }).toEqual({
      whyCode: 'CATCHING_UP',
      canCommit: false,
      positions: 0,
      why: mending?.text,
    });
    expect(mending).toMatchObject({ entries: true, from: [] });
    expect(mending?.missing).toBeGreaterThan(0);
    expect(why).toMatch(/disk was damaged\. What it agreed to and what was written on it is kept; .* made anew/);
    expect(why).toMatch(
      /(Ana or Bea|Bea or Ana) has to return, one is enough\. Nothing is lost in the group as long as/,
    );
    const log = await cleo.synod('log');
    expect(log).toMatchObject({ code: 0, lines: [] });
    expect(JSON.parse(log.err)).toEqual({ event: 'incomplete', message: why });
    const forPeople = await launch(['log', '--dir', cleo.dir]).ended;
    expect(forPeople).toMatchObject({ code: 0, out: '', err: `This log is not whole yet. ${why}\n` });
    expect((await launch(['status', '--dir', cleo.dir]).ended).out).toContain(`Waiting: ${why}`);
    expect(await cleo.synod('health')).toMatchObject({ code: 4, lines: [{ problems: [{ message: why }] }] });
    for (const entry of ['1', `${first?.id}`, `${first?.id}`.slice(0, 6)]) {
      for (const asked of [
        ['edit', entry, 'other'],
        ['remove', entry],
        ['restore', entry],
        ['history', entry],
      ]) {
        const refused = await cleo.synod(...asked);
        expect(refused).toMatchObject({ code: 1, error: 'BUSY' });
        expect(refused.err).toContain(`is being made anew: whether there is an entry ${entry} can't be told before`);
      }
    }
    // What can be no entry is none, whatever comes.
    expect(await cleo.synod('edit', 'no entry', 'other')).toMatchObject({ code: 1, error: 'ENTRY_NOT_FOUND' });
  };
  await isTold();
  expect(await cleo.does('append', '--wait', 'saved', 'meanwhile')).toMatchObject([{ status: 'saved' }]);
  // It is known after a crash, too.
  await cleo.kill();
  await cleo.start();
  await isTold();

  await Promise.all([ana.start(), bea.start()]);
  await untilAgreed(...peers);
  await untilStatus(cleo, 'all is here again', ({ mending, why }) => mending === undefined && why === null);
  expect((await cleo.synod('log')).err).toBe('');
  expect(await cleo.log()).toEqual(await ana.log());
  expect((await cleo.log()).at(-1)).toMatchObject({ text: 'meanwhile', position: 41 });
  expect(await cleo.does('edit', '1', 'changed again')).toMatchObject([{ status: 'committed', revision: 2 }]);
  cleo.troubles.length = 0;
});

test('the founder of a log whose copy is made anew still knows whom to fetch it from, and what all was called, after another start', async () => {
  const ana = await world().start('Ana');
  await ana.does('create', 'Pumps');
  const bea = await world().start('Bea');
  await enter(bea, ana, '--role', 'learner');
  await fill(ana);
  const { group } = await untilAgreed(ana, bea);
  await ana.stop();
  await ana.start();
  await untilAgreed(ana, bea);
  await Promise.all([ana.stop(), bea.stop()]);
  for (const key of [VALUE, WORDING]) expect(rot(ana, group, key)).toBeGreaterThan(0);
  for (let n = 0; n < 2; n++) {
    await ana.start();
    const { title, why, members } = await ana.status('Pumps');
    expect([title, members.find(({ peer }) => peer === ana.id)?.name]).toEqual(['Pumps', 'Ana']);
    expect(why).toMatch(/Bea has to return\. Nothing is lost in the group as long as it does\./);
    await ana.stop();
  }
  await Promise.all([ana.start(), bea.start()]);
  await untilAgreed(ana, bea);
  await untilStatus(ana, 'all is here again', ({ mending }) => mending === undefined);
  expect(await ana.log()).toEqual(await bea.log());
  ana.troubles.length = 0;
});
