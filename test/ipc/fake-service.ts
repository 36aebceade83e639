import type {
  Appended,
  AppendParams,
  AwayParams,
  AwayStatus,
  CommittedLine,
  GroupStatus,
  LogLine,
  MemberStatus,
  OpenInvitation,
  PeerService,
  QuorumParams,
  QuorumStatus,
  Revision,
  WrittenRevision,
} from '../../shared/ipc/contract.ts';
import { PeerError } from '../../shared/ipc/errors.ts';

export const PEER = '12D3KooWFakePeerFakePeerFakePeerFakePeerFakePeerFake';
export const GROUP = 'gabcdefghijklmnopqrstuvwxy';

/** A peer's service that keeps its entries in memory and agrees at once, for tests of what lies around it. */
export class FakeService implements PeerService {
  readonly entries: { params: AppendParams; id: string }[] = [];
  readonly #byKey = new Map<string, number>();
  /** Requests that run now, and the most that ever did. */
  running = 0;
  runningMax = 0;
  /** Streams that were opened and not freed. */
  openStreams = 0;
  /** Items that streams were asked for. */
  pulled = 0;
  /** False: nothing is committed before its timeout. */
  agrees = true;
  /** What an append waits for, to hold several in flight. */
  gate: Promise<void> = Promise.resolve();
  /** What the next request fails with. */
  failure: Error | null = null;
  aborted = 0;
  /** Other machines that vote and can lead. */
  others = 2;
  calls: { method: string; params: object }[] = [];

  async groups(): Promise<{ group: string; title: string }[]> {
    return [{ group: GROUP, title: 'Ward 3' }];
  }

  async create({ title }: { title: string }): Promise<{ group: string; title: string }> {
    this.#note('create', { title });
    return { group: GROUP, title };
  }

  async invite(params: object): Promise<{ ticket: string }> {
    this.#note('invite', params);
    return { ticket: 'synod1abcdef' };
  }

  async *join(params: { ticket: string }): ReturnType<PeerService['join']> {
    this.#note('join', params);
    yield { kind: 'step', step: 'DIALLING', message: 'Looking for Ana at 10.20.4.17…' };
    if (params.ticket === 'synod1used') throw new PeerError('INVITATION_USED', 'The invitation was used.');
    yield { kind: 'joined', group: GROUP, title: 'Ward 3', role: 'learner' };
  }

  async append(params: AppendParams, signal: AbortSignal): Promise<Appended> {
    this.#note('append', params);
    this.running += 1;
    this.runningMax = Math.max(this.runningMax, this.running);
    signal.addEventListener('abort', () => (this.aborted += 1), { once: true });
    const index = this.#place(params);
    try {
      await this.gate;
      if (!this.agrees && params.wait === 'committed') {
        await new Promise((resolve) => setTimeout(resolve, params.timeoutMs));
      }
    } finally {
      this.running -= 1;
    }
    const { id } = this.entries[index.at] as { id: string };
    const committed = params.wait === 'committed' && this.agrees;
    return {
      id,
      status: committed ? 'committed' : 'saved',
      position: committed ? index.at + 1 : null,
      slot: committed ? index.at + 2 : null,
      why: committed || params.wait === 'saved' ? null : 'Only on this machine so far.',
      whyCode: committed || params.wait === 'saved' ? null : 'ALONE',
      created: index.created,
    };
  }

