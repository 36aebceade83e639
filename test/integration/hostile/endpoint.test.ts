import { readFile } from 'node:fs/promises';
import { request } from 'node:http';
import { connect as connectTcp } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { MESSAGE_BYTES_MAX, PROTOCOL } from '../../../shared/ipc/messages.ts';
import { type EndpointAddress, readEndpointFile } from '../../../src-main/peer/endpoint-file.ts';
import { after, alone, type Machine, until } from './harness.ts';

/** The loopback endpoint of a real peer, asked by those it is not for. */

async function running(): Promise<{ machine: Machine; address: EndpointAddress }> {
  const { machine } = await alone();
  return { machine, address: (await readEndpointFile(machine.dir)) as EndpointAddress };
}

/** Other clients go on being served, and nothing was logged as a fault of the program. */
async function expectServed(machine: Machine): Promise<void> {
  const { code, json } = await machine.run('append', 'served');
  expect([code, json[0]?.status]).toEqual([0, 'committed']);
  expect(machine.stderr).not.toMatch(/fault of the program/);
}

interface Handshake {
  readonly headers?: Record<string, string>;
  readonly token?: string;
  readonly protocol?: string;
  readonly path?: string;
}

/** The status that the peer answers an upgrade with; 101 where it lets the caller in. */
function knock(
  address: EndpointAddress,
  { headers = {}, token = address.token, protocol = PROTOCOL, path = '/' }: Handshake,
): Promise<number> {
  const { hostname, port } = new URL(address.url);
  return new Promise((resolve, reject) => {
    const asked = request({
      host: hostname,
      port,
      path,
      headers: {
        connection: 'Upgrade',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
        'sec-websocket-protocol': protocol,
        authorization: `Bearer ${token}`,
        ...headers,
      },
    });
    asked.on('upgrade', (response, socket) => {
      socket.destroy();
      resolve(response.statusCode ?? 0);
    });
    asked.on('response', (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    asked.on('error', reject);
    asked.end();
  });
}

describe('who is let in', () => {
  test('the token and nothing that a web page would send', async () => {
    const { machine, address } = await running();
    const { token } = address;
    const port = new URL(address.url).port;
    const other = `${token.startsWith('a') ? 'b' : 'a'}${token.slice(1)}`;
    expect(await knock(address, {})).toBe(101);
    expect({
      'a wrong token': await knock(address, { token: other }),
      'half a token': await knock(address, { token: token.slice(0, 20) }),
      'a longer token': await knock(address, { token: `${token}a` }),
      'no token': await knock(address, { token: '' }),
      'a foreign origin': await knock(address, { headers: { origin: 'https://example.org' } }),
      'its own origin': await knock(address, { headers: { origin: `http://127.0.0.1:${port}` } }),
      'a null origin': await knock(address, { headers: { origin: 'null' } }),
      'a foreign host': await knock(address, { headers: { host: 'example.org' } }),
      'a rebound name': await knock(address, { headers: { host: `localtest.example:${port}` } }),
      'another protocol': await knock(address, { protocol: 'synod.99' }),
      'another path': await knock(address, { path: '/status' }),
    }).toEqual({
      'a wrong token': 401,
      'half a token': 401,
      'a longer token': 401,
      'no token': 401,
      'a foreign origin': 403,
      'its own origin': 403,
      'a null origin': 403,
      'a foreign host': 403,
      'a rebound name': 403,
      'another protocol': 426,
      'another path': 404,
    });
    await expectServed(machine);
  });

  test('plain HTTP, TLS and noise on the port', async () => {
    const { machine, address } = await running();
    const { port } = new URL(address.url);
    for (const bytes of [
      Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'),
      Buffer.from('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n'),
      Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03]),
      Buffer.alloc(300_000, 'A'),
      Buffer.from(`GET / HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(100_000)}\r\n\r\n`),
      Buffer.alloc(2_000).fill(0),
    ]) {
      const socket = connectTcp(Number(port), '127.0.0.1');
      const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
      socket.on('error', () => {});
      socket.resume();
      socket.write(bytes);
      await closed;
    }
    await expectServed(machine);
  });

  test('many that are open and silent', async () => {
    const { machine, address } = await running();
    const { port } = new URL(address.url);
    for (let n = 0; n < 100; n++) {
      const socket = connectTcp(Number(port), '127.0.0.1');
      socket.on('error', () => {});
      after(() => socket.destroy());
    }
    await expectServed(machine);
  });
});

async function client(
  address: EndpointAddress,
): Promise<{ socket: WebSocket; heard: string[]; closed: Promise<number> }> {
  const socket = new WebSocket(address.url, PROTOCOL, { headers: { authorization: `Bearer ${address.token}` } });
  const heard: string[] = [];
  const closed = new Promise<number>((resolve) => socket.once('close', resolve));
  socket.on('error', () => {});
  socket.on('message', (data) => heard.push(String(data)));
  await new Promise((resolve) => socket.once('open', resolve));
  after(() => socket.terminate());
  return { socket, heard, closed };
}

