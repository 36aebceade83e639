import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { equal } from '../../shared/base/bytes.ts';
import { FormatError } from '../../shared/base/cbor.ts';
import { type Incarnation, incarnationBytes, incarnationFromBytes } from '../../shared/base/ids.ts';
import { MissingRecordError } from '../../shared/base/kv.ts';
import { JournalCore } from '../../shared/driver/journal.ts';
import { JOURNAL_KEYS } from '../../shared/driver/journal-check.ts';
import { damagedVerdict, type Prepared, type Problem, verdictWith } from '../../shared/driver/journal-format.ts';
import { RecordError } from '../../shared/driver/records.ts';
import { StoreError, type StorePort } from '../../shared/driver/store.ts';
import {
  type Answer,
  firstTurn,
  GROUP_KEY,
  isGroupRecord,
  type OpenedStore,
  type OpeningInit,
  openStore,
} from '../../shared/replica/opening.ts';
import { platformRandom } from '../group/keys.ts';
import { writePrivateFile } from '../group/private-file.ts';
import { createStore, type LevelStore, openLevelStore } from '../storage/level-store.ts';
import { repairLevelStore } from '../storage/repair.ts';
import { endRepair, isRepairOpen, startRepair } from '../storage/repair-marker.ts';
import { damagedTables } from '../storage/tables.ts';
import type { Log } from './log.ts';

/** What is wrong with a store, beyond what its opening finds by itself. */
export interface Damage {
  readonly code: string;
  readonly message: string;
  /** The database itself, not a record in it. */
  readonly isBroken: boolean;
}

/** How one group's store is opened. */
export interface GroupStoreInit {
  readonly dir: string;
  /** What was found wrong about the directory as a whole: no group of it votes or writes until a person settles it. */
  readonly doubts?: readonly Problem[];
  /** A person said that no other copy of this directory runs. */
  readonly isSettled?: boolean;
  readonly log: Log;
}

/** For a store that is made, or reborn. */
export const newIncarnation = (): Incarnation => incarnationFromBytes(platformRandom(16));

/** Makes a new store, whole or not at all. */
export async function createGroupStore(dir: string, genesis: Uint8Array, incarnation: Incarnation): Promise<void> {
  await createStore(dir, async (port) => {
    const { prepared } = JournalCore.create(incarnationBytes(incarnation), firstTurn(genesis, incarnation));
    await write(port, prepared);
  });
}

/** An open database, and what it holds. */
export interface OpenGroupStore {
  readonly port: LevelStore;
  readonly store: OpenedStore;
}

/** Opens one group's store, the first time and again. */
export class GroupStoreOpening {
  readonly #init: GroupStoreInit;
  /** A person's word holds once. */
  #isSettled: boolean;

  constructor(init: GroupStoreInit) {
    this.#init = init;
    this.#isSettled = init.isSettled ?? false;
  }

  /**
   * Opens and verifies it. A database that turns out to be broken is repaired, and opened as damaged.
   * @param damage what was found before, for the verdict that stays
   * @throws StoreError where the store can't be opened at all
   */
  open(damage: Damage | null): Promise<OpenGroupStore> {
    return this.#open(damage).catch((error: unknown) => {
      if (!isBroken(error)) throw error;
      return this.#open({ code: 'DATABASE_BROKEN', message: error.message, isBroken: true });
    });
  }

  /** Verifies what an open database holds now. A damaged store is reborn. @throws StoreError */
  async read(port: StorePort): Promise<OpenedStore> {
    const store = await readStore(port, {
      newIncarnation,
      doubts: this.#init.doubts ?? [],
      isSettled: this.#isSettled,
    });
    this.#isSettled = false;
    return store;
  }

  /** With damage, the verdict is on the disk before anything is read; where the database itself is broken, what is whole of it is gathered first. */
  async #open(damage: Damage | null): Promise<OpenGroupStore> {
    const { dir, log } = this.#init;
    if (damage?.isBroken) {
      log('error', 'the database is damaged; what is whole of it is kept, the rest is fetched again', {
        dir,
        error: damage.message,
      });
      await startRepair(dir);
      await repairLevelStore(dir);
    }
    const port = await openLevelStore(dir, { create: false });
    try {
      const isGroupLost = await keepGroupRecord(port, dir);
      if (damage !== null) await markDamaged(port, damage.code, damage.message);
      else if (isGroupLost) await markDamaged(port, 'RECORD_DAMAGED', 'the record of the group was missing');
      if (damage?.isBroken) await endRepair(dir);
      const store = await this.read(port);
      if (store.isNewborn) await keepGroupRecord(port, dir);
      return { port, store };
    } catch (error) {
      await port.close().catch(() => undefined);
      throw error;
    }
  }
}

