/**
 * Committed entries per second and latency: three Synod processes on loopback, their disks synced, beside three etcd processes where
 * `etcd` is installed, and the raw fdatasync floor of the same file system. Both get the same closed-loop client in a process of its own, at the
 * leader, with 256-byte entries. Rounds alternate, so that a noisy machine is noisy for both; medians are printed.
 *
 * `npm run bench -- [--rounds N] [--ms N] [--dir DIR]`
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { connect, type PeerConnection } from '../../src-main/cli/client.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    ms: { type: 'string', default: '8000' },
    dir: { type: 'string' },
    levels: { type: 'string', default: '1,16,64,256' },
  },
});
const ROUNDS = Number(values.rounds);
const MS = Number(values.ms);
const LEVELS = values.levels.split(',').map(Number);
/** What the design asks for: etcd's rate at 256 in flight, and at most twice its median latency at 1. */
const RATE_SHARE_MIN = 1;
const LATENCY_SHARE_MAX = 2;

const CLI = fileURLToPath(new URL('../../out/cli/synod.js', import.meta.url));
const CLIENT = fileURLToPath(new URL('./client.ts', import.meta.url));
const root = mkdtempSync(join(values.dir ?? tmpdir(), 'synod-bench-'));
const children: ChildProcess[] = [];

interface Figures {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

async function serve(dir: string, name: string): Promise<PeerConnection> {
  const child = spawn(
    process.execPath,
    [
      CLI,
      'serve',
      '--dir',
      dir,
      '--name',
      name,
      '--listen',
      '/ip4/127.0.0.1/tcp/0',
      '--no-mdns',
      '--json',
      '--log-level',
      'error',
    ],
    // The channel ends it when this program is gone.
    { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] },
  );
  children.push(child);
  await new Promise<void>((resolve, reject) => {
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).once('line', () => resolve());
    child.once('exit', () => reject(new Error(`${name} did not start`)));
  });
  return connect(dir, AbortSignal.timeout(10_000));
}

