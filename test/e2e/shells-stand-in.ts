import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BrowserContext, Frame, Page, Route } from 'playwright-core';
import type { Shell, Shells, Surroundings } from './shells.ts';
import type { Answered, FromProcess, SenderFrame, ToProcess, WindowId } from './stand-in-messages.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const program = fileURLToPath(new URL('./stand-in-process.ts', import.meta.url));
const preload = join(root, 'out/electron/preload/preload.cjs');

/** Chromium does not know the window's own scheme. This origin stands for it, and by its name leads nowhere but to this machine. */
const OWN = 'synod-app://app';
const SHOWN = 'http://synod-app.localhost';

export const STAND_IN_SEND = 'standInSend';
const STAND_IN_DELIVER = 'standInDeliver';

export function standInShells(): Shells {
  return {
    name: 'the stand-in for Electron',
    note: 'These journeys run in the stand-in for Electron: the built main and preload in Node, the page in Chromium; no sandbox, no context of the preload’s own, no addon inside Electron',
    start: async (args, surroundings) => new StandIn(args, surroundings),
    startAgain: (args, surroundings, first) =>
      new StandIn(args, surroundings, () => (first as StandIn).tell({ kind: 'second' })).ended,
  };
}

/** As main would see an address of the page, and the other way round. */
const toOwn = (url: string): string => (url.startsWith(`${SHOWN}/`) ? OWN + url.slice(SHOWN.length) : url);
const toShown = (url: string): string => (url.startsWith(`${OWN}/`) ? SHOWN + url.slice(OWN.length) : url);

/** One process of the built main, and the pages of its windows. */
export class StandIn implements Shell {
  readonly #child: ChildProcess;
  readonly #surroundings: Surroundings;
  readonly #onSecond: () => void;
  readonly #windows = new Map<WindowId, StandInWindow>();
  readonly #asked = new Map<number, (answer: Answered) => void>();
  readonly #first = Promise.withResolvers<Page>();
  #nextId = 1;
  #isOver = false;
  /** How often its window was brought to the front. */
  focused = 0;
  readonly ended: Promise<number | null>;

