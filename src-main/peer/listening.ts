import { PeerError } from '../../shared/ipc/errors.ts';
import type { LocalSettings } from '../group/local.ts';
import { DEFAULT_PORT } from '../network/addresses.ts';
import { NetworkError } from '../network/libp2p-network.ts';
import type { Network } from '../network/network.ts';

const ANY_PORT = /\/tcp\/0$/;
const listenKey = (address: string): string => `listen${address}`;

/**
 * Listens where the others will look: at the addresses given, or at the default port on all interfaces, or at another one where that is taken. Which port it came to is
 * remembered, and tried again at the next start.
 * @param listen multiaddrs
 * @param createNetwork starts a network that listens on all of these addresses. @throws NetworkError
 * @throws PeerError `PORT_IN_USE`, NetworkError
 */
export async function listenWhereKnown(
  listen: readonly string[],
  local: LocalSettings,
  createNetwork: (addresses: readonly string[]) => Promise<Network>,
): Promise<Network> {
  return listen.length > 0 ? listenAt(listen, local, createNetwork) : listenAnywhere(local, createNetwork);
}

async function listenAnywhere(
  local: LocalSettings,
  createNetwork: (addresses: readonly string[]) => Promise<Network>,
): Promise<Network> {
  const everywhere = (port: number): string[] => [`/ip4/0.0.0.0/tcp/${port}`, `/ip6/::/tcp/${port}`];
  // A machine without IPv6 listens on IPv4 alone.
  const ip4 = (port: number): string[] => everywhere(port).slice(0, 1);
  const remembered = local.listenPort();
  for (const port of [DEFAULT_PORT, ...(remembered === null ? [] : [remembered]), 0]) {
    for (const addresses of [everywhere(port), ip4(port)]) {
      try {
        const network = await createNetwork(addresses);
        const got = /\/tcp\/(\d+)/.exec(network.addresses()[0] ?? '')?.[1];
        await local.setListenPort(port === DEFAULT_PORT || got === undefined ? null : Number(got));
        return network;
      } catch (error) {
        if (!(error instanceof NetworkError)) throw error;
        if (error.code === 'PORT_IN_USE') break;
      }
    }
  }
  throw new PeerError('PORT_IN_USE', 'No port to listen on could be had. Name one with --listen.');
}

/** Where any port will do, the last one is tried first: the others remember it. */
async function listenAt(
  listen: readonly string[],
  local: LocalSettings,
  createNetwork: (addresses: readonly string[]) => Promise<Network>,
): Promise<Network> {
  const remembered = listen.map((address) => local.get(listenKey(address)));
  const again = listen.map((address, i) =>
    ANY_PORT.test(address) && typeof remembered[i] === 'number'
      ? address.replace(ANY_PORT, `/tcp/${remembered[i]}`)
      : address,
  );
  const network = await createNetwork(again).catch((error: unknown) => {
    if (!(error instanceof NetworkError) || again.every((address, i) => address === listen[i])) throw error;
    return createNetwork(listen);
  });
  for (const address of listen) {
    const prefix = address.replace(ANY_PORT, '/tcp/');
    const got = network.addresses().find((each) => each.startsWith(prefix));
    const port = ANY_PORT.test(address) ? Number(/\/tcp\/(\d+)/.exec(got ?? '')?.[1]) : Number.NaN;
    if (port > 0) await local.set(listenKey(address), port);
  }
  return network;
}
