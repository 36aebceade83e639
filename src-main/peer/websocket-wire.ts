import type { Socket } from 'node:net';
import type { RawData, WebSocket } from 'ws';
import type { Wire, WireEvents } from './connection.ts';

/** How long a client that was told goodbye may take to hang up. Milliseconds. */
const GOODBYE_MS = 1_000;

/** The texts of a WebSocket, of a command or of a page. */
export class WebSocketWire implements Wire {
  readonly #webSocket: WebSocket;
  readonly #socket: Socket;

  constructor(webSocket: WebSocket, socket: Socket) {
    this.#webSocket = webSocket;
    this.#socket = socket;
  }

  listen({ onText, onDrain, onClosed }: WireEvents): void {
    this.#webSocket.on('message', (data: RawData, isBinary) => {
      if (isBinary) this.refuse('not a message');
      else onText(String(data), (data as Buffer).length);
    });
    // Oversize and malformed frames: ws has closed the connection with the right status by itself.
    this.#webSocket.on('error', () => {});
    this.#webSocket.once('close', onClosed);
    this.#socket.on('drain', onDrain);
  }

  /** One system call for all of them. */
  send(texts: readonly string[]): void {
    if (this.#webSocket.readyState !== this.#webSocket.OPEN) return;
    this.#socket.cork();
    for (const text of texts) this.#webSocket.send(text);
    this.#socket.uncork();
  }

  get isFull(): boolean {
    return this.#socket.writableNeedDrain;
  }

  pause(): void {
    if (this.#webSocket.readyState === this.#webSocket.OPEN) this.#webSocket.pause();
  }

  resume(): void {
    this.#webSocket.resume();
  }

  refuse(reason: string): void {
    this.#webSocket.close(1008, reason);
  }

  async goodbye(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#webSocket.once('close', () => resolve()));
    if (this.#webSocket.readyState === this.#webSocket.CLOSED) return;
    this.#webSocket.resume();
    this.#webSocket.close(1001);
    const timer = setTimeout(() => this.#webSocket.terminate(), GOODBYE_MS);
    await closed;
    clearTimeout(timer);
  }
}
