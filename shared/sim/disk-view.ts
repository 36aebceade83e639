import { asArray, asBytes, asText, decodeCbor } from '../base/cbor.ts';
import { sha256 } from '../base/hash.ts';
import type { KvOp } from '../base/kv.ts';
import { type Ballot, decodeBallot } from '../consensus/ballot.ts';
import { appliedPlace } from '../document/index.ts';
import { AREA_KEY, decodePrefix, decodePromise, MISSING_KEY, PREFIX_KEY, PROMISE_KEY } from '../driver/layout.ts';
import { Missing } from '../driver/missing.ts';
import { numberOfKey } from '../driver/records.ts';
import { decodeTail, TAIL_KEY } from '../session/index.ts';

/** What stands in a slot's record. Values are named by the hash of their bytes. */
export interface DiskRow {
  /** Null where the value was learned. */
  readonly ballot: Ballot | null;
  readonly value: string;
}

export interface Landed {
  readonly rows: readonly (DiskRow & { readonly slot: number; readonly bytes: Uint8Array })[];
  readonly digests: readonly { readonly slot: number; readonly digest: Uint8Array }[];
  readonly configurations: readonly { readonly slot: number; readonly record: Uint8Array }[];
  readonly promisedBefore: Ballot | null;
  readonly prefixBefore: number;
  /** Slots whose values went, or were skipped by a snapshot. */
  readonly missingBefore: Missing;
}

/** One store's records, read from the very bytes that reached its disk: what the words of its node are held against. */
export class DiskView {
  readonly rows = new Map<number, DiskRow>();
  promised: Ballot | null = null;
  prefix = 0;
  /** Up to here the records are a former incarnation's: this one accepted none of it. */
  inheritedUpTo = 0;
  missing: Missing = Missing.NONE;
  ownSeq = 0;
  /** Up to which slot each area's state goes, and which of them counts. */
  readonly #applied = new Map<string, number>();
  #area = 's';

  /** Up to here values, or a state made from them, stand on this disk. */
  get durable(): number {
    const applied = this.#applied.get(this.#area) ?? 0;
    return this.missing.meets(applied + 1, this.prefix) ? applied : this.prefix;
  }

  copy(): DiskView {
    const copy = new DiskView();
    for (const [at, row] of this.rows) copy.rows.set(at, row);
    copy.promised = this.promised;
    copy.prefix = this.prefix;
    copy.inheritedUpTo = this.inheritedUpTo;
    copy.missing = this.missing;
    copy.ownSeq = this.ownSeq;
    for (const [area, at] of this.#applied) copy.#applied.set(area, at);
    copy.#area = this.#area;
    return copy;
  }

  /** What it stood for was made anew, in the first of the two places where it stood in the other one. */
  stateMadeAnew(): void {
    this.#applied.clear();
    this.#area = 's';
  }

  take(ops: readonly KvOp[]): Landed {
    const landed = {
      rows: [] as Landed['rows'][number][],
      digests: [] as Landed['digests'][number][],
      configurations: [] as Landed['configurations'][number][],
      promisedBefore: this.promised,
      prefixBefore: this.prefix,
      missingBefore: this.missing,
    };
    for (const op of ops) {
      if (op.type === 'del') {
        if (op.key.startsWith('l/')) this.rows.delete(numberOfKey('l/', op.key));
        continue;
      }
      const { key, value } = op;
      if (key.startsWith('l/')) {
        const read = readRow(key, value);
        const row = read.slot <= this.inheritedUpTo ? { ...read, ballot: null } : read;
        this.rows.set(row.slot, row);
        landed.rows.push(row);
      } else if (key.startsWith('d/')) landed.digests.push({ slot: numberOfKey('d/', key), digest: payload(value) });
      else if (key.startsWith('c/'))
        landed.configurations.push({ slot: numberOfKey('c/', key), record: payload(value) });
      else if (key === PROMISE_KEY) this.promised = decodePromise(payload(value));
      else if (key === PREFIX_KEY) this.prefix = decodePrefix(payload(value)).prefix;
      else if (key === MISSING_KEY) this.missing = Missing.decode(payload(value));
      else if (key === AREA_KEY) this.#area = asText(decodeCbor(payload(value)), 1);
      else if (key === 's/applied' || key === 'z/applied') {
        this.#applied.set(key.slice(0, 1), appliedPlace.codec.decode(payload(value)).slot);
      } else if (key === TAIL_KEY) this.ownSeq = decodeTail(payload(value)).seq;
    }
    return landed;
  }
}

export function readRow(key: string, record: Uint8Array): Landed['rows'][number] {
  const [ballot, value] = asArray(decodeCbor(payload(record)), 2);
  const bytes = asBytes(value);
  return {
    slot: numberOfKey('l/', key),
    ballot: ballot === null ? null : decodeBallot(ballot),
    value: valueName(bytes),
    bytes,
  };
}

/** Without version and check; those are the store's own business. */
const payload = (record: Uint8Array): Uint8Array => record.subarray(1, -4);

/** Values are compared by their bytes: 64 bits of their hash are enough to tell those of one seed apart. */
export function valueName(bytes: Uint8Array): string {
  const view = new DataView(sha256(bytes).slice().buffer);
  return view.getUint32(0).toString(36) + view.getUint32(4).toString(36);
}
