import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import * as v from 'valibot';
import { type RawData, type WebSocket, WebSocketServer } from 'ws';
import type { Method, PeerService } from '../../shared/ipc/contract.ts';
import { type ErrorCode, PeerError } from '../../shared/ipc/errors.ts';
import { MESSAGE_BYTES_MAX, PROTOCOL, type Request, readClientMessage } from '../../shared/ipc/messages.ts';
import { describeIssues, isMethod, type MethodSchema, methods } from '../../shared/ipc/schemas.ts';
import { type EndpointAddress, removeEndpointFile, writeEndpointFile } from './endpoint-file.ts';

/** Requests of one connection that may be under way. Four times what the command line keeps in flight, and some. */
const REQUESTS_MAX = 1_024;
/** Those of them that stream: each may hold one item, of some megabytes, for a client that does not take it. */
const STREAMS_MAX = 32;
/** What those requests may hold together. Bytes. */
const REQUEST_BYTES_MAX = 64 * 1024 * 1024;
/** Answers are written together at the end of the turn, or as soon as there are this many characters of them. */
const FLUSH_AT = 64 * 1024;
/** Connections at once: commands, and windows later. */
const CONNECTIONS_MAX = 256;
/** How long a client that was told goodbye may take to hang up. Milliseconds. */
const GOODBYE_MS = 1_000;

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
  const token = randomBytes(32).toString('base64url');
  const connections = new Set<Connection>();
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: MESSAGE_BYTES_MAX,
    perMessageDeflate: false,
    handleProtocols: () => PROTOCOL,
  });

  const server = createServer({ headersTimeout: 5_000, requestTimeout: 5_000 }, (_request, response) => {
    response.writeHead(426, { connection: 'close' }).end();
  });
  server.maxConnections = CONNECTIONS_MAX;
  await listen(server);
  const port = (server.address() as AddressInfo).port;

  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy());
    const refusal = refusalOf(request, `127.0.0.1:${port}`, token);
    if (refusal !== null) {
      socket.end(`HTTP/1.1 ${refusal}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
      return;
    }
    sockets.handleUpgrade(request, socket, head, (webSocket) => {
      const connection = new Connection(webSocket, socket as Socket, service, onProblem);
      connections.add(connection);
      webSocket.once('close', () => connections.delete(connection));
    });
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
      return connections.size;
    },
    async close() {
      await removeEndpointFile(dir, token).catch(onProblem);
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      await Promise.all([...connections].map((connection) => connection.stop()));
      server.closeAllConnections();
      await closed;
    },
  };
}

async function listen(server: Server): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: '127.0.0.1', port: 0 }, () => {
      server.off('error', reject);
      resolve();
    });
  });
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
  const protocols = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
  return protocols.includes(PROTOCOL) ? null : '426 Upgrade Required';
}

/** Takes as long whatever differs, lengths included. */
function sameSecret(given: string, expected: string): boolean {
  const hash = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(hash(given), hash(expected));
}

/** One reason for all: making an error with its stack for each would cost more than the request. */
const GIVEN_UP = new PeerError('CANCELLED', 'Nobody waits for the answer any more.');

interface Running {
  readonly abort: AbortController;
  readonly bytes: number;
  readonly isStream: boolean;
}

/** One client. It may ask many things at once; nothing that it does or fails to do costs the peer more than the bounds above. */
class Connection {
  readonly #webSocket: WebSocket;
  readonly #socket: Socket;
  readonly #service: PeerService;
  readonly #onProblem: (error: unknown) => void;
  readonly #running = new Map<number, Running>();
  #runningBytes = 0;
  #streams = 0;
  #outgoing: string[] = [];
  #outgoingLength = 0;
  #flushPlanned = false;
  #drained: { promise: Promise<void>; resolve: () => void } | undefined;
  #stopping = false;

  constructor(webSocket: WebSocket, socket: Socket, service: PeerService, onProblem: (error: unknown) => void) {
    this.#webSocket = webSocket;
    this.#socket = socket;
    this.#service = service;
    this.#onProblem = onProblem;
    webSocket.on('message', (data, isBinary) => this.#onMessage(data, isBinary));
    // Oversize and malformed frames: ws has closed the connection with the right status by itself.
    webSocket.on('error', () => {});
    webSocket.once('close', () => this.#onClose());
    socket.on('drain', () => this.#onDrain());
  }

  /** Tells the client that the peer stops, and hangs up. */
  async stop(): Promise<void> {
    this.#stopping = true;
    for (const id of [...this.#running.keys()]) {
      this.#fail(id, 'STOPPING', 'The peer is stopping. What was saved is kept and goes on when it runs again.');
      this.#giveUp(id);
    }
    this.#write();
    const closed = new Promise<void>((resolve) => this.#webSocket.once('close', () => resolve()));
    if (this.#webSocket.readyState === this.#webSocket.CLOSED) return;
    this.#webSocket.resume();
    this.#webSocket.close(1001);
    const timer = setTimeout(() => this.#webSocket.terminate(), GOODBYE_MS);
    await closed;
    clearTimeout(timer);
  }

  #onMessage(data: RawData, isBinary: boolean): void {
    const message = isBinary ? null : readClientMessage(String(data));
    if (message === null) {
      this.#webSocket.close(1008, 'not a message');
      return;
    }
    if (this.#stopping) return;
    if ('cancel' in message) {
      this.#giveUp(message.cancel);
      return;
    }
    if (this.#running.has(message.id)) {
      this.#webSocket.close(1008, 'an id in use');
      return;
    }
    this.#start(message, (data as Buffer).length);
  }

  #start({ id, method, params }: Request, bytes: number): void {
    if (!isMethod(method)) {
      this.#fail(
        id,
        'USAGE',
        `This peer does not know ${JSON.stringify(method.slice(0, 40))}. Is it an older version?`,
      );
      return;
    }
    const schema = methods[method];
    const parsed = v.safeParse(schema.params, params);
    if (!parsed.success) {
      this.#fail(id, 'USAGE', describeIssues(parsed.issues));
      return;
    }
    const isStream = schema.kind === 'stream';
    const isTooMuch = this.#running.size >= REQUESTS_MAX || this.#runningBytes + bytes > REQUEST_BYTES_MAX;
    if (isTooMuch || (isStream && this.#streams >= STREAMS_MAX)) {
      this.#fail(id, 'BUSY', 'Too many requests are under way. Wait for some to be answered.');
      return;
    }
    const running: Running = { abort: new AbortController(), bytes, isStream };
    this.#running.set(id, running);
    this.#runningBytes += bytes;
    if (isStream) this.#streams += 1;
    void this.#run(id, method, schema, parsed.output, running);
  }

  async #run(id: number, method: Method, schema: MethodSchema, params: object, running: Running): Promise<void> {
    const start = this.#service[method] as (params: object, signal: AbortSignal) => unknown;
    const { signal } = running.abort;
    let last: object;
    try {
      const work = start.call(this.#service, params, signal);
      if (schema.kind === 'stream') {
        await this.#stream(id, work as AsyncIterable<unknown>, signal);
        last = { id, done: true };
      } else {
        last = { id, result: await work };
      }
    } catch (error) {
      last = this.#failure(id, error, signal);
    }
    if (signal.aborted) return;
    this.#forget(id, running);
    this.#send(last);
  }

  /** Asks the source for the next item only once the socket took the ones before. */
  async #stream(id: number, items: AsyncIterable<unknown>, signal: AbortSignal): Promise<void> {
    for await (const event of items) {
      // Looked at before too: many streams of one slow client must not each add an item at once.
      while (this.#isFull && !signal.aborted) await this.#nextDrain();
      if (signal.aborted) return;
      this.#send({ id, event });
      while (this.#isFull && !signal.aborted) await this.#nextDrain();
      if (signal.aborted) return;
    }
  }

  get #isFull(): boolean {
    return this.#socket.writableNeedDrain;
  }

  #failure(id: number, error: unknown, signal: AbortSignal): object {
    if (error instanceof PeerError) return { id, error: { code: error.code, message: error.message } };
    if (!signal.aborted) this.#onProblem(error);
    const message = 'Something went wrong inside the peer; its log has the details. What was saved is kept.';
    return { id, error: { code: 'INTERNAL', message } };
  }

  #fail(id: number, code: ErrorCode, message: string): void {
    this.#send({ id, error: { code, message } });
  }

  /** Stops a request's work; nobody waits for it any more. */
  #giveUp(id: number): void {
    const running = this.#running.get(id);
    if (!running) return;
    this.#forget(id, running);
    running.abort.abort(GIVEN_UP);
    // A stream that waits for this client has to hear of it.
    this.#wakeWaiting();
  }

  #forget(id: number, running: Running): void {
    this.#running.delete(id);
    this.#runningBytes -= running.bytes;
    if (running.isStream) this.#streams -= 1;
  }

  #send(message: object): void {
    const text = JSON.stringify(message);
    this.#outgoing.push(text);
    this.#outgoingLength += text.length;
    if (this.#outgoingLength >= FLUSH_AT) this.#write();
    else if (!this.#flushPlanned) {
      this.#flushPlanned = true;
      // After all promises that are being settled now: before the loop looks for more work, which may take a while.
      process.nextTick(() => this.#write());
    }
  }

  /** One system call for everything that is settled together. */
  #write(): void {
    this.#flushPlanned = false;
    const texts = this.#outgoing;
    this.#outgoing = [];
    this.#outgoingLength = 0;
    if (this.#webSocket.readyState !== this.#webSocket.OPEN) return;
    this.#socket.cork();
    for (const text of texts) this.#webSocket.send(text);
    this.#socket.uncork();
    // Who does not take answers can't ask for more of them.
    if (this.#socket.writableNeedDrain) this.#webSocket.pause();
  }

  #onDrain(): void {
    this.#webSocket.resume();
    this.#wakeWaiting();
  }

  #nextDrain(): Promise<void> {
    this.#drained ??= Promise.withResolvers<void>();
    return this.#drained.promise;
  }

  #wakeWaiting(): void {
    this.#drained?.resolve();
    this.#drained = undefined;
  }

  #onClose(): void {
    this.#outgoing = [];
    for (const id of [...this.#running.keys()]) this.#giveUp(id);
  }
}
