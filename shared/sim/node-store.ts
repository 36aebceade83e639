import { equal } from '../base/bytes.ts';
import { FormatError } from '../base/cbor.ts';
import type { Incarnation } from '../base/ids.ts';
import { incarnationBytes } from '../base/ids.ts';
import { type KvOp, MissingRecordError } from '../base/kv.ts';
import type { Random } from '../base/random.ts';
import { compareBallots, showBallot } from '../consensus/ballot.ts';
import { carriedBatch } from '../driver/carried.ts';
import { JournalCore } from '../driver/journal.ts';
import { JOURNAL_KEYS } from '../driver/journal-check.ts';
import { damagedVerdict, type Prepared, verdictWith } from '../driver/journal-format.ts';
import { MISSING_KEY, openRecord, PROMISE_KEY } from '../driver/layout.ts';
import { MemoryStore, type UnderWay } from '../driver/memory-store.ts';
import { Missing } from '../driver/missing.ts';
import { numberKey, RecordError, unseal } from '../driver/records.ts';
import { type MarkPlace, StoreError } from '../driver/store.ts';
import type { Area } from '../replica/area.ts';
import { type Answer, firstTurn, GROUP_KEY, isGroupRecord, type OpenedStore, openStore } from '../replica/opening.ts';
import { check } from './check.ts';
import { DiskView, type Landed, readRow } from './disk-view.ts';
import type { Plan } from './plan.ts';

const CONSENSUS_RECORDS = { gte: 'c/', lt: 'n', limit: 1_000_000 };
const APPLIED_RECORDS = (area: Area) => ({ gte: `${area}/applied`, lt: `${area}/applied!`, limit: 1 });
/** What a damaged write-ahead file may take, at most. */
export const LOGGED_BATCHES = 24;

export interface Finding {
  readonly code: string;
  readonly message: string;
}

/** A record that is not what it was, or the database below it. */
export function isDamage(error: unknown): error is Error {
  return (
    error instanceof RecordError ||
    error instanceof FormatError ||
    error instanceof MissingRecordError ||
    (error instanceof StoreError && error.code === 'CORRUPT')
  );
}

/**
 * One node's data directory, and what a running peer does with its own (`src-main/peer/group-store.ts`): how it is made, opened, judged, and marked where
 * it is damaged. Beside it stands what the checks hold against it: everything that ever reached this disk (`view`).
 */
export class NodeStore {
  /** Another one after each rebirth. */
  incarnation: Incarnation;
  /** Everything that an acceptor said from this store, read from the bytes as they landed; in a damaged one, what was left. */
  view = new DiskView();
  /** Somebody did something to it behind its owner's back. */
  isTreated = false;
  /** It was opened as damaged: it never votes again. */
  isDamaged = false;
  /** What it had said and lost without noticing as it was opened; null: nothing. */
  forgot: string | null = null;
  /** A table of the database is not whole, which is looked after at every opening. */
  hasBrokenTable = false;
  /** It was put back, or is one of two copies, and was not opened with that verdict yet. */
  isOld = false;
  /** Another store lived under its peer's name at the same time, and may be the one that the group knows. */
  wasCopied = false;
  /** Something of the applied state or the outbox is not what it was: nothing is said of what such a peer shows, and it may stop. */
  lostState = false;
  #memory: MemoryStore;
  /** What it had said before it was put back. */
  #saidBefore: DiskView | null = null;
  /** It was copied from another one, which may live on. */
  #isCopy = false;
  /** The group's record has a file of its own. */
  #groupFile: Uint8Array | null = null;
  #writes = 0;
  #failure: Plan['failure'] = null;
  #isFull = false;

  private constructor(incarnation: Incarnation, memory: MemoryStore) {
    this.incarnation = incarnation;
    this.#memory = memory;
  }

  /** Whole, with its first turn. */
  static create(incarnation: Incarnation, genesis: Uint8Array): NodeStore {
    const store = new NodeStore(incarnation, MemoryStore.create());
    const { prepared } = JournalCore.create(incarnationBytes(incarnation), firstTurn(genesis, incarnation));
    store.writeBatch(prepared.ops);
    store.writeMark(prepared.mark);
    return store;
  }

  /** The data directory as it is now, for a backup or another machine. */
  copy(): NodeStore {
    const copy = new NodeStore(this.incarnation, this.#memory.copy());
    copy.#groupFile = this.#groupFile;
    copy.view = this.view.copy();
    copy.#treat();
    copy.#isCopy = true;
    copy.wasCopied = true;
    return copy;
  }

  /** Somebody started a copy of it elsewhere. */
  meetCopy(): void {
    this.#treat();
    this.wasCopied = true;
  }

  /** A backup is put back. What was said meanwhile stays said. */
  putBack(backup: NodeStore): void {
    this.#treat();
    this.#saidBefore = this.view;
    this.view = backup.view;
    this.#memory = backup.#memory;
  }

  #treat(): void {
    this.isTreated = true;
    this.isOld = true;
  }

