import { expect, test } from 'vitest';
import type { Incarnation, PeerId } from '../../shared/base/ids.ts';
import type { Voter } from '../../shared/consensus/configuration.ts';
import type { Network } from '../../src-main/network/network.ts';
import { refusedAtOnce } from '../../src-main/peer/failures.ts';
import type { GroupHost } from '../../src-main/peer/group-host.ts';
import { createService, type ServiceInit } from '../../src-main/peer/service.ts';
import { members } from '../../src-main/peer/status.ts';
import { survival } from '../../src-main/peer/voting.ts';
import { noneCanLead } from '../../src-main/peer/why.ts';

const INCARNATION = '00' as Incarnation;
const voter = (peer: string, witness = false): Voter => ({ peer: peer as PeerId, incarnation: INCARNATION, witness });

interface Scene {
  readonly voters: readonly Voter[];
  /** Those who are expelled. */
  readonly expelled?: readonly string[];
  readonly connected?: readonly string[];
}

/** As `nas` sees it. */
function scene({ voters, expelled = [], connected = [] }: Scene): { host: GroupHost; network: Network } {
  const all = ['ana', 'ben', 'nas'].map((peer) => ({
    peer,
    name: peer,
    rights: 'keeper',
    away: null,
    expelledSlot: expelled.includes(peer) ? 9 : null,
  }));
  const configuration = { voters, q1: 2, q2: 2 };
  const replica = {
    self: 'nas',
    isSound: true,
    isWitness: voters.some((v) => v.peer === 'nas' && v.witness),
    incarnation: INCARNATION,
    reborn: null,
    prefix: 5,
    preview: null,
    reader: {
      member: (peer: string) => all.find((m) => m.peer === peer),
      members: () => all.filter((m) => m.expelledSlot === null),
      entryAt: () => null,
      positions: () => 0,
    },
    seenIncarnation: () => null,
    split: [],
    beatOf: () => null,
    inspect: () => ({ window: [{ configuration }], configuration: { configuration } }),
  };
  const host = { group: 'gabc', isOpen: true, trouble: null, replica, whenOpen: () => Promise.resolve() };
  const network = {
    isConnected: (peer: string) => connected.includes(peer),
    lastSeenMs: () => null,
    rttMs: () => null,
  };
  return { host: host as unknown as GroupHost, network: network as unknown as Network };
}

function serviceOf({ host, network }: ReturnType<typeof scene>): ReturnType<typeof createService> {
  const init: Partial<ServiceInit> = {
    self: 'nas' as PeerId,
    name: () => 'nas',
    hosts: new Map([[host.group, host]]),
    broken: new Map(),
    network,
  };
  return createService(init as ServiceInit);
}

const witnesses = [voter('ana'), voter('ben', true), voter('nas', true)];
const soon = { timeoutMs: 60_000 };
const never = new AbortController().signal;

test('with one that can lead nobody hears that any may be away', () => {
  const sizes = { q1: 2, q2: 2 };
  expect(survival({ voters: witnesses, ...sizes }, 3, 3)).toBe(
    '3 of 3 voters are here. Only one of them can lead: while it is away, nothing is agreed. The others are witnesses, which never lead.',
  );
  expect(survival({ voters: [voter('ana'), voter('ben'), voter('nas', true)], ...sizes }, 3, 3)).toBe(
    '3 of 3 voters are here. Any 1 may be away.',
  );
  const five = [...witnesses, voter('cy'), voter('dee', true)];
  expect(survival({ voters: five, q1: 3, q2: 3 }, 5, 5)).toMatch(/Any 1 may be away: of the 2 that can lead one/);
});

test('where only witnesses are here, it says who has to come back', () => {
  const { host, network } = scene({ voters: witnesses, connected: ['ben'] });
  expect(noneCanLead(host, network, [{ voters: witnesses }])).toEqual({
    code: 'NO_QUORUM',
    text: '2 of 3 voters are here, and are witnesses, which never lead. ana is unreachable. What was saved is kept.',
  });
  const together = scene({ voters: witnesses, connected: ['ana', 'ben'] });
  expect(noneCanLead(together.host, together.network, [{ voters: witnesses }])).toBeNull();
});

test('a witness answers at once, with the reason', async () => {
  const service = serviceOf(scene({ voters: witnesses, connected: ['ana', 'ben'] }));
  await expect(service.barrier(soon, never)).rejects.toMatchObject({ code: 'WITNESS' });
  await expect(service.append({ text: 'x', wait: 'committed', ...soon }, never)).rejects.toMatchObject({
    code: 'WITNESS',
    message: expect.stringMatching(/witness: it votes and keeps no entries. Nothing was written/),
  });
  await expect(service.edit({ entry: '1', text: 'x', wait: 'committed', ...soon }, never)).rejects.toMatchObject({
    code: 'ENTRY_NOT_FOUND',
    message: expect.stringMatching(/is a witness and keeps no entries/),
  });
});

test('what a store refuses at once keeps its own reason', () => {
  const refused = { refused: 'SESSION_CLOSED', detail: 'this machine is a witness and keeps no entries' } as const;
  expect(refusedAtOnce(refused).message).toBe('Nothing was written: this machine is a witness and keeps no entries.');
});

test('whoever was expelled is told so, whatever it asks of the group', async () => {
  const service = serviceOf(scene({ voters: [voter('ana')], expelled: ['nas'] }));
  const gone = {
    code: 'REFUSED_NOT_MEMBER',
    message: expect.stringMatching(/no longer a member. Nothing was changed/),
  };
  await expect(service.leave(soon, never)).rejects.toMatchObject(gone);
  await expect(service.promote({ peer: 'nas', ...soon }, never)).rejects.toMatchObject(gone);
  await expect(service.lead({ peer: 'ana', ...soon }, never)).rejects.toMatchObject(gone);
});

test('an expelled voter is listed until it votes no more', () => {
  const voting = scene({ voters: [voter('nas'), voter('ben')], expelled: ['ben'] });
  expect(members(voting.host, voting.network)).toMatchObject([
    { peer: 'ana' },
    { peer: 'nas' },
    { peer: 'ben', role: 'voter', removing: true },
  ]);
  const after = scene({ voters: [voter('nas')], expelled: ['ben'] });
  expect(members(after.host, after.network).map(({ peer }) => peer)).toEqual(['ana', 'nas']);
});
