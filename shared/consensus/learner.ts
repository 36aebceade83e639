import { assert } from '../base/assert.ts';
import { equal } from '../base/bytes.ts';
import type { PeerId, Slot } from '../base/ids.ts';
import { type Ballot, sameBallot } from './ballot.ts';
import { FETCH_FAILURES_MAX, FETCH_TICKS, IN_FLIGHT_MAX, LAG_TICKS, NOT_HELD_TICKS } from './constants.ts';
import type { Effect } from './io.ts';
import { type Ledger, nextDigest } from './ledger.ts';
import type { Fetch, NotHeld, Values } from './messages.ts';
import type { Value } from './value.ts';

export interface LearnerSurroundings {
  /** A value joins the prefix. All choosing goes through here, so that the proposer sees what it did not choose itself. */
  choose(value: Value): void;
  /** Whom this peer hears lead right now: the leader's own word about new slots is on its way then. */
  leader(): PeerId | null;
  isHeard(peer: PeerId): boolean;
}

/** Learns what was chosen: by a leader's watermark where the local acceptance has that leader's ballot, else by fetching. */
export class Learner {
  readonly #ledger: Ledger;
  readonly #around: LearnerSurroundings;
  readonly #emit: (effect: Effect) => void;
  /** The longest prefix that each peer announced. */
  readonly #announced = new Map<PeerId, Slot>();
  #underWay: { readonly from: PeerId; readonly slot: Slot; readonly sinceTick: number } | null = null;
  #now = 0;
  #behindSinceTick: number | null = null;
  /** Fetches in a row that brought nothing. */
  #failures = 0;
  /** Who gave no answer, and when the last time. Ticks. */
  readonly #silent = new Map<PeerId, number>();
  /** Who said that it holds nothing before which slot; believed until the link breaks or for `NOT_HELD_TICKS`. */
  readonly #heldFrom = new Map<PeerId, { readonly slot: Slot; readonly sinceTick: number }>();
  #mayFetch = true;

  constructor(ledger: Ledger, around: LearnerSurroundings, emit: (effect: Effect) => void) {
    this.#ledger = ledger;
    this.#around = around;
    this.#emit = emit;
  }

  get fetchingFrom(): PeerId | null {
    return this.#underWay?.from ?? null;
  }

