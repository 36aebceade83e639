import { assert } from '../base/assert.ts';
import { equal, toHex } from '../base/bytes.ts';
import { asArray, asBytes, asInteger, type Cbor, decodeCbor, encodeCbor, FormatError } from '../base/cbor.ts';
import { HASH_BYTES } from '../base/hash.ts';
import type { PeerId, Slot } from '../base/ids.ts';
import { slot } from '../base/ids.ts';
import type { KvOp, KvReader } from '../base/kv.ts';
import { type Configuration, ConfigurationHistory } from '../consensus/configuration.ts';
import type { Restored } from '../consensus/ledger.ts';
import { decodeValue, type Value } from '../consensus/value.ts';
import { batchHash } from '../document/index.ts';
import {
  decodeLogRecord,
  digestKey,
  inForceOp,
  learnedRecord,
  logKey,
  openRecord,
  PREFIX_KEY,
  STAGING_KEY,
} from '../driver/layout.ts';
import { numberKey, prefixRange } from '../driver/records.ts';
import type { KvRange, KvRow } from '../driver/store.ts';
import { SURVIVORS_MAX } from '../wire/session-messages.ts';
import { type Outcome, outcomeOf, type Start } from './recovery.ts';
import { decodeRenunciation, type Renunciation, type Report } from './recovery-consent.ts';

/**
 * What forced recovery (R12) keeps in a store. STORED FORMATS, version 1; sealed as all records are:
 *
 *   m/renounced          CBOR [1, own renunciation, [others' renunciations …]]: this store takes no part in that epoch any more, and whom it has heard of since
 *   m/recovered/<epoch>  CBOR [1, epoch (32), slot, [renunciations of all survivors …]]: the proof that this epoch began in that slot, under the first 16 hex digits
 *                        of it. A store whose prefix is before the newest one's slot follows that epoch and has not reached it.
 *   m/recovering/<slot>  a value that a survivor accepted there, fetched for the recovered log
 */
const RENOUNCED_KEY = 'm/renounced';
const PROOF = 'm/recovered/';
const FETCHED = 'm/recovering/';
const VERSION = 1;
const ALL_ROWS = 1_000_000;

export const proofsRange: KvRange = { ...prefixRange(PROOF), limit: ALL_ROWS };
export const fetchedKey = (at: Slot): string => numberKey(FETCHED, at);

/** A consent that was given here. */
export interface Renounced {
  readonly own: Renunciation;
  readonly others: readonly Renunciation[];
}

/** An epoch that others began. */
export interface Followed {
  readonly epoch: Uint8Array;
  /** Where its first configuration stands. */
  readonly slot: Slot;
}

/** That an epoch followed from another one. */
export interface Proof extends Followed {
  readonly renunciations: readonly Renunciation[];
}

export interface RecoveryRecords {
  readonly renounced: Renounced | null;
  /** The newest, as long as its first slot is not reached. */
  readonly followed: Followed | null;
  /** Each following on the one before. */
  readonly proofs: readonly Proof[];
}

export const NO_RECOVERY: RecoveryRecords = { renounced: null, followed: null, proofs: [] };

/** @param kv gives opened records @param proofs sealed rows of `proofsRange` @throws RecordError, FormatError */
export function readRecovery(kv: KvReader, proofs: readonly KvRow[], prefix: Slot): RecoveryRecords {
  const renounced = kv.get(RENOUNCED_KEY);
  const inOrder = chained(proofs.map(([key, record]) => decodeProof(openRecord(key, record))));
  const newest = inOrder.at(-1);
  return {
    renounced: renounced === undefined ? null : decodeRenounced(renounced),
    followed: newest !== undefined && prefix < newest.slot ? newest : null,
    proofs: inOrder,
  };
}

/** Slots don't tell the order: a later recovery may have begun with less. */
function chained(proofs: readonly Proof[]): readonly Proof[] {
  const beganIn = ({ renunciations }: Proof): Uint8Array | undefined => renunciations[0]?.epoch;
  const follows = (a: Proof, b: Proof): boolean => equal(beganIn(a) ?? a.epoch, b.epoch);
  let next = proofs.find((proof) => !proofs.some((other) => follows(proof, other)));
  const chain: Proof[] = [];
  while (next !== undefined && !chain.includes(next)) {
    chain.push(next);
    const last: Proof = next;
    next = proofs.find((proof) => follows(proof, last));
  }
  return chain;
}

/** Whether a store may promise and accept, as far as recovery has a say in it. */
export const votesIn = ({ renounced, followed }: RecoveryRecords): boolean => renounced === null && followed === null;

/** What this store is in before anybody has answered: the newest configuration's, or the one that it follows. */
export function epochOf({ followed }: RecoveryRecords, newest: Configuration): Uint8Array {
  return followed?.epoch ?? newest.epoch;
}

/** All consents of the recovery under way that are here. */
export const consentsOf = ({ own, others }: Renounced): readonly Renunciation[] => [own, ...others];

/** What this store would say of itself if it renounced now. */
export function reportOf(
  store: { restored: Restored; isSound: boolean; incarnation: Report['incarnation'] },
  start: Start,
): Report {
  const { restored, incarnation, isSound } = store;
  const { prefix, digest, accepted } = restored;
  const history = new ConfigurationHistory(start.alpha, start.first, restored.inForce);
  const open = history.all.filter((c) => (history.endOf(c) ?? Number.POSITIVE_INFINITY) > prefix + 1);
  return {
    incarnation,
    votes: isSound,
    prefix,
    digest,
    inForce: open,
    accepted: [...accepted]
      .sort(([a], [b]) => a - b)
      .map(([at, { ballot, value }]) => ({
        slot: at,
        ballot,
        hash: value.hash,
        configuration: value.kind === 'configuration' ? value.bytes : null,
      })),
  };
}

