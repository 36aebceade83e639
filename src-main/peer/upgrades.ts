import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import type { PeerService } from '../../shared/ipc/contract.ts';
import { MESSAGE_BYTES_MAX, PROTOCOL } from '../../shared/ipc/messages.ts';
import { Connection } from './connection.ts';
import { WebSocketWire } from './websocket-wire.ts';

/** How somebody is turned away: with a status line of HTTP, or by a socket that is closed at once, where a page is to know the reason. */
export type Refusal = { readonly status: string } | { readonly closeCode: number; readonly reason: string };

/** How long one who was told the reason may take to hang up. Milliseconds. */
const GOODBYE_MS = 1_000;

export interface UpgradeOptions {
  readonly service: PeerService;
  /** Null lets in. */
  readonly refusalOf: (request: IncomingMessage) => Refusal | null;
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
  const refused = new Set<WebSocket>();
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: MESSAGE_BYTES_MAX,
    perMessageDeflate: false,
    handleProtocols: () => PROTOCOL,
  });
  // For those who are only told why they don't get in: no message of theirs is taken, no ping is answered.
  const refusing = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload: 1,
    perMessageDeflate: false,
    autoPong: false,
    handleProtocols: () => PROTOCOL,
  });

  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy());
    const refusal = refusalOf(request);
    if (refusal !== null && 'status' in refusal) {
      socket.end(`HTTP/1.1 ${refusal.status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
      return;
    }
    if (refusal !== null) {
      refusing.handleUpgrade(request, socket, head, (webSocket) => {
        refused.add(webSocket);
        webSocket.on('error', () => {});
        webSocket.close(refusal.closeCode, refusal.reason);
        const timer = setTimeout(() => webSocket.terminate(), GOODBYE_MS);
        webSocket.once('close', () => {
          clearTimeout(timer);
          refused.delete(webSocket);
        });
      });
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
      for (const webSocket of refused) webSocket.terminate();
      await Promise.all([...connections].map((connection) => connection.stop()));
      server.closeAllConnections();
      await closed;
    },
  };
}

/** The subprotocols that a request offers. */
export const offeredBy = (request: IncomingMessage): readonly string[] =>
  (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
