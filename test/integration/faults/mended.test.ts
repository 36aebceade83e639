// A value of the log that rotted on one machine's disk comes back from the others, and the machine stays the voter that it was.
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { never, type Peer, until, untilAgreed, untilStatus, worldForEach } from '../harness.ts';

const world = worldForEach();

/** Bends a byte of each table behind the name of a value of the log: where its block begins, the name stands in full. Returns how many. */
function rotValues(peer: Peer, group: string): number {
  const folder = join(peer.dir, 'groups', group, 'db');
  let bent = 0;
  for (const name of readdirSync(folder).filter((each) => each.endsWith('.ldb'))) {
    const path = join(folder, name);
    const bytes = readFileSync(path);
    const at = bytes.indexOf('l/0000000000');
    if (at < 0) continue;
    bytes[at + 600] = (bytes[at + 600] as number) ^ 0x10;
    writeFileSync(path, bytes);
    bent++;
  }
  return bent;
}

test('values that rotted are fetched again, and the machine votes on as the one that it was', async () => {
  const peers = await world().group('Ana', 'Bea', 'Cleo');
  const [ana, bea, cleo] = peers;
  const service = await ana.service();
  for (let n = 1; n <= 40; n++) {
    const text = `${n} ${randomBytes(1500).toString('base64')}`;
    await service.append({ text, wait: 'committed', timeoutMs: 60_000 }, never);
  }
  const { group } = await untilAgreed(...peers);
  // What was in the write-ahead file goes into a table as the database is opened.
  await cleo.stop();
  await cleo.start();
  await untilAgreed(...peers);
  await cleo.stop();
  expect(rotValues(cleo, group)).toBeGreaterThan(0);
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
