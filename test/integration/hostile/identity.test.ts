import { cp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { agree, ERROR, expectSound, inPlace, Machine, trio, until } from './harness.ts';

/** Directories that were put back, copied or moved: a machine's data must not speak twice, and nothing that was written is lost or doubled. */

const isVoter = async (machine: Machine): Promise<boolean> => {
  const { role, whyCode, canCommit, quorum } = await machine.status();
  return role === 'voter' && whyCode === null && canCommit && quorum.voters === 3;
};

const saysThat = (machine: Machine, words: RegExp): boolean =>
  machine.log.some(({ level, message }) => level === ERROR && words.test(message));

/** Starts a machine again at the address that the others know. */
const again = (machine: Machine, port: number, ...args: string[]): Promise<Machine> =>
  machine.serve({ listen: `/ip4/127.0.0.1/tcp/${port}`, args });

/** Everything of a group as it was, put back under a directory that stays in its place. */
async function putBack(machine: Machine, from: string): Promise<void> {
  await rm(join(machine.dir, 'groups'), { recursive: true });
  await cp(join(from, 'groups'), join(machine.dir, 'groups'), { recursive: true });
}

test('an old copy of a group’s files is put back: it is told so, is reborn, and what it wrote before it was told is there once', async () => {
  const { ana, ben, cy, all } = await trio();
  const { port } = cy;
  await cy.stop();
  const earlier = inPlace('earlier');
  await cp(cy.dir, earlier, { recursive: true });
  await again(cy, port);
  for (let n = 0; n < 5; n++) await cy.write(`after the copy ${n}`);
  await agree(all);
  await cy.stop();
  await putBack(cy, earlier);
  const ports = [ana.port, ben.port] as const;
  await Promise.all([ana.stop(), ben.stop()]);
  await again(cy, port);
  // It has given these numbers before: to other entries, which the group has agreed on.
  for (let n = 0; n < 3; n++) {
    const saved = await cy.run('append', '--wait', 'saved', `by the old copy ${n}`);
    expect(saved.json[0]?.status).toBe('saved');
  }
  await Promise.all([again(ana, ports[0]), again(ben, ports[1])]);
  await until(() => saysThat(cy, /earlier copy of itself|commands of it that it does not know/), 'the verdict');
  await until(() => isVoter(cy), 'a voter again');
  const texts = async () => (await ana.texts()).filter((text) => /copy/.test(text ?? ''));
  await until(async () => (await texts()).length === 8, 'all eight entries');
  expect((await texts()).toSorted()).toEqual([
    ...Array.from({ length: 5 }, (_, n) => `after the copy ${n}`),
    ...Array.from({ length: 3 }, (_, n) => `by the old copy ${n}`),
  ]);
  expect((await texts()).slice(5)).toEqual(Array.from({ length: 3 }, (_, n) => `by the old copy ${n}`));
  await expectSound(all);
});

test('a voter that was put back does not vote before it was told: with it alone, a candidate gets nothing through', async () => {
  const { ana, ben, cy, all } = await trio();
  const [anaPort, benPort, cyPort] = all.map(({ port }) => port) as [number, number, number];
  await cy.stop();
  const earlier = inPlace('earlier');
  await cp(cy.dir, earlier, { recursive: true });
  await again(cy, cyPort);
  await cy.write('while all are here');
  await agree(all);
  await Promise.all(all.map((machine) => machine.stop()));
  await putBack(cy, earlier);
  await Promise.all([again(ana, anaPort), again(cy, cyPort)]);
  await until(() => saysThat(cy, /earlier copy of itself/), 'the verdict');
  // Ana remembers, Cy does not, Ben is away: nobody can decide.
  const early = await ana.run('append', '--timeout', '2s', 'needs Ben');
  expect([early.code, early.json[0]?.status]).toEqual([0, 'saved']);
  expect((await cy.status()).whyCode).toBe('NO_QUORUM');
  expect((await ana.status()).quorum).toMatchObject({ voters: 3, reachable: 1 });
  await again(ben, benPort);
  await until(async () => (await ana.texts()).includes('needs Ben'), 'what waited for Ben');
  await until(() => isVoter(cy), 'a voter again');
  await expectSound(all);
});

test('a directory that was moved within its file system goes on as if nothing had been', async () => {
  const { ana, ben, cy, all } = await trio();
  const { port } = cy;
  await cy.stop();
  const moved = new Machine('Cy', inPlace('elsewhere'));
  await rename(cy.dir, moved.dir);
  await again(moved, port);
  await until(() => isVoter(moved), 'a voter');
  expect(moved.log.filter(({ level }) => level === ERROR)).toEqual([]);
  expect(all[2]).toBe(cy);
  await expectSound([ana, ben, moved]);
});

test('a copy that is started elsewhere asks; which one goes on is said by a person, and the other one stops', async () => {
  const { ana, ben, cy } = await trio();
  const { port } = cy;
  await cy.stop();
  const copy = new Machine('Cy', inPlace('copy'));
  await cp(cy.dir, copy.dir, { recursive: true });

  // It may be one of two: it reads, and neither votes nor writes.
  await again(copy, port);
  await ana.write('while the copy asks');
  await until(async () => (await copy.texts()).includes('while the copy asks'), 'it reads on');
  const asks = await copy.status();
  expect([asks.whyCode, asks.canCommit]).toEqual(['COPIED', false]);
  expect(asks.why).toMatch(/another directory.+synod serve --moved/);
  const refused = await copy.run('append', 'by the copy');
  expect([refused.code, refused.error?.error]).toEqual([1, 'COPIED']);
  expect((await ana.status()).quorum.reachable).toBe(2);
  await copy.stop();

  // The original has gone on meanwhile, and then somebody says that the copy is the one to keep.
  await again(cy, port);
  await cy.write('by the original');
  const unsent = 'saved on the original, sent to nobody';
  const ports = [ana.port, ben.port] as const;
  await Promise.all([ana.stop(), ben.stop()]);
  expect((await cy.run('append', '--wait', 'saved', unsent)).json[0]?.status).toBe('saved');
  await cy.stop();
  await Promise.all([again(ana, ports[0]), again(ben, ports[1])]);
  await again(copy, port, '--moved');
  await until(() => isVoter(copy), 'the copy votes').catch(async (error: Error) => {
    throw new Error(`${error.message} ${JSON.stringify(await copy.status())} ${copy.stderr.slice(-3_000)}`);
  });
  await copy.write('by the copy that is kept');
  await expectSound([ana, ben, copy]);
  await copy.stop();

  // The original comes back: the group knows a newer store of this machine. It keeps all, says so, and does nothing.
  await again(cy, port);
  await until(async () => (await cy.status()).whyCode === 'COPIED', 'it finds itself replaced').catch(
    async (error: Error) => {
      throw new Error(
        `${error.message} ${JSON.stringify((await cy.status()).ballot)} ${JSON.stringify(cy.log.slice(-12))} COPY ${JSON.stringify(copy.log.filter(({ level }) => level === ERROR))}`,
      );
    },
  );
  expect((await cy.status()).why).toMatch(/newer store of this machine/);
  const late = await cy.run('append', 'by the replaced one');
  expect([late.code, late.error?.error]).toEqual([1, 'COPIED']);
  expect((await cy.run('log', '--pending')).json.map(({ text }) => text)).toContain(unsent);
  await cy.stop();
  await again(cy, port);
  expect((await cy.status()).whyCode).toBe('COPIED');
  await until(async () => (await cy.texts()).includes('by the copy that is kept'), 'it reads on');
  await cy.stop();

  // A person may still choose the original: it goes on, and what it had saved gets its place.
  await again(cy, port, '--moved');
  await until(() => isVoter(cy), 'the original votes again');
  await until(async () => (await ana.texts()).includes(unsent), 'what it had saved');
  expect((await ana.texts()).filter((text) => text === unsent)).toHaveLength(1);
  await expectSound([ana, ben, cy]);
});
