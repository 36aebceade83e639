import type { PeerId } from '../../shared/base/ids.ts';
import type { GroupStatus } from '../../shared/ipc/contract.ts';
import type { MendStanding } from '../../shared/replica/mending.ts';
import type { Replica } from '../../shared/replica/replica.ts';
import type { Network } from '../network/network.ts';
import type { GroupHost } from './group-host.ts';
import { previewOf } from './preview.ts';
import { listed } from './recovery-why.ts';
import type { Why } from './why.ts';

/** Why entries are not here that were: null where the state is whole. */
export function mendingWhy(host: GroupHost, network: Network): Why | null {
  const { mending } = host.replica;
  return mending?.isStateToCome ? { code: 'CATCHING_UP', text: mendingWords(outlook(host, network, mending)) } : null;
}

/** Damage took the state, and it is not here again: of entries that are not here, nothing can be told. */
export function isMadeAnew({ mending, reborn, reader, self, isSound, isWitness }: Replica): boolean {
  if (mending?.isStateToCome) return true;
  // One that was reborn without its state begins as a newcomer does.
  return isSound && !isWitness && reborn !== null && reader.member(self) === undefined;
}

/** As the applied state says, or as it said before it was damaged; empty where neither does. */
export const titleOf = ({ reader, mending }: Pick<Replica, 'reader' | 'mending'>): string =>
  reader.title() || (mending?.title ?? '');

/** Nothing where no damage was mended, or where all that it took is here again. */
export function mendingStatus(host: GroupHost, network: Network): Pick<GroupStatus, 'mending'> {
  const { mending } = host.replica;
  if (mending === null) return {};
  const { isStateToCome, upTo, toCome, sources } = mending;
  const text = mendingWords(outlook(host, network, mending));
  return { mending: { entries: isStateToCome, upTo, missing: toCome, from: [...sources], text } };
}

/** What the words are made of. */
export interface Outlook extends Pick<MendStanding, 'isStateToCome' | 'isReplayable' | 'upTo' | 'lost' | 'toCome'> {
  readonly applied: number;
  /** Of the snapshot that is on its way. */
  readonly entries: { readonly here: number; readonly all: number } | null;
  /** Names of those who are here and hold what is missing. */
  readonly from: readonly string[];
  /** Names of those who are here and lack it themselves. */
  readonly without: readonly string[];
  /** Names of those who are not here, and may hold it. */
  readonly away: readonly string[];
}

function outlook(host: GroupHost, network: Network, mending: MendStanding): Outlook {
  const { replica } = host;
  const { sources, names } = mending;
  const witnesses = new Set(
    replica
      .inspect()
      .window.flatMap(({ configuration }) => configuration.voters.flatMap((v) => (v.witness ? [v.peer] : []))),
  );
  const others = replica.peers.filter((peer) => !witnesses.has(peer) && !sources.includes(peer));
  const here = others.filter((peer) => network.isConnected(peer));
  // Who is connected and has not said yet what it holds says so in a moment.
  const from = sources.length > 0 ? sources : here.filter((peer) => replica.beatOf(peer) === null);
  const named = (peers: readonly PeerId[]): string[] =>
    peers.map((peer) => replica.reader.member(peer)?.name || names.get(peer) || peer.slice(-6));
  const preview = previewOf(replica);
  const positions = replica.reader.positions();
  return {
    ...mending,
    applied: replica.applied,
    entries: preview && { here: positions + preview.countAfter(positions), all: preview.positions },
    from: named(from),
    without: named(here.filter((peer) => !from.includes(peer))),
    away: named(others.filter((peer) => !here.includes(peer))),
  };
}

const HAPPENED = 'Part of this machine’s disk was damaged.';
const KEPT = 'What it agreed to and what was written on it is kept';

/** What happened, what is kept, what is missing, and who has to return where nobody here has it. */
export function mendingWords(outlook: Outlook): string {
  const { isStateToCome, isReplayable, applied, upTo, lost, toCome } = outlook;
  if (!isStateToCome) {
    const some = `${toCome} of ${lost} lost ${lost === 1 ? 'slot' : 'slots'} of its log`;
    return `${HAPPENED} ${KEPT}, every entry is here, and it goes on as before; ${some} ${toCome === 1 ? 'is' : 'are'} still to be fetched. ${whence(outlook)}`;
  }
  if (isReplayable) {
    return `${HAPPENED} ${KEPT}; its copy of the entries is being made anew from the log, which is here: slot ${applied} of ${upTo}.`;
  }
  return `${HAPPENED} ${KEPT}; its copy of the entries is being made anew, and ${toCome} of the ${upTo} slots of its log have to be fetched for that. ${whence(outlook)}`;
}

function whence({ isStateToCome, entries, from, without, away }: Outlook): string {
  if (from.length > 0) {
    const far =
      isStateToCome && entries !== null ? `, ${entries.here} of ${entries.all} entries so far, not verified yet` : '';
    return `They come from ${from.length === 1 ? from[0] : oneOf(from)}${far}. Nothing is lost in the group.`;
  }
  const here = without.length === 0 ? '' : ` (${listed(without)} ${without.length === 1 ? 'lacks' : 'lack'} them too)`;
  if (away.length === 0) {
    return without.length === 0
      ? 'Nobody else is in this group, as far as is known here: they can only be had from a backup of this machine (synod rebuild).'
      : `Nobody who is known here has them${here}: they can only be had from a backup of this machine (synod rebuild).`;
  }
  const who = away.length === 1 ? `${away[0]} has` : `${oneOf(away)} has`;
  return `Nobody who has them can be reached${here}: ${who} to return${away.length === 1 ? '' : ', one is enough'}. Nothing is lost in the group as long as ${away.length === 1 ? 'it does' : 'one of them does'}.`;
}

const oneOf = (names: readonly string[]): string =>
  names.length > 1 ? `${names.slice(0, -1).join(', ')} or ${names.at(-1)}` : (names[0] ?? '');