/** Three voters; returns the leader's directory. */
async function synod(): Promise<string> {
  const signal = AbortSignal.timeout(60_000);
  const dirs = ['a', 'b', 'c'].map((name) => join(root, name));
  const peers = await Promise.all(dirs.map((dir, i) => serve(dir, `p${i}`)));
  const [first] = peers as [PeerConnection];
  await first.service.create({ title: 'bench' }, signal);
  for (const peer of peers.slice(1)) {
    const invitation = { rights: 'writer', role: 'voter', expiresMs: 3_600_000, timeoutMs: 30_000 } as const;
    const { ticket } = await first.service.invite(invitation, signal);
    for await (const _event of peer.service.join({ ticket, timeoutMs: 30_000 }, signal));
  }
  for (;;) {
    const [group] = (await first.service.status({}, signal)).groups;
    if (group?.quorum.voters === 3 && group.quorum.reachable === 3 && group.leader !== null) {
      const statuses = await Promise.all(peers.map((peer) => peer.service.status({}, signal)));
      for (const peer of peers) peer.close();
      return dirs[statuses.findIndex((status) => status.peer === group.leader)] as string;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

/** Three members; returns the leader's client address, or null where etcd is not installed. */
async function etcd(): Promise<string | null> {
  const names = ['a', 'b', 'c'];
  const members: { name: string; client: string; peer: string }[] = [];
  for (const name of names) {
    members.push({
      name,
      client: `http://127.0.0.1:${await freePort()}`,
      peer: `http://127.0.0.1:${await freePort()}`,
    });
  }
  const cluster = members.map(({ name, peer }) => `${name}=${peer}`).join(',');
  for (const { name, client, peer } of members) {
    const child = spawn(
      'etcd',
      [
        '--name',
        name,
        '--data-dir',
        join(root, `etcd-${name}`),
        '--initial-cluster',
        cluster,
        '--initial-cluster-state',
        'new',
        '--listen-client-urls',
        client,
        '--advertise-client-urls',
        client,
        '--listen-peer-urls',
        peer,
        '--initial-advertise-peer-urls',
        peer,
        '--log-level',
        'error',
      ],
      { stdio: 'ignore' },
    );
    const failed = await Promise.race([
      new Promise<boolean>((resolve) => child.once('error', () => resolve(true))),
      new Promise<boolean>((resolve) => child.once('spawn', () => resolve(false))),
    ]);
    if (failed) return null;
    children.push(child);
  }
  const until = Date.now() + 30_000;
  while (Date.now() < until) {
    for (const { client } of members) {
      const status = await fetch(`${client}/v3/maintenance/status`, { method: 'POST', body: '{}' })
        .then((answer) => answer.json() as Promise<{ leader?: string; header?: { member_id?: string } }>)
        .catch(() => null);
      if (status?.leader !== undefined && status.leader !== '0' && status.leader === status.header?.member_id)
        return client;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error('etcd has no leader');
}

function measure(kind: 'synod' | 'etcd', target: string, inFlight: number): Promise<Figures> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [CLIENT, kind, target, String(inFlight), String(MS)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let out = '';
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk;
    });
    child.once('exit', (code) => {
      if (code === 0) resolve(JSON.parse(out) as Figures);
      else reject(new Error(`the ${kind} client ended with ${code}`));
    });
  });
}

/** One writer appending 256 bytes and syncing each time. */
function floor(): Figures {
  const file = openSync(join(root, 'floor'), 'w');
  const block = Buffer.alloc(256, 'x');
  const latencies: number[] = [];
  const started = performance.now();
  while (performance.now() - started < 1000) {
    const before = performance.now();
    writeSync(file, block);
    fdatasyncSync(file);
    latencies.push(performance.now() - before);
  }
  const perSecond = (latencies.length / (performance.now() - started)) * 1000;
  closeSync(file);
  latencies.sort((a, b) => a - b);
  const at = (share: number): number => latencies[Math.floor(latencies.length * share)] ?? 0;
  return { perSecond, p50Ms: at(0.5), p99Ms: at(0.99) };
}

const median = (numbers: readonly number[]): number =>
  numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;
const medians = (all: readonly Figures[]): Figures => ({
  perSecond: median(all.map((f) => f.perSecond)),
  p50Ms: median(all.map((f) => f.p50Ms)),
  p99Ms: median(all.map((f) => f.p99Ms)),
});
const row = (name: string, f: Figures): string =>
  `${name.padEnd(22)}${f.perSecond.toFixed(0).padStart(9)}${f.p50Ms.toFixed(2).padStart(10)}${f.p99Ms.toFixed(2).padStart(10)}`;

try {
  const leader = await synod();
  const other = await etcd();
  const results = new Map<string, Figures[]>();
  const add = (name: string, figures: Figures): void => {
    results.set(name, [...(results.get(name) ?? []), figures]);
  };
  for (let round = 0; round < ROUNDS; round++) {
    add('fdatasync floor', floor());
    for (const inFlight of LEVELS) {
      add(`synod, ${inFlight} in flight`, await measure('synod', leader, inFlight));
      if (other !== null) add(`etcd, ${inFlight} in flight`, await measure('etcd', other, inFlight));
    }
  }
  console.log(
    `\n${'medians of'.padEnd(13)}${String(ROUNDS).padEnd(9)}${'entries/s'.padStart(9)}${'p50 ms'.padStart(10)}${'p99 ms'.padStart(10)}`,
  );
  for (const [name, all] of [...results].sort((a, b) => (a[0] < b[0] ? 1 : -1))) console.log(row(name, medians(all)));
  if (other === null) console.log('etcd is not installed here, so there is nothing to compare with.');
  else {
    const of = (name: string): Figures => medians(results.get(name) ?? []);
    if (LEVELS.includes(256)) {
      const share = of('synod, 256 in flight').perSecond / of('etcd, 256 in flight').perSecond;
      console.log(
        `rate at 256 in flight: ${share.toFixed(2)} of etcd's (at least ${RATE_SHARE_MIN.toFixed(2)} wanted)`,
      );
    }
    if (LEVELS.includes(1)) {
      const share = of('synod, 1 in flight').p50Ms / of('etcd, 1 in flight').p50Ms;
      console.log(`p50 at 1 in flight: ${share.toFixed(2)} of etcd's (at most ${LATENCY_SHARE_MAX.toFixed(2)} wanted)`);
    }
  }
} finally {
  await Promise.all(
    children.map(
      (child) =>
        new Promise<void>((resolve) => {
          if (child.exitCode !== null) return resolve();
          child.once('exit', () => resolve());
          child.kill('SIGTERM');
          setTimeout(() => child.kill('SIGKILL'), 5000).unref();
        }),
    ),
  );
  rmSync(root, { recursive: true, force: true });
}
