import type { KvOp, KvReader } from '../base/kv.ts';
import { STATE_PREFIX } from '../document/index.ts';
import type { KvRange } from '../driver/store.ts';

/** The two places where an applied state can stand. A snapshot is fetched into the one that is not in use. */
export type Area = 's' | 'z';

export const otherArea = (area: Area): Area => (area === 's' ? 'z' : 's');

const isState = (key: string): boolean => key.startsWith(STATE_PREFIX);

/** Where a state machine's record stands in this area. Other keys stay as they are. */
export const placed = (area: Area, key: string): string => (isState(key) ? area + key.slice(1) : key);

/** The state machine's own name of a key in this area. */
export const named = (key: string): string => `s${key.slice(1)}`;

export const areaRange = (area: Area): Pick<KvRange, 'gte' | 'lt'> => ({ gte: `${area}/`, lt: `${area}0` });

/** The state machine's records, wherever they stand. It knows them under `s/…` alone. */
export class StateArea implements KvReader {
  readonly area: Area;
  readonly #below: KvReader;

  constructor(below: KvReader, area: Area) {
    this.#below = below;
    this.area = area;
  }

  get(key: string): Uint8Array | undefined {
    return this.#below.get(placed(this.area, key));
  }

  ops(ops: readonly KvOp[]): readonly KvOp[] {
    return this.area === 's' ? ops : ops.map((op) => ({ ...op, key: placed(this.area, op.key) }));
  }
}
