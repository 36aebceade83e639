import type { PeerId } from '../../shared/base/ids.ts';
import type { GroupStatus } from '../../shared/ipc/contract.ts';
import type { RecoveryStanding } from '../../shared/replica/recovery-exchange.ts';
import type { Network } from '../network/network.ts';
import type { GroupHost } from './group-host.ts';
import type { Why } from './why.ts';

const KEPT = 'What is written here is kept and gets its place later.';

/** How far a forced recovery is, and what it waits for. */
export function recoveryWhy(host: GroupHost, network: Network, standing: RecoveryStanding): Why {
  return { code: 'RECOVERING', text: `${words(host, network, standing)} ${KEPT}` };
}

function words(host: GroupHost, network: Network, standing: RecoveryStanding): string {
  const { replica } = host;
  const named = (peer: PeerId): string => replica.reader.member(peer)?.name || peer.slice(-6);
  switch (standing.step) {
    case 'consents': {
      const { survivors, waitsFor, others } = standing;
      const [rival] = others;
      if (rival !== undefined) {
        const [peer, theirs] = rival;
        return `${named(peer)} named other survivors: ${listed(theirs.map(named))}; here they are ${listed(survivors.map(named))}. Agree on who goes on, and run recover again with the same --keep on each.`;
      }
      const here = waitsFor.filter((peer) => network.isConnected(peer));
      const away = waitsFor.filter((peer) => !network.isConnected(peer));
      const keeps = survivors.map((peer) => `--keep ${named(peer)}`).join(' ');
      const asked =
        here.length === 0
          ? ''
          : ` ${listed(here.map(named))} ${here.length === 1 ? 'has' : 'have'} yet to consent: stop the peer there and run synod recover ${keeps} --force.`;
      const gone =
        away.length === 0 ? '' : ` ${listed(away.map(named))} ${away.length === 1 ? 'is' : 'are'} not reachable.`;
      return `Waiting for the other survivors.${asked}${gone}`;
    }
    case 'fetching':
      return `All survivors have consented; fetching what the log goes on with, up to slot ${standing.upTo}.`;
    case 'following':
      return `The others went on without this machine by a forced recovery; fetching their log, up to slot ${standing.upTo} at least.`;
    case 'stuck':
      return `The survivors’ copies don’t fit together (${standing.fault}). Run recover again with others.`;
  }
}

/** Others of the group went on with another log, and both logs go on: nothing but a person's word ends that. */
export function splitWhy({ replica }: GroupHost, split: readonly PeerId[]): Why {
  const names = split.map((peer) => replica.reader.member(peer)?.name || peer.slice(-6));
  const others = listed(names);
  const it = names.length === 1 ? 'it' : 'they';
  return {
    code: 'SPLIT',
    text: `${others} went on with another log by a forced recovery: what ${it} and this machine agree on now differs, and the two logs don’t become one by themselves. A person must decide which one to keep; until then both go on and can be read. To keep this one: on ${others}, save what synod log --json prints, stop the peer for good, and join this log with a new data directory (synod invite here, synod join there); then expel the old one here (synod expel). What only the other log holds has to be written again. To keep the other one, do the same here.`,
  };
}

/** The one exception to positions that never move, said for as long as somebody may ask. */
export function recoveredStatus({ replica, asides }: GroupHost): Pick<GroupStatus, 'recovered'> {
  const last = replica.lastRecovery;
  if (last === null && asides.length === 0) return {};
  return { recovered: { slot: last?.slot ?? null, lossless: last?.lossless ?? null, aside: asides } };
}

export function listed(names: readonly string[]): string {
  return names.length > 1 ? `${names.slice(0, -1).join(', ')} and ${names.at(-1)}` : (names[0] ?? 'nobody');
}
