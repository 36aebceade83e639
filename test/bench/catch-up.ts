/**
 * Whether a member that comes back and fetches much delays the commits of the others: the median of commits with two of three running, with and without the third
 * catching up, in one run and in turns. The ratio is what counts; the times are this machine's.
 *
 * The three share processors and disk here, as machines don't: with `--aside` the third has the lowest priority, and with `--third-dir` its data lies on a disk of its own, or
 * in memory. What is left of the delay then is what those who serve it do.
 *
 * It takes what costs less (`snapshot-choice.ts`): values, where all three have more than what it missed before (`--state`); with none and in one round a snapshot.
 *
 * `npm run bench:catch-up -- [--rounds N] [--mib N] [--state MIB] [--dir DIR] [--third-dir DIR] [--aside]`
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { constants, setPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { connect, type PeerConnection } from '../../src-main/cli/client.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    mib: { type: 'string', default: '60' },
    state: { type: 'string', default: '90' },
    dir: { type: 'string' },
    'third-dir': { type: 'string' },
    aside: { type: 'boolean', default: false },
  },
});
const ROUNDS = Number(values.rounds);
/** Written while the third is away, in each round. */
const MISSED_BYTES = Number(values.mib) * 1024 * 1024;
/** What all three have before. */
const STATE_BYTES = Number(values.state) * 1024 * 1024;
const LARGE_ENTRY_BYTES = 64 * 1024;
/** Commits that are measured: small ones, in a closed loop. */
const ENTRY_BYTES = 256;
const IN_FLIGHT = 4;
/** How long the two are measured alone. Milliseconds. */
const ALONE_MS = 4_000;
const LIMIT_MS = 120_000;

const CLI = fileURLToPath(new URL('../../out/cli/synod.js', import.meta.url));
const makeRoot = (dir: string): string => mkdtempSync(join(dir, 'synod-catch-up-'));
const root = makeRoot(values.dir ?? tmpdir());
const thirdRoot = values['third-dir'] === undefined ? root : makeRoot(values['third-dir']);
const never = new AbortController().signal;
const children = new Set<ChildProcess>();

interface Peer {
  readonly id: string;
  readonly child: ChildProcess;
  readonly connection: PeerConnection;
}

async function start(name: string, port: number): Promise<Peer> {
  const isThird = name === 'p2';
  const dir = join(isThird ? thirdRoot : root, name);
  const listen = `/ip4/127.0.0.1/tcp/${port}`;
  const args = ['serve', '--dir', dir, '--listen', listen, '--no-mdns', '--json', '--log-level', 'error'];
  // The channel ends it when this program is gone.
  const child = spawn(process.execPath, [CLI, ...args], { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] });
  if (isThird && values.aside) setPriority(child.pid as number, constants.priority.PRIORITY_LOW);
  children.add(child);
  child.once('exit', () => children.delete(child));
  const ready = once(createInterface({ input: child.stdout as NodeJS.ReadableStream }), 'line');
  const line = await Promise.race([ready, once(child, 'exit').then(() => null)]);
  if (line === null) throw new Error(`${name} did not start`);
  const { peer: id } = JSON.parse(line[0] as string) as { peer: string };
  return { id, child, connection: await connect(dir, AbortSignal.timeout(LIMIT_MS)) };
}

async function end({ child, connection }: Peer): Promise<void> {
  connection.close();
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await exited;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

const statusOf = async ({ connection }: Peer) => (await connection.service.status({}, never)).groups[0];

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + LIMIT_MS;
  while (!(await isSo())) {
    if (performance.now() > deadline) throw new Error(`it never came to be: ${what}`);
    await sleep(50);
  }
}

async function append(peer: Peer, bytes: number): Promise<number> {
  const before = performance.now();
  const text = randomBytes(bytes / 2).toString('hex');
  const { status, why } = await peer.connection.service.append({ text, wait: 'committed', timeoutMs: LIMIT_MS }, never);
  if (status !== 'committed') throw new Error(`not committed: ${why}`);
  return performance.now() - before;
}

async function appendLarge(peer: Peer, bytes: number): Promise<void> {
  let left = bytes / LARGE_ENTRY_BYTES;
  const writer = async (): Promise<void> => {
    while (left-- > 0) await append(peer, LARGE_ENTRY_BYTES);
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, writer));
}