/** What the last run left, as far as the database itself does not show it. */
export async function damageBefore(dir: string): Promise<Damage | null> {
  // What was repaired looks whole, and is not: the verdict is still to be written.
  if (await isRepairOpen(dir)) return { code: 'DATABASE_BROKEN', message: 'a repair was cut short', isBroken: true };
  return brokenTablesIn(dir);
}

/** LevelDB trusts its tables, and where one is not whole it may end the process: they are looked at before every opening. */
async function brokenTablesIn(dir: string): Promise<Damage | null> {
  const names = await damagedTables(join(dir, 'db'));
  if (names.length === 0) return null;
  return {
    code: 'DATABASE_BROKEN',
    message: `tables of the database are damaged (${names.join(', ')})`,
    isBroken: true,
  };
}

/** The damage behind an error of `isDamage`, once the store is closed: its tables are looked at, too. */
export async function damageShownBy(error: Error, dir: string): Promise<Damage> {
  const found = { code: 'RECORD_DAMAGED', message: error.message, isBroken: isBroken(error) };
  return (await brokenTablesIn(dir)) ?? found;
}

/** A record that is not what it was, or the database below it. */
export function isDamage(error: unknown): boolean {
  return (
    error instanceof RecordError ||
    error instanceof FormatError ||
    error instanceof MissingRecordError ||
    isBroken(error)
  );
}

const isBroken = (error: unknown): error is StoreError => error instanceof StoreError && error.code === 'CORRUPT';

/**
 * The one record that nobody else can give back is kept in a file beside the database, too. Where the database has lost it, it is put back, and that is told
 * by true; where the file is missing or older, it is made.
 */
async function keepGroupRecord(port: StorePort, dir: string): Promise<boolean> {
  const path = join(dir, 'group');
  const kept = await readFile(path).catch(() => null);
  const record = port.kv.get(GROUP_KEY);
  if (record !== undefined && isGroupRecord(record)) {
    // A full disk keeps it from being made; the next opening tries again.
    if (kept === null || !equal(kept, record)) await writePrivateFile(path, record).catch(() => undefined);
    return false;
  }
  if (kept === null || !isGroupRecord(kept)) return false; // the reading of the store says what is wrong
  await port.kv.write([{ type: 'put', key: GROUP_KEY, value: new Uint8Array(kept) }], { sync: true });
  return true;
}

/** From now on this store is a reader's, whatever becomes of this process. */
async function markDamaged(port: StorePort, code: string, message: string): Promise<void> {
  await port.kv.write([damagedVerdict(verdictWith({ code, message }, port.kv.get(JOURNAL_KEYS.damaged)))], {
    sync: true,
  });
}

/** Batch and mark, both on the disk. @throws StoreError */
export async function write(port: StorePort, { ops, mark }: Prepared): Promise<void> {
  if (ops.length > 0) await port.kv.write(ops, { sync: true });
  await port.mark.write(mark.place, mark.bytes);
}

/** Opens and verifies: the verdict only. Nothing is written but what a crash cut short. */
export const inspectStore = (port: StorePort): Promise<OpenedStore> => readStore(port, {}, async () => undefined);

/** Answers what the opening asks from a real disk. */
export async function readStore(
  port: StorePort,
  init: OpeningInit,
  put: (port: StorePort, prepared: Prepared) => Promise<void> = write,
): Promise<OpenedStore> {
  const opening = openStore({ get: (key) => port.kv.get(key) }, init);
  let answer: Answer;
  for (;;) {
    const step = opening.next(answer);
    if (step.done) return step.value;
    const ask = step.value;
    if (ask.type === 'scan') answer = await port.kv.scan(ask.range);
    else if (ask.type === 'marks') answer = await port.mark.read();
    else if (ask.type === 'batch') {
      await port.kv.write(ask.ops, { sync: true });
      answer = undefined;
    } else {
      await put(port, ask.prepared);
      answer = undefined;
    }
  }
}
