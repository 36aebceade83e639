import type { PeerId } from '../../shared/base/ids.ts';
import type { Network } from '../network/network.ts';
import type { GroupHost } from './group-host.ts';

/** Here, and with a sound store as far as is known. */
export function canVote(host: GroupHost, network: Network, peer: PeerId): boolean {
  const { replica } = host;
  if (peer === replica.self) return replica.isSound;
  return network.isConnected(peer) && replica.beatOf(peer)?.votes !== false;
}
