/**
 * How long a group can't commit when its leader is killed: three Synod processes under their defaults, beside three etcd processes where `etcd` is
 * installed. A writer in a process of its own goes on all the time through a machine that survives. The leader is killed with SIGKILL, and what counts is the
 * time from there to the first acknowledgement of an append that was begun afterwards. Then it is started again, and the next kill waits until all
 * three are whole. The two take turns, so that a noisy machine is noisy for both.
 *
 * `npm run bench:failover -- [--kills N] [--dir DIR] [--each]`
 */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { GroupStatus } from '../../shared/ipc/contract.ts';
import { connect, type PeerConnection } from '../../src-main/cli/client.ts';
import type { Order, Report } from './failover-writer.ts';

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '30' },
    dir: { type: 'string' },
    each: { type: 'boolean', default: false },
  },
});
const KILLS = Number(values.kills);
/** What is wanted. Milliseconds. */
const GOAL_MS = 2_000;
/** For whatever must come to be. Milliseconds. */
const LIMIT_MS = 60_000;
/** At most, before a kill, so that it comes at no fixed time of the others' clocks. Milliseconds. */
const PAUSE_MS = 1_000;

const CLI = fileURLToPath(new URL('../../out/cli/synod.js', import.meta.url));
const WRITER = fileURLToPath(new URL('./failover-writer.ts', import.meta.url));
const root = mkdtempSync(join(values.dir ?? tmpdir(), 'synod-failover-'));
const children = new Set<ChildProcess>();

const nowMs = (): number => performance.timeOrigin + performance.now();

async function until<T>(what: string, look: () => Promise<T | null>): Promise<T> {
  const deadline = performance.now() + LIMIT_MS;
  for (;;) {
    const seen = await look();
    if (seen !== null) return seen;
    if (performance.now() > deadline) throw new Error(`it never came to be: ${what}`);
    await sleep(50);
  }
}

/** Three machines of one kind. */
interface Trio {
  readonly name: string;
  /** Waits until all three are whole, and says which of them leads. */
  leader(): Promise<number>;
  /** What the writer is told to write through. */
  target(at: number): string;
  kill(at: number): Promise<void>;
  start(at: number): Promise<void>;
  /** What the survivors said of it, by name, in milliseconds after the kill. */
  stations?(at: number, through: number, killedMs: number): Readonly<Record<string, number>>;
}

function child(command: string, args: readonly string[], hasChannel = false): ChildProcess {
  // The channel ends a peer when this program is gone.
  const made = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe', ...(hasChannel ? ['ipc' as const] : [])] });
  children.add(made);
  made.once('exit', () => children.delete(made));
  return made;
}

async function killed(victim: ChildProcess): Promise<void> {
  const exited = once(victim, 'exit');
  victim.kill('SIGKILL');
  await exited;
}

interface Said {
  readonly time: number;
  readonly message: string;
  readonly leader?: string | null;
  readonly peer?: string;
}

class Synod implements Trio {
  readonly name = 'synod';
  readonly #dirs = ['a', 'b', 'c'].map((each) => join(root, each));
  readonly #children: ChildProcess[] = [];
  readonly #connections: PeerConnection[] = [];
  readonly #ports: number[] = [];
  readonly #said: Said[][] = [[], [], []];
  readonly #ids: string[] = [];

  static async found(): Promise<Synod> {
    const trio = new Synod();
    const signal = AbortSignal.timeout(LIMIT_MS);
    for (const at of [0, 1, 2]) {
      trio.#ports[at] = await freePort();
      await trio.start(at);
    }
    const [first, ...others] = trio.#connections as [PeerConnection, ...PeerConnection[]];
    await first.service.create({ title: 'bench' }, signal);
    for (const { service } of others) {
      const invitation = { rights: 'writer', role: 'voter', expiresMs: 3_600_000, timeoutMs: LIMIT_MS } as const;
      const { ticket } = await first.service.invite(invitation, signal);
      for await (const _event of service.join({ ticket, timeoutMs: LIMIT_MS }, signal));
    }
    return trio;
  }

