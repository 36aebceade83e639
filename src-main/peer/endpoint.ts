import { createServer, type IncomingMessage } from 'node:http';
import type { PeerService } from '../../shared/ipc/contract.ts';
import { PROTOCOL } from '../../shared/ipc/messages.ts';
import { type EndpointAddress, removeEndpointFile, writeEndpointFile } from './endpoint-file.ts';
import { listenOn } from './loopback.ts';
import { newToken, sameSecret } from './secret.ts';
import { offeredBy, serveUpgrades } from './upgrades.ts';

/** Connections at once: commands and scripts. */
const CONNECTIONS_MAX = 256;

export interface EndpointOptions {
  readonly service: PeerService;
  /** The data directory: `endpoint.json` there says where the endpoint is, as long as it is open. */
  readonly dir: string;
  /** Told of what is a fault of this program, for the log. */
  readonly onProblem?: (error: unknown) => void;
}

export interface Endpoint extends EndpointAddress {
  /** Connections that are open now. */
  readonly connections: number;
  /** Removes the file, fails what is under way with STOPPING, hangs up. */
  close(): Promise<void>;
}

/** Opens a peer's service to the programs of this user on this machine. @throws where no port or no file can be had. */
export async function openEndpoint(options: EndpointOptions): Promise<Endpoint> {
  const { dir, service } = options;
  const onProblem = options.onProblem ?? (() => {});
  const token = newToken();
  const server = createServer({ headersTimeout: 5_000, requestTimeout: 5_000 }, (_request, response) => {
    response.writeHead(426, { connection: 'close' }).end();
  });
  server.maxConnections = CONNECTIONS_MAX;
  const port = await listenOn(server, { host: '127.0.0.1', port: 0 });

  const upgrades = serveUpgrades(server, {
    service,
    refusalOf(request) {
      const status = refusalOf(request, `127.0.0.1:${port}`, token);
      return status === null ? null : { status };
    },
    onProblem,
  });

  const url = `ws://127.0.0.1:${port}/`;
  try {
    await writeEndpointFile(dir, { url, token });
  } catch (error) {
    server.close();
    throw error;
  }

  return {
    url,
    token,
    get connections() {
      return upgrades.connections;
    },
    async close() {
      await removeEndpointFile(dir, token).catch(onProblem);
      await upgrades.close();
    },
  };
}

/**
 * The status line that turns a stranger away, or null. The token shows that the caller may read the directory; the other
 * checks keep web pages out, which a browser would let speak to this port: they carry an Origin, and a rebound name a
 * foreign Host.
 */
function refusalOf(request: IncomingMessage, host: string, token: string): string | null {
  if (request.headers.host !== host) return '403 Forbidden';
  if (request.headers.origin !== undefined) return '403 Forbidden';
  if (!sameSecret(request.headers.authorization ?? '', `Bearer ${token}`)) return '401 Unauthorized';
  if (request.url !== '/' || request.method !== 'GET') return '404 Not Found';
  return offeredBy(request).includes(PROTOCOL) ? null : '426 Upgrade Required';
}
