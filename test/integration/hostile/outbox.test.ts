import { readFile, stat, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { agree, alone, inPlace, synod, trio, until } from './harness.ts';

test('commands are carried by hand: by whom they are handed over does not matter, and twice does no harm', async () => {
  const { ana, ben, cy, group } = await trio();
  const { port } = cy;
  await Promise.all([ana.stop(), ben.stop()]);
  for (let n = 0; n < 3; n++) await cy.run('append', '--wait', 'saved', `carried ${n}`);
  const listed = await cy.run('outbox');
  expect(listed.json.map(({ status, change, text, whyCode }) => [status, change, text, whyCode])).toEqual(
    Array.from({ length: 3 }, (_, n) => ['pending', 'create', `carried ${n}`, 'ALONE']),
  );
  const file = inPlace('cy.outbox');
  const made = await cy.run('outbox', '--export', file);
  expect([made.code, made.json[0]]).toEqual([0, expect.objectContaining({ path: file, group, commands: 3 })]);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  const again = await cy.run('outbox', '--export', file);
  expect([again.code, again.error?.error]).toEqual([1, 'FILE_EXISTS']);
  await cy.stop();

  // Cy's machine stays off. Anybody hands them over, to whoever leads.
  await Promise.all([ana.serve(), ben.serve()]);
  await until(async () => (await ben.status()).canCommit, 'somebody leads');
  const counts: unknown[] = [];
  for (const machine of [ben, ana]) {
    const carried = await machine.run('outbox', '--import', file);
    counts.push([carried.code, carried.json[0]]);
    await until(async () => (await machine.texts()).includes('carried 2'), 'them');
  }
  expect(counts).toEqual([
    [0, { group, new: 3, known: 0, refused: 0 }],
    [0, { group, new: 0, known: 3, refused: 0 }],
  ]);
  await cy.serve({ listen: `/ip4/127.0.0.1/tcp/${port}` });
  await agree([ana, ben, cy]);
  const texts = await cy.texts();
  for (let n = 0; n < 3; n++) expect(texts.filter((text) => text === `carried ${n}`)).toHaveLength(1);
  await until(async () => (await cy.status()).pending === 0, 'nothing waits');
  expect((await cy.run('outbox')).json).toEqual([]);
  const nothing = await cy.run('outbox', '--export', inPlace('empty.outbox'));
  expect([nothing.code, nothing.error?.error]).toEqual([1, 'FILE_EMPTY']);

  // A file of another group, a bent one, and one that is none.
  const { machine: other } = await alone('Other', inPlace('other'));
  const elsewhere = await other.run('outbox', '--import', file);
  expect([elsewhere.code, elsewhere.error?.error]).toEqual([1, 'OTHER_GROUP']);
  const bytes = new Uint8Array(await readFile(file));
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] as number) ^ 1;
  const bent = inPlace('bent.outbox');
  await writeFile(bent, bytes);
  const damaged = await ana.run('outbox', '--import', bent);
  expect([damaged.code, damaged.error?.error]).toEqual([5, 'FILE_DAMAGED']);
  await writeFile(bent, 'hello');
  expect((await ana.run('outbox', '--import', bent)).error?.error).toBe('BAD_FILE');
  expect((await synod(['outbox', '--dir', ana.dir, '--import', 'a', '--export', 'b'])).code).toBe(2);
});
