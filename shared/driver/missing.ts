import { asArray, asInteger, type Cbor, decodeCbor, encodeCbor, FormatError } from '../base/cbor.ts';
import { type Slot, slot } from '../base/ids.ts';

/** Both ends belong to it. */
export interface SlotRange {
  readonly from: Slot;
  readonly to: Slot;
}

const RANGES_MAX = 4096;

/**
 * The slots of the chosen prefix whose values this store doesn't hold: dropped (R5), or skipped by a snapshot and not fetched yet. Ascending, apart from
 * each other. Never changed in place.
 */
export class Missing {
  readonly ranges: readonly SlotRange[];

  private constructor(ranges: readonly SlotRange[]) {
    this.ranges = ranges;
  }

  static readonly NONE: Missing = new Missing([]);

  get isEmpty(): boolean {
    return this.ranges.length === 0;
  }

  /** The range that `at` lies in, or null where its value is held. */
  at(at: number): SlotRange | null {
    return this.ranges.find(({ from, to }) => from <= at && at <= to) ?? null;
  }

  /** Anything of `from … to`? */
  meets(from: number, to: number): boolean {
    return this.ranges.some((range) => range.from <= to && from <= range.to);
  }

  with(added: SlotRange): Missing {
    if (added.from > added.to) return this;
    const ranges: SlotRange[] = [];
    let { from, to } = added;
    for (const range of this.ranges) {
      if (range.to < from - 1 || range.from > to + 1) ranges.push(range);
      else {
        from = slot(Math.min(from, range.from));
        to = slot(Math.max(to, range.to));
      }
    }
    return new Missing([...ranges, { from, to }].sort((a, b) => a.from - b.from));
  }

  without(held: SlotRange): Missing {
    return new Missing(
      this.ranges.flatMap((range) => {
        if (range.to < held.from || range.from > held.to) return [range];
        const rest: SlotRange[] = [];
        if (range.from < held.from) rest.push({ from: range.from, to: slot(held.from - 1) });
        if (range.to > held.to) rest.push({ from: slot(held.to + 1), to: range.to });
        return rest;
      }),
    );
  }

  encode(): Uint8Array {
    return encodeCbor(this.ranges.map(({ from, to }): Cbor => [from, to]));
  }

  /** @throws FormatError */
  static decode(bytes: Uint8Array): Missing {
    const rows = asArray(decodeCbor(bytes));
    if (rows.length > RANGES_MAX) throw new FormatError('too many ranges of missing slots');
    let last = -1;
    const ranges = rows.map((row): SlotRange => {
      const [from, to] = asArray(row, 2);
      const range = { from: slot(asInteger(from, 1)), to: slot(asInteger(to, 1)) };
      if (range.from <= last + 1 || range.to < range.from) throw new FormatError('ranges of missing slots overlap');
      last = range.to;
      return range;
    });
    return ranges.length === 0 ? Missing.NONE : new Missing(ranges);
  }
}
