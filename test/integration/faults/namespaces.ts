// Machines with a network of their own, each in a network namespace on one bridge: the kernel's TCP, silence and all. Linux and root only.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { GroupStatus } from '../../../shared/ipc/contract.ts';
import { type Outcome, root } from '../harness.ts';

const ENTRY = join(root, 'out/cli/synod.js');
const PORT = 4747;
/** Nobody has it: what is sent there is lost without a word. */
const NOWHERE = '02:00:00:00:00:fe';

const ip = (...args: readonly string[]): void => void execFileSync('ip', args, { stdio: 'pipe' });
/** Of this process' own, so that two runs do not meet. */
const named = (what: string): string => `synod-${process.pid}-${what}`;

/** One machine: a namespace, and the peer in it. */
export class Station {
  readonly name: string;
  readonly address: string;
  readonly #dir: string;
  readonly #space: string;
  #child: ChildProcess | null = null;
  stderr = '';

  constructor(name: string, at: number, dir: string) {
    this.name = name;
    this.address = `10.99.0.${at}`;
    this.#dir = dir;
    this.#space = named(`${at}`);
    ip('netns', 'add', this.#space);
    ip('-n', this.#space, 'link', 'set', 'lo', 'up');
    ip(
      'link',
      'add',
      `sv${at}`,
      'netns',
      this.#space,
      'type',
      'veth',
      'peer',
      'name',
      `sp${at}`,
      'netns',
      named('hub'),
    );
    ip('-n', named('hub'), 'link', 'set', `sp${at}`, 'master', 'hub', 'up');
    ip('-n', this.#space, 'addr', 'add', `${this.address}/24`, 'dev', `sv${at}`);
    ip('-n', this.#space, 'link', 'set', `sv${at}`, 'up');
  }

  get #device(): string {
    return `sv${this.address.split('.').at(-1)}`;
  }

  /** Nothing more gets from here to there, and nobody is told. */
  loseWay(to: Station): void {
    ip('-n', this.#space, 'neigh', 'replace', to.address, 'lladdr', NOWHERE, 'dev', this.#device, 'nud', 'permanent');
  }

  findWay(to: Station): void {
    try {
      ip('-n', this.#space, 'neigh', 'del', to.address, 'dev', this.#device);
    } catch {
      // It was never lost.
    }
  }

  #spawn(args: readonly string[]): ChildProcess {
    return spawn('ip', ['netns', 'exec', this.#space, process.execPath, ENTRY, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  async start(): Promise<void> {
    const listen = `/ip4/${this.address}/tcp/${PORT}`;
    const place = ['--dir', this.#dir, '--name', this.name];
    const child = this.#spawn(['serve', ...place, '--listen', listen, '--no-mdns', '--json']);
    this.#child = child;
    child.stderr?.setEncoding('utf8').on('data', (text) => (this.stderr += text));
    const ready = once(createInterface({ input: child.stdout as NodeJS.ReadableStream }), 'line');
    const ended = once(child, 'close').then(() => null);
    if ((await Promise.race([ready, ended])) === null) throw new Error(`${this.name} did not start: ${this.stderr}`);
  }

  async run(command: string, ...args: readonly string[]): Promise<Outcome> {
    const child = this.#spawn([command, '--dir', this.#dir, '--json', ...args]);
    let out = '';
    let err = '';
    child.stdout?.setEncoding('utf8').on('data', (text) => (out += text));
    child.stderr?.setEncoding('utf8').on('data', (text) => (err += text));
    const [code] = await once(child, 'close');
    const lines = out.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line)]));
    return { code, out, err, lines, error: undefined };
  }

  async status(): Promise<GroupStatus & { readonly self: string }> {
    const { lines } = await this.run('status');
    return { ...lines[0].groups[0], self: lines[0].peer };
  }

  async close(): Promise<void> {
    if (this.#child !== null && this.#child.exitCode === null) {
      const ended = once(this.#child, 'close');
      this.#child.kill('SIGKILL');
      await ended;
    }
    ip('netns', 'del', this.#space);
  }
}

export class Network {
  readonly stations: Station[] = [];
  readonly #dir = mkdtempSync(join(tmpdir(), 'synod-spaces-'));

  /** Null where this process may not make namespaces. */
  static make(names: readonly string[]): Network | null {
    if (process.platform !== 'linux' || process.getuid?.() !== 0) return null;
    try {
      ip('netns', 'add', named('hub'));
      ip('-n', named('hub'), 'link', 'add', 'hub', 'type', 'bridge');
    } catch {
      return null;
    }
    ip('-n', named('hub'), 'link', 'set', 'hub', 'up');
    const network = new Network();
    for (const [at, name] of names.entries()) {
      network.stations.push(new Station(name, at + 1, join(network.#dir, name)));
    }
    return network;
  }

  cut(one: Station, other: Station): void {
    one.loseWay(other);
    other.loseWay(one);
  }

  heal(): void {
    for (const one of this.stations) for (const other of this.stations) if (one !== other) one.findWay(other);
  }

  async close(): Promise<void> {
    await Promise.all(this.stations.map((station) => station.close()));
    ip('netns', 'del', named('hub'));
    rmSync(this.#dir, { recursive: true, force: true, maxRetries: 5 });
  }
}
