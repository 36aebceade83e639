import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { PeerService } from '../../shared/ipc/contract.ts';
import { PROTOCOL, WRONG_TOKEN_CLOSE } from '../../shared/ipc/messages.ts';
import { listenOn, ownHosts, refuse } from './loopback.ts';
import { pageHeaders, readPages } from './pages.ts';
import { sameSecret } from './secret.ts';
import { offeredBy, type Refusal, serveUpgrades } from './upgrades.ts';

/** Pages and their files at once. */
const CONNECTIONS_MAX = 256;
/** A page can set no header on its socket, so it offers its token as a second subprotocol. */
const TOKEN_PREFIX = 'token.';
const PEER_PATH = '/peer';
const HOST = '127.0.0.1';

export interface WebOptions {
  readonly service: PeerService;
  /** On 127.0.0.1; 0 for any that is free. */
  readonly port: number;
  /** Where the built window lies. */
  readonly rendererDir: string;
  /** What a page has to know before it may ask anything. */
  readonly token: string;
  /** Told of what is a fault of this program, for the log. */
  readonly onProblem?: (error: unknown) => void;
}

export interface Web {
  readonly port: number;
  /** With the token behind the `#`, which browsers send to nobody. */
  readonly url: string;
  /** Pages that are connected now. */
  readonly connections: number;
  /** Fails what is under way with STOPPING, hangs up. */
  close(): Promise<void>;
}

/**
 * Serves the window to this machine's browsers.
 * @throws PeerError FILE_UNREADABLE, PORT_IN_USE, BAD_ADDRESS
 */
export async function openWeb(options: WebOptions): Promise<Web> {
  const { service, token } = options;
  const onProblem = options.onProblem ?? (() => {});
  const pages = await readPages(options.rendererDir);

  const server = createServer({ headersTimeout: 5_000, requestTimeout: 5_000 });
  server.maxConnections = CONNECTIONS_MAX;
  const port = await listenOn(server, { host: HOST, port: options.port });
  const hosts = ownHosts({ host: HOST, port });
  const connect = ["'self'", ...hosts.map((host) => `ws://${host}`)];

  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    const page = pages.get((request.url ?? '').replace(/\?.*$/s, ''));
    if (!hosts.includes(request.headers.host ?? '')) refuse(response, 403);
    else if (request.method !== 'GET' && request.method !== 'HEAD') refuse(response, 405, { allow: 'GET, HEAD' });
    else if (page === undefined) refuse(response, 404);
    else {
      response.writeHead(200, { ...pageHeaders(page, connect), 'content-length': page.body.length });
      response.end(request.method === 'HEAD' ? undefined : page.body);
    }
  });

  const refusal = (request: IncomingMessage): Refusal | null => refusalOf(request, hosts, token);
  const upgrades = serveUpgrades(server, { service, refusalOf: refusal, onProblem });

  return {
    port,
    url: `http://127.0.0.1:${port}/#token=${token}`,
    get connections() {
      return upgrades.connections;
    },
    close: () => upgrades.close(),
  };
}

/** Null for a page of this very server that knows the token. */
function refusalOf(request: IncomingMessage, hosts: readonly string[], token: string): Refusal | null {
  const { host = '', origin } = request.headers;
  if (!hosts.includes(host) || origin !== `http://${host}`) return { status: '403 Forbidden' };
  const offered = offeredBy(request);
  const given = offered.find((name) => name.startsWith(TOKEN_PREFIX)) ?? '';
  const isKnown = sameSecret(given, TOKEN_PREFIX + token);
  if (request.url !== PEER_PATH || request.method !== 'GET') return { status: '404 Not Found' };
  if (!offered.includes(PROTOCOL)) return { status: '426 Upgrade Required' };
  // Of all refusals this one is for our own page, which asks nothing more of a peer that has another token by now.
  return isKnown ? null : { closeCode: WRONG_TOKEN_CLOSE, reason: 'wrong token' };
}
