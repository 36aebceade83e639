import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import type { PeerService } from '../../shared/ipc/contract.ts';
import { MESSAGE_BYTES_MAX, PROTOCOL } from '../../shared/ipc/messages.ts';
import { Connection } from './connection.ts';
import { WebSocketWire } from './websocket-wire.ts';

export interface UpgradeOptions {
  readonly service: PeerService;
  /** The status line that turns somebody away, such as `403 Forbidden`; null lets in. */
  readonly refusalOf: (request: IncomingMessage) => string | null;
  /** Told of what is a fault of this program, for the log. */
  readonly onProblem: (error: unknown) => void;
}

/** The WebSockets of an HTTP server, each a client of the peer. */
export interface Upgrades {
  readonly connections: number;
  /** Fails what is under way with STOPPING, hangs up, and closes the server. */
  close(): Promise<void>;
}

export function serveUpgrades(server: Server, { service, refusalOf, onProblem }: UpgradeOptions): Upgrades {
  const connections = new Set<Connection>();
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: MESSAGE_BYTES_MAX,
    perMessageDeflate: false,
    handleProtocols: () => PROTOCOL,
  });

  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy());
    const refusal = refusalOf(request);
    if (refusal !== null) {
      socket.end(`HTTP/1.1 ${refusal}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
      return;
    }
    sockets.handleUpgrade(request, socket, head, (webSocket) => {
      const connection = new Connection(new WebSocketWire(webSocket, socket as Socket), service, onProblem);
      connections.add(connection);
      webSocket.once('close', () => connections.delete(connection));
    });
  });

  return {
    get connections() {
      return connections.size;
    },
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      await Promise.all([...connections].map((connection) => connection.stop()));
      server.closeAllConnections();
      await closed;
    },
  };
}

/** The subprotocols that a request offers. */
export const offeredBy = (request: IncomingMessage): readonly string[] =>
  (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
