import { randomBytes } from 'node:crypto';
import type { PeerId, Slot } from '../../shared/base/ids.ts';
import { LEVEL } from '../../shared/document/index.ts';
import { StoreError } from '../../shared/driver/store.ts';
import type { IdentityVerdict } from '../../shared/replica/identity.ts';
import type { Mended } from '../../shared/replica/mend.ts';
import type { OpenedStore } from '../../shared/replica/opening.ts';
import type { Candidate } from '../../shared/replica/recovery-exchange.ts';
import { identityCodes } from '../../shared/replica/remedy.ts';
import type { Replica } from '../../shared/replica/replica.ts';
import { freeBallast, restoreBallast } from '../storage/ballast.ts';
import type { LevelStore } from '../storage/level-store.ts';
import type { GroupListeners } from './group-listeners.ts';
import {
  type Damage,
  damageBefore,
  damageShownBy,
  type GroupStoreInit,
  GroupStoreOpening,
  isDamage,
  newIncarnation,
} from './group-store.ts';
import { OpenReplica, type OpenReplicaEvents, type OpenReplicaInit, type OpenReplicaPorts } from './open-replica.ts';
import { makeSuccessor, setAside, swap } from './recovery-aside.ts';

export interface RenewalInit extends GroupStoreInit, OpenReplicaInit {}

/** The loop that drives the replicas. */
export interface RenewalLoop extends OpenReplicaEvents {
  readonly listeners: GroupListeners;
  /** The group stops: nothing is waited for any more. */
  readonly stopping: AbortSignal;
  /** There is no way on. */
  fail(error: unknown): void;
}

/** Why nothing more can be saved here for now. */
export type Trouble = 'DISK_FULL';

/** A disk that is full to the last byte is tried again after this. */
const FULL_DISK_PAUSE_MS = 2_000;

/** The group, or a member, says that this store is not the only one or not the newest of its incarnation. */
export class NotAlone extends Error {
  override readonly name = 'NotAlone';
  readonly verdict: IdentityVerdict;
  constructor(verdict: IdentityVerdict) {
    super(verdict.message);
    this.verdict = verdict;
  }
}

/**
 * The replica that runs on a group's store now, and how another takes its place: after a snapshot was installed, after a forced recovery that went on without it, and
 * after a fault of disk or store that has a way on. Called by one loop, between two turns.
 */
export class Renewal {
  readonly #init: RenewalInit;
  readonly #loop: RenewalLoop;
  readonly #opening: GroupStoreOpening;
  readonly #nonce = randomBytes(8);
  #port!: LevelStore;
  #current!: OpenReplica;
  #isOpen = false;
  #trouble: Trouble | null = null;
  #asides: readonly string[] = [];
  /** Members known from elsewhere, for a store that loses its log. */
  #met: { readonly peers: readonly PeerId[]; readonly at: Slot } | null = null;

  constructor(init: RenewalInit, loop: RenewalLoop) {
    this.#init = init;
    this.#loop = loop;
    this.#opening = new GroupStoreOpening(init);
  }

  get current(): OpenReplica {
    return this.#current;
  }
  get replica(): Replica {
    return this.#current.replica;
  }
  get port(): LevelStore {
    return this.#port;
  }
  /** False while the store is closed to be opened again: nothing may be read from it then. */
  get isOpen(): boolean {
    return this.#isOpen;
  }
  get trouble(): Trouble | null {
    return this.#trouble;
  }
  /** Folders with older logs of this group that others went on without (R12). */
  get asides(): readonly string[] {
    return this.#asides;
  }

  /** As `Replica.meet`, and again whenever the store is opened anew. */
  meet(peers: readonly PeerId[], at: Slot): void {
    this.#met = { peers, at };
    this.replica.meet(peers, at);
  }

  /** The first opening. @throws StoreError where the store can't be opened at all */
  async open(): Promise<void> {
    await this.#open(await damageBefore(this.#init.dir));
  }

  /** A snapshot takes its place, or what could not be applied can be now: the replica starts anew on what is on the disk, as after a stop. */
  async renew(): Promise<void> {
    const { listeners } = this.#loop;
    try {
      const hasWritten = await this.#current.writeLast();
      this.#isOpen = false;
      this.replica.end();
      const { recovered } = this.replica;
      this.#begin(await this.#opening.read(this.#port));
      const isRecovered = this.replica.recovered.length > recovered.length;
      const installed = isRecovered ? 'the log goes on after a forced recovery' : 'a snapshot was installed';
      this.#init.log('info', hasWritten ? installed : 'applying goes on', { applied: this.replica.applied });
      // What they wrote may be there or not: they look.
      listeners.tellWaiters(new StoreError('CLOSED', 'the store was opened anew'));
      listeners.tellOpen();
      listeners.tellChanges([]);
    } catch (error) {
      await this.recover(error);
    }
  }