  /** For whoever damages it. */
  get memory(): MemoryStore {
    return this.#memory;
  }

  /** The n-th write from the first on fails. */
  failAt(failure: Plan['failure']): void {
    this.#failure = failure;
  }

  /** One of the next writes fails. */
  failSoon(writes: number, code: 'DISK_FAILED' | 'DISK_FULL'): void {
    this.#failure = { node: 0, write: this.#writes + writes, code };
  }

  /** As long as it is full, every write fails. */
  set isFull(isFull: boolean) {
    this.#isFull = isFull;
  }

  repair(): void {
    this.#isFull = false;
    this.#failure = null;
  }

  get(key: string): Uint8Array | undefined {
    return this.#memory.get(key);
  }

  /** The bytes of the value that stands in a slot. */
  valueAt(at: number): Uint8Array | undefined {
    const key = numberKey('l/', at);
    const carried = this.#carried().find((op) => op.key === key);
    const record = carried?.type === 'put' ? carried.value : this.#memory.get(key);
    return record === undefined ? undefined : readRow(key, record).bytes;
  }

  #countWrite(): void {
    const n = ++this.#writes;
    if (this.#isFull) this.#memory.failAt(1, 'DISK_FULL');
    if (this.#failure?.write !== n) return;
    this.#memory.failAt(1, this.#failure.code);
    this.#failure = null;
  }

  /** @throws StoreError */
  writeBatch(ops: readonly KvOp[]): void {
    this.#countWrite();
    if (ops.length > 0) this.#memory.writeSync(ops, { sync: true });
  }

  /** @throws StoreError */
  writeMark({ place, bytes }: { readonly place: MarkPlace; readonly bytes: Uint8Array }): void {
    this.#countWrite();
    this.#memory.markWriteSync(place, bytes);
  }

  /** The process that had it open is gone. */
  leave(choice: Random, powerCut: boolean, during: readonly UnderWay[]): void {
    if (powerCut || during.length > 0) this.#memory = this.#memory.crash({ choice, during });
    else this.#memory = this.#memory.reopen(choice);
  }

  /** What is on the disk now, whatever became of the write that was under way. */
  look(): Landed {
    // A rebirth that was cut short: what stands there is a new acceptor's that never spoke, and the next opening makes another one of it.
    if (this.isTreated && !this.#isStillItself()) return this.view.take([]);
    const rows = [
      ...this.#memory.scanSync(CONSENSUS_RECORDS),
      ...this.#memory.scanSync(APPLIED_RECORDS('s')),
      ...this.#memory.scanSync(APPLIED_RECORDS('z')),
    ];
    const whole = this.isTreated ? rows.filter(([key, record]) => isWhole(key, record)) : rows;
    // What the mark carries stands instead of what the database still has there.
    const carried = this.#carried();
    const newer = new Set(carried.map(({ key }) => key));
    const older = whole.filter(([key]) => !newer.has(key));
    return this.view.take([...older.map(([key, value]): KvOp => ({ type: 'put', key, value })), ...carried]);
  }

  /** What the mark holds and the database does not yet. */
  #carried(): readonly KvOp[] {
    return carriedBatch(this.#memory.markReadSync(), this.#memory) ?? [];
  }

  #isStillItself(): boolean {
    const record = this.#memory.get(GROUP_KEY);
    return record === undefined || this.#groupFile === null || equal(record, this.#groupFile);
  }

  /**
   * As a peer does it at its start, or again after `found`, which it met while it ran.
   * @throws StoreError; FormatError or RecordError where production would not get it open either
   */
  open(
    found: Finding | null,
    by: { readonly newIncarnation: () => Incarnation; readonly isSettled: boolean },
  ): { readonly opened: OpenedStore; readonly isNews: boolean } {
    const forgot = this.isTreated ? this.#forgotten() : null;
    let opened: OpenedStore;
    try {
      opened = this.#openOnce(
        this.hasBrokenTable ? { code: 'DATABASE_BROKEN', message: 'tables are damaged' } : found,
        by,
      );
    } catch (error) {
      if (!(error instanceof StoreError) || error.code !== 'CORRUPT') throw error;
      opened = this.#openOnce({ code: 'DATABASE_BROKEN', message: error.message }, by);
    }
    // Also where it was reborn by an opening that ended in the last of its writes.
    if (opened.incarnation !== this.incarnation) return this.#reborn(opened);
    const isSound = opened.problems.length === 0;
    check(!isSound || !this.isDamaged, 'a store that was found damaged is opened as a sound one');
    check(
      isSound || this.isTreated || this.wasCopied,
      () => `damage is found where nobody did any: ${JSON.stringify(opened.problems)}`,
    );
    this.hasBrokenTable = false;
    if (opened.mended !== null) this.#mended(opened.mended.isStateLost, forgot);
    this.forgot = isSound ? forgot : null;
    this.isOld &&= isSound;
    const isNews = !isSound && !this.isDamaged;
    if (isNews) {
      this.isDamaged = true;
      const { ownSeq } = this.view;
      this.view = new DiskView();
      // Its saved commands are offered on, whatever became of the record that counts them.
      this.view.ownSeq = ownSeq;
    }
    return { opened, isNews };
  }

