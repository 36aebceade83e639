import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { WINDOW_OPEN } from '../../shared/ipc/bridge.ts';
import { findElectron } from '../../src-main/cli/electron.ts';

const entry = fileURLToPath(new URL('../../src-main/cli/start.ts', import.meta.url));
const root = fileURLToPath(new URL('../..', import.meta.url));
let place: string;

beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), 'synod-start-'));
});

afterEach(() => rmSync(place, { recursive: true }));

function start(env: Record<string, string>, ...args: string[]) {
  const { DISPLAY: _, WAYLAND_DISPLAY: __, ELECTRON_OVERRIDE_DIST_PATH: ___, ...rest } = process.env;
  const { status, stdout, stderr } = spawnSync(process.execPath, [entry, ...args], {
    env: { ...rest, ...env },
    encoding: 'utf8',
    timeout: 20_000,
  });
  return { status, out: stdout, err: stderr };
}

test.runIf(process.platform === 'linux')('without a display it says so in a line, and serves', () => {
  // The help shows what is run without running it.
  const { status, out, err } = start({}, '--help');
  expect({ status, err }).toEqual({
    status: 0,
    err: 'There is no display, so here is the same app for a browser on this machine.\n',
  });
  expect(out).toContain('synod serve');
});

test('without Electron’s program it says so in a line, serves, and fetches nothing', () => {
  const dist = join(root, 'node_modules/electron/dist');
  const before = existsSync(dist);
  const { status, out, err } = start({ DISPLAY: ':0', ELECTRON_OVERRIDE_DIST_PATH: place }, '--help');
  expect({ status, err }).toEqual({
    status: 0,
    err: 'Electron’s program is not on this machine, so here is the same app for a browser on this machine.\n',
  });
  expect(out).toContain('synod serve');
  expect(existsSync(dist)).toBe(before);
});

const isHere = 'program' in findElectron({ DISPLAY: ':0' }, process.platform);

test.skipIf(isHere)('where its program can’t be fetched it says so, and serves', () => {
  // Nobody listens on this port of this machine.
  const env = { DISPLAY: ':0', ELECTRON_MIRROR: 'http://127.0.0.1:9/', electron_config_cache: join(place, 'cache') };
  const { status, out, err } = start(env, '--help');
  expect({ status, err: err.split('\n') }).toEqual({
    status: 0,
    err: [
      expect.stringMatching(/^Fetching Electron’s program, once/),
      'Electron’s program could not be fetched, so here is the same app for a browser on this machine.',
      '',
    ],
  });
  expect(out).toContain('synod serve');
});

test.skipIf(process.platform === 'win32')('with both it opens the window, with its options and its exit code', () => {
  const program = join(place, 'electron');
  writeFileSync(program, `#!/bin/sh\necho "$@" "[$ELECTRON_RUN_AS_NODE]"\necho '${WINDOW_OPEN}'\nexit 3\n`);
  chmodSync(program, 0o755);
  const env = { DISPLAY: ':0', ELECTRON_OVERRIDE_DIST_PATH: place, ELECTRON_RUN_AS_NODE: '1' };
  const { status, out, err } = start(env, '--dir', 'data');
  expect({ status, out, err }).toEqual({ status: 3, out: `${root.replace(/\/$/, '')} --dir data []\n`, err: '' });
});

test.skipIf(process.platform === 'win32')(
  'where Electron ends before it has a window, it serves; where it ends well, that was meant',
  () => {
    const program = join(place, 'electron');
    const env = { DISPLAY: ':0', ELECTRON_OVERRIDE_DIST_PATH: place };
    writeFileSync(program, '#!/bin/sh\necho Missing X server >&2\nexit 1\n', { mode: 0o755 });
    const { status, out, err } = start(env, '--help');
    expect({ status, err: err.split('\n') }).toEqual({
      status: 0,
      err: [
        'Missing X server',
        'Electron could not open a window (its own words stand above), so here is the same app for a browser on this machine.',
        '',
      ],
    });
    expect(out).toContain('synod serve');
    writeFileSync(program, '#!/bin/sh\nexit 0\n');
    expect(start(env, '--help')).toEqual({ status: 0, out: '', err: '' });
  },
);
