import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { makePeerClient, type PeerClient } from '../../shared/ipc/client.ts';
import { PeerError } from '../../shared/ipc/errors.ts';
import { PROTOCOL, WRONG_TOKEN_CLOSE } from '../../shared/ipc/messages.ts';
import { openPeer } from '../../src-main/peer/peer.ts';
import { newToken } from '../../src-main/peer/secret.ts';
import { openWeb, type Web } from '../../src-main/peer/web.ts';
import { FakeService } from './fake-service.ts';

const never = new AbortController().signal;
const token = newToken();
let place: string;
let rendererDir: string;
let service: FakeService;
let web: Web;
let origin: string;

beforeEach(async () => {
  place = mkdtempSync(join(tmpdir(), 'synod-web-'));
  rendererDir = join(place, 'renderer');
  mkdirSync(join(rendererDir, 'assets'), { recursive: true });
  writeFileSync(join(place, 'secret.html'), 'secret');
  writeFileSync(join(rendererDir, 'index.html'), '<title>Synod</title>');
  writeFileSync(join(rendererDir, 'assets', 'index-1a.js'), 'export {};');
  writeFileSync(join(rendererDir, 'assets', 'index-1a.css'), 'body {}');
  writeFileSync(join(rendererDir, 'assets', 'index-1a.js.map'), 'secret');
  writeFileSync(join(rendererDir, '.env'), 'secret');
  symlinkSync(join(place, 'secret.html'), join(rendererDir, 'link.html'));
  service = new FakeService();
  web = await openWeb({ service, port: 0, rendererDir, token });
  origin = `http://127.0.0.1:${web.port}`;
});

afterEach(async () => {
  await web.close();
  rmSync(place, { recursive: true });
});

interface Answer {
  readonly status: number;
  readonly headers: Record<string, unknown>;
  readonly body: string;
}

/** Asks for a path as it stands, with no browser to tidy it. */
async function get(path: string, method = 'GET', headers: Record<string, string> = {}): Promise<Answer> {
  const sent = request({ host: '127.0.0.1', port: web.port, path, method, headers, agent: false }).end();
  const [response] = await once(sent, 'response');
  let body = '';
  for await (const chunk of response) body += chunk;
  return { status: response.statusCode, headers: response.headers, body };
}

/** What comes back for bytes that no client would send. */
async function raw(bytes: string): Promise<string> {
  const socket = connectTcp(web.port, '127.0.0.1');
  socket.end(bytes);
  let answer = '';
  for await (const chunk of socket) answer += chunk;
  return answer;
}

interface Attempt {
  readonly headers?: Record<string, string>;
  readonly origin?: string | undefined;
  readonly protocols?: string[];
  readonly path?: string;
}

/** The status that an attempt to open the page's socket is answered with. */
async function upgrade(attempt: Attempt = {}): Promise<number> {
  const { headers, protocols = [PROTOCOL, `token.${token}`], path = '/peer' } = attempt;
  const from = 'origin' in attempt ? attempt.origin : origin;
  const socket = new WebSocket(`ws://127.0.0.1:${web.port}${path}`, protocols, {
    ...(headers === undefined ? {} : { headers }),
    ...(from === undefined ? {} : { origin: from }),
  });
  socket.on('error', () => {});
  const answer = await Promise.race([
    once(socket, 'unexpected-response').then(([, response]) => response.statusCode as number),
    once(socket, 'open').then(() => 101),
  ]);
  if (answer === 101) expect(socket.protocol).toBe(PROTOCOL);
  socket.terminate();
  return answer;
}

interface Page {
  readonly client: PeerClient;
  readonly closed: Promise<unknown>;
  close(): void;
}

/** As a page does it. */
async function openPage(port: number, secret: string): Promise<Page> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/peer`, [PROTOCOL, `token.${secret}`], {
    origin: `http://127.0.0.1:${port}`,
  });
  await once(socket, 'open');
  const client = makePeerClient({ send: (text) => socket.send(text), pause: () => {}, resume: () => {} });
  const closed = once(socket, 'close');
  socket.on('message', (data) => client.receive(String(data)));
  socket.on('close', () => client.fail(new PeerError('PEER_LOST', 'gone')));
  return { client, closed, close: () => socket.close() };
}

