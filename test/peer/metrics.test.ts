import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { GroupId } from '../../shared/base/ids.ts';
import { encodeBallot } from '../../shared/consensus/ballot.ts';
import type { Change } from '../../shared/document/index.ts';
import type { GroupStatus, PeerStatus } from '../../shared/ipc/contract.ts';
import type { Replica } from '../../shared/replica/replica.ts';
import { CommitTimes } from '../../src-main/peer/commit-times.ts';
import type { GroupHost } from '../../src-main/peer/group-host.ts';
import type { GroupMeter } from '../../src-main/peer/meter.ts';
import { Metrics } from '../../src-main/peer/metrics.ts';
import { type MetricsServer, openMetricsServer } from '../../src-main/peer/metrics-server.ts';
import type { PeerView } from '../../src-main/peer/peer.ts';
import { ballot, peerOf } from '../consensus/names.ts';
import { Scrape } from './prometheus.ts';

const GROUP = 'gabc' as GroupId;
const OTHER = 'gdef' as GroupId;
const [A, B, C] = [peerOf('A'), peerOf('B'), peerOf('C')];

/** A peer whose state the test sets. */
interface World {
  status: GroupStatus;
  broken: NonNullable<PeerStatus['broken']>;
  host: { isOpen: boolean; trouble: GroupHost['trouble']; turnAgeMs: number; isStalled: boolean };
  /** What was applied, and own commands up to which number. */
  applied: { slot: number; ownSeq: number };
  queued: number;
  leads: boolean;
  isSound: boolean;
}
let world: World;
let metrics: Metrics;
let meter: GroupMeter;
let server: MetricsServer | undefined;

beforeEach(() => {
  world = {
    status: {
      group: GROUP,
      title: 'Ward 3',
      role: 'voter',
      rights: 'keeper',
      leader: B,
      ballot: [7, B, 'i'],
      chosen: 40,
      applied: 38,
      positions: 12,
      digest: '',
      state: '',
      pending: 2,
      canCommit: true,
      why: null,
      whyCode: null,
      quorum: { phase1: 2, phase2: 3, voters: 3, reachable: 2 },
      voting: { policy: false, summary: '', spare: { writing: 0, electing: 0 }, canLead: 2, next: null },
      members: [A, B, C].map((peer) => ({
        peer,
        name: `the secret name of ${peer}`,
        role: 'voter' as const,
        rights: 'writer' as const,
        connected: peer !== C,
        chosen: peer === A ? 40 : peer === B ? 45 : null,
        rttMs: null,
        lastSeen: null,
      })),
    },
    broken: [],
    host: { isOpen: true, trouble: null, turnAgeMs: 50, isStalled: false },
    applied: { slot: 38, ownSeq: 4 },
    queued: 100,
    leads: false,
    isSound: true,
  };
  metrics = new Metrics({ version: '0.1.0', hasProcess: false });
  meter = metrics.of(GROUP);
});

afterEach(async () => {
  await server?.close();
  server = undefined;
});

function replica(): Replica {
  return {
    self: A,
    incarnation: 'i',
    applied: world.applied.slot,
    lastOwnSeq: world.applied.ownSeq,
    isSound: world.isSound,
    peers: [B, C],
    inspect: () => ({ promised: ballot('3.A'), leads: world.leads }),
    reader: { session: () => ({ lastSeq: world.applied.ownSeq }) },
    outbox: { refusedView: () => [{}, {}, {}] },
  } as unknown as Replica;
}

function view(): PeerView {
  const host = { group: GROUP, ...world.host, replica: replica() } as unknown as GroupHost;
  return {
    hosts: new Map([[GROUP, host]]),
    network: {
      isConnected: (peer) => peer === B,
      rttMs: (peer) => (peer === B ? 2.5 : null),
      lastSeenMs: (peer) => (peer === B ? 1_700_000_000_500 : null),
      queuedBytes: (peer, purpose) => (peer === B && purpose === 'bulk' ? world.queued : 1),
    } as Partial<PeerView['network']> as PeerView['network'],
    status: () => ({
      peer: A,
      name: 'Ana',
      groups: world.host.isOpen ? [world.status] : [],
      ...(world.broken.length === 0 ? {} : { broken: world.broken }),
    }),
  };
}