describe('what is said once in', () => {
  test.each([
    ['no JSON', '{{{', 1008],
    ['JSON that is no message', '[1,2,3]', 1008],
    ['an id that is no number', '{"id":"x","method":"status","params":{}}', 1008],
    ['an id below zero', '{"id":-1,"method":"status","params":{}}', 1008],
    ['a field too many', '{"id":1,"method":"status","params":{},"more":1}', 1008],
    ['bytes instead of text', Buffer.from('{"id":1,"method":"status","params":{}}'), 1008],
    ['a message over the limit', 'x'.repeat(MESSAGE_BYTES_MAX + 1), 1009],
    ['depth', '['.repeat(200_000), 1008],
  ])('%s: the connection ends, the others go on', async (_, message, status) => {
    const { machine, address } = await running();
    const { socket, closed } = await client(address);
    socket.send(message, { binary: typeof message !== 'string' });
    expect(await closed).toBe(status);
    await expectServed(machine);
  });

  test('questions that are none: each is answered with USAGE, and the connection stays', async () => {
    const { machine, address } = await running();
    const { socket, heard } = await client(address);
    const questions: readonly [string, unknown][] = [
      ['nothing', {}],
      ['constructor', {}],
      ['__proto__', {}],
      ['toString', {}],
      ['status', null],
      ['status', { group: 5 }],
      ['append', { text: 'x' }],
      ['append', { text: 5, wait: 'saved', timeoutMs: 1 }],
      ['append', { text: 'x', wait: 'saved', timeoutMs: -1 }],
      ['append', { text: 'x', wait: 'saved', timeoutMs: 1e300 }],
      ['append', { text: 'x', wait: 'never', timeoutMs: 1 }],
      ['log', { follow: false, pending: false, limit: -1 }],
      ['log', { follow: false, pending: false, since: 1.5 }],
      ['log', { follow: false, pending: false, since: Number.MAX_SAFE_INTEGER + 1 }],
      ['history', {}],
      ['x'.repeat(100_000), {}],
    ];
    for (const [id, [method, params]] of questions.entries()) socket.send(JSON.stringify({ id, method, params }));
    await until(() => heard.length === questions.length, 'the answers');
    const answers = heard.map((text) => JSON.parse(text) as { id: number; error?: { code: string } });
    expect(answers.map(({ error }) => error?.code)).toEqual(questions.map(() => 'USAGE'));
    socket.send(JSON.stringify({ id: 99, method: 'status', params: {} }));
    await until(() => heard.length === questions.length + 1, 'a good answer');
    expect(JSON.parse(heard.at(-1) as string)).toMatchObject({ id: 99, result: { peer: machine.id } });
    await expectServed(machine);
  });

  test('more questions than may be under way: BUSY for those above, and all others are answered', async () => {
    const { machine, address } = await running();
    const { socket, heard } = await client(address);
    for (let id = 0; id < 3_000; id++) {
      socket.send(
        JSON.stringify({ id, method: 'append', params: { text: `${id}`, wait: 'committed', timeoutMs: 60_000 } }),
      );
    }
    await until(() => heard.length === 3_000, 'the answers');
    const answers = heard.map((text) => JSON.parse(text) as { result?: object; error?: { code: string } });
    const refused = answers.filter(({ error }) => error !== undefined);
    expect(new Set(refused.map(({ error }) => error?.code))).toEqual(new Set(refused.length > 0 ? ['BUSY'] : []));
    expect(await machine.texts()).toHaveLength(3_000 - refused.length);
    await expectServed(machine);
  });

  test('a reader that asks for everything again and again and takes nothing', async () => {
    const { machine, address } = await running();
    await machine.write('x'.repeat(1_000_000));
    const { socket, heard } = await client(address);
    socket.pause();
    for (let id = 0; id < 500; id++) {
      socket.send(JSON.stringify({ id, method: 'log', params: { follow: false, pending: false } }));
    }
    await sleep(1_500);
    await expectServed(machine);
    expect(await residentBytes(machine.pid)).toBeLessThan(350 * 1024 * 1024);
    socket.resume();
    // Those that were let in are answered, and the others are told to wait: none is left without an answer.
    const ended = () => heard.map((text) => JSON.parse(text)).filter((each) => 'done' in each || 'error' in each);
    await until(() => ended().length === 500, 'the answers');
    expect(new Set(ended().map((each) => each.error?.code))).toEqual(new Set([undefined, 'BUSY']));
  });
});

async function residentBytes(pid: number): Promise<number> {
  if (process.platform !== 'linux') return 0;
  const kib = /VmRSS:\s+(\d+) kB/.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kib) * 1024;
}
