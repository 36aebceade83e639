import type { ConnectionEncrypter, MessageStream, SecuredConnection } from '@libp2p/interface';

/** What js-libp2p's TCP connection has, as of the pinned version: it goes through the pieces of `data`. */
interface Sender {
  sendData(data: Iterable<Uint8Array>): unknown;
}

/** What js-libp2p's Noise keeps of a connection to read from, as of the pinned version. */
interface Receiver {
  readonly decoder: { lengthDecoder(data: { readonly byteLength: number }): number };
}

const LENGTH_BYTES = 2;
/** One for all: making an error with its stack takes longer than reading the message. */
const TOO_SHORT = new RangeError('the length is not there yet');

/**
 * Noise that costs less to run over TCP. js-libp2p's TCP transport makes a system call for each piece of what it sends, and Noise puts the length and
 * the sealed bytes into two pieces: each message was two packets, and woke the other side twice. Here its pieces are joined first. And after
 * each message its reader asks for the length of the next one, which mostly is not there, and is answered by an exception. A connection that looks
 * otherwise than expected is left alone.
 */
export function leanNoise<C>(noise: (components: C) => ConnectionEncrypter): (components: C) => ConnectionEncrypter {
  return (components) => {
    const inner = noise(components);
    const inbound = inner.secureInbound.bind(inner);
    const outbound = inner.secureOutbound.bind(inner);
    inner.secureInbound = async (connection, options) => patient(await inbound(joined(connection), options));
    inner.secureOutbound = async (connection, options) => patient(await outbound(joined(connection), options));
    return inner;
  };
}

function joined(connection: MessageStream): MessageStream {
  const sender = connection as unknown as Sender;
  if (typeof sender.sendData !== 'function') return connection;
  const send = sender.sendData.bind(connection);
  sender.sendData = (data) => send([Buffer.concat([...data])]);
  return connection;
}

function patient(secured: SecuredConnection): SecuredConnection {
  const { decoder } = secured.connection as unknown as Receiver;
  if (typeof decoder?.lengthDecoder !== 'function') return secured;
  const read = decoder.lengthDecoder.bind(decoder);
  decoder.lengthDecoder = (data) => {
    if (data.byteLength < LENGTH_BYTES) throw TOO_SHORT;
    return read(data);
  };
  return secured;
}