  async start(at: number): Promise<void> {
    const listen = `/ip4/127.0.0.1/tcp/${this.#ports[at]}`;
    const dir = this.#dirs[at] as string;
    const made = child(process.execPath, [CLI, 'serve', '--dir', dir, '--listen', listen, '--no-mdns', '--json'], true);
    this.#children[at] = made;
    createInterface({ input: made.stderr as NodeJS.ReadableStream }).on('line', (line) => this.#hear(at, line));
    const ready = once(createInterface({ input: made.stdout as NodeJS.ReadableStream }), 'line');
    const line = await Promise.race([ready, once(made, 'exit').then(() => null)]);
    if (line === null) throw new Error('a peer did not start');
    this.#ids[at] = (JSON.parse(line[0] as string) as { peer: string }).peer;
    this.#connections[at] = await connect(dir, AbortSignal.timeout(LIMIT_MS));
  }

  #hear(at: number, line: string): void {
    if (!line.startsWith('{"level"')) return;
    const { time, ...said } = JSON.parse(line) as Omit<Said, 'time'> & { time: string };
    this.#said[at]?.push({ ...said, time: Date.parse(time) });
  }

  leader(): Promise<number> {
    return until('three whole peers', async () => {
      const statuses = await Promise.all(this.#connections.map((each) => each.service.status({}, never)));
      const groups = statuses.map(({ groups: [group] }) => group as GroupStatus);
      const isWhole = groups.every(({ canCommit, quorum, leader, role, applied }) => {
        const isOne = leader === groups[0]?.leader && applied === groups[0]?.applied;
        return canCommit && isOne && role === 'voter' && quorum.voters === 3 && quorum.reachable === 3;
      });
      const at = this.#ids.indexOf(groups[0]?.leader ?? '');
      return isWhole && at >= 0 ? at : null;
    });
  }

  target(at: number): string {
    return this.#dirs[at] as string;
  }

  async kill(at: number): Promise<void> {
    for (const said of this.#said) said.splice(0);
    this.#connections[at]?.close();
    await killed(this.#children[at] as ChildProcess);
  }

  stations(at: number, through: number, killedMs: number): Record<string, number> {
    const gone = this.#ids[at];
    const survivors = this.#said.filter((_, other) => other !== at).flat();
    const first = (said: readonly Said[], isIt: (each: Said) => boolean): number =>
      Math.min(...said.filter(isIt).map(({ time }) => time)) - killedMs;
    const isSuccession = ({ leader }: Said): boolean => typeof leader === 'string' && leader !== gone;
    return {
      'connection lost': first(survivors, ({ message, peer }) => message === 'disconnected' && peer === gone),
      'somebody else leads': first(survivors, isSuccession),
      'known where it is written': first(this.#said[through] ?? [], isSuccession),
    };
  }
}

interface EtcdMember {
  readonly client: string;
  readonly args: readonly string[];
}

class Etcd implements Trio {
  readonly name = 'etcd';
  readonly #members: readonly EtcdMember[];
  readonly #children: ChildProcess[] = [];

  private constructor(members: readonly EtcdMember[]) {
    this.#members = members;
  }

  /** Null where it is not installed. */
  static async found(): Promise<Etcd | null> {
    const places: { name: string; client: string; peer: string }[] = [];
    for (const name of ['a', 'b', 'c']) {
      const [client, peer] = [await freePort(), await freePort()].map((port) => `http://127.0.0.1:${port}`);
      places.push({ name, client: client as string, peer: peer as string });
    }
    const cluster = places.map(({ name, peer }) => `${name}=${peer}`).join(',');
    const members = places.map(({ name, client, peer }) => {
      const own = ['--name', name, '--data-dir', join(root, `etcd-${name}`), '--log-level', 'error'];
      const clients = ['--listen-client-urls', client, '--advertise-client-urls', client];
      const peers = ['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer];
      const founding = ['--initial-cluster', cluster, '--initial-cluster-state', 'new'];
      return { client, args: [...own, ...clients, ...peers, ...founding] };
    });
    const trio = new Etcd(members);
    try {
      for (const at of [0, 1, 2]) await trio.start(at);
      return trio;
    } catch {
      return null;
    }
  }

  async start(at: number): Promise<void> {
    const made = child('etcd', (this.#members[at] as EtcdMember).args);
    made.stdout?.resume();
    made.stderr?.resume();
    this.#children[at] = made;
    await once(made, 'spawn');
  }

  leader(): Promise<number> {
    return until('three whole members', async () => {
      const all = await Promise.all(this.#members.map(({ client }) => status(client)));
      const [first] = all;
      if (!first || all.some((each) => each === null || each.leader !== first.leader || each.raftIndex === undefined))
        return null;
      const applied = new Set(all.map((each) => each?.raftIndex));
      const at = all.findIndex((each) => each?.header?.member_id === first.leader);
      return applied.size === 1 && at >= 0 ? at : null;
    });
  }

  target(at: number): string {
    return (this.#members[at] as EtcdMember).client;
  }

  kill(at: number): Promise<void> {
    return killed(this.#children[at] as ChildProcess);
  }
}

interface EtcdStatus {
  readonly leader?: string;
  readonly raftIndex?: string;
  readonly header?: { readonly member_id?: string };
}

const status = (client: string): Promise<EtcdStatus | null> =>
  fetch(`${client}/v3/maintenance/status`, { method: 'POST', body: '{}', signal: AbortSignal.timeout(1_000) })
    .then((answer) => answer.json() as Promise<EtcdStatus>)
    .catch(() => null);

const never = new AbortController().signal;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

class Writer {
  readonly #child: ChildProcess;

  constructor(kind: string) {
    this.#child = fork(WRITER, [kind], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    children.add(this.#child);
  }

  tell(order: Order): void {
    this.#child.send(order);
  }

  async heard<Kind extends Report['kind']>(kind: Kind): Promise<Extract<Report, { kind: Kind }>> {
    const signal = AbortSignal.timeout(LIMIT_MS);
    for (;;) {
      const [report] = (await once(this.#child, 'message', { signal })) as [Report];
      if (report.kind === kind) return report as Extract<Report, { kind: Kind }>;
    }
  }
}

interface Outage {
  readonly ms: number;
  readonly stations: Readonly<Record<string, number>>;
}

/** One kill, from a whole group to a whole group. */
async function outage(trio: Trio, writer: Writer): Promise<Outage> {
  const at = await trio.leader();
  const writing = writer.heard('writing');
  const through = (at + 1) % 3;
  writer.tell({ kind: 'through', target: trio.target(through) });
  await writing;
  await sleep(PAUSE_MS * Math.random());
  const acknowledged = writer.heard('acknowledged');
  const killedMs = nowMs();
  const dead = trio.kill(at);
  writer.tell({ kind: 'since', ms: killedMs });
  await dead;
  const { ms } = await acknowledged;
  const stations = trio.stations?.(at, through, killedMs) ?? {};
  writer.tell({ kind: 'rest' });
  await trio.start(at);
  return { ms: ms - killedMs, stations };
}

function row(name: string, numbers: readonly number[]): string {
  const sorted = numbers.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.ceil((sorted.length - 1) * share)] ?? Number.NaN;
  const cells = [at(0), at(0.5), at(0.9), at(1)].map((ms) => ms.toFixed(0).padStart(8));
  return `${name.padEnd(30)}${cells.join('')}`;
}

try {
  const trios: Trio[] = [await Synod.found()];
  const other = await Etcd.found();
  if (other !== null) trios.push(other);
  const runs = trios.map((trio) => ({ trio, writer: new Writer(trio.name), outages: [] as Outage[] }));
  for (let round = 0; round < KILLS; round++) {
    for (const { trio, writer, outages } of runs) {
      const one = await outage(trio, writer);
      outages.push(one);
      if (values.each) console.log(trio.name, one.ms.toFixed(0), JSON.stringify(one.stations));
    }
  }
  const columns = ['min', 'p50', 'p90', 'max'].map((each) => each.padStart(8)).join('');
  console.log(`\n${`${KILLS} kills of the leader, ms`.padEnd(30)}${columns}`);
  for (const { trio, outages } of runs) {
    console.log(
      row(
        `${trio.name}: committed again`,
        outages.map(({ ms }) => ms),
      ),
    );
    for (const station of Object.keys(outages[0]?.stations ?? {})) {
      console.log(
        row(
          `  ${station}`,
          outages.map(({ stations }) => stations[station] ?? Number.NaN),
        ),
      );
    }
  }
  if (other === null) console.log('etcd is not installed here, so there is nothing to compare with.');
  const longest = Math.max(...(runs[0]?.outages ?? []).map(({ ms }) => ms));
  console.log(`the longest of Synod's: ${longest.toFixed(0)} ms (at most ${GOAL_MS} wanted)`);
} finally {
  await Promise.all([...children].map((each) => (each.exitCode === null ? killed(each) : undefined)));
  rmSync(root, { recursive: true, force: true, maxRetries: 5 });
}
