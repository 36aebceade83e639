import { equal } from '../base/bytes.ts';
import { FormatError } from '../base/cbor.ts';
import { type Slot, slot } from '../base/ids.ts';
import type { KvReader } from '../base/kv.ts';
import { type Configuration, ConfigurationHistory } from '../consensus/configuration.ts';
import { nextDigest, type Restored } from '../consensus/ledger.ts';
import type { Value } from '../consensus/value.ts';
import { batchHash } from '../document/index.ts';
import { decodeDigest, decodeLogRecord, digestKey, logKey, openRecord } from '../driver/layout.ts';
import { RecordError } from '../driver/records.ts';

/**
 * What can be believed of a damaged store: the slots from the first on whose values are whole and chain to the digests beside them. What it had promised and
 * accepted above is of no use: it can't be told any more whether that is all.
 */
export function salvage(
  kv: KvReader,
  from: { readonly genesisDigest: Uint8Array; readonly alpha: number; readonly firstConfiguration: Configuration },
): Restored {
  let prefix = slot(0);
  let digest = from.genesisDigest;
  let blockedFrom: Slot | null = null;
  // Which configurations have force follows from the chosen values, so it is found again with them.
  const history = new ConfigurationHistory(from.alpha, from.firstConfiguration);
  for (let at = slot(1); ; at = slot(at + 1)) {
    const next = wholeValue(kv, at, digest);
    if (next === null) break;
    prefix = at;
    digest = next.digest;
    if (next.value.kind !== 'configuration') continue;
    if (next.value.configuration !== null) history.chosen(at, next.value.configuration);
    else blockedFrom ??= slot(at + from.alpha);
  }
  return { promised: null, prefix, digest, accepted: new Map(), inForce: history.all.slice(1), blockedFrom };
}

/** The value of slot `at` and the digest after it, where it is there, whole, and chains on from `before`; else null. */
export function wholeValue(kv: KvReader, at: Slot, before: Uint8Array): { value: Value; digest: Uint8Array } | null {
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

/** A record that is not what it was. */
export function isDamage(error: unknown): error is RecordError | FormatError {
  return error instanceof RecordError || error instanceof FormatError;
}
