import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  after,
  agree,
  alone,
  expectSound,
  inPlace,
  Machine,
  type Ran,
  synod,
  type Trio,
  trio,
  until,
} from './harness.ts';

/**
 * Disks that are full to the last byte, in a file system of their own. That takes root and Linux; elsewhere `test/storage` has a database
 * that fails as a full disk does.
 */
const canMount = process.platform === 'linux' && process.getuid?.() === 0 && triesToMount();
const MIB = 1024 * 1024;
const DISK_BYTES = 48 * MIB;
/** More than enough to fill it. */
const ENTRIES_MAX = 400;

function triesToMount(): boolean {
  const dir = `/tmp/synod-mount-${process.pid}`;
  try {
    execFileSync('mkdir', [dir]);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', dir], { stdio: 'ignore' });
    execFileSync('umount', [dir]);
    return true;
  } catch {
    return false;
  } finally {
    execFileSync('rmdir', [dir]);
  }
}

/** A small disk. What is on it beside the peer's data can be removed to make room. */
async function smallDisk(
  name: string,
): Promise<{ readonly dir: string; fill(leaveBytes: number): Promise<void>; makeRoom(): Promise<void> }> {
  const disk = inPlace(name);
  await mkdir(disk);
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES}`, 'tmpfs', disk]);
  after(() => execFileSync('umount', [disk]));
  let fillers = 0;
  return {
    dir: join(disk, 'synod'),
    async fill(leaveBytes) {
      const { bavail, bsize } = await statfs(disk);
      await writeFile(join(disk, `filler-${fillers++}`), randomBytes(Math.max(0, bavail * bsize - leaveBytes)));
    },
    async makeRoom() {
      for (let n = 0; n < fillers; n++) await rm(join(disk, `filler-${n}`), { force: true });
    },
  };
}

const append = (machine: Machine, text: string): Promise<Ran> =>
  machine.runWith({ stdin: text }, 'append', '--timeout', '20s', '-');

/** Committed, and so is all that was saved before. */
async function writesAgain(machine: Machine): Promise<void> {
  let tries = 0;
  await until(async () => {
    const ran = await machine.run('append', '--strict', '--timeout', '20s', `with room again ${++tries}`);
    return ran.code === 0;
  }, 'it writes again');
}

/** Writes until the disk refuses. All that was acknowledged, as saved or as committed. */
async function writeUntilFull(machine: Machine, acknowledged: string[]): Promise<void> {
  for (let n = 0; n < ENTRIES_MAX; n++) {
    const text = `${n} ${randomBytes(100_000).toString('hex')}`;
    const ran = await append(machine, text);
    if (ran.code === 0) {
      acknowledged.push(text);
      continue;
    }
    expect([ran.code, ran.error?.error]).toEqual([74, 'DISK_FULL']);
    expect(ran.error?.message).toMatch(/disk is full/);
    expect(ran.error?.message).toMatch(/not saved/);
    return;
  }
  throw new Error('the disk never became full');
}

async function expectAllThere(machine: Machine, acknowledged: readonly string[]): Promise<void> {
  const texts = await machine.texts();
  expect(acknowledged.filter((text) => !texts.includes(text)).map((text) => text.slice(0, 10))).toEqual([]);
  expect(new Set(texts).size).toBe(texts.length);
}

const where = canMount ? 'tmpfs, as root' : 'not run: takes a file system of its own, so Linux and root';

describe.runIf(canMount)(`a disk of 48 MiB (${where})`, () => {
  async function fullTrio(): Promise<Trio & { acknowledged: string[]; makeRoom: () => Promise<void> }> {
    const { dir, fill, makeRoom } = await smallDisk('disk');
    await fill(36 * MIB);
    const group = await trio({ cy: dir });
    const acknowledged: string[] = [];
    await writeUntilFull(group.cy, acknowledged);
    expect(acknowledged.length).toBeGreaterThan(10);
    return { ...group, acknowledged, makeRoom };
  }

  test('one of three fills it: told so with 74, it reads on, the others go on, and it writes again once there is room', async () => {
    const { ana, ben, cy, all, acknowledged, makeRoom } = await fullTrio();
    expect(cy.isRunning).toBe(true);
    const readable = await cy.texts();
    expect(readable.length).toBeGreaterThan(10);
    for (let n = 0; n < 5; n++) await ana.write(`while Cy is full ${n}`);
    await agree([ana, ben]);
    const again = await cy.run('append', 'more');
    if (again.code !== 0) expect([again.code, again.error?.error]).toEqual([74, 'DISK_FULL']);
    else acknowledged.push('more');
    await makeRoom();
    await writesAgain(cy);
    await agree(all);
    await expectAllThere(cy, acknowledged);
    await expectSound(all);
    expect((await cy.status()).whyCode).not.toBe('DAMAGED');
  }, 240_000);

  test('killed while it is full, started again with room: everything that was acknowledged is there', async () => {
    const { cy, all, acknowledged, makeRoom } = await fullTrio();
    await cy.kill();
    await makeRoom();
    await cy.serve();
    await agree(all);
    await expectAllThere(cy, acknowledged);
    expect((await cy.status()).whyCode).not.toBe('DAMAGED');
    await expectSound(all);
  }, 240_000);

  test('killed and started again while it is full: it reads or says why not, and with room it is as before', async () => {
    const { ana, ben, cy, all, acknowledged, makeRoom } = await fullTrio();
    await cy.kill();
    const failed = await cy.serve().then(
      () => null,
      (error: Error) => error.message,
    );
    if (failed !== null) {
      expect(failed).toMatch(/"error":"DISK_FULL"/);
      expect(await cy.exited).toBe(74);
    }
    await expectSound([ana, ben]);
    await makeRoom();
    if (!cy.isRunning) await cy.serve();
    await writesAgain(cy);
    await agree(all);
    await expectAllThere(cy, acknowledged);
    await expectSound(all);
  }, 240_000);

  test('a lone peer: what it acknowledged is there, and it goes on once there is room', async () => {
    const { dir, fill, makeRoom } = await smallDisk('disk');
    await fill(34 * MIB);
    const { machine } = await alone('Ana', dir);
    const acknowledged: string[] = [];
    await writeUntilFull(machine, acknowledged);
    // Whether the next, shorter entry fits is another question; the peer says so or takes it.
    const { whyCode, canCommit } = await machine.status();
    expect([
      [null, true],
      ['DISK_FULL', false],
      ['NO_LEADER', false],
    ]).toContainEqual([whyCode, canCommit]);
    await expectAllThere(machine, acknowledged.slice(0, -5)); // the newest may be on their way
    await makeRoom();
    await writesAgain(machine);
    await expectAllThere(machine, acknowledged);
    await machine.stop();
    await machine.serve();
    await until(async () => (await machine.texts()).length > acknowledged.length, 'all of it');
    await expectAllThere(machine, acknowledged);
    expect((await synod(['verify', '--dir', dir, '--json'])).code).toBe(1);
    await machine.stop();
    expect((await synod(['verify', '--dir', dir, '--json'])).code).toBe(0);
  }, 240_000);

  test('many writers at once fill it: each is told the truth', async () => {
    const { dir, fill, makeRoom } = await smallDisk('disk');
    await fill(34 * MIB);
    const { machine } = await alone('Ana', dir);
    const acknowledged: string[] = [];
    let full = 0;
    await Promise.all(
      Array.from({ length: 4 }, async () => {
        for (let n = 0; n < ENTRIES_MAX && full < 4; n++) {
          const text = randomBytes(100_000).toString('hex');
          const ran = await append(machine, text);
          if (ran.code === 0) acknowledged.push(text);
          else {
            full++;
            expect([ran.code, ran.error?.error], machine.stderr.slice(-3_000)).toEqual([74, 'DISK_FULL']);
            return;
          }
        }
      }),
    );
    expect(full).toBe(4);
    await makeRoom();
    await writesAgain(machine);
    await expectAllThere(machine, acknowledged);
  }, 240_000);

  test('full before the start, and before a group is made: 74, in words, and nothing half made', async () => {
    const { dir, fill, makeRoom } = await smallDisk('disk');
    await fill(0);
    const args = ['serve', '--dir', dir, '--no-mdns', '--json', '--listen', '/ip4/127.0.0.1/tcp/0'];
    const ran = await synod(args);
    expect([ran.code, ran.error?.error]).toEqual([74, 'DISK_FULL']);
    await makeRoom();
    const machine = await new Machine('Ana', dir).serve();
    await fill(16 * 1024);
    const made = await machine.run('create', 'Night log');
    expect([made.code, made.error?.error]).toEqual([74, 'DISK_FULL']);
    expect(machine.isRunning).toBe(true);
    await makeRoom();
    const group = (await machine.run('create', 'Night log')).json[0]?.group as string;
    expect(await machine.write('with room', group)).toBe(1);
    await machine.stop();
    await machine.serve();
    await until(async () => (await machine.texts()).length === 1, 'the entry');
    expect(await machine.ask((service, signal) => service.groups({}, signal))).toHaveLength(1);
  }, 120_000);
});
