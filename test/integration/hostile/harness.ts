import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { appendFile, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect } from 'vitest';
import type { CommittedLine, GroupStatus, PeerService } from '../../../shared/ipc/contract.ts';
import { connect, type PeerConnection } from '../../../src-main/cli/client.ts';

/** Real peers of the built command, for tests that maltreat them. */

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const ENTRY = join(ROOT, 'out/cli/synod.js');
/** The Node that npm's scripts have; other machines bring their own. */
const PINNED_NODE = join(ROOT, 'node_modules/.bin/node');
const NODE = existsSync(PINNED_NODE) ? PINNED_NODE : process.execPath;

/** For anything that needs elections, dials and slow machines. Only ever used up by a failure. Milliseconds. */
export const PATIENCE_MS = 60_000;
const ANY = '/ip4/127.0.0.1/tcp/0';

const cleanups: (() => unknown)[] = [];
/** Runs after the test, the last first. */
export const after = (cleanup: () => unknown): void => void cleanups.push(cleanup);

let place = '';
/** A new folder of this test's own. */
export const inPlace = (name: string): string => join(place, name);

beforeEach(async () => {
  place = await mkdtemp(join(tmpdir(), 'synod-hostile-'));
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  await rm(place, { recursive: true, force: true, maxRetries: 5 });
});

export async function until<T>(
  condition: () => T | Promise<T>,
  what: string,
  limitMs = PATIENCE_MS,
): Promise<NonNullable<T>> {
  const end = performance.now() + limitMs;
  for (;;) {
    const found = await condition();
    if (found) return found as NonNullable<T>;
    if (performance.now() > end) throw new Error(`it never came to be: ${what}`);
    await sleep(25);
  }
}

export interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
  /** The lines of standard output, read as JSON. */
  readonly json: readonly Record<string, unknown>[];
  /** The error on standard error, where it is one. */
  readonly error: { readonly error: string; readonly message: string } | null;
}

export interface RunOptions {
  readonly stdin?: string | Uint8Array;
  readonly uid?: number;
}

function start(args: readonly string[], { uid }: RunOptions = {}): ChildProcess {
  const child = spawn(NODE, [ENTRY, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, NO_COLOR: '1' },
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
  child.stdin?.on('error', () => {}); // it may leave before it has read everything
  const exited = new Promise((resolve) => child.once('exit', resolve));
  after(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await exited;
  });
  return child;
}

/** One command, to its end. */
export async function synod(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const child = start(args, options);
  let out = '';
  let err = '';
  child.stdout?.setEncoding('utf8').on('data', (text) => (out += text));
  child.stderr?.setEncoding('utf8').on('data', (text) => (err += text));
  child.stdin?.end(options.stdin ?? '');
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, out, err, json: objects(out), error: (errors(err)[0] ?? null) as Ran['error'] };
}

export function objects(text: string): Record<string, unknown>[] {
  return text.split('\n').flatMap((line) => {
    try {
      const value: unknown = JSON.parse(line);
      return typeof value === 'object' && value !== null ? [value as Record<string, unknown>] : [];
    } catch {
      return [];
    }
  });
}

/** The error objects among what went to standard error. */
export const errors = (text: string): Record<string, unknown>[] =>
  objects(text).filter(
    (line) => !('level' in line) && typeof line.error === 'string' && typeof line.message === 'string',
  );

export interface LogLine {
  readonly level: string;
  readonly message: string;
  readonly code?: string;
}

export const WARN = 'warn';
export const ERROR = 'error';

/** A machine: a data directory, and the process that serves it, if it runs. */
export class Machine {
  readonly name: string;
  readonly dir: string;
  id = '';
  #child: ChildProcess | null = null;
  #exited: Promise<number | null> = Promise.resolve(null);
  #log: LogLine[] = [];
  #err = '';
  #address = '';
  /** To the process that runs, once it was asked something. */
  #connection: Promise<PeerConnection> | null = null;

  constructor(name: string, dir = inPlace(name)) {
    this.name = name;
    this.dir = dir;
  }

