import type { IpcMainEvent, WebContents } from 'electron';
import { BRIDGE_CHANNEL } from '../../shared/ipc/bridge.ts';
import type { PeerService } from '../../shared/ipc/contract.ts';
import { MESSAGE_BYTES_MAX } from '../../shared/ipc/messages.ts';
import { Connection, type Wire, type WireEvents } from '../peer/connection.ts';
import { isOwnUrl } from './scheme.ts';

/** What may be on its way to a page that does not take it. UTF-16 units. */
const UNTAKEN_MAX = 1024 * 1024;
/** What a page may ask while it takes no answers. */
const WAITING_MAX = 4_096;
const WAITING_BYTES_MAX = 64 * 1024 * 1024;
/** Lines of one page at once. */
const LINES_MAX = 8;

/** The texts of one line of a page. Electron's channel has no flow control, so the page says what it took. */
class BridgeWire implements Wire {
  readonly #contents: WebContents;
  readonly #page: string;
  readonly #line: number;
  readonly #onEnd: () => void;
  #events: WireEvents | undefined;
  #untaken = 0;
  #full = false;
  #paused = false;
  #ended = false;
  #waiting: { text: string; bytes: number }[] = [];
  #waitingBytes = 0;

  constructor(contents: WebContents, page: string, line: number, onEnd: () => void) {
    this.#contents = contents;
    this.#page = page;
    this.#line = line;
    this.#onEnd = onEnd;
  }

  listen(events: WireEvents): void {
    this.#events = events;
  }

  receive(text: string, bytes: number): void {
    if (this.#ended) return;
    if (!this.#paused) {
      this.#events?.onText(text, bytes);
      return;
    }
    this.#waiting.push({ text, bytes });
    this.#waitingBytes += bytes;
    if (this.#waiting.length > WAITING_MAX || this.#waitingBytes > WAITING_BYTES_MAX) this.refuse();
  }

  took(length: number): void {
    this.#untaken = Math.max(0, this.#untaken - length);
    if (!this.#full || this.#untaken > UNTAKEN_MAX / 2) return;
    this.#full = false;
    this.#events?.onDrain();
  }

  send(texts: readonly string[]): void {
    if (this.#ended || this.#contents.isDestroyed()) return;
    for (const text of texts) this.#untaken += text.length;
    this.#full ||= this.#untaken >= UNTAKEN_MAX;
    this.#contents.send(BRIDGE_CHANNEL, this.#page, this.#line, texts);
  }

  get isFull(): boolean {
    return this.#full;
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    while (!this.#paused && !this.#ended) {
      const next = this.#waiting.shift();
      if (next === undefined) break;
      this.#waitingBytes -= next.bytes;
      this.#events?.onText(next.text, next.bytes);
    }
  }

  refuse(): void {
    if (!this.#ended && !this.#contents.isDestroyed()) {
      this.#contents.send(BRIDGE_CHANNEL, this.#page, this.#line, null);
    }
    this.end();
  }

  async goodbye(): Promise<void> {
    this.refuse();
  }

  /** The page is gone, or no longer wants it. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#waiting = [];
    this.#onEnd();
    this.#events?.onClosed();
  }
}

interface Line {
  readonly wire: BridgeWire;
  readonly connection: Connection;
}

/** The lines of one window's page, each a client of the peer. */
export class Bridge {
  readonly #contents: WebContents;
  readonly #service: PeerService;
  readonly #onProblem: (error: unknown) => void;
  readonly #lines = new Map<number, Line>();
  #page = '';

  constructor(contents: WebContents, service: PeerService, onProblem: (error: unknown) => void) {
    this.#contents = contents;
    this.#service = service;
    this.#onProblem = onProblem;
    contents.on('render-process-gone', () => this.#endAll());
    contents.on('destroyed', () => this.#endAll());
  }

  /** One message of the channel, from whomever. */
  receive(event: IpcMainEvent, page: unknown, id: unknown, kind: unknown, payload: unknown): void {
    if (!this.#isOwn(event)) return;
    if (typeof page !== 'string' || page.length > 64 || !Number.isSafeInteger(id)) return;
    const line = id as number;
    if (kind === 'open') this.#open(page, line);
    else if (page === this.#page) this.#pass(line, kind, payload);
  }

  /** Tells the page that the peer stops, and hangs up. */
  async stop(): Promise<void> {
    await Promise.all([...this.#lines.values()].map(({ connection }) => connection.stop()));
  }

  /** Of this window, its main frame, and a page of this program. */
  #isOwn({ sender, senderFrame }: IpcMainEvent): boolean {
    return (
      sender === this.#contents && senderFrame !== null && senderFrame.parent === null && isOwnUrl(senderFrame.url)
    );
  }

  #open(page: string, id: number): void {
    // The page was loaded anew: nobody listens on the lines of the one before.
    if (page !== this.#page) this.#endAll();
    this.#page = page;
    if (this.#lines.has(id)) return;
    const wire = new BridgeWire(this.#contents, page, id, () => this.#lines.delete(id));
    if (this.#lines.size >= LINES_MAX) {
      wire.refuse();
      return;
    }
    this.#lines.set(id, { wire, connection: new Connection(wire, this.#service, this.#onProblem) });
  }

  #pass(id: number, kind: unknown, payload: unknown): void {
    const wire = this.#lines.get(id)?.wire;
    if (wire === undefined) return;
    if (kind === 'took' && typeof payload === 'number' && payload > 0) wire.took(payload);
    else if (kind === 'text' && typeof payload === 'string') this.#text(wire, payload);
    else if (kind === 'close') wire.end();
    else wire.refuse();
  }

  #text(wire: BridgeWire, text: string): void {
    const bytes = text.length > MESSAGE_BYTES_MAX ? text.length : Buffer.byteLength(text);
    if (bytes > MESSAGE_BYTES_MAX) wire.refuse();
    else wire.receive(text, bytes);
  }

  #endAll(): void {
    for (const { wire } of [...this.#lines.values()]) wire.end();
  }
}
