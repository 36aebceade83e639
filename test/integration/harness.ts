// Real peers: `synod serve` of the built command, each a process of its own in a directory of its own, over loopback.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeEach, expect } from 'vitest';
import type { GroupStatus, LogLine, PeerService, Role } from '../../shared/ipc/contract.ts';
import { connect, type PeerConnection } from '../../src-main/cli/client.ts';

export const root: string = fileURLToPath(new URL('../..', import.meta.url));
const entry = join(root, 'out/cli/synod.js');

/** For whatever must come to be: so long that only a fault is longer. Milliseconds. */
const LIMIT_MS = 90_000;
/** What is kept of a process's standard error. UTF-16 units. */
const STDERR_MAX = 200_000;

/** What a command line came to. */
export interface Outcome {
  readonly code: number | null;
  /** Standard output, as it is and as the objects of its lines. */
  readonly out: string;
  // biome-ignore lint/suspicious/noExplicitAny: the commands' answers, whose shapes the tests are about
  readonly lines: any[];
  readonly err: string;
  /** The code of the error on standard error; undefined without one. */
  readonly error: string | undefined;
}

/** Looks again until there is something to see. */
export async function until<T>(
  what: string,
  look: () => Promise<T | null | undefined | false> | T | null | undefined | false,
  limitMs = LIMIT_MS,
): Promise<T> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const seen = await look();
    if (seen !== null && seen !== undefined && seen !== false) return seen;
    if (performance.now() > deadline) throw new Error(`after ${limitMs / 1_000} s still not: ${what}`);
    await sleep(50);
  }
}

/** A running command whose end is waited for apart. */
export interface Running {
  readonly child: ChildProcess;
  readonly lines: readonly unknown[];
  readonly ended: Promise<Outcome>;
}

