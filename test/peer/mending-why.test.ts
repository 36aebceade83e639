import { describe, expect, test } from 'vitest';
import { type PeerId, slot } from '../../shared/base/ids.ts';
import type { MendStanding } from '../../shared/replica/mending.ts';
import type { Network } from '../../src-main/network/network.ts';
import type { GroupHost } from '../../src-main/peer/group-host.ts';
import { entryNamed } from '../../src-main/peer/lookup.ts';
import { isMadeAnew, mendingStatus, mendingWhy, mendingWords, type Outlook } from '../../src-main/peer/mending-why.ts';

const outlook = (more: Partial<Outlook> = {}): Outlook => ({
  isStateToCome: true,
  isReplayable: false,
  upTo: slot(500),
  lost: 12,
  toCome: 12,
  applied: 0,
  entries: null,
  from: [],
  without: [],
  away: [],
  ...more,
});

const KEPT = 'Part of this machine’s disk was damaged. What it agreed to and what was written on it is kept';
const ANEW = `${KEPT}; its copy of the entries is being made anew`;
const FETCHED = `${ANEW}, and 12 of the 500 slots of its log have to be fetched for that.`;

describe('what a mended copy says', () => {
  test.each<[string, Partial<Outlook>]>([
    [`${ANEW} from the log, which is here: slot 120 of 500.`, { isReplayable: true, applied: 120, toCome: 0 }],
    [`${FETCHED} They come from Ben. Nothing is lost in the group.`, { from: ['Ben'], away: ['NAS'] }],
    [
      `${FETCHED} They come from Ben or NAS, 64 of 480 entries so far, not verified yet. Nothing is lost in the group.`,
      { from: ['Ben', 'NAS'], entries: { here: 64, all: 480 } },
    ],
    [
      `${FETCHED} Nobody who has them can be reached: Ben has to return. Nothing is lost in the group as long as it does.`,
      { away: ['Ben'] },
    ],
    [
      `${FETCHED} Nobody who has them can be reached (Cy lacks them too): Ana, Ben or NAS has to return, one is enough. Nothing is lost in the group as long as one of them does.`,
      { away: ['Ana', 'Ben', 'NAS'], without: ['Cy'] },
    ],
    [
      `${FETCHED} Nobody who is known here has them (Ben and Cy lack them too): they can only be had from a backup of this machine (synod rebuild).`,
      { without: ['Ben', 'Cy'] },
    ],
    [
      `${FETCHED} Nobody else is in this group, as far as is known here: they can only be had from a backup of this machine (synod rebuild).`,
      {},
    ],
    [
      `${KEPT}, every entry is here, and it goes on as before; 3 of 12 lost slots of its log are still to be fetched. They come from Ben. Nothing is lost in the group.`,
      { isStateToCome: false, isReplayable: true, toCome: 3, applied: 500, from: ['Ben'] },
    ],
    [
      `${KEPT}, every entry is here, and it goes on as before; 1 of 1 lost slot of its log is still to be fetched. Nobody who has them can be reached: Ben has to return. Nothing is lost in the group as long as it does.`,
      { isStateToCome: false, toCome: 1, lost: 1, applied: 500, away: ['Ben'] },
    ],
  ])('%s', (words, more) => {
    expect(mendingWords(outlook(more))).toBe(words);
  });
});

const peers = ['Ana', 'Ben', 'Cy', 'Wit'] as PeerId[];

interface Around {
  readonly mending?: Partial<MendStanding> | null;
  readonly connected?: readonly string[];
  readonly heard?: readonly string[];
  readonly reborn?: object | null;
  readonly member?: object;
}

function group({ mending = {}, connected = [], heard = connected, reborn = null, member }: Around) {
  const standing = mending && {
    isStateToCome: true,
    isReplayable: false,
    upTo: slot(500),
    lost: 12,
    toCome: 12,
    sources: [],
    title: null,
    names: new Map([
      ['Ana', 'Ana’s laptop'],
      ['Cy', 'Cy'],
    ]),
    ...mending,
  };
  const replica = {
    self: 'Me',
    isSound: true,
    isWitness: false,
    mending: standing,
    reborn,
    peers,
    preview: null,
    applied: 0,
    reader: { member: () => member, positions: () => 0, entryAt: () => undefined, entry: () => undefined },
    outbox: { pendingView: () => [] },
    beatOf: (peer: string) => (heard.includes(peer) ? {} : null),
    inspect: () => ({ window: [{ configuration: { voters: [{ peer: 'Wit', witness: true }] } }] }),
  };
  const host = { replica, entriesWithPrefix: async () => [] } as unknown as GroupHost;
  const network = { isConnected: (peer: string) => connected.includes(peer) } as unknown as Network;
  return { host, network };
}

describe('who is named', () => {
  const textOf = (around: Around): string => {
    const { host, network } = group(around);
    return mendingWhy(host, network)?.text ?? '';
  };

  test('all who may have it are, by the names that they had; a witness is not, as it has nothing', () => {
    expect(textOf({})).toContain(': Ana’s laptop, Ben or Cy has to return, one is enough.');
    expect(textOf({ connected: ['Wit'] })).toContain(': Ana’s laptop, Ben or Cy has to return');
    expect(textOf({ connected: ['Ben'] })).toContain('reached (Ben lacks them too): Ana’s laptop or Cy has to return');
    expect(textOf({ connected: ['Ben'], mending: { sources: ['Ben'] as PeerId[] } })).toContain('They come from Ben.');
    // It says in a moment what it has.
    expect(textOf({ connected: ['Ben'], heard: [] })).toContain('They come from Ben.');
  });

  test('a status says so also where nothing keeps the group from committing', () => {
    const { host, network } = group({ mending: { isStateToCome: false, toCome: 2, sources: ['Ben'] as PeerId[] } });
    expect(mendingWhy(host, network)).toBeNull();
    expect(mendingStatus(host, network)).toEqual({
      mending: { entries: false, upTo: 500, missing: 2, from: ['Ben'], text: expect.stringMatching(/every entry is/) },
    });
    const well = group({ mending: null });
    expect(mendingStatus(well.host, well.network)).toEqual({});
  });
});

describe('an entry that is not there', () => {
  const ask = async (around: Around, name: string) => entryNamed(group(around).host, name);

  test.each(['57', 'eabc', `e${'a'.repeat(25)}`])('%s can not be told from one that is not there yet', async (name) => {
    const anew = {
      code: 'BUSY',
      message: expect.stringMatching(/is being made anew: whether there is an entry (e|5)/),
    };
    await expect(ask({}, name)).rejects.toMatchObject(anew);
    await expect(ask({ mending: null, reborn: {} }, name)).rejects.toMatchObject(anew);
    const none = { code: 'ENTRY_NOT_FOUND', message: expect.stringMatching(/^There is no entry/) };
    await expect(ask({ mending: { isStateToCome: false } }, name)).rejects.toMatchObject(none);
    await expect(ask({ mending: null, reborn: {}, member: {} }, name)).rejects.toMatchObject(none);
    await expect(ask({ mending: null }, name)).rejects.toMatchObject(none);
  });

  test('and what can be no entry is none', async () => {
    await expect(ask({}, 'no entry')).rejects.toMatchObject({ code: 'ENTRY_NOT_FOUND' });
  });

  test('a witness makes nothing anew', () => {
    const { host } = group({ mending: null, reborn: {} });
    expect(isMadeAnew({ ...host.replica, isWitness: true } as GroupHost['replica'])).toBe(false);
  });
});
