import { equal } from '../base/bytes.ts';
import { asArray, asBytes, asInteger, asText, type Cbor, decodeCbor, encodeCbor, FormatError } from '../base/cbor.ts';
import { hashFor, ZERO_HASH } from '../base/hash.ts';
import {
  type GroupId,
  groupIdOf,
  type Incarnation,
  incarnationBytes,
  incarnationFromBytes,
  type Slot,
  slot,
} from '../base/ids.ts';
import type { KvOp, KvReader } from '../base/kv.ts';
import { compareBallots, decodeBallot, encodeBallot } from '../consensus/ballot.ts';
import { type Configuration, majorities } from '../consensus/configuration.ts';
import type { Restored } from '../consensus/ledger.ts';
import { decodeGenesis, type Genesis } from '../document/genesis.ts';
import { batchHash, genesisOps } from '../document/index.ts';
import { carriedBatch } from '../driver/carried.ts';
import type { JournalCore } from '../driver/journal.ts';
import { JOURNAL_KEYS, JournalCheck, TURN_RANGE } from '../driver/journal-check.ts';
import {
  damagedVerdict,
  type Turn as JournalTurn,
  type Mark,
  type Problem,
  type Verdict,
} from '../driver/journal-format.ts';
import { KEPT_RANGES, Kept } from '../driver/kept.ts';
import {
  AREA_KEY,
  decodeDigest,
  decodeLogRecord,
  digestKey,
  logKey,
  MISSING_KEY,
  opening,
  openRecord,
  PREFIX_KEY,
  STAGING_KEY,
} from '../driver/layout.ts';
import { Missing } from '../driver/missing.ts';
import { sealed } from '../driver/overlay.ts';
import { prefixRange, RECORD_VERSION, RecordError, unseal } from '../driver/records.ts';
import { acceptedRange, configurationsRange, restoreLedger, storedPrefix } from '../driver/restore.ts';
import { type KvRow, StoreError } from '../driver/store.ts';
import { decodeTail, TAIL_KEY, type Tail } from '../session/index.ts';
import { type Area, areaRange } from './area.ts';
import { RUNS_KEY, SEEN_RANGE } from './identity.ts';
import { type Mended, mendingOps } from './mend.ts';
import { decodeMendNote, MENDED_KEY, type MendNote } from './mending.ts';
import { decodeReborn, GROUP_KEY, groupRecord, REBORN_KEY, type Reborn, rebirthTurn, rebornOf } from './rebirth.ts';
import { rescuedRange } from './recovery-rescue.ts';
import { NO_RECOVERY, proofsRange, type RecoveryRecords, readRecovery } from './recovery-store.ts';
import { isMendable, isWholeDespite, type Remedy, remedyFor } from './remedy.ts';
import { isDamage, salvage } from './salvage.ts';
import { type Answer, type Ask, keysOf, opened, scanAll, unreadableIn } from './scanning.ts';
import { decodeStaging, type Staging } from './snapshot-fetch.ts';

export { GROUP_KEY, groupRecord } from './rebirth.ts';
export type { Answer, Ask } from './scanning.ts';

/**
 *   m/rebuilt  a damaged store's state was made anew from what of the log was whole
 *   m/verdict  [1, code, message]: what the applied log says against this store; in the batch of the state that says so
 */
const REBUILT_KEY = 'm/rebuilt';
const VERDICT_KEY = 'm/verdict';
type Marks = readonly [Uint8Array | null, Uint8Array | null];
/** What the mark of a store says that no longer votes. */
const NOTHING_SAID = { promise: null, lastOwnSeq: 0 };

