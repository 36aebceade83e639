import { EventEmitter } from 'node:events';
import type { Peer } from '../../src-main/peer/peer.ts';

/** As Electron's events are: whoever listens can prevent what would follow. */
export interface Preventable {
  defaultPrevented: boolean;
  preventDefault(): void;
}

export function preventable(): Preventable {
  return {
    defaultPrevented: false,
    preventDefault() {
      this.defaultPrevented = true;
    },
  };
}

export interface FakeFrame {
  url: string;
  parent: FakeFrame | null;
}

type OpenHandler = (details: { url: string }) => { action: string };

/** What stands behind a stub's windows, where something does. */
export interface Glass {
  /** Done when the page is there. */
  load(contents: FakeContents, url: string): Promise<void>;
  reload(contents: FakeContents): void;
  close(contents: FakeContents): void;
  /** Whether this is the only program on this folder. */
  lock(userData: string): boolean;
}

const NOTHING_BEHIND: Glass = {
  load: async () => {},
  reload: () => {},
  close: () => {},
  lock: () => true,
};

export class FakeContents extends EventEmitter {
  readonly #glass: Glass;
  readonly mainFrame: FakeFrame = { url: '', parent: null };
  readonly sent: unknown[][] = [];
  openHandler: OpenHandler = () => ({ action: 'allow' });
  destroyed = false;
  reloads = 0;

  constructor(glass: Glass = NOTHING_BEHIND) {
    super();
    this.#glass = glass;
  }

  setWindowOpenHandler(handler: OpenHandler): void {
    this.openHandler = handler;
  }

  reload(): void {
    this.reloads += 1;
    this.#glass.reload(this);
  }

  isDestroyed(): boolean {
    return this.destroyed;
  }

  send(channel: string, ...args: unknown[]): void {
    const message = structuredClone([channel, ...args]);
    this.sent.push(message);
    queueMicrotask(() => this.emit('to-page', ...message));
  }
}

export interface Bounds {
  x: number;
  y: number;
  width: number;
  height: number;
}

type Privileges = { scheme: string; privileges: Record<string, boolean> };
type MenuItem = { label?: string; role?: string; submenu?: readonly MenuItem[]; click?: () => void };

/**
 * What the built main and preload use of Electron, in plain Node, with a record of what they did. No renderer, no sandbox and no
 * real window stand behind it, unless a glass shows the pages elsewhere.
 */
