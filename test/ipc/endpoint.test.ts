import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { PeerError } from '../../shared/ipc/errors.ts';
import { MESSAGE_BYTES_MAX, PROTOCOL } from '../../shared/ipc/messages.ts';
import { connect } from '../../src-main/cli/client.ts';
import { type Endpoint, openEndpoint } from '../../src-main/peer/endpoint.ts';
import { readEndpointFile, removeEndpointFile, writeEndpointFile } from '../../src-main/peer/endpoint-file.ts';
import { FakeService } from './fake-service.ts';

const never = new AbortController().signal;
let dir: string;
let service: FakeService;
let endpoint: Endpoint;
let problems: unknown[];

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'synod-endpoint-'));
  service = new FakeService();
  problems = [];
  endpoint = await openEndpoint({ service, dir, onProblem: (error) => problems.push(error) });
});

afterEach(async () => {
  await endpoint.close();
  rmSync(dir, { recursive: true });
});

/** A socket that obeys no contract. */
async function rawSocket(headers: Record<string, string> = {}): Promise<WebSocket> {
  const socket = new WebSocket(endpoint.url, PROTOCOL, {
    headers: { authorization: `Bearer ${endpoint.token}`, ...headers },
  });
  await once(socket, 'open');
  return socket;
}

/** The status with which an attempt to connect is turned away. */
async function refusal(headers: Record<string, string>, protocol = PROTOCOL, path = ''): Promise<number> {
  const socket = new WebSocket(endpoint.url + path, protocol, { headers });
  socket.on('error', () => {});
  const answer = await Promise.race([
    once(socket, 'unexpected-response').then(([, response]) => response.statusCode as number),
    once(socket, 'open').then(() => 101),
  ]);
  socket.terminate();
  return answer;
}

async function until(condition: () => boolean): Promise<void> {
  for (let waited = 0; !condition(); waited += 5) {
    if (waited > 5_000) throw new Error('it never came to be');
    await sleep(5);
  }
}

const append = (text: string) => ({ text, wait: 'committed', timeoutMs: 1_000 }) as const;

test('the file is private, complete and gone after the stop', async () => {
  const path = join(dir, 'endpoint.json');
  expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual({ url: endpoint.url, token: endpoint.token });
  if (process.platform !== 'win32') expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(endpoint.url).toMatch(/^ws:\/\/127\.0\.0\.1:\d+\/$/);
  expect(Buffer.from(endpoint.token, 'base64url')).toHaveLength(32);
  await endpoint.close();
  expect(readdirSync(dir)).toEqual([]);
});

test('a peer of another version says so', async () => {
  const other = createServer().on('upgrade', (_, socket) => {
    socket.end('HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n');
  });
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  const { port } = other.address() as { port: number };
  await writeEndpointFile(dir, { url: `ws://127.0.0.1:${port}/`, token: endpoint.token });
  await expect(connect(dir, never)).rejects.toMatchObject({
    code: 'PEER_LOST',
    message: expect.stringContaining('another version'),
  });
  other.close();
});

test('a file that a newer peer wrote is not removed', async () => {
  await writeEndpointFile(dir, { url: endpoint.url, token: 'x'.repeat(43) });
  await removeEndpointFile(dir, endpoint.token);
  expect((await readEndpointFile(dir))?.token).toBe('x'.repeat(43));
});

test.each([
  '',
  '{',
  'null',
  '{"url":"ws://127.0.0.1:1/"}',
  `{"url":"ws://10.0.0.1:1/","token":"${'x'.repeat(43)}"}`,
  `{"url":"ws://127.0.0.1:1/@evil/","token":"${'x'.repeat(43)}"}`,
  `{"url":"ws://127.0.0.1:1/","token":"a\\r\\nb"}`,
])('a file that says %j is no peer', async (text) => {
  writeFileSync(join(dir, 'endpoint.json'), text);
  expect(await readEndpointFile(dir)).toBeNull();
  await expect(connect(dir, never)).rejects.toMatchObject({ code: 'NO_PEER' });
});

test('an address where nobody listens is no peer', async () => {
  const { url, token } = endpoint;
  await endpoint.close();
  await writeEndpointFile(dir, { url, token });
  await expect(connect(dir, never)).rejects.toMatchObject({ code: 'NO_PEER' });
});

