import { InvariantError } from '../base/assert.ts';
import { toHex } from '../base/bytes.ts';
import type { PeerId, Slot } from '../base/ids.ts';

/** Slots whose state hashes are remembered. */
const HISTORY_MAX = 512;

/** The state hashes after the latest slots, to hold against what others announce (R10): equal applied slots mean equal states. */
export class States {
  readonly #hashes = new Map<Slot, string>();
  /** Members whose last comparable hash was another one. */
  readonly #disagreeing = new Set<PeerId>();

  applied(at: Slot, hash: Uint8Array): void {
    this.#hashes.set(at, toHex(hash));
    if (this.#hashes.size > HISTORY_MAX) this.#hashes.delete(this.#hashes.keys().next().value as Slot);
  }

  /**
   * Says whether `from` has come to differ. The one that differs from most is the wrong one; where that can't be told, nobody goes on.
   * @throws InvariantError where it is this peer that has to stop
   */
  differs(from: PeerId, at: Slot, hash: Uint8Array, members: number): boolean {
    const own = this.#hashes.get(at);
    if (own === undefined) return false;
    if (own === toHex(hash)) {
      this.#disagreeing.delete(from);
      return false;
    }
    if (this.#disagreeing.has(from)) return false;
    this.#disagreeing.add(from);
    if (this.#disagreeing.size * 2 >= members) {
      const others = this.#disagreeing.size;
      throw new InvariantError(`the applied state after slot ${at} differs from that of ${others} other members`);
    }
    return true;
  }
}