/** A group's store, verified, before the first input. */
export interface OpenedStore {
  readonly group: GroupId;
  readonly genesis: Genesis;
  readonly genesisBytes: Uint8Array;
  readonly firstConfiguration: Configuration;
  readonly incarnation: Incarnation;
  readonly journal: JournalCore;
  /** Empty for a store that may vote and write. Otherwise what was found, and what is to be done about it: a person is asked, or it is only looked at. */
  readonly problems: readonly Problem[];
  /** Why it goes on under another incarnation than it was made with; null where it does not. */
  readonly reborn: Reborn | null;
  /** Its last turn was in its mark alone, as a crash leaves it, or damage, and is in the database now. */
  readonly wasCompleted: boolean;
  /** What damage took from it, where that was mended just now and it goes on as it was; otherwise null. */
  readonly mended: Mended | null;
  /** What damage took from it, now or before, and is not known to be here again; null where that is nothing. */
  readonly mending: MendNote | null;
  /** It took its incarnation just now. */
  readonly isNewborn: boolean;
  readonly restored: Restored;
  /** Where the applied state stands. */
  readonly area: Area;
  /** What of the prefix is not here. */
  readonly missing: Missing;
  /** A snapshot that was being fetched. */
  readonly staging: Staging | null;
  /** Epochs that were renounced, followed or begun by forced recovery. */
  readonly recovery: RecoveryRecords;
  /** Others' runs that are to be offered again. */
  readonly rescued: readonly KvRow[];
  readonly outbox: readonly KvRow[];
  readonly refused: readonly KvRow[];
  /** What was seen of other members' stores. */
  readonly seen: readonly KvRow[];
  /** The runs of this store under its incarnation; opened. Undefined where none is noted, or it can't be read. */
  readonly runs: Uint8Array | undefined;
  /** Where its session has come to; null where it has not begun, or that can't be told. */
  readonly tail: Tail | null;
  /** What the mark says was this store's last own command, or 0. */
  readonly markedOwnSeq: number;
}

/** What the one that opens a store knows of it, and may do. */
export interface OpeningInit {
  /** Draws an incarnation for a store that is reborn. Left out by those who only look: then nothing is. */
  readonly newIncarnation?: () => Incarnation;
  /** What was found outside of the store. Never kept. */
  readonly doubts?: readonly Problem[];
  /** A person said that no other copy of this store runs. */
  readonly isSettled?: boolean;
}

export function genesisDigest(genesisBytes: Uint8Array): Uint8Array {
  return hashFor('genesis', genesisBytes);
}

/** The founder alone decides, until it says otherwise. */
export function firstConfiguration(genesis: Genesis, genesisBytes: Uint8Array): Configuration {
  return {
    previous: slot(0),
    epoch: hashFor('genesis', genesisBytes),
    voters: [{ peer: genesis.founder, incarnation: genesis.incarnation, witness: false }],
    ...majorities(1),
  };
}

/** Whole, and of this version or a newer one: then it says which group a store is of. */
export function isGroupRecord(record: Uint8Array): boolean {
  try {
    unseal(GROUP_KEY, record, RECORD_VERSION);
    return true;
  } catch (error) {
    return error instanceof RecordError && error.code === 'NEWER_FORMAT';
  }
}

/** The first turn of a new store, of the founder's or a joiner's. */
export function firstTurn(genesisBytes: Uint8Array, incarnation: Incarnation): JournalTurn {
  const group = groupRecord(genesisBytes, incarnation);
  return { ops: [group, ...genesisOps(genesisBytes)].map(sealed), accepted: [], promise: null, lastOwnSeq: 0 };
}

/**
 * Reads and verifies a store (R6). One that lost anything it had said as an acceptor is reborn in its place (R7): what of its log is whole and chained is kept, its
 * applied state is made anew from that, and it goes on under a new incarnation. One that may run twice is given as a reader until a person says which goes on.
 * @throws StoreError `CORRUPT` where not even the group can be told, `NEWER_FORMAT`
 */
