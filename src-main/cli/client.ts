import type { Socket } from 'node:net';
import { WebSocket } from 'ws';
import { makePeerClient } from '../../shared/ipc/client.ts';
import type { PeerService } from '../../shared/ipc/contract.ts';
import { PeerError } from '../../shared/ipc/errors.ts';
import { MESSAGE_BYTES_MAX, PROTOCOL } from '../../shared/ipc/messages.ts';
import { readEndpointFile } from '../peer/endpoint-file.ts';

/** How long a peer may take to answer the door. It is the same machine, so only a peer in trouble takes longer. Milliseconds. */
const HANDSHAKE_MS = 10_000;

export interface PeerConnection {
  readonly service: PeerService;
  close(): void;
}

/** Reaches the running peer of a data directory. @throws PeerError NO_PEER where there is none. */
export async function connect(dir: string, signal: AbortSignal): Promise<PeerConnection> {
  const address = await readEndpointFile(dir);
  if (!address) throw noPeer(dir);

  const webSocket = new WebSocket(address.url, PROTOCOL, {
    headers: { authorization: `Bearer ${address.token}` },
    handshakeTimeout: HANDSHAKE_MS,
    maxPayload: MESSAGE_BYTES_MAX,
    perMessageDeflate: false,
    followRedirects: false,
  });
  const socket = await opened(webSocket, dir, signal);

  const outgoing = batched((texts) => {
    if (webSocket.readyState !== WebSocket.OPEN) return;
    socket.cork();
    for (const text of texts) webSocket.send(text);
    socket.uncork();
  });
  const client = makePeerClient({
    send: outgoing.push,
    pause: () => webSocket.pause(),
    resume: () => webSocket.resume(),
  });

  webSocket.on('message', (data) => {
    try {
      client.receive(String(data));
    } catch (error) {
      client.fail(error instanceof PeerError ? error : peerLost());
      webSocket.terminate();
    }
  });
  webSocket.on('error', () => {});
  webSocket.once('close', () => client.fail(peerLost()));

  return {
    service: client.service,
    close() {
      outgoing.flush();
      webSocket.resume();
      webSocket.close();
    },
  };
}

/** Collects what is to be sent in one go. */
function batched(write: (texts: readonly string[]) => void): { push(text: string): void; flush(): void } {
  let texts: string[] = [];
  const flush = (): void => {
    const whole = texts;
    texts = [];
    if (whole.length > 0) write(whole);
  };
  return {
    push(text) {
      if (texts.push(text) === 1) process.nextTick(flush);
    },
    flush,
  };
}

function opened(webSocket: WebSocket, dir: string, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    let socket: Socket | undefined;
    const onAbort = (): void => {
      webSocket.terminate();
      reject(new PeerError('CANCELLED', 'Interrupted.'));
    };
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    webSocket.once('upgrade', (response) => {
      socket = response.socket;
    });
    webSocket.once('open', () => {
      signal.removeEventListener('abort', onAbort);
      webSocket.removeAllListeners('error');
      resolve(socket as Socket);
    });
    webSocket.on('error', (error) => {
      signal.removeEventListener('abort', onAbort);
      // Refused, or answered by some other program: what the file speaks of is gone. Silence is a peer in trouble.
      if (/timed out/.test(error.message)) reject(silent(dir));
      else reject(/response: 426/.test(error.message) ? otherVersion(dir) : noPeer(dir));
    });
  });
}

const noPeer = (dir: string): PeerError =>
  new PeerError('NO_PEER', `No peer is running for ${dir}. Start one with: synod serve --dir ${quoted(dir)}`);

const silent = (dir: string): PeerError =>
  new PeerError('PEER_LOST', `The peer of ${dir} does not answer. What it saved is kept; stop it and start it again.`);

const otherVersion = (dir: string): PeerError =>
  new PeerError(
    'PEER_LOST',
    `The peer of ${dir} is another version of Synod. Stop it and start the one of this command.`,
  );

const peerLost = (): PeerError =>
  new PeerError(
    'PEER_LOST',
    'The peer went away before it answered. What it saved is kept, but whether it saved this is not known: look with "synod log --pending" before you repeat it.',
  );

/** As a shell takes it back. */
function quoted(path: string): string {
  return /^[\w./:\\-]+$/.test(path) ? path : JSON.stringify(path);
}
