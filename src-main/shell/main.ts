import { mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { app, type BrowserWindow, dialog, ipcMain, powerMonitor, session } from 'electron';
import { BRIDGE_CHANNEL, WINDOW_OPEN } from '../../shared/ipc/bridge.ts';
import type { Endpoint } from '../peer/endpoint.ts';
import { forPages } from '../peer/page-service.ts';
import { readPages, rendererDirectory } from '../peer/pages.ts';
import type { Peer } from '../peer/peer.ts';
import { Bridge } from './bridge.ts';
import { followBuilds } from './builds.ts';
import { guardContents, guardSession } from './guards.ts';
import { setMenu } from './menu.ts';
import { type ShellOptions, shellOptions } from './options.ts';
import { registerScheme, servePages } from './scheme.ts';
import { openWindow } from './window.ts';

/** What a stop may take: handing over, the last answers, closing the stores. Milliseconds. */
const STOP_MS = 10_000;

const preload = join(import.meta.dirname, '..', 'preload', 'preload.cjs');

/** The peer of this machine with its window. */
class Shell {
  readonly #options: ShellOptions;
  #peer: Peer | undefined;
  #endpoint: Endpoint | undefined;
  #opening: Promise<void> = Promise.resolve();
  #window: BrowserWindow | undefined;
  #bridge: Bridge | undefined;
  #stopping: Promise<void> | undefined;
  #exitCode = 0;

  constructor(options: ShellOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    await app.whenReady();
    process.stdout.write(`${WINDOW_OPEN}\n`);
    guardSession(session.defaultSession);
    await this.#servePages();
    setMenu(this.#options.dir, !app.isPackaged);
    ipcMain.on(BRIDGE_CHANNEL, (event, page, line, kind, payload) =>
      this.#bridge?.receive(event, page, line, kind, payload),
    );
    this.#opening = this.#openPeer();
    await this.#opening;
    powerMonitor.on('resume', () => this.#peer?.wake());
    this.show();
  }

  async #servePages(): Promise<void> {
    const rendererDir = rendererDirectory(import.meta.url);
    let pages = await readPages(rendererDir);
    servePages(session.defaultSession.protocol, () => pages);
    if (!this.#options.followsBuilds || app.isPackaged) return;
    followBuilds(rendererDir, (built) => {
      pages = built;
      this.#window?.webContents.reload();
    });
  }

  /** Loaded only now: a second start of the program ends before it needs any of it. */
  async #openPeer(): Promise<void> {
    const [{ openPeer }, { openEndpoint }] = await Promise.all([
      import('../peer/peer.ts'),
      import('../peer/endpoint.ts'),
    ]);
    const { dir, name, listen, mdns } = this.#options;
    const peer = await openPeer({
      dir,
      ...(name === undefined ? {} : { name }),
      ...(listen.length === 0 ? {} : { listen }),
      mdns,
      log: (level, message, detail) => {
        if (level === 'warn' || level === 'error') say(`${level} ${message} ${JSON.stringify(detail ?? {})}`);
      },
    });
    this.#peer = peer;
    void peer.closed.then((error) => this.#ended(error));
    this.#endpoint = await openEndpoint({ service: peer.service, dir, onProblem });
  }

  /** Opens the window, or brings it to the front. */
  show(): void {
    const open = this.#window;
    if (open !== undefined) {
      if (open.isMinimized()) open.restore();
      open.show();
      open.focus();
      return;
    }
    if (this.#peer === undefined || this.#stopping !== undefined) return;
    const stateFile = join(app.getPath('userData'), 'window.json');
    const window = openWindow({ preload, stateFile, isDev: !app.isPackaged });
    this.#window = window;
    this.#bridge = new Bridge(window.webContents, forPages(this.#peer.service), onProblem);
    window.on('closed', () => {
      this.#window = undefined;
      this.#bridge = undefined;
    });
  }

  /** Leaves with what is under way finished and leadership handed over, or after a while without. */
  quit(): void {
    this.#stopping ??= inAtMost(STOP_MS, this.#stop())
      .catch((error: unknown) => say(`error the stop was not clean ${String(error)}`))
      .finally(() => {
        this.#window?.close();
        if (app.isReady()) session.defaultSession.flushStorageData();
        app.exit(this.#exitCode);
      });
  }

  /** First no more questions, then no more peer: whoever asks is told, and not left waiting. */
  async #stop(): Promise<void> {
    await this.#opening.catch(() => {});
    await Promise.allSettled([this.#bridge?.stop(), this.#endpoint?.close()]);
    await this.#peer?.close();
  }

  /** The peer ended by itself: its disk or this program failed. */
  #ended(error: Error | undefined): void {
    if (error === undefined || this.#stopping !== undefined) return;
    this.fail('Synod had to stop', error);
  }

  fail(title: string, error: unknown): void {
    dialog.showErrorBox(title, error instanceof Error ? error.message : String(error));
    this.#exitCode = 1;
    app.quit();
  }
}

function onProblem(error: unknown): void {
  say(`error a request met a fault of the program ${error instanceof Error ? error.stack : String(error)}`);
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

async function inAtMost(limitMs: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${limitMs / 1_000} s`)), limitMs);
  });
  await Promise.race([work, limit]).finally(() => clearTimeout(timer));
}

function main(): void {
  // Who started it may be gone, and with it the reader of what is said there.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  const surroundings = { env: process.env, platform: process.platform, home: homedir(), cwd: process.cwd() };
  const options = shellOptions(process.argv.slice(app.isPackaged ? 1 : 2), surroundings);
  // LevelDB and Chromium make files without asking for rights of their own: nobody else on this machine reads them.
  process.umask(0o077);
  // Beside the log, on this machine: Electron's own choice roams between machines on Windows.
  const place = join(options.dir, 'window');
  mkdirSync(place, { recursive: true, mode: 0o700 });
  app.setPath('userData', place);
  app.setPath('sessionData', place);
  if (!app.requestSingleInstanceLock()) {
    app.quit();
    return;
  }

  const shell = new Shell(options);
  registerScheme();
  app.enableSandbox();
  app.on('second-instance', () => shell.show());
  app.on('activate', () => shell.show());
  app.on('web-contents-created', (_event, contents) => guardContents(contents));
  app.on('window-all-closed', () => {
    if (process.platform !== 'darwin') app.quit();
  });
  app.on('before-quit', (event) => {
    event.preventDefault();
    shell.quit();
  });
  shell.start().catch((error: unknown) => shell.fail('Synod can’t start', error));
}

try {
  main();
} catch (error) {
  dialog.showErrorBox('Synod can’t start', error instanceof Error ? error.message : String(error));
  app.exit(1);
}