export function* openStore(kv: KvReader, init: OpeningInit = {}): Generator<Ask, OpenedStore, Answer> {
  const { doubts = [], isSettled = false } = init;
  const carried = carriedBatch((yield { type: 'marks' }) as Marks, kv);
  if (carried !== null) yield { type: 'batch', ops: carried };
  const { genesisBytes, incarnation: former } = readGroup(kv);
  const genesis = decodeGenesis(genesisBytes);
  const origin = {
    genesisDigest: genesisDigest(genesisBytes),
    alpha: genesis.alpha,
    firstConfiguration: firstConfiguration(genesis, genesisBytes),
  };
  const before = forPeople(kv, REBORN_KEY, decodeReborn);

  const { journal: verified, verdict } = yield* verifyJournal(kv, former);
  let journal = verified;
  let found: Problem[] = verdict.sound ? [] : [...verdict.problems];
  let mended: Mended | null = null;
  // Those who only look say what they see.
  if (!verdict.sound && verdict.vouched !== null && init.newIncarnation && isMendable(found.map(({ code }) => code))) {
    const { missing, area } = readHeld(opening(kv));
    const { genesisDigest } = origin;
    const vouched = {
      genesisBytes,
      genesisDigest,
      accepted: verdict.vouched,
      missing,
      area,
      isDatabaseBroken: found.some(({ code }) => code === 'DATABASE_BROKEN'),
    };
    const mend = yield* mendingOps(kv, vouched);
    yield { type: 'write', prepared: journal.mended(mend.ops, markFields(kv)) };
    journal.committed();
    mended = mend.mended;
    found = [];
  }
  const kept = readVerdict(kv);
  if (kept !== null && !found.some(({ code }) => code === kept.code)) found.push(kept);
  const codes = (): string[] => found.map(({ code }) => code);
  let restored: Restored | null = null;
  let held = ALL_HELD;
  let recovery = NO_RECOVERY;
  const proofs = yield* scanAll(proofsRange);
  if (found.length === 0 || isWholeDespite(codes())) {
    try {
      held = readHeld(opening(kv));
      restored = yield* restoreAll(kv, origin.genesisDigest);
      holdTogether(kv, restored, verdict.mark);
      recovery = readRecovery(opening(kv), proofs, restored.prefix);
    } catch (error) {
      if (!isDamage(error)) throw error;
      restored = null;
      // Durable before anything else is done: what this acceptor had said can't be told any more, at no later start either.
      found.push({ code: 'ACCEPTED_MISSING', message: error.message });
      yield { type: 'write', prepared: journal.prepareMark(NOTHING_SAID, [damagedVerdict(found)]) };
      journal.committed();
    }
  }

  const problems = [...found, ...doubts];
  const remedy: Remedy = remedyFor({ problems: problems.map(({ code }) => code), isSettled });
  const isReborn = remedy === 'rebirth' && init.newIncarnation !== undefined;
  const isWhole = restored !== null;
  if (restored === null) {
    held = ALL_HELD;
    restored = salvage(kv, origin);
    recovery = recoveryOfDamaged(kv, proofs, restored.prefix);
  }
  let incarnation = former;
  let reborn = before;
  if (isReborn && init.newIncarnation) {
    incarnation = init.newIncarnation();
    reborn = rebornOf(before, former, found);
    restored = { ...restored, promised: null, accepted: new Map() };
    const turn = rebirthTurn({ genesisBytes, incarnation }, reborn, restored, {
      log: [
        ...(yield* keysOf(acceptedRange(restored.prefix))),
        ...(yield* keysOf({ gte: digestKey(restored.prefix + 1), lt: 'd0' })),
        ...(yield* keysOf(configurationsRange)),
      ],
      state: isWhole ? null : yield* stateKeys(),
      unreadable: yield* unreadableIn(LAYERS_ABOVE),
      notes: [REBUILT_KEY, VERDICT_KEY, RUNS_KEY, MENDED_KEY, ...(isWhole ? [] : HELD_KEYS)],
    });
    const next = journal.reborn(incarnationBytes(incarnation), turn);
    yield { type: 'write', prepared: next.prepared };
    journal = next.core;
    journal.committed();
  } else if (!isWhole && (kv.get(REBUILT_KEY) === undefined || equal(journal.lastTurnHash, ZERO_HASH))) {
    yield* rebuildState(genesisBytes, journal, restored);
  }
  return {
    group: groupIdOf(genesisBytes),
    genesis,
    genesisBytes,
    firstConfiguration: origin.firstConfiguration,
    incarnation,
    journal,
    problems: isReborn || remedy === 'none' ? [] : problems,
    reborn,
    wasCompleted: carried !== null,
    mended,
    mending: isReborn ? null : forPeople(kv, MENDED_KEY, decodeMendNote),
    isNewborn: isReborn,
    restored,
    ...held,
    recovery,
    rescued: opened(yield* scanAll(rescuedRange)),
    outbox: opened(yield* scanAll(prefixRange('o/'))),
    refused: opened(yield* scanAll(prefixRange('x/'))),
    seen: opened(yield* scanAll(SEEN_RANGE)),
    runs: isReborn ? undefined : opened([[RUNS_KEY, kv.get(RUNS_KEY) ?? new Uint8Array(0)]])[0]?.[1],
    tail: isWhole && !isReborn ? readTail(kv) : null,
    markedOwnSeq: isReborn ? 0 : (verdict.mark?.lastOwnSeq ?? 0),
  };
}

