import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { ailmentsOf } from './health.ts';
import { type LoopbackPlace, listenOn, ownHosts, refuse } from './loopback.ts';
import type { Metrics } from './metrics.ts';
import type { PeerView } from './peer.ts';

/** Scrapers and health checks at once. */
const CONNECTIONS_MAX = 64;

export interface MetricsOptions {
  /** An address of this machine's own, and 0 for any port that is free. */
  readonly place: LoopbackPlace;
  readonly view: PeerView;
  readonly metrics: Metrics;
  /** Told of what is a fault of this program, for the log. */
  readonly onProblem?: (error: unknown) => void;
}

export interface MetricsServer {
  /** Of `/metrics`; `/livez` and `/readyz` are beside it. */
  readonly url: string;
  close(): Promise<void>;
}

interface Page {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

/** Nothing is the matter, or what is, one a line. */
const verdict = (problems: readonly string[]): Page => ({
  status: problems.length === 0 ? 200 : 503,
  type: 'text/plain; charset=utf-8',
  body: `${(problems.length === 0 ? ['ok'] : problems).join('\n')}\n`,
});

const inOneLine = (text: string): string => text.replace(/\s+/g, ' ');

/** That it answers at all says that the event loop turns; beside that, each group's own loop has to. */
const livez = ({ hosts }: PeerView): Page =>
  verdict(
    [...hosts.values()]
      .filter((host) => host.isStalled)
      .map(({ group, turnAgeMs }) => `${group} a disk write has not ended for ${Math.floor(turnAgeMs / 1_000)} s`),
  );

/** The very answer of `synod health`. */
const readyz = ({ status }: PeerView): Page =>
  verdict(ailmentsOf(status()).map(({ group, code, message }) => inOneLine(`${group} ${code} ${message}`)));

/**
 * Serves metrics and health to programs of this machine. Whoever may open a connection to a loopback address reads them: they hold ids and numbers, no texts, no
 * names, no secrets; the reasons in `/readyz` hold members' names.
 * @throws PeerError PORT_IN_USE, BAD_ADDRESS
 */
export async function openMetricsServer({ place, view, metrics, onProblem }: MetricsOptions): Promise<MetricsServer> {
  const server = createServer({ headersTimeout: 5_000, requestTimeout: 5_000 });
  server.maxConnections = CONNECTIONS_MAX;
  const port = await listenOn(server, place);
  const hosts = ownHosts({ host: place.host, port });
  const pages: Readonly<Record<string, () => Page | Promise<Page>>> = {
    '/metrics': async () => ({ status: 200, type: metrics.contentType, body: await metrics.render(view) }),
    '/livez': () => livez(view),
    '/readyz': () => readyz(view),
  };

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const path = (request.url ?? '').replace(/\?.*$/s, '');
    const page = Object.hasOwn(pages, path) ? pages[path] : undefined;
    if (!hosts.includes(request.headers.host ?? '')) return refuse(response, 403);
    if (request.method !== 'GET') return refuse(response, 405, { allow: 'GET' });
    if (page === undefined) return refuse(response, 404);
    const { status, type, body } = await page();
    response.writeHead(status, {
      'content-type': type,
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'content-length': Buffer.byteLength(body),
    });
    response.end(body);
  };
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    answer(request, response).catch((error: unknown) => {
      onProblem?.(error);
      if (response.headersSent) response.destroy();
      else refuse(response, 500);
    });
  });

  return {
    url: `http://${place.host.includes(':') ? `[${place.host}]` : place.host}:${port}/metrics`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
