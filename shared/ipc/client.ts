import * as v from 'valibot';
import type { Method, PeerService } from './contract.ts';
import { type ErrorCode, PeerError } from './errors.ts';
import { readServerMessage, type ServerMessage } from './messages.ts';
import { describeIssues, isMethod, type MethodSchema, methods } from './schemas.ts';

/** What carries texts to the peer. It keeps their order and never blocks. */
export interface Carrier {
  send(text: string): void;
  /** Stops and goes on with reading, so that what the peer sends waits there and not here. */
  pause(): void;
  resume(): void;
}

/** The client's end of a carrier: its owner passes on what arrives. */
export interface PeerClient {
  readonly service: PeerService;
  /** @throws PeerError where the text is no answer of a peer; the owner then cuts the connection. */
  receive(text: string): void;
  /** Ends everything under way: nothing will arrive any more. */
  fail(error: PeerError): void;
}

/** What may wait for a consumer that does not ask, over all streams, before reading pauses. UTF-16 units. */
const QUEUED_MAX = 1024 * 1024;

interface Pending {
  readonly schema: MethodSchema;
  /** `size` is the length of the message that brought the answer. */
  answer(value: unknown, size: number): void;
  done(): void;
  fail(error: PeerError): void;
}

/** A PeerService whose work is done at the other end of the carrier. */
export function makePeerClient(carrier: Carrier): PeerClient {
  const pending = new Map<number, Pending>();
  let nextId = 1;
  let ended: PeerError | undefined;
  let queued = 0;
  let paused = false;

  function account(size: number): void {
    queued += size;
    if (!paused && queued > QUEUED_MAX) {
      paused = true;
      carrier.pause();
    } else if (paused && queued <= QUEUED_MAX / 2) {
      paused = false;
      carrier.resume();
    }
  }

  /** Sends a request. The returned function gives it up. */
  function ask(method: Method, params: object, answers: Omit<Pending, 'schema'>): () => void {
    if (ended) {
      answers.fail(ended);
      return () => {};
    }
    const id = nextId++;
    pending.set(id, { schema: methods[method], ...answers });
    carrier.send(JSON.stringify({ id, method, params }));
    return () => {
      if (pending.delete(id)) carrier.send(JSON.stringify({ cancel: id }));
    };
  }

  function call(method: Method, params: object, signal: AbortSignal): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(cancelled());
        return;
      }
      if (ended) {
        reject(ended);
        return;
      }
      const giveUp = ask(method, params, {
        answer: (value) => settle(() => resolve(value)),
        done: () => settle(() => resolve(undefined)),
        fail: (error) => settle(() => reject(error)),
      });
      const onAbort = (): void => {
        giveUp();
        settle(() => reject(cancelled()));
      };
      const settle = (how: () => void): void => {
        signal.removeEventListener('abort', onAbort);
        how();
      };
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  async function* stream(method: Method, params: object, signal: AbortSignal): AsyncGenerator<unknown, void> {
    if (signal.aborted) throw cancelled();
    const items: { value: unknown; size: number }[] = [];
    let taken = 0;
    let end: { error?: PeerError } | undefined;
    let wake = (): void => {};
    const stop = (error?: PeerError): void => {
      end ??= error === undefined ? {} : { error };
      wake();
    };
    const onAbort = (): void => stop(cancelled());

    const giveUp = ask(method, params, {
      answer: (value, size) => {
        items.push({ value, size });
        account(size);
        wake();
      },
      done: () => stop(),
      fail: stop,
    });
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      while (!signal.aborted) {
        const item = items[taken];
        if (item !== undefined) {
          taken += 1;
          if (taken === items.length) {
            items.length = 0;
            taken = 0;
          }
          account(-item.size);
          yield item.value;
        } else if (end) {
          break;
        } else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
      if (end?.error) throw end.error;
    } finally {
      signal.removeEventListener('abort', onAbort);
      giveUp();
      for (const item of items.slice(taken)) account(-item.size);
      items.length = 0;
    }
  }

  function take(message: ServerMessage, waiting: Pending, size: number): void {
    if ('error' in message) {
      pending.delete(message.id);
      waiting.fail(new PeerError(message.error.code as ErrorCode, message.error.message));
    } else if ('done' in message) {
      pending.delete(message.id);
      waiting.done();
    } else {
      const isEvent = 'event' in message;
      if (isEvent !== (waiting.schema.kind === 'stream')) throw strange('an answer of the wrong kind');
      const parsed = v.safeParse(waiting.schema.answer, isEvent ? message.event : message.result);
      if (!parsed.success) throw strange(describeIssues(parsed.issues));
      if (!isEvent) pending.delete(message.id);
      waiting.answer(parsed.output, size);
    }
  }

  const service: Record<string, unknown> = {};
  for (const [method, { kind }] of Object.entries(methods)) {
    if (!isMethod(method)) continue;
    const run = kind === 'call' ? call : stream;
    service[method] = (params: object, signal: AbortSignal) => run(method, params, signal);
  }

  return {
    service: service as unknown as PeerService,
    receive(text) {
      const message = readServerMessage(text);
      if (message === null) throw strange('something that is no message');
      if (message.id >= nextId) throw strange('an answer to nothing that was asked');
      // What was given up may still be answered for a moment.
      const waiting = pending.get(message.id);
      if (waiting) take(message, waiting, text.length);
    },
    fail(error) {
      ended ??= error;
      const open = [...pending.values()];
      pending.clear();
      for (const waiting of open) waiting.fail(ended);
    },
  };
}

const cancelled = (): PeerError => new PeerError('CANCELLED', 'Interrupted. What was saved is kept.');

const strange = (what: string): PeerError =>
  new PeerError(
    'PEER_LOST',
    `The peer answered strangely (${what}). Is it the same version of Synod? Nothing saved is lost.`,
  );
