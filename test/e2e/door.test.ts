import { once } from 'node:events';
import { createServer, request, type Server } from 'node:http';
import { type AddressInfo, connect as connectTcp } from 'node:net';
import { chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { WebSocket as NodeSocket } from 'ws';
import { MESSAGE_BYTES_MAX, PROTOCOL, WRONG_TOKEN_CLOSE } from '../../shared/ipc/messages.ts';
import { type Peer, until, worldForAll } from '../integration/harness.ts';
import { findChromium } from './chromium.ts';
import { complaints } from './complaints.ts';
import { stageForAll } from './stage.ts';
import { entry, field, write } from './views.ts';

const world = worldForAll({ hasPages: true });
const stage = stageForAll();

let peer: Peer;
let port: number;
let host: string;
let origin: string;
let token: string;
/** Somebody else's page, on another port of this machine. */
let foreign: Server;
let foreignOrigin: string;
let written = 0;

beforeAll(async () => {
  peer = await world.start('Ana');
  await peer.does('create', 'Log');
  const url = new URL(peer.web as string);
  port = Number(url.port);
  ({ host, origin } = url);
  token = url.hash.slice('#token='.length);
  foreign = createServer((_, response) => {
    response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>elsewhere</title><p>elsewhere');
  }).listen(0, '127.0.0.1');
  await once(foreign, 'listening');
  foreignOrigin = `http://127.0.0.1:${(foreign.address() as AddressInfo).port}`;
});

afterAll(async () => {
  foreign.closeAllConnections();
  await new Promise((resolve) => foreign.close(resolve));
});

/** After whatever was tried: the real page opens, writes and reads. */
async function stillServes(): Promise<void> {
  const page = await stage.open(peer);
  written += 1;
  await write(page, `still here, ${written}`);
  await entry(page, written).getByText(`still here, ${written}`).waitFor();
}

const tokens = (): [string, string[]][] => [
  ['no token', [PROTOCOL]],
  ['an empty one', [PROTOCOL, 'token.']],
  ['a wrong one', [PROTOCOL, `token.${token.slice(0, -1)}${token.endsWith('A') ? 'B' : 'A'}`]],
  ['a beginning of it', [PROTOCOL, `token.${token.slice(0, 10)}`]],
];

/** What a page's own attempt to open a socket and to ask something comes to. */
const attempt = (page: Page, url: string, protocols: readonly string[]): Promise<string> =>
  page.evaluate(
    ([address, names]) =>
      new Promise<string>((resolve) => {
        const socket = new WebSocket(address as string, [...(names as string[])]);
        socket.onopen = () => socket.send('{"id":1,"method":"groups","params":{}}');
        socket.onmessage = () => resolve('answered');
        socket.onclose = ({ code }) => resolve(`closed ${code}`);
      }),
    [url, protocols] as const,
  );

async function elsewhere(page: Page): Promise<Page> {
  const other = await (
    page.context().browser() as NonNullable<ReturnType<ReturnType<Page['context']>['browser']>>
  ).newPage();
  await other.goto(foreignOrigin);
  return other;
}

test('a page of the peer itself gets in with the token only', async () => {
  const page = await stage.open(peer);
  for (const [what, protocols] of tokens()) {
    expect(await attempt(page, `ws://${host}/peer`, protocols), what).toBe(`closed ${WRONG_TOKEN_CLOSE}`);
  }
  expect(await attempt(page, `ws://${host}/peer`, [PROTOCOL, `token.${token}`])).toBe('answered');
  await stillServes();
});

const noKey = (page: Page) => page.getByText(/key is not \(or no longer\) the one of Synod on this machine/);

test('a page with an old key says so and tries no more, until it is given the new address', async () => {
  const page = await stage.makePage('an old page', {}, (url) => new URL(url).hostname === '127.0.0.1');
  let tries = 0;
  page.on('websocket', () => tries++);
  await page.clock.install();
  await page.goto(`${origin}/#token=${'x'.repeat(43)}`);
  await noKey(page).waitFor();
  await page.getByRole('main').getByText('npm start').waitFor();
  expect(await complaints(page)).toEqual([]);
  expect(await page.getByText(/trying again/).count()).toBe(0);
  expect(await page.evaluate(() => sessionStorage.length)).toBe(0);
  await page.clock.fastForward(600_000);
  await page.evaluate(() => window.dispatchEvent(new Event('online')));
  expect(tries).toBe(1);
  // In the same tab: to the browser that is the same page.
  await page.goto(peer.web as string);
  await field(page).waitFor();
  expect(await noKey(page).count()).toBe(0);
  expect(new URL(page.url()).hash).toBe('');
  await page.reload();
  await field(page).waitFor();
  await page.context().close();
  await stillServes();
});

test('a page that never had a key takes it in the same tab', async () => {
  const page = await stage.makePage('a page without a key', {}, (url) => new URL(url).hostname === '127.0.0.1');
  await page.goto(`${origin}/`);
  await page.getByRole('heading', { name: 'This page needs its key' }).waitFor();
  await page.goto(peer.web as string);
  await field(page).waitFor();
  await page.context().close();
});

test('what stands in a page that is let in no more stays there, and goes on with the new key', async () => {
  const page = await stage.open(peer);
  written += 1;
  await write(page, `before, ${written}`);
  await entry(page, written).getByText(`before, ${written}`).waitFor();
  await field(page).fill('half a sentence');
  // As it is for a page of a peer whose token was made anew while it was away.
  await page.evaluate(() => sessionStorage.setItem('synod.token', 'y'.repeat(43)));
  await peer.stop();
  await peer.start();
  await noKey(page).waitFor();
  expect(await field(page).inputValue()).toBe('half a sentence');
  expect(await complaints(page)).toEqual([]);
  await entry(page, written).getByText(`before, ${written}`).waitFor();
  expect(await page.getByText(/trying again/).count()).toBe(0);
  await page.goto(peer.web as string);
  await until('it is let in', async () => (await noKey(page).count()) === 0);
  expect(await field(page).inputValue()).toBe('half a sentence');
  written += 1;
  await write(page, `after, ${written}`);
  await entry(page, written).getByText(`after, ${written}`).waitFor();
});

test('a page from elsewhere gets nothing: no socket with the right token, no answer, no frame, no handle', async () => {
  const page = await stage.open(peer);
  const other = await elsewhere(page);
  for (const name of ['127.0.0.1', 'localhost']) {
    expect(await attempt(other, `ws://${name}:${port}/peer`, [PROTOCOL, `token.${token}`])).toBe('closed 1006');
  }
  for (const mode of ['cors', 'no-cors'] as const) {
    const answer = other.evaluate(
      ([url, how]) => fetch(url as string, { mode: how as RequestMode }).then(({ type }) => type),
      [`${origin}/`, mode] as const,
    );
    await expect(answer, mode).rejects.toThrow(/Failed to fetch/);
  }
  const script = await (await fetch(`${origin}/`)).text();
  const path = /src="\.?(\/[^"]+\.js)"/.exec(script)?.[1] as string;
  const isLoaded = (tag: string, url: string): Promise<boolean> =>
    other.evaluate(
      ([name, address]) =>
        new Promise<boolean>((resolve) => {
          const node = document.createElement(name as 'script');
          node.onload = () => resolve(true);
          node.onerror = () => resolve(false);
          node.src = address as string;
          document.body.append(node);
        }),
      [tag, url] as const,
    );
  expect(await isLoaded('script', `${origin}${path}`)).toBe(false);
  // A frame says that it has loaded even where the browser shows its own refusal in it.
  await isLoaded('iframe', `${origin}/`);
  const shown = other.frames().find((frame) => frame !== other.mainFrame());
  expect(await shown?.evaluate(() => document.title).catch(() => '')).not.toBe('Synod');
  const opened = other.waitForEvent('popup');
  await other.evaluate((url) => {
    Object.assign(window, { handle: window.open(url) });
  }, `${origin}/`);
  const popup = await opened;
  await popup.getByRole('heading', { name: 'This page needs its key' }).waitFor();
  await until('the window that was opened is out of reach', () =>
    other.evaluate(() => (window as unknown as { handle: Window }).handle.closed),
  );
  await other.context().close();
  await stillServes();
});

