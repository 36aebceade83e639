import type { Connection, Stream } from '@libp2p/interface';
import { EMPTY } from '../../shared/base/bytes.ts';
import type { PeerId } from '../../shared/base/ids.ts';
import { parseAddress } from './addresses.ts';
import { type DialAttempt, type DialTransport, dialPeer } from './dial.ts';
import { Libp2pJoinStream } from './join-stream.ts';
import { JoinDialError, type JoinStream } from './network.ts';
import { JOIN_PROTOCOL } from './protocols.ts';

/** All addresses together. Milliseconds. */
const JOIN_DIAL_MS = 15_000;
/** From the connection to the host's word that its door is open. Milliseconds. */
const GREETING_MS = 10_000;

/**
 * Dials a host and waits for its greeting, an empty frame: a host whose door is shut may take the connection (the two share
 * another group), but never greets.
 * @throws JoinDialError
 */
export async function dialJoin(
  transport: DialTransport,
  peer: PeerId,
  addresses: readonly string[],
  signal: AbortSignal,
): Promise<JoinStream> {
  if (signal.aborted) throw new JoinDialError('ABORTED', 'Joining was given up.', { cause: signal.reason });
  const parsed = addresses.map(parseAddress);
  const dialable = parsed.flatMap((each) => (each.ok ? [each.address] : []));
  if (dialable.length === 0) {
    const why = parsed.flatMap((each) => (each.ok ? [] : [each.message]));
    throw new JoinDialError('NO_ANSWER', why.join(' ') || 'No address to dial.');
  }
  const limit = AbortSignal.any([signal, AbortSignal.timeout(JOIN_DIAL_MS)]);
  const result = await dialPeer(transport, peer, dialable, limit);
  if (!result.ok) throw dialError(dialable, result.attempts, signal);
  return await greeted(result.connection, result.address, peer, signal);
}

function dialError(addresses: readonly string[], attempts: readonly DialAttempt[], signal: AbortSignal): JoinDialError {
  if (signal.aborted) return new JoinDialError('ABORTED', 'Joining was given up.', { cause: signal.reason });
  const where = addresses.join(', ');
  const has = (outcome: DialAttempt['outcome']): boolean => attempts.some((attempt) => attempt.outcome === outcome);
  if (has('cut')) return new JoinDialError('REFUSED', `${where} answers, but lets nobody join now.`);
  if (has('wrongPeer')) return new JoinDialError('WRONG_PEER', `Another peer answers at ${where}.`);
  const why = attempts.map(({ address, message }) => `${address}: ${message}`).join('; ');
  return new JoinDialError('NO_ANSWER', `No answer from ${where}. ${why}`.trim());
}

async function greeted(
  connection: Connection,
  address: string,
  peer: PeerId,
  signal: AbortSignal,
): Promise<JoinStream> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(GREETING_MS)]);
  try {
    const stream = await connection.newStream(JOIN_PROTOCOL, { signal: limit });
    const join = new Libp2pJoinStream(peer, address, stream, () => void hangUp(connection));
    const greeting = await join.receive(limit);
    if (greeting === null || greeting.length > 0) throw new Error('no greeting');
    return join;
  } catch (error) {
    connection.abort(error as Error);
    if (signal.aborted) throw new JoinDialError('ABORTED', 'Joining was given up.', { cause: signal.reason });
    throw new JoinDialError('REFUSED', `${address} answers, but lets nobody join now.`, { cause: error });
  }
}

/** A connection that was made for joining only ends with its stream. */
async function hangUp(connection: Connection): Promise<void> {
  try {
    await connection.close();
  } catch (error) {
    connection.abort(error as Error);
  }
}

/** The host's side: greets, lets `onJoin` lead the conversation, and closes. */
export async function hostJoin(
  connection: Connection,
  stream: Stream,
  onJoin: (stream: JoinStream) => Promise<void>,
): Promise<void> {
  const peer = connection.remotePeer.toString() as PeerId;
  const join = new Libp2pJoinStream(peer, connection.remoteAddr.toString(), stream, () => {});
  try {
    join.send(EMPTY);
    await onJoin(join);
    await join.close();
  } catch (error) {
    join.abort(error as Error);
    throw error;
  }
}
