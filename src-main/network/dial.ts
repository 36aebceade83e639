import type { Connection } from '@libp2p/interface';
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr';
import type { PeerId } from '../../shared/base/ids.ts';

/** The next address is tried after this, without giving up on the one before (as in RFC 8305). Milliseconds. */
const STAGGER_MS = 250;
/** One address, from the first packet to the encrypted connection; enough for a few lost packets. Milliseconds. */
const ADDRESS_DIAL_MS = 6_000;

/** libp2p's transport manager, as far as needed: unlike its dial queue it dials one peer's addresses side by side. */
export interface DialTransport {
  dial(address: Multiaddr, options: { signal: AbortSignal }): Promise<Connection>;
}

export interface DialAttempt {
  readonly address: string;
  /** `silent`: nobody there, or no libp2p. `wrongPeer`: somebody else. `cut`: the peer, but it hung up. */
  readonly outcome: 'silent' | 'wrongPeer' | 'cut';
  readonly message: string;
}

export type DialResult =
  | { readonly ok: true; readonly connection: Connection; readonly address: string }
  | { readonly ok: false; readonly attempts: readonly DialAttempt[] };

/** Dials all addresses of one peer, best first, and keeps the first connection on which it proves to be that peer. Never throws. */
export async function dialPeer(
  transport: DialTransport,
  peer: PeerId,
  addresses: readonly string[],
  signal: AbortSignal,
): Promise<DialResult> {
  const won = new AbortController();
  const attempts: DialAttempt[] = [];
  let winner: { connection: Connection; address: string } | null = null;

  const attempt = async (address: string): Promise<void> => {
    const limit = leash([signal, won.signal], ADDRESS_DIAL_MS);
    try {
      const connection = await transport.dial(multiaddr(`${address}/p2p/${peer}`), { signal: limit.signal });
      limit.drop(); // before `won` pulls it
      if (winner !== null || signal.aborted) connection.abort(new Error('another address was faster'));
      else {
        winner = { connection, address };
        won.abort();
      }
    } catch (error) {
      attempts.push({ address, ...judge(error as Error) });
    } finally {
      limit.drop();
    }
  };

  const running: Promise<void>[] = [];
  for (const address of addresses) {
    if (won.signal.aborted || signal.aborted) break;
    const dial = attempt(address);
    running.push(dial);
    await Promise.race([dial, pause(STAGGER_MS, AbortSignal.any([signal, won.signal]))]);
  }
  await Promise.race([Promise.all(running), aborted(won.signal), aborted(signal)]);
  const found = winner as { connection: Connection; address: string } | null;
  if (found === null) return { ok: false, attempts };
  if (signal.aborted) {
    found.connection.abort(new Error('the dial was given up'));
    return { ok: false, attempts };
  }
  return { ok: true, ...found };
}

function judge(error: Error): Pick<DialAttempt, 'outcome' | 'message'> {
  const message = error.message.split('\n')[0] as string;
  // libp2p wraps what noise throws and keeps only its message.
  if (message.includes('does not match expected remote identity key')) {
    return { outcome: 'wrongPeer', message: 'another peer answers there' };
  }
  if (error.name === 'AbortError') return { outcome: 'silent', message: 'no answer in time' };
  if (error.name === 'MuxerUnavailableError') return { outcome: 'cut', message };
  return { outcome: 'silent', message };
}

/**
 * A signal that can be let go of: libp2p hands it to the socket, which it would destroy long after the dial is done.
 */
function leash(signals: readonly AbortSignal[], ms: number): { readonly signal: AbortSignal; drop(): void } {
  const own = new AbortController();
  const pull = (): void => own.abort(new Error('no answer in time'));
  const timer = setTimeout(pull, ms);
  timer.unref();
  for (const signal of signals) signal.addEventListener('abort', pull);
  if (signals.some((signal) => signal.aborted)) pull();
  return {
    signal: own.signal,
    drop: () => {
      clearTimeout(timer);
      for (const signal of signals) signal.removeEventListener('abort', pull);
    },
  };
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    timer.unref();
    signal.addEventListener('abort', done);
  });
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
