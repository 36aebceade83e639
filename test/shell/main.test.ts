import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { PeerId } from '../../shared/base/ids.ts';
import { makePeerClient, type PeerClient } from '../../shared/ipc/client.ts';
import { PeerError } from '../../shared/ipc/errors.ts';
import { connect } from '../../src-main/cli/client.ts';
import { openPeer } from '../../src-main/peer/peer.ts';
import { FakeService, PEER } from '../ipc/fake-service.ts';
import { type FakeElectron, type FakeFrame, type FakeWindow, preventable } from './electron-stub.ts';
import { Installed, runPreload, until } from './world.ts';

const never = new AbortController().signal;
const START = 'synod-app://app/';
let installed: Installed;

beforeAll(() => {
  installed = new Installed();
}, 60_000);

afterAll(() => installed.remove());

/** What a page does with the bridge. */
function connectPage(electron: FakeElectron, window: FakeWindow): PeerClient & { readonly ended: () => boolean } {
  let ended = false;
  const line = runPreload(installed.preload, electron, window).connect(
    (text) => client.receive(text),
    () => {
      ended = true;
      client.fail(new PeerError('PEER_LOST', 'gone'));
    },
  );
  const client = makePeerClient(line);
  return { ...client, ended: () => ended };
}

describe('a window that is open', () => {
  let electron: FakeElectron;
  let window: FakeWindow;

  beforeAll(async () => {
    ({ electron, window } = await installed.launch());
  }, 30_000);

  afterAll(async () => {
    electron.module.app.quit();
    expect(await electron.exited).toBe(0);
    rmSync(installed.dir, { recursive: true });
  });

  /** The status of an answer of the window's own scheme, and what came with it. */
  async function ask(url: string, method = 'GET'): Promise<Response> {
    return (await electron.handlers.get('synod-app')?.(new Request(url, { method }))) as Response;
  }

  function prevents(name: string): boolean {
    const event = preventable();
    window.webContents.emit(name, event, 'https://example.org/');
    return event.defaultPrevented;
  }

  // Electron's security checklist, by its numbers, as far as its lines are about a program and not about its packaging.

  test('1: it loads its own files alone, and nothing from elsewhere', () => {
    const isLoaded = (url: string): boolean | undefined => {
      let cancel: boolean | undefined;
      electron.guards.load?.({ url }, (verdict) => (cancel = verdict.cancel));
      return cancel === undefined ? undefined : !cancel;
    };
    expect(window.webContents.mainFrame.url).toBe(START);
    for (const url of [`${START}assets/a.js`, 'data:image/png;base64,AA==', 'blob:synod-app://app/1']) {
      expect([url, isLoaded(url)]).toEqual([url, true]);
    }
    for (const url of ['https://example.org/a.js', 'http://127.0.0.1/', 'ws://127.0.0.1:1/', 'file:///etc/passwd']) {
      expect([url, isLoaded(url)]).toEqual([url, false]);
    }
  });

  test('2: no Node in the page, its workers and its frames', () => {
    const { nodeIntegration, nodeIntegrationInWorker, nodeIntegrationInSubFrames } = window.options.webPreferences;
    expect({ nodeIntegration, nodeIntegrationInWorker, nodeIntegrationInSubFrames }).toEqual({
      nodeIntegration: false,
      nodeIntegrationInWorker: false,
      nodeIntegrationInSubFrames: false,
    });
  });

  test('3: the preload has a context of its own', () => {
    expect(window.options.webPreferences.contextIsolation).toBe(true);
  });

  test('4: the page is sandboxed, and so is every process', () => {
    expect(window.options.webPreferences.sandbox).toBe(true);
    expect(electron.calls).toContain('sandbox');
  });

  test('5: every permission is refused, asked for or looked up', () => {
    for (const permission of ['media', 'geolocation', 'notifications', 'clipboard-read', 'openExternal', 'hid']) {
      let granted: boolean | undefined;
      electron.guards.request?.(window.webContents, permission, (answer) => (granted = answer));
      const looked = electron.guards.check?.(window.webContents, permission);
      expect([permission, granted, looked]).toEqual([permission, false, false]);
    }
    expect(electron.guards.device?.({})).toBe(false);
  });

  test('6: web security is on', () => {
    expect(window.options.webPreferences.webSecurity).toBe(true);
  });

  test('7: every page and file has a strict policy, and may connect to nothing', async () => {
    for (const path of ['', 'assets/index-1a.js']) {
      const policy = (await ask(START + path)).headers.get('content-security-policy')?.split('; ');
      expect(policy).toEqual(
        expect.arrayContaining([
          "default-src 'none'",
          "script-src 'self'",
          "style-src 'self'",
          "connect-src 'none'",
          "base-uri 'none'",
          "form-action 'none'",
          "frame-ancestors 'none'",
        ]),
      );
      expect(policy?.join()).not.toMatch(/unsafe|\*|http/);
    }
  });

  test('8, 9: no insecure content and no experiments', () => {
    const { allowRunningInsecureContent, experimentalFeatures } = window.options.webPreferences;
    expect({ allowRunningInsecureContent, experimentalFeatures }).toEqual({
      allowRunningInsecureContent: false,
      experimentalFeatures: false,
    });
    expect(window.options.webPreferences).not.toHaveProperty('enableBlinkFeatures');
  });

  test('11, 12: no webview can be attached', () => {
    expect(window.options.webPreferences.webviewTag).toBe(false);
    expect(prevents('will-attach-webview')).toBe(true);
  });

  test('13: navigation is refused, in frames and by redirects too', () => {
    expect(['will-navigate', 'will-frame-navigate', 'will-redirect'].map(prevents)).toEqual([true, true, true]);
  });

  test('14, 15: no window is opened; a link goes to the browser, at a click and by http or https alone', () => {
    const { webContents } = window;
    const open = (url: string): string[] => {
      const before = electron.opened.length;
      expect(webContents.openHandler({ url })).toEqual({ action: 'deny' });
      return electron.opened.slice(before);
    };
    const click = (): boolean => webContents.emit('input-event', {}, { type: 'mouseUp' });

    expect(open('https://example.org/')).toEqual([]);
    webContents.emit('input-event', {}, { type: 'mouseMove' });
    expect(open('https://example.org/')).toEqual([]);
    click();
    expect(open('https://example.org/a?b')).toEqual(['https://example.org/a?b']);
    expect(open('https://example.org/second')).toEqual([]);
    for (const url of [
      'file:///etc/passwd',
      'javascript:alert(1)',
      'smb://host/share',
      'ms-msdt:/id',
      `${START}`,
      'about:blank',
      'no address',
    ]) {
      click();
      expect([url, open(url)]).toEqual([url, []]);
    }
  });

  test('17: whoever else sends on the channel is not heard', async () => {
    const { webContents } = window;
    const main = webContents.mainFrame;
    const frames: [sender: unknown, frame: FakeFrame | null][] = [
      [{}, main],
      [webContents, null],
      [webContents, { url: START, parent: main }],
      [webContents, { url: 'https://example.org/', parent: null }],
      [webContents, { url: 'synod-app://other/', parent: null }],
      [webContents, { url: 'https://synod-app/app/', parent: null }],
      [webContents, { url: '', parent: null }],
    ];
    const before = webContents.sent.length;
    const say = (sender: unknown, senderFrame: FakeFrame | null): void => {
      const event = { sender, senderFrame };
      electron.module.ipcMain.emit('synod', event, 'a-page', 1, 'open');
      const text = JSON.stringify({ id: 1, method: 'groups', params: {} });
      electron.module.ipcMain.emit('synod', event, 'a-page', 1, 'text', text);
    };
    for (const [sender, frame] of frames) say(sender, frame);
    await sleep(50);
    expect(webContents.sent.slice(before)).toEqual([]);
    say(webContents, main);
    await until(() => webContents.sent.length > before);
    expect(webContents.sent.at(-1)).toEqual(['synod', 'a-page', 1, ['{"id":1,"result":[]}']]);
  });

  test('18: its scheme is its own, with an origin; a file has none', async () => {
    expect(electron.schemes).toEqual([{ scheme: 'synod-app', privileges: { standard: true, secure: true } }]);
    expect(electron.calls).toContain('schemes');
    const index = await ask(START);
    expect([index.status, await index.text()]).toEqual([200, '<title>Synod</title>']);
    expect((await ask(`${START}assets/index-1a.js`)).headers.get('content-type')).toBe(
      'text/javascript; charset=utf-8',
    );
    for (const path of [
      '../secret.html',
      '%2e%2e/secret.html',
      '..%2f..%2fsecret.html',
      '../../secret.html',
      'nothing',
    ]) {
      expect([path, (await ask(START + path)).status]).toEqual([path, 404]);
    }
    expect((await ask('synod-app://other/')).status).toBe(404);
    expect((await ask(START, 'POST')).status).toBe(405);
  });

  test('its data stays on this machine, beside the log', () => {
    const place = join(installed.dir, 'window');
    expect(Object.fromEntries(electron.paths)).toEqual({ userData: place, sessionData: place });
    expect(electron.calls[0]).toBe(`lock in ${place}`);
    expect(window.options.webPreferences.spellcheck).toBe(false);
  });

  test('the page asks through the preload as a command asks through its socket', async () => {
    const { service } = connectPage(electron, window);
    expect(await service.create({ title: 'Ward 3' }, never)).toMatchObject({ title: 'Ward 3' });
    const text = `${'long '.repeat(200_000)}end`;
    const written = await service.append({ text, wait: 'committed', timeoutMs: 20_000 }, never);
    expect(written).toMatchObject({ status: 'committed', position: 1 });
    const lines: unknown[] = [];
    for await (const line of service.log({ follow: false, pending: false }, never)) lines.push(line.text);
    expect(lines).toEqual([text]);

    const command = await connect(installed.dir, never);
    expect(await command.service.groups({}, never)).toHaveLength(1);
    command.close();
  });

  test('a page that takes nothing holds the log up, and goes on without a gap', async () => {
    const bridge = runPreload(installed.preload, electron, window);
    let got: string[] = [];
    const line = bridge.connect(
      (text) => got.push(text),
      () => {},
    );
    line.pause();
    for (let id = 1; id <= 12; id++) {
      line.send(JSON.stringify({ id, method: 'log', params: { follow: false, pending: false } }));
    }
    await sleep(300);
    const held = got.reduce((sum, text) => sum + text.length, 0);
    expect(got.length).toBeGreaterThan(0);
    expect(held).toBeLessThan(4 * 1024 * 1024); // all twelve are 12 MB
    expect(got.some((text) => text.includes('"id":12'))).toBe(false);
    line.resume();
    await until(() => got.filter((text) => text.includes('"done":true')).length === 12);
    got = [];
    line.close();
    line.send('{"id":99,"method":"groups","params":{}}');
    await sleep(50);
    expect(got).toEqual([]);
  });

  test('what a page asks while it takes nothing waits, and is answered later; too much of it ends the line', async () => {
    const bridge = runPreload(installed.preload, electron, window);
    const got: string[] = [];
    let ended = 0;
    const line = bridge.connect(
      (text) => got.push(text),
      () => (ended += 1),
    );
    const groups = (id: number): string => `{"id":${id},"method":"groups","params":{}}`;
    const fill = async (from: number): Promise<void> => {
      const before = got.length;
      line.pause();
      for (const id of [from, from + 1]) {
        line.send(JSON.stringify({ id, method: 'log', params: { follow: false, pending: false } }));
      }
      await until(() => got.length >= before + 2);
    };
    await fill(1);
    line.send(groups(3));
    await sleep(50);
    expect(got.some((text) => text.startsWith('{"id":3,'))).toBe(false);
    line.resume();
    await until(() => got.some((text) => text.startsWith('{"id":3,')));

    await fill(10);
    for (let id = 100; id < 5_000; id++) line.send(groups(id));
    await until(() => ended === 1);
  });

  test.each([
    ['no text', 7],
    ['no message', 'nonsense'],
    ['an object', { id: 1 }],
    ['more than a message', `{"id":1,"method":"groups","params":{}}${' '.repeat(8 * 1024 * 1024)}`],
    ['more bytes than a message', `{"id":1,"method":"${'é'.repeat(4 * 1024 * 1024)}","params":{}}`],
  ])('%s ends the line, and only that one', async (_, payload) => {
    const bridge = runPreload(installed.preload, electron, window);
    let ended = 0;
    const bad = bridge.connect(
      () => {},
      () => (ended += 1),
    );
    const texts: string[] = [];
    const good = bridge.connect(
      (text) => texts.push(text),
      () => {},
    );
    bad.send(payload as string);
    await until(() => ended === 1);
    good.send('{"id":1,"method":"groups","params":{}}');
    await until(() => texts.length === 1);
  });

  test('20: the page is given texts to and from the peer, and nothing of Electron', () => {
    const bridge = runPreload(installed.preload, electron, window);
    expect(Object.keys(bridge)).toEqual(['connect']);
    const line = bridge.connect(
      () => {},
      () => {},
    );
    expect(Object.keys(line).toSorted()).toEqual(['close', 'pause', 'resume', 'send']);
    expect(Object.values(line).map((each) => each.call(undefined, '{"id":1,"method":"groups","params":{}}'))).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });

  test('a page may have eight lines, and is told that there is no ninth', async () => {
    const bridge = runPreload(installed.preload, electron, window);
    const ended: number[] = [];
    const lines = Array.from({ length: 9 }, (_, at) =>
      bridge.connect(
        () => {},
        () => ended.push(at),
      ),
    );
    await until(() => ended.length > 0);
    expect(ended).toEqual([8]);
    for (const line of lines) line.close();
  });

  test('a page that crashed is loaded anew, but not for ever', () => {
    const { webContents } = window;
    const crash = (reason: string): boolean => webContents.emit('render-process-gone', {}, { reason });
    crash('crashed');
    expect(webContents.reloads).toBe(1);
    crash('oom');
    expect(webContents.reloads).toBe(1);
  });

  test('a page that is loaded anew starts afresh, and the lines of the old one are gone', async () => {
    const old = connectPage(electron, window);
    const abort = new AbortController();
    const watching = (async () => {
      for await (const _ of old.service.watch({}, abort.signal));
    })().catch((error: PeerError) => error.code);
    const fresh = connectPage(electron, window);
    expect(await fresh.service.groups({}, never)).toHaveLength(1);
    abort.abort();
    expect(await watching).toBe('CANCELLED');
  });

  test('a second start brings the window to the front', () => {
    window.done.length = 0;
    window.minimized = true;
    electron.module.app.emit('second-instance', {}, []);
    expect(window.done).toEqual(['restore', 'show', 'focus']);
    expect(electron.windows).toHaveLength(1);
  });

  test('the menu has what a person looks for', () => {
    const roles = electron.menu.items.flatMap((item) => [item.role, ...(item.submenu ?? []).map(({ role }) => role)]);
    const quit = process.platform === 'darwin' ? 'appMenu' : 'quit';
    expect(roles).toEqual(expect.arrayContaining(['close', quit, 'editMenu', 'zoomIn', 'zoomOut', 'reload', 'help']));
    const help = electron.menu.items.find((item) => item.role === 'help');
    help?.submenu?.find((item) => item.label?.includes('data folder'))?.click?.();
    expect(electron.opened.at(-1)).toBe(installed.dir);
  });
});

