import { asArray, asBytes, asInteger, decodeCbor, encodeCbor, orNull } from '../base/cbor.ts';
import { type Slot, slot } from '../base/ids.ts';
import type { KvOp, KvReader } from '../base/kv.ts';
import { type Ballot, decodeBallot, encodeBallot } from '../consensus/ballot.ts';
import { decodeConfiguration, encodeConfiguration, type InForce } from '../consensus/configuration.ts';
import type { LogOp } from '../consensus/io.ts';
import { decodeValue, type HashPayload, type Value } from '../consensus/value.ts';
import { numberKey, RECORD_VERSION, unseal } from './records.ts';

/**
 * Where the consensus keeps what in a store. Every record is sealed (version, CRC-32C over key and bytes).
 *
 *   m/promise     the highest ballot promised
 *   m/prefix      [slot, digest] of the chosen prefix
 *   m/blocked     the first slot governed by a configuration that this version can't read
 *   l/<slot>      [ballot or null, value]: accepted under that ballot; up to the prefix, the chosen value
 *   d/<slot>      the digest at a chosen slot
 *   c/<slot>      [first slot that it governs, configuration]: one with force, by the slot where it was chosen
 *   m/missing     the slots of the prefix whose values are not here
 *   m/area        where the applied state stands: `s/…` or `z/…`
 *   m/staging     a snapshot that is being fetched into the other of the two
 *   m/renounced, m/recovered/…, m/recovering/…   forced recovery (`shared/replica/recovery-store.ts`)
 *
 * Beside them stand the journal's `t/…`, the state machine's `s/…` (or `z/…`), and the outbox' `o/…` and `x/…`.
 */
export const PROMISE_KEY = 'm/promise';
export const PREFIX_KEY = 'm/prefix';
export const BLOCKED_KEY = 'm/blocked';
export const MISSING_KEY = 'm/missing';
export const AREA_KEY = 'm/area';
export const STAGING_KEY = 'm/staging';
export const logKey = (at: number): string => numberKey('l/', at);
export const digestKey = (at: number): string => numberKey('d/', at);
export const configurationKey = (at: number): string => numberKey('c/', at);

const put = (key: string, value: Uint8Array): KvOp => ({ type: 'put', key, value });

/** As opened records: the overlay seals what leaves for the disk. */
export function logOps(op: LogOp): readonly KvOp[] {
  switch (op.type) {
    case 'promise':
      return [put(PROMISE_KEY, encodeCbor(encodeBallot(op.ballot)))];
    case 'accept':
      return [put(logKey(op.slot), encodeLogRecord(op.ballot, op.value))];
    case 'choose': {
      const ops = [put(digestKey(op.slot), op.digest), put(PREFIX_KEY, encodeCbor([op.slot, op.digest]))];
      if (op.value !== null) ops.push(put(logKey(op.slot), encodeLogRecord(null, op.value)));
      return ops;
    }
    case 'in-force':
      return [inForceOp(op.inForce)];
    case 'blocked':
      return [put(BLOCKED_KEY, encodeCbor(op.from))];
  }
}

function encodeLogRecord(ballot: Ballot | null, value: Value): Uint8Array {
  return encodeCbor([encodeBallot(ballot), value.bytes]);
}

/** A value that was learned, not accepted. */
export const learnedRecord = (value: Value): Uint8Array => encodeLogRecord(null, value);

export interface LogRecord {
  /** Null where the value was learned, not accepted. */
  readonly ballot: Ballot | null;
  readonly value: Value;
}

/** All of these take opened records and throw FormatError where one is not what it must be. */
export function decodeLogRecord(record: Uint8Array, hash: HashPayload): LogRecord {
  const [ballot, value] = asArray(decodeCbor(record), 2);
  return { ballot: orNull(ballot, decodeBallot), value: decodeValue(asBytes(value), hash) };
}

export function decodePromise(record: Uint8Array): Ballot {
  return decodeBallot(decodeCbor(record));
}

export function decodePrefix(record: Uint8Array): { prefix: Slot; digest: Uint8Array } {
  const [at, digest] = asArray(decodeCbor(record), 2);
  return { prefix: slot(asInteger(at)), digest: asBytes(digest, 32) };
}

export function decodeBlocked(record: Uint8Array): Slot {
  return slot(asInteger(decodeCbor(record)));
}

export function decodeDigest(record: Uint8Array): Uint8Array {
  return asBytes(record, 32);
}

export function inForceOp({ slot: at, from, configuration }: InForce): KvOp {
  return put(configurationKey(at), encodeCbor([from, encodeConfiguration(configuration)]));
}

export function decodeInForce(at: Slot, record: Uint8Array): InForce {
  const [from, configuration] = asArray(decodeCbor(record), 2);
  return { slot: at, from: slot(asInteger(from, at + 1)), configuration: decodeConfiguration(configuration) };
}

/** The disk's sealed records, opened as they are read. @throws RecordError */
export function opening(kv: KvReader): KvReader {
  return {
    get(key) {
      const record = kv.get(key);
      return record === undefined ? undefined : openRecord(key, record);
    },
  };
}

/** @throws RecordError */
export function openRecord(key: string, record: Uint8Array): Uint8Array {
  return unseal(key, record, RECORD_VERSION).payload;
}
