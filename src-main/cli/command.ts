import type { PeerService } from '../../shared/ipc/contract.ts';
import { PeerError } from '../../shared/ipc/errors.ts';
import { dataDirectory } from '../peer/data-directory.ts';
import { failureOf } from './failure.ts';
import type { Io } from './io.ts';
import { type Arguments, DURATION_MAX_MS } from './usage.ts';

/** One command line on its way: what was asked, and where it runs. */
export interface Invocation {
  readonly args: Arguments;
  readonly io: Io;
  readonly json: boolean;
}

/** Does a command's work. The number is its exit code. */
export type Run = (invocation: Invocation) => Promise<number>;

export interface Asking {
  readonly service: PeerService;
  readonly signal: AbortSignal;
  /** To be spread into a request's parameters. */
  readonly inGroup: { readonly group?: string };
}

/** What a peer needs to answer beyond the time that it was given itself. Milliseconds. */
const GRACE_MS = 10_000;

export function directoryOf({ args, io }: Invocation): string {
  return dataDirectory(args.text('dir'), io);
}

/** Asks the running peer of the directory and hangs up afterwards. */
export async function withPeer<T>(invocation: Invocation, work: (asking: Asking) => Promise<T>): Promise<T> {
  const { args, io } = invocation;
  const group = args.text('group');
  const connection = await io.connect(directoryOf(invocation), io.signal);
  try {
    return await work({
      service: connection.service,
      signal: io.signal,
      inGroup: group === undefined ? {} : { group },
    });
  } finally {
    connection.close();
  }
}

/**
 * For requests that the peer itself ends at their timeout: a little later the peer must be in trouble.
 * @throws PeerError PEER_LOST
 */
export async function answered<T>(
  { signal }: Asking,
  timeoutMs: number,
  request: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const message = 'The peer does not answer. What it saved is kept; look at its log, or stop it and start it again.';
  return limited(signal, timeoutMs + GRACE_MS, new PeerError('PEER_LOST', message), request);
}

/** For requests that need nobody but this peer, where the person set a limit. @throws PeerError TIMED_OUT */
export async function inTime<T>(
  { args }: Invocation,
  { signal }: Asking,
  request: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const timeoutMs = args.duration('timeout', DURATION_MAX_MS);
  return limited(signal, timeoutMs, new PeerError('TIMED_OUT', 'No answer within the --timeout.'), request);
}

async function limited<T>(
  outer: AbortSignal,
  timeoutMs: number,
  late: PeerError,
  request: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(late), Math.min(timeoutMs, DURATION_MAX_MS));
  const onAbort = (): void => limit.abort(outer.reason);
  if (outer.aborted) onAbort();
  outer.addEventListener('abort', onAbort, { once: true });
  try {
    return await request(limit.signal);
  } catch (error) {
    throw limit.signal.reason === late ? late : error;
  } finally {
    clearTimeout(timer);
    outer.removeEventListener('abort', onAbort);
  }
}

/** For commands that open the stores themselves. The locks of the stores would tell as well, one by one and in other words. @throws PeerError PEER_RUNNING */
export async function assertNoPeer({ io }: Invocation, dir: string, verb: string): Promise<void> {
  try {
    (await io.connect(dir, io.signal)).close();
  } catch (error) {
    if (failureOf(error).code === 'NO_PEER') return;
    throw error;
  }
  throw new PeerError('PEER_RUNNING', `A peer is running for ${dir}. Stop it first, then ${verb}.`);
}

/** One object a line, the form of all `--json` output. */
export const jsonLine = (value: unknown): string => `${JSON.stringify(value)}\n`;
