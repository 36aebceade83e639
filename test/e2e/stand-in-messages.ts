/** What a machine's process of the stand-in and the test, which has its window's page, tell each other. */

/** A window of that process. */
export type WindowId = number;

/** Of a request, as the main process sees it. */
export interface Asked {
  readonly url: string;
  readonly method: string;
  /** It would replace the page. */
  readonly isNavigation: boolean;
}

/** Null: it is not to be loaded. */
export type Answered = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
} | null;

export interface SenderFrame {
  readonly url: string;
  readonly isTop: boolean;
}

export type FromProcess =
  | { readonly kind: 'load'; readonly window: WindowId; readonly url: string; readonly granted: readonly string[] }
  | { readonly kind: 'reload' | 'close'; readonly window: WindowId }
  /** By `webContents.send`. */
  | { readonly kind: 'send'; readonly window: WindowId; readonly args: readonly unknown[] }
  | { readonly kind: 'answer'; readonly id: number; readonly answer: Answered }
  /** Of the first window: it was brought to the front. */
  | { readonly kind: 'focused' }
  /** Another process has this one's folder. */
  | { readonly kind: 'second' };

export type ToProcess =
  | { readonly kind: 'loaded'; readonly window: WindowId }
  /** A person closed the window. */
  | { readonly kind: 'closed'; readonly window: WindowId }
  /** By `ipcRenderer.send`. */
  | {
      readonly kind: 'ipc';
      readonly window: WindowId;
      readonly frame: SenderFrame;
      readonly args: readonly [channel: string, ...unknown[]];
    }
  | { readonly kind: 'ask'; readonly id: number; readonly window: WindowId; readonly asked: Asked }
  | { readonly kind: 'second' }
  | { readonly kind: 'quit' };
