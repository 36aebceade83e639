import { randomBytes } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { toHex } from '../../shared/base/bytes.ts';
import { type GroupId, type Incarnation, incarnationFromBytes, type PeerId } from '../../shared/base/ids.ts';
import { DocumentReader, type Member } from '../../shared/document/index.ts';
import type { Turn } from '../../shared/driver/journal-format.ts';
import { opening } from '../../shared/driver/layout.ts';
import { StoreError, type StorePort } from '../../shared/driver/store.ts';
import { PeerError } from '../../shared/ipc/errors.ts';
import { StateArea } from '../../shared/replica/area.ts';
import type { OpenedStore } from '../../shared/replica/opening.ts';
import { type Outcome, prospect, type Shortfall } from '../../shared/replica/recovery.ts';
import { inKeyOrder, NONCE_BYTES } from '../../shared/replica/recovery-consent.ts';
import { consentTo, reportNow, startOf } from '../../shared/replica/recovery-offline.ts';
import { dataDir, listGroups } from '../group/data-dir.ts';
import { type Identity, loadOrCreateIdentity } from '../group/identity.ts';
import { openLocal } from '../group/local.ts';
import { SetupError } from '../group/setup-error.ts';
import { openLevelStore } from '../storage/level-store.ts';
import { damagedTables } from '../storage/tables.ts';
import { storeFailure } from './failures.ts';
import { inspectStore, readStore, write } from './group-store.ts';
import { onlyMember } from './lookup.ts';

export interface RecoverWish {
  /** An id, a prefix of one, or a title; needed only with several groups. */
  readonly group: string | undefined;
  /** Every survivor, this machine too: an id, a prefix, or a unique name. */
  readonly keep: readonly string[];
  /** Without it nothing is written. */
  readonly force: boolean;
}

export interface Named {
  readonly peer: string;
  readonly name: string;
}

export interface Recovery {
  readonly group: string;
  readonly title: string;
  /** What was done: nothing; this machine's consent is written and waits for the others'; the log goes on. */
  readonly step: 'planned' | 'consented' | 'recovered';
  readonly kept: readonly Named[];
  readonly givenUp: readonly Named[];
  /** This machine holds the log up to here. */
  readonly slot: number;
  readonly position: number;
  /** Nothing that was committed is lost, as far as this machine can tell; for `recovered` it is certain. */
  readonly lossless: boolean;
  readonly shortfalls: readonly Omit<Shortfall, 'configuration'>[];
  /** Once recovered: the slot from which on the new epoch's voters decide, and the epoch. */
  readonly at: number | null;
  readonly epoch: string | null;
}

/**
 * Consents to go on without those who are gone (R12), on a data directory on which no peer runs. One that survives alone is done with that; with several, their
 * running peers do the rest once all have consented.
 * @throws PeerError, SetupError
 */
export async function recoverDir(dir: string, wish: RecoverWish): Promise<Recovery> {
  await stat(dir).catch(() => {
    throw new SetupError('NOT_A_DIRECTORY', `There is no data directory at ${dir}.`);
  });
  const local = await openLocal(dir);
  try {
    const groups = await listGroups(dataDir(dir));
    if (groups.length === 0)
      throw new PeerError('NO_GROUP', 'This directory holds no group, so there is nothing to recover.');
    const identity = await loadOrCreateIdentity(dir);
    const group = await groupMeant(dir, groups, wish.group);
    return await withStore(dir, group, wish.force, (port, store) => recoverStore(identity, port, store, wish));
  } catch (error) {
    throw error instanceof StoreError ? storeFailure(error) : error;
  } finally {
    await local.close();
  }
}

/** A damaged store is reborn first, as a start of the peer would do. */
const newIncarnation = (): Incarnation => incarnationFromBytes(new Uint8Array(randomBytes(16)));

async function withStore<T>(
  dir: string,
  group: GroupId,
  writes: boolean,
  work: (port: StorePort, store: OpenedStore) => Promise<T>,
): Promise<T> {
  const place = dataDir(dir).group(group);
  // LevelDB could end this process over them.
  if ((await damagedTables(join(place, 'db'))).length > 0) {
    throw new PeerError(
      'DAMAGED',
      'The database is damaged. Start the peer once, so that what is whole is gathered, stop it, and try again.',
    );
  }
  const port = await openLevelStore(place, { create: false });
  try {
    return await work(port, writes ? await readStore(port, { newIncarnation }) : await inspectStore(port));
  } finally {
    await port.close();
  }
}

