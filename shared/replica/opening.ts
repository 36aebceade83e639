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
import { compareBallots, decodeBallot } from '../consensus/ballot.ts';
import { type Configuration, ConfigurationHistory, majorities } from '../consensus/configuration.ts';
import { nextDigest, type Restored } from '../consensus/ledger.ts';
import type { Value } from '../consensus/value.ts';
import { decodeGenesis, type Genesis } from '../document/genesis.ts';
import { batchHash, genesisOps } from '../document/index.ts';
import type { JournalCore } from '../driver/journal.ts';
import { JOURNAL_KEYS, JournalCheck, TURN_RANGE } from '../driver/journal-check.ts';
import {
  damagedVerdict,
  type Turn as JournalTurn,
  type Mark,
  type Prepared,
  type Problem,
} from '../driver/journal-format.ts';
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
import { type KvRange, type KvRow, StoreError } from '../driver/store.ts';
import { type Area, areaRange } from './area.ts';
import { decodeStaging, type Staging } from './snapshot-fetch.ts';

/**
 *   m/group    [1, genesis, incarnation]: which group this store is of, and its own birth
 *   m/rebuilt  a damaged store's state was made anew from what of the log was whole
 */
export const GROUP_KEY = 'm/group';
const REBUILT_KEY = 'm/rebuilt';
const PAGE_ROWS = 1000;
/** What the mark of a store says that no longer votes. */
const NOTHING_SAID = { promise: null, lastOwnSeq: 0 };

/** What an opening asks of whoever has the disk; the answer goes into the generator's `next`. */
export type Ask =
  | { readonly type: 'scan'; readonly range: KvRange }
  | { readonly type: 'marks' }
  /** Batch, then mark, both on the disk. */
  | { readonly type: 'write'; readonly prepared: Prepared };

export type Answer = readonly KvRow[] | readonly [Uint8Array | null, Uint8Array | null] | undefined;

