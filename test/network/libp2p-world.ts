import { createLibp2pNetwork } from '../../src-main/network/libp2p-network.ts';
import type { Network, NetworkEvents } from '../../src-main/network/network.ts';
import type { World } from './contract.ts';

export const seedOf = (seed: number): Uint8Array => new Uint8Array(32).fill(seed);

/** Peers on loopback, each on a free port. */
export function startOnLoopback(seed: number, events: NetworkEvents, port = 0): Promise<Network> {
  return createLibp2pNetwork({
    privateKeySeed: seedOf(seed),
    listen: [`/ip4/127.0.0.1/tcp/${port}`],
    mdns: false,
    events,
  });
}

export const libp2pWorld = (): World => ({ start: startOnLoopback, stop: async () => {} });