test('the address holds the token where no server ever sees it', async () => {
  expect(web.url).toBe(`${origin}/#token=${token}`);
  expect(await (await fetch(web.url)).text()).toBe('<title>Synod</title>');
});

test('the built window is served with its types, and the document is never cached', async () => {
  const index = await get('/');
  expect(index).toMatchObject({ status: 200, body: '<title>Synod</title>' });
  expect(index.headers).toMatchObject({ 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' });
  expect((await get('/index.html?x=/../')).body).toBe('<title>Synod</title>');
  const script = await get('/assets/index-1a.js');
  expect(script).toMatchObject({ status: 200, body: 'export {};' });
  expect(script.headers['content-type']).toBe('text/javascript; charset=utf-8');
  expect((await get('/assets/index-1a.css')).headers['content-type']).toBe('text/css; charset=utf-8');
});

test.each(['/', '/assets/index-1a.js'])('%s carries every header that fences a page in', async (path) => {
  const { headers } = await get(path);
  const policy = String(headers['content-security-policy']).split('; ');
  expect(policy.toSorted()).toEqual(
    [
      "default-src 'none'",
      "script-src 'self'",
      "style-src 'self'",
      "img-src 'self' data:",
      "font-src 'self'",
      `connect-src 'self' ws://127.0.0.1:${web.port} ws://localhost:${web.port}`,
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
      "require-trusted-types-for 'script'",
      'trusted-types dompurify svelte-trusted-html',
    ].toSorted(),
  );
  expect(headers).toMatchObject({
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
  });
  expect(headers['access-control-allow-origin']).toBeUndefined();
});

test.each([
  '/../secret.html',
  '/assets/../../secret.html',
  '/%2e%2e/secret.html',
  '/..%2fsecret.html',
  '/%2e%2e%2fsecret.html',
  '/..\\secret.html',
  '//etc/passwd',
  '/etc/passwd',
  '/secret.html',
  '/link.html',
  '/.env',
  '/assets',
  '/assets/',
  '/assets/index-1a.js.map',
  '/assets/index-1a.js%00.html',
  '/__proto__',
  '/constructor',
  '/peer',
])('%s is not there', async (path) => {
  const { status, body } = await get(path);
  expect({ status, body }).toEqual({ status: 404, body: '' });
});

test('paths that no client would send lead nowhere', async () => {
  const host = `Host: 127.0.0.1:${web.port}\r\nConnection: close\r\n\r\n`;
  expect(await raw(`GET file:///etc/passwd HTTP/1.1\r\n${host}`)).toMatch(/^HTTP\/1\.1 404 /);
  expect(await raw(`GET ../secret.html HTTP/1.1\r\n${host}`)).toMatch(/^HTTP\/1\.1 40[04] /);
  expect(await raw(`GET http://127.0.0.1:${web.port}/../secret.html HTTP/1.1\r\n${host}`)).toMatch(/^HTTP\/1\.1 404 /);
  const zero = await raw(`GET /\0/../secret.html HTTP/1.1\r\n${host}`);
  expect(zero).toMatch(/^HTTP\/1\.1 40[04] /);
  expect(zero).not.toContain('secret');
});

test.each(['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH'])('%s is refused', async (method) => {
  const { status, headers, body } = await get('/', method);
  expect({ status, allow: headers.allow, body }).toEqual({ status: 405, allow: 'GET, HEAD', body: '' });
});

test('HEAD is answered without a body', async () => {
  const { status, headers, body } = await get('/', 'HEAD');
  expect({ status, body, length: headers['content-length'] }).toEqual({ status: 200, body: '', length: '20' });
});

test.each(['evil.example', '127.0.0.1', 'localhost', '127.0.0.1:1', '[::1]:80'])(
  'the Host %s is another page’s, and learns nothing',
  async (host) => {
    expect(await get('/', 'GET', { host })).toMatchObject({ status: 403, body: '' });
    expect(await upgrade({ headers: { host } })).toBe(403);
    expect(await upgrade({ headers: { host }, origin: `http://${host}` })).toBe(403);
    expect(service.calls).toEqual([]);
  },
);

test('both names of this machine will do, each for its own page', async () => {
  const localhost = `localhost:${web.port}`;
  expect((await get('/', 'GET', { host: localhost })).status).toBe(200);
  expect(await upgrade()).toBe(101);
  expect(await upgrade({ headers: { host: localhost }, origin: `http://${localhost}` })).toBe(101);
  expect(await upgrade({ headers: { host: localhost } })).toBe(403);
});

test.each(['https://example.org', 'null', 'http://127.0.0.1', 'http://127.0.0.1:1', 'file://', undefined])(
  'the Origin %s is turned away, token or not',
  async (from) => {
    expect(await upgrade({ origin: from })).toBe(403);
  },
);

test('a page of the same port over https is another page', async () => {
  expect(await upgrade({ origin: origin.replace('http:', 'https:') })).toBe(403);
});

const wrongTokens: [string, string[]][] = [
  ['no token', [PROTOCOL]],
  ['an empty one', [PROTOCOL, 'token.']],
  ['a wrong one', [PROTOCOL, `token.${newToken()}`]],
  ['one letter less', [PROTOCOL, `token.${token.slice(0, -1)}`]],
  ['one letter more', [PROTOCOL, `token.${token}x`]],
  ['the bare token', [PROTOCOL, token]],
];

test.each(wrongTokens)('%s is told so, and gets no answer to anything', async (_, protocols) => {
  const socket = new WebSocket(`ws://127.0.0.1:${web.port}/peer`, protocols, { origin });
  const heard: string[] = [];
  for (const event of ['message', 'ping', 'pong'] as const) socket.on(event, () => heard.push(event));
  socket.on('open', () => {
    socket.send(JSON.stringify({ id: 1, method: 'groups', params: {} }));
    socket.send(Buffer.alloc(100_000));
    socket.ping();
  });
  const [code, reason] = await once(socket, 'close');
  expect({ code, reason: String(reason), heard }).toEqual({
    code: WRONG_TOKEN_CLOSE,
    reason: 'wrong token',
    heard: [],
  });
  expect(service.calls).toEqual([]);
  expect(web.connections).toBe(0);
});

/** A handshake as a page makes it, up to its protocols. */
const handshake = (protocols: readonly string[], from = origin): string =>
  [
    'GET /peer HTTP/1.1',
    `Host: 127.0.0.1:${web.port}`,
    `Origin: ${from}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    `Sec-WebSocket-Protocol: ${protocols.join(', ')}`,
    '',
    '',
  ].join('\r\n');

/** A text frame as a client sends it, under a mask of zeros. */
const frame = (text: string): Buffer =>
  Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)]);

test('with a wrong token a request that comes with the handshake is not read, and who does not hang up is cut off', async () => {
  const socket = connectTcp({ port: web.port, host: '127.0.0.1', allowHalfOpen: true });
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk as Buffer));
  const closed = once(socket, 'close');
  socket.on('error', () => {});
  const asked = frame(JSON.stringify({ id: 1, method: 'groups', params: {} }));
  // Twice the request, and it never answers the close.
  socket.write(Buffer.concat([Buffer.from(handshake([PROTOCOL, 'token.x'])), asked, asked]));
  socket.once('end', () => setImmediate(() => socket.destroy()));
  await closed;
  const answer = Buffer.concat(chunks).toString('latin1');
  const [head = '', rest = ''] = answer.split('\r\n\r\n');
  expect(head).toMatch(/^HTTP\/1\.1 101 /);
  // One close frame, and nothing else.
  expect(Buffer.from(rest, 'latin1')).toEqual(
    Buffer.concat([
      Buffer.from([0x88, 13, WRONG_TOKEN_CLOSE >> 8, WRONG_TOKEN_CLOSE & 255]),
      Buffer.from('wrong token'),
    ]),
  );
  expect(service.calls).toEqual([]);
});

test('a stop does not wait for those who were told', async () => {
  const socket = connectTcp({ port: web.port, host: '127.0.0.1', allowHalfOpen: true });
  socket.on('error', () => {});
  socket.write(handshake([PROTOCOL, 'token.x']));
  await once(socket, 'data');
  await web.close();
  socket.destroy();
});

test('everybody else with a wrong token is refused before there is a socket', async () => {
  const protocols = [PROTOCOL, 'token.x'];
  expect(await upgrade({ protocols, origin: 'https://example.org' })).toBe(403);
  expect(await upgrade({ protocols, origin: undefined })).toBe(403);
  expect(await upgrade({ protocols, headers: { host: 'evil.example' } })).toBe(403);
  expect(await upgrade({ protocols, path: '/' })).toBe(404);
  expect(await upgrade({ protocols: ['synod.99', 'token.x'] })).toBe(426);
});

test('another path and another protocol are turned away', async () => {
  expect(await upgrade({ path: '/' })).toBe(404);
  expect(await upgrade({ path: '/peer/' })).toBe(404);
  expect(await upgrade({ path: '/peer?x' })).toBe(404);
  expect(await upgrade({ protocols: ['synod.99', `token.${token}`] })).toBe(426);
});

test.runIf(process.platform === 'linux')('it listens on loopback alone', async () => {
  const socket = connectTcp(web.port, '127.0.0.2');
  await expect(once(socket, 'connect')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
});

test('a page asks as a command does, and is told of a stop', async () => {
  const { client, closed } = await openPage(web.port, token);
  expect(await client.service.groups({}, never)).toHaveLength(1);
  expect(web.connections).toBe(1);
  service.gate = new Promise(() => {});
  const answer = client.service.append({ text: 'x', wait: 'committed', timeoutMs: 1_000 }, never);
  const failure = answer.catch((error: PeerError) => error.code);
  for (let waited = 0; service.running === 0 && waited < 5_000; waited += 5) await sleep(5);
  await web.close();
  expect(await failure).toBe('STOPPING');
  expect(await closed).toMatchObject({ 0: 1001 });
});

test('a taken port is named', async () => {
  const second = openWeb({ service, port: web.port, rendererDir, token });
  await expect(second).rejects.toMatchObject({
    code: 'PORT_IN_USE',
    message: expect.stringContaining(String(web.port)),
  });
});

test('a window that is not built is said so, with the way to build it', async () => {
  const broken = openWeb({ service, port: 0, rendererDir: join(place, 'nothing'), token });
  await expect(broken).rejects.toMatchObject({ code: 'FILE_UNREADABLE', message: expect.stringContaining('npm run') });
  const empty = openWeb({ service, port: 0, rendererDir: join(rendererDir, 'assets'), token });
  await expect(empty).rejects.toMatchObject({ code: 'FILE_UNREADABLE' });
});

test('an open page finds back to a peer that was started again', async () => {
  const options = { dir: join(place, 'data'), mdns: false, listen: ['/ip4/127.0.0.1/tcp/0'] };
  let peer = await openPeer(options);
  const { token: secret, port: before } = await peer.webPlace();
  expect(before).toBe(null);
  expect(await peer.webPlace()).toEqual({ token: secret, port: null });
  let shell = await openWeb({ service: peer.service, port: 0, rendererDir, token: secret });
  const { port } = shell;
  await peer.keepWebPort(port);
  const page = await openPage(port, secret);
  expect(await page.client.service.groups({}, never)).toEqual([]);
  await shell.close();
  await peer.close();
  await page.closed;

  peer = await openPeer(options);
  expect(await peer.webPlace()).toEqual({ token: secret, port });
  shell = await openWeb({ service: peer.service, port, rendererDir, token: secret });
  const again = await openPage(port, secret);
  expect(await again.client.service.groups({}, never)).toEqual([]);
  again.close();
  await shell.close();
  await peer.close();
});
