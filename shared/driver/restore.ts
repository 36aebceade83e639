import { type Slot, slot } from '../base/ids.ts';
import type { KvReader } from '../base/kv.ts';
import type { InForce } from '../consensus/configuration.ts';
import type { Acceptance, Restored } from '../consensus/ledger.ts';
import type { HashPayload } from '../consensus/value.ts';
import {
  BLOCKED_KEY,
  decodeBlocked,
  decodeInForce,
  decodeLogRecord,
  decodePrefix,
  decodePromise,
  logKey,
  openRecord,
  PREFIX_KEY,
  PROMISE_KEY,
} from './layout.ts';
import { numberOfKey } from './records.ts';
import type { KvRange, KvRow } from './store.ts';

/** Configurations with force. Rare, so all of them are read. */
export const configurationsRange: KvRange = { gte: 'c/', lt: 'c0', limit: 1_000_000 };

/** Everything accepted above the prefix: at most α values and a few strays. */
export function acceptedRange(prefix: Slot): KvRange {
  return { gte: logKey(prefix + 1), lt: 'l0', limit: 100_000 };
}

/** The chosen prefix on the disk; slot 0 and the genesis' digest in a new store. */
export function storedPrefix(kv: KvReader, genesisDigest: Uint8Array): { prefix: Slot; digest: Uint8Array } {
  const record = kv.get(PREFIX_KEY);
  return record ? decodePrefix(record) : { prefix: slot(0), digest: genesisDigest };
}

/**
 * What the core starts from. `kv` gives opened records; the rows are sealed. @throws RecordError or FormatError where a record is damaged: corrupt is not absent, and such a store does
 * not vote.
 */
export function restoreLedger(
  kv: KvReader,
  from: {
    readonly genesisDigest: Uint8Array;
    readonly configurations: readonly KvRow[];
    readonly accepted: readonly KvRow[];
    readonly hash: HashPayload;
  },
): Restored {
  const { prefix, digest } = storedPrefix(kv, from.genesisDigest);
  const promise = kv.get(PROMISE_KEY);
  const blocked = kv.get(BLOCKED_KEY);
  const inForce: InForce[] = from.configurations.map(([key, record]) =>
    decodeInForce(slot(numberOfKey('c/', key)), openRecord(key, record)),
  );
  const accepted = new Map<Slot, Acceptance>();
  for (const [key, record] of from.accepted) {
    const { ballot, value } = decodeLogRecord(openRecord(key, record), from.hash);
    // A learned value stands above the prefix only where a batch was torn, which the journal would have found.
    if (ballot !== null) accepted.set(slot(numberOfKey('l/', key)), { ballot, value });
  }
  return {
    promised: promise ? decodePromise(promise) : null,
    prefix,
    digest,
    accepted,
    inForce,
    blockedFrom: blocked ? decodeBlocked(blocked) : null,
  };
}
