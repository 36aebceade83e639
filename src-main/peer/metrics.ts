import { Counter, collectDefaultMetrics, exponentialBuckets, Gauge, Histogram, Registry } from 'prom-client';
import type { GroupId } from '../../shared/base/ids.ts';
import { decodeBallot } from '../../shared/consensus/ballot.ts';
import type { GroupStatus, PeerStatus } from '../../shared/ipc/contract.ts';
import type { Replica } from '../../shared/replica/replica.ts';
import { CommitTimes } from './commit-times.ts';
import type { GroupHost } from './group-host.ts';
import type { GroupMeter, Meter } from './meter.ts';
import type { PeerView } from './peer.ts';

/** 0.1 ms to 6.6 s: from a fast disk's sync to one that hangs. Seconds. */
const DISK_BUCKETS: readonly number[] = exponentialBuckets(0.0001, 2, 17);
/** 1 ms to 66 s: from one machine alone to an election in between. Seconds. */
const COMMIT_BUCKETS: readonly number[] = exponentialBuckets(0.001, 2, 17);
/** Problems that have no name here count as this, so that no member can make up labels. */
const OTHER = 'OTHER';
const PROBLEMS = [
  'BAD_MESSAGE',
  'BAD_SIGNATURE',
  'COMMAND_IGNORED',
  'OTHER_GROUP',
  'OTHER_EPOCH',
  'RECORD_DAMAGED',
  'STATE_MISMATCH',
  OTHER,
] as const;

/** How a gauge of a group reads what it shows. */
type Read = (status: GroupStatus, host: GroupHost) => number;

const is = (so: boolean): number => (so ? 1 : 0);

/** What is read of every open group when somebody asks. */
const GROUP_GAUGES: readonly (readonly [name: string, help: string, read: Read])[] = [
  ['has_leader', 'Whether this machine knows who leads the group.', ({ leader }) => is(leader !== null)],
  ['is_leader', 'Whether this machine leads the group.', (_, host) => is(host.replica.inspect().leads)],
  ['is_voter', 'Whether this machine votes in the group.', ({ role }) => is(role !== 'learner')],
  ['can_commit', 'Whether what is written here can get its place just now.', ({ canCommit }) => is(canCommit)],
  ['chosen_slot', 'The last slot of the log up to which everything is known to be chosen.', ({ chosen }) => chosen],
  ['applied_slot', 'The last slot of the log that the state holds.', ({ applied }) => applied],
  ['slots_lacked', 'Slots that another member is known to have and this machine still has to fetch.', slotsLacked],
  ['positions', 'Entries that have their place.', ({ positions }) => positions],
  ['pending_commands', 'Commands of this machine that are saved and have no place yet.', ({ pending }) => pending],
  [
    'refused_commands',
    'Commands of this machine that the group refused and nobody has dismissed.',
    (_, host) => host.replica.outbox.refusedView().length,
  ],
  ['voters', 'Machines that decide.', ({ quorum }) => quorum.voters],
  [
    'voters_reachable',
    'Of them, those that are here and can vote; this machine included.',
    ({ quorum }) => quorum.reachable,
  ],
  ['ballot_round', 'The round of the ballot that is followed.', ({ ballot }) => ballot[0]],
  ['members', 'Members of the group, this machine included.', ({ members }) => members.length],
  [
    'members_connected',
    'Of them, those that are connected; this machine included.',
    ({ members }) => members.filter(({ connected }) => connected).length,
  ],
  [
    'store_sound',
    'Whether the store of the group is whole; 0: damaged, it does not vote.',
    (_, host) => is(host.replica.isSound),
  ],
  [
    'turn_age_seconds',
    'For how long no turn of the group has ended; every tick makes one.',
    (_, host) => host.turnAgeMs / 1_000,
  ],
];

function slotsLacked({ chosen, members }: GroupStatus): number {
  return Math.max(0, ...members.map((member) => (member.chosen ?? 0) - chosen));
}

