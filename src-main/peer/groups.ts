import { randomBytes } from 'node:crypto';
import {
  type GroupId,
  groupIdOf,
  type Incarnation,
  type PeerId,
  parsePeerId,
  slot as slotOf,
} from '../../shared/base/ids.ts';
import { ALPHA } from '../../shared/consensus/constants.ts';
import { type Body, encodeGenesis, LEVEL, nameProblem, TITLE_MAX_BYTES } from '../../shared/document/index.ts';
import type { Problem } from '../../shared/driver/journal-format.ts';
import { StoreError } from '../../shared/driver/store.ts';
import type { GroupName, JoinEvent } from '../../shared/ipc/contract.ts';
import { PeerError } from '../../shared/ipc/errors.ts';
import type { Hello } from '../../shared/wire/session-messages.ts';
import { dataDir, listGroups } from '../group/data-dir.ts';
import type { Identity } from '../group/identity.ts';
import { signerFromSeed } from '../group/keys.ts';
import type { LocalSettings } from '../group/local.ts';
import type { BatchVerifier } from '../group/verifier.ts';
import type { Network } from '../network/network.ts';
import { metKey } from './backup.ts';
import { storeFailure } from './failures.ts';
import { GroupHost } from './group-host.ts';
import { createGroupStore, newIncarnation } from './group-store.ts';
import { join, ticketOf } from './joining.ts';
import type { Log } from './log.ts';
import { titleOf } from './mending-why.ts';
import type { Meter } from './meter.ts';
import { finishSwaps } from './recovery-aside.ts';
import { roleOf } from './status.ts';
import { command, said } from './writing.ts';

export interface GroupsInit {
  /** The data directory. */
  readonly dir: string;
  readonly identity: Identity;
  readonly local: LocalSettings;
  readonly verifier: BatchVerifier;
  readonly network: () => Network;
  /** How this machine calls itself now. */
  readonly name: () => string;
  readonly staysOn: boolean;
  /** What speaks against the directory being the only one of its kind. */
  readonly doubts: readonly Problem[];
  /** A person said that no other copy of the directory runs. */
  readonly isMoved: boolean;
  readonly meter: Meter | null;
  readonly log: Log;
  /** Whom a group wants to reach is another now. */
  readonly onMembers: () => void;
  readonly onHello: (from: PeerId, hello: Hello) => void;
  /** Invitations or members of a group are others now. */
  readonly onInvitations: () => void;
  /** A group can't go on, and so neither can the peer. */
  readonly onFatal: (error: Error) => void;
}

/** The groups of this peer: opened, made and joined; and those that can't be opened. */
export class Groups {
  readonly #init: GroupsInit;
  readonly #hosts = new Map<GroupId, GroupHost>();
  readonly #broken = new Map<GroupId, PeerError>();

  constructor(init: GroupsInit) {
    this.#init = init;
  }

  get hosts(): ReadonlyMap<GroupId, GroupHost> {
    return this.#hosts;
  }

  /** Groups whose store can't be opened, and why. */
  get broken(): ReadonlyMap<GroupId, PeerError> {
    return this.#broken;
  }