const scrape = async (): Promise<Scrape> => new Scrape(await metrics.render(view()));

/** A turn whose batch and mark reach the disk. */
function turn(lastOwnSeq: number, promise = encodeBallot(ballot('3.A'))): void {
  meter.writing({ promise, lastOwnSeq });
  meter.batchWritten();
  meter.markWritten();
  meter.written();
}

function apply(slot: number, ownSeq: number, changes: readonly Change[] = []): void {
  world.applied = { slot, ownSeq };
  meter.applied(replica(), changes);
}

const entry = (what: 'create' | 'edit'): Change => ({ type: 'entry', what }) as Change;

describe('what is read when somebody asks', () => {
  test('how a group stands', async () => {
    world.leads = true;
    const read = await scrape();
    const values = {
      synod_group_open: 1,
      synod_disk_full: 0,
      synod_has_leader: 1,
      synod_is_leader: 1,
      synod_is_voter: 1,
      synod_can_commit: 1,
      synod_chosen_slot: 40,
      synod_applied_slot: 38,
      synod_slots_lacked: 5,
      synod_positions: 12,
      synod_pending_commands: 2,
      synod_refused_commands: 3,
      synod_voters: 3,
      synod_voters_reachable: 2,
      synod_ballot_round: 7,
      synod_members: 3,
      synod_members_connected: 2,
      synod_store_sound: 1,
      synod_turn_age_seconds: 0.05,
    };
    const found = Object.keys(values).map((name) => [name, read.value(name, { group: GROUP })]);
    expect(Object.fromEntries(found)).toEqual(values);
    expect(read.value('synod_quorum_size', { phase: '1' })).toBe(2);
    expect(read.value('synod_quorum_size', { phase: '2' })).toBe(3);
    expect(read.value('synod_build_info', { version: '0.1.0' })).toBe(1);
  });

  test('what is wrong', async () => {
    world.status = { ...world.status, leader: null, canCommit: false, role: 'learner' };
    world.isSound = false;
    const read = await scrape();
    for (const name of ['has_leader', 'is_leader', 'is_voter', 'can_commit', 'store_sound']) {
      expect(read.value(`synod_${name}`), name).toBe(0);
    }
  });

  test('a closed group and one that can not be opened say so, and nothing else is claimed of them', async () => {
    await scrape();
    world.host = { ...world.host, isOpen: false, trouble: 'DISK_FULL' };
    world.broken = [
      { group: GROUP, code: 'DISK_FULL', message: 'full' },
      { group: OTHER, code: 'DAMAGED', message: 'damaged' },
    ];
    const read = await scrape();
    expect(read.value('synod_group_open', { group: GROUP })).toBe(0);
    expect(read.value('synod_group_open', { group: OTHER })).toBe(0);
    expect(read.value('synod_disk_full', { group: GROUP })).toBe(1);
    expect(read.all('synod_can_commit')).toEqual([]);
    expect(read.all('synod_peer_connected')).toEqual([]);
  });

  test('the other machines, by their ids', async () => {
    const read = await scrape();
    expect(read.value('synod_peer_connected', { peer: B })).toBe(1);
    expect(read.value('synod_peer_connected', { peer: C })).toBe(0);
    expect(read.value('synod_peer_rtt_seconds', { peer: B })).toBe(0.0025);
    expect(read.value('synod_peer_last_seen_timestamp_seconds', { peer: B })).toBe(1_700_000_000.5);
    expect(read.value('synod_peer_queue_bytes', { peer: B })).toBe(102);
    expect(read.all('synod_peer_rtt_seconds', { peer: C })).toEqual([]);
  });
});

