import * as v from 'valibot';
import type { Method, PeerService } from '../../shared/ipc/contract.ts';
import { type ErrorCode, PeerError } from '../../shared/ipc/errors.ts';
import { type Request, readClientMessage } from '../../shared/ipc/messages.ts';
import { describeIssues, isMethod, type MethodSchema, methods } from '../../shared/ipc/schemas.ts';

/** Requests of one connection that may be under way. Four times what the command line keeps in flight, and some. */
const REQUESTS_MAX = 1_024;
/** Those of them that stream: each may hold one item, of some megabytes, for a client that does not take it. */
const STREAMS_MAX = 32;
/** What those requests may hold together. Bytes. */
const REQUEST_BYTES_MAX = 64 * 1024 * 1024;
/** Answers are written together at the end of the turn, or as soon as there are this many characters of them. */
const FLUSH_AT = 64 * 1024;

/** What carries one client's texts, in order: a socket, or a window's channel. */
export interface Wire {
  /** Called once, before anything else. */
  listen(events: WireEvents): void;
  /** Sends them in one go. Nothing where the wire is closed. */
  send(texts: readonly string[]): void;
  /** The client has not taken what was sent; `onDrain` follows. */
  readonly isFull: boolean;
  /** Stops and goes on with reading, so that what the client sends waits with the client. */
  pause(): void;
  resume(): void;
  /** Hangs up on a client that broke the contract. */
  refuse(reason: string): void;
  /** Hangs up because the peer stops; resolves once the client is gone, which takes a bounded time. */
  goodbye(): Promise<void>;
}

export interface WireEvents {
  onText(text: string, bytes: number): void;
  onDrain(): void;
  onClosed(): void;
}

/** One reason for all: making an error with its stack for each would cost more than the request. */
const GIVEN_UP = new PeerError('CANCELLED', 'Nobody waits for the answer any more.');

interface Running {
  readonly abort: AbortController;
  readonly bytes: number;
  readonly isStream: boolean;
}

/**
 * One client, over whatever carries its texts. It may ask many things at once; nothing that it does or fails to do costs
 * the peer more than the bounds above.
 */
export class Connection {
  readonly #wire: Wire;
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

  constructor(wire: Wire, service: PeerService, onProblem: (error: unknown) => void) {
    this.#wire = wire;
    this.#service = service;
    this.#onProblem = onProblem;
    wire.listen({
      onText: (text, bytes) => this.#onText(text, bytes),
      onDrain: () => this.#onDrain(),
      onClosed: () => this.#onClosed(),
    });
  }

  /** Tells the client that the peer stops, and hangs up. */
  async stop(): Promise<void> {
    this.#stopping = true;
    for (const id of [...this.#running.keys()]) {
      this.#fail(id, 'STOPPING', 'The peer is stopping. What was saved is kept and goes on when it runs again.');
      this.#giveUp(id);
    }
    this.#write();
    await this.#wire.goodbye();
  }

  #onText(text: string, bytes: number): void {
    const message = readClientMessage(text);
    if (message === null) {
      this.#wire.refuse('not a message');
      return;
    }
    if (this.#stopping) return;
    if ('cancel' in message) {
      this.#giveUp(message.cancel);
      return;
    }
    if (this.#running.has(message.id)) {
      this.#wire.refuse('an id in use');
      return;
    }
    this.#start(message, bytes);
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

  /** Asks the source for the next item only once the wire took the ones before. */
  async #stream(id: number, items: AsyncIterable<unknown>, signal: AbortSignal): Promise<void> {
    for await (const event of items) {
      // Looked at before too: many streams of one slow client must not each add an item at once.
      while (this.#wire.isFull && !signal.aborted) await this.#nextDrain();
      if (signal.aborted) return;
      this.#send({ id, event });
      while (this.#wire.isFull && !signal.aborted) await this.#nextDrain();
      if (signal.aborted) return;
    }
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

  /** Everything that is settled together goes out together. */
  #write(): void {
    this.#flushPlanned = false;
    const texts = this.#outgoing;
    this.#outgoing = [];
    this.#outgoingLength = 0;
    if (texts.length === 0) return;
    this.#wire.send(texts);
    // Who does not take answers can't ask for more of them.
    if (this.#wire.isFull) this.#wire.pause();
  }

  #onDrain(): void {
    this.#wire.resume();
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

  #onClosed(): void {
    this.#outgoing = [];
    for (const id of [...this.#running.keys()]) this.#giveUp(id);
  }
}