  /** @param onSecond told where another run has the folder */
  constructor(args: readonly string[], surroundings: Surroundings, onSecond: () => void = () => {}) {
    this.#surroundings = surroundings;
    this.#onSecond = onSecond;
    this.#child = spawn(process.execPath, [program, root, ...args], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      serialization: 'advanced',
    });
    this.#child.stderr?.setEncoding('utf8').on('data', surroundings.onStderr);
    this.#child.on('message', (message) => this.#receive(message as FromProcess));
    this.#first.promise.catch(() => {});
    this.ended = once(this.#child, 'close').then(async ([code]) => {
      this.#isOver = true;
      this.#first.reject(new Error(`${surroundings.machine}'s program ended before its window was there.`));
      for (const answer of this.#asked.values()) answer(null);
      // As windows vanish with their program.
      await Promise.all([...this.#windows.values()].map((window) => window.vanish()));
      return code as number | null;
    });
  }

  page(): Promise<Page> {
    return this.#first.promise;
  }

  quit(): void {
    this.tell({ kind: 'quit' });
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  /** Speaks on the channel of the first window, as if from such a frame. */
  say(frame: SenderFrame, args: readonly unknown[]): void {
    this.tell({ kind: 'ipc', window: 0, frame, args: args as [string, ...unknown[]] });
  }

  /** What was sent to the page that calls itself so. */
  sentTo(name: string): unknown[] {
    return [...this.#windows.values()].flatMap((window) => window.sent.filter(([, to]) => to === name));
  }

  tell(message: ToProcess): void {
    if (this.#child.connected) this.#child.send(message, () => {});
  }

  ask(window: WindowId, route: Route, isNavigation: boolean): Promise<Answered> {
    if (this.#isOver) return Promise.resolve(null);
    const id = this.#nextId++;
    return new Promise((resolve) => {
      this.#asked.set(id, resolve);
      const request = route.request();
      const asked = { url: toOwn(request.url()), method: request.method(), isNavigation };
      this.tell({ kind: 'ask', id, window, asked });
    });
  }

  #receive(message: FromProcess): void {
    if (message.kind === 'second') this.#onSecond();
    else if (message.kind === 'focused') this.focused++;
    else if (message.kind === 'answer') {
      this.#asked.get(message.id)?.(message.answer);
      this.#asked.delete(message.id);
    } else if (message.kind === 'load') void this.#load(message.window, message.url, message.granted);
    else {
      const window = this.#windows.get(message.window);
      if (message.kind === 'send') window?.send(message.args);
      else if (message.kind === 'reload') void window?.reload();
      else void window?.vanish();
    }
  }

  async #load(id: WindowId, url: string, granted: readonly string[]): Promise<void> {
    const window = new StandInWindow(this, id);
    this.#windows.set(id, window);
    try {
      const { machine, stage } = this.#surroundings;
      const page = await stage.makePage(machine, {}, (asked) => asked.startsWith(`${SHOWN}/`));
      await window.show(page, toShown(url), granted);
      this.tell({ kind: 'loaded', window: id });
      this.#first.resolve(page);
    } catch (error) {
      this.#first.reject(error);
    }
  }
}

/** A window's page, with what Electron puts between it and the main process. */
class StandInWindow {
  readonly #program: StandIn;
  readonly #id: WindowId;
  #page: Page | null = null;
  #queue: (readonly unknown[])[] = [];
  #isDelivering = false;
  readonly sent: (readonly unknown[])[] = [];

  constructor(program: StandIn, id: WindowId) {
    this.#program = program;
    this.#id = id;
  }

  async show(page: Page, url: string, granted: readonly string[]): Promise<void> {
    this.#page = page;
    const context: BrowserContext = page.context();
    // What is not named here is refused.
    await context.grantPermissions([...granted], { origin: new URL(url).origin });
    await context.route('**/*', (route) => this.#serve(route, url));
    await page.exposeBinding(STAND_IN_SEND, ({ frame }, args: [string, ...unknown[]]) =>
      this.#program.tell({ kind: 'ipc', window: this.#id, frame: senderOf(frame), args }),
    );
    await page.addInitScript({ content: preloadScript() });
    page.on('close', () => this.#program.tell({ kind: 'closed', window: this.#id }));
    await page.goto(url);
  }

  async #serve(route: Route, start: string): Promise<void> {
    const request = route.request();
    const isPage = request.isNavigationRequest() && request.frame() === this.#page?.mainFrame();
    const isNavigation = isPage && request.url() !== start;
    const answer = await this.#program.ask(this.#id, route, isNavigation);
    // The page may be gone by now.
    if (answer === null) await route.abort('aborted').catch(() => {});
    else {
      const { status, headers, body } = answer;
      await route.fulfill({ status, headers, body: Buffer.from(body) }).catch(() => {});
    }
  }

  /** One after the other, since they may not overtake each other. */
  send(args: readonly unknown[]): void {
    this.sent.push(args);
    this.#queue.push(args);
    if (!this.#isDelivering) void this.#deliver();
  }

  async #deliver(): Promise<void> {
    this.#isDelivering = true;
    while (this.#queue.length > 0 && this.#page !== null) {
      const batch = this.#queue.splice(0);
      const deliver = ({ name, all }: { name: string; all: (readonly unknown[])[] }) => {
        const to = (globalThis as unknown as Record<string, (args: readonly unknown[]) => void>)[name];
        for (const args of all) to?.(args);
      };
      // What is on its way to a page that is left is lost, as it is in Electron.
      await this.#page.evaluate(deliver, { name: STAND_IN_DELIVER, all: batch }).catch(() => {});
    }
    this.#isDelivering = false;
  }

  async reload(): Promise<void> {
    await this.#page?.reload().catch(() => {});
  }

  async vanish(): Promise<void> {
    const page = this.#page;
    this.#page = null;
    await page?.context().close();
  }
}

function senderOf(frame: Frame): SenderFrame {
  return { url: toOwn(frame.url()), isTop: frame.parentFrame() === null };
}

/** The built preload with what it may require. As in Electron it runs in the page's own frame alone. */
function preloadScript(): string {
  return `if (window === window.top) {
  const listeners = [];
  globalThis.${STAND_IN_DELIVER} = ([channel, ...args]) => {
    for (const [to, listener] of listeners) if (to === channel) listener({}, ...args);
  };
  const electron = {
    contextBridge: {
      exposeInMainWorld: (name, value) => Object.defineProperty(globalThis, name, { value, enumerable: true }),
    },
    ipcRenderer: {
      on: (channel, listener) => listeners.push([channel, listener]),
      send: (...args) => void globalThis.${STAND_IN_SEND}(args).catch(() => {}),
    },
  };
  const require = (name) => {
    if (name !== 'electron') throw new Error('a sandboxed preload can’t load ' + name);
    return electron;
  };
  const module = { exports: {} };
  const exports = module.exports;
  ((require, module, exports) => {
${readFileSync(preload, 'utf8')}
  })(require, module, exports);
}`;
}
