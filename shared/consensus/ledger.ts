import { assert } from '../base/assert.ts';
import { equal } from '../base/bytes.ts';
import { hashFor } from '../base/hash.ts';
import { type Incarnation, type PeerId, type Slot, slot } from '../base/ids.ts';
import { type Ballot, compareBallots, showBallot } from './ballot.ts';
import { type Configuration, ConfigurationHistory, type InForce } from './configuration.ts';
import type { Effect } from './io.ts';
import type { Value } from './value.ts';

export interface Acceptance {
  readonly ballot: Ballot;
  readonly value: Value;
}

/** What the disk held when the peer started. For a new store: `prefix` 0, the genesis' digest, and nothing else. */
export interface Restored {
  readonly promised: Ballot | null;
  readonly prefix: Slot;
  readonly digest: Uint8Array;
  /** Accepted above the prefix. */
  readonly accepted: ReadonlyMap<Slot, Acceptance>;
  /** With force after the genesis', in order. */
  readonly inForce: readonly InForce[];
  /** The first slot governed by a configuration that this version couldn't read, or null. */
  readonly blockedFrom: Slot | null;
}

export interface Self {
  readonly peer: PeerId;
  readonly incarnation: Incarnation;
}

/** digest(i) = H(digest(i−1) ‖ i, 8 bytes big-endian ‖ hash of the value chosen in i). The genesis' own digest stands at 0. */
export function nextDigest(previous: Uint8Array, at: Slot, valueHash: Uint8Array): Uint8Array {
  const number = new Uint8Array(8);
  new DataView(number.buffer).setBigUint64(0, BigInt(at));
  return hashFor('digest', previous, number, valueHash);
}

/**
 * What this peer knows and has said, shared by the roles: its promise, what it accepted, and its chosen prefix with the configurations in it.
 * Every change to it leaves as a `persist` effect, so the disk holds just this.
 */
export class Ledger {
  readonly self: Self;
  readonly history: ConfigurationHistory;
  readonly #accepted: Map<Slot, Acceptance>;
  readonly #emit: (effect: Effect) => void;
  #promised: Ballot | null;
  #prefix: Slot;
  #digest: Uint8Array;
  #blockedFrom: Slot | null;
  /** The highest round seen anywhere; the next campaign goes above it. */
  roundSeen: number;

  constructor(init: {
    readonly self: Self;
    readonly alpha: number;
    readonly genesis: Configuration;
    readonly restored: Restored;
    readonly emit: (effect: Effect) => void;
  }) {
    const { restored } = init;
    this.self = init.self;
    this.history = new ConfigurationHistory(init.alpha, init.genesis, restored.inForce);
    this.#emit = init.emit;
    this.#promised = restored.promised;
    this.#prefix = restored.prefix;
    this.#digest = restored.digest;
    this.#accepted = new Map(restored.accepted);
    this.#blockedFrom = restored.blockedFrom;
    this.roundSeen = restored.promised?.round ?? 0;
    for (const [at, { ballot }] of this.#accepted) {
      assert(at > restored.prefix, 'accepted values are listed above the prefix only', { at, prefix: restored.prefix });
      assert(compareBallots(ballot, restored.promised) <= 0, 'accepting promises', showBallot(ballot));
    }
  }

  get promised(): Ballot | null {
    return this.#promised;
  }
  /** Every slot up to here is committed and its value is held. */
  get prefix(): Slot {
    return this.#prefix;
  }
  get digest(): Uint8Array {
    return this.#digest;
  }
  get accepted(): ReadonlyMap<Slot, Acceptance> {
    return this.#accepted;
  }
  get nextSlot(): Slot {
    return slot(this.#prefix + 1);
  }
  /** The last slot whose configuration this prefix determines. */
  get horizon(): Slot {
    return slot(this.#prefix + this.history.alpha);
  }
  get blockedFrom(): Slot | null {
    return this.#blockedFrom;
  }

  /** The configurations that govern an open slot as far as is known: one, or two while a change is under way. */
  window(): readonly InForce[] {
    const governing = this.history.governing(this.nextSlot);
    const newest = this.history.newest;
    return governing === newest ? [newest] : [governing, newest];
  }

  see(ballot: Ballot | null): void {
    if (ballot !== null && ballot.round > this.roundSeen) this.roundSeen = ballot.round;
  }

  /** Base rule 2 goes through here too. No effect where the ballot is promised already. */
  promise(ballot: Ballot): void {
    const order = compareBallots(ballot, this.#promised);
    assert(order >= 0, 'a promise is never lowered', { to: ballot, from: this.#promised });
    if (order === 0) return;
    this.#promised = ballot;
    this.see(ballot);
    this.#emit({ type: 'persist', op: { type: 'promise', ballot } });
  }

  accept(at: Slot, ballot: Ballot, value: Value): void {
    assert(at > this.#prefix, 'only open slots are accepted', { at, prefix: this.#prefix });
    this.promise(ballot);
    this.#accepted.set(at, { ballot, value });
    this.#emit({ type: 'persist', op: { type: 'accept', slot: at, ballot, value } });
  }

  /** The prefix grows by one: `value` is what was chosen in the slot after it. Returns the configuration that took force, if one did. */
  choose(value: Value): InForce | null {
    const at = this.nextSlot;
    const held = this.#accepted.get(at);
    const isHeld = held !== undefined && equal(held.value.hash, value.hash);
    this.#digest = nextDigest(this.#digest, at, value.hash);
    this.#accepted.delete(at);
    this.#emit({
      type: 'persist',
      op: { type: 'choose', slot: at, digest: this.#digest, value: isHeld ? null : value },
    });
    let inForce: InForce | null = null;
    if (value.kind === 'configuration') {
      if (value.configuration === null) {
        if (this.#blockedFrom === null) {
          this.#blockedFrom = slot(at + this.history.alpha);
          this.#emit({ type: 'persist', op: { type: 'blocked', from: this.#blockedFrom } });
        }
      } else {
        inForce = this.history.chosen(at, value.configuration);
        if (inForce) this.#emit({ type: 'persist', op: { type: 'in-force', inForce } });
      }
    }
    this.#prefix = at;
    this.#emit({ type: 'commit', slot: at, value, digest: this.#digest });
    return inForce;
  }
}
