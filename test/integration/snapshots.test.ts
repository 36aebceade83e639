// A newcomer takes a snapshot instead of the whole log, wherever it is cut short, and fetches the history behind it.
import { expect, test } from 'vitest';
import type { LogLine } from '../../shared/ipc/contract.ts';
import { enter, never, type Peer, until, untilAgreed, untilStatus, worldForEach } from './harness.ts';

const world = worldForEach();

const TEXT = 'The pumps were checked, and the valves behind them. '.repeat(60);
/** So few that each slot holds two at most: a snapshot is taken by the number of slots. */
const IN_FLIGHT = 2;

/** Appends so many entries, of a few kilobytes each, in more slots than a newcomer would fetch one by one. */
async function fill(peer: Peer, count: number, text = TEXT): Promise<void> {
  const service = await peer.service();
  let next = 0;
  const one = async (): Promise<void> => {
    while (next < count) {
      const n = ++next;
      await service.append({ text: `${n} ${text}`, wait: 'committed', timeoutMs: 60_000 }, never);
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, one));
}

const installs = (peer: Peer): number => peer.stderr.split('a snapshot was installed').length - 1;

/** Nothing is missing any more: the whole log, down to its first slot, is on this disk. It is looked at between two runs. */
async function untilWhole(peer: Peer): Promise<void> {
  for (let n = 0; n < 20; n++) {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await peer.stop();
    const [found] = await peer.does('verify');
    await peer.start();
    expect(found).toMatchObject({ ok: true, problems: [] });
    if (found.groups[0].missing === 0) return;
  }
  throw new Error(`${peer.name} doesn't come to hold the whole log`);
}

test('a newcomer shows the whole log from a snapshot, and holds its history a little later', async () => {
  const ana = await world().start('Ana');
  await ana.does('create', 'Pumps');
  await fill(ana, 800);
  const bea = await world().start('Bea');
  await enter(bea, ana);
  const { positions } = await untilAgreed(ana, bea);
  expect(positions).toBe(800);
  expect(installs(bea)).toBeGreaterThan(0);
  expect((await bea.log('--limit', '2')).map(({ position }) => position)).toEqual([799, 800]);
  expect(await bea.does('append', 'from the newcomer')).toMatchObject([{ status: 'committed', position: 801 }]);
  expect(await bea.does('edit', '700', 'changed by it')).toMatchObject([{ status: 'committed', revision: 2 }]);
  await untilAgreed(ana, bea);
  await untilWhole(bea);
  await untilAgreed(ana, bea);
});

test('killed again and again while the snapshot comes, it goes on where it was and ends whole', async () => {
  const ana = await world().start('Ana');
  await ana.does('create', 'Pumps');
  await fill(ana, 800);
  const bea = await world().start('Bea');
  await enter(bea, ana);
  for (let n = 0; n < 5; n++) {
    await new Promise((resolve) => setTimeout(resolve, 40 + 60 * n));
    await bea.kill();
    await bea.start();
  }
  await untilAgreed(ana, bea);
  expect(await bea.log('--limit', '5')).toEqual(await ana.log('--limit', '5'));
  await untilWhole(bea);
});

test('a machine that was away for long takes a snapshot, keeps what it wrote meanwhile, and may vote', async () => {
  const peers = await world().group('Ana', 'Bea', 'Cleo');
  const [ana, bea, cleo] = peers;
  await cleo.does('append', 'before it left');
  await cleo.stop();
  await fill(ana, 700);
  await ana.does('edit', '1', 'changed while it was away');
  await cleo.start();
  await untilAgreed(...peers);
  expect(installs(cleo)).toBeGreaterThan(0);
  expect(await cleo.does('append', 'back again')).toMatchObject([{ status: 'committed' }]);
  await ana.kill();
  await untilStatus(bea, 'the two go on without the third', ({ canCommit, leader }) => canCommit && leader !== ana.id);
  expect(await cleo.does('append', 'without Ana')).toMatchObject([{ status: 'committed' }]);
  await ana.start();
  await untilAgreed(...peers);
  await untilWhole(cleo);
});

test('a newcomer reads the newest entries before all of them are here, and writes; then they are agreed, at the same places', async () => {
  const ana = await world().start('Ana');
  await ana.does('create', 'Pumps');
  await fill(ana, 560, TEXT.repeat(3));
  const bea = await world().start('Bea');
  await enter(bea, ana);
  const service = await bea.service();
  const read = async (): Promise<LogLine[]> => {
    const lines: LogLine[] = [];
    for await (const line of service.log({ follow: false, pending: false }, never)) lines.push(line);
    return lines;
  };
  const readUnverified = async (): Promise<LogLine[]> => (await read()).filter(({ status }) => status === 'unverified');
  await until('the first of the newest entries are there', async () => (await readUnverified()).length > 0);
  // The one that gives it goes, and what has come stays to be read.
  await ana.kill();
  const shown = await readUnverified();
  expect(shown.length).toBeGreaterThan(0);
  const { preview, positions } = await bea.status();
  expect(preview).toMatchObject({ positions: 560 });
  expect(preview?.here).toBeGreaterThanOrEqual(positions + shown.length);
  expect(positions).toBeLessThan(560);
  const written = service.append({ text: 'from the newcomer', wait: 'committed', timeoutMs: 60_000 }, never);
  await untilStatus(bea, 'what it wrote is saved', ({ pending }) => pending === 1);
  await ana.start();
  // Asked before the snapshot was installed, and told of the place all the same.
  expect(await written).toMatchObject({ status: 'committed', position: 561 });
  await untilAgreed(ana, bea);
  const after = await read();
  expect(after.map(({ position }) => position)).toEqual(Array.from({ length: 561 }, (_, i) => i + 1));
  for (const line of shown) expect(after[(line.position ?? 0) - 1]).toEqual({ ...line, status: 'committed' });
  expect(after.at(-1)).toMatchObject({ text: 'from the newcomer', writer: 'Bea' });
});