test('strangers are turned away before anything is read from them', async () => {
  const good = { authorization: `Bearer ${endpoint.token}` };
  const { host } = new URL(endpoint.url);
  expect(await refusal(good)).toBe(101);
  expect(await refusal({})).toBe(401);
  expect(await refusal({ authorization: `Bearer ${'x'.repeat(43)}` })).toBe(401);
  expect(await refusal({ authorization: `Bearer ${endpoint.token}x` })).toBe(401);
  expect(await refusal({ authorization: endpoint.token })).toBe(401);
  expect(await refusal({ ...good, origin: 'https://example.org' })).toBe(403);
  expect(await refusal({ ...good, origin: `http://${host}` })).toBe(403);
  expect(await refusal({ ...good, origin: 'null' })).toBe(403);
  expect(await refusal({ ...good, host: 'evil.example' })).toBe(403);
  expect(await refusal({ ...good, host: host.replace('127.0.0.1', 'localhost') })).toBe(403);
  expect(await refusal(good, 'synod.99')).toBe(426);
  expect(await refusal(good, PROTOCOL, 'other')).toBe(404);
  expect(service.calls).toEqual([]);
});

test('a plain web request learns nothing', async () => {
  const status = await new Promise((resolve, reject) => {
    request(endpoint.url.replace('ws:', 'http:'), { headers: { authorization: `Bearer ${endpoint.token}` } })
      .on('response', (response) => resolve(response.resume().statusCode))
      .on('error', reject)
      .end();
  });
  expect(status).toBe(426);
});

test.each([
  ['garbage', '{"id":'],
  ['no object', '7'],
  ['null', 'null'],
  ['a list', '[]'],
  ['no id', '{"method":"status","params":{}}'],
  ['an id that is no number', '{"id":"1","method":"status","params":{}}'],
  ['an id below zero', '{"id":-1,"method":"status","params":{}}'],
  ['an id beyond the safe integers', '{"id":9007199254740993,"method":"status","params":{}}'],
  ['a method that is no text', '{"id":1,"method":{},"params":{}}'],
  ['fields that nobody knows', '{"id":1,"method":"status","params":{},"extra":1}'],
  ['bytes', Buffer.from('{"id":1,"method":"status","params":{}}')],
])('%s ends the connection, and only that one', async (_, message) => {
  const socket = await rawSocket();
  socket.send(message);
  const [status] = await once(socket, 'close');
  expect(status).toBe(1008);
  const { service: remote, close } = await connect(dir, never);
  expect((await remote.status({}, never)).groups).toHaveLength(1);
  close();
});

test('an id in use ends the connection', async () => {
  const gate = Promise.withResolvers<void>();
  service.gate = gate.promise;
  const socket = await rawSocket();
  for (let i = 0; i < 2; i++) socket.send(JSON.stringify({ id: 1, method: 'append', params: append('x') }));
  expect((await once(socket, 'close'))[0]).toBe(1008);
  await until(() => service.aborted === 1);
  gate.resolve();
});

test('an oversize message ends the connection', async () => {
  const socket = await rawSocket();
  socket.on('error', () => {});
  socket.send('x'.repeat(MESSAGE_BYTES_MAX + 1));
  expect((await once(socket, 'close'))[0]).toBe(1009);
});

test('the largest entry fits, whatever its characters', async () => {
  const { service: remote, close } = await connect(dir, never);
  const text = '\u0001'.repeat(1024 * 1024);
  await remote.append(append(text), never);
  expect(service.entries[0]?.params.text).toBe(text);
  close();
});