  /** Opens all that the directory holds. @throws StoreError, PeerError `NEWER_FORMAT` where a newer version wrote all of them */
  async open(): Promise<void> {
    const place = dataDir(this.#init.dir);
    await finishSwaps(place.groups);
    for (const group of await listGroups(place)) await this.#openKnownGroup(group);
    // With nothing else to serve, somebody has to update; with other groups, those are served meanwhile.
    const broken = [...this.#broken.values()];
    if (this.#hosts.size === 0 && broken.every(({ code }) => code === 'NEWER_FORMAT')) {
      for (const failure of broken) throw failure;
    }
  }

  async close(): Promise<void> {
    await Promise.allSettled([...this.#hosts.values()].map((host) => host.close()));
  }

  /** Makes a group of which this machine is the first member. @throws PeerError */
  async create(title: string, signal: AbortSignal): Promise<GroupName> {
    const problem = nameProblem(title, TITLE_MAX_BYTES);
    if (problem !== null)
      throw new PeerError(problem, 'A log needs a title of at most 500 bytes without control characters.');
    const incarnation = newIncarnation();
    const genesis = encodeGenesis({
      alpha: ALPHA,
      level: LEVEL,
      founder: this.#self,
      incarnation,
      nonce: new Uint8Array(randomBytes(16)),
      timeMs: Date.now(),
    });
    const host = await this.#newGroup(genesis, incarnation);
    await command(host, this.#init.network(), { kind: 'rename', title }, 10_000, signal);
    return { group: host.group, title };
  }

  async #newGroup(genesis: Uint8Array, incarnation: Incarnation): Promise<GroupHost> {
    const group = groupIdOf(genesis);
    try {
      await createGroupStore(dataDir(this.#init.dir).group(group), genesis, incarnation);
      return await this.#openGroup(group);
    } catch (error) {
      throw error instanceof StoreError ? storeFailure(error) : error;
    }
  }

  /** The way into a group, each of its stations as an event. @throws PeerError */
  join(text: string, timeoutMs: number, signal: AbortSignal): AsyncIterable<JoinEvent> {
    const ticket = ticketOf(text);
    const host = this.#hosts.get(ticket.group);
    const usedHere = (of: GroupHost): boolean =>
      of.replica.reader.invitation(signerFromSeed(ticket.seed).publicKey)?.usedBy === this.#self;
    if (host && host.replica.reader.member(this.#self)?.expelledSlot === null) {
      // The same joiner's repeat is harmless: an interrupted join can be asked for again.
      if (usedHere(host)) return joinedBefore(host, this.#self);
      throw new PeerError('ALREADY_MEMBER', `This machine is in ${ticket.title || 'that group'} already.`);
    }
    return join(text, timeoutMs, signal, {
      network: this.#init.network(),
      local: this.#init.local,
      name: this.#init.name(),
      incarnation: host?.replica.incarnation ?? null,
      isIn: () => {
        const now = this.#hosts.get(ticket.group);
        if (!now?.isOpen || now.replica.reader.member(this.#self)?.expelledSlot !== null) return null;
        return usedHere(now) ? joinedEvent(now, this.#self) : null;
      },
      admit: async (joined, incarnation) => {
        for (const { peer, addresses } of joined.members) await this.#init.local.rememberAddresses(peer, addresses);
        // Until the log itself is here, those who were named are whom it comes from.
        const met = joined.members.map((m) => m.peer).filter((peer) => peer !== this.#self);
        await this.#init.local.set(metKey(joined.group), [0, met]);
        const known = this.#hosts.get(joined.group);
        if (known === undefined) await this.#newGroup(joined.genesis, incarnation);
        else {
          known.meet(met, slotOf(0));
          known.wake();
        }
      },
    });
  }

  /** One group that can't be opened is no reason to keep the others waiting; the disk itself, or a newer version's only group, is. */
  async #openKnownGroup(group: GroupId): Promise<void> {
    try {
      await this.#openGroup(group);
    } catch (error) {
      const isOne = error instanceof StoreError && (error.code === 'CORRUPT' || error.code === 'NEWER_FORMAT');
      if (!isOne) throw error;
      const failure = storeFailure(error);
      this.#init.log('error', `a group can't be opened: ${failure.message}`, { group });
      this.#broken.set(group, failure);
    }
  }

  async #openGroup(group: GroupId): Promise<GroupHost> {
    const host = await GroupHost.open({
      dir: dataDir(this.#init.dir).group(group),
      self: this.#self,
      signer: this.#init.identity.signer,
      verifier: this.#init.verifier,
      network: this.#init.network,
      staysOn: this.#init.staysOn,
      doubts: this.#init.doubts,
      isSettled: this.#init.isMoved,
      log: (level, message, detail) => this.#init.log(level, message, { group, ...detail }),
      meter: this.#init.meter?.of(group) ?? null,
      events: { onPeers: this.#init.onMembers, onHello: this.#init.onHello },
      onFatal: this.#init.onFatal,
    });
    this.#hosts.set(host.group, host);
    host.watch((changes) => {
      if (changes.some((c) => c.type === 'invitation' || c.type === 'member')) this.#init.onInvitations();
      if (changes.some((c) => c.type === 'member')) this.#rememberMembers(host);
    });
    const met = this.#init.local.get(metKey(host.group));
    if (Array.isArray(met) && Array.isArray(met[1])) {
      const [at, peers] = met as [number, readonly string[]];
      host.meet(
        peers.map((peer) => parsePeerId(String(peer))),
        slotOf(Number(at)),
      );
    }
    this.#rememberMembers(host);
    this.#init.onMembers();
    this.#introduce(host);
    return host;
  }

  /** Should this store lose its log, it still knows whom to fetch it from, and who may come in. */
  #rememberMembers({ group, replica }: GroupHost): void {
    if (!replica.isSound || replica.reader.member(replica.self)?.expelledSlot !== null) return;
    const others = replica.reader.members().filter(({ peer }) => peer !== replica.self);
    const known = [replica.applied, others.map(({ peer }) => peer)];
    const before = this.#init.local.get(metKey(group));
    // A state that is made anew after damage has yet to come to what was known already.
    const isDamaged = replica.mending !== null || replica.reborn !== null;
    if (isDamaged && Array.isArray(before) && Number(before[0]) > replica.applied) return;
    if (Array.isArray(before) && String(before[1]) === String(known[1])) return;
    this.#init.local.set(metKey(group), known).catch((error: unknown) => {
      this.#init.log('warn', 'the members could not be remembered', { group, error: String(error) });
    });
  }

  /** The group learns what this machine is called now, and that it is here. */
  #introduce(host: GroupHost): void {
    const { replica } = host;
    const member = replica.reader.member(replica.self);
    if (!replica.isSound || member?.expelledSlot !== null) return;
    const tell = (body: Body): void => void replica.write(body, said(host, undefined), {}, { quiet: true });
    if (member.name !== this.#init.name()) tell({ kind: 'profile', name: this.#init.name() });
    // Whoever starts this machine is back.
    if (member.away !== null) tell({ kind: 'away', isAway: false, untilMs: null });
    host.wake();
  }

  get #self(): PeerId {
    return this.#init.identity.peer;
  }
}

async function* joinedBefore(host: GroupHost, self: PeerId): AsyncGenerator<JoinEvent> {
  yield joinedEvent(host, self);
}

function joinedEvent(host: GroupHost, self: PeerId): JoinEvent {
  return { kind: 'joined', group: host.group, title: titleOf(host.replica), role: roleOf(host, self) };
}