async function groupMeant(dir: string, groups: readonly GroupId[], name: string | undefined): Promise<GroupId> {
  const titled = await Promise.all(
    name === undefined && groups.length === 1
      ? groups.map((group) => ({ group, title: '' }))
      : groups.map((group) =>
          withStore(dir, group, false, async (port, store) => ({
            group,
            title: readerOf(port, store).title() ?? '',
          })).catch(() => ({ group, title: '' })),
        ),
  );
  const found = titled.filter(({ group, title }) => name === undefined || group.startsWith(name) || title === name);
  const [only, another] = found;
  if (only === undefined) throw new PeerError('GROUP_NOT_FOUND', `There is no group ${name} here.`);
  if (another === undefined) return only.group;
  const names = found.map(({ group, title }) => `${title} (${group.slice(0, 8)})`).join(', ');
  throw name === undefined
    ? new PeerError('GROUP_NEEDED', `Several groups are here. Name one with --group: ${names}.`)
    : new PeerError('GROUP_AMBIGUOUS', `More than one group ${name} is here: ${names}.`);
}

const readerOf = (port: StorePort, store: OpenedStore): DocumentReader =>
  new DocumentReader(new StateArea(opening(port.kv), store.area));

/** What the words need. */
interface Plan {
  readonly self: PeerId;
  readonly survivors: readonly PeerId[];
  readonly members: readonly Member[];
}

async function recoverStore(
  identity: Identity,
  port: StorePort,
  store: OpenedStore,
  wish: RecoverWish,
): Promise<Recovery> {
  const reader = readerOf(port, store);
  const self = identity.peer;
  const plan: Plan = { self, survivors: survivorsNamed(reader, self, wish.keep), members: reader.members() };
  refuseWhatCannotBe(store, plan);
  const title = { title: reader.title() ?? '', position: reader.positions() };
  const { consent, settle, outcome, isOver } = consentTo(store, {
    self,
    signer: identity.signer,
    survivors: plan.survivors,
    nonce: new Uint8Array(randomBytes(NONCE_BYTES)),
  });
  if (outcome === 'NO_VOTER') {
    throw new PeerError(
      'CANNOT_RECOVER',
      `${alone(plan)} No sound copy that keeps entries is among them. Nothing was changed.`,
    );
  }
  if (outcome === 'UNREADABLE') throw newer();
  if (!wish.force) return { ...recovery(store, plan, 'planned', null), ...title };
  for (const turn of [consent, settle]) if (turn !== null) await put(port, store, turn);
  const done = (settle === null && !isOver) || typeof outcome === 'string' ? null : outcome;
  return { ...recovery(store, plan, done === null ? 'consented' : 'recovered', done), ...title };
}

const alone = ({ survivors }: Plan): string =>
  survivors.length === 1 ? 'This machine can’t go on by itself.' : 'These machines can’t go on by themselves.';

const newer = (): PeerError =>
  new PeerError(
    'NEWER_FORMAT',
    'A newer version changed the voters in a way that this one can’t read. Nothing was changed; update Synod.',
  );

function survivorsNamed(reader: DocumentReader, self: PeerId, keep: readonly string[]): readonly PeerId[] {
  const own = reader.member(self);
  if (own === undefined || own.expelledSlot !== null) {
    throw new PeerError(
      'REFUSED_NOT_MEMBER',
      'This machine is not a member of the log as it is stored here. Nothing was changed.',
    );
  }
  const survivors = inKeyOrder(keep.map((name) => onlyMember(reader.members(), name).peer));
  if (!survivors.includes(self)) {
    throw new PeerError(
      'USAGE',
      `--keep names every machine that goes on, this one too: add --keep ${own.name || self}.`,
    );
  }
  return survivors;
}

function refuseWhatCannotBe(store: OpenedStore, { survivors }: Plan): void {
  if (store.restored.blockedFrom !== null) throw newer();
  if (store.problems.length > 0 && survivors.length === 1) {
    const [problem] = store.problems;
    throw new PeerError(
      'DAMAGED',
      `This copy is damaged (${problem?.message}), so it can't vote, and nobody else is left who could. What it holds stays readable. Nothing was changed.`,
    );
  }
}

/** Batch, then mark. */
async function put(port: StorePort, { journal }: OpenedStore, turn: Turn): Promise<void> {
  await write(port, journal.prepare(turn));
  journal.committed();
}

function recovery(
  store: OpenedStore,
  plan: Plan,
  step: Recovery['step'],
  outcome: Outcome | null,
): Omit<Recovery, 'title' | 'position'> {
  const { self, survivors, members } = plan;
  const report = reportNow(store);
  const shortfalls = outcome?.shortfalls ?? prospect(report, self, survivors, startOf(store));
  const voters = report.inForce.flatMap(({ configuration }) => configuration.voters.map((v) => v.peer));
  const all = new Set([...members.map((m) => m.peer), ...voters]);
  const named = (peer: PeerId): Named => ({ peer, name: members.find((m) => m.peer === peer)?.name ?? '' });
  return {
    group: store.group,
    step,
    kept: survivors.map(named),
    givenUp: [...all].filter((peer) => !survivors.includes(peer)).map(named),
    slot: store.restored.prefix,
    lossless: shortfalls.length === 0,
    shortfalls: shortfalls.map(({ voters: n, q2, kept }) => ({ voters: n, q2, kept })),
    at: outcome?.at ?? null,
    epoch: outcome === null ? null : toHex(outcome.epoch),
  };
}
