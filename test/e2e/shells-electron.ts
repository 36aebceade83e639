import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { _electron, type ElectronApplication, type Page } from 'playwright-core';
import type { Shell, Shells, Surroundings } from './shells.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Chromium refuses to run as root inside its sandbox. */
const isSandboxed = process.getuid?.() !== 0;

/** Electron itself. Its program is given the folder of package.json, as `npm start` does it. */
export function electronShells(program: string): Shells {
  return {
    name: 'Electron',
    note: `These journeys run in Electron ${versionOf(program)}${isSandboxed ? '' : ', as root and so without its sandbox'}`,
    start: (args, surroundings) => start(program, args, surroundings),
    startAgain: (args, { onStderr }) => startAgain(program, args, onStderr),
  };
}

/** A distribution of Electron says its version in a file. On macOS the program lies four folders deeper. */
function versionOf(program: string): string {
  const folders = [dirname(program), join(dirname(program), '../../..')];
  const file = folders.map((folder) => join(folder, 'version')).find((path) => existsSync(path));
  return file === undefined ? 'of a version that it does not say' : readFileSync(file, 'utf8').trim();
}

/** Some editors' terminals tell Electron to be a plain Node. */
function environment(): Record<string, string> {
  const { ELECTRON_RUN_AS_NODE: _, ...env } = process.env;
  return env as Record<string, string>;
}

async function start(program: string, args: readonly string[], surroundings: Surroundings): Promise<Shell> {
  const application = await _electron.launch({
    executablePath: program,
    args: [root, ...args],
    cwd: root,
    env: environment(),
    chromiumSandbox: isSandboxed,
    colorScheme: null,
  });
  return new ElectronShell(application, await application.evaluate(() => process.pid), surroundings);
}

/** It ends before anything could be driven in it. */
function startAgain(
  program: string,
  args: readonly string[],
  onStderr: (text: string) => void,
): Promise<number | null> {
  const switches = isSandboxed ? [] : ['--no-sandbox'];
  const child = spawn(program, [...switches, root, ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: environment(),
  });
  child.stderr.setEncoding('utf8').on('data', onStderr);
  return new Promise((resolve, reject) => child.once('error', reject).once('exit', resolve));
}

class ElectronShell implements Shell {
  readonly #application: ElectronApplication;
  /** Of the program itself: on Windows a command line stands between. */
  readonly #pid: number;
  readonly #page: Promise<Page>;
  readonly ended: Promise<number | null>;

  constructor(application: ElectronApplication, pid: number, { machine, stage, onStderr }: Surroundings) {
    this.#application = application;
    this.#pid = pid;
    const child = application.process();
    child.stderr?.on('data', (chunk) => onStderr(String(chunk)));
    this.ended = new Promise((resolve) => {
      if (child.exitCode !== null || child.signalCode !== null) resolve(child.exitCode);
      child.once('exit', resolve);
    });
    this.#page = application.firstWindow().then((page) => {
      stage.watch(page, machine, (url) => /^(synod-app|devtools):/.test(url));
      return page;
    });
    this.#page.catch(() => {});
  }

  page(): Promise<Page> {
    return this.#page;
  }

  quit(): void {
    // It ends while it answers.
    void this.#application.evaluate(({ app }) => app.quit()).catch(() => {});
  }

  kill(): void {
    process.kill(this.#pid, 'SIGKILL');
  }
}
