import { describe, expect, test } from 'vitest';
import { PeerError } from '../../shared/ipc/errors.ts';
import { commands } from '../../src-main/cli/commands.ts';
import { failureOf } from '../../src-main/cli/failure.ts';
import { parseDuration } from '../../src-main/cli/usage.ts';
import { dataDirectory } from '../../src-main/peer/data-directory.ts';
import { FakeService } from '../ipc/fake-service.ts';
import { synod } from './harness.ts';

const verbs =
  'serve create invite join append edit remove restore import log history barrier status health members promote demote expel lead quorum away leave invites revoke rename profile outbox backup rebuild verify recover';

describe('help', () => {
  test('lists the verbs that exist and no others', async () => {
    expect(Object.keys(commands)).toEqual(verbs.split(' '));
    const { code, out } = await synod(['--help']);
    expect(code).toBe(0);
    for (const verb of verbs.split(' ')) expect(out).toMatch(new RegExp(`^  ${verb} `, 'm'));
  });

  test.each(verbs.split(' '))('of %s names each of its options', async (verb) => {
    const { code, out } = await synod([verb, '--help', '--nonsense']);
    expect(code).toBe(0);
    expect(out).toMatch(new RegExp(`^synod ${verb}`));
    for (const option of Object.keys(commands[verb]?.options ?? {})) {
      if (option !== 'timeout') expect(out).toContain(`--${option}`);
    }
  });

  test('--version says the package’s version', async () => {
    expect((await synod(['--version'])).out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe('what is no command line', () => {
  test.each([
    [],
    ['nonsense'],
    ['toString'],
    ['--nonsense'],
    ['status', '--nonsense'],
    ['status', 'extra'],
    ['append'],
    ['append', 'two', 'words'],
    ['append', '-x'],
    ['append', 'x', '--wait', 'never'],
    ['append', 'x', '--timeout', '30'],
    ['append', 'x', '--timeout', '1.5s'],
    ['append', 'x', '--timeout', '-1s'],
    ['append', 'x', '--timeout'],
    ['append', '-', '--lines', '--key', 'k'],
    ['append', 'x', '--as', ''],
    ['edit', '57'],
    ['restore', '57', '--revision', '0'],
    ['log', '--since', '-1'],
    ['log', '--limit', 'ten'],
    ['log', '--since', '1', '--after-slot', '1'],
    ['invite', '--role', 'leader'],
    ['lead'],
    ['quorum', '--phase1', '2'],
    ['quorum', '--phase1', '0', '--phase2', '3'],
    ['quorum', '--majorities', '--phase1', '2', '--phase2', '2'],
    ['away', '--until', 'tomorrow'],
    ['away', '--until', '2026-11-31'],
    ['away', '--until', '2001-01-01'],
    ['away', '--until', '3d', '--back'],
    ['leave', 'now'],
    ['revoke'],
    ['rename'],
    ['profile', '--name', ''],
    ['profile', '--group', 'Ward 3'],
    ['invite', '--expires', 'tomorrow'],
    ['serve', '--web', 'x'],
    ['serve', '--web', '65536'],
    ['serve', '--log-level', 'loud'],
    ['serve', '--log-level', 'trace'],
    ['serve', '--metrics', '9464'],
    ['serve', '--metrics', '127.0.0.1'],
    ['serve', '--metrics', '127.0.0.1:65536'],
    ['serve', '--metrics', '0.0.0.0:9464'],
    ['serve', '--metrics', '10.20.4.17:9464'],
    ['serve', '--metrics', '127.0.0.1.example.org:9464'],
    ['serve', '--metrics', '[::]:9464'],
    ['serve', '--metrics', ':9464'],
    ['verify', 'FILE', 'more'],
    ['log', '--dir', ''],
  ])('synod %s %s %s %s exits 2 with one line', async (...args) => {
    const words = args.filter((word) => word !== undefined);
    const plain = await synod(words, { service: new FakeService() });
    expect(plain).toMatchObject({ code: 2, out: '' });
    expect(plain.err).toMatch(/^.+\n$/);
    const json = await synod(['--json', ...words], { service: new FakeService() });
    expect(json.code).toBe(2);
    expect(JSON.parse(json.err)).toEqual({ error: 'USAGE', message: expect.any(String) });
  });
});

describe('words', () => {
  test('after -- are texts, whatever they begin with', async () => {
    const service = new FakeService();
    expect((await synod(['append', '--', '--help'], { service })).code).toBe(0);
    expect(service.entries[0]?.params.text).toBe('--help');
    expect((await synod(['append', '--', '--json'], { service })).out).toMatch(/^#2 /);
  });

  test('options may stand before the verb', async () => {
    const dirs: string[] = [];
    const service = new FakeService();
    const connect = async (dir: string) => {
      dirs.push(dir);
      return { service, close: () => {} };
    };
    await synod(['--dir', 'status', '--json', 'barrier'], { io: { connect } });
    await synod(['--dir=/x', 'barrier', '--timeout', '3s', '--group', 'Ward 3'], { io: { connect } });
    expect(dirs).toEqual(['/work/status', '/x']);
    expect(service.calls.map(({ params }) => params)).toEqual([
      { timeoutMs: 30_000 },
      { timeoutMs: 3_000, group: 'Ward 3' },
    ]);
  });
});

test.each([
  ['0s', 0],
  ['1ms', 1],
  ['30s', 30_000],
  ['2m', 120_000],
  ['24h', 86_400_000],
  ['7d', 604_800_000],
  ['', null],
  ['30', null],
  ['s', null],
  ['1.5s', null],
  ['1 s', null],
  ['+1s', null],
  ['1S', null],
  ['1s1s', null],
  ['１s', null],
  ['99999999999999999d', null],
])('the duration %j is %j ms', (text, ms) => {
  expect(parseDuration(text)).toBe(ms);
});

test.each([
  ['linux', { SYNOD_DIR: 'here', XDG_DATA_HOME: '/xdg' }, '/work/here'],
  ['linux', { XDG_DATA_HOME: '/xdg' }, '/xdg/synod'],
  ['linux', { XDG_DATA_HOME: 'relative' }, '/home/ana/.local/share/synod'],
  ['linux', { SYNOD_DIR: '' }, '/home/ana/.local/share/synod'],
  ['darwin', {}, '/home/ana/Library/Application Support/Synod'],
  [
    'win32',
    { LOCALAPPDATA: 'C:\\Users\\ana\\AppData\\Local', APPDATA: 'R:\\roams' },
    'C:\\Users\\ana\\AppData\\Local\\Synod',
  ],
] as const)('on %s with %j the data is in %s', (platform, env, expected) => {
  expect(dataDirectory(undefined, { platform, env, home: '/home/ana', cwd: '/work' })).toBe(expected);
});

test('--dir wins over everything', () => {
  const io = { platform: 'linux', env: { SYNOD_DIR: '/other' }, home: '/home/ana', cwd: '/work' } as const;
  expect(dataDirectory('mine', io)).toBe('/work/mine');
});

describe('exit codes', () => {
  test.each([
    ['ENTRY_NOT_FOUND', 1],
    ['KEY_REUSED', 1],
    ['REFUSED_NO_RIGHTS', 1],
    ['PORT_IN_USE', 1],
    ['DIR_LOCKED', 1],
    ['PEER_LOST', 1],
    ['INTERNAL', 1],
    ['GROUP_NEEDED', 2],
    ['NO_PEER', 3],
    ['TIMED_OUT', 4],
    ['INVITATION_EXPIRED', 4],
    ['IDENTITY_DAMAGED', 5],
    ['DISK_FAILED', 74],
    ['DISK_FULL', 74],
    ['NEWER_FORMAT', 78],
    ['IDENTITY_NEWER', 78],
  ] as const)('%s exits %i', async (name, code) => {
    const service = new FakeService();
    service.failure = new PeerError(name, 'It went\nwrong.');
    expect(await synod(['barrier'], { service })).toMatchObject({ code, out: '', err: 'It went wrong.\n' });
    const json = await synod(['barrier', '--json'], { service });
    expect(json.err).toBe(`{"error":"${name}","message":"It went wrong."}\n`);
  });

  test('without a peer it is 3, and the way out is said', async () => {
    for (const args of [['status'], ['append', 'x'], ['log', '--follow'], ['join', 'synod1x']]) {
      expect(await synod(args)).toMatchObject({ code: 3, out: '', err: 'No peer is running for /data.\n' });
    }
  });

  test('errors of other layers keep their names', () => {
    const named = (code: string, cause?: Error) => Object.assign(new Error('x', { cause }), { code });
    expect(failureOf(named('IDENTITY_NEWER'))).toMatchObject({ code: 'IDENTITY_NEWER', exitCode: 78 });
    expect(failureOf(named('LEVEL_DATABASE_NOT_OPEN', named('LEVEL_LOCKED'))).code).toBe('DIR_LOCKED');
    expect(failureOf(named('EADDRINUSE')).code).toBe('PORT_IN_USE');
    expect(failureOf(named('EIO'))).toMatchObject({ code: 'DISK_FAILED', exitCode: 74 });
    expect(failureOf(new TypeError('x'))).toMatchObject({ code: 'INTERNAL', exitCode: 1 });
    expect(failureOf('text').code).toBe('INTERNAL');
  });
});