/** A group's store, verified, before the first input. */
export interface OpenedStore {
  readonly group: GroupId;
  readonly genesis: Genesis;
  readonly genesisBytes: Uint8Array;
  readonly firstConfiguration: Configuration;
  readonly incarnation: Incarnation;
  readonly journal: JournalCore;
  /** Empty for a sound store. Otherwise what was found: it does not vote. */
  readonly problems: readonly Problem[];
  readonly restored: Restored;
  /** Where the applied state stands. */
  readonly area: Area;
  /** What of the prefix is not here. */
  readonly missing: Missing;
  /** A snapshot that was being fetched. */
  readonly staging: Staging | null;
  readonly outbox: readonly KvRow[];
  readonly refused: readonly KvRow[];
  /** What the mark says was this store's last own command, or 0. */
  readonly markedOwnSeq: number;
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

/** Which group this is, and whose store. Everything else can be fetched again, this can't: so a store keeps it in a file of its own, too. */
export function groupRecord(genesisBytes: Uint8Array, incarnation: Incarnation): KvOp {
  return { type: 'put', key: GROUP_KEY, value: encodeCbor([1, genesisBytes, incarnationBytes(incarnation)]) };
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
 * Reads and verifies a store (R6). A damaged one is given as a reader: its state is made anew from the part of its log that is whole and chained, and the rest
 * comes from the peers.
 * @throws StoreError `CORRUPT` where not even the group can be told, `NEWER_FORMAT`
 */
export function* openStore(kv: KvReader): Generator<Ask, OpenedStore, Answer> {
  const { genesisBytes, incarnation } = readGroup(kv);
  const genesis = decodeGenesis(genesisBytes);
  const start = genesisDigest(genesisBytes);

  const check = new JournalCheck(
    {
      checkpoint: kv.get(JOURNAL_KEYS.checkpoint),
      damaged: kv.get(JOURNAL_KEYS.damaged),
      marks: (yield { type: 'marks' }) as readonly [Uint8Array | null, Uint8Array | null],
    },
    {
      incarnation: incarnationBytes(incarnation),
      acceptedExists: (row) => acceptedExists(kv, row),
      state: () => markFields(kv),
    },
  );
  for (const [key, record] of yield* scanAll(TURN_RANGE)) check.row(key, record);
  const { core: journal, verdict, repair } = check.finish();
  if (repair) {
    yield { type: 'write', prepared: repair };
    journal.committed();
  }

  let problems = verdict.sound ? [] : verdict.problems;
  let restored: Restored | null = null;
  let kept: Kept = ALL_KEPT;
  if (verdict.sound) {
    try {
      kept = readKept(opening(kv));
      restored = restoreLedger(opening(kv), {
        genesisDigest: start,
        configurations: yield* scanAll(configurationsRange),
        accepted: yield* scanAll(acceptedRange(storedPrefix(opening(kv), start).prefix)),
        hash: batchHash,
      });
      holdTogether(kv, restored, verdict.mark);
    } catch (error) {
      if (!isDamage(error)) throw error;
      restored = null;
      // Durable before anything else is done: what this acceptor had said can't be told any more, at no later start either.
      problems = [{ code: 'ACCEPTED_MISSING', message: error.message }];
      yield { type: 'write', prepared: journal.prepareMark(NOTHING_SAID, [damagedVerdict(problems)]) };
      journal.committed();
    }
  }
  if (restored === null) {
    const isNew = equal(journal.lastTurnHash, ZERO_HASH) || kv.get(REBUILT_KEY) === undefined || verdict.sound;
    kept = ALL_KEPT;
    restored = yield* salvage(kv, { genesis, genesisBytes, journal, rebuild: isNew });
  }
  return {
    group: groupIdOf(genesisBytes),
    genesis,
    genesisBytes,
    firstConfiguration: firstConfiguration(genesis, genesisBytes),
    incarnation,
    journal,
    problems,
    restored,
    ...kept,
    outbox: opened(yield* scanAll(prefixRange('o/'))),
    refused: opened(yield* scanAll(prefixRange('x/'))),
    markedOwnSeq: verdict.mark?.lastOwnSeq ?? 0,
  };
}

/** What a store holds of the log and the state, and where. */
type Kept = Pick<OpenedStore, 'area' | 'missing' | 'staging'>;

const ALL_KEPT: Kept = { area: 's', missing: Missing.NONE, staging: null };

/** @param kv gives opened records @throws RecordError, FormatError */
function readKept(kv: KvReader): Kept {
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
function holdTogether(kv: KvReader, { promised, prefix, digest, accepted }: Restored, mark: Mark): void {
  const marked = mark.promise === null ? null : decodeBallot(mark.promise);
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
    const [at, , hash] = asArray(row, 3);
    const key = logKey(asInteger(at));
    const record = kv.get(key);
    return (
      record !== undefined && equal(decodeLogRecord(openRecord(key, record), batchHash).value.hash, asBytes(hash, 32))
    );
  } catch (error) {
    if (isDamage(error)) return false;
    throw error;
  }
}

function markFields(kv: KvReader): { promise: Cbor; lastOwnSeq: number } {
  const promise = kv.get('m/promise');
  const seq = kv.get('m/own');
  return {
    promise: promise ? decodeCbor(unseal('m/promise', promise, RECORD_VERSION).payload) : null,
    lastOwnSeq: seq ? asInteger(decodeCbor(unseal('m/own', seq, RECORD_VERSION).payload)) : 0,
  };
}

function* scanAll(range: { readonly gte: string; readonly lt: string }): Generator<Ask, readonly KvRow[], Answer> {
  const rows: KvRow[] = [];
  for (let gte: string | null = range.gte; gte !== null; ) {
    const page = (yield { type: 'scan', range: { gte, lt: range.lt, limit: PAGE_ROWS } }) as readonly KvRow[];
    rows.push(...page);
    const last = page.at(-1);
    gte = last === undefined || page.length < PAGE_ROWS ? null : `${last[0]}\0`;
  }
  return rows;
}

/** Records of the layers above, opened; what is damaged is left out (the outbox says that commands are missing). */
function opened(rows: readonly KvRow[]): KvRow[] {
  return rows.flatMap(([key, record]): KvRow[] => {
    try {
      return [[key, unseal(key, record, RECORD_VERSION).payload]];
    } catch (error) {
      if (isDamage(error)) return [];
      throw error;
    }
  });
}

/**
 * What can be believed of a damaged store: the slots from the first on whose values are whole and chain to the digests beside them. Its applied state is
 * made anew from these. It never votes, so what it had accepted above is of no use.
 */
function* salvage(
  kv: KvReader,
  store: {
    readonly genesis: Genesis;
    readonly genesisBytes: Uint8Array;
    readonly journal: JournalCore;
    readonly rebuild: boolean;
  },
): Generator<Ask, Restored, Answer> {
  let prefix = slot(0);
  let digest = genesisDigest(store.genesisBytes);
  let blockedFrom: Slot | null = null;
  const ops: KvOp[] = [];
  // Which configurations have force follows from the chosen values, so it is found again with them.
  const history = new ConfigurationHistory(store.genesis.alpha, firstConfiguration(store.genesis, store.genesisBytes));
  for (let at = slot(1); ; at = slot(at + 1)) {
    const next = wholeValue(kv, at, digest);
    if (next === null) break;
    prefix = at;
    digest = next.digest;
    if (next.value.kind !== 'configuration') continue;
    if (next.value.configuration !== null) history.chosen(at, next.value.configuration);
    else blockedFrom ??= slot(at + store.genesis.alpha);
  }
  if (store.rebuild) {
    for (const area of ['s', 'z'] as const) {
      for (const [key] of yield* scanAll(areaRange(area))) ops.push({ type: 'del', key });
    }
    for (const key of [AREA_KEY, MISSING_KEY, STAGING_KEY]) ops.push({ type: 'del', key });
    ops.push(...genesisOps(store.genesisBytes).map(sealed));
    ops.push(sealed({ type: 'put', key: REBUILT_KEY, value: encodeCbor([]) }));
    ops.push(sealed({ type: 'put', key: PREFIX_KEY, value: encodeCbor([prefix, digest]) }));
    for (const [key] of yield* scanAll(acceptedRange(prefix))) ops.push({ type: 'del', key });
    const prepared = store.journal.prepare({ ops, accepted: [], promise: null, lastOwnSeq: 0 });
    yield { type: 'write', prepared };
    store.journal.committed();
  }
  return { promised: null, prefix, digest, accepted: new Map(), inForce: history.all.slice(1), blockedFrom };
}

/** The value of slot `at` and the digest after it, where it is there, whole, and chains on from `before`; else null. */
function wholeValue(kv: KvReader, at: Slot, before: Uint8Array): { value: Value; digest: Uint8Array } | null {
  const record = kv.get(logKey(at));
  const stored = kv.get(digestKey(at));
  if (!record || !stored) return null;
  try {
    const { value } = decodeLogRecord(openRecord(logKey(at), record), batchHash);
    const digest = nextDigest(before, at, value.hash);
    return equal(digest, decodeDigest(openRecord(digestKey(at), stored))) ? { value, digest } : null;
  } catch (error) {
    if (isDamage(error)) return null;
    throw error;
  }
}

function isDamage(error: unknown): error is RecordError | FormatError {
  return error instanceof RecordError || error instanceof FormatError;
}
