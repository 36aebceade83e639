import { openBridge } from './bridge.ts';
import { openSocket } from './socket.ts';
import { takeToken } from './token.ts';
import type { OpenWire } from './wire.ts';

/** The way to the peer from where this page is shown; null for a page in a browser that was opened without its token. */
export function chooseWire(): OpenWire | null {
  if (window.synod) return openBridge(window.synod);
  const token = takeToken();
  if (token === null) return null;
  return openSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/peer`, token);
}