/** Runs `synod` with these very arguments. @param nodeArgs for the program that runs it */
export function launch(args: readonly string[], stdin?: string, nodeArgs: readonly string[] = []): Running {
  const child = spawn(process.execPath, [...nodeArgs, entry, ...args], {
    stdio: [stdin === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  });
  child.stdin?.end(stdin);
  let out = '';
  let err = '';
  const lines: unknown[] = [];
  child.stdout?.setEncoding('utf8').on('data', (text) => (out += text));
  child.stderr?.setEncoding('utf8').on('data', (text) => (err += text));
  if (args.includes('--json') && child.stdout) {
    createInterface({ input: child.stdout }).on('line', (line) => lines.push(JSON.parse(line)));
  }
  const ended = once(child, 'close').then(([code]) => ({
    code: code as number | null,
    out,
    lines,
    err,
    error: errorIn(err),
  }));
  return { child, lines, ended };
}

function errorIn(err: string): string | undefined {
  const line = err.split('\n').findLast((each) => each.startsWith('{"error":'));
  return line === undefined ? undefined : JSON.parse(line).error;
}

/** One data directory and the process that serves it, if it runs. */
export class Peer {
  readonly name: string;
  readonly dir: string;
  /** What all processes so far had to say. */
  stderr = '';
  /** What went wrong that nobody asked for. */
  readonly troubles: string[] = [];
  id = '';
  address = '';
  starts = 0;
  #port = 0;
  #child: ChildProcess | null = null;
  #ended: Promise<number | null> = Promise.resolve(null);
  /** The end of the process was asked for. */
  #isEndWanted = false;
  #connection: Promise<PeerConnection> | null = null;

  /** Where its page is, while it runs; null without one. */
  web: string | null = null;
  readonly #hasPage: boolean;
  readonly #nodeArgs: readonly string[];
  readonly #serveArgs: readonly string[];
  #webPort = 0;

  /**
   * @param options.nodeArgs for the program that runs it, such as a bound on its memory
   * @param options.serveArgs for `synod serve`, after the harness' own
   */
  constructor(name: string, dir: string, options: PeerArgs & { readonly hasPage?: boolean } = {}) {
    const { hasPage = false, nodeArgs = [], serveArgs = [] } = options;
    this.name = name;
    this.dir = dir;
    this.#hasPage = hasPage;
    this.#nodeArgs = nodeArgs;
    this.#serveArgs = serveArgs;
  }

  get isRunning(): boolean {
    return this.#child !== null;
  }

  /** Of its process, while it runs. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Starts the process, on the port that it had before or on another one, and waits until it is ready. */
  async start({ otherPort = false } = {}): Promise<this> {
    if (this.#child !== null) throw new Error(`${this.name} runs already`);
    if (this.#port === 0 || otherPort) this.#port = await freePort();
    const listen = `/ip4/127.0.0.1/tcp/${this.#port}`;
    if (this.#hasPage) this.#webPort ||= await freePort();
    const page = this.#hasPage ? ['--web', String(this.#webPort)] : [];
    const args = [
      'serve',
      '--dir',
      this.dir,
      '--name',
      this.name,
      '--listen',
      listen,
      '--no-mdns',
      '--json',
      ...page,
      ...this.#serveArgs,
    ];
    // The channel ends a child whose test was killed.
    const stdio = ['ignore', 'pipe', 'pipe', 'ipc'] as const;
    const child = spawn(process.execPath, [...this.#nodeArgs, entry, ...args], { stdio: [...stdio] });
    this.#child = child;
    this.#isEndWanted = false;
    this.starts++;
    child.stderr?.setEncoding('utf8').on('data', (text) => {
      this.stderr = (this.stderr + text).slice(-STDERR_MAX);
    });
    createInterface({ input: child.stderr as NodeJS.ReadableStream }).on('line', (line) => this.#judge(line));
    this.#ended = once(child, 'close').then(([code, signal]) => {
      this.#child = null;
      this.#hangUp();
      if (!this.#isEndWanted) this.troubles.push(`ended by itself: ${signal ?? `code ${code}`}`);
      return code;
    });
    const output = createInterface({ input: child.stdout as NodeJS.ReadableStream });
    const ready = once(output, 'line').then(([line]) => JSON.parse(line as string));
    const event = await Promise.race([ready, this.#ended.then(() => null)]);
    if (event === null) throw new Error(`${this.name} ended before it was ready:\n${this.stderr.slice(-2_000)}`);
    expect(event).toMatchObject({ event: 'ready', peer: expect.stringMatching(/^12D3KooW/) });
    if (this.id !== '') expect(event.peer).toBe(this.id);
    this.id = event.peer;
    this.address = event.addresses[0];
    this.web = event.web;
    return this;
  }

  /** As Ctrl+C or a shutdown does it. Returns the exit code. */
  async stop(): Promise<number | null> {
    this.signal('SIGTERM');
    return this.#ended;
  }

  /** As a power cut does it to the process. */
  async kill(): Promise<void> {
    this.signal('SIGKILL');
    await this.#ended;
  }

  /** As a machine that hangs, or sleeps: connections stay, nothing is answered. */
  pause(): void {
    this.signal('SIGSTOP');
  }

  resume(): void {
    this.signal('SIGCONT');
  }

  signal(signal: NodeJS.Signals): void {
    if (signal === 'SIGKILL' || signal === 'SIGTERM') this.#isEndWanted = true;
    this.#child?.kill(signal);
  }

  /** Runs a command against this peer, with `--json`. */
  synod(...args: readonly string[]): Promise<Outcome> {
    return this.launch(args).ended;
  }

  launch([command = '', ...args]: readonly string[], stdin?: string): Running {
    return launch([command, '--dir', this.dir, '--json', ...args], stdin);
  }

  /** Runs a command that has to succeed, and returns what it printed. */
  async does(...args: readonly string[]): Promise<Outcome['lines']> {
    const { code, lines, err } = await this.synod(...args);
    expect({ code, err }, `${this.name}: synod ${args.join(' ')}`).toMatchObject({ code: 0 });
    return lines;
  }

  /** Asks the peer without a process in between. */
  async service(): Promise<PeerService> {
    if (this.#connection === null) {
      const connection = connect(this.dir, AbortSignal.timeout(LIMIT_MS));
      this.#connection = connection;
      connection.catch(() => {
        if (this.#connection === connection) this.#connection = null;
      });
    }
    return (await this.#connection).service;
  }

  async status(group?: string): Promise<GroupStatus> {
    const { groups } = await (await this.service()).status(group === undefined ? {} : { group }, never);
    expect(groups.length, `${this.name} is in so many groups`).toBe(1);
    return groups[0] as GroupStatus;
  }

  async log(...args: readonly string[]): Promise<LogLine[]> {
    return this.does('log', ...args);
  }

  #hangUp(): void {
    this.#connection?.then(
      (connection) => connection.close(),
      () => undefined,
    );
    this.#connection = null;
  }

  /** A peer that is well reports no errors of its own, whatever happens around it. */
  #judge(line: string): void {
    const isError = /^\{"level":"error"/.test(line) || !line.startsWith('{');
    if (isError) this.troubles.push(line);
  }
}

export const never: AbortSignal = new AbortController().signal;

/** What else a peer is started with, by its name. */
export interface PeerArgs {
  readonly nodeArgs?: readonly string[];
  readonly serveArgs?: readonly string[];
}

interface WorldOptions {
  /** Each peer serves the window as a page, too. */
  readonly hasPages?: boolean;
  readonly argsOf?: (name: string) => PeerArgs;
}

/** The peers of one test, and the folder with their data. */
export class World {
  readonly peers: Peer[] = [];
  /** Made with the first peer. */
  #dir: string | null = null;
  readonly #hasPages: boolean;
  readonly #argsOf: (name: string) => PeerArgs;

  constructor({ hasPages = false, argsOf = () => ({}) }: WorldOptions = {}) {
    this.#hasPages = hasPages;
    this.#argsOf = argsOf;
  }

  /** A peer that was not started yet. */
  peer(name: string, nodeArgs: readonly string[] = []): Peer {
    this.#dir ??= mkdtempSync(join(tmpdir(), 'synod-it-'));
    const args = this.#argsOf(name);
    const peer = new Peer(name, join(this.#dir, name.toLowerCase()), {
      ...args,
      hasPage: this.#hasPages,
      nodeArgs: [...nodeArgs, ...(args.nodeArgs ?? [])],
    });
    this.peers.push(peer);
    return peer;
  }

  start(name: string, nodeArgs: readonly string[] = []): Promise<Peer> {
    return this.peer(name, nodeArgs).start();
  }

  /** A group of voters, the first of them its founder, in which all decide together. */
  async group<const Names extends readonly string[]>(
    ...names: Names
  ): Promise<{ -readonly [Name in keyof Names]: Peer }> {
    const peers = await Promise.all(names.map((name) => this.start(name)));
    const [founder, ...others] = peers as [Peer, ...Peer[]];
    await founder.does('create', 'Log');
    for (const other of others) await enter(other, founder, '--role', 'voter');
    // It answers once the new voters decide about everything that is still open, too.
    await founder.does('promote', (others.at(-1) ?? founder).id);
    await Promise.all(peers.map((peer) => untilTogether(peer, peers.length)));
    return peers as { -readonly [Name in keyof Names]: Peer };
  }

  /** Ends every process and tells what went wrong unasked. */
  async close(): Promise<string[]> {
    for (const peer of this.peers) {
      peer.signal('SIGCONT');
      await peer.kill();
    }
    if (this.#dir !== null) rmSync(this.#dir, { recursive: true, force: true, maxRetries: 5 });
    return this.peers.flatMap((peer) => peer.troubles.map((trouble) => `${peer.name}: ${trouble}`));
  }
}

/** A world for each test; a peer that ended or complained by itself fails the test. */
export function worldForEach(options: WorldOptions = {}): () => World {
  let world: World;
  beforeEach(() => {
    world = new World(options);
  });
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') tellAll(world);
    expect(await world.close()).toEqual([]);
  });
  return () => world;
}

/** One world for all tests of a `describe`. */
export function worldForAll(options: WorldOptions = {}): World {
  const world = new World(options);
  afterEach(({ task }) => {
    if (task.result?.state === 'fail') tellAll(world);
  });
  afterAll(async () => {
    expect(await world.close()).toEqual([]);
  });
  return world;
}

function tellAll(world: World): void {
  for (const { name, stderr } of world.peers) {
    console.error(`--- ${name}\n${stderr.split('\n').slice(-25).join('\n')}`);
  }
}

export async function ticketOf(host: Peer, ...options: readonly string[]): Promise<string> {
  const [{ ticket }] = (await host.does('invite', ...options)) as [{ ticket: string }];
  return ticket;
}

/** Lets a peer in by a ticket of another one. */
export async function enter(
  guest: Peer,
  host: Peer,
  ...options: readonly string[]
): Promise<{ group: string; role: Role }> {
  const [joined] = await guest.does('join', await ticketOf(host, ...options));
  return joined;
}

/** All voters are in force and connected. */
export function untilTogether(peer: Peer, count: number): Promise<GroupStatus> {
  return untilStatus(peer, `${count} voters are together`, ({ role, canCommit, quorum }) => {
    return role === 'voter' && canCommit && quorum.voters === count && quorum.reachable === count;
  });
}

export async function untilStatus(
  peer: Peer,
  what: string,
  isSo: (status: GroupStatus) => boolean,
  group?: string,
): Promise<GroupStatus> {
  let last: GroupStatus | undefined;
  try {
    return await until(`${peer.name}: ${what}`, async () => {
      last = await peer.status(group);
      return isSo(last) && last;
    });
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${JSON.stringify(last, null, 1)}`, { cause: error });
  }
}

/** Waits until all have applied the same and have nothing pending, and holds their hashes against each other. */
export async function untilAgreed(...peers: readonly Peer[]): Promise<GroupStatus> {
  let last: GroupStatus[] = [];
  try {
    return await until(`${peers.map(({ name }) => name).join(', ')} agree`, async () => {
      last = await Promise.all(peers.map((peer) => peer.status()));
      const [first] = last as [GroupStatus];
      // The same prefix has the same hashes, at any time.
      for (const { applied, digest, state } of last) {
        if (applied === first.applied) expect({ digest, state }).toEqual({ digest: first.digest, state: first.state });
      }
      return last.every(({ applied, pending }) => applied === first.applied && pending === 0) && first;
    });
  } catch (error) {
    const brief = last.map(({ applied, chosen, pending, leader, why }) => ({ applied, chosen, pending, leader, why }));
    throw new Error(`${(error as Error).message}\n${JSON.stringify(brief, null, 1)}`, { cause: error });
  }
}

/** Who leads, as a peer sees it. */
export async function leaderOf(peers: readonly Peer[]): Promise<Peer> {
  const asked = peers.find(({ isRunning }) => isRunning) as Peer;
  const { leader } = await untilStatus(asked, 'somebody leads', (status) => status.leader !== null);
  return peers.find(({ id }) => id === leader) as Peer;
}

export const textsOf = (log: readonly LogLine[]): (string | null)[] => log.map(({ text }) => text);

/** Ports for the files that run at the same time: a peer that is stopped for a while finds its own still free. */
const PORTS_EACH = 1_000;
const firstPort = 10_000 + (Number(process.env.VITEST_POOL_ID ?? 0) % 20) * PORTS_EACH;
let portsGiven = Math.floor(Math.random() * PORTS_EACH);

/**
 * A port that nobody listens on, below those that outgoing connections are given, so that it stays free. Not one that this file or one beside it was
 * given before, even if nobody listens there now.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = firstPort + (portsGiven++ % PORTS_EACH);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen({ port, host: '127.0.0.1' }, () => resolve(true));
    });
    if (isFree) {
      await new Promise((resolve) => server.close(resolve));
      return port;
    }
  }
}