describe('what is counted as it passes', () => {
  test('everything is there from the beginning, at 0', async () => {
    const read = await scrape();
    for (const name of [
      'leader_changes',
      'elections_started',
      'commits',
      'entries',
      'frames_dropped',
      'damaged_records',
    ]) {
      expect(read.value(`synod_${name}_total`, { group: GROUP }), name).toBe(0);
    }
    expect(read.value('synod_commit_duration_seconds_count')).toBe(0);
    expect(read.value('synod_disk_write_duration_seconds_count', { part: 'mark' })).toBe(0);
  });

  test('turns, commits and entries', async () => {
    meter.opened(replica());
    turn(6);
    turn(6);
    apply(41, 5, [entry('create'), entry('edit'), entry('create')]);
    const half = await scrape();
    expect(half.value('synod_commit_duration_seconds_count')).toBe(1);
    apply(42, 6);
    const read = await scrape();
    expect(read.value('synod_commits_total')).toBe(4);
    expect(read.value('synod_entries_total')).toBe(2);
    expect(read.value('synod_commit_duration_seconds_count')).toBe(2);
    expect(read.value('synod_disk_write_duration_seconds_count', { part: 'batch' })).toBe(2);
    expect(read.value('synod_disk_write_duration_seconds_count', { part: 'mark' })).toBe(2);
    // A store that was opened again may be behind what it was: a counter never falls.
    world.applied = { slot: 10, ownSeq: 6 };
    meter.opened(replica());
    apply(11, 6);
    expect((await scrape()).value('synod_commits_total')).toBe(5);
  });

  test('elections of this machine alone, each once', async () => {
    meter.opened(replica());
    turn(4);
    turn(4, encodeBallot(ballot('4.B')));
    turn(4, encodeBallot(ballot('5.A')));
    turn(4, encodeBallot(ballot('5.A')));
    turn(4, encodeBallot(ballot('6.A')));
    expect((await scrape()).value('synod_elections_started_total')).toBe(2);
  });

  test('who came to lead, dropped frames, and problems by their codes', async () => {
    for (const leader of [A, A, null, A, B]) meter.leader(leader);
    meter.dropped();
    meter.problem('RECORD_DAMAGED');
    meter.problem('BAD_SIGNATURE');
    for (let n = 0; n < 100; n++) meter.problem(`MADE_UP_${n}`);
    const read = await scrape();
    expect(read.value('synod_leader_changes_total')).toBe(3);
    expect(read.value('synod_frames_dropped_total')).toBe(1);
    expect(read.value('synod_damaged_records_total')).toBe(1);
    expect(read.value('synod_problems_total', { code: 'BAD_SIGNATURE' })).toBe(1);
    expect(read.value('synod_problems_total', { code: 'OTHER' })).toBe(100);
    expect(read.all('synod_problems_total')).toHaveLength(8);
  });
});

describe('names and labels', () => {
  test("keep to Prometheus' conventions", async () => {
    const { types, helps } = await scrape();
    expect(types.size).toBeGreaterThan(30);
    for (const [name, type] of types) {
      expect(name).toMatch(/^synod_[a-z_]+$/);
      expect(name.endsWith('_total'), `${name} is a ${type}`).toBe(type === 'counter');
      if (type === 'histogram') expect(name).toMatch(/_(seconds|bytes)$/);
      expect(name).not.toMatch(/_(ms|milliseconds|kilobytes|count|sum)$/);
      expect(helps.get(name)).toMatch(/[.1]$/);
    }
  });

  test('docs/operations.md tells of each metric, and of no other', async () => {
    const page = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8');
    const told = new Set(Array.from(page.matchAll(/`(synod_[a-z_]+)`/g), ([, name]) => name));
    const { types } = await scrape();
    expect([...told].toSorted()).toEqual([...types.keys()].toSorted());
  });

  test('are ids and closed lists: no title, no name, no code of somebody else', async () => {
    const read = await scrape();
    const labels = new Set(read.samples.flatMap((sample) => Object.keys(sample.labels)));
    expect([...labels].toSorted()).toEqual(['code', 'group', 'le', 'part', 'peer', 'phase', 'version']);
    expect(JSON.stringify(read.samples)).not.toMatch(/secret name|Ward|Ana/);
  });

  test('a member that is gone is gone from the metrics', async () => {
    await scrape();
    const gone = view();
    const host = { group: GROUP, ...world.host, replica: { ...replica(), peers: [C] } } as unknown as GroupHost;
    const read = new Scrape(await metrics.render({ ...gone, hosts: new Map([[GROUP, host]]) }));
    expect(read.all('synod_peer_queue_bytes').map(({ labels }) => labels.peer)).toEqual([C]);
  });
});

