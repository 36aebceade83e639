import { toHex } from '../../shared/base/bytes.ts';
import type { PeerId } from '../../shared/base/ids.ts';
import { StoreError } from '../../shared/driver/store.ts';
import type {
  BackupEvent,
  Barrier,
  GroupName,
  Invitation,
  JoinEvent,
  MemberParams,
  MemberRole,
  Method,
  PeerService,
  PeerStatus,
  Role,
} from '../../shared/ipc/contract.ts';
import { PeerError } from '../../shared/ipc/errors.ts';
import { methods } from '../../shared/ipc/schemas.ts';
import { createInvitationKey, formatTicket } from '../group/ticket.ts';
import type { Network } from '../network/network.ts';
import type { Drafts } from './drafts.ts';
import { keepsNoEntries, openedAgain, storeFailure } from './failures.ts';
import {
  assertMayExpel,
  assertOthersVote,
  away,
  isMember,
  lead,
  leave,
  openInvitations,
  quorum,
  rename,
  revoke,
} from './governing.ts';
import type { GroupHost } from './group-host.ts';
import { isDamage } from './group-store.ts';
import { isSettled, untilInForce } from './in-force.ts';
import { entryNamed, groupNamed, memberNamed } from './lookup.ts';
import { titleOf } from './mending-why.ts';
import { carriedRuns, carry, outboxLines } from './outbox.ts';
import { logLines, revisions } from './reading.ts';
import { beingOpened, groupStatus, members, peerStatus, roleOf } from './status.ts';
import { waitFor } from './waiting.ts';
import { watch } from './watching.ts';
import { append, assertMember, change, command, edit, timedOut } from './writing.ts';

/** What the service needs of the peer around it. */
export interface ServiceInit {
  readonly self: PeerId;
  readonly name: () => string;
  /** Names this machine, here and in its settings; the groups are told apart. @throws PeerError */
  readonly rename: (name: string) => Promise<void>;
  readonly hosts: ReadonlyMap<string, GroupHost>;
  /** Groups that could not be opened, and why. */
  readonly broken: ReadonlyMap<string, PeerError>;
  readonly network: Network;
  readonly drafts: Drafts;
  /** Where this machine can be reached, for tickets; best first. */
  readonly ownAddresses: () => readonly string[];
  readonly create: (title: string, signal: AbortSignal) => Promise<GroupName>;
  readonly join: (ticket: string, timeoutMs: number, signal: AbortSignal) => AsyncIterable<JoinEvent>;
  readonly backup: (path: string, signal: AbortSignal) => AsyncIterable<BackupEvent>;
}

