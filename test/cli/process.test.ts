import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Endpoint, openEndpoint } from '../../src-main/peer/endpoint.ts';
import { writeEndpointFile } from '../../src-main/peer/endpoint-file.ts';
import { FakeService } from '../ipc/fake-service.ts';

const entry = fileURLToPath(new URL('../../src-main/cli/synod.ts', import.meta.url));

let dir: string;
let service: FakeService;
let endpoint: Endpoint;
const children: ChildProcess[] = [];

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'synod-cli-'));
  service = new FakeService();
  endpoint = await openEndpoint({ service, dir });
});

afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await endpoint.close();
  rmSync(dir, { recursive: true });
});

/** The command as people run it, in a process of its own; the peer is in this one. */
function start(...args: string[]) {
  const child = spawn(process.execPath, [entry, ...args], { env: { ...process.env, SYNOD_DIR: dir } });
  children.push(child);
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (data) => (out += data));
  child.stderr.setEncoding('utf8').on('data', (data) => (err += data));
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, out, err }));
  return { child, ended };
}

async function until(condition: () => boolean): Promise<void> {
  for (let waited = 0; !condition(); waited += 10) {
    if (waited > 5_000) throw new Error('it never came to be');
    await sleep(10);
  }
}

test('a command reaches the peer, prints and leaves', async () => {
  expect(await start('append', 'x').ended).toEqual({ code: 0, out: '#1 eaaaaaaa committed\n', err: '' });
});

test('standard input is read to its end', async () => {
  const { child, ended } = start('append', '-', '--lines');
  const lines = Array.from({ length: 3_000 }, (_, i) => `line ${i}`);
  child.stdin.end(lines.join('\n'));
  const { code, out } = await ended;
  expect(code).toBe(0);
  expect(out.trim().split('\n')).toEqual(lines.map((_, i) => `#${i + 1} eaaaaaaa committed`));
  expect(service.entries.map(({ params }) => params.text)).toEqual(lines);
});

test('a command line that is none exits 2', async () => {
  const { code, out, err } = await start('apend', 'x').ended;
  expect({ code, out }).toEqual({ code: 2, out: '' });
  expect(err).toMatch(/^There is no command "apend"\..*\n$/);
});

test('where the peer was killed it exits 3', async () => {
  const { url, token } = endpoint;
  await endpoint.close();
  expect((await start('status').ended).code).toBe(3);
  await writeEndpointFile(dir, { url, token });
  const { code, err } = await start('status', '--json').ended;
  expect(code).toBe(3);
  expect(JSON.parse(err)).toEqual({ error: 'NO_PEER', message: expect.stringContaining(dir) });
});

test('a peer that dies in the middle is named', async () => {
  service.gate = new Promise(() => {});
  const { ended } = start('append', 'x', '--json');
  await until(() => service.running === 1);
  await endpoint.close();
  const { code, err } = await ended;
  expect(code).toBe(1);
  expect(JSON.parse(err).error).toBe('STOPPING');
});

test.runIf(process.platform !== 'win32')('an interruption ends what waits, and frees it in the peer', async () => {
  service.gate = new Promise(() => {});
  const { child, ended } = start('append', 'x');
  await until(() => service.running === 1);
  child.kill('SIGINT');
  expect(await ended).toMatchObject({ code: 130, out: '', err: expect.stringMatching(/^Interrupted\..*\n$/) });
  await until(() => service.aborted === 1);
});

test.runIf(process.platform !== 'win32')('following ends well when it is interrupted', async () => {
  const { child, ended } = start('log', '--follow', '--json');
  await until(() => service.openStreams === 1 && service.pulled === 3);
  await sleep(50);
  child.kill('SIGINT');
  const { code, out, err } = await ended;
  expect({ code, err, lines: out.trim().split('\n').length }).toEqual({ code: 0, err: '', lines: 3 });
  await until(() => service.openStreams === 0);
});

test('a slow reader gets everything', async () => {
  const { child, ended } = start('log', '--json', '--limit', '600');
  child.stdout.on('data', () => {
    child.stdout.pause();
    setTimeout(() => child.stdout.resume(), 20);
  });
  const { code, out } = await ended;
  expect(code).toBe(0);
  expect(out.trim().split('\n')).toHaveLength(600);
});

test('a reader that leaves early is no failure', async () => {
  const { child, ended } = start('log', '--json', '--limit', '100000');
  await once(child.stdout, 'data');
  child.stdout.destroy();
  expect(await ended).toMatchObject({ code: 0, err: '' });
  await until(() => service.openStreams === 0);
  expect(service.pulled).toBeLessThan(100_000);
});
