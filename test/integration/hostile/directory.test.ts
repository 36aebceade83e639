import { execFileSync } from 'node:child_process';
import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { after, agree, alone, errors, inPlace, type Machine, synod, trio, until } from './harness.ts';

const isRoot = process.getuid?.() === 0;

/** Mounted read-only where that is possible, else null. */
function mountReadOnly(dir: string): boolean {
  if (!isRoot || process.platform !== 'linux') return false;
  try {
    execFileSync('mount', ['--bind', dir, dir], { stdio: 'ignore' });
  } catch {
    return false;
  }
  after(() => execFileSync('umount', [dir]));
  execFileSync('mount', ['-o', 'remount,ro,bind', dir], { stdio: 'ignore' });
  return true;
}

const serve = (dir: string, ...args: string[]) =>
  synod([
    'serve',
    '--dir',
    dir,
    '--no-mdns',
    '--json',
    ...args,
    ...(args.includes('--listen') ? [] : ['--listen', '/ip4/127.0.0.1/tcp/0']),
  ]);

/** A lone peer has to be elected again before it shows what it agreed on last. */
async function expectTexts(machine: Machine, texts: readonly string[]): Promise<void> {
  await until(async () => (await machine.texts()).length >= texts.length, 'the texts');
  expect(await machine.texts()).toEqual(texts);
}

test('a clean stop: what was agreed on can be read as soon as it runs again', async () => {
  const { machine } = await alone();
  for (let n = 1; n <= 3; n++) expect(await machine.write(`last words ${n}`)).toBe(n);
  expect(await machine.stop()).toBe(0);
  await machine.serve();
  expect(await machine.texts()).toEqual(['last words 1', 'last words 2', 'last words 3']);
});

describe('a directory that is in use', () => {
  test('a second peer is told so and ends with 1; the first goes on', async () => {
    const { machine } = await alone();
    const second = await serve(machine.dir);
    expect([second.code, second.error?.error]).toEqual([1, 'DIR_LOCKED']);
    expect(second.error?.message).toMatch(/Another Synod is running on/);
    expect(second.out).toBe('');
    expect(await machine.write('after')).toBe(1);
    expect((await machine.run('status')).code).toBe(0);
  });

  test('verify is told to wait for the peer, with 1; the peer goes on', async () => {
    const { machine } = await alone();
    const verified = await machine.run('verify');
    expect([verified.code, verified.error?.error]).toEqual([1, 'PEER_RUNNING']);
    expect(await machine.write('after')).toBe(1);
  });
});

test('a port in use: 1, and the address is named', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  after(() => server.close());
  const address = `/ip4/127.0.0.1/tcp/${(server.address() as { port: number }).port}`;
  const { code, error, out } = await serve(inPlace('Ana'), '--listen', address);
  expect([code, error?.error, out]).toEqual([1, 'PORT_IN_USE', '']);
  expect(error?.message).toContain(address);
});

test.each([
  ['no multiaddr', 'nonsense'],
  ['of another machine', '/ip4/192.0.2.1/tcp/0'],
])('an address that is %s: 1', async (_, address) => {
  const { code, error } = await serve(inPlace('Ana'), '--listen', address);
  expect([code, error?.error]).toEqual([1, 'BAD_ADDRESS']);
  expect(error?.message).toContain(address);
});

describe('a directory that can not be written', () => {
  test(`${isRoot ? 'mounted read-only (as root)' : 'by its mode (not root)'}: 1, in words; writable again, all is there`, async (context) => {
    const { machine } = await alone();
    await machine.write('before');
    await machine.stop();
    if (isRoot) {
      if (!mountReadOnly(machine.dir)) return context.skip('no bind mounts here');
    } else {
      execFileSync('chmod', ['-R', 'a-w', machine.dir]);
      after(() => execFileSync('chmod', ['-R', 'u+w', machine.dir]));
    }
    const { code, error, err } = await serve(machine.dir);
    expect([code, error?.error]).toEqual([1, 'READ_ONLY']);
    expect(error?.message).toContain(machine.dir);
    expect(err).not.toMatch(/ {4}at /);
    if (isRoot) execFileSync('mount', ['-o', 'remount,rw,bind', machine.dir]);
    else execFileSync('chmod', ['-R', 'u+w', machine.dir]);
    await machine.serve();
    await expectTexts(machine, ['before']);
    expect(await machine.write('after')).toBe(2);
  });

  test('a new one under a read-only one', async (context) => {
    const above = inPlace('above');
    await mkdir(above);
    if (isRoot) {
      if (!mountReadOnly(above)) return context.skip('no bind mounts here');
    } else await chmod(above, 0o500);
    const { code, error } = await serve(join(above, 'dir'));
    expect([code, error?.error]).toEqual([1, 'READ_ONLY']);
  });

  test('it becomes read-only under a running peer: what needs a new file is refused in words, and the others go on', async (context) => {
    const { ana, ben, cy } = await trio();
    if (!mountReadOnly(cy.dir)) return context.skip('needs bind mounts');
    // Files that are open stay writable below a bind mount; what must be made new can't be.
    await ana.write('after');
    const refused = await cy.run('create', 'Another');
    expect(refused.code).not.toBe(0);
    expect(refused.error?.error).toBe('READ_ONLY');
    await ben.write('and after');
    await agree([ana, ben]);
  });
});

