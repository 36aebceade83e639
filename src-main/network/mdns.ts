import { mdns as libp2pMdns, type MulticastDNSComponents } from '@libp2p/mdns';
import type { PeerId } from '../../shared/base/ids.ts';

/** Our own name on the wire: other libp2p programs on the network are of no interest. */
const SERVICE_TAG = '_synod._udp.local';

interface Startable {
  start(): Promise<void>;
  stop(): Promise<void>;
  isStarted(): boolean;
}

/**
 * libp2p's mDNS with its findings led past libp2p, which tells of each peer once only and would keep whatever the network shouts.
 * `onSeen` comes again with every answer, about every 10 s.
 */
export function mdnsService(
  onSeen: (peer: PeerId, addresses: readonly string[]) => void,
): (components: MulticastDNSComponents) => Startable {
  return (components) => {
    const service = libp2pMdns({ serviceTag: SERVICE_TAG })(components) as ReturnType<ReturnType<typeof libp2pMdns>> &
      Startable;
    service.addEventListener('peer', ({ detail }) => {
      onSeen(
        detail.id.toString() as PeerId,
        detail.multiaddrs.map((address) => address.toString()),
      );
    });
    return {
      start: () => service.start(),
      stop: () => service.stop(),
      isStarted: () => service.isStarted(),
    };
  };
}
