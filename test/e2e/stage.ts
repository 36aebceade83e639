import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import type { Peer } from '../integration/harness.ts';
import { findChromium } from './chromium.ts';

interface Opening {
  readonly width?: number;
  readonly height?: number;
  readonly colours?: 'light' | 'dark';
}

const DEFAULT = { width: 1280, height: 800, colours: 'light' } as const;

/** A peer whose own program opens a window. */
function hasWindow(peer: Peer): peer is Peer & { window(): Promise<Page> } {
  return 'window' in peer;
}

/** A real browser for all tests of a file. What a page complains about, and what it asks of anybody but its peer, fails the test. */
export class Stage {
  #browser: Browser | null = null;
  readonly #pages: Page[] = [];
  readonly #complaints: string[] = [];
  /** Expected while a peer is away: the page can't reach it, and the browser says so. */
  readonly #harmless = /ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|WebSocket connection/;

  async start(): Promise<void> {
    const executablePath = findChromium();
    if (executablePath === null) throw new Error('There is no Chromium.');
    const isRoot = process.getuid?.() === 0;
    this.#browser = await chromium.launch({
      executablePath,
      args: ['--disable-background-networking', ...(isRoot ? ['--no-sandbox'] : [])],
    });
  }

  /** The window of a peer: of its own program, or a page in a browser, in a profile of its own. */
  async open(peer: Peer, opening: Opening = {}): Promise<Page> {
    if (hasWindow(peer)) {
      const page = await peer.window();
      const { width, height, colours } = { ...DEFAULT, ...opening };
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme: colours });
      return page;
    }
    if (peer.web === null) throw new Error(`${peer.name} has no page`);
    const page = await this.makePage(peer.name, opening, (url) => new URL(url).hostname === '127.0.0.1');
    await page.goto(peer.web);
    this.#pages.push(page);
    return page;
  }

  /** A page with nothing in it yet, that is watched. Whoever has it made closes it. */
  async makePage(owner: string, opening: Opening, isOwn: (url: string) => boolean): Promise<Page> {
    if (this.#browser === null) throw new Error('The browser was not started.');
    const { width, height, colours } = { ...DEFAULT, ...opening };
    const context = await this.#browser.newContext({ viewport: { width, height }, colorScheme: colours });
    const page = await context.newPage();
    this.watch(page, owner, isOwn);
    return page;
  }

  /** @param isOwn whether a page may ask for such an address */
  watch(page: Page, owner: string, isOwn: (url: string) => boolean): void {
    const complain = (what: string): void => {
      if (!this.#harmless.test(what)) this.#complaints.push(`${owner}'s page: ${what}`);
    };
    page.on('pageerror', (error) => complain(`${error}`));
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') complain(message.text());
    });
    page.on('request', (request) => {
      if (!request.url().startsWith('data:') && !isOwn(request.url())) complain(`asked ${request.url()}`);
    });
  }

  /** Takes away what was complained of so far and is of this kind: for a test that means it to happen. */
  takeComplaints(kind: RegExp): string[] {
    const taken = this.#complaints.filter((each) => kind.test(each));
    const rest = this.#complaints.filter((each) => !kind.test(each));
    this.#complaints.splice(0, Number.POSITIVE_INFINITY, ...rest);
    return taken;
  }

  /** What a person would see on each page now: for a test that failed. */
  async tellAll(): Promise<void> {
    for (const [at, page] of this.#pages.entries()) {
      const seen = await page
        .evaluate(() => {
          const { activeElement, body } = document;
          const focus = `${activeElement?.tagName} ${activeElement?.getAttribute('aria-label') ?? ''}`;
          const written = [...document.querySelectorAll('textarea')].map((field) => field.value.slice(0, 200));
          return `${focus} has the focus; in fields: ${JSON.stringify(written)}\n${body.innerText.slice(-2_000)}`;
        })
        .catch(String);
      console.error(`--- page ${at + 1}\n${seen}`);
    }
  }

  async closePages(): Promise<string[]> {
    await Promise.all(this.#pages.splice(0).map((page) => page.context().close()));
    return this.#complaints.splice(0);
  }

  async stop(): Promise<void> {
    await this.#browser?.close();
  }
}

export function stageForAll(): Stage {
  const stage = new Stage();
  beforeAll(() => stage.start());
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') await stage.tellAll();
    expect(await stage.closePages()).toEqual([]);
  });
  afterAll(() => stage.stop());
  return stage;
}