test('a name that leads here from elsewhere gets nothing', async () => {
  const isRoot = process.getuid?.() === 0;
  const browser = await chromium.launch({
    executablePath: findChromium() as string,
    args: [
      '--host-resolver-rules=MAP evil.example 127.0.0.1',
      '--disable-background-networking',
      ...(isRoot ? ['--no-sandbox'] : []),
    ],
  });
  try {
    const page = await browser.newPage();
    await page.goto(`http://evil.example:${(foreign.address() as AddressInfo).port}/`);
    expect(await attempt(page, `ws://evil.example:${port}/peer`, [PROTOCOL, `token.${token}`])).toBe('closed 1006');
    expect(await attempt(page, `ws://127.0.0.1:${port}/peer`, [PROTOCOL, `token.${token}`])).toBe('closed 1006');
    const answered = page.waitForResponse(() => true);
    await page.goto(`http://evil.example:${port}/#token=${token}`).catch(() => null);
    expect((await answered).status()).toBe(403);
  } finally {
    await browser.close();
  }
  await stillServes();
});

interface Answer {
  readonly status: number;
  readonly body: string;
}

async function ask(path: string, method = 'GET', headers: Record<string, string> = {}): Promise<Answer> {
  const sent = request({ host: '127.0.0.1', port, path, method, headers, agent: false }).end();
  const [response] = await once(sent, 'response');
  let body = '';
  for await (const chunk of response) body += chunk;
  return { status: response.statusCode, body };
}