describe('from start to end', () => {
  let electron: FakeElectron;
  let window: FakeWindow;
  const stateFile = (): string => join(installed.dir, 'window/window.json');

  beforeEach(() => mkdirSync(join(installed.dir, 'window'), { recursive: true }));

  afterEach(() => rmSync(installed.dir, { recursive: true, force: true, maxRetries: 5 }));

  test('a second start ends before it touches anything', async () => {
    electron = installed.load((each) => {
      each.module.app.hasLock = false;
    });
    electron.beReady();
    expect(await electron.exited).toBe(0);
    await sleep(50);
    expect({ windows: electron.windows, schemes: electron.schemes }).toEqual({ windows: [], schemes: [] });
    expect(existsSync(join(installed.dir, 'identity'))).toBe(false);
  });

  test('quitting tells the page, hands over, lets go of the directory, and leaves once', async () => {
    ({ electron, window } = await installed.launch());
    const page = connectPage(electron, window);
    await page.service.create({ title: 'Ward 3' }, never);
    const watching = (async () => {
      for await (const _ of page.service.watch({}, never));
    })().catch((error: PeerError) => error.code);
    electron.module.app.quit();
    electron.module.app.quit();
    expect(electron.calls.filter((call) => call.startsWith('exit'))).toEqual([]);
    expect(await electron.exited).toBe(0);
    expect(await watching).toBe('STOPPING');
    expect(page.ended()).toBe(true);
    expect(electron.calls.filter((call) => call.startsWith('exit'))).toEqual(['exit 0']);
    expect(existsSync(join(installed.dir, 'endpoint.json'))).toBe(false);
    const peer = await openPeer({ dir: installed.dir, mdns: false, listen: ['/ip4/127.0.0.1/tcp/0'] });
    expect(await peer.service.groups({}, never)).toHaveLength(1);
    await peer.close();
  });

  test('closing the last window quits', async () => {
    ({ electron, window } = await installed.launch());
    window.close();
    if (process.platform === 'darwin') electron.module.app.quit();
    expect(await electron.exited).toBe(0);
  });

  test('the window comes back where it was', async () => {
    ({ electron, window } = await installed.launch());
    expect(window.options).toMatchObject({ width: 1_100, height: 800, show: false });
    expect(window.options).not.toHaveProperty('x');
    window.bounds = { x: 300, y: 200, width: 640, height: 600 };
    window.maximized = true;
    electron.module.app.quit();
    await electron.exited;
    ({ electron, window } = await installed.launch());
    expect(window.options).toMatchObject({ x: 300, y: 200, width: 640, height: 600 });
    expect(window.maximized).toBe(true);
    electron.module.app.quit();
    await electron.exited;
  });

  test('a state file of garbage is as good as none', async () => {
    writeFileSync(stateFile(), '{"bounds":{"x":"a"');
    ({ electron, window } = await installed.launch());
    expect(window.options).toMatchObject({ width: 1_100, height: 800 });
    electron.module.app.quit();
    await electron.exited;
    expect(JSON.parse(readFileSync(stateFile(), 'utf8')).bounds).toEqual(window.bounds);
  });

  test('a start that fails says why and ends with 1', async () => {
    const other = await openPeer({ dir: installed.dir, mdns: false, listen: ['/ip4/127.0.0.1/tcp/0'] });
    electron = installed.load();
    electron.beReady();
    expect(await electron.exited).toBe(1);
    expect(electron.errors).toEqual([
      { title: 'Synod can’t start', text: expect.stringContaining('Another Synod is running') },
    ]);
    expect(electron.windows).toEqual([]);
    await other.close();
  });

  describe('with a peer that is in trouble', () => {
    const end = Promise.withResolvers<Error | undefined>();
    let closes: number;
    let wakes: number;

    function fakePeer(close: () => Promise<void>, closed: Promise<Error | undefined>) {
      closes = 0;
      wakes = 0;
      return (each: FakeElectron): void => {
        mkdirSync(installed.dir, { recursive: true });
        each.openPeer = async () => ({
          peer: PEER as PeerId,
          service: new FakeService(),
          addresses: () => [],
          webPlace: async () => ({ token: '', port: null }),
          keepWebPort: async () => {},
          view: () => {
            throw new Error('the window measures nothing');
          },
          wake: () => {
            wakes += 1;
          },
          close: () => {
            closes += 1;
            return close();
          },
          closed,
        });
      };
    }

    test('a peer that ends by itself is told with its reason', async () => {
      ({ electron, window } = await installed.launch(fakePeer(async () => {}, end.promise)));
      end.resolve(new PeerError('DISK_FAILED', 'The disk refused a write.'));
      expect(await electron.exited).toBe(1);
      expect(electron.errors).toEqual([{ title: 'Synod had to stop', text: 'The disk refused a write.' }]);
      expect(closes).toBe(1);
    });

    test('a stop that hangs is given up after ten seconds', async () => {
      ({ electron, window } = await installed.launch(fakePeer(() => new Promise(() => {}), new Promise(() => {}))));
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
      try {
        electron.module.app.quit();
        await until(() => closes === 1);
        await vi.advanceTimersByTimeAsync(9_900);
        expect(electron.calls).not.toContain('exit 0');
        await vi.advanceTimersByTimeAsync(200);
        expect(electron.calls).toContain('exit 0');
      } finally {
        vi.useRealTimers();
      }
    });

    test('after a sleep it looks for the others at once', async () => {
      ({ electron, window } = await installed.launch(fakePeer(async () => {}, new Promise(() => {}))));
      electron.module.powerMonitor.emit('resume');
      expect(wakes).toBe(1);
      electron.module.app.quit();
      await electron.exited;
    });
  });

  test('asked to follow builds, it loads what was built anew, by the same scheme and under the same policy', async () => {
    ({ electron, window } = await installed.launch(undefined, ['--follow-builds']));
    const index = async (): Promise<Response> =>
      (await electron.handlers.get('synod-app')?.(new Request(START))) as Response;
    expect(await (await index()).text()).toBe('<title>Synod</title>');
    const policy = (await index()).headers.get('content-security-policy');
    writeFileSync(join(installed.rendererDir, 'index.html'), '<title>New</title>');
    await until(() => window.webContents.reloads > 0);
    const built = await index();
    expect([await built.text(), built.headers.get('content-security-policy')]).toEqual(['<title>New</title>', policy]);
    // Half a build is none.
    const before = window.webContents.reloads;
    rmSync(join(installed.rendererDir, 'index.html'));
    await sleep(300);
    expect([window.webContents.reloads, await (await index()).text()]).toEqual([before, '<title>New</title>']);
    electron.module.app.quit();
    await electron.exited;
  });

  test.each([
    ['not asked to', false, []],
    ['packaged', true, ['--follow-builds']],
  ])('%s, it shows what it was started with', async (_, isPackaged, options) => {
    ({ electron, window } = await installed.launch((each) => {
      each.module.app.isPackaged = isPackaged;
    }, options));
    writeFileSync(join(installed.rendererDir, 'index.html'), '<title>New</title>');
    await sleep(300);
    expect(window.webContents.reloads).toBe(0);
    const index = (await electron.handlers.get('synod-app')?.(new Request(START))) as Response;
    expect(await index.text()).toBe('<title>Synod</title>');
    electron.module.app.quit();
    await electron.exited;
  });

  test('a packaged program has no tools for developers', async () => {
    ({ electron, window } = await installed.launch((each) => {
      each.module.app.isPackaged = true;
    }));
    const roles = electron.menu.items.flatMap((item) => (item.submenu ?? []).map(({ role }) => role));
    expect(roles).not.toContain('reload');
    expect(roles).not.toContain('toggleDevTools');
    expect(window.options.webPreferences.devTools).toBe(false);
    electron.module.app.quit();
    await electron.exited;
  });
});