/** The batch of a consent. A snapshot that was being fetched is let go: it may reach beyond what the survivors go on with. */
export function renounceOps(own: Renunciation): readonly KvOp[] {
  return [renouncedOp({ own, others: [] }), { type: 'del', key: STAGING_KEY }];
}

export function renouncedOp({ own, others }: Renounced): KvOp {
  return { type: 'put', key: RENOUNCED_KEY, value: encodeCbor([VERSION, own.bytes, others.map((r) => r.bytes)]) };
}

/** A store that is before its slot goes over to that epoch by it, and doesn't vote until it is there. */
export function proofOp({ epoch, slot: at, renunciations }: Proof): KvOp {
  const value = encodeCbor([VERSION, epoch, at, renunciations.map((r) => r.bytes)]);
  return { type: 'put', key: PROOF + toHex(epoch).slice(0, 16), value };
}

/** Nothing is under way here any more: neither a consent nor a snapshot of the old epoch. */
export const renouncedNoMore: readonly KvOp[] = [
  { type: 'del', key: RENOUNCED_KEY },
  { type: 'del', key: STAGING_KEY },
];

/**
 * The one batch that makes the recovered log a survivor's own: the values that stand above its prefix, what has force in them, and the proof in place of the
 * consent. Everything that it had accepted is overwritten by that.
 * @param at where this store's log ends: at the outcome's prefix or after it @param held what this store has of the values that the outcome itself doesn't say
 */
export function settleOps(
  outcome: Outcome,
  renunciations: readonly Renunciation[],
  at: { readonly prefix: Slot; readonly digest: Uint8Array },
  held: (at: Slot, hash: Uint8Array) => Value | null,
): readonly KvOp[] {
  const ops: KvOp[] = [
    proofOp({ epoch: outcome.epoch, slot: outcome.at, renunciations }),
    { type: 'del', key: RENOUNCED_KEY },
    ...outcome.values.map((row): KvOp => ({ type: 'del', key: fetchedKey(row.slot) })),
  ];
  if (at.prefix >= outcome.at) return ops;
  const before = at.prefix === outcome.prefix ? outcome.digest : outcome.values[at.prefix - outcome.prefix - 1]?.digest;
  assert(before !== undefined && equal(before, at.digest), 'a recovered log follows on its survivor’s own', at.prefix);
  for (const row of outcome.values) {
    if (row.slot <= at.prefix) continue;
    const value = row.bytes === null ? held(row.slot, row.hash) : decodeValue(row.bytes, batchHash);
    assert(value !== null && equal(value.hash, row.hash), 'a recovered value is the one that was reported', row.slot);
    assert(row.bytes !== null || value.kind === 'commands', 'what takes force is reported as what it is', row.slot);
    ops.push({ type: 'put', key: logKey(row.slot), value: learnedRecord(value) });
    ops.push({ type: 'put', key: digestKey(row.slot), value: row.digest });
  }
  const last = outcome.values.at(-1);
  ops.push(...outcome.inForce.filter((c) => c.slot > at.prefix).map(inForceOp));
  ops.push({ type: 'put', key: PREFIX_KEY, value: encodeCbor([outcome.at, last?.digest ?? outcome.digest]) });
  return ops;
}

/** The value with this hash that the store holds in this slot, accepted, chosen or fetched; null where it holds none. */
export function heldValue(kv: KvReader, at: Slot, hash: Uint8Array): Value | null {
  const fetched = kv.get(fetchedKey(at));
  for (const record of [kv.get(logKey(at)), fetched]) {
    if (record === undefined) continue;
    const { value } = decodeLogRecord(record, batchHash);
    if (equal(value.hash, hash)) return value;
  }
  return null;
}

function decodeRenounced(bytes: Uint8Array): Renounced {
  const [version, own, others] = asArray(decodeCbor(bytes), 3);
  if (version !== VERSION) throw new FormatError('a consent of another version');
  return { own: decodeRenunciation(asBytes(own)), others: renunciationsIn(others) };
}

function decodeProof(bytes: Uint8Array): Proof {
  const [version, epoch, at, renunciations] = asArray(decodeCbor(bytes), 4);
  if (version !== VERSION) throw new FormatError('a proof of another version');
  return {
    slot: slot(asInteger(at, 1)),
    epoch: asBytes(epoch, HASH_BYTES),
    renunciations: renunciationsIn(renunciations),
  };
}

function renunciationsIn(value: Cbor | undefined): readonly Renunciation[] {
  const items = asArray(value);
  if (items.length > SURVIVORS_MAX) throw new FormatError('more renunciations than survivors');
  return items.map((bytes) => decodeRenunciation(asBytes(bytes)));
}

/** The survivors' outcome as far as this store knows, or null while it waits for somebody. */
export function decided(renounced: Renounced | null, start: Start): Outcome | null {
  if (renounced === null) return null;
  const outcome = outcomeOf(consentsOf(renounced), start);
  return typeof outcome === 'string' ? null : outcome;
}

/** Those who have consented here, without the one that is meant. */
export const withoutPeer = (renunciations: readonly Renunciation[], peer: PeerId): readonly Renunciation[] =>
  renunciations.filter((r) => r.peer !== peer);
