// Clocks that are a year apart: order, elections and commits do not care; people see which times are off; an invitation ends by its host's clock.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { CommittedLine, LogLine } from '../../../shared/ipc/contract.ts';
import { leaderOf, never, type Peer, ticketOf, untilAgreed, untilTogether, worldForAll } from '../harness.ts';
import { authorsAt, expectKept, expectVerified } from './kept.ts';

const YEAR_MS = 365 * 24 * 3_600_000;
const HOUR_MS = 3_600_000;
/** A clock that is further off is marked. Milliseconds. */
const TOLERANCE_MS = 5 * 60_000;

const dir = mkdtempSync(join(tmpdir(), 'synod-clocks-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const fileOf = (name: string): string => join(dir, name);
/** Holds from the peer's next start. */
const setClock = (name: string, shiftMs: number): void => writeFileSync(fileOf(name), String(shiftMs));

const world = worldForAll({
  argsOf(name) {
    const shift = new URL('./shift-clock.ts', import.meta.url);
    shift.searchParams.set('file', fileOf(name));
    return { nodeArgs: ['--import', shift.href] };
  },
});
let peers: Peer[] = [];
beforeAll(async () => {
  for (const name of ['Ana', 'Dora']) setClock(name, 0);
  setClock('Ben', YEAR_MS);
  setClock('Cleo', -YEAR_MS);
  peers = await world.group('Ana', 'Ben', 'Cleo');
}, 120_000);

const aboutMs = (time: string): number => Math.round((Date.parse(time) - Date.now()) / YEAR_MS);

async function marked(peer: Peer): Promise<LogLine[]> {
  const service = await peer.service();
  const lines: LogLine[] = [];
  for await (const line of service.log({ follow: false, pending: false, marks: true }, never)) lines.push(line);
  return lines;
}

test('all three write, under a leader whose clock is right and under one whose clock is not', async () => {
  const leader = await leaderOf(peers);
  for (const round of ['under the first', 'under the next']) {
    const authors = authorsAt(peers, 10, 1, ` ${round}`);
    for (const author of authors) author.granted = 10;
    await Promise.all(authors.map((author) => author.run()));
    await expectKept(peers, authors);
    if (round === 'under the next') break;
    await leader.stop();
    await leaderOf(peers.filter((peer) => peer !== leader));
    await leader.start();
    await untilTogether(leader, 3);
  }
  // Of the two, at least one is a year off.
  expect((await leaderOf(peers)).name).not.toBe(leader.name);
});

test('an entry has its author’s time and its leader’s, and is marked where its author was far ahead or had seen later ones', async () => {
  const [ana, ben, cleo] = peers as [Peer, Peer, Peer];
  for (const peer of peers) {
    await peer.does('append', `a clock of ${peer.name}`);
    await untilAgreed(...peers);
  }
  const lines = await marked(ana);
  const one = (name: string): LogLine => lines.find(({ text }) => text === `a clock of ${name}`) as LogLine;
  expect(aboutMs(one('Ben').time)).toBe(1);
  expect(aboutMs(one('Cleo').time)).toBe(-1);
  // Every peer shows the same marks, whatever its own clock says.
  for (const peer of [ben, cleo]) expect(await marked(peer)).toEqual(lines);
  for (const [at, line] of lines.entries()) {
    const { text, time, placed, clock } = line as CommittedLine;
    const aheadMs = Date.parse(time) - Date.parse(placed);
    if (aheadMs > TOLERANCE_MS) expect(clock, text ?? '').toBe('ahead');
    else expect(clock, text ?? '').not.toBe('ahead');
    // These were written after all before them had been seen.
    const seen = lines[at - 1]?.placed;
    if (!text?.startsWith('a clock of') || !seen || clock === 'ahead') continue;
    expect(clock, text).toBe(Date.parse(time) < Date.parse(seen) - TOLERANCE_MS ? 'behind' : null);
  }
});

test("an invitation is judged by the host's clock, not by the guest's", async () => {
  const [ana] = peers as [Peer, ...Peer[]];
  const ticket = await ticketOf(ana, '--expires', '1h', '--role', 'learner');
  // The door stays open for this one.
  await ticketOf(ana, '--expires', '24h', '--role', 'learner');
  const late = await ticketOf(ana, '--expires', '1h', '--role', 'learner');
  setClock('Dora', YEAR_MS);
  const dora = await world.start('Dora');
  expect(await dora.does('join', ticket)).toMatchObject([{ role: 'learner' }]);
  await untilAgreed(...peers, dora);

  await ana.stop();
  setClock('Ana', 2 * HOUR_MS);
  await ana.start();
  setClock('Emil', 0);
  const emil = await world.start('Emil');
  expect(await emil.synod('join', '--timeout', '60s', late)).toMatchObject({ code: 4, error: 'INVITATION_EXPIRED' });
});

test('every record is whole afterwards', () => expectVerified(peers));
