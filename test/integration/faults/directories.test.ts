// A data directory that goes away under a running peer: it is renamed, removed, or made read-only, as a whole or in part.
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { enter, never, type Peer, until, untilAgreed, untilTogether, worldForAll } from '../harness.ts';

const isRoot = process.getuid?.() === 0;

/** For new files; those that are open stay as they are. Returns what undoes it; null where it can't be done here. */
function makeReadOnly(dir: string): (() => void) | null {
  if (!isRoot) {
    chmodSync(dir, 0o500);
    return () => chmodSync(dir, 0o700);
  }
  try {
    execFileSync('mount', ['--bind', dir, dir], { stdio: 'ignore' });
  } catch {
    return null;
  }
  execFileSync('mount', ['-o', 'remount,ro,bind', dir], { stdio: 'ignore' });
  return () => execFileSync('umount', ['-l', dir], { stdio: 'ignore' });
}

/** Enough that the database begins new files: its buffer is 1 MiB. */
const ENTRY_BYTES = 256 * 1024;
const ENTRIES = 12;

describe.skipIf(process.platform === 'win32')('three voters, and the directory of one of them', () => {
  const world = worldForAll();
  let peers: [Peer, Peer, Peer];
  const acknowledged: { id: string; text: string }[] = [];
  let written = 0;

  beforeAll(async () => {
    peers = await world.group('Ana', 'Ben', 'Cleo');
  }, 120_000);

  async function write(peer: Peer, count: number): Promise<void> {
    const service = await peer.service();
    for (let n = 0; n < count; n++) {
      const text = `${++written} ${'x'.repeat(ENTRY_BYTES)}`;
      const { id, status } = await service.append({ text, wait: 'committed', timeoutMs: 60_000 }, never);
      expect(status).toBe('committed');
      acknowledged.push({ id, text });
    }
  }

  async function expectAllThere(): Promise<void> {
    await untilAgreed(...peers);
    for (const peer of peers) {
      const log = await peer.log();
      expect(log.map(({ id }) => id)).toEqual(acknowledged.map(({ id }) => id));
      expect(log.every(({ text }, at) => text === acknowledged[at]?.text)).toBe(true);
    }
  }

  /** What a peer says of itself, or nothing where it does not answer. */
  async function said(peer: Peer): Promise<string> {
    if (!peer.isRunning) return `it ended: ${peer.troubles.join(' ')}`.slice(0, 400);
    const status = await peer.status().catch((error: Error) => error.message);
    return typeof status === 'string' ? status : `${status.whyCode}: ${status.why}`;
  }

  /** A peer that ended did so as the codes say, with the reason. */
  function expectSaid(peer: Peer): void {
    const troubles = peer.troubles.splice(0);
    for (const trouble of troubles) expect(trouble).not.toMatch(/InvariantError|INTERNAL/);
    if (peer.isRunning) return;
    expect(troubles).toContain('ended by itself: code 74');
    expect(peer.stderr).toMatch(/\{"error":"DISK_FAILED","message":"[^"]{20,}/);
  }

  const groupDir = (dir: string, group: string): string => join(dir, 'groups', group);

  test.each([
    ['the whole directory is renamed', (dir: string) => dir],
    ['the folder of the group is renamed', groupDir],
    ['the database of the group is renamed', (dir: string, group: string) => join(groupDir(dir, group), 'db')],
  ])('%s: the others commit; put back, all is there', async (name, choose) => {
    const [ana, ben, cleo] = peers;
    const { group } = await ana.status();
    const place = choose(cleo.dir, group);
    const elsewhere = join(cleo.dir, '..', 'elsewhere');
    renameSync(place, elsewhere);
    await write(ana, ENTRIES);
    await write(ben, ENTRIES);
    // It goes on with the files that it has open, or has met one that is missing and says so.
    await until('it is as far as the others, or stands', async () => {
      if (!cleo.isRunning || !existsSync(join(cleo.dir, 'endpoint.json'))) return true;
      const own = await cleo.status().catch(() => null);
      return own === null || own.whyCode !== null || own.applied === (await ana.status()).applied;
    });
    console.log(`${name}: ${cleo.isRunning ? 'runs on' : 'ended'}; ${await said(cleo)}`);
    expectSaid(cleo);
    await cleo.kill();
    // Whatever it made anew in the place is nothing that was promised.
    rmSync(place, { recursive: true, force: true });
    renameSync(elsewhere, place);
    await cleo.start();
    await write(cleo, 1);
    await expectAllThere();
  });

  test('the database becomes read-only: it goes on or says so, and writable again, all is there', async (context) => {
    const [ana, , cleo] = peers;
    const { group } = await ana.status();
    const writable = makeReadOnly(join(groupDir(cleo.dir, group), 'db'));
    if (writable === null) return context.skip('root, and no bind mounts here');
    let isUndone = false;
    const undo = (): void => {
      if (!isUndone) writable();
      isUndone = true;
    };
    onTestFinished(undo);
    await write(ana, ENTRIES);
    await until('it is as far as the others, or stands', async () => {
      const own = cleo.isRunning ? await cleo.status().catch(() => null) : null;
      return own === null || own.whyCode !== null || own.applied === (await ana.status()).applied;
    });
    console.log(`read-only: ${cleo.isRunning ? 'runs on' : 'ended'}; ${await said(cleo)}`);
    expectSaid(cleo);
    await cleo.kill();
    undo();
    await cleo.start();
    await write(cleo, 1);
    await expectAllThere();
  });

  test('the whole directory is removed: the others commit, and nothing that was agreed is lost', async () => {
    const [ana, ben, cleo] = peers;
    rmSync(cleo.dir, { recursive: true });
    await write(ana, ENTRIES);
    await write(ben, ENTRIES);
    cleo.troubles.splice(0);
    await cleo.kill();
    await untilAgreed(ana, ben);
    for (const peer of [ana, ben]) {
      expect(
        (await peer.log()).map(({ id }) => id).filter((id) => acknowledged.some((each) => each.id === id)),
      ).toEqual(acknowledged.map(({ id }) => id));
    }
    expect(await ana.does('append', 'two of three')).toMatchObject([{ status: 'committed' }]);
  });

  test('the machine comes back as a new one: expelled, invited again, and the group is three', async () => {
    const [ana, ben, cleo] = peers;
    await ana.does('expel', '--timeout', '60s', cleo.id);
    const anew = await world.start('Cleo anew');
    await enter(anew, ana, '--role', 'voter');
    await untilTogether(anew, 3);
    expect(await anew.does('append', 'back again')).toMatchObject([{ status: 'committed' }]);
    await untilAgreed(ana, ben, anew);
    expect(await anew.log()).toEqual(await ana.log());
  });
});