  #place(params: AppendParams): { at: number; created: boolean } {
    const known = params.key === undefined ? undefined : this.#byKey.get(params.key);
    if (known !== undefined) {
      if (this.entries[known]?.params.text !== params.text) throw new PeerError('KEY_REUSED', 'The key is taken.');
      return { at: known, created: false };
    }
    const at = this.entries.length;
    this.entries.push({ params, id: `e${String(at).padStart(25, 'a')}` });
    if (params.key !== undefined) this.#byKey.set(params.key, at);
    return { at, created: true };
  }

  edit(params: { entry: string }): Promise<WrittenRevision> {
    return this.#revise('edit', params);
  }

  remove(params: { entry: string }): Promise<WrittenRevision> {
    return this.#revise('remove', params);
  }

  restore(params: { entry: string }): Promise<WrittenRevision> {
    return this.#revise('restore', params);
  }

  async #revise(method: string, params: { entry: string }): Promise<WrittenRevision> {
    this.#note(method, params);
    if (params.entry === 'enone') throw new PeerError('ENTRY_NOT_FOUND', 'There is no entry enone.');
    const written = { id: params.entry, status: 'committed', position: 1, slot: 9, why: null, whyCode: null } as const;
    return { ...written, revision: 2 };
  }

  /** `--since 1` is an endless log, and a small one otherwise. */
  async *log(params: Parameters<PeerService['log']>[0], signal: AbortSignal): AsyncGenerator<LogLine> {
    this.#note('log', params);
    this.openStreams += 1;
    try {
      const last = params.limit ?? 3;
      for (let n = 1; n <= last && !signal.aborted; n++) {
        this.pulled += 1;
        yield line(n, n === 3 ? null : `line ${n}\nsecond \u001b[31mred`);
      }
      if (params.pending) yield pendingLine();
      if (params.follow) {
        await new Promise<void>((resolve) => {
          if (signal.aborted) resolve();
          signal.addEventListener('abort', () => resolve(), { once: true });
        });
      }
    } finally {
      this.openStreams -= 1;
    }
  }

  async *history(params: object): AsyncGenerator<Revision> {
    this.#note('history', params);
    const by = { author: PEER, writer: 'Ana', time: '2026-11-19T22:04:00.000+01:00' };
    yield { revision: 1, slot: 4, ...by, text: 'first', removed: false };
    yield { revision: 2, slot: null, ...by, text: null, removed: true };
  }

  async barrier(params: object): Promise<{ position: number; slot: number; digest: string }> {
    this.#note('barrier', params);
    return { position: 57, slot: 60, digest: 'ab'.repeat(32) };
  }

  async status(params: object): Promise<{ peer: string; name: string; groups: GroupStatus[] }> {
    this.#note('status', params);
    return { peer: PEER, name: 'Ana’s laptop', groups: [group()] };
  }

  async *watch(): ReturnType<PeerService['watch']> {
    this.#note('watch', {});
    yield { kind: 'log', group: GROUP, positions: this.entries.length, changed: [] };
  }

  async dismiss(params: object): Promise<Record<string, never>> {
    this.#note('dismiss', params);
    return {};
  }

  async draft(params: object): Promise<{ text: string }> {
    this.#note('draft', params);
    return { text: '' };
  }

  async saveDraft(params: object): Promise<Record<string, never>> {
    this.#note('saveDraft', params);
    return {};
  }

  async members(params: object): Promise<MemberStatus[]> {
    this.#note('members', params);
    return [...group().members];
  }

  async *backup(params: { path: string }): ReturnType<PeerService['backup']> {
    this.#note('backup', params);
    yield { kind: 'progress', rows: 5, bytes: 500 };
    yield { kind: 'done', path: params.path, bytes: 1000, rows: 10, groups: 1 };
  }

  async *outbox(params: object): ReturnType<PeerService['outbox']> {
    this.#note('outbox', params);
    const { id, time, writer } = line(9, 'Doctor called.');
    const why = 'Only on this machine so far.';
    yield { status: 'pending', id, change: 'create', text: 'Doctor called.', time, writer, why, whyCode: 'ALONE' };
  }

  async *carried(params: object): ReturnType<PeerService['carried']> {
    this.#note('carried', params);
    yield { group: GROUP, run: 'AQID', commands: 1 };
  }

  async carry(params: object): ReturnType<PeerService['carry']> {
    this.#note('carry', params);
    return { new: 1, known: 0, refused: 0 };
  }

  async promote(params: { peer: string }): Promise<{ peer: string; role: 'voter' }> {
    this.#note('promote', params);
    return { peer: PEER, role: 'voter' };
  }

  async demote(params: { peer: string }): Promise<{ peer: string; role: 'learner' }> {
    this.#note('demote', params);
    return { peer: PEER, role: 'learner' };
  }

  async expel(params: { peer: string }): Promise<{ peer: string; role: null }> {
    this.#note('expel', params);
    return { peer: PEER, role: null };
  }

  async lead(params: { peer: string }): Promise<{ peer: string; role: 'voter' }> {
    this.#note('lead', params);
    return { peer: PEER, role: 'voter' };
  }

  async quorum(params: QuorumParams): Promise<QuorumStatus> {
    this.#note('quorum', params);
    const { phase1 = 2, phase2 = 2 } = params;
    const survives = { writing: 3 - phase2, electing: 3 - Math.max(phase1, phase2) };
    return { voters: 3, phase1, phase2, witnesses: 0, survives, pinned: params.phase1 !== undefined };
  }

  async away({ away, untilMs }: AwayParams): Promise<AwayStatus> {
    this.#note('away', { away, untilMs });
    return { peer: PEER, away, until: untilMs === null ? null : new Date(untilMs).toISOString(), others: this.others };
  }

  async leave(params: object): Promise<{ peer: string; role: null }> {
    this.#note('leave', params);
    return { peer: PEER, role: null };
  }

  async invites(params: object): Promise<OpenInvitation[]> {
    this.#note('invites', params);
    return [invitation('ab', null), invitation('cd', '2026-11-19T14:02:00.000Z')];
  }

  async revoke(params: { key: string }): Promise<OpenInvitation> {
    this.#note('revoke', params);
    return invitation(params.key.slice(0, 2), '2026-11-19T14:02:00.000Z');
  }

  async rename({ title }: { title: string }): Promise<{ group: string; title: string }> {
    this.#note('rename', { title });
    return { group: GROUP, title };
  }

  async profile(params: { name?: string }): Promise<{ peer: string; name: string }> {
    this.#note('profile', params);
    return { peer: PEER, name: params.name ?? 'Ana’s laptop' };
  }

  #note(method: string, params: object): void {
    this.calls.push({ method, params });
    if (this.failure) throw this.failure;
  }
}