test.each([
  ['constructor', {}],
  ['__proto__', {}],
  ['nothing', {}],
  ['create', {}],
  ['create', { title: 1 }],
  ['create', { title: 'x', extra: 1 }],
  ['create', null],
  ['append', { ...append('x'), wait: 'never' }],
  ['append', { ...append('x'), timeoutMs: 1.5 }],
  ['append', { ...append('x'), timeoutMs: 2 ** 31 }],
  ['append', append('\ud800')],
  ['log', { follow: false, pending: false, since: -1 }],
  ['log', { follow: false, pending: false, since: 1, afterSlot: 1 }],
  ['restore', { entry: '1', wait: 'saved', timeoutMs: 1, revision: 0 }],
])('%s with %j is answered with USAGE and never reaches the peer', async (method, params) => {
  const socket = await rawSocket();
  socket.send(JSON.stringify({ id: 7, method, params }));
  const [answer] = await once(socket, 'message');
  expect(JSON.parse(String(answer))).toMatchObject({ id: 7, error: { code: 'USAGE' } });
  expect(service.calls).toEqual([]);
  socket.terminate();
});

test('a named failure keeps its name and words; any other is told to the log alone', async () => {
  const { service: remote, close } = await connect(dir, never);
  service.failure = new PeerError('ENTRY_NOT_FOUND', 'There is no entry e5.');
  await expect(remote.barrier({ timeoutMs: 1 }, never)).rejects.toMatchObject({
    name: 'PeerError',
    code: 'ENTRY_NOT_FOUND',
    message: 'There is no entry e5.',
  });
  service.failure = new TypeError('secret detail');
  const error = await remote.status({}, never).catch((reason) => reason);
  expect(error.code).toBe('INTERNAL');
  expect(error.message).not.toContain('secret');
  expect(problems).toEqual([service.failure]);
  close();
});

test('256 appends in flight on one socket are answered each with its own', async () => {
  const { service: remote, close } = await connect(dir, never);
  const gate = Promise.withResolvers<void>();
  service.gate = gate.promise;
  const answers = Array.from({ length: 256 }, (_, i) => remote.append(append(`entry ${i}`), never));
  await until(() => service.running === 256);
  gate.resolve();
  expect((await Promise.all(answers)).map(({ position }) => position)).toEqual(answers.map((_, i) => i + 1));
  expect(service.entries.map(({ params }) => params.text)).toEqual(answers.map((_, i) => `entry ${i}`));
  close();
});

test('more than a thousand requests at once are told to wait', async () => {
  const gate = Promise.withResolvers<void>();
  service.gate = gate.promise;
  const { service: remote, close } = await connect(dir, never);
  const answers = Array.from({ length: 1_100 }, () => remote.append(append('x'), never).catch((error) => error.code));
  await until(() => service.running === 1_024);
  gate.resolve();
  expect((await Promise.all(answers)).filter((answer) => answer === 'BUSY')).toHaveLength(1_100 - 1_024);
  close();
});

test('a reader that stops reading stops the log that it reads', async () => {
  const socket = await rawSocket();
  socket.pause();
  const before = process.memoryUsage().arrayBuffers;
  socket.send(JSON.stringify({ id: 1, method: 'log', params: { follow: false, pending: false, limit: 100_000 } }));
  await until(() => service.pulled > 0);
  await sleep(300);
  const pulled = service.pulled;
  expect(pulled).toBeLessThan(50_000); // what the kernel's buffers take; the log is 40 MB
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * 1024 * 1024);
  await sleep(200);
  expect(service.pulled).toBe(pulled);
  expect(service.openStreams).toBe(1);

  // It goes on where it stopped, without a gap.
  const positions: number[] = [];
  const done = new Promise<void>((resolve) => {
    socket.on('message', (data) => {
      const message = JSON.parse(String(data));
      if (message.done) resolve();
      else positions.push(message.event.position);
    });
  });
  socket.resume();
  await done;
  expect(positions).toEqual(Array.from({ length: 100_000 }, (_, i) => i + 1));
  expect(service.openStreams).toBe(0);
  socket.terminate();
}, 20_000);

test('a client that only asks and never reads is no longer heard', async () => {
  const socket = await rawSocket();
  socket.pause();
  for (let id = 1; id <= 200_000; id++) socket.send(JSON.stringify({ id, method: 'status', params: {} }));
  await sleep(500);
  const asked = service.calls.length;
  expect(asked).toBeLessThan(100_000);
  await sleep(200);
  expect(service.calls.length).toBe(asked);
  socket.terminate();
});

