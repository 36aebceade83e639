import { createHash, randomBytes } from 'node:crypto';
import { cp, mkdir, mkdtemp, open, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../harness.ts';
import { agree, alone, ERROR, expectSound, inPlace, Machine, PATIENCE_MS, synod, trio, until } from './harness.ts';

/**
 * One group of three is made and stopped; each test takes a copy of it, damages Cy's files as a failing disk or a careless person would,
 * and starts all three again at their old places.
 */

const NAMES = ['Ana', 'Ben', 'Cy'] as const;
/** Saved by Cy while it was alone, and known to nobody else. */
const UNSENT = 'only Cy knows this';

interface Template {
  readonly dir: string;
  readonly ports: readonly number[];
  readonly group: string;
  /** Cy's mark and database of an earlier moment. */
  readonly earlier: string;
}
let template: Template;

beforeAll(async () => {
  const dir = await mkdtemp(join(tmpdir(), 'synod-damage-'));
  const machines = NAMES.map((name) => new Machine(name, join(dir, name))) as [Machine, Machine, Machine];
  const [ana, ben, cy] = machines;
  for (const machine of machines) await machine.serve({ listen: `/ip4/127.0.0.1/tcp/${await freePort()}` });
  const group = (await ana.run('create', 'Night log')).json[0]?.group as string;
  for (const guest of [ben, cy]) await guest.join(await ana.invite());
  await until(async () => (await ana.status()).quorum.voters === 3, 'three voters');
  const ports = machines.map(({ port }) => port);
  const restart = () =>
    Promise.all(machines.map((machine, at) => machine.serve({ listen: `/ip4/127.0.0.1/tcp/${ports[at]}` })));
  const stop = () => Promise.all(machines.map((machine) => machine.stop()));
  for (let n = 0; n < 20; n++) await cy.write(`early ${n}`);
  await agree(machines);
  await stop();
  const earlier = join(dir, 'earlier');
  await cp(await cy.groupDir(), earlier, { recursive: true });
  await restart();
  // Enough that the database has tables and not only its write-ahead file.
  for (let n = 0; n < 12; n++) await machines[n % 3]?.write(`${n} ${randomBytes(150_000).toString('hex')}`);
  await agree(machines);
  await stop();
  await restart();
  for (let n = 0; n < 20; n++) await machines[n % 3]?.write(`late ${n}`);
  await agree(machines);
  await Promise.all([ana.stop(), ben.stop()]);
  const saved = await cy.run('append', '--wait', 'saved', UNSENT);
  expect(saved.json[0]?.status).toBe('saved');
  await cy.stop();
  template = { dir, ports, group, earlier };
}, 180_000);

afterAll(async () => {
  await rm(template.dir, { recursive: true, force: true });
});

interface World {
  readonly ana: Machine;
  readonly ben: Machine;
  readonly cy: Machine;
  readonly all: readonly [Machine, Machine, Machine];
  /** Cy's folder of the group. */
  readonly dir: string;
}

async function copied(): Promise<World> {
  const all = (await Promise.all(
    NAMES.map(async (name) => {
      await cp(join(template.dir, name), inPlace(name), { recursive: true });
      return new Machine(name);
    }),
  )) as [Machine, Machine, Machine];
  const [ana, ben, cy] = all;
  return { ana, ben, cy, all, dir: join(cy.dir, 'groups', template.group) };
}

/** Copies lie in another place than they were made in; the template they were made of does not run. */
const serve = (machine: Machine): Promise<Machine> =>
  machine.serve({
    listen: `/ip4/127.0.0.1/tcp/${template.ports[NAMES.indexOf(machine.name as 'Cy')]}`,
    args: ['--moved'],
  });

// --- ways to damage

async function files(dir: string, pattern: RegExp): Promise<string[]> {
  const names = (await readdir(join(dir, 'db'))).filter((name) => pattern.test(name)).toSorted();
  if (names.length === 0) throw new Error(`no ${pattern} in ${dir}`);
  return names.map((name) => join(dir, 'db', name));
}
const LOG = /\.log$/;
const TABLE = /\.ldb$/;
const MANIFEST = /^MANIFEST/;

async function largest(dir: string, pattern: RegExp): Promise<string> {
  const sized = await Promise.all(
    (await files(dir, pattern)).map(async (path) => ({ path, size: (await stat(path)).size })),
  );
  return sized.toSorted((a, b) => b.size - a.size)[0]?.path as string;
}

/** A bit in every so many bytes. */
async function flip(path: string, every: number, from = 0): Promise<void> {
  const bytes = await readFile(path);
  for (let at = from + Math.floor(every / 2); at < bytes.length; at += every) bytes[at] = (bytes[at] as number) ^ 0x10;
  await writeFile(path, bytes);
}

async function cut(path: string, keep: number): Promise<void> {
  const { size } = await stat(path);
  await truncate(path, keep < 1 ? Math.floor(size * keep) : size - keep);
}

async function eachOf(dir: string, pattern: RegExp, damage: (path: string) => Promise<void>): Promise<void> {
  for (const path of await files(dir, pattern)) await damage(path);
}

async function restore(dir: string, what: 'mark' | 'db'): Promise<void> {
  await rm(join(dir, what), { recursive: true });
  await cp(join(template.earlier, what), join(dir, what), { recursive: true });
}

// --- what must hold then

async function verify(machine: Machine) {
  const ran = await synod(['verify', '--dir', machine.dir, '--json']);
  const said = ran.json[0] as { ok: boolean; problems: { code: string; message: string }[] } | undefined;
  return { code: ran.code, ok: said?.ok, problems: said?.problems ?? [], err: ran.err };
}

/** It votes again, under a new incarnation, without anybody's doing. */
const isBack = async (machine: Machine): Promise<boolean> => {
  const { role, whyCode, canCommit, quorum } = await machine.status();
  return role === 'voter' && whyCode === null && canCommit && quorum.voters === 3;
};

/** It reads on, catches up, and is readmitted by itself; what it had saved gets its place, once. */
async function expectReadmitted({ ana, cy, all }: World): Promise<void> {
  let seen: unknown;
  await until(async () => {
    seen = await cy.status();
    return isBack(cy);
  }, 'a voter again').catch((error: Error) => {
    throw new Error(`${error.message}: ${JSON.stringify(seen)} ${cy.stderr.slice(-2_000)}`);
  });
  await agree([ana, cy]); // asks for less than all texts, again and again
  await until(async () => `${await cy.texts()}` === `${await ana.texts()}`, 'the same texts');
  expect((await ana.texts()).filter((text) => text === UNSENT).length).toBeLessThanOrEqual(1);
  await expectSound(all);
}

/** Its vote counts: two of three decide, and it is one of them. What is on its disk is whole. */
async function expectVoter({ ana, ben, cy, all }: World): Promise<void> {
  await ben.stop();
  await expectSound([ana, cy]);
  await serve(ben);
  await agree(all);
  await cy.stop();
  const after = await verify(cy);
  expect([after.code, after.ok, after.problems]).toEqual([0, true, []]);
  await serve(cy);
  await until(() => isBack(cy), 'a voter still');
  await agree(all);
}

/** As long as the others have not agreed, it does not count: with one of them away nothing is decided. */
async function expectNoVoteYet({ ana, ben, cy, all }: World): Promise<void> {
  await ben.stop();
  await serve(cy);
  const early = await ana.run('append', '--timeout', '2s', 'needs Ben');
  expect([early.code, early.json[0]?.status]).toEqual([0, 'saved']);
  const own = await cy.run('append', '--wait', 'saved', 'Cy again');
  expect([own.code, own.json[0]?.status]).toEqual([0, 'saved']);
  const status = await cy.status();
  expect([status.whyCode, status.canCommit]).toEqual(['NO_QUORUM', false]);
  expect(status.why).toMatch(/^This copy was damaged \(.+\).+ Needs 2 of 3 voters; Ben is unreachable/);
  await serve(ben);
  await until(async () => (await ben.texts()).includes('needs Ben'), 'what waited for Ben');
  await until(async () => (await ben.texts()).includes('Cy again'), 'what Cy wrote meanwhile');
  await agree(all);
}

interface Options {
  /** How the verdict may read. */
  readonly codes?: readonly string[];
  /** What was saved and not sent is still in the files, so it gets its place. */
  readonly keepsUnsent?: boolean;
  /** For one of each kind: everything that a damaged store must not do, and must do again. */
  readonly thorough?: boolean;
}

/** Damage that the opening has to notice: a lost promise can't be told from one that was never made. */
async function expectNoticed(
  damage: (dir: string) => Promise<void>,
  { codes, keepsUnsent = false, thorough = false }: Options = {},
): Promise<void> {
  const world = await copied();
  const { ana, ben, cy, dir } = world;
  await damage(dir);
  const before = await verify(cy);
  expect([before.code, before.ok]).toEqual([5, false]);
  if (codes) expect(before.problems.map(({ code }) => code)).toEqual(expect.arrayContaining([...codes]));
  for (const { message } of before.problems) expect(message).toMatch(/.{15,}/);
  await Promise.all([serve(ana), serve(ben)]);
  await ana.write('while Cy is away');
  if (thorough) await expectNoVoteYet(world);
  else await serve(cy);
  await until(
    () => cy.log.some(({ level, message }) => level === ERROR && /damaged/.test(message)),
    'words in the log',
  );
  expect(cy.stderr).not.toMatch(/InvariantError|INTERNAL/);
  await expectReadmitted(world);
  if (keepsUnsent) expect((await ana.texts()).filter((text) => text === UNSENT)).toHaveLength(1);
  if (thorough) await expectVoter(world);
}

/** Damage that costs nothing: all three decide together, and what was saved gets its place. */
async function expectHarmless(damage: (dir: string) => Promise<void>): Promise<void> {
  const world = await copied();
  await damage(world.dir);
  await Promise.all(world.all.map(serve));
  await until(async () => (await world.cy.status()).pending === 0, 'nothing that waits at Cy');
  await until(async () => (await world.ana.texts()).includes(UNSENT), "Cy's words");
  expect((await world.ana.texts()).filter((text) => text === UNSENT)).toHaveLength(1);
  expect((await world.cy.status()).whyCode).not.toBe('DAMAGED');
  await expectSound(world.all);
}

/** Tables are looked at before anything is read from them: what they still hold is gathered, and nobody reads anything wrong. */
async function expectNothingWrong(damage: (dir: string) => Promise<void>): Promise<void> {
  const world = await copied();
  const { ana, ben, cy, all, dir } = world;
  await damage(dir);
  const before = await verify(cy);
  expect([before.code, before.ok]).toEqual([5, false]);
  await Promise.all([serve(ana), serve(ben)]);
  await ana.write('while Cy is away');
  await serve(cy);
  await until(
    () => cy.log.some(({ level, message }) => level === ERROR && /damaged/.test(message)),
    'words in the log',
  );
  const hashes = (texts: readonly (string | null)[]): string[] =>
    texts.map((text) =>
      createHash('sha256')
        .update(text ?? '')
        .digest('hex')
        .slice(0, 8),
    );
  let seen = '';
  await until(async () => {
    const whole = hashes((await ana.texts()).filter((text) => text !== UNSENT));
    try {
      const read = hashes((await cy.texts()).filter((text) => text !== UNSENT));
      // What can be read is right, even while something is missing.
      for (const each of read) expect(whole).toContain(each);
      return read.length === whole.length;
    } catch (error) {
      seen = String(error);
      if (!cy.isRunning) throw new Error(`Cy ended: ${cy.stderr.slice(-2_000)}`);
      return false;
    }
  }, `all of it can be read again on Cy (${seen})`).catch((error: Error) => {
    throw new Error(`${error.message} ${seen} ${cy.stderr.slice(-1_500)}`);
  });
  await agree(all);
  await expectReadmitted(world);
}

describe('the write-ahead file of the database', () => {
  test.each([
    ['its end cut off', 4_000],
    ['half of it cut off', 0.5],
    ['all of it cut off', 0.000001],
  ])('%s', async (_, keep) => {
    const options = { codes: ['BEHIND_MARK'], thorough: keep === 0.5 };
    await expectNoticed((dir) => eachOf(dir, LOG, (path) => cut(path, keep)), options);
  });

  test('its last record cut off: it is completed from the mark, and nothing is lost', async () => {
    await expectHarmless((dir) => eachOf(dir, LOG, (path) => cut(path, 200)));
  });

  test('deleted', async () => {
    await expectNoticed((dir) => eachOf(dir, LOG, (path) => rm(path)));
  });

  test('a flipped bit in its middle', async () => {
    await expectNoticed((dir) => eachOf(dir, LOG, async (path) => flip(path, Math.max(16, (await stat(path)).size))));
  });

  test('zeros in its middle', async () => {
    await expectNoticed((dir) =>
      eachOf(dir, LOG, async (path) => {
        const bytes = await readFile(path);
        bytes.fill(0, Math.floor(bytes.length / 3), Math.floor((2 * bytes.length) / 3));
        await writeFile(path, bytes);
      }),
    );
  });

  test('garbage after its end: nothing is lost, or it is noticed', async () => {
    const world = await copied();
    await eachOf(world.dir, LOG, async (path) => {
      const file = await open(path, 'a');
      await file.write(randomBytes(5_000));
      await file.close();
    });
    await Promise.all(world.all.map(serve));
    await expectReadmitted(world);
  });
});

describe('the mark', () => {
  test('deleted', async () => {
    await expectNoticed((dir) => rm(join(dir, 'mark')), { codes: ['MARK_MISSING'], keepsUnsent: true, thorough: true });
  });

  test('empty', async () => {
    await expectNoticed((dir) => truncate(join(dir, 'mark')), { codes: ['MARK_MISSING'], keepsUnsent: true });
  });

  test('bits flipped in both places', async () => {
    await expectNoticed((dir) => flip(join(dir, 'mark'), 40), { codes: ['MARK_MISSING'], keepsUnsent: true });
  });

  test('that of an earlier moment put back', async () => {
    await expectNoticed((dir) => restore(dir, 'mark'), { codes: ['MARK_OLD'], keepsUnsent: true, thorough: true });
  });

  test('that of another machine', async () => {
    await expectNoticed(
      async (dir) => {
        const other = join(template.dir, 'Ben', 'groups', template.group, 'mark');
        await cp(other, join(dir, 'mark'));
      },
      { keepsUnsent: true },
    );
  });

  test('a directory in its place', async () => {
    const world = await copied();
    await rm(join(world.dir, 'mark'));
    await cp(template.earlier, join(world.dir, 'mark'), { recursive: true });
    await Promise.all([serve(world.ana), serve(world.ben)]);
    const started = await serve(world.cy).then(
      () => null,
      (error: Error) => error.message,
    );
    if (started !== null) expect(started).toMatch(/"error":"(DISK_FAILED|DAMAGED)"/);
    await expectSound([world.ana, world.ben]);
  });
});

describe('the tables of the database', () => {
  test('the largest cut in half', async () => {
    await expectNothingWrong(async (dir) => cut(await largest(dir, TABLE), 0.5));
  });
  test('all cut in half', async () => {
    await expectNothingWrong((dir) => eachOf(dir, TABLE, (path) => cut(path, 0.5)));
  });
  test('the largest deleted', async () => {
    await expectNothingWrong(async (dir) => rm(await largest(dir, TABLE)));
  });
  test('all deleted', async () => {
    await expectNothingWrong((dir) => eachOf(dir, TABLE, (path) => rm(path)));
  });
  test('a bit flipped in the largest', async () => {
    await expectNothingWrong(async (dir) => {
      const path = await largest(dir, TABLE);
      await flip(path, (await stat(path)).size);
    });
  });
  test('a bit flipped in every 4 KiB of the largest', async () => {
    await expectNothingWrong(async (dir) => flip(await largest(dir, TABLE), 4_096));
  });
  test('bits flipped at the end of the largest, where its index is', async () => {
    await expectNothingWrong(async (dir) => {
      const path = await largest(dir, TABLE);
      await flip(path, 64, (await stat(path)).size - 1_024);
    });
  });
});

describe('whoever it is', () => {
  test('the founder, all of its tables gone, and nobody left in it that says who is in the group', async () => {
    const { ana, ben, cy, all } = await copied();
    const dir = join(ana.dir, 'groups', template.group);
    await eachOf(dir, TABLE, (path) => rm(path));
    await eachOf(dir, LOG, (path) => rm(path));
    await Promise.all([serve(ben), serve(cy)]);
    await ben.write('while Ana is away');
    await serve(ana);
    await agree(all);
    const words = ana.log.find(({ level, message }) => level === ERROR && /this copy was damaged/.test(message));
    expect(words?.message).toMatch(/tables of the database are damaged|missing files|database/);
    await until(() => isBack(ana), 'a voter again');
    await until(async () => `${await ana.texts()}` === `${await ben.texts()}`, 'the same texts');
    await expectSound(all);
  });

  test('a member, while the founder is away', async () => {
    // Ben came second: the only one that it was told of when it joined is the founder.
    const { ana, ben, cy } = await copied();
    await eachOf(join(ben.dir, 'groups', template.group), TABLE, (path) => rm(path));
    await Promise.all([serve(ben), serve(cy)]);
    // Only Cy remembers what it had said, and one of three does not decide: so it waits for the founder, reading.
    await until(async () => (await ben.status()).chosen === (await cy.status()).chosen, 'all that was agreed');
    expect((await ben.status()).whyCode).toBe('NO_QUORUM');
    expect((await ben.status()).why).toMatch(/^This copy was damaged .+ Ana is unreachable/);
    await serve(ana);
    await until(() => isBack(ben), 'a voter again');
    await expectSound([ana, ben, cy]);
  });

  test('a group that can not be opened is told, and nothing meant for it ends up in another', async () => {
    const { cy, dir } = await copied();
    await serve(cy);
    expect((await cy.run('create', 'Other')).code).toBe(0);
    await cy.stop();
    await rm(dir, { recursive: true });
    await mkdir(join(dir, 'db'), { recursive: true });
    await serve(cy);
    const refused = await cy.run('append', 'for which?');
    expect([refused.code, refused.error?.error]).toEqual([2, 'GROUP_NEEDED']);
    expect(refused.error?.message).toContain("can't be read");
    const whole = await synod(['status', '--dir', cy.dir, '--json']);
    expect(whole.json[0]).toMatchObject({
      groups: [{ title: 'Other' }],
      broken: [{ group: template.group, code: 'DAMAGED' }],
    });
    const page = await synod(['status', '--dir', cy.dir]);
    expect(page.out).toMatch(/can't be opened/);
    expect((await cy.run('append', '--group', 'Other', 'for the other')).code).toBe(0);
  });
});

describe('what holds the database together', () => {
  test.each([
    ['CURRENT deleted', /^CURRENT$/, (path: string) => rm(path)],
    ['CURRENT empty', /^CURRENT$/, (path: string) => truncate(path)],
    ['CURRENT bent', /^CURRENT$/, (path: string) => writeFile(path, 'MANIFEST-999999\n')],
    ['CURRENT garbage', /^CURRENT$/, (path: string) => writeFile(path, randomBytes(64))],
    ['MANIFEST deleted', MANIFEST, (path: string) => rm(path)],
    ['MANIFEST cut in half', MANIFEST, (path: string) => cut(path, 0.5)],
    ['MANIFEST empty', MANIFEST, (path: string) => truncate(path)],
    ['MANIFEST with bits flipped', MANIFEST, (path: string) => flip(path, 50)],
  ])('%s', async (_, pattern, damage) => {
    await expectNoticed((dir) => eachOf(dir, pattern, damage));
  });

  test('a repair that was cut short: what it made looks whole, and the verdict comes all the same', async () => {
    const world = await copied();
    await writeFile(join(world.dir, 'repairing'), '');
    await Promise.all(world.all.map(serve));
    await until(() => world.cy.log.some(({ message }) => /this copy was damaged/.test(message)), 'words in the log');
    await expectReadmitted(world);
    expect(await readdir(world.dir)).not.toContain('repairing');
  });

  test('the database of an earlier moment put back', async () => {
    await expectNoticed((dir) => restore(dir, 'db'), { codes: ['BEHIND_MARK'], thorough: true });
  });

  test('LOCK, LOG, ballast, reserve and what was kept aside deleted: no harm', async () => {
    await expectHarmless(async (dir) => {
      for (const name of ['db/LOCK', 'db/LOG', 'db/LOG.old', 'ballast', 'reserve', 'aside']) {
        await rm(join(dir, name), { recursive: true, force: true });
      }
    });
  });

  test('the place of the mark that was written last is bent: what was lost is nothing, or it is noticed', async () => {
    const world = await copied();
    const path = join(world.dir, 'mark');
    const mark = await readFile(path);
    // Alternating places: the one with the higher counter is the later. Both are tried by their order in time.
    mark[100] = (mark[100] as number) ^ 1;
    await writeFile(path, mark);
    await Promise.all(world.all.map(serve));
    await expectReadmitted(world);
  });
});

describe('a database of which nothing is left: the group’s record beside it is enough to come back', () => {
  test('gone', () => expectNoticed((dir) => rm(join(dir, 'db'), { recursive: true }), { thorough: true }));
  test('empty', () =>
    expectNoticed(async (dir) => {
      for (const name of await readdir(join(dir, 'db'))) await rm(join(dir, 'db', name));
    }));
  test('random', () => expectNoticed((dir) => eachOf(dir, /./, (path) => writeFile(path, randomBytes(20_000)))));
});

/** Nothing can be made of it: named in words; it harms nobody. */
async function expectUnopenable(damage: (dir: string) => Promise<void>): Promise<void> {
  const world = await copied();
  const { ana, ben, cy, dir } = world;
  await damage(dir);
  const before = await verify(cy);
  expect([before.code, before.ok]).toEqual([5, false]);
  expect(before.problems.length).toBeGreaterThan(0);
  await Promise.all([serve(ana), serve(ben)]);
  await ana.write('while Cy is away');
  await serve(cy);
  await until(
    () => cy.log.some(({ level, message }) => level === ERROR && /damaged|can't be (read|opened)/.test(message)),
    'words in the log',
  );
  const ran = await cy.run('append', '--group', template.group, 'x');
  expect([ran.code, ran.error?.error]).toEqual([1, 'DAMAGED']);
  // Another group in the same peer is not concerned.
  const other = await cy.run('create', 'Another');
  expect(other.code).toBe(0);
  expect(await cy.write('in another', other.json[0]?.group as string)).toBe(1);
  await expectSound([ana, ben]);
}

describe('a store that can not be opened at all: said in words, the peer goes on with its other groups', () => {
  test('a file in its place', () =>
    expectUnopenable(async (dir) => {
      await rm(join(dir, 'db'), { recursive: true });
      await writeFile(join(dir, 'db'), 'hello');
    }));
  test('the folder of the group is empty', () =>
    expectUnopenable(async (dir) => {
      for (const name of await readdir(dir)) await rm(join(dir, name), { recursive: true });
    }));

  test('one of two groups: the other one is served as before', async () => {
    const { machine, group } = await alone();
    await machine.write('in the first', group);
    const second = (await machine.run('create', 'Second')).json[0]?.group as string;
    await machine.write('in the second', second);
    await machine.stop();
    const dir = join(machine.dir, 'groups', group);
    await rm(join(dir, 'db'), { recursive: true });
    await rm(join(dir, 'group'));
    await machine.serve();
    await until(async () => (await machine.texts(second)).length === 1, 'the second group');
    expect(await machine.write('still there', second)).toBe(2);
    const ran = await machine.run('log', '--group', group);
    expect([ran.code, ran.error?.error]).toEqual([1, 'DAMAGED']);
    const refused = await machine.run('append', '--group', group, 'x');
    expect([refused.code, refused.error?.error]).toEqual([1, 'DAMAGED']);
    expect(machine.log.some(({ level, message }) => level === ERROR && message.length > 20)).toBe(true);
  });

  test('stray files among the groups are passed over', async () => {
    const { machine } = await alone();
    await machine.write('before');
    await machine.stop();
    const groups = join(machine.dir, 'groups');
    await writeFile(join(groups, 'notes.txt'), 'mine');
    await cp(join(machine.dir, 'local'), join(groups, 'gcopy'), { recursive: true });
    await cp(
      await machine.groupDir(),
      join(groups, `${(await readdir(groups)).find((name) => name.length === 26)}.new`),
      { recursive: true },
    );
    await machine.serve();
    await until(async () => (await machine.texts()).length === 1, 'the entry');
    expect(await readFile(join(groups, 'notes.txt'), 'utf8')).toBe('mine');
  });
});

describe('other files of the directory', () => {
  test.each([
    ['its write-ahead file cut', async (local: string) => eachIn(local, LOG, (path) => truncate(path))],
    ['its write-ahead file bent', async (local: string) => eachIn(local, LOG, (path) => flip(path, 30))],
    ['MANIFEST bent', async (local: string) => eachIn(local, MANIFEST, (path) => flip(path, 20))],
    ['MANIFEST deleted', async (local: string) => eachIn(local, MANIFEST, (path) => rm(path))],
    ['CURRENT deleted', async (local: string) => rm(join(local, 'CURRENT'))],
    ['all gone', async (local: string) => rm(local, { recursive: true })],
  ])('local, %s: it starts without, or says LOCAL_DAMAGED with 5; the group is whole either way', async (_, damage) => {
    const { machine } = await alone();
    await machine.write('before');
    await machine.stop();
    const local = join(machine.dir, 'local');
    await damage(local);
    const failed = await machine.serve().then(
      () => null,
      (error: Error) => error.message,
    );
    if (failed !== null) {
      expect(failed).toMatch(/"error":"LOCAL_DAMAGED"/);
      expect(await machine.exited).toBe(5);
      await rm(local, { recursive: true });
      await machine.serve();
    }
    await until(async () => (await machine.texts()).length === 1, 'the entry');
    expect(await machine.write('after')).toBe(2);
  });

  async function eachIn(dir: string, pattern: RegExp, damage: (path: string) => Promise<void>): Promise<void> {
    for (const name of await readdir(dir)) if (pattern.test(name)) await damage(join(dir, name));
  }
});

test('a lone peer that is damaged says so, keeps what it can read, and does not pretend to commit', async () => {
  const { machine } = await alone();
  for (let n = 0; n < 5; n++) await machine.write(`entry ${n}`);
  await machine.kill();
  await rm(join(await machine.groupDir(), 'mark'));
  await machine.serve();
  const status = await machine.status();
  expect([status.whyCode, status.canCommit]).toEqual(['NEEDS_DECISION', false]);
  expect(status.why).toMatch(/^This copy was damaged \(.+\)/);
  // What was told "committed" stands there, as agreed or at least to be read.
  const lines = (await machine.run('log', '--pending')).json.map(({ text }) => text);
  expect(lines).toEqual(Array.from({ length: 5 }, (_, n) => `entry ${n}`));
  // What is written now is kept, and stands there.
  const kept = await machine.run('append', '--timeout', '1s', 'x');
  expect([kept.code, kept.json[0]?.status, kept.json[0]?.whyCode]).toEqual([0, 'saved', 'NEEDS_DECISION']);
  await machine.stop();
  await machine.serve();
  expect((await machine.run('log', '--pending')).json.map(({ text }) => text)).toContain('x');
});

test(
  'damage under a running peer: the tables go bad while it runs, and it goes on or stops with the reason',
  async () => {
    const { ana, ben, cy, all } = await trio();
    for (let n = 0; n < 8; n++) await ana.write(`${n} ${randomBytes(150_000).toString('hex')}`);
    await agree(all);
    await cy.stop();
    await cy.serve();
    await agree(all);
    const dir = await cy.groupDir();
    await eachOf(dir, TABLE, (path) => flip(path, 512));
    const read = await cy.run('log');
    if (read.code !== 0) expect(read.error?.error, cy.stderr.slice(-3_000)).not.toBe('INTERNAL');
    for (let n = 0; n < 5; n++) await ben.write(`after ${n}`);
    await until(async () => {
      if (!cy.isRunning) return true;
      return (await cy.status().catch(() => null))?.applied === (await ana.status()).applied;
    }, 'an end of it').catch(async (error: Error) => {
      const brief = JSON.stringify([await cy.status().catch(String), await ana.status()]);
      throw new Error(`${error.message} ${brief} ${cy.stderr.slice(-4_000)}`);
    });
    await expectSound([ana, ben]);
    if (!cy.isRunning) {
      // LevelDB itself ends the process where it meets such a table while it tidies; the next start looks at the tables first.
      expect(cy.stderr).toMatch(/"error":"(DAMAGED|DISK_FAILED)"|Assertion/);
      await cy.serve();
    }
    let seen = '';
    await until(async () => {
      // While the store is opened again a log may end in the middle, and says so.
      const read = await cy.texts().catch((error: { code?: string }) => {
        if (error.code !== 'BUSY' && error.code !== 'DAMAGED') throw error;
        seen = String(error);
        return [];
      });
      return read.length === (await ana.texts()).length;
    }, 'the same entries').catch(async (error: Error) => {
      throw new Error(`${error.message} ${seen} ${JSON.stringify(await cy.status())} ${cy.stderr.slice(-4_000)}`);
    });
  },
  PATIENCE_MS * 3,
);