export function makeElectron(glass: Glass = NOTHING_BEHIND) {
  const windows: FakeWindow[] = [];
  const calls: string[] = [];
  const paths = new Map<string, string>();
  const exited = Promise.withResolvers<number>();

  class FakeApp extends EventEmitter {
    isPackaged = false;
    hasLock = true;
    ready = Promise.withResolvers<void>();
    isReadyNow = false;
    whenReady(): Promise<void> {
      return this.ready.promise;
    }
    isReady(): boolean {
      return this.isReadyNow;
    }
    requestSingleInstanceLock(): boolean {
      const userData = `${paths.get('userData')}`;
      calls.push(`lock in ${userData}`);
      return this.hasLock && glass.lock(userData);
    }
    setPath(name: string, path: string): void {
      paths.set(name, path);
    }
    getPath(name: string): string {
      return paths.get(name) ?? '/roaming';
    }
    enableSandbox(): void {
      calls.push(this.isReadyNow ? 'sandbox too late' : 'sandbox');
    }
    showAboutPanel(): void {}
    quit(): void {
      calls.push('quit');
      const event = preventable();
      this.emit('before-quit', event);
      if (!event.defaultPrevented) this.exit(0);
    }
    exit(code: number): void {
      calls.push(`exit ${code}`);
      exited.resolve(code);
    }
  }
  const app = new FakeApp();

  class FakeWindow extends EventEmitter {
    readonly webContents = new FakeContents(glass);
    readonly options: Record<string, unknown> & { webPreferences: Record<string, unknown> };
    readonly done: string[] = [];
    bounds: Bounds = { x: 10, y: 20, width: 1_000, height: 700 };
    minimized = false;
    maximized = false;

    constructor(options: FakeWindow['options']) {
      super();
      this.options = options;
      windows.push(this);
      app.emit('web-contents-created', {}, this.webContents);
    }
    async loadURL(url: string): Promise<void> {
      this.webContents.mainFrame.url = url;
      await glass.load(this.webContents, url);
      this.emit('ready-to-show');
    }
    show(): void {
      this.done.push('show');
    }
    focus(): void {
      this.done.push('focus');
    }
    restore(): void {
      this.done.push('restore');
    }
    maximize(): void {
      this.maximized = true;
    }
    isMinimized(): boolean {
      return this.minimized;
    }
    isMaximized(): boolean {
      return this.maximized;
    }
    getNormalBounds(): Bounds {
      return this.bounds;
    }
    close(): void {
      if (this.webContents.destroyed) return;
      this.emit('close', preventable());
      glass.close(this.webContents);
      this.webContents.destroyed = true;
      this.webContents.emit('destroyed');
      this.emit('closed');
      if (windows.every((window) => window.webContents.destroyed)) app.emit('window-all-closed');
    }
  }

  const schemes: Privileges[] = [];
  const handlers = new Map<string, (request: Request) => Response | Promise<Response>>();
  const guards: {
    request?: (contents: unknown, permission: string, answer: (granted: boolean) => void) => void;
    check?: (contents: unknown, permission: string) => boolean;
    device?: (details: unknown) => boolean;
    load?: (details: { url: string }, answer: (verdict: { cancel: boolean }) => void) => void;
  } = {};
  const defaultSession = {
    protocol: {
      handle: (scheme: string, handler: (request: Request) => Response) => handlers.set(scheme, handler),
    },
    setPermissionRequestHandler: (handler: typeof guards.request & {}) => {
      guards.request = handler;
    },
    setPermissionCheckHandler: (handler: typeof guards.check & {}) => {
      guards.check = handler;
    },
    setDevicePermissionHandler: (handler: typeof guards.device & {}) => {
      guards.device = handler;
    },
    webRequest: {
      onBeforeRequest: (handler: typeof guards.load & {}) => {
        guards.load = handler;
      },
    },
    flushStorageData: () => calls.push('flush'),
  };

  const menu: { items: readonly MenuItem[] } = { items: [] };
  const errors: { title: string; text: string }[] = [];
  const opened: string[] = [];

  return {
    /** Stands in for the peer, where a test needs one that fails. */
    openPeer: undefined as (() => Promise<Peer>) | undefined,
    /** What `import … from 'electron'` gives. */
    module: {
      app,
      BrowserWindow: FakeWindow,
      dialog: { showErrorBox: (title: string, text: string) => errors.push({ title, text }) },
      ipcMain: new EventEmitter(),
      Menu: {
        buildFromTemplate: (items: readonly MenuItem[]) => items,
        setApplicationMenu: (items: readonly MenuItem[]) => {
          menu.items = items;
        },
      },
      powerMonitor: new EventEmitter(),
      protocol: {
        registerSchemesAsPrivileged: (each: Privileges[]) => {
          calls.push(app.isReadyNow ? 'schemes too late' : 'schemes');
          schemes.push(...each);
        },
      },
      screen: { getAllDisplays: () => [{ workArea: { x: 0, y: 0, width: 1_920, height: 1_040 } }] },
      session: { defaultSession },
      shell: {
        openExternal: async (url: string) => {
          opened.push(url);
        },
        openPath: async (path: string) => {
          opened.push(path);
        },
      },
    },
    windows,
    calls,
    paths,
    exited: exited.promise,
    schemes,
    handlers,
    guards,
    menu,
    errors,
    opened,
    beReady(): void {
      app.isReadyNow = true;
      app.ready.resolve();
    },
  };
}

export type FakeElectron = ReturnType<typeof makeElectron>;
export type FakeWindow = FakeElectron['windows'][number];