/** The peer for its clients: the contract's methods over the groups that run here. */
export function createService(init: ServiceInit): PeerService {
  const { network } = init;
  const hostOf = (params: { readonly group?: string }): GroupHost => {
    for (const host of init.hosts.values()) if (!host.isOpen) throw beingOpened(host);
    return groupNamed(init.hosts, init.broken, params.group);
  };

  const pin = async (params: MemberParams, role: 'voter' | 'learner', signal: AbortSignal): Promise<MemberRole> => {
    const host = hostOf(params);
    const startedMs = Date.now();
    assertMember(host);
    const { peer } = memberNamed(host, params.peer);
    if (role === 'learner') assertOthersVote(host, peer);
    await command(host, network, { kind: 'pinRole', peer, role }, params.timeoutMs, signal);
    const left = Math.max(0, params.timeoutMs - (Date.now() - startedMs));
    const isDone = (): boolean => roleOf(host, peer) === role && isSettled(host);
    await untilInForce(host, network, { isDone, timeoutMs: left, signal });
    return { peer, role };
  };

  const allStatus = (): PeerStatus => peerStatus({ ...init, name: init.name() });

  const statusOf = (params: { readonly group?: string }): PeerStatus =>
    params.group === undefined
      ? allStatus()
      : { peer: init.self, name: init.name(), groups: [groupStatus(hostOf(params), network)] };

  const service: PeerService = {
    groups: async () => [...init.hosts.values()].map((host) => ({ group: host.group, title: titleOf(host.replica) })),

    create: ({ title }, signal) => init.create(title, signal),

    async invite(params, signal): Promise<Invitation> {
      const host = hostOf(params);
      const { seed, publicKey } = createInvitationKey();
      const expiresMs = Date.now() + params.expiresMs;
      const body = { kind: 'invite', key: publicKey, rights: params.rights, pinned: params.role, expiresMs } as const;
      await command(host, network, body, params.timeoutMs, signal);
      const title = titleOf(host.replica);
      return {
        ticket: formatTicket({
          group: host.group,
          addresses: init.ownAddresses(),
          inviter: init.self,
          seed,
          title,
          expiresMs,
        }),
      };
    },

    join: ({ ticket, timeoutMs }, signal) => init.join(ticket, timeoutMs, signal),

    backup: ({ path }, signal) => init.backup(path, signal),

    outbox: (params) => outboxLines(hostOf(params), network),
    carried: (params) => carriedRuns(hostOf(params)),
    carry: (params) => carry(init.hosts, network, params),

    append(params, signal) {
      const host = hostOf(params);
      // A newcomer's log does not say yet what it is called.
      const writer = params.writer ?? (host.replica.reader.member(init.self) ? undefined : init.name());
      return append(host, network, { ...params, ...(writer === undefined ? {} : { writer }), signal });
    },

    async edit(params, signal) {
      const host = hostOf(params);
      return edit(host, network, { ...params, id: await entryNamed(host, params.entry), signal });
    },

    async remove(params, signal) {
      const host = hostOf(params);
      const id = await entryNamed(host, params.entry);
      return change(host, network, { ...params, id, body: { kind: 'remove', entry: id }, signal });
    },

    async restore(params, signal) {
      const host = hostOf(params);
      const id = await entryNamed(host, params.entry);
      const revision = params.revision ?? null;
      const count = host.replica.outbox.current(host.replica.reader, id)?.revision ?? 0;
      if (revision !== null && (revision < 1 || revision > count)) {
        throw new PeerError('REVISION_NOT_FOUND', `The entry has revisions 1 to ${count}, and no ${revision}.`);
      }
      return change(host, network, { ...params, id, body: { kind: 'restore', entry: id, revision }, signal });
    },

    log: (params, signal) => logLines(hostOf(params), network, params, signal),

    async *history(params) {
      const host = hostOf(params);
      const id = await entryNamed(host, params.entry);
      yield* revisions(host, id);
    },

    async barrier(params, signal): Promise<Barrier> {
      const host = hostOf(params);
      if (host.replica.isWitness) throw keepsNoEntries('It applies nothing, so it never has everything.');
      const ended = await waitFor<Barrier>(params.timeoutMs, signal, (done) => {
        host.replica.barrier((slot) => {
          const { reader, appliedDigest } = host.replica;
          done({ position: reader.positions(), slot, digest: toHex(appliedDigest) });
        });
        host.wake();
        return () => {};
      });
      if (ended.by === 'timeout') throw timedOut(host, network);
      return ended.value;
    },

    status: async (params) => statusOf(params),

    members: async (params) => members(hostOf(params), network),

    watch: ({ window }, signal) =>
      watch({ hosts: init.hosts, network, drafts: init.drafts, window, status: allStatus }, signal),

    async dismiss(params) {
      const host = hostOf(params);
      host.replica.dismiss(params.key);
      host.wake();
      return {};
    },

    async draft(params) {
      const { group } = hostOf(params);
      return { text: await init.drafts.take(group, params.about, params.window) };
    },

    async saveDraft(params) {
      const { about, window = null, text } = params;
      await init.drafts.save(hostOf(params).group, { about, window, text });
      return {};
    },

    promote: (params, signal) => pin(params, 'voter', signal),
    demote: (params, signal) => pin(params, 'learner', signal),

    async expel(params, signal): Promise<MemberRole> {
      const host = hostOf(params);
      const startedMs = Date.now();
      assertMember(host);
      const { peer } = memberNamed(host, params.peer);
      assertMayExpel(host, peer);
      await command(host, network, { kind: 'expel', peer }, params.timeoutMs, signal);
      const left = Math.max(0, params.timeoutMs - (Date.now() - startedMs));
      const isDone = (): boolean => (roleOf(host, peer) satisfies Role) === 'learner' && isSettled(host);
      await untilInForce(host, network, { isDone, timeoutMs: left, signal });
      return { peer, role: null };
    },

    lead: (params, signal) => lead(hostOf(params), network, params, signal),
    quorum: (params, signal) => quorum(hostOf(params), network, params, signal),
    away: (params, signal) => away(hostOf(params), network, params, signal),
    leave: (params, signal) => leave(hostOf(params), network, params, signal),
    invites: async (params) => openInvitations(hostOf(params)),
    revoke: (params, signal) => revoke(hostOf(params), network, params, signal),
    rename: (params, signal) => rename(hostOf(params), network, params, signal),

    async profile({ name, timeoutMs }, signal) {
      if (name !== undefined) {
        await init.rename(name);
        const hosts = [...init.hosts.values()].filter(isMember);
        const body = { kind: 'profile', name } as const;
        await Promise.all(hosts.map((host) => command(host, network, body, timeoutMs, signal)));
      }
      return { peer: init.self, name: init.name() };
    },
  };
  return guarded(service, init.hosts, (params) => hostOf(params as { group?: string }));
}

/**
 * What a request meets of a failing disk is told in words, and its group looks after it. While a store is closed to be opened again, requests
 * wait.
 */
function guarded(
  service: PeerService,
  hosts: ReadonlyMap<string, GroupHost>,
  hostOf: (params: unknown) => GroupHost,
): PeerService {
  const failed = (error: unknown, params: unknown): unknown => {
    if (!isDamage(error)) {
      if (!(error instanceof StoreError)) return error;
      const isStopping = [...hosts.values()].some((host) => host.isStopping);
      return error.code === 'CLOSED' && !isStopping ? openedAgain() : storeFailure(error);
    }
    try {
      hostOf(params).damaged(error);
    } catch {
      // The group is not there; whoever asked is told of the damage all the same.
    }
    const reason = error instanceof Error ? error.message : String(error);
    return new PeerError('DAMAGED', `A record on this disk is damaged (${reason}). It is looked after; ask again.`);
  };
  /** Null where nothing has to be waited for. */
  const untilOpen = (): Promise<unknown> | null => {
    const closed = [...hosts.values()].filter((host) => !host.isOpen);
    return closed.length === 0 ? null : Promise.all(closed.map((host) => host.whenOpen()));
  };
  const call = (method: Call) => async (params: never, signal: AbortSignal) => {
    try {
      await untilOpen();
      return await method(params, signal);
    } catch (error) {
      throw failed(error, params);
    }
  };
  const stream = (method: Call) =>
    async function* (params: never, signal: AbortSignal): AsyncGenerator<unknown> {
      try {
        await untilOpen();
        yield* method(params, signal) as AsyncIterable<unknown>;
      } catch (error) {
        throw failed(error, params);
      }
    };
  const entries = Object.entries(service).map(([name, method]) => {
    const { kind } = methods[name as Method];
    return [name, kind === 'stream' ? stream(method) : call(method)];
  });
  return Object.fromEntries(entries) as PeerService;
}

type Call = (params: never, signal: AbortSignal) => unknown;
