import { toHex } from '../../shared/base/bytes.ts';
import type { EntryId, PeerId, Position } from '../../shared/base/ids.ts';
import type { Invitation, Member } from '../../shared/document/index.ts';
import { PeerError } from '../../shared/ipc/errors.ts';
import type { GroupHost } from './group-host.ts';
import { isMadeAnew, titleOf } from './mending-why.ts';
import { shownPositions } from './preview.ts';

/** The group that is meant: its id, a unique prefix of it, or its title; left out where there is only one. */
export function groupNamed(
  hosts: ReadonlyMap<string, GroupHost>,
  broken: ReadonlyMap<string, PeerError>,
  name: string | undefined,
): GroupHost {
  const all = [...hosts.values()];
  if (name === undefined) {
    const [only, another] = all;
    if (only === undefined) {
      for (const failure of broken.values()) throw failure;
      throw new PeerError(
        'NO_GROUP',
        'This peer is in no group yet. Start a log with create, or join one with a ticket.',
      );
    }
    // One that can't be opened just now counts too: what was meant for it must not end up in another.
    if (another !== undefined || broken.size > 0) {
      const names = [
        ...all.map(shownAs),
        ...[...broken.keys()].map((group) => `${group.slice(0, 8)}, which can't be read`),
      ];
      throw new PeerError('GROUP_NEEDED', `Several groups are here. Name one with --group: ${names.join(', ')}.`);
    }
    return only;
  }
  for (const [group, failure] of broken) if (group.startsWith(name)) throw failure;
  const exact = all.filter((host) => host.group === name || titleOf(host.replica) === name);
  const found = exact.length > 0 ? exact : all.filter((host) => host.group.startsWith(name));
  return onlyOne(found, 'GROUP', `group ${name}`, shownAs);
}

const shownAs = (host: GroupHost): string => `${titleOf(host.replica)} (${host.group.slice(0, 8)})`;

const POSITION_PATTERN = /^[1-9][0-9]{0,14}$/;
const ENTRY_PREFIX_PATTERN = /^e[a-z2-7]{0,25}$/;

/** The entry that is meant: a position in digits, its id, or a unique prefix of it. Own pending entries count. */
export async function entryNamed(host: GroupHost, name: string): Promise<EntryId> {
  const { reader, outbox } = host.replica;
  const why = host.replica.isWitness ? ': this machine is a witness and keeps no entries' : '';
  const none = new PeerError('ENTRY_NOT_FOUND', `There is no entry ${name} here${why}.`);
  const absent = isMadeAnew(host.replica) ? notYet(name) : none;
  if (POSITION_PATTERN.test(name)) {
    const id = reader.entryAt(Number(name) as Position)?.id;
    if (id === undefined && Number(name) <= shownPositions(host.replica)) {
      throw new PeerError(
        'ENTRY_NOT_FOUND',
        `Entry ${name} is not verified yet: it can be changed once the rest of the log is here.`,
      );
    }
    if (id === undefined) throw absent;
    return id;
  }
  if (!ENTRY_PREFIX_PATTERN.test(name)) throw none;
  if (reader.entry(name as EntryId)) return name as EntryId;
  const pending = outbox.pendingView(reader).filter((view) => view.what === 'create' && view.id.startsWith(name));
  const found = new Set<EntryId>([...(await host.entriesWithPrefix(name)), ...pending.map((view) => view.id)]);
  if (found.size === 0) throw absent;
  return onlyOne([...found], 'ENTRY', `entry ${name}`, (id) => id);
}

/** While the log is made anew, what is not there can't be told from what is not there yet. */
const notYet = (name: string): PeerError =>
  new PeerError(
    'BUSY',
    `Part of this machine’s disk was damaged, and its copy of the log is being made anew: whether there is an entry ${name} can't be told before. Nothing was changed; synod status says how far it is.`,
  );

/** The member that is meant: an id, a prefix of it with or without `12D3KooW`, or its name where that is unique. */
export const memberNamed = (host: GroupHost, name: string): Member => onlyMember(host.replica.reader.members(), name);

export function onlyMember(members: readonly Member[], name: string): Member {
  const byName = members.filter((m) => m.name === name);
  const found = byName.length > 0 ? byName : members.filter((m) => isPrefix(name, m.peer));
  return onlyOne(found, 'MEMBER', `member ${name}`, (m) => `${m.name} (${m.peer})`);
}

const COMMON = '12D3KooW';
const isPrefix = (text: string, peer: PeerId): boolean =>
  text.length > 0 && (peer.startsWith(text) || peer.startsWith(COMMON + text)) && text !== COMMON.slice(0, text.length);

/** The open invitation whose key begins so. */
export function invitationNamed(host: GroupHost, prefix: string): Invitation {
  const found = host.replica.reader.invitations().filter(({ key }) => toHex(key).startsWith(prefix.toLowerCase()));
  return onlyOne(found, 'INVITATION', `open invitation ${prefix}`, ({ key }) => toHex(key).slice(0, 8));
}

function onlyOne<T>(
  found: readonly T[],
  kind: 'GROUP' | 'ENTRY' | 'MEMBER' | 'INVITATION',
  what: string,
  show: (each: T) => string,
): T {
  const [first, second] = found;
  if (first === undefined) throw new PeerError(`${kind}_NOT_FOUND`, `There is no ${what} here.`);
  if (second !== undefined) {
    throw new PeerError(
      `${kind}_AMBIGUOUS`,
      `More than one ${what} is here: ${found.slice(0, 5).map(show).join(', ')}.`,
    );
  }
  return first;
}
