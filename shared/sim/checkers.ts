import { toHex } from '../base/bytes.ts';
import { position } from '../base/ids.ts';
import type { Replica } from '../replica/replica.ts';
import { check } from './check.ts';

/** Outside the core: what every replica says it has must be the same for all, and for ever. */
export class Agreement {
  readonly #digests = new Map<number, string>();
  readonly #states = new Map<number, string>();
  readonly #looked = new WeakMap<Replica, { prefix: number; applied: number }>();
  highest = 0;

  /** @param isState whether what it has applied counts, too: not where its records were damaged. */
  look(name: string, replica: Replica, isState: boolean): void {
    const { prefix, applied } = replica;
    const last = this.#looked.get(replica);
    if (last?.prefix === prefix && last.applied === applied) return;
    check(!last || (prefix >= last.prefix && applied >= last.applied), () => `${name} forgot what was committed`);
    this.#looked.set(replica, { prefix, applied });
    this.highest = Math.max(this.highest, prefix);
    this.#same(this.#digests, prefix, toHex(replica.inspect().digest), `${name}: digest at slot`);
    if (!isState) return;
    this.#same(this.#digests, applied, toHex(replica.appliedDigest), `${name}: digest of what is applied up to slot`);
    this.#same(this.#states, applied, toHex(replica.reader.stateHash()), `${name}: state after slot`);
  }

  /** Above this slot the log is another one now (R12). */
  forget(above: number): void {
    for (const known of [this.#digests, this.#states]) for (const at of known.keys()) if (at > above) known.delete(at);
  }

  #same(known: Map<number, string>, at: number, is: string, what: string): void {
    const was = known.get(at);
    if (was === undefined) known.set(at, is);
    else check(was === is, () => `${what} ${at} is ${is.slice(0, 8)}, and was ${was.slice(0, 8)} somewhere`);
  }
}

/** One text that somebody at a node wrote as a new entry. */
export interface Wish {
  readonly node: number;
  readonly text: string;
  /** Its number among the creations of that node. */
  readonly n: number;
  saved: boolean;
  position: number | null;
  refused: string | null;
  /** Its machine was wiped, or expelled, so nobody promises anything. */
  excused: boolean;
  /**
   * It was not judged yet when the machine's directory was copied, so two stores have it to offer. Neither can tell what the other one did: each signs it again as its own
   * once it is reborn (R7, R8). So it may stand twice, and not where its author's other entries leave room for it.
   */
  isShared: boolean;
}

/** Nothing saved is lost or doubled, each author's order is kept, and a place once told never changes. */
export function checkLog(replica: Replica, wishes: readonly Wish[]): number {
  const { reader } = replica;
  const byText = new Map(wishes.map((wish) => [wish.text, wish]));
  const seen = new Map<string, number>();
  const lastOf = new Map<number, number>();
  for (let at = 1; at <= reader.positions(); at++) {
    const entry = reader.entryAt(position(at));
    check(entry !== undefined, `position ${at} has no entry`);
    const first = reader.revisionOf(entry, 1).text ?? '';
    const wish = byText.get(first);
    check(wish !== undefined, `position ${at} holds what nobody wrote: ${first}`);
    check(!seen.has(first) || wish.isShared, `${first} stands at ${seen.get(first)} and at ${at}`);
    seen.set(first, at);
    if (!wish.isShared) {
      check((lastOf.get(wish.node) ?? 0) < wish.n, `node ${wish.node}'s order is broken at position ${at}: ${first}`);
      lastOf.set(wish.node, wish.n);
    }
    check(
      wish.isShared || wish.position === null || wish.position === at,
      `${first} was told to be at ${wish.position}, and is at ${at}`,
    );
    check(entry.position === at && reader.entry(entry.id)?.position === at, `the entry at ${at} says otherwise`);
  }
  for (const wish of wishes) {
    if (wish.refused !== null) check(!seen.has(wish.text), `${wish.text} was refused as ${wish.refused}, and is there`);
    else if (wish.saved && !wish.excused) check(seen.has(wish.text), `${wish.text} was saved, and is lost`);
  }
  return seen.size;
}
