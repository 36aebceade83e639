/**
 * How a window's page reaches its peer in Electron: as `window.synod`, and between the preload and the main process as
 * messages of one channel.
 */

/** One conversation with the peer, in the texts of `messages.ts`. */
export interface BridgeLine {
  send(text: string): void;
  /** Stops and goes on with taking, so that what the peer sends waits there and not here. */
  pause(): void;
  resume(): void;
  /** Hangs up; nothing is called any more. */
  close(): void;
}

/** What the page finds as `window.synod`. */
export interface Bridge {
  /** `onEnd` is called once, where the peer hangs up. */
  connect(onText: (text: string) => void, onEnd: () => void): BridgeLine;
}

/**
 * The channel, both ways.
 *
 *   page → peer   (page, line, 'open')         a new line; `page` is drawn anew each time the page is loaded
 *                 (page, line, 'text', text)
 *                 (page, line, 'took', length) so many UTF-16 units were taken, and more may come
 *                 (page, line, 'close')
 *   peer → page   (page, line, texts)          null: the line has ended
 */
export const BRIDGE_CHANNEL = 'synod';

/** The window's program says this line once it can show a window: whoever started it then knows that it has one. */
export const WINDOW_OPEN = 'Synod’s window is open.';
