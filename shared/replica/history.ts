import { equal } from '../base/bytes.ts';
import { FormatError } from '../base/cbor.ts';
import { type PeerId, type Slot, slot } from '../base/ids.ts';
import type { KvOp, KvReader } from '../base/kv.ts';
import { nextDigest } from '../consensus/ledger.ts';
import { decodeValue, type Value } from '../consensus/value.ts';
import { batchHash } from '../document/index.ts';
import { decodeDigest, decodeLogRecord, digestKey, learnedRecord, logKey, MISSING_KEY } from '../driver/layout.ts';
import type { Missing, SlotRange } from '../driver/missing.ts';
import type { HistoryAsk, HistoryPart } from '../wire/snapshot-messages.ts';

const PART_BYTES = 256 * 1024;
const PART_VALUES = 256;
/** Without an answer for 5 s somebody else is asked. Ticks. */
const PATIENCE_TICKS = 100;

type OnDamage = (key: string, error: unknown) => void;

/** The values up to `to`, as many as fit, from the back. An empty answer says that they are not here, or can't be read; then that is told. */
export function serveHistory(
  kv: KvReader,
  missing: Missing,
  to: Slot,
  genesis: Uint8Array,
  onDamage: OnDamage,
): HistoryPart {
  const read = (key: string): Uint8Array | undefined => readOrTell(kv, key, onDamage);
  const values: Uint8Array[] = [];
  let bytes = 0;
  let at = to as number;
  for (; at >= 1 && values.length < PART_VALUES && missing.at(at) === null; at--) {
    const record = read(logKey(at));
    if (record === undefined) break;
    const { value } = decodeLogRecord(record, batchHash);
    if (bytes > 0 && bytes + value.bytes.length > PART_BYTES) break;
    bytes += value.bytes.length;
    values.unshift(value.bytes);
  }
  const digest = at === 0 ? genesis : read(digestKey(at));
  if (digest === undefined) return { type: 'history-part', to, values: [], before: genesis };
  return { type: 'history-part', to, values, before: decodeDigest(digest) };
}

/** Somebody's question must not end this peer over a record that is not what it was. */
function readOrTell(kv: KvReader, key: string, onDamage: OnDamage): Uint8Array | undefined {
  try {
    return kv.get(key);
  } catch (error) {
    onDamage(key, error);
    return undefined;
  }
}

export interface HistorySurroundings {
  readonly kv: KvReader;
  readonly genesis: Uint8Array;
  missing(): Missing;
  sources(): readonly PeerId[];
  ask(to: PeerId, ask: HistoryAsk): void;
  /** These ops, and from then on this is missing. */
  take(ops: readonly KvOp[], missing: Missing): void;
  isWritten(): boolean;
  onProblem(code: string, message: string): void;
  onDamage(key: string, error: unknown): void;
}

/**
 * Fetches what a snapshot skipped, backwards from where the log is known: each value chains to the digest after it, so a wrong one shows, whoever sent it. One
 * part at a time, and each on the disk before the next: it stays out of the way of everything else.
 */
export class HistoryFetch {
  readonly #around: HistorySurroundings;
  #asked: { readonly from: PeerId; readonly to: Slot; readonly sinceTick: number } | null = null;
  /** Who has not got it, until all were asked. */
  #without = new Set<PeerId>();

  constructor(around: HistorySurroundings) {
    this.#around = around;
  }

  tick(now: number, isWanted: boolean): void {
    if (this.#asked !== null && now - this.#asked.sinceTick >= PATIENCE_TICKS) {
      this.#without.add(this.#asked.from);
      this.#asked = null;
    }
    const last = this.#around.missing().ranges.at(-1);
    if (!isWanted || last === undefined || this.#asked !== null || !this.#around.isWritten()) return;
    const sources = this.#around.sources();
    const from = sources.find((peer) => !this.#without.has(peer));
    if (from === undefined) {
      this.#without = new Set();
      return;
    }
    this.#asked = { from, to: last.to, sinceTick: now };
    this.#around.ask(from, { type: 'history-ask', to: last.to });
  }

  onPart(from: PeerId, part: HistoryPart): void {
    const asked = this.#asked;
    if (asked === null || asked.from !== from || asked.to !== part.to) return;
    this.#asked = null;
    const gap = this.#around.missing().at(part.to);
    if (part.values.length === 0 || gap === null) {
      this.#without.add(from);
      return;
    }
    const taken = this.#chained(part, gap);
    if (taken === null) {
      this.#without.add(from);
      return this.#around.onProblem('BAD_HISTORY', `${from} sent values that don't chain to slot ${part.to}`);
    }
    this.#around.take(taken.ops, this.#around.missing().without(taken.filled));
  }

  /** What of a part fits into the gap, as records; null where it doesn't chain to what is known on both sides. */
  #chained(part: HistoryPart, gap: SlotRange): { readonly ops: KvOp[]; readonly filled: SlotRange } | null {
    const values = decoded(part.values);
    const after = this.#read(digestKey(part.to));
    if (values === null || after === undefined || values.length > part.to) return null;
    const first = part.to - values.length + 1;
    let digest = part.before;
    const ops: KvOp[] = [];
    const keep = (at: number, key: string, value: Uint8Array): void => {
      if (at >= gap.from) ops.push({ type: 'put', key, value });
    };
    for (const [i, value] of values.entries()) {
      const at = slot(first + i);
      if (at === gap.from && !equal(digest, this.#digestBefore(gap.from, digest))) return null;
      keep(at - 1, digestKey(at - 1), digest);
      digest = nextDigest(digest, at, value.hash);
      keep(at, logKey(at), learnedRecord(value));
    }
    if (!equal(digest, decodeDigest(after))) return null;
    return { ops, filled: { from: slot(Math.max(first, gap.from)), to: part.to } };
  }

  /** As it is known here: where the gap ends, history has to meet what was there before it. */
  #digestBefore(from: Slot, otherwise: Uint8Array): Uint8Array {
    if (from === 1) return this.#around.genesis;
    const record = this.#read(digestKey(from - 1));
    return record === undefined ? otherwise : decodeDigest(record);
  }

  #read(key: string): Uint8Array | undefined {
    return readOrTell(this.#around.kv, key, (damaged, error) => this.#around.onDamage(damaged, error));
  }
}

export const missingOp = (missing: Missing): KvOp => ({ type: 'put', key: MISSING_KEY, value: missing.encode() });

function decoded(values: readonly Uint8Array[]): Value[] | null {
  try {
    return values.map((bytes) => decodeValue(bytes, batchHash));
  } catch (error) {
    if (error instanceof FormatError) return null;
    throw error;
  }
}
