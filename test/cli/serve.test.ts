import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { PeerId } from '../../shared/base/ids.ts';
import { PeerError } from '../../shared/ipc/errors.ts';
import { connect } from '../../src-main/cli/client.ts';
import { type Doors, run } from '../../src-main/cli/commands/serve.ts';
import { LOG_LEVELS, makeLog } from '../../src-main/cli/log-output.ts';
import { Arguments } from '../../src-main/cli/usage.ts';
import { Metrics } from '../../src-main/peer/metrics.ts';
import type { Peer, PeerView } from '../../src-main/peer/peer.ts';
import { FakeService, PEER } from '../ipc/fake-service.ts';

const ADDRESS = `/ip4/127.0.0.1/tcp/4747/p2p/${PEER}`;

let dir: string;
let out: string;
let err: string;
let closed: number;
/** The port of its window that the peer remembers. */
let kept: number | null;
let stop: AbortController;
let end: PromiseWithResolvers<unknown>;

beforeEach(() => {
  kept = null;
  dir = mkdtempSync(join(tmpdir(), 'synod-serve-'));
  out = '';
  err = '';
  closed = 0;
  stop = new AbortController();
  end = Promise.withResolvers();
});

afterEach(() => rmSync(dir, { recursive: true }));

function start(json: boolean, close: Peer['close'] = async () => {}, doors: Doors = {}): Promise<number> {
  const peer: Peer = {
    service: new FakeService(),
    peer: PEER as PeerId,
    addresses: () => [ADDRESS],
    webPlace: async () => ({ token: 'x'.repeat(43), port: kept }),
    keepWebPort: async (port) => {
      kept = port;
    },
    view: () => ({
      hosts: new Map(),
      network: {} as PeerView['network'],
      status: () => ({ peer: PEER, name: 'Ana', groups: [] }),
    }),
    wake: () => {},
    close: () => {
      closed += 1;
      return close();
    },
    closed: end.promise as Promise<Error | undefined>,
  };
  const write = (to: (text: string) => void) => async (text: string) => to(text);
  const io = {
    stdin: () => ({ [Symbol.asyncIterator]: async function* () {} }) as never,
    out: write((text) => (out += text)),
    err: write((text) => (err += text)),
    env: {},
    platform: 'linux',
    home: '/',
    cwd: '/',
    colour: false,
    signal: stop.signal,
    connect,
  } as const;
  const log = makeLog(io.err, 'info', json);
  return run(peer, dir, log, { args: new Arguments([], {}), io, json }, doors, 100);
}

async function untilReady(): Promise<void> {
  for (let waited = 0; out === ''; waited += 5) {
    if (waited > 5_000) throw new Error('never ready');
    await sleep(5);
  }
}

test('says that it is ready once it can be asked, and stops cleanly', async () => {
  const running = start(true);
  await untilReady();
  expect(out).toBe(`{"event":"ready","peer":"${PEER}","addresses":["${ADDRESS}"],"web":null,"metrics":null}\n`);
  const { service, close } = await connect(dir, stop.signal);
  expect(await service.groups({}, stop.signal)).toHaveLength(1);
  close();
  stop.abort();
  expect(await running).toBe(0);
  expect({ closed, err, files: readdirSync(dir) }).toEqual({ closed: 1, err: '', files: [] });
});

test('for people it says where', async () => {
  const running = start(false);
  await untilReady();
  expect(out).toContain(ADDRESS);
  stop.abort();
  await running;
});

test('with --web it says where the window is, and a page can ask there', async () => {
  const rendererDir = join(dir, 'renderer');
  mkdirSync(rendererDir);
  writeFileSync(join(rendererDir, 'index.html'), '<title>Synod</title>');
  const running = start(true, undefined, { web: { port: 0, rendererDir } });
  await untilReady();
  const { web } = JSON.parse(out);
  expect(web).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/#token=x{43}$/);
  expect(await (await fetch(web)).text()).toContain('Synod');
  stop.abort();
  expect(await running).toBe(0);
  await expect(fetch(web)).rejects.toThrow();
});

test('a port that nobody named is the same the next time, and another one where it is taken', async () => {
  writeFileSync(join(dir, 'index.html'), '');
  const portOf = async (): Promise<number> => {
    out = '';
    stop = new AbortController();
    const running = start(true, undefined, { web: { port: 0, rendererDir: dir } });
    await untilReady();
    stop.abort();
    await running;
    return Number(new URL(JSON.parse(out).web).port);
  };
  const first = await portOf();
  expect(await portOf()).toBe(first);
  const taking = createServer();
  await new Promise<void>((resolve) => taking.listen(first, '127.0.0.1', resolve));
  const other = await portOf();
  expect(other).not.toBe(first);
  expect(kept).toBe(other);
  taking.close();
});