  /**
   * Base rule 3: a watermark says *that* slots are chosen, and *which* value only where the local acceptance is under that very ballot.
   * `digest` is the leader's at the watermark, where the message carries it.
   */
  onWatermark(from: PeerId, ballot: Ballot, watermark: Slot, digest: Uint8Array | null): void {
    while (this.#ledger.prefix < watermark) {
      const held = this.#ledger.accepted.get(this.#ledger.nextSlot);
      if (!held || !sameBallot(held.ballot, ballot)) break;
      this.#around.choose(held.value);
    }
    this.announce(from, watermark, digest);
    if (this.#ledger.prefix < watermark) this.fetchFrom(from);
  }

  /** `from` holds the committed log up to `prefix`. */
  announce(from: PeerId, prefix: Slot, digest: Uint8Array | null = null): void {
    if (digest !== null) this.#compare(from, prefix, digest);
    if (prefix > (this.#announced.get(from) ?? 0)) this.#announced.set(from, prefix);
  }

  /** Two peers with one prefix have one digest, or something is broken beyond repair by protocol. */
  #compare(from: PeerId, at: Slot, digest: Uint8Array): void {
    if (at !== this.#ledger.prefix) return;
    assert(equal(digest, this.#ledger.digest), 'equal prefixes have equal digests', { at, from });
  }

  fetchFrom(from: PeerId): void {
    if (!this.#mayFetch || this.#underWay || !this.#serves(from)) return;
    if (this.#lagBehind(from) <= 0) return;
    const next = this.#ledger.nextSlot;
    const to = this.#insteadOf(from);
    this.#underWay = { from: to, slot: next, sinceTick: this.#now };
    this.#emit({ type: 'send', to: [to], message: { type: 'fetch', from: next } });
  }

  #lagBehind(peer: PeerId): number {
    return (this.#announced.get(peer) ?? 0) - this.#ledger.prefix;
  }

  /** Serving takes time, and every commit waits for the leader: who lacks more than may be on its way fetches it from a follower, if one answers. */
  #insteadOf(from: PeerId): PeerId {
    if (from !== this.#around.leader()) return from;
    const follower = this.#peersAhead().find(
      (peer) => peer !== from && this.#lagBehind(peer) > IN_FLIGHT_MAX && this.#serves(peer) && !this.#silent.has(peer),
    );
    return follower ?? from;
  }

  onFetch(from: PeerId, m: Fetch): void {
    if (m.from > this.#ledger.prefix) return;
    this.#emit({ type: 'serve', to: from, from: m.from });
  }

  /** Somebody else may hold it; where nobody does, `lacksSource` says so, and a snapshot is the way. */
  onNotHeld(from: PeerId, m: NotHeld): void {
    if (this.#underWay?.from === from) this.#underWay = null;
    if (m.from !== this.#ledger.nextSlot || m.held <= m.from) return;
    this.#heldFrom.set(from, { slot: m.held, sinceTick: this.#now });
    const other = this.#peersAhead().find((peer) => this.#serves(peer));
    if (other !== undefined) this.fetchFrom(other);
  }

  /** While a snapshot is on its way, what it covers is not asked for. */
  setMayFetch(may: boolean): void {
    this.#mayFetch = may;
    if (!may) this.#underWay = null;
  }

  #serves(peer: PeerId): boolean {
    return (this.#heldFrom.get(peer)?.slot ?? 0) <= this.#ledger.nextSlot;
  }

  /** Somebody holds more, and nobody who does holds the next value. */
  get lacksSource(): boolean {
    const ahead = this.#peersAhead();
    return ahead.length > 0 && !ahead.some((peer) => this.#serves(peer));
  }

  onValues(from: PeerId, m: Values): void {
    if (this.#underWay?.from === from) this.#underWay = null;
    this.#silent.delete(from);
    this.announce(from, m.prefix);
    const { prefix } = this.#ledger;
    const skip = prefix + 1 - m.from;
    if (skip < 0 || skip >= m.values.length) return;
    const fresh = m.values.slice(skip);
    // The whole stretch is held against the announced digest before any of it is believed.
    let digest = this.#ledger.digest;
    let at = this.#ledger.prefix;
    for (const value of fresh) {
      at = (at + 1) as Slot;
      digest = nextDigest(digest, at, value.hash);
    }
    if (!equal(digest, m.digest)) {
      this.#announced.delete(from);
      this.#failures++;
      return;
    }
    this.#failures = 0;
    for (const value of fresh) this.#around.choose(value);
    this.fetchFrom(from);
  }

  tick(now: number): void {
    this.#now = now;
    if (this.#underWay && now - this.#underWay.sinceTick >= FETCH_TICKS) {
      // No answer: forget what that peer announced until it says so again, and ask another.
      this.#announced.delete(this.#underWay.from);
      this.#silent.set(this.#underWay.from, now);
      this.#failures++;
      this.#underWay = null;
    }
    for (const [peer, { sinceTick }] of this.#heldFrom) {
      if (now - sinceTick >= NOT_HELD_TICKS) this.#heldFrom.delete(peer);
    }
    const ahead = this.#peersAhead();
    if (ahead.length === 0) {
      this.#behindSinceTick = null;
      return;
    }
    this.#behindSinceTick ??= now;
    if (this.#underWay) return;
    if (this.#around.leader() !== null && now - this.#behindSinceTick < LAG_TICKS) return;
    const source = ahead.find((peer) => this.#serves(peer));
    if (source !== undefined) this.fetchFrom(source);
  }

  /** Does somebody who can be heard hold more than this peer? Not believed any more once nobody served it. */
  get isBehind(): boolean {
    return this.#failures < FETCH_FAILURES_MAX && this.#peersAhead().length > 0;
  }

  #peersAhead(): PeerId[] {
    const { prefix } = this.#ledger;
    return [...this.#announced]
      .filter(([peer, announced]) => announced > prefix && this.#around.isHeard(peer))
      .sort((a, b) => this.#silence(a[0]) - this.#silence(b[0]) || b[1] - a[1] || (a[0] < b[0] ? -1 : 1))
      .map(([peer]) => peer);
  }

  /** Whoever gave no answer comes after all who may, and the one who gave none last comes last: it may be heard and not hear. */
  #silence(peer: PeerId): number {
    return this.#silent.get(peer) ?? 0;
  }

  /** A peer's restart or removal: what it said before says nothing any more. */
  forget(peer: PeerId): void {
    this.#silent.delete(peer);
    this.#announced.delete(peer);
    this.#heldFrom.delete(peer);
    if (this.#underWay?.from === peer) this.#underWay = null;
  }

  inspect(): { fetching: string | null } {
    return { fetching: this.#underWay ? `${this.#underWay.slot} from ${this.#underWay.from}` : null };
  }
}