/** Records that are not the consensus' own. */
const LAYERS_ABOVE: readonly { readonly gte: string; readonly lt: string }[] = [
  prefixRange('o/'),
  prefixRange('x/'),
  SEEN_RANGE,
];

function* verifyJournal(
  kv: KvReader,
  incarnation: Incarnation,
): Generator<Ask, { readonly journal: JournalCore; readonly verdict: Verdict }, Answer> {
  const kept: KvRow[] = [];
  for (const range of KEPT_RANGES) kept.push(...(yield* scanAll(range)));
  const check = new JournalCheck(
    {
      checkpoint: kv.get(JOURNAL_KEYS.checkpoint),
      damaged: kv.get(JOURNAL_KEYS.damaged),
      kept: kv.get(JOURNAL_KEYS.kept),
      marks: (yield { type: 'marks' }) as Marks,
    },
    {
      incarnation: incarnationBytes(incarnation),
      acceptedExists: (row) => acceptedExists(kv, row),
      kept: new Kept(kept),
      state: () => markFields(kv),
    },
  );
  for (const [key, record] of yield* scanAll(TURN_RANGE)) check.row(key, record);
  const { core: journal, verdict, repair } = check.finish();
  if (repair) {
    yield { type: 'write', prepared: repair };
    journal.committed();
  }
  return { journal, verdict };
}

function* restoreAll(kv: KvReader, start: Uint8Array): Generator<Ask, Restored, Answer> {
  return restoreLedger(opening(kv), {
    genesisDigest: start,
    configurations: yield* scanAll(configurationsRange),
    accepted: yield* scanAll(acceptedRange(storedPrefix(opening(kv), start).prefix)),
    hash: batchHash,
  });
}

/** The state of a damaged store that stays what it is, made anew from what of its log is whole. */
function* rebuildState(
  genesisBytes: Uint8Array,
  journal: JournalCore,
  { prefix, digest }: Restored,
): Generator<Ask, void, Answer> {
  const gone = [...(yield* stateKeys()), ...(yield* keysOf(acceptedRange(prefix))), ...HELD_KEYS];
  const ops: KvOp[] = [
    ...gone.map((key): KvOp => ({ type: 'del', key })),
    ...genesisOps(genesisBytes).map(sealed),
    sealed({ type: 'put', key: REBUILT_KEY, value: encodeCbor([]) }),
    sealed({ type: 'put', key: PREFIX_KEY, value: encodeCbor([prefix, digest]) }),
  ];
  yield { type: 'write', prepared: journal.prepare({ ops, accepted: [], ...NOTHING_SAID }) };
  journal.committed();
}

/** As an opened record, in the batch with what it follows from. */
export function keptVerdict({ code, message }: { readonly code: string; readonly message: string }): KvOp {
  return { type: 'put', key: VERDICT_KEY, value: encodeCbor([1, code, message]) };
}

function readVerdict(kv: KvReader): Problem | null {
  const record = kv.get(VERDICT_KEY);
  if (record === undefined) return null;
  try {
    const [, code, message] = asArray(decodeCbor(openRecord(VERDICT_KEY, record)), 3);
    return { code: asText(code) as Problem['code'], message: asText(message) };
  } catch (error) {
    if (!isDamage(error)) throw error;
    return { code: 'RECORD_DAMAGED', message: error.message };
  }
}

/** Null where there is none that can be read: then people are told less, and former incarnations are known only by what they left, here and in the log. */
function forPeople<T>(kv: KvReader, key: string, decode: (bytes: Uint8Array) => T): T | null {
  const record = kv.get(key);
  try {
    return record === undefined ? null : decode(openRecord(key, record));
  } catch (error) {
    if (isDamage(error)) return null;
    throw error;
  }
}

/** What a store holds of the log and the state, and where. */
type Held = Pick<OpenedStore, 'area' | 'missing' | 'staging'>;

const ALL_HELD: Held = { area: 's', missing: Missing.NONE, staging: null };
const HELD_KEYS = [AREA_KEY, MISSING_KEY, STAGING_KEY];

