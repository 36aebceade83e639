import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import WebSocket from 'ws';
import { PROTOCOL, WRONG_TOKEN_CLOSE } from '../../shared/ipc/messages.ts';
import { root, until } from '../integration/harness.ts';
import { stageForAll } from './stage.ts';

const stage = stageForAll();
let copy: string;
let temporary: string;

// A copy of what is worked on, where Node and Vite find the packages, and the built peer.
beforeEach(() => {
  mkdirSync(join(root, '.tmp'), { recursive: true });
  copy = mkdtempSync(join(root, '.tmp/dev-'));
  for (const each of ['.ci', 'src-renderer', 'shared/base', 'shared/ipc', 'tsconfig.base.json']) {
    cpSync(join(root, each), join(copy, each), { recursive: true });
  }
  symlinkSync(join(root, 'out'), join(copy, 'out'), 'junction');
  temporary = join(copy, 'temporary');
  mkdirSync(temporary);
});

afterEach(() => rmSync(copy, { recursive: true, force: true, maxRetries: 5 }));

/** What a question to the peer through that address comes to, for a page of such an origin. */
async function knock(url: URL, origin: string, host = url.host): Promise<string> {
  const token = url.hash.replace('#token=', 'token.');
  const socket = new WebSocket(`ws://${url.host}/peer`, [PROTOCOL, token], { origin, headers: { host } });
  const outcome = new Promise<string>((resolve) => {
    socket.on('open', () => socket.send('{"id":1,"method":"groups","params":{}}'));
    socket.on('message', () => resolve('answered'));
    socket.on('close', (code) => resolve(`closed ${code}`));
    socket.on('error', () => resolve('refused'));
  });
  return outcome.finally(() => socket.terminate());
}

test('in a browser, what is changed shows without a reload; a stop ends all of it and leaves nothing', async () => {
  // No display, so that it is a browser wherever this runs; and a place of its own for what is thrown away.
  const { DISPLAY: _, WAYLAND_DISPLAY: __, ELECTRON_OVERRIDE_DIST_PATH: ___, ...env } = process.env;
  const places = { TMPDIR: temporary, TEMP: temporary, TMP: temporary, ELECTRON_OVERRIDE_DIST_PATH: temporary };
  const dev = spawn(process.execPath, [join(copy, '.ci/dev.js'), '--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0'], {
    env: { ...env, ...places },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  let said = '';
  dev.stderr?.setEncoding('utf8').on('data', (text) => (said += text));
  dev.stdout?.setEncoding('utf8').on('data', (text) => (said += text));
  const ended = once(dev, 'exit').then(([code]) => code as number | null);
  try {
    const address = await until('it says where', () => /http:\/\/127\.0\.0\.1:\d+\/#token=\S+/.exec(said)?.[0]);
    const url = new URL(address);
    const page = await stage.makePage('dev', {}, (asked) => new URL(asked).hostname === '127.0.0.1');
    await page.goto(address);
    const heading = page.getByRole('heading', { level: 1 });
    await heading.getByText('One log, kept together').waitFor();
    await page.evaluate('window.isSame = true');
    const file = join(copy, 'src-renderer/views/FirstRun.svelte');
    writeFileSync(file, readFileSync(file, 'utf8').replace('One log, kept together', 'One log, changed'));
    await heading.getByText('One log, changed').waitFor();
    expect(await page.evaluate('window.isSame')).toBe(true);
    // It speaks with the peer, too.
    await page.getByRole('button', { name: 'Start a log…' }).click();
    await page.getByLabel('Its name').fill('Ward 3');
    await page.getByRole('button', { name: 'Start the log' }).click();
    await page.getByRole('textbox', { name: 'Write an entry' }).waitFor();

    expect(await knock(url, url.origin)).toBe('answered');
    expect(await knock(url, 'http://example.org')).toBe('refused');
    expect(await knock(url, `http://example.org:${url.port}`, `example.org:${url.port}`)).toBe('refused');
    expect(await knock(new URL(`${url.origin}/#token=wrong`), url.origin)).toBe(`closed ${WRONG_TOKEN_CLOSE}`);
    await page.context().close();
  } catch (error) {
    throw new Error(`${error}\n${said}`, { cause: error });
  } finally {
    // As Ctrl+C does, and on a system without signals.
    if (process.platform === 'win32') dev.disconnect();
    else dev.kill('SIGINT');
  }
  expect([await ended, readdirSync(temporary)]).toEqual([0, []]);
});
