import { noise } from '@chainsafe/libp2p-noise';
import { yamux } from '@chainsafe/libp2p-yamux';
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys';
import type { ConnectionGater, Libp2p } from '@libp2p/interface';
import { tcp } from '@libp2p/tcp';
import type { Multiaddr } from '@multiformats/multiaddr';
import { createLibp2p } from 'libp2p';
import type { PeerId } from '../../shared/base/ids.ts';
import { isLoopback } from './addresses.ts';
import type { DialTransport } from './dial.ts';
import { PROVE_MS } from './gate.ts';
import { leanNoise } from './lean-noise.ts';
import { mdnsService } from './mdns.ts';

/** With a wider window a paused stream would overrun libp2p's read buffer of 4 MiB and be reset. Bytes. */
const STREAM_WINDOW_BYTES_MAX = 2 * 1024 * 1024;

/** The host can't be started as asked. */
export class NetworkError extends Error {
  override readonly name = 'NetworkError';
  readonly code: 'PORT_IN_USE' | 'LISTEN_FAILED';
  constructor(code: NetworkError['code'], message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

export interface HostInit {
  /** Ed25519, 32 bytes. */
  readonly privateKeySeed: Uint8Array;
  readonly listen: readonly string[];
  readonly gater: ConnectionGater;
  /** Null for no mDNS. */
  readonly onSeen: ((peer: PeerId, addresses: readonly string[]) => void) | null;
}

/** libp2p's transport manager, as far as needed. */
export interface HostTransport extends DialTransport {
  /** What is listened on, wildcards spelled out. */
  getAddrs(): Multiaddr[];
}

export interface Host {
  readonly node: Libp2p;
  readonly transport: HostTransport;
}

/** A libp2p node that does as little as possible by itself. @throws NetworkError */
export async function startHost(init: HostInit): Promise<Host> {
  let transport: HostTransport | null = null;
  const privateKey = await generateKeyPairFromSeed('Ed25519', init.privateKeySeed);
  const node = await createLibp2p({
    privateKey,
    start: false,
    addresses: { listen: [...init.listen], announceFilter: withoutLoopback },
    transports: [tcp()],
    connectionEncrypters: [leanNoise(noise())],
    streamMuxers: [yamux({ streamOptions: { maxStreamWindowSize: STREAM_WINDOW_BYTES_MAX } })],
    connectionGater: init.gater,
    connectionMonitor: { enabled: false }, // heartbeats of one's own decide
    connectionManager: {
      maxConnections: 1024,
      // The gate bounds each host by itself, so that none can use up what is meant for all.
      inboundConnectionThreshold: 128,
      maxIncomingPendingConnections: 512,
      inboundUpgradeTimeout: PROVE_MS,
      reconnectRetries: 0,
    },
    services: {
      transport: (components: { transportManager: HostTransport }) => {
        transport = components.transportManager;
        return {};
      },
      ...(init.onSeen === null ? {} : { mdns: mdnsService(init.onSeen) }),
    },
  });
  try {
    await node.start();
  } catch (error) {
    throw listenError(init.listen, error as Error);
  }
  return { node, transport: transport as unknown as HostTransport };
}

/** On a machine with nothing but loopback, loopback is the address. */
function withoutLoopback(addresses: Multiaddr[]): Multiaddr[] {
  const others = addresses.filter((address) => !isLoopback(address.toString()));
  return others.length > 0 ? others : addresses;
}

function listenError(listen: readonly string[], error: Error): Error {
  const where = listen.join(', ');
  if (error.message.includes('EADDRINUSE')) {
    return new NetworkError('PORT_IN_USE', `Something else listens on ${where} already.`, { cause: error });
  }
  return new NetworkError('LISTEN_FAILED', `Can't listen on ${where}: ${reason(error)}`, { cause: error });
}

/** libp2p packs one stack per address into its message. */
function reason(error: Error): string {
  const found = /\b(E[A-Z]{4,}[^\n]*)/.exec(error.message)?.[1];
  return found ?? (error.message.split('\n')[0] as string);
}
