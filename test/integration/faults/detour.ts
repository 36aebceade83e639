// Loaded into a peer with `--import`: all that it dials goes to a switchboard instead, after two bytes that say which port was meant.
import net from 'node:net';

const board = Number(new URL(import.meta.url).searchParams.get('board'));
const connect = net.connect;

/** What `net.connect` is given here: libp2p dials with options. */
interface Dialled {
  readonly host?: string;
  readonly port?: number;
}

function detour(options: Dialled): net.Socket {
  if (options.port === undefined) return connect(options as net.NetConnectOpts);
  const socket = connect({ ...options, host: '127.0.0.1', port: board });
  const meant = Buffer.alloc(2);
  meant.writeUInt16BE(options.port);
  socket.write(meant);
  return socket;
}

Object.assign(net, { connect: detour });
