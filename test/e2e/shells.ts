// Machines that run the window's own program, each a process of its own in a directory of its own: Electron, or what stands in for it.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterEach, beforeEach, expect } from 'vitest';
import type { PeerService } from '../../shared/ipc/contract.ts';
import { connect, type PeerConnection } from '../../src-main/cli/client.ts';
import { freePort, never, Peer, World } from '../integration/harness.ts';
import type { Stage } from './stage.ts';

/** What is kept of a process's standard error. UTF-16 units. */
const STDERR_MAX = 200_000;
const CONNECT_MS = 90_000;

/** One run of the window's program. */
export interface Shell {
  /** The page of the window that it opened; fails where the program ends before. */
  page(): Promise<Page>;
  /** As its menu's Quit does. */
  quit(): void;
  /** Ends the process with no chance to do anything. */
  kill(): void;
  /** The exit code; null after a kill. */
  readonly ended: Promise<number | null>;
}

/** What a run is given besides its arguments. */
export interface Surroundings {
  readonly machine: string;
  readonly stage: Stage;
  readonly onStderr: (text: string) => void;
}

export interface Shells {
  /** For the names of tests: what it is that they ran in. */
  readonly name: string;
  readonly note: string;
  start(args: readonly string[], surroundings: Surroundings): Promise<Shell>;
  /** Once more with the arguments of a run that goes on. Returns its exit code. */
  startAgain(args: readonly string[], surroundings: Surroundings, first: Shell): Promise<number | null>;
}

/** A peer whose process is the window's program. */
export class ShellPeer extends Peer {
  readonly #shells: Shells;
  readonly #stage: Stage;
  #shell: Shell | null = null;
  #ended: Promise<number | null> = Promise.resolve(null);
  #isEndWanted = false;
  #connected: Promise<PeerConnection> | null = null;
  #listenPort = 0;

  constructor(name: string, dir: string, shells: Shells, stage: Stage) {
    super(name, dir);
    this.#shells = shells;
    this.#stage = stage;
  }

  override get isRunning(): boolean {
    return this.#shell !== null;
  }

  /** The run under way. */
  get shell(): Shell {
    if (this.#shell === null) throw new Error(`${this.name} does not run`);
    return this.#shell;
  }

  /** Waits until its window is there. */
  override async start({ otherPort = false } = {}): Promise<this> {
    if (this.#shell !== null) throw new Error(`${this.name} runs already`);
    if (this.#listenPort === 0 || otherPort) this.#listenPort = await freePort();
    this.#isEndWanted = false;
    this.starts++;
    const shell = await this.#shells.start(this.#args(), this.#surroundings());
    this.#shell = shell;
    this.#ended = shell.ended.then((code) => {
      this.#shell = null;
      void this.#connected?.then(
        (connection) => connection.close(),
        () => {},
      );
      this.#connected = null;
      if (!this.#isEndWanted) this.troubles.push(`ended by itself with ${code}`);
      return code;
    });
    await shell.page();
    const { peer } = await (await this.service()).status({}, never);
    if (this.id !== '') expect(peer).toBe(this.id);
    this.id = peer;
    return this;
  }

  /** The program once more on the same directory, beside the one that runs. Returns its exit code. */
  startAgain(): Promise<number | null> {
    return this.#shells.startAgain(this.#args(), this.#surroundings(), this.shell);
  }

  #args(): string[] {
    const listen = `/ip4/127.0.0.1/tcp/${this.#listenPort}`;
    return ['--dir', this.dir, '--name', this.name, '--no-mdns', '--listen', listen];
  }

  #surroundings(): Surroundings {
    return { machine: this.name, stage: this.#stage, onStderr: (text) => this.#hear(text) };
  }

  #hear(text: string): void {
    this.stderr = (this.stderr + text).slice(-STDERR_MAX);
    for (const line of text.split('\n')) if (/^(error|fatal) /.test(line)) this.troubles.push(line);
  }

  window(): Promise<Page> {
    return this.shell.page();
  }

  /** From here on its process may end. */
  expectEnd(): Promise<number | null> {
    this.#isEndWanted = true;
    return this.#ended;
  }

  override async stop(): Promise<number | null> {
    const ended = this.expectEnd();
    this.#shell?.quit();
    return ended;
  }

  override async kill(): Promise<void> {
    const ended = this.expectEnd();
    this.#shell?.kill();
    await ended;
  }

  override pause(): never {
    throw new Error('A window can’t be made to stand still.');
  }

  /** Nothing but an end is asked of it. */
  override signal(signal: NodeJS.Signals): void {
    if (signal === 'SIGKILL') void this.kill();
    else if (signal === 'SIGTERM') void this.stop();
  }

  override async service(): Promise<PeerService> {
    if (this.#connected === null) {
      const connected = connect(this.dir, AbortSignal.timeout(CONNECT_MS));
      this.#connected = connected;
      connected.catch(() => {
        if (this.#connected === connected) this.#connected = null;
      });
    }
    return (await this.#connected).service;
  }
}

export class ShellWorld extends World {
  readonly #folder = mkdtempSync(join(tmpdir(), 'synod-shells-'));
  readonly #shells: Shells;
  readonly #stage: Stage;

  constructor(shells: Shells, stage: Stage) {
    super();
    this.#shells = shells;
    this.#stage = stage;
  }

  override peer(name: string): ShellPeer {
    const peer = new ShellPeer(name, join(this.#folder, name.toLowerCase()), this.#shells, this.#stage);
    this.peers.push(peer);
    return peer;
  }

  override start(name: string): Promise<ShellPeer> {
    return this.peer(name).start();
  }

  override async close(): Promise<string[]> {
    const troubles = await super.close();
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5 });
    return troubles;
  }
}

/** A world for each test; a program that ended or complained by itself fails the test. */
export function shellsForEach(shells: Shells, stage: Stage): () => ShellWorld {
  let world: ShellWorld;
  beforeEach(() => {
    world = new ShellWorld(shells, stage);
  });
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail')
      for (const { name, stderr } of world.peers) console.error(`--- ${name}\n${stderr}`);
    expect(await world.close()).toEqual([]);
  });
  return () => world;
}
