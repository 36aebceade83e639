import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import type { Peer } from '../integration/harness.ts';
import { findChromium } from './chromium.ts';

interface Opening {
  readonly width?: number;
  readonly height?: number;
  readonly colours?: 'light' | 'dark';
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

  /** The window of a peer, in a profile of its own. */
  async open(peer: Peer, { width = 1280, height = 800, colours = 'light' }: Opening = {}): Promise<Page> {
    if (this.#browser === null) throw new Error('The browser was not started.');
    if (peer.web === null) throw new Error(`${peer.name} has no page`);
    const context = await this.#browser.newContext({ viewport: { width, height }, colorScheme: colours });
    const page = await context.newPage();
    const complain = (what: string): void => {
      if (!this.#harmless.test(what)) this.#complaints.push(`${peer.name}'s page: ${what}`);
    };
    page.on('pageerror', (error) => complain(`${error}`));
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') complain(message.text());
    });
    page.on('request', (request) => {
      const { hostname, protocol } = new URL(request.url());
      if (protocol !== 'data:' && hostname !== '127.0.0.1') complain(`asked ${request.url()}`);
    });
    await page.goto(peer.web);
    this.#pages.push(page);
    return page;
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
  afterEach(async () => {
    expect(await stage.closePages()).toEqual([]);
  });
  afterAll(() => stage.stop());
  return stage;
}