  /** The others went on by a forced recovery, with another log than this one: it is kept aside, and this machine begins anew with theirs. */
  async beginAnew(candidate: Candidate): Promise<void> {
    const { dir, log } = this.#init;
    const { listeners } = this.#loop;
    const before = this.replica;
    try {
      await this.#current.writeLast();
      this.#isOpen = false;
      await makeSuccessor(dir, this.#port, before, candidate, newIncarnation());
      before.end();
      await this.#port.close();
      const aside = await swap(dir, candidate);
      log(
        'warn',
        'others went on by a forced recovery, with another log; the old one is kept, and what only it has is offered again',
        {
          aside,
        },
      );
      await this.#open(null);
      this.replica.meet(before.peers, candidate.slot);
      listeners.tellWaiters(new StoreError('CLOSED', 'the store was set aside'));
      listeners.tellOpen();
      listeners.tellChanges([]);
    } catch (error) {
      this.#loop.fail(error);
    }
  }

  /** A full disk and a damaged record have a way on: the store is closed, opened and verified again. Nothing else has. */
  async recover(error: unknown): Promise<void> {
    const isFull = error instanceof StoreError && error.code === 'DISK_FULL';
    if (!isFull && !isDamage(error) && !(error instanceof NotAlone)) return this.#loop.fail(error);
    const { dir, log } = this.#init;
    const { listeners } = this.#loop;
    try {
      const freed = isFull && (await freeBallast(dir));
      this.#trouble = isFull && !freed ? 'DISK_FULL' : null;
      const { message } = error as Error;
      if (isFull) {
        const words = 'the disk is full: free some space; what was saved is kept';
        log('warn', freed ? `${words}, and what was held back for this day is used now` : words, { dir, freed });
      } else if (error instanceof NotAlone) {
        log('error', 'this store is not what it was taken for', { dir, error: message });
      } else {
        log('error', 'a record is damaged: it is fetched again; look at the disk', { dir, error: message });
        this.#init.meter?.problem('RECORD_DAMAGED');
      }
      // Reading goes on meanwhile; nothing is written to a store whose write failed.
      if (this.#trouble !== null) await this.#pause();
      this.#isOpen = false;
      this.replica.end();
      await this.#port.close().catch(() => undefined);
      if (isFull) await this.#reopen();
      else if (error instanceof NotAlone) await this.#open({ ...error.verdict, isBroken: false });
      else await this.#open(await damageShownBy(error as Error, dir));
    } catch (again) {
      this.#loop.fail(again);
    } finally {
      // First those whose command may be there or not, then those who have not written yet.
      try {
        listeners.tellWaiters(error as Error);
      } finally {
        listeners.tellOpen();
      }
    }
  }

  /** Lets go of the files. */
  async close(): Promise<void> {
    this.replica.end();
    await this.#port.close();
  }

  /** @param damage what was found before, for the verdict that stays */
  async #open(damage: Damage | null): Promise<void> {
    await restoreBallast(this.#init.dir).catch(() => false);
    const { port, store } = await this.#opening.open(damage);
    this.#port = port;
    this.#asides = await setAside(this.#init.dir);
    this.#begin(store);
  }

  /** As long as there is no room not even to open, it is tried again. */
  async #reopen(): Promise<void> {
    while (!this.#loop.stopping.aborted) {
      try {
        return await this.#open(null);
      } catch (error) {
        if (!(error instanceof StoreError) || error.code !== 'DISK_FULL') throw error;
        this.#trouble = 'DISK_FULL';
        this.#loop.listeners.tellOpen();
        await this.#pause();
      }
    }
  }

  /** Between two tries on a full disk; a stop cuts it short. */
  async #pause(): Promise<void> {
    for (let waitedMs = 0; waitedMs < FULL_DISK_PAUSE_MS && !this.#loop.stopping.aborted; waitedMs += 100) {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** A replica on what the store holds now. */
  #begin(store: OpenedStore): void {
    this.#tellOf(store);
    const { onChanges, onNews, onDamage, onVerdict } = this.#loop;
    const ports: OpenReplicaPorts = {
      port: () => this.#port,
      onChanges,
      onNews,
      onDamage,
      onVerdict,
      onWritten: () => {
        this.#trouble = null;
      },
    };
    this.#current = new OpenReplica(this.#init, ports, this.#nonce, store);
    const { replica } = this;
    openSession(replica);
    this.#init.meter?.opened(replica);
    if (this.#met !== null) replica.meet(this.#met.peers, this.#met.at);
    const network = this.#init.network();
    for (const peer of replica.peers) if (network.isConnected(peer)) replica.connection(peer, true);
    this.#isOpen = true;
  }

  #tellOf({ group, problems, reborn, isNewborn, wasCompleted, mended }: OpenedStore): void {
    const { log } = this.#init;
    if (wasCompleted)
      log('warn', 'the last write had not reached the database: it was completed from the mark, and nothing is lost', {
        group,
      });
    if (mended !== null) log('error', `this copy was damaged: ${wordsOf(mended)}`, { code: 'RECORD_DAMAGED', group });
    for (const { code, message } of problems)
      log('error', `this copy does not vote or write: ${message}`, { code, group });
    if (!isNewborn) return;
    for (const { code, message } of reborn?.problems ?? []) {
      const what = isIdentityCode(code) ? 'this copy could not go on as it was' : 'this copy was damaged';
      const then = 'what of it is whole is kept, and it votes again once the others have agreed';
      log('error', `${what}: ${message}; ${then}`, { code, group });
    }
  }
}

function wordsOf({ slots, isStateLost }: Mended): string {
  const values = slots === 0 ? [] : [`${slots} values of its log are fetched again`];
  const state = isStateLost ? ['what is shown is made anew from the log'] : [];
  const what = [...values, ...state].join(', and ') || 'nothing of it is missing';
  return `${what}; all that nobody else has is whole, and it goes on; look at the disk`;
}

/** A store that was made anew begins by asking for its session: its own earlier commands wait for that. A newcomer's has one, and asking again changes nothing. */
function openSession(replica: Replica): void {
  const { outbox, applied } = replica;
  if (!replica.isSuccessor) return;
  const written = { writer: '', timeMs: Date.now(), offsetMinutes: 0, saw: applied, level: LEVEL };
  outbox.openSession(written);
}

const isIdentityCode = (code: string): boolean => identityCodes.some((each) => each === code);
