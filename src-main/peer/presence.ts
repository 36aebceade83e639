import type { Incarnation, PeerId } from '../../shared/base/ids.ts';
import type { Voter } from '../../shared/consensus/configuration.ts';
import type { Network } from '../network/network.ts';
import type { GroupHost } from './group-host.ts';

/** Here, and with a sound store of the incarnation that is named, as far as is known. */
export function canVote(host: GroupHost, network: Network, { peer, incarnation }: Omit<Voter, 'witness'>): boolean {
  const { replica } = host;
  if (peer === replica.self) return replica.isSound && incarnation === replica.incarnation;
  const seen = replica.seenIncarnation(peer);
  if (seen !== null && seen !== incarnation) return false;
  return network.isConnected(peer) && replica.beatOf(peer)?.votes !== false;
}

/** The store that was named does not exist any more: its machine goes on with another one, so nobody can answer for what it had said. */
export function isGone(host: GroupHost, network: Network, { peer, incarnation }: Omit<Voter, 'witness'>): boolean {
  const { replica } = host;
  if (peer === replica.self) return replica.isSound && incarnation !== replica.incarnation;
  return isReplacedInLog(host, peer, incarnation) || (network.isConnected(peer) && hasAnother(host, peer, incarnation));
}

function isReplacedInLog({ replica }: GroupHost, peer: PeerId, incarnation: Incarnation): boolean {
  const session = replica.reader.session(peer, incarnation);
  return session?.closed ?? false;
}

function hasAnother({ replica }: GroupHost, peer: PeerId, incarnation: Incarnation): boolean {
  const seen = replica.seenIncarnation(peer);
  return seen !== null && seen !== incarnation;
}
