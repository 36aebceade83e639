import { readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { agree, alone, expectSound, inPlace, Machine, synod, trio, until } from './harness.ts';

const isVoter = async (machine: Machine): Promise<boolean> => {
  const { role, whyCode, canCommit, quorum } = await machine.status();
  return role === 'voter' && whyCode === null && canCommit && quorum.voters === 3;
};

const again = (machine: Machine, port: number): Promise<Machine> =>
  machine.serve({ listen: `/ip4/127.0.0.1/tcp/${port}` });

const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

test('a machine is destroyed and made again from its backup: it is readmitted by itself, and what was pending gets its place once', async () => {
  const { ana, ben, cy, all } = await trio();
  const [anaPort, benPort, cyPort] = all.map(({ port }) => port) as [number, number, number];
  await Promise.all([ana.stop(), ben.stop()]);
  for (let n = 0; n < 3; n++) await cy.run('append', '--wait', 'saved', `pending at the backup ${n}`);
  const file = inPlace('cy.backup');
  // The backup is taken of the running peer.
  const taken = await cy.run('backup', file);
  expect([taken.code, taken.json.at(-1)]).toEqual([0, expect.objectContaining({ path: file, groups: 1 })]);
  const { mode, size } = await stat(file);
  expect(mode & 0o777).toBe(0o600);
  expect(taken.json.at(-1)?.bytes).toBe(size);
  expect(await isThere(`${file}.tmp`)).toBe(false);

  // Two of the three are agreed on after the backup, under the old incarnation; and more is.
  await cy.run('append', '--wait', 'saved', 'after the backup');
  await Promise.all([again(ana, anaPort), again(ben, benPort)]);
  await until(async () => (await ana.texts()).includes('after the backup'), 'all that Cy had saved');
  await cy.write('agreed after the backup');
  await agree(all);
  await cy.kill();
  await rm(cy.dir, { recursive: true });

  const dir = inPlace('made again');
  const made = await synod(['rebuild', '--json', dir, file]);
  expect([made.code, made.err]).toEqual([0, '']);
  expect(made.json[0]).toMatchObject({ dir, peer: cy.id });
  const cy2 = new Machine('Cy', dir);
  await again(cy2, cyPort);
  expect(cy2.id).toBe(cy.id);
  await until(() => isVoter(cy2), 'a voter again').catch(async (error: Error) => {
    throw new Error(`${error.message} ${JSON.stringify(await cy2.status())} ${cy2.stderr.slice(-3_000)}`);
  });
  await agree([ana, ben, cy2]);
  const texts = await ana.texts();
  for (let n = 0; n < 3; n++) expect(texts.filter((text) => text === `pending at the backup ${n}`)).toHaveLength(1);
  expect(texts.filter((text) => text === 'after the backup')).toHaveLength(1);
  expect((await cy2.status()).pending).toBe(0);
  await expectSound([ana, ben, cy2]);
  // It counts: with Ben away, it is one of the two.
  await ben.stop();
  await expectSound([ana, cy2]);
  // The old incarnation is gone for good: opened again, it is the same new one.
  await cy2.stop();
  const verified = await synod(['verify', '--dir', dir, '--json']);
  expect([verified.code, verified.json[0]?.ok]).toEqual([0, true]);
});

test('what was pending at the backup and never sent is committed exactly once', async () => {
  const { ana, ben, cy, all } = await trio();
  const [anaPort, benPort, cyPort] = all.map(({ port }) => port) as [number, number, number];
  await Promise.all([ana.stop(), ben.stop()]);
  for (let n = 0; n < 3; n++) await cy.run('append', '--wait', 'saved', `never sent ${n}`);
  await cy.stop();
  const file = inPlace('cy.backup');
  // And this one of the stopped peer.
  const taken = await cy.run('backup', file);
  expect([taken.code, taken.json.at(-1)]).toEqual([0, expect.objectContaining({ groups: 1 })]);
  await rm(cy.dir, { recursive: true });
  const dir = inPlace('made again');
  expect((await synod(['rebuild', dir, file])).code).toBe(0);
  const cy2 = new Machine('Cy', dir);
  await again(cy2, cyPort);
  const pending = (await cy2.run('log', '--pending')).json.filter(({ status }) => status === 'pending');
  expect(pending.map(({ text }) => text)).toEqual(['never sent 0', 'never sent 1', 'never sent 2']);
  await Promise.all([again(ana, anaPort), again(ben, benPort)]);
  await until(() => isVoter(cy2), 'a voter again');
  await until(async () => (await ana.texts()).filter((text) => text?.startsWith('never sent')).length === 3, 'them');
  expect((await ana.texts()).filter((text) => text?.startsWith('never sent'))).toEqual(pending.map(({ text }) => text));
  await expectSound([ana, ben, cy2]);
});

describe('a backup', () => {
  test('is whole or not: verify says so, and rebuild makes nothing of a damaged one', async () => {
    const { machine } = await alone();
    for (let n = 0; n < 5; n++) await machine.write(`entry ${n}`);
    const file = inPlace('ana.backup');
    expect((await machine.run('backup', file)).code).toBe(0);
    // It goes on being written to meanwhile and afterwards.
    await machine.write('after it');
    const whole = await synod(['verify', '--json', file]);
    expect([whole.code, whole.json[0]]).toEqual([0, expect.objectContaining({ ok: true, problems: [] })]);

    const bytes = await readFile(file);
    const bent = inPlace('bent.backup');
    const dir = inPlace('not made');
    for (const at of [20, Math.floor(bytes.length / 2), bytes.length - 1]) {
      const other = new Uint8Array(bytes);
      other[at] = (other[at] as number) ^ 1;
      await writeFile(bent, other);
      const seen = await synod(['verify', '--json', bent]);
      expect([seen.code, seen.error?.error]).toEqual([5, 'FILE_DAMAGED']);
      const made = await synod(['rebuild', '--json', dir, bent]);
      expect([made.code, made.error?.error]).toEqual([5, 'FILE_DAMAGED']);
      expect([await isThere(dir), await isThere(`${dir}.new`)]).toEqual([false, false]);
    }
    await truncate(bent, bytes.length - 100);
    expect((await synod(['verify', bent])).code).toBe(5);
    await writeFile(bent, 'hello');
    const none = await synod(['rebuild', '--json', dir, bent]);
    expect([none.code, none.error?.error]).toEqual([1, 'BAD_FILE']);
    const missing = await synod(['rebuild', '--json', dir, inPlace('nowhere')]);
    expect([missing.code, missing.error?.error]).toEqual([1, 'FILE_UNREADABLE']);
  });

  test('writes over nothing, and neither does what is made of it', async () => {
    const { machine } = await alone();
    const file = inPlace('ana.backup');
    await writeFile(file, 'mine');
    for (const isRunning of [true, false]) {
      if (!isRunning) await machine.stop();
      const refused = await machine.run('backup', file);
      expect([refused.code, refused.error?.error]).toEqual([1, 'FILE_EXISTS']);
      expect(await readFile(file, 'utf8')).toBe('mine');
    }
    const other = inPlace('other.backup');
    expect((await machine.run('backup', other)).code).toBe(0);
    const made = await synod(['rebuild', '--json', machine.dir, other]);
    expect([made.code, made.error?.error]).toEqual([1, 'FILE_EXISTS']);
    expect((await machine.run('backup', join(inPlace('no such folder'), 'x'))).code).not.toBe(0);
  });
});