  /** What it logged since it was started last. */
  get log(): readonly LogLine[] {
    return this.#log;
  }
  get stderr(): string {
    return this.#err;
  }
  get isRunning(): boolean {
    return this.#child !== null && this.#child.exitCode === null && this.#child.signalCode === null;
  }
  /** Where it listens, with its id. */
  get address(): string {
    return this.#address;
  }
  get port(): number {
    return Number(/\/tcp\/(\d+)/.exec(this.#address)?.[1]);
  }
  /** The process, for its signals. */
  get pid(): number {
    return this.#child?.pid as number;
  }
  get exited(): Promise<number | null> {
    return this.#exited;
  }

  logged(code: string): readonly LogLine[] {
    return this.#log.filter((line) => line.code === code);
  }

  /** Resolves when it is ready, or throws what it said instead. */
  async serve(options: { readonly listen?: string; readonly args?: readonly string[] } = {}): Promise<this> {
    const args = ['serve', '--dir', this.dir, '--name', this.name, '--listen', options.listen ?? ANY];
    const child = start([...args, '--no-mdns', '--json', ...(options.args ?? [])]);
    this.#child = child;
    this.#log = [];
    this.#err = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#err += text;
      // Kept beside the data, for whoever looks into a failure.
      if (process.env.HOSTILE_LOGS) void appendFile(join(process.env.HOSTILE_LOGS, `${this.name}.log`), text);
    });
    const lines = createInterface({ input: child.stderr as NodeJS.ReadableStream });
    lines.on('line', (line) => this.#log.push(...(objects(line) as unknown as LogLine[])));
    this.#exited = new Promise((resolve) => child.once('exit', resolve));
    child.once('exit', () => this.#hangUp());
    const ready = new Promise<string>((resolve) => {
      createInterface({ input: child.stdout as NodeJS.ReadableStream }).once('line', resolve);
    });
    const closed = new Promise<null>((resolve) => child.once('close', () => resolve(null)));
    const line = await Promise.race([ready, closed]);
    if (line === null) throw new Error(`${this.name} did not start: ${this.#err}`);
    const event = JSON.parse(line) as { peer: string; addresses: string[] };
    this.id = event.peer;
    this.#address = event.addresses[0] as string;
    return this;
  }

  async stop(): Promise<number | null> {
    this.#child?.kill('SIGTERM');
    return this.#exited;
  }

  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL');
    await this.#exited;
  }

  /** A command to this machine. */
  run(...args: string[]): Promise<Ran> {
    return this.runWith({}, ...args);
  }

  runWith(options: RunOptions, ...args: string[]): Promise<Ran> {
    const [command, ...rest] = args as [string, ...string[]];
    return synod([command, '--dir', this.dir, '--json', ...rest], options);
  }

  async ask<T>(question: (service: PeerService, signal: AbortSignal) => Promise<T>): Promise<T> {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    this.#connection ??= connect(this.dir, signal);
    try {
      return await question((await this.#connection).service, signal);
    } catch (error) {
      this.#hangUp(); // it may be the connection's fault
      throw error;
    }
  }

  #hangUp(): void {
    this.#connection?.then(
      (connection) => connection.close(),
      () => undefined,
    );
    this.#connection = null;
  }

  /** Of its only group, or of the one that is named. */
  async status(group?: string): Promise<GroupStatus> {
    const { groups } = await this.ask((service, signal) => service.status({}, signal));
    const found = group === undefined ? groups[0] : groups.find((each) => each.group === group);
    if (found === undefined) throw new Error(`${this.name} has no such group`);
    return found;
  }

  async write(text: string, group?: string): Promise<number> {
    const params = {
      text,
      wait: 'committed',
      timeoutMs: PATIENCE_MS,
      ...(group === undefined ? {} : { group }),
    } as const;
    const { position, why } = await this.ask((service, signal) => service.append(params, signal));
    if (position === null) throw new Error(`${this.name} could not commit: ${why}`);
    return position;
  }

  /** The agreed texts. */
  async texts(group?: string): Promise<(string | null)[]> {
    const params = { follow: false, pending: false, ...(group === undefined ? {} : { group }) };
    return this.ask(async (service, signal) => {
      const found: (string | null)[] = [];
      for await (const line of service.log(params, signal)) found.push((line as CommittedLine).text);
      return found;
    });
  }

  async join(ticket: string): Promise<void> {
    const { code, err } = await this.run('join', ticket);
    if (code !== 0) throw new Error(`${this.name} could not join: ${err}`);
  }

  async invite(role = 'voter'): Promise<string> {
    const { json, err } = await this.run('invite', '--role', role);
    if (json[0] === undefined) throw new Error(`${this.name} could not invite: ${err}`);
    return json[0].ticket as string;
  }

  /** The folder of its only group. */
  async groupDir(): Promise<string> {
    const [group] = await readdir(join(this.dir, 'groups'));
    return join(this.dir, 'groups', group as string);
  }
}

export interface Trio {
  readonly group: string;
  readonly ana: Machine;
  readonly ben: Machine;
  readonly cy: Machine;
  readonly all: readonly [Machine, Machine, Machine];
}

/** One machine with one group. */
export async function alone(name = 'Ana', dir?: string): Promise<{ machine: Machine; group: string }> {
  const machine = await new Machine(name, dir).serve();
  const { json } = await machine.run('create', 'Night log');
  return { machine, group: json[0]?.group as string };
}

/** Three machines that decide together and have three entries. */
export async function trio(dirs: { readonly cy?: string } = {}): Promise<Trio> {
  const [{ machine: ana, group }, ben, cy] = await Promise.all([
    alone(),
    new Machine('Ben').serve(),
    new Machine('Cy', dirs.cy).serve(),
  ]);
  for (const guest of [ben, cy]) await guest.join(await ana.invite());
  const all = [ana, ben, cy] as const;
  await until(async () => (await ana.status()).quorum.voters === 3, 'three voters');
  for (const machine of all) await machine.write(`first of ${machine.name}`);
  await agree(all);
  return { group, ana, ben, cy, all };
}

/** Until all of them have the same log and the same state. */
export async function agree(machines: readonly Machine[], group?: string): Promise<void> {
  let seen: unknown[] = [];
  try {
    await until(async () => {
      const all = await Promise.all(machines.map((machine) => machine.status(group)));
      seen = all.map(({ applied, positions, digest, state }) => ({ applied, positions, digest, state }));
      return new Set(seen.map((each) => JSON.stringify(each))).size === 1;
    }, 'the same everywhere');
  } catch (error) {
    throw new Error(`${(error as Error).message}: ${JSON.stringify(seen)}`);
  }
}

let written = 0;

/** They go on committing, from each of them, and end up with the same. */
export async function expectSound(machines: readonly Machine[]): Promise<void> {
  for (const machine of machines) {
    expect(machine.isRunning, `${machine.name} runs. ${machine.stderr.slice(-2000)}`).toBe(true);
    const text = `still here ${++written}`;
    await machine.write(text);
    expect(await machine.texts()).toContain(text);
  }
  await agree(machines);
}
