import { assert } from '../base/assert.ts';
import { concat, equal } from '../base/bytes.ts';
import { encodeCbor } from '../base/cbor.ts';
import { hashFor } from '../base/hash.ts';
import { type Incarnation, type PeerId, type Slot, slot } from '../base/ids.ts';
import { type Ballot, compareBallots, encodeBallot, sameBallot, showBallot } from './ballot.ts';
import { type InForce, isVoter } from './configuration.ts';
import { PROMISE_PART_BYTES } from './constants.ts';
import type { Effect } from './io.ts';
import type { Ledger } from './ledger.ts';
import type { Accept, AcceptedValue, Behind, Message, Nack, Prepare } from './messages.ts';
import type { Value } from './value.ts';

/** What the acceptor asks of the other roles. */
export interface AcceptorSurroundings {
  /** Does this peer or a neighbour hear a leader, other than `but`, that has its quorum? (rule R11) */
  hearsLeaderBut(but: PeerId, transferFrom: Ballot | null): boolean;
  /** The sender's watermark, which comes with every Accept. */
  watermark(from: PeerId, ballot: Ballot, watermark: Slot): void;
  /**
   * Where this peer does not itself hold everything below the first slot of `governing`: full voters of it do, so many that every phase-1 quorum meets one
   * (rule R2).
   */
  isHeld(governing: InForce): boolean;
  /** This peer lacks chosen values that `from` has. */
  fetch(from: PeerId): void;
}

/**
 * The voter: promises and accepts. It answers everything that it gets, if need be with a refusal that says why, and each answer leaves only after
 * what it speaks of is on the disk. A damaged store doesn't vote at all.
 */
export class Acceptor {
  readonly #ledger: Ledger;
  readonly #votes: boolean;
  readonly #around: AcceptorSurroundings;
  readonly #emit: (effect: Effect) => void;
  /** Acceptances of this turn, told in one message each at its end. */
  readonly #toTell = new Map<PeerId, { ballot: Ballot; slots: Slot[] }>();

  constructor(ledger: Ledger, votes: boolean, around: AcceptorSurroundings, emit: (effect: Effect) => void) {
    this.#ledger = ledger;
    this.#votes = votes;
    this.#around = around;
    this.#emit = emit;
  }