test.each(['a file', 'under a file'])('DIR is %s: 1, in words', async (what) => {
  const file = inPlace('file');
  await writeFile(file, 'mine');
  const { code, error } = await serve(what === 'a file' ? file : join(file, 'dir'));
  expect([code, error?.error]).toEqual([1, 'NOT_A_DIRECTORY']);
  expect(await readFile(file, 'utf8')).toBe('mine');
});

describe('the identity', () => {
  async function withIdentity(change: (path: string) => Promise<void>) {
    const { machine } = await alone();
    await machine.write('before');
    await machine.stop();
    const path = join(machine.dir, 'identity');
    const whole = await readFile(path);
    await change(path);
    const changed = await readFile(path).catch(() => null);
    const ran = await serve(machine.dir);
    const after = await readFile(path).catch(() => null);
    return { machine, path, whole, changed, after, ran };
  }

  test.each([
    [
      'a flipped bit',
      (bytes: Buffer) =>
        Buffer.concat([bytes.subarray(0, 20), Buffer.of((bytes[20] as number) ^ 1), bytes.subarray(21)]),
    ],
    ['cut short', (bytes: Buffer) => bytes.subarray(0, 17)],
    ['empty', () => Buffer.alloc(0)],
    ['something else', () => Buffer.from('hello')],
    ['far too long', () => Buffer.alloc(1024 * 1024, 7)],
  ])('%s: 5, in words, and it is left as it is; put back, all is there', async (_, damage) => {
    const {
      machine,
      path,
      whole,
      changed,
      after: left,
      ran,
    } = await withIdentity(async (file) => {
      await writeFile(file, damage(await readFile(file)));
    });
    expect([ran.code, ran.error?.error]).toEqual([5, 'IDENTITY_DAMAGED']);
    expect(ran.error?.message).toContain(path);
    expect(left).toEqual(changed);
    await writeFile(path, whole);
    await machine.serve();
    await expectTexts(machine, ['before']);
    expect(await machine.write('after')).toBe(2);
  });

  test('gone although there are groups: 5, and no new one is made', async () => {
    const { after: left, ran } = await withIdentity((file) => rm(file));
    expect([ran.code, ran.error?.error]).toEqual([5, 'IDENTITY_MISSING']);
    expect(left).toBeNull();
  });
});

describe('endpoint.json', () => {
  test('of a peer that was killed: 3, and nothing is done', async () => {
    const { machine } = await alone();
    await machine.kill();
    expect(await readFile(join(machine.dir, 'endpoint.json'), 'utf8')).toContain('ws://');
    const { code, error } = await machine.run('append', 'x');
    expect([code, error?.error]).toEqual([3, 'NO_PEER']);
    await machine.serve();
    expect(await machine.texts()).toEqual([]);
  });

  test.each([
    [
      'a port where something else answers',
      async () => {
        const server = createServer((socket) => socket.on('error', () => {}).end('HTTP/1.1 200 OK\r\n\r\nhello'));
        await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
        after(() => server.close());
        return `{"url":"ws://127.0.0.1:${(server.address() as { port: number }).port}/","token":"${'a'.repeat(43)}"}`;
      },
    ],
    ['garbage', async () => '{{{{'],
    ['an address that is not loopback', async () => `{"url":"ws://192.0.2.1:80/","token":"${'a'.repeat(43)}"}`],
    ['nothing', async () => ''],
  ])('%s: 3', async (_, text) => {
    const { machine } = await alone();
    const path = join(machine.dir, 'endpoint.json');
    const good = await readFile(path);
    await writeFile(path, await text());
    const { code, error } = await machine.run('status');
    expect([code, error?.error]).toEqual([3, 'NO_PEER']);
    await writeFile(path, good);
    expect((await machine.run('status')).code).toBe(0);
  });
});

describe("this installation's own settings (local)", () => {
  test('garbage for CURRENT: 5, in words; moved away, the groups are there', async () => {
    const { machine } = await alone();
    await machine.write('before');
    await machine.stop();
    const local = join(machine.dir, 'local');
    await writeFile(join(local, 'CURRENT'), 'nonsense\n');
    const { code, error, err } = await serve(machine.dir);
    expect([code, error?.error]).toEqual([5, 'LOCAL_DAMAGED']);
    expect(error?.message).toContain(local);
    expect(errors(err)).toHaveLength(1);
    await rm(local, { recursive: true });
    await machine.serve();
    await expectTexts(machine, ['before']);
  });
});