describe('how long commands took', () => {
  test('each is timed from its save on, also where they get their places in another grouping', () => {
    const times = new CommitTimes(3);
    times.saved(5, 1_000);
    times.saved(5, 2_000);
    times.saved(8, 3_000);
    expect(times.placed(4, 4_000)).toEqual([3_000]);
    expect(times.placed(6, 5_000)).toEqual([4_000, 2_000]);
    expect(times.placed(6, 6_000)).toEqual([]);
    expect(times.placed(100, 7_000)).toEqual([4_000, 4_000]);
  });

  test('a month offline is not followed to the last command', () => {
    const times = new CommitTimes(0);
    for (let seq = 1; seq <= 10_000; seq++) times.saved(seq, 0);
    expect(times.placed(10_000, 1)).toHaveLength(4_096);
    times.saved(10_001, 5);
    expect(times.placed(10_001, 8)).toEqual([3]);
  });
});

describe('the pages', () => {
  async function get(path: string, options: { method?: string; host?: string } = {}): Promise<[number, string]> {
    server ??= await openMetricsServer({ place: { host: '127.0.0.1', port: 0 }, view: view(), metrics });
    const { port } = new URL(server.url);
    const { method = 'GET', host = `127.0.0.1:${port}` } = options;
    const sent = request({ host: '127.0.0.1', port, path, method, headers: { host }, agent: false }).end();
    const [response] = await once(sent, 'response');
    let body = '';
    for await (const chunk of response) body += chunk;
    return [response.statusCode, body];
  }

  test('/metrics is what is rendered, for its own hosts alone, and only to be read', async () => {
    const [status, body] = await get('/metrics');
    expect(status).toBe(200);
    expect(new Scrape(body).value('synod_positions')).toBe(12);
    const { port } = new URL(server?.url ?? '');
    expect((await get('/metrics', { host: `localhost:${port}` }))[0]).toBe(200);
    for (const host of ['evil.example', `evil.example:${port}`, '127.0.0.1', `127.0.0.1:${Number(port) + 1}`]) {
      expect(await get('/metrics', { host }), host).toEqual([403, '']);
    }
    for (const method of ['POST', 'PUT', 'DELETE', 'HEAD', 'OPTIONS']) {
      expect((await get('/metrics', { method }))[0], method).toBe(405);
    }
    for (const path of ['/', '/metrics/', '/metricsx', '/constructor', '/__proto__', '//metrics']) {
      expect(await get(path), path).toEqual([404, '']);
    }
    expect((await get('/metrics?name=x'))[0]).toBe(200);
  });

  test('/livez is well while turns end, and says which group hangs', async () => {
    expect(await get('/livez')).toEqual([200, 'ok\n']);
    await server?.close();
    server = undefined;
    world.host = { ...world.host, turnAgeMs: 12_350, isStalled: true };
    expect(await get('/livez')).toEqual([503, 'gabc a disk write has not ended for 12 s\n']);
  });

  test('/readyz says what keeps groups from committing, one a line', async () => {
    expect(await get('/readyz')).toEqual([200, 'ok\n']);
    world.broken = [{ group: OTHER, code: 'NEWER_FORMAT', message: 'Update\nSynod.' }];
    world.status = { ...world.status, canCommit: false, why: 'Ben is away.', whyCode: 'NO_QUORUM' };
    expect(await get('/readyz')).toEqual([503, 'gdef NEWER_FORMAT Update Synod.\ngabc NO_QUORUM Ben is away.\n']);
  });

  test('a fault while reading is a 500 and is told to the log', async () => {
    const problems: unknown[] = [];
    const status = (): never => {
      throw new Error('a fault');
    };
    server = await openMetricsServer({
      place: { host: '127.0.0.1', port: 0 },
      view: { ...view(), status },
      metrics,
      onProblem: (error) => problems.push(error),
    });
    expect(await get('/metrics')).toEqual([500, '']);
    expect(problems).toEqual([new Error('a fault')]);
  });

  test('a port that is taken is named', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    const failed = openMetricsServer({ place: { host: '127.0.0.1', port }, view: view(), metrics });
    await expect(failed).rejects.toMatchObject({
      code: 'PORT_IN_USE',
      message: expect.stringContaining(`Port ${port}`),
    });
    taken.close();
  });
});