/** The time of each commit until `isOver`. Milliseconds. */
async function measure(peer: Peer, isOver: () => Promise<boolean>): Promise<number[]> {
  const times: number[] = [];
  let isEnded = false;
  const writers = Array.from({ length: IN_FLIGHT }, async () => {
    while (!isEnded) times.push(await append(peer, ENTRY_BYTES));
  });
  await until('the end of it', isOver);
  isEnded = true;
  await Promise.all(writers);
  return times;
}

const quantile = (times: readonly number[], share: number): number =>
  times.toSorted((a, b) => a - b)[Math.floor(times.length * share)] ?? Number.NaN;
const row = (name: string, times: readonly number[]): string =>
  `${name.padEnd(28)}${String(times.length).padStart(9)}${quantile(times, 0.5).toFixed(2).padStart(10)}${quantile(times, 0.99).toFixed(2).padStart(10)}`;

try {
  const ports = [await freePort(), await freePort(), await freePort()] as const;
  const peers = await Promise.all(ports.map((port, at) => start(`p${at}`, port)));
  const [first, second] = peers as [Peer, Peer, Peer];
  let third = peers[2] as Peer;
  await first.connection.service.create({ title: 'bench' }, never);
  for (const { connection } of [second, third]) {
    const invitation = { rights: 'writer', role: 'voter', expiresMs: 3_600_000, timeoutMs: LIMIT_MS } as const;
    const { ticket } = await first.connection.service.invite(invitation, never);
    for await (const _event of connection.service.join({ ticket, timeoutMs: LIMIT_MS }, never));
  }
  await until('three voters', async () => {
    const status = await statusOf(first);
    return status?.quorum.voters === 3 && status.quorum.reachable === 3 && status.leader !== null;
  });

  await appendLarge(first, STATE_BYTES);
  const ratios: number[] = [];
  const alone: number[] = [];
  const beside: number[] = [];
  const together: number[] = [];
  let fetchingMs = 0;
  for (let round = 0; round < ROUNDS; round++) {
    await end(third);
    await until('one of the two leads', async () => {
      const status = await statusOf(first);
      return status?.canCommit === true && status.leader !== third.id;
    });
    const leader = (await statusOf(first))?.leader === first.id ? first : second;
    await appendLarge(leader, MISSED_BYTES);
    const endMs = performance.now() + ALONE_MS;
    const before = await measure(leader, async () => performance.now() > endMs);
    alone.push(...before);
    third = await start('p2', ports[2]);
    // Its own start costs processor time; what is measured is the fetching.
    const missedAt = (await statusOf(leader))?.applied ?? 0;
    const startedMs = performance.now();
    const meanwhile = await measure(leader, async () => ((await statusOf(third))?.applied ?? 0) >= missedAt);
    beside.push(...meanwhile);
    ratios.push(quantile(meanwhile, 0.5) / quantile(before, 0.5));
    fetchingMs += performance.now() - startedMs;
    const overMs = performance.now() + ALONE_MS;
    together.push(...(await measure(leader, async () => performance.now() > overMs)));
  }
  console.log(`\n${'commits, ms'.padEnd(28)}${'count'.padStart(9)}${'p50'.padStart(10)}${'p99'.padStart(10)}`);
  console.log(row('two of three', alone));
  console.log(row(`beside one that fetches ${values.mib} MiB`, beside));
  console.log(row('all three', together));
  const ratio = (to: readonly number[]): string => (quantile(beside, 0.5) / quantile(to, 0.5)).toFixed(2);
  console.log(`fetched in ${(fetchingMs / ROUNDS / 1_000).toFixed(1)} s a round`);
  console.log(`p50 beside it: ${ratio(alone)} of that of two, ${ratio(together)} of that of all three`);
  console.log(`by round, of that of two: ${ratios.map((each) => each.toFixed(2)).join(', ')}`);
} finally {
  await Promise.all(
    [...children].map(async (child) => {
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    }),
  );
  for (const each of new Set([root, thirdRoot])) rmSync(each, { recursive: true, force: true, maxRetries: 5 });
}
