import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { WINDOW_OPEN } from '../../shared/ipc/bridge.ts';
import { root, until } from './harness.ts';

const demo = join(root, 'out/cli/demo.js');

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'synod-demo-test-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true, maxRetries: 5 }));

function start(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const { DISPLAY: _, WAYLAND_DISPLAY: __, ELECTRON_OVERRIDE_DIST_PATH: ___, ...rest } = process.env;
  const child = spawn(process.execPath, [demo, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...rest, ELECTRON_OVERRIDE_DIST_PATH: dir, ...env },
  });
  const said = { out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', (text) => (said.out += text));
  child.stderr.setEncoding('utf8').on('data', (text) => (said.err += text));
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, ...said }));
  return { child, said, ended };
}

/** The processes whose command line names a directory. */
function processesOf(directory: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      } catch {
        return ''; // it has just ended
      }
    })
    .filter((line) => line.includes(directory));
}

const entriesIn = (page: string): string[] => page.split('\n').filter((line) => /^ {2}#\d+ /.test(line));

test('three machines talk, and nothing stays behind', async () => {
  const { code, out, err } = await start(['--once']).ended;
  expect({ code, err }).toEqual({ code: 0, err: '' });
  expect(entriesIn(out)).toHaveLength(13);
  expect(out).toMatch(/#5 +CDR +Houston, we’ve had a problem\./);
  const data = /Their data is in (\S+)/.exec(out)?.[1] as string;
  expect(data).toMatch(/synod-demo-/);
  expect(existsSync(data)).toBe(false);
  if (existsSync('/proc')) expect(processesOf(data)).toEqual([]);
});

test('with a directory of its own it can be looked at again', async () => {
  const first = await start(['--once', '--dir', dir]).ended;
  expect(first).toMatchObject({ code: 0, err: '' });
  const second = await start(['--once', '--dir', dir]).ended;
  expect(second).toMatchObject({ code: 0, err: '' });
  expect(entriesIn(second.out)).toEqual(entriesIn(first.out));
});

test('each machine has its window: where there is no Electron, as a page for a browser', async () => {
  const { child, said, ended } = start(['--dir', dir]);
  await until('the demo has told all', () => /Ctrl\+C stops all three/.test(said.out));
  expect(said.out).toMatch(
    /^(There is no display|Electron’s program is not on this machine), so their windows are for a browser/,
  );
  const pages = [...said.out.matchAll(/^ {2}(\w+) +(http:\S+)$/gm)].map(([, name, url]) => [name, url] as const);
  expect(pages.map(([name]) => name)).toEqual(['Odyssey', 'Houston', 'Aquarius']);
  for (const [, url] of pages) expect(await (await fetch(url as string)).text()).toContain('<title>Synod</title>');
  child.kill('SIGINT');
  expect(await ended).toMatchObject({ code: 0, err: '' });
});

test.skipIf(process.platform === 'win32')(
  'where there is an Electron, it opens three windows, and ends with the last of them',
  async () => {
    // In place of Electron a script that keeps its arguments, and runs the peer without a window.
    writeFileSync(
      join(dir, 'electron'),
      `#!/bin/sh\nshift\necho "$$ $*" >> '${dir}/windows'\necho '${WINDOW_OPEN}'\nexec '${process.execPath}' '${join(root, 'out/cli/synod.js')}' serve "$@" >/dev/null\n`,
      { mode: 0o755 },
    );
    const { said, ended } = start(['--dir', join(dir, 'data')], { DISPLAY: ':0' });
    await until('the demo has told all', () => /Ctrl\+C stops all three/.test(said.out));
    expect(said.out).not.toMatch(/browser|http:/);
    expect(entriesIn(said.out)).toHaveLength(13);
    const windows = readFileSync(join(dir, 'windows'), 'utf8').trim().split('\n');
    expect(windows).toHaveLength(3);
    for (const line of windows) {
      expect(line).toMatch(/^\d+ --dir \S+ --name \w+ --listen \/ip4\/127\.0\.0\.1\/tcp\/0 --no-mdns$/);
      process.kill(Number.parseInt(line, 10), 'SIGTERM');
    }
    expect(await ended).toMatchObject({ code: 0 });
  },
);

test.skipIf(process.platform === 'win32')('where Electron can’t open a window, they are pages', async () => {
  writeFileSync(join(dir, 'electron'), '#!/bin/sh\necho Missing X server >&2\nexit 1\n', { mode: 0o755 });
  const { child, said, ended } = start(['--dir', join(dir, 'data')], { DISPLAY: ':0' });
  await until('the demo has told all', () => /Ctrl\+C stops all three/.test(said.out));
  expect(said.out).toMatch(/^Electron could not open a window .*, so their windows are for a browser/);
  expect(said.out.match(/^ {2}\w+ +http:/gm)).toHaveLength(3);
  child.kill('SIGINT');
  expect(await ended).toMatchObject({ code: 0 });
});

test('a second one on the same data says whose it is, and ends', async () => {
  const first = start(['--dir', dir]);
  await until('the demo has told all', () => /Ctrl\+C stops all three/.test(first.said.out));
  const { code, err } = await start(['--dir', dir]).ended;
  expect(code).toBe(1);
  expect(err).toMatch(/^Odyssey: Another Synod is running on /m);
  expect(err).not.toMatch(/\{"|Something went wrong/);
  first.child.kill('SIGINT');
  expect(await first.ended).toMatchObject({ code: 0, err: '' });
});

test.skipIf(process.platform === 'win32')('npm’s own end ends it, as a supervisor or an editor does it', async () => {
  const { DISPLAY: _, WAYLAND_DISPLAY: __, ...env } = process.env;
  const args = ['start', '--', '--dir', dir, '--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0'];
  const npm = spawn('npm', args, { cwd: root, env: { ...env, SYNOD_BUILT: '1', ELECTRON_OVERRIDE_DIST_PATH: dir } });
  let out = '';
  npm.stdout.setEncoding('utf8').on('data', (text) => (out += text));
  await until('it runs', () => /Ctrl\+C stops it/.test(out));
  const { url } = JSON.parse(readFileSync(join(dir, 'endpoint.json'), 'utf8')) as { url: string };
  npm.kill('SIGTERM');
  await until('its peer has ended', () => !existsSync(join(dir, 'endpoint.json')));
  await until('nobody answers', async () => !(await fetch(url.replace('ws:', 'http:')).catch(() => null)));
});

describe.runIf(existsSync('/proc'))('its machines end with it', () => {
  test.each(['SIGINT', 'SIGTERM', 'SIGKILL'] as const)('by %s', async (signal) => {
    const { child, said, ended } = start(['--dir', dir]);
    await until('the demo runs', () => /Three people talk/.test(said.out));
    expect(processesOf(dir).length).toBeGreaterThanOrEqual(3);
    child.kill(signal);
    const { code, err } = await ended;
    expect({ code, err }).toEqual({ code: signal === 'SIGKILL' ? null : 0, err: '' });
    await until('its machines have ended', () => processesOf(dir).length === 0);
  });
});