  onPrepare(from: PeerId, incarnation: Incarnation, m: Prepare): void {
    const { self, promised, history } = this.#ledger;
    this.#ledger.see(m.ballot);
    if (!this.#votes || m.ballot.peer !== from || m.ballot.incarnation !== incarnation) return;
    if (compareBallots(m.ballot, promised) < 0) return this.#nack(from, m.ballot, 'ballot');
    const lacks = this.#whoLacks(m.configuration, m.slot);
    if (lacks !== null) return this.#behind(from, m.ballot, m.slot, lacks);
    const governing = history.governing(m.slot);
    if (!isVoter(governing.configuration, self.peer, self.incarnation) || this.#blocked(m.slot)) return;
    // A ballot promised before is granted again: its leader prepares a further configuration, or didn't hear the answer.
    if (from !== self.peer && !sameBallot(m.ballot, promised) && this.#around.hearsLeaderBut(from, m.transferFrom)) {
      return this.#nack(from, m.ballot, 'leader');
    }
    this.#ledger.promise(m.ballot);
    this.#sendPromise(from, m);
  }

  #sendPromise(to: PeerId, m: Prepare): void {
    const { prefix, digest, accepted } = this.#ledger;
    const rows: AcceptedValue[] = [...accepted]
      .map(([at, { ballot, value }]) => ({ slot: at, ballot, value }))
      .sort((a, b) => a.slot - b.slot);
    const parts: AcceptedValue[][] = [[]];
    let bytes = 0;
    for (const row of rows) {
      if (bytes > 0 && bytes + row.value.bytes.length > PROMISE_PART_BYTES) {
        parts.push([]);
        bytes = 0;
      }
      (parts[parts.length - 1] as AcceptedValue[]).push(row);
      bytes += row.value.bytes.length;
    }
    const listing = hashFor(
      'value',
      ...rows.map((row) => concat(encodeCbor([row.slot, encodeBallot(row.ballot)]), row.value.hash)),
    ).slice(0, 8);
    parts.forEach((part, i) => {
      this.#reply(to, {
        type: 'promise',
        ballot: m.ballot,
        configuration: m.configuration,
        floor: prefix,
        digest,
        listing,
        part: i,
        parts: parts.length,
        accepted: part,
      });
    });
  }

  onAccept(from: PeerId, incarnation: Incarnation, m: Accept): void {
    const { self, history } = this.#ledger;
    this.#ledger.see(m.ballot);
    if (m.ballot.peer !== from || m.ballot.incarnation !== incarnation) return;
    if (!this.#votes) return this.#around.watermark(from, m.ballot, m.watermark);
    if (compareBallots(m.ballot, this.#ledger.promised) < 0) return this.#nack(from, m.ballot, 'ballot');
    this.#around.watermark(from, m.ballot, m.watermark);
    if (m.slot <= this.#ledger.prefix) return this.#behind(from, m.ballot, m.slot, 'you');
    const lacks = this.#whoLacks(m.configuration, m.slot);
    if (lacks !== null) return this.#behind(from, m.ballot, m.slot, lacks);
    const governing = history.governing(m.slot);
    // Handover (R2): nothing of a configuration is accepted before everything below its first slot is held.
    if (this.#ledger.prefix < governing.from - 1 || !this.#around.isHeld(governing)) {
      return this.#behind(from, m.ballot, m.slot, 'me');
    }
    if (!isVoter(governing.configuration, self.peer, self.incarnation) || this.#blocked(m.slot)) return;

    // Only forced recovery changes the epoch, and never by a vote.
    if (!isOfEpoch(m.value, governing)) return;
    const held = this.#ledger.accepted.get(m.slot);
    if (held && sameBallot(held.ballot, m.ballot)) {
      assert(equal(held.value.hash, m.value.hash), 'one value per slot and ballot', {
        slot: m.slot,
        ballot: showBallot(m.ballot),
      });
    } else {
      this.#ledger.accept(m.slot, m.ballot, m.value);
    }
    const tell = this.#toTell.get(from);
    if (tell && sameBallot(tell.ballot, m.ballot)) tell.slots.push(m.slot);
    else {
      if (tell) this.#tell(from, tell);
      this.#toTell.set(from, { ballot: m.ballot, slots: [m.slot] });
    }
  }

  /** All acceptances of the turn in one answer to each leader. */
  turnEnd(): void {
    for (const [to, tell] of this.#toTell) this.#tell(to, tell);
    this.#toTell.clear();
  }

  #tell(to: PeerId, { ballot, slots }: { ballot: Ballot; slots: Slot[] }): void {
    this.#reply(to, { type: 'accepted', ballot, slots, prefix: this.#ledger.prefix });
  }

  /** Null where this peer knows what governs `at` and it is what the sender named. */
  #whoLacks(configuration: Slot, at: Slot): Behind['lacks'] | null {
    const { history, prefix } = this.#ledger;
    if (prefix < at - history.alpha) return 'me';
    return history.governing(at).slot === configuration ? null : 'you';
  }

  #blocked(at: Slot): boolean {
    const { blockedFrom } = this.#ledger;
    return blockedFrom !== null && at >= blockedFrom;
  }

  #behind(to: PeerId, ballot: Ballot, at: Slot, lacks: Behind['lacks']): void {
    const { prefix, digest } = this.#ledger;
    this.#reply(to, { type: 'behind', ballot, slot: slot(at), lacks, prefix, digest });
    if (lacks === 'me') this.#around.fetch(to);
  }

  #nack(to: PeerId, ballot: Ballot, reason: Nack['reason']): void {
    this.#reply(to, { type: 'nack', ballot, promised: this.#ledger.promised, reason });
  }

  #reply(to: PeerId, message: Message): void {
    this.#emit({ type: 'sendAfterPersist', to: [to], message });
  }
}

const isOfEpoch = (value: Value, { configuration: { epoch } }: InForce): boolean =>
  value.kind !== 'configuration' || value.configuration === null || equal(value.configuration.epoch, epoch);