test('paths, methods and hosts that no page asks for', async () => {
  for (const path of [
    '/../../etc/passwd',
    '/..%2f..%2fetc%2fpasswd',
    '/%2e%2e/%2e%2e/etc/passwd',
    '/%2e%2e/',
    '/assets/../../../package.json',
    '/assets/..%5c..%5cpackage.json',
    '//etc/passwd',
    '/peer',
    '/peer?token=x',
    '/index.html/..',
    `/${'a'.repeat(8_000)}`,
  ]) {
    expect(await ask(path), path).toEqual({ status: 404, body: '' });
  }
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'TRACE']) {
    expect(await ask('/', method), method).toEqual({ status: 405, body: '' });
    expect((await ask('/peer', method)).status, method).toBeGreaterThanOrEqual(400);
  }
  for (const name of [
    'evil.example',
    `evil.example:${port}`,
    '127.0.0.1',
    `[::1]:${port}`,
    `127.0.0.1.evil.example:${port}`,
  ]) {
    expect(await ask('/', 'GET', { host: name }), name).toEqual({ status: 403, body: '' });
  }
  await stillServes();
});

const dial = (headers: Record<string, string> = {}, from: string | undefined = origin): NodeSocket => {
  const socket = new NodeSocket(`ws://127.0.0.1:${port}/peer`, [PROTOCOL, `token.${token}`], {
    headers,
    ...(from === undefined ? {} : { origin: from }),
  });
  socket.on('error', () => {});
  return socket;
};

test('sockets from Node with another origin, another host, or none', async () => {
  const refused = async (socket: NodeSocket): Promise<number> => {
    const answer = await Promise.race([
      once(socket, 'unexpected-response').then(([, response]) => response.statusCode as number),
      once(socket, 'open').then(() => 101),
    ]);
    socket.terminate();
    return answer;
  };
  for (const from of [foreignOrigin, 'null', 'file://', `https://${host}`])
    expect(await refused(dial({}, from)), from).toBe(403);
  expect(await refused(dial({ host: `evil.example:${port}` }))).toBe(403);
  expect(await refused(dial({ host: `evil.example:${port}` }, `http://evil.example:${port}`))).toBe(403);
  await stillServes();
});

test('garbage after the handshake ends that connection and no other', async () => {
  const page = await stage.open(peer);
  const noise: (string | Buffer)[] = [
    'not JSON',
    '',
    '[]',
    'null',
    '{"id":1}',
    '{"id":1,"method":"nothing","params":{}}',
    '{"id":1,"method":"__proto__","params":{}}',
    '{"id":-1,"method":"status","params":{}}',
    Buffer.from([0, 1, 2, 255]),
    `[${'['.repeat(200_000)}`,
    'x'.repeat(MESSAGE_BYTES_MAX + 1),
  ];
  for (const each of noise) {
    const socket = dial();
    await once(socket, 'open');
    const closed = once(socket, 'close').then(() => 'closed');
    const answered = once(socket, 'message').then(([data]) => String(data));
    socket.send(each);
    const end = await Promise.race([closed, answered]);
    // An error that names what was wrong will do as well; nothing else.
    if (end !== 'closed') expect(end, String(each).slice(0, 60)).toMatch(/"code"/);
    socket.terminate();
  }
  // A frame that no WebSocket sends, and requests that never end.
  const raw = dial();
  await once(raw, 'open');
  const gone = once(raw, 'close');
  (raw as unknown as { _socket: { write(bytes: Buffer): void } })._socket.write(Buffer.alloc(64, 0xff));
  await gone;
  const halves = Array.from({ length: 40 }, () => {
    const socket = connectTcp(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(`GET / HTTP/1.1\r\nHost: ${host}\r\nX-Slow: `);
    return socket;
  });
  await stillServes();
  for (const socket of halves) socket.destroy();
  // The page that was open all the time never noticed.
  written += 1;
  await write(page, 'undisturbed');
  await entry(page, written).getByText('undisturbed').waitFor();
  expect(await page.getByText(/^Not connected/).count()).toBe(0);
});