/** A peer's metrics in Prometheus' text format: what passes is counted, how things stand is read when somebody asks. */
export class Metrics implements Meter {
  readonly #registry = new Registry();
  readonly #groupGauges = GROUP_GAUGES.map(([name, help, read]) => ({ gauge: this.#gauge(name, help), read }));
  readonly #isOpen = this.#gauge(
    'group_open',
    'Whether the store of the group is open; 0: closed for a while, or it can not be opened.',
  );
  readonly #isFull = this.#gauge('disk_full', 'Whether the disk of the group is full: nothing more is saved.');
  readonly #quorum = this.#gauge('quorum_size', 'Voters that a phase of the protocol needs.', 'group', 'phase');
  readonly #connected = this.#gauge('peer_connected', 'Whether the member is connected.', 'peer');
  readonly #rtt = this.#gauge('peer_rtt_seconds', 'The last round trip to the member.', 'peer');
  readonly #lastSeen = this.#gauge('peer_last_seen_timestamp_seconds', 'When the member was heard last.', 'peer');
  readonly #queued = this.#gauge('peer_queue_bytes', 'What waits to be sent to the member.', 'peer');
  readonly #leaderChanges = this.#counter('leader_changes_total', 'How often somebody came to lead, as seen here.');
  readonly #elections = this.#counter('elections_started_total', 'Elections that this machine began.');
  readonly #commits = this.#counter('commits_total', 'Slots of the log that were committed and applied here.');
  readonly #entries = this.#counter('entries_total', 'Entries that got their place.');
  readonly #dropped = this.#counter(
    'frames_dropped_total',
    'Frames to a connected member that its full queue did not take.',
  );
  readonly #damaged = this.#counter('damaged_records_total', 'Records that were found damaged while running.');
  readonly #problems = this.#counter(
    'problems_total',
    'What came in or was read and was wrong, by its code.',
    'group',
    'code',
  );
  readonly #writes = new Histogram({
    name: 'synod_disk_write_duration_seconds',
    help: "How long a turn's write took until it was synced: its batch, and its mark.",
    labelNames: ['group', 'part'],
    buckets: [...DISK_BUCKETS],
    registers: [this.#registry],
  });
  readonly #commitTimes = new Histogram({
    name: 'synod_commit_duration_seconds',
    help: 'How long a command of this machine took from being saved to having its place.',
    labelNames: ['group'],
    buckets: [...COMMIT_BUCKETS],
    registers: [this.#registry],
  });

  /** @param hasProcess with prom-client's own metrics of the process: memory, processor time, the event loop */
  constructor({ version, hasProcess }: { readonly version: string; readonly hasProcess: boolean }) {
    this.#gauge('build_info', 'Which version runs; always 1.', 'version').set({ version }, 1);
    if (hasProcess) collectDefaultMetrics({ register: this.#registry });
  }

  #gauge(name: string, help: string, ...labelNames: readonly string[]): Gauge {
    const labels = labelNames.length === 0 ? ['group'] : [...labelNames];
    return new Gauge({ name: `synod_${name}`, help, labelNames: labels, registers: [this.#registry] });
  }

  #counter(name: string, help: string, ...labelNames: readonly string[]): Counter {
    const labels = labelNames.length === 0 ? ['group'] : [...labelNames];
    return new Counter({ name: `synod_${name}`, help, labelNames: labels, registers: [this.#registry] });
  }

  /** The content type of what `render` gives. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  async render({ hosts, network, status }: PeerView): Promise<string> {
    this.#readGroups(hosts, status());
    for (const gauge of [this.#connected, this.#rtt, this.#lastSeen, this.#queued]) gauge.reset();
    const open = [...hosts.values()].filter((host) => host.isOpen);
    for (const peer of new Set(open.flatMap(({ replica }) => replica.peers))) {
      const [rttMs, lastSeenMs] = [network.rttMs(peer), network.lastSeenMs(peer)];
      this.#connected.set({ peer }, is(network.isConnected(peer)));
      if (rttMs !== null) this.#rtt.set({ peer }, rttMs / 1_000);
      if (lastSeenMs !== null) this.#lastSeen.set({ peer }, lastSeenMs / 1_000);
      const queued = (['consensus', 'session', 'bulk'] as const).map((purpose) => network.queuedBytes(peer, purpose));
      this.#queued.set(
        { peer },
        queued.reduce((sum, bytes) => sum + bytes, 0),
      );
    }
    return this.#registry.metrics();
  }

  #readGroups(hosts: ReadonlyMap<GroupId, GroupHost>, { groups, broken = [] }: PeerStatus): void {
    const all = [this.#isOpen, this.#isFull, this.#quorum, ...this.#groupGauges.map(({ gauge }) => gauge)];
    for (const gauge of all) gauge.reset();
    for (const { group } of broken) this.#isOpen.set({ group }, 0);
    for (const [group, { trouble }] of hosts) this.#isFull.set({ group }, is(trouble === 'DISK_FULL'));
    for (const status of groups) {
      const { group, quorum } = status;
      const host = hosts.get(group as GroupId);
      if (host === undefined) continue;
      this.#isOpen.set({ group }, 1);
      this.#quorum.set({ group, phase: '1' }, quorum.phase1);
      this.#quorum.set({ group, phase: '2' }, quorum.phase2);
      for (const { gauge, read } of this.#groupGauges) gauge.set({ group }, read(status, host));
    }
  }

  of(group: GroupId): GroupMeter {
    const label = { group };
    // Counted from 0 on, so that the first event is seen as an increase.
    const counters = [this.#leaderChanges, this.#elections, this.#commits, this.#entries, this.#dropped, this.#damaged];
    for (const counter of counters) counter.inc(label, 0);
    for (const code of PROBLEMS) this.#problems.inc({ group, code }, 0);
    for (const part of ['batch', 'mark']) this.#writes.zero({ group, part });
    this.#commitTimes.zero(label);

    let times = new CommitTimes(0);
    let applied = 0;
    let round = 0;
    let self = '';
    let leader: string | null = null;
    let [startedMs, savedSeq] = [0, 0];
    const wrote = (part: 'batch' | 'mark'): void =>
      this.#writes.observe({ group, part }, (performance.now() - startedMs) / 1_000);
    return {
      opened: (replica) => {
        times = new CommitTimes(replica.lastOwnSeq);
        applied = replica.applied;
        round = replica.inspect().promised?.round ?? 0;
        self = replica.self;
      },
      writing: ({ promise, lastOwnSeq }) => {
        const [promised] = Array.isArray(promise) ? promise : [];
        if (typeof promised === 'number' && promised !== round) {
          round = promised;
          // Who wants to lead promises its own ballot first.
          if (decodeBallot(promise).peer === self) this.#elections.inc(label);
        }
        savedSeq = lastOwnSeq;
        startedMs = performance.now();
      },
      batchWritten: () => wrote('batch'),
      markWritten: () => wrote('mark'),
      written: () => times.saved(savedSeq, performance.now()),
      applied: (replica, changes) => {
        this.#commits.inc(label, Math.max(0, replica.applied - applied));
        applied = replica.applied;
        const created = changes.filter((change) => change.type === 'entry' && change.what === 'create');
        this.#entries.inc(label, created.length);
        for (const tookMs of times.placed(placedSeq(replica), performance.now())) {
          this.#commitTimes.observe(label, tookMs / 1_000);
        }
      },
      leader: (next) => {
        // The same one again after nobody counts, too: commits stood still in between.
        if (next !== null && next !== leader) this.#leaderChanges.inc(label);
        leader = next;
      },
      dropped: () => this.#dropped.inc(label),
      problem: (code) => {
        const known = PROBLEMS.find((each) => each === code) ?? OTHER;
        this.#problems.inc({ group, code: known });
        if (known === 'RECORD_DAMAGED') this.#damaged.inc(label);
      },
    };
  }
}

/** The number of this store's last command that was judged. */
const placedSeq = ({ reader, self, incarnation }: Replica): number => reader.session(self, incarnation)?.lastSeq ?? 0;
