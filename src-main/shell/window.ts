import { BrowserWindow, screen } from 'electron';
import { START_URL } from './scheme.ts';
import { readWindowState, SIZE_DEFAULT, SIZE_MIN, saveWindowState } from './window-state.ts';

/** A page that crashes again within this time is left as it is. Milliseconds. */
const CRASH_MS = 10_000;

export interface WindowOptions {
  readonly preload: string;
  /** Where the window's place on the screen is kept. */
  readonly stateFile: string;
  readonly isDev: boolean;
}

/** A window with a page that can do nothing but what the preload gives it. */
export function openWindow({ preload, stateFile, isDev }: WindowOptions): BrowserWindow {
  const { bounds, maximised } = readWindowState(
    stateFile,
    screen.getAllDisplays().map((display) => display.workArea),
  );
  const window = new BrowserWindow({
    ...SIZE_DEFAULT,
    ...bounds,
    minWidth: SIZE_MIN.width,
    minHeight: SIZE_MIN.height,
    title: 'Synod',
    show: false,
    webPreferences: {
      preload,
      sandbox: true,
      contextIsolation: true,
      nodeIntegration: false,
      nodeIntegrationInWorker: false,
      nodeIntegrationInSubFrames: false,
      webSecurity: true,
      allowRunningInsecureContent: false,
      experimentalFeatures: false,
      webviewTag: false,
      // Its dictionaries are fetched from elsewhere.
      spellcheck: false,
      devTools: isDev,
    },
  });
  if (maximised) window.maximize();
  window.once('ready-to-show', () => window.show());
  window.on('close', () =>
    saveWindowState(stateFile, { bounds: window.getNormalBounds(), maximised: window.isMaximized() }),
  );
  reloadAfterCrash(window);
  void window.loadURL(START_URL);
  return window;
}

/** What a page shows is the peer's, so one that crashed starts anew and has lost nothing. */
function reloadAfterCrash({ webContents }: BrowserWindow): void {
  let crashedAtMs = Number.NEGATIVE_INFINITY;
  webContents.on('render-process-gone', (_event, { reason }) => {
    const isOften = performance.now() - crashedAtMs < CRASH_MS;
    crashedAtMs = performance.now();
    if (reason !== 'clean-exit' && !isOften) webContents.reload();
  });
}
