import { execFileSync } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire, registerHooks } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import vm from 'node:vm';
import type { Bridge } from '../../shared/ipc/bridge.ts';
import { type FakeElectron, type FakeWindow, makeElectron } from './electron-stub.ts';
import { mapElectron } from './map-electron.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** The stub that the main of the next launch imports. */
let current: FakeElectron;
const PEER = 'peer-stub:';
let launches = 0;

mapElectron(() => current.module);
registerHooks({
  resolve(specifier, context, next) {
    const isFake = current?.openPeer !== undefined && /\/parts\/peer-[\w-]+\.js$/.test(specifier);
    return isFake ? { url: `${PEER}${launches}`, shortCircuit: true } : next(specifier, context);
  },
  load(url, context, next) {
    if (!url.startsWith(PEER)) return next(url, context);
    (globalThis as { openFakePeer?: unknown }).openFakePeer = current.openPeer;
    return { format: 'module', shortCircuit: true, source: 'export const openPeer = globalThis.openFakePeer;' };
  },
});

/** Past the test runner's own loader, so that the hooks above see every import. */
const requireBuilt = createRequire(import.meta.url);

// Many programs in one process listen to what each would have for itself.
EventEmitter.defaultMaxListeners = 50;

/** Where a program was built to, in the layout that it is installed in. */
export class Installed {
  readonly place = mkdtempSync(join(tmpdir(), 'synod-shell-'));
  readonly dir = join(this.place, 'data');
  /** Of the last launch. */
  rendererDir = '';

  constructor() {
    execFileSync(process.execPath, [join(root, '.ci/electron.js'), join(this.place, 'built')]);
  }

  remove(): void {
    rmSync(this.place, { recursive: true, force: true });
  }

  /** Starts a copy of its own, since a module runs once in a process. It is not yet ready. */
  load(setUp: (electron: FakeElectron) => void = () => {}, options: readonly string[] = []): FakeElectron {
    launches += 1;
    const home = join(this.place, `launch-${launches}`);
    this.rendererDir = join(home, 'out/renderer');
    mkdirSync(join(home, 'out/renderer/assets'), { recursive: true });
    writeFileSync(join(home, 'package.json'), '{ "type": "module" }');
    writeFileSync(join(home, 'out/renderer/index.html'), '<title>Synod</title>');
    writeFileSync(join(home, 'out/renderer/assets/index-1a.js'), 'export {};');
    writeFileSync(join(home, 'secret.html'), 'secret');
    cpSync(join(this.place, 'built'), join(home, 'out/electron'), { recursive: true });
    symlinkSync(join(root, 'node_modules'), join(home, 'node_modules'), 'junction');
    current = makeElectron();
    setUp(current);
    const { argv } = process;
    process.argv = ['electron', home, '--dir', this.dir, '--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0', ...options];
    try {
      requireBuilt(join(home, 'out/electron/main/main.js'));
    } finally {
      process.argv = argv;
    }
    return current;
  }

  /** Starts one and waits for its window. */
  async launch(
    setUp?: (electron: FakeElectron) => void,
    options: readonly string[] = [],
  ): Promise<{ electron: FakeElectron; window: FakeWindow }> {
    const electron = this.load(setUp, options);
    electron.beReady();
    await until(() => electron.windows.length > 0 || electron.errors.length > 0);
    const [window] = electron.windows;
    if (window === undefined) throw new Error(`no window: ${JSON.stringify(electron.errors)}`);
    return { electron, window };
  }

  get preload(): string {
    return readFileSync(join(this.place, 'built/preload/preload.cjs'), 'utf8');
  }
}

/** Runs the built preload for a window's page; the result is what the page finds as `window.synod`. */
export function runPreload(source: string, electron: FakeElectron, window: FakeWindow): Bridge {
  const exposed: Record<string, unknown> = {};
  const contents = window.webContents;
  // The page that was there before hears nothing any more.
  contents.removeAllListeners('to-page');
  const modules: Record<string, unknown> = {
    electron: {
      contextBridge: {
        exposeInMainWorld: (name: string, value: unknown) => {
          exposed[name] = value;
        },
      },
      ipcRenderer: {
        on: (channel: string, listener: (event: object, ...args: unknown[]) => void) => {
          contents.on('to-page', (to: string, ...args: unknown[]) => {
            if (to === channel) listener({}, ...args);
          });
        },
        send: (channel: string, ...args: unknown[]) => {
          const event = { sender: contents, senderFrame: contents.mainFrame };
          electron.module.ipcMain.emit(channel, event, ...structuredClone(args));
        },
      },
    },
  };
  const require = (name: string): unknown => {
    if (!Object.hasOwn(modules, name)) throw new Error(`a sandboxed preload can't load ${name}`);
    return modules[name];
  };
  vm.runInNewContext(source, { require, crypto, exports: {}, module: { exports: {} } });
  if (Object.keys(exposed).join() !== 'synod') throw new Error(`exposed: ${Object.keys(exposed)}`);
  return exposed.synod as Bridge;
}

export async function until(condition: () => boolean): Promise<void> {
  for (let waited = 0; !condition(); waited += 5) {
    if (waited > 10_000) throw new Error('it never came to be');
    await sleep(5);
  }
}