  /** What it lost others have, and it goes on as the acceptor that it was. An older one, or a copy, may be whole in itself. */
  #mended(isStateLost: boolean, forgot: string | null): void {
    check(this.isTreated, 'a store is mended where nobody did any damage');
    if (isStateLost) this.view.stateMadeAnew();
    // What the disk lost is not what its owner dropped.
    const missing = this.#memory.get(MISSING_KEY);
    if (missing !== undefined) this.view.missing = Missing.decode(openRecord(MISSING_KEY, missing));
    this.lostState = false;
    if (this.isOld || this.#isCopy || this.wasCopied) return;
    check(forgot === null, () => `a store is mended that lost ${forgot}`);
    this.isTreated = false;
  }

  /** It lost something that it had said, noticed it, and goes on as another acceptor, with what of its log is whole. */
  #reborn(opened: OpenedStore): { readonly opened: OpenedStore; readonly isNews: boolean } {
    check(
      this.isTreated || this.wasCopied,
      () => `damage is found where nobody did any: ${JSON.stringify(opened.reborn?.problems)}`,
    );
    check(opened.incarnation !== this.incarnation, 'a store is reborn under the name that it had');
    this.incarnation = opened.incarnation;
    this.#groupFile = this.#memory.get(GROUP_KEY) ?? null;
    this.view = new DiskView();
    this.view.inheritedUpTo = opened.restored.prefix;
    this.hasBrokenTable = false;
    this.isTreated = false;
    this.isOld = false;
    this.#saidBefore = null;
    this.#isCopy = false;
    this.isDamaged = false;
    this.lostState = false;
    this.forgot = null;
    return { opened, isNews: true };
  }

  #openOnce(found: Finding | null, by: Parameters<NodeStore['open']>[1]): OpenedStore {
    const isGroupLost = this.#keepGroupRecord();
    const verdict =
      found ?? (isGroupLost ? { code: 'RECORD_DAMAGED', message: 'the record of the group was missing' } : null);
    if (verdict !== null)
      this.writeBatch([damagedVerdict(verdictWith(verdict, this.#memory.get(JOURNAL_KEYS.damaged)))]);
    const opening = openStore({ get: (key) => this.#memory.get(key) }, by);
    let answer: Answer;
    for (;;) {
      const step = opening.next(answer);
      if (step.done) return step.value;
      const ask = step.value;
      if (ask.type === 'scan') answer = this.#memory.scanSync(ask.range);
      else if (ask.type === 'marks') answer = this.#memory.markReadSync();
      else {
        if (ask.type === 'batch') this.writeBatch(ask.ops);
        else this.write(ask.prepared);
        answer = undefined;
      }
    }
  }

  /** Batch, then mark. */
  write({ ops, mark }: Prepared): void {
    if (ops.length > 0) this.writeBatch(ops);
    this.writeMark(mark);
  }

  #keepGroupRecord(): boolean {
    const record = this.#memory.get(GROUP_KEY);
    if (record !== undefined && isGroupRecord(record)) {
      this.#groupFile = record;
      return false;
    }
    if (this.#groupFile === null) return false;
    this.writeBatch([{ type: 'put', key: GROUP_KEY, value: this.#groupFile }]);
    return true;
  }

  /** What this store told others, and doesn't hold any more. */
  #forgotten(): string | null {
    // Two of one name: whatever the other one says, this one does not know.
    if (this.#isCopy) return 'what is said by the one that it was copied from';
    const view = this.#saidBefore ?? this.view;
    const record = this.#memory.get(PROMISE_KEY);
    const now = new DiskView();
    const rows = this.#memory.scanSync(CONSENSUS_RECORDS).filter(([key, value]) => isWhole(key, value));
    now.take([...rows.map(([key, value]): KvOp => ({ type: 'put', key, value })), ...this.#carried()]);
    if (compareBallots(now.promised, view.promised) < 0) {
      return `its promise of ${showBallot(view.promised)}${record === undefined ? ', whose record is gone' : ''}`;
    }
    for (const [at, row] of view.rows) {
      if (at <= view.prefix || row.ballot === null) continue;
      const left = now.rows.get(at);
      const isThere = left !== undefined && compareBallots(left.ballot, row.ballot) >= 0;
      if (!isThere) return `what it accepted in slot ${at} under ${showBallot(row.ballot)}`;
    }
    return null;
  }
}

function isWhole(key: string, record: Uint8Array): boolean {
  try {
    unseal(key, record);
    return true;
  } catch (error) {
    if (error instanceof RecordError) return false;
    throw error;
  }
}