/** The first byte of its key, and when it expired; null: it does not. */
function invitation(key: string, expires: string | null): OpenInvitation {
  const by = { by: PEER, name: 'Ana’s \u001b[31mlaptop' };
  return { key: key.repeat(32), rights: 'writer', role: 'voter', ...by, expires, expired: expires !== null };
}

export function line(position: number, text: string | null): CommittedLine {
  return {
    position,
    slot: position + 1,
    id: `e${String(position).padStart(25, 'a')}`,
    author: PEER,
    name: 'Ana’s laptop',
    writer: 'Ana',
    time: '2026-11-19T22:04:00.000+01:00',
    placed: '2026-11-19T21:04:00.100Z',
    text,
    revision: 1,
    removed: text === null,
    status: 'committed',
  };
}

function pendingLine(): LogLine {
  const { id, author, name, writer, time } = line(9, 'Doctor called.');
  return {
    position: null,
    slot: null,
    id,
    author,
    name,
    writer,
    time,
    placed: null,
    text: 'Doctor called.',
    revision: 1,
    removed: false,
    status: 'pending',
    why: 'Only on this machine so far.',
    whyCode: 'ALONE',
  };
}

export function group(): GroupStatus {
  return {
    group: GROUP,
    title: 'Ward 3',
    role: 'voter',
    rights: 'keeper',
    leader: PEER,
    ballot: [3, PEER, '00'.repeat(16)],
    chosen: 60,
    applied: 60,
    positions: 57,
    digest: 'ab'.repeat(32),
    state: 'cd'.repeat(32),
    pending: 1,
    canCommit: false,
    why: 'Needs 2 of 3 voters.',
    whyCode: 'NO_QUORUM',
    quorum: { phase1: 2, phase2: 2, voters: 3, reachable: 1 },
    voting: {
      policy: true,
      summary: '1 of 3 voters are here. Any 1 may be away.',
      spare: { writing: 0, electing: 0 },
      canLead: 1,
      next: { voters: [PEER], why: 'NAS stops voting.', waitsFor: 'nobody leads' },
    },
    members: [
      {
        peer: PEER,
        name: 'Ana’s laptop',
        role: 'voter',
        rights: 'keeper',
        connected: true,
        chosen: 60,
        rttMs: null,
        lastSeen: null,
      },
      {
        peer: `${PEER.slice(0, -1)}x`,
        name: 'NAS',
        role: 'witness',
        rights: 'reader',
        connected: false,
        chosen: null,
        rttMs: 0.4,
        lastSeen: '2026-11-19T14:02:00.000Z',
        away: { until: '2026-11-21T08:00:00.000Z' },
      },
    ],
  };
}
