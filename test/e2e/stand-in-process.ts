// One machine of the stand-in for Electron: the built main in Node, with a stub for `electron`. Its window's page is the test's,
// in Chromium, and what Electron would carry between the two goes over this process's channel.
//
//   node stand-in-process.ts ROOT [option …]
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type FakeContents, makeElectron, preventable } from '../shell/electron-stub.ts';
import { mapElectron } from '../shell/map-electron.ts';
import type { Answered, Asked, FromProcess, ToProcess } from './stand-in-messages.ts';

/** What Chromium's page could be granted. By the names that it has there. */
const PERMISSIONS = ['clipboard-read', 'clipboard-write', 'geolocation', 'notifications', 'camera', 'microphone'];

process.argv = ['electron', ...process.argv.slice(2)];
const [, root = ''] = process.argv;

const tell = (message: FromProcess): boolean | undefined => process.send?.(message);
const loading = new Map<FakeContents, () => void>();
const idOf = (contents: FakeContents): number => electron.windows.findIndex((each) => each.webContents === contents);

const electron = makeElectron({
  load(contents, url) {
    const granted = PERMISSIONS.filter((name) => electron.guards.check?.(contents, name) ?? true);
    tell({ kind: 'load', window: idOf(contents), url, granted });
    return new Promise((resolve) => loading.set(contents, resolve));
  },
  reload: (contents) => tell({ kind: 'reload', window: idOf(contents) }),
  close: (contents) => tell({ kind: 'close', window: idOf(contents) }),
  lock: takeLock,
});
const { app, dialog, ipcMain } = electron.module;

/** As Electron's: of all processes on a folder, one has it, and loses it with its life. */
function takeLock(userData: string): boolean {
  const file = join(userData, 'stand-in-lock');
  try {
    writeFileSync(file, `${process.pid}`, { flag: 'wx' });
  } catch {
    if (isRunning(Number(readFileSync(file, 'utf8')))) {
      tell({ kind: 'second' });
      return false;
    }
    writeFileSync(file, `${process.pid}`);
  }
  process.once('exit', () => rmSync(file, { force: true }));
  return true;
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

async function answer(contents: FakeContents, { url, method, isNavigation }: Asked): Promise<Answered> {
  if (isNavigation) {
    const event = preventable();
    contents.emit('will-navigate', event, url);
    if (event.defaultPrevented) return null;
  }
  let isCancelled = true;
  electron.guards.load?.({ url }, ({ cancel }) => {
    isCancelled = cancel;
  });
  if (isCancelled) return null;
  // What a page could get from elsewhere, were it let: no test asks anybody.
  const elsewhere = (): Response => new Response('<p>elsewhere</p>', { headers: { 'content-type': 'text/html' } });
  const handler = electron.handlers.get(new URL(url).protocol.replace(/:$/, '')) ?? elsewhere;
  const response = await handler(new Request(url, { method }));
  const body = new Uint8Array(await response.arrayBuffer());
  return { status: response.status, headers: Object.fromEntries(response.headers), body };
}

function receive(message: ToProcess): void {
  if (message.kind === 'quit') return app.quit();
  if (message.kind === 'second') {
    app.emit('second-instance', {}, []);
    if (electron.windows[0]?.done.at(-1) === 'focus') tell({ kind: 'focused' });
    return;
  }
  const window = electron.windows[message.window];
  if (window === undefined) throw new Error(`no window ${message.window}`);
  const { webContents } = window;
  switch (message.kind) {
    case 'loaded':
      loading.get(webContents)?.();
      break;
    case 'closed':
      window.close();
      break;
    case 'ipc': {
      const { url, isTop } = message.frame;
      const senderFrame = { url, parent: isTop ? null : webContents.mainFrame };
      const [channel, ...args] = message.args;
      ipcMain.emit(channel, { sender: webContents, senderFrame }, ...args);
      break;
    }
    case 'ask':
      void answer(webContents, message.asked).then((given) => tell({ kind: 'answer', id: message.id, answer: given }));
  }
}

app.on('web-contents-created', (_event: unknown, contents: FakeContents) => {
  contents.on('to-page', (...args: unknown[]) => tell({ kind: 'send', window: idOf(contents), args }));
});
dialog.showErrorBox = (title, text) => {
  process.stderr.write(`error ${title}: ${text}\n`);
  return electron.errors.push({ title, text });
};
process.on('message', receive);
// Its test was ended.
process.on('disconnect', () => process.exit(1));
process.on('SIGTERM', () => app.quit());
void electron.exited.then((code) => process.exit(code));

mapElectron(() => electron.module);
const { main } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
await import(pathToFileURL(join(root, main)).href);
electron.beReady();
