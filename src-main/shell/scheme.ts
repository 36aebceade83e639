import { type Protocol, protocol } from 'electron';
import { type Pages, pageHeaders } from '../peer/pages.ts';

const SCHEME = 'synod-app';
const HOST = 'app';

/** Where the window's page is. Not a file: such a page could read others. */
export const START_URL = `${SCHEME}://${HOST}/`;

/** Whether an address is of a page that this program serves. */
export function isOwnUrl(url: string): boolean {
  if (!URL.canParse(url)) return false;
  const { protocol: scheme, host } = new URL(url);
  return scheme === `${SCHEME}:` && host === HOST;
}

/** Before Electron is ready: the scheme's pages have an origin of their own and obey all rules of the web. */
export function registerScheme(): void {
  protocol.registerSchemesAsPrivileged([{ scheme: SCHEME, privileges: { standard: true, secure: true } }]);
}

/** Serves the built window, and nothing else, to the window. */
export function servePages(where: Protocol, pages: () => Pages): void {
  where.handle(SCHEME, (request) => answer(request, pages()));
}

function answer(request: Request, pages: Pages): Response {
  const page = isOwnUrl(request.url) ? pages.get(new URL(request.url).pathname) : undefined;
  if (page === undefined) return new Response(null, { status: 404 });
  if (request.method !== 'GET' && request.method !== 'HEAD') return new Response(null, { status: 405 });
  return new Response(request.method === 'HEAD' ? null : page.body, { headers: pageHeaders(page, []) });
}