test('a consumer that does not ask stops the stream through the client too', async () => {
  const { service: remote, close } = await connect(dir, never);
  const stream = remote.log({ follow: false, pending: false, limit: 100_000 }, never)[Symbol.asyncIterator]();
  await stream.next();
  await sleep(300);
  const pulled = service.pulled;
  expect(pulled).toBeLessThan(60_000);
  await sleep(100);
  expect(service.pulled).toBe(pulled);
  let last = 1;
  for (let next = await stream.next(); !next.done; next = await stream.next()) {
    if (next.value.position !== last + 1) break;
    last += 1;
  }
  expect(last).toBe(100_000);
  close();
}, 20_000);

test('after a long log the same connection can ask again', async () => {
  const { service: remote, close } = await connect(dir, never);
  for (let round = 0; round < 2; round++) {
    let count = 0;
    for await (const _ of remote.log({ follow: false, pending: false, limit: 20_000 }, never)) count += 1;
    expect(count).toBe(20_000);
    expect((await remote.status({}, never)).groups).toHaveLength(1);
  }
  close();
});

test('streams that were left half read hold up nothing', async () => {
  const { service: remote, close } = await connect(dir, never);
  for (let round = 0; round < 5; round++) {
    for await (const { position } of remote.log({ follow: false, pending: false, limit: 20_000 }, never)) {
      if (position === 2) await sleep(50);
      if (position === 3) break;
    }
  }
  expect((await remote.status({}, never)).groups).toHaveLength(1);
  await until(() => service.openStreams === 0);
  close();
});

test('leaving a stream, aborting it and hanging up all free it in the peer', async () => {
  const { service: remote, close } = await connect(dir, never);
  const follow = { follow: true, pending: false, limit: 1 };
  for await (const line of remote.log(follow, never)) {
    expect(line.position).toBe(1);
    break;
  }
  await until(() => service.openStreams === 0);

  const abort = new AbortController();
  const aborted = (async () => {
    for await (const _ of remote.log(follow, abort.signal)) abort.abort();
  })();
  await expect(aborted).rejects.toMatchObject({ code: 'CANCELLED' });
  await until(() => service.openStreams === 0);

  const left = (async () => {
    for await (const _ of remote.log(follow, never)) close();
  })();
  await expect(left).rejects.toMatchObject({ code: 'PEER_LOST' });
  await until(() => service.openStreams === 0 && endpoint.connections === 0);
});

test('a cancelled call is aborted in the peer and answered no more', async () => {
  service.gate = new Promise(() => {});
  const { service: remote, close } = await connect(dir, never);
  const abort = new AbortController();
  const answer = remote.append(append('x'), abort.signal);
  await until(() => service.running === 1);
  abort.abort();
  await expect(answer).rejects.toMatchObject({ code: 'CANCELLED' });
  await until(() => service.aborted === 1);
  expect((await remote.status({}, never)).groups).toHaveLength(1);
  close();
});

test('a client that vanishes in the middle takes its requests along', async () => {
  service.gate = new Promise(() => {});
  const socket = await rawSocket();
  socket.send(JSON.stringify({ id: 1, method: 'append', params: append('x') }));
  await until(() => service.running === 1);
  socket.terminate();
  await until(() => service.aborted === 1 && endpoint.connections === 0);
  expect(problems).toEqual([]);
});

test('a stop tells those who wait, and waits for nobody', async () => {
  service.gate = new Promise(() => {});
  const { service: remote } = await connect(dir, never);
  const stalled = await rawSocket();
  stalled.pause();
  stalled.send(JSON.stringify({ id: 1, method: 'log', params: { follow: false, pending: false, limit: 1_000_000 } }));
  const answer = remote.append(append('x'), never).catch((error) => error);
  await until(() => service.running === 1 && service.openStreams === 1);
  const began = performance.now();
  await endpoint.close();
  expect(performance.now() - began).toBeLessThan(3_000);
  expect((await answer).code).toBe('STOPPING');
  await until(() => service.openStreams === 0);
});

test('a peer that answers in other shapes is not believed', async () => {
  const { service: remote } = await connect(dir, never);
  service.barrier = async () => ({ position: 1, slot: 'two' as unknown as number, digest: '' });
  await expect(remote.barrier({ timeoutMs: 1 }, never)).rejects.toMatchObject({ code: 'PEER_LOST' });
});