/** Wherever an applied state stands, or half of one. */
function* stateKeys(): Generator<Ask, string[], Answer> {
  return [...(yield* keysOf(areaRange('s'))), ...(yield* keysOf(areaRange('z')))];
}

/** @param kv gives opened records @throws RecordError, FormatError */
function readHeld(kv: KvReader): Held {
  const area = kv.get(AREA_KEY);
  const missing = kv.get(MISSING_KEY);
  const staging = kv.get(STAGING_KEY);
  return {
    area: area !== undefined && asText(decodeCbor(area), 1) === 'z' ? 'z' : 's',
    missing: missing === undefined ? Missing.NONE : Missing.decode(missing),
    staging: staging === undefined ? null : decodeStaging(staging),
  };
}

/**
 * Records that are whole can still be gone, each by itself: without its record, a promise would be none, and a prefix 0. The others speak of them. @throws FormatError
 */
function holdTogether(kv: KvReader, { promised, prefix, digest, accepted }: Restored, mark: Mark | null): void {
  const marked = mark === null || mark.promise === null ? null : decodeBallot(mark.promise);
  if (compareBallots(promised, marked) < 0) throw new FormatError('the promise that the mark names is gone');
  for (const [at, { ballot }] of accepted) {
    if (compareBallots(ballot, promised) > 0)
      throw new FormatError(`the promise behind what was accepted in slot ${at} is gone`);
  }
  if (kv.get(digestKey(prefix + 1)) !== undefined)
    throw new FormatError(`more than ${prefix} slots were known to be chosen`);
  if (prefix === 0) return;
  const record = kv.get(digestKey(prefix));
  if (record === undefined || !equal(decodeDigest(openRecord(digestKey(prefix), record)), digest)) {
    throw new FormatError(`the digest of slot ${prefix} is gone or another one`);
  }
}

/** A damaged store doesn't vote in any epoch; but it still knows which one it is in, if that can be read. */
function recoveryOfDamaged(kv: KvReader, proofs: readonly KvRow[], prefix: Slot): RecoveryRecords {
  try {
    return readRecovery(opening(kv), proofs, prefix);
  } catch (error) {
    if (isDamage(error)) return NO_RECOVERY;
    throw error;
  }
}

function readGroup(kv: KvReader): { genesisBytes: Uint8Array; incarnation: Incarnation } {
  const record = kv.get(GROUP_KEY);
  try {
    if (record === undefined) throw new FormatError('the record of the group is missing');
    const payload = unseal(GROUP_KEY, record, RECORD_VERSION).payload;
    const [, genesis, incarnation] = asArray(decodeCbor(payload), 3);
    return {
      genesisBytes: asBytes(genesis),
      incarnation: incarnationFromBytes(asBytes(incarnation, 16)),
    };
  } catch (error) {
    if (!isDamage(error)) throw error;
    if (error instanceof RecordError && error.code === 'NEWER_FORMAT') {
      throw new StoreError('NEWER_FORMAT', 'this store was written by a newer version of Synod', { cause: error });
    }
    throw new StoreError('CORRUPT', `the store can't be read any more: ${error.message}`, { cause: error });
  }
}

function acceptedExists(kv: KvReader, row: Cbor): boolean {
  try {
    const [at, ballot, hash] = asArray(row, 3);
    const key = logKey(asInteger(at));
    const record = kv.get(key);
    if (record === undefined) return false;
    const there = decodeLogRecord(openRecord(key, record), batchHash);
    // An older acceptance can come back from where a newer one was lost.
    const isSameBallot = equal(encodeCbor(encodeBallot(there.ballot)), encodeCbor(ballot as Cbor));
    return isSameBallot && equal(there.value.hash, asBytes(hash, 32));
  } catch (error) {
    if (isDamage(error)) return false;
    throw error;
  }
}

/** @throws RecordError, FormatError */
function readTail(kv: KvReader): Tail | null {
  const record = kv.get(TAIL_KEY);
  return record === undefined ? null : decodeTail(openRecord(TAIL_KEY, record));
}

function markFields(kv: KvReader): { promise: Cbor; lastOwnSeq: number } {
  const promise = kv.get('m/promise');
  const tail = readTail(kv);
  return {
    promise: promise ? decodeCbor(unseal('m/promise', promise, RECORD_VERSION).payload) : null,
    lastOwnSeq: tail?.seq ?? 0,
  };
}