test('with --metrics it says where they are, and they are gone when it stops', async () => {
  const metrics = new Metrics({ version: '0.1.0', hasProcess: true });
  const running = start(true, undefined, { metrics: { place: { host: '127.0.0.1', port: 0 }, metrics } });
  await untilReady();
  const { metrics: url } = JSON.parse(out);
  expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/metrics$/);
  expect(await (await fetch(url)).text()).toMatch(/^process_cpu_seconds_total \d/m);
  stop.abort();
  expect(await running).toBe(0);
  await expect(fetch(url)).rejects.toThrow();
});

test('a window that is not built is one clear error, and the peer is closed again', async () => {
  const failed = start(true, undefined, { web: { port: 0, rendererDir: join(dir, 'nothing') } });
  await expect(failed).rejects.toMatchObject({
    code: 'FILE_UNREADABLE',
    message: expect.stringContaining('The window is not built'),
  });
  expect(closed).toBe(1);
});

test('a taken web port is named', async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  const { port } = taken.address() as AddressInfo;
  writeFileSync(join(dir, 'index.html'), '');
  const failed = start(true, undefined, { web: { port, rendererDir: dir } });
  await expect(failed).rejects.toMatchObject({ code: 'PORT_IN_USE', message: expect.stringContaining(String(port)) });
  expect({ closed, endpoint: readdirSync(dir).includes('endpoint.json') }).toEqual({ closed: 1, endpoint: false });
  taken.close();
});

test.each([
  ['DISK_FAILED', 74],
  ['NEWER_FORMAT', 78],
  ['DAMAGED', 1],
] as const)('a peer that ends with %s ends the command with %i', async (code, exit) => {
  const running = start(true);
  await untilReady();
  end.resolve(new PeerError(code, 'The disk refused a write.'));
  expect(await running).toBe(exit);
  expect(JSON.parse(err)).toEqual({ error: code, message: 'The disk refused a write.' });
  expect({ closed, files: readdirSync(dir) }).toEqual({ closed: 1, files: [] });
});

test('where no endpoint can be had, the peer is closed again', async () => {
  rmSync(dir, { recursive: true });
  await expect(start(true)).rejects.toThrow();
  expect(closed).toBe(1);
  dir = mkdtempSync(join(tmpdir(), 'synod-serve-'));
});

test('a stop that hangs is given up', async () => {
  const running = start(false, () => new Promise(() => {}));
  await untilReady();
  stop.abort();
  expect(await running).toBe(0);
  expect(err).toMatch(/^\d\d:\d\d:\d\d error the stop was not clean; .+ error="Error: not done after 0\.1 s"\n$/);
});

test('the log is one line an event, for people and for programs', async () => {
  const lines: string[] = [];
  const write = async (text: string): Promise<void> => {
    lines.push(text);
  };
  makeLog(write, 'warn', false).warn({ peer: PEER, n: 3, text: 'two words' }, 'dial failed\nagain');
  makeLog(write, 'warn', false).info('not shown');
  makeLog(write, 'info', true).info({ n: 1 }, 'x');
  expect(lines[0]).toMatch(
    new RegExp(`^\\d\\d:\\d\\d:\\d\\d warn {2}dial failed again peer=${PEER} n=3 text="two words"\n$`),
  );
  const { time, ...said } = JSON.parse(lines[1] ?? '');
  expect(said).toEqual({ level: 'info', n: 1, message: 'x' });
  expect(new Date(time).toISOString()).toBe(time);
});

test('a log for people holds nothing that steers a terminal, and of a stack its first line', () => {
  const lines: string[] = [];
  const write = async (text: string): Promise<void> => {
    lines.push(text);
  };
  makeLog(write, 'info', false).error({ error: 'Error: why\n    at there' }, 'a \u001b[2J');
  expect(lines[0]?.slice(9)).toBe('error a \u{fffd}[2J error="Error: why"\n');
});

test.each(LOG_LEVELS)('at %s the log says what is at least as grave', (level) => {
  const levels: string[] = [];
  const log = makeLog(async (line) => void levels.push(JSON.parse(line).level), level, true);
  for (const each of ['debug', 'info', 'warn', 'error'] as const) log[each]({}, 'x');
  expect(levels).toEqual(LOG_LEVELS.slice(LOG_LEVELS.indexOf(level), 4));
});

test('a log that nobody reads does not pile up', () => {
  let written = 0;
  const stalled = (): Promise<void> => {
    written += 1;
    return new Promise(() => {});
  };
  const log = makeLog(stalled, 'info', true);
  for (let i = 0; i < 5_000; i++) log.info('x');
  expect(written).toBe(1_000);
});
