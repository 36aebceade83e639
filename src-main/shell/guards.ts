import { type Session, shell, type WebContents } from 'electron';
import { isOwnUrl } from './scheme.ts';

/** A link opens within this time after a click or a key. Milliseconds. */
const CLICK_MS = 1_000;

/** What a page can load besides this program's own files: nothing that leaves the page, or the developer's tools. */
const INNER_SCHEMES = ['data:', 'blob:', 'devtools:'];

/** No page is granted anything, and none loads anything from elsewhere. */
export function guardSession(session: Session): void {
  session.setPermissionRequestHandler((_contents, _permission, answer) => answer(false));
  session.setPermissionCheckHandler(() => false);
  session.setDevicePermissionHandler(() => false);
  session.webRequest.onBeforeRequest(({ url }, answer) => answer({ cancel: !isOwnUrl(url) && !isInner(url) }));
}

/** A page stays where it is, opens no windows and embeds none. */
export function guardContents(contents: WebContents): void {
  contents.on('will-navigate', (event) => event.preventDefault());
  contents.on('will-frame-navigate', (event) => event.preventDefault());
  contents.on('will-redirect', (event) => event.preventDefault());
  contents.on('will-attach-webview', (event) => event.preventDefault());

  let usedAtMs = Number.NEGATIVE_INFINITY;
  contents.on('input-event', (_event, { type }) => {
    if (type === 'mouseUp' || type === 'gestureTap' || type === 'keyDown' || type === 'rawKeyDown') {
      usedAtMs = performance.now();
    }
  });
  contents.setWindowOpenHandler(({ url }) => {
    // One click, one link.
    const isClicked = performance.now() - usedAtMs <= CLICK_MS;
    usedAtMs = Number.NEGATIVE_INFINITY;
    if (isClicked && isWebLink(url)) void shell.openExternal(url).catch(() => {});
    return { action: 'deny' };
  });
}

function isInner(url: string): boolean {
  return URL.canParse(url) && INNER_SCHEMES.includes(new URL(url).protocol);
}

/** Other schemes start programs. */
function isWebLink(url: string): boolean {
  return URL.canParse(url) && ['http:', 'https:'].includes(new URL(url).protocol);
}
