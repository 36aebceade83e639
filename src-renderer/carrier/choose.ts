import { openBridge } from './bridge.ts';
import { openSocket } from './socket.ts';
import { forgetToken, takeToken } from './token.ts';
import type { OpenWire } from './wire.ts';

/** The way to the peer from where this page is shown; null for a page in a browser that was opened without its token. */
export function chooseWire(): OpenWire | null {
  if (window.synod) return openBridge(window.synod);
  if (takeToken() === null) return null;
  const url = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/peer`;
  // The token is looked up each time: the page may have been given another one since.
  return (events) =>
    openSocket(
      url,
      takeToken() ?? '',
    )({
      opened: () => events.opened(),
      text: (text) => events.text(text),
      ended: () => events.ended(),
      refused() {
        forgetToken();
        events.refused();
      },
    });
}
