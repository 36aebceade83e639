import { equal, toHex } from '../base/bytes.ts';
import { FormatError } from '../base/cbor.ts';
import type { Verifier } from '../base/crypto.ts';
import type { GroupId, PeerId, Slot } from '../base/ids.ts';
import { slot } from '../base/ids.ts';
import type { KvOp, KvReader } from '../base/kv.ts';
import type { Core } from '../consensus/core.ts';
import { decodeValue } from '../consensus/value.ts';
import { batchHash } from '../document/index.ts';
import { learnedRecord, logKey } from '../driver/layout.ts';
import type { RecoveryMessage, RecoveryValue, SessionMessage } from '../wire/session-messages.ts';
import { missingFrom, type Outcome, outcomeOf, type RecoveredValue, type Start } from './recovery.ts';
import { decodeRenunciation, type Renunciation, renunciationSignature, sameSurvivors } from './recovery-consent.ts';
import { rescueOps } from './recovery-rescue.ts';
import {
  consentsOf,
  epochOf,
  fetchedKey,
  heldValue,
  type Proof,
  proofOp,
  type RecoveryRecords,
  type Renounced,
  renouncedNoMore,
  renouncedOp,
  settleOps,
  withoutPeer,
} from './recovery-store.ts';

export interface ExchangeInit {
  readonly self: PeerId;
  readonly group: GroupId;
  readonly start: Start;
  readonly records: RecoveryRecords;
  readonly core: Core;
  readonly verifier: Verifier;
  /** With what waits to be written. */
  readonly kv: KvReader;
  readonly say: (to: PeerId, message: SessionMessage) => void;
  /** For the next batch. */
  readonly write: (ops: readonly KvOp[]) => void;
  /** A member, as far as this peer knows: one such among the survivors is needed to believe their proof. */
  readonly isMember: (peer: PeerId) => boolean;
  readonly onProblem: (code: string, message: string) => void;
}

/** An epoch that others began without this peer, proved by their consents. */
export interface Candidate extends Proof {
  readonly outcome: Outcome;
}

/** How far a recovery is, for people. */
export type RecoveryStanding =
  /** Not all survivors have consented; some name others. */
  | {
      readonly step: 'consents';
      readonly survivors: readonly PeerId[];
      readonly waitsFor: readonly PeerId[];
      readonly others: ReadonlyMap<PeerId, readonly PeerId[]>;
    }
  /** All have; the log is being fetched as far as the one that has most of it. */
  | { readonly step: 'fetching'; readonly upTo: Slot }
  /** This machine goes over to what others recovered without it. */
  | { readonly step: 'following'; readonly upTo: Slot }
  /** The survivors' reports can't be put together. */
  | { readonly step: 'stuck'; readonly fault: string };

/** What is to be written between two turns, before the store is opened anew. */
export interface RecoveryWrite {
  readonly ops: readonly KvOp[];
  /** The chosen prefix that the store then has. */
  readonly prefix: Slot;
}

/** 1 s, in ticks. */
const TELL_TICKS = 20;
/** 10 s without a leader of one's own epoch: only then is what others began without this peer taken for what goes on. Ticks. */
const QUIET_TICKS = 200;
/** 10 s, in ticks: for so long after its last frame a machine is known to be in another epoch. */
const FOREIGN_TICKS = 200;
/** 5 s, in ticks: by then who can follow another epoch was shown the proof (which comes every second), and a leader that is gone was missed. */
const SETTLED_TICKS = 100;
/** Peers and epochs that were reported as foreign. */
const WONDERED_MAX = 64;

/** In ticks of this exchange. */
interface Foreign {
  readonly sinceTick: number;
  readonly lastTick: number;
}

/**
 * Forced recovery between running peers (R12). Survivors tell each other that they renounced, until each has all consents, and from these each computes the same
 * log. What it lacks of that it fetches: the chosen prefix as any learner does, under the new epoch, and single values that only others accepted. While consents
 * are missing nothing of the old epoch is taken from anybody, so no report ever falls behind what its store learned.
 */
export class RecoveryExchange {
  readonly #init: ExchangeInit;
  #records: RecoveryRecords;
  #outcome: Outcome | null = null;
  #fault: string | null = null;
  #now = 0;
  /** Whom others named instead, by their own word. */
  readonly #otherwise = new Map<PeerId, readonly PeerId[]>();
  readonly #wondered = new Set<string>();
  readonly #toldTick = new Map<PeerId, number>();
  /** Signatures that were found good, by the renunciation's bytes. */
  readonly #verified = new Set<string>();
  #asked: { readonly slot: Slot; readonly sinceTick: number } | null = null;
  #turnOf = 0;
  #candidate: Candidate | null = null;
  #quietTicks = 0;
  #last: { readonly slot: Slot; readonly lossless: boolean } | null = null;
  /** Whose frames of another epoch were heard, since when without a pause, and when last. */
  readonly #foreign = new Map<PeerId, Foreign>();

  constructor(init: ExchangeInit) {
    this.#init = init;
    this.#records = init.records;
    this.#decide();
  }

  #decide(): void {
    const { renounced } = this.#records;
    if (renounced === null) return;
    const outcome = outcomeOf(consentsOf(renounced), this.#init.start);
    if (typeof outcome !== 'string') this.#outcome = outcome;
    else if (outcome !== 'INCOMPLETE') this.#fault = outcome;
  }

  /** What stands on this peer's frames, and on those that it takes. */
  get epoch(): Uint8Array {
    return this.#outcome?.epoch ?? epochOf(this.#records, this.#init.core.configuration);
  }

  /** Nothing but recovery's own messages is taken: the old epoch is over here, and the next one not known yet. */
  get isDeaf(): boolean {
    return this.#records.renounced !== null && this.#outcome === null;
  }

  get standing(): RecoveryStanding | null {
    const { renounced, followed } = this.#records;
    if (renounced === null) return followed === null ? null : { step: 'following', upTo: followed.slot };
    if (this.#outcome !== null) return { step: 'fetching', upTo: this.#outcome.at };
    if (this.#fault !== null) return { step: 'stuck', fault: this.#fault };
    const { survivors } = renounced.own;
    const waitsFor = missingFrom(consentsOf(renounced));
    return { step: 'consents', survivors, waitsFor, others: this.#otherwise };
  }

  /** Where this log went on by forced recovery, the oldest first. */
  get proofs(): readonly Proof[] {
    return this.#records.proofs;
  }

  /** After which slot positions may be others by all recoveries together, and whether none of them lost anything. A later one takes nothing back of an earlier one. */
  get last(): { readonly slot: Slot; readonly lossless: boolean } | null {
    const { proofs } = this.#records;
    if (proofs.length === 0) return null;
    if (this.#last === null) {
      const marks = proofs.map((proof) => this.#markOf(proof));
      this.#last = {
        slot: slot(Math.min(...marks.map((mark) => mark.slot))),
        lossless: marks.every((mark) => mark.lossless),
      };
    }
    return this.#last;
  }

  #markOf(proof: Proof): { readonly slot: Slot; readonly lossless: boolean } {
    const outcome = outcomeOf(proof.renunciations, this.#init.start);
    return typeof outcome === 'string'
      ? { slot: proof.slot, lossless: false }
      : { slot: outcome.prefix, lossless: outcome.shortfalls.length === 0 };
  }

  /**
   * Who went on with a log that can't become one with this one: their frames come all the time, of an epoch that this store has not behind it. Whoever can still follow them
   * is not meant: it is shown a proof before long, and waits only until nobody leads its own epoch.
   */
  get split(): readonly PeerId[] {
    const isOnItsWay =
      this.standing !== null || (this.#candidate !== null && this.#init.core.inspect().leader === null);
    if (isOnItsWay) return [];
    return [...this.#foreign].flatMap(([peer, { sinceTick, lastTick }]) =>
      this.#now - lastTick < FOREIGN_TICKS && lastTick - sinceTick >= SETTLED_TICKS ? [peer] : [],
    );
  }

  tick(): void {
    this.#now++;
    const { renounced } = this.#records;
    if (this.#candidate !== null) {
      this.#quietTicks = this.#init.core.inspect().leader === null ? this.#quietTicks + 1 : 0;
    }
    if (renounced === null) return;
    if (this.#now % TELL_TICKS === 0) {
      for (const peer of renounced.own.survivors) if (peer !== this.#init.self) this.#tell(peer, consentsOf(renounced));
    }
    if (this.#asked !== null && this.#now - this.#asked.sinceTick >= TELL_TICKS) this.#asked = null;
    this.#fetch();
  }

  /** A frame of another epoch came from `from`: it may not know yet that this one follows on its own. */
  onOtherEpoch(from: PeerId, epoch: Uint8Array): void {
    const proof = this.#proofAfter(epoch);
    if (proof !== undefined) {
      this.#foreign.delete(from);
      return this.#tellSometimes(from, proof.renunciations);
    }
    this.#wonder(from, epoch);
    if (this.#init.isMember(from)) this.#noteForeign(from);
  }

  #noteForeign(from: PeerId): void {
    const noted = this.#foreign.get(from);
    const isStill = noted !== undefined && this.#now - noted.lastTick < FOREIGN_TICKS;
    this.#foreign.set(from, { sinceTick: isStill ? noted.sinceTick : this.#now, lastTick: this.#now });
  }

  /** A frame of the own epoch: whoever was in another one is back. */
  onOwnEpoch(from: PeerId): void {
    this.#foreign.delete(from);
  }

  #proofAfter(epoch: Uint8Array): Proof | undefined {
    return this.#records.proofs.find(({ renunciations }) => renunciations.some((r) => equal(r.epoch, epoch)));
  }

  /** Said once of each, as frames come all the time. */
  #wonder(from: PeerId, epoch: Uint8Array): void {
    const name = `${from} ${toHex(epoch)}`;
    if (this.#records.renounced !== null || this.#wondered.has(name) || this.#wondered.size >= WONDERED_MAX) return;
    this.#wondered.add(name);
    this.#init.onProblem('OTHER_EPOCH', `${from} is in another epoch; what it says of the log is not taken`);
  }

  #tellSometimes(to: PeerId, renunciations: readonly Renunciation[]): void {
    if (this.#now - (this.#toldTick.get(to) ?? -TELL_TICKS) < TELL_TICKS) return;
    this.#toldTick.set(to, this.#now);
    this.#tell(to, renunciations);
  }

  #tell(to: PeerId, renunciations: readonly Renunciation[]): void {
    this.#init.say(to, { type: 'recovery', renunciations: renunciations.map((r) => r.bytes) });
  }

  /** @throws FormatError */
  onMessage(from: PeerId, m: RecoveryMessage): void {
    switch (m.type) {
      case 'recovery':
        return this.#onRenunciations(from, m.renunciations.map(decodeRenunciation));
      case 'recovery-ask': {
        const value = this.#mayServe(from) ? heldValue(this.#init.kv, m.slot, m.hash) : null;
        if (value !== null) this.#init.say(from, { type: 'recovery-value', slot: m.slot, value: value.bytes });
        return;
      }
      case 'recovery-value':
        return this.#onValue(m);
    }
  }

  /** Who goes on, in the recovery under way or one that is over. */
  #mayServe(peer: PeerId): boolean {
    const sets = [this.#records.renounced?.own, ...this.#records.proofs.map((proof) => proof.renunciations[0])];
    return sets.some((r) => r?.survivors.includes(peer));
  }

  #onRenunciations(from: PeerId, all: readonly Renunciation[]): void {
    const { renounced } = this.#records;
    const [first] = all;
    if (first === undefined || all.some((r) => r.group !== this.#init.group || !equal(r.epoch, first.epoch))) {
      throw new FormatError('renunciations of different recoveries');
    }
    // It is still at what this peer has behind it.
    if (this.#proofAfter(first.epoch) !== undefined) return this.onOtherEpoch(from, first.epoch);
    const ownEpoch = this.#outcome === null ? (renounced?.own.epoch ?? this.epoch) : null;
    if (ownEpoch === null || !equal(ownEpoch, first.epoch)) return;
    const isOwn = renounced !== null && sameSurvivors(renounced.own.survivors, first.survivors);
    if (!isOwn) this.#consider(all);
    if (renounced === null) return;
    for (const r of all) this.#onRenunciation(from, r);
  }

  /** Are these all consents of a recovery, by those who are meant, and is one of them known here? */
  #consider(all: readonly Renunciation[]): void {
    if (this.#candidate !== null || missingFrom(all).length > 0) return;
    const outcome = outcomeOf(all, this.#init.start);
    if (typeof outcome === 'string' || !all.every((r) => this.#isSigned(r))) return;
    if (!all.some((r) => this.#init.isMember(r.peer))) return;
    this.#candidate = { epoch: outcome.epoch, slot: outcome.at, renunciations: all, outcome };
    this.#quietTicks = 0;
  }

  /** Nobody leads in the own epoch any more, this peer has left it, or it has nothing of it yet, as one that was just let in. */
  get #followable(): Candidate | null {
    const { core } = this.#init;
    const isNew = core.prefix === 0 && core.accepted.size === 0;
    return this.#records.renounced !== null || isNew || this.#quietTicks >= QUIET_TICKS ? this.#candidate : null;
  }

  /**
   * Set where this store can't go over to what the others began, as its own log went on without them or it forgot its consent: it is to be set aside, and the
   * machine begins anew under another incarnation.
   */
  get outcast(): Candidate | null {
    const candidate = this.#followable;
    return candidate === null || this.#isCommon(candidate) ? null : candidate;
  }

  /** This store's whole log is the beginning of theirs. Two prefixes of one epoch are. */
  #isCommon({ outcome, renunciations }: Candidate): boolean {
    const { prefix, digest } = this.#init.core;
    if (renunciations.some((r) => r.peer === this.#init.self)) return false;
    if (prefix < outcome.prefix) return true;
    const there = prefix === outcome.prefix ? outcome.digest : outcome.values[prefix - outcome.prefix - 1]?.digest;
    return there !== undefined && equal(there, digest);
  }

  /** What was accepted in the old epoch is no promise to anybody in the new one, and the promise itself only keeps ballots from being used twice. */
  #follow(candidate: Candidate): RecoveryWrite {
    const { prefix, accepted } = this.#init.core;
    const slots = [...accepted.keys()];
    const ops: KvOp[] = [
      proofOp(candidate),
      ...renouncedNoMore,
      ...slots.map((at): KvOp => ({ type: 'del', key: logKey(at) })),
      ...rescueOps(
        [...accepted.values()].map(({ value }) => value),
        this.#init.self,
      ),
    ];
    return { ops, prefix: slot(Math.max(prefix, ...slots)) };
  }

  #onRenunciation(from: PeerId, r: Renunciation): void {
    const { renounced } = this.#records;
    if (renounced === null || this.#outcome !== null || r.peer === this.#init.self) return;
    const { own } = renounced;
    const held = renounced.others.find((other) => other.peer === r.peer);
    // Who consents anew says so itself; what others have of it may be older.
    if (held !== undefined && (from !== r.peer || equal(held.bytes, r.bytes))) return;
    if (!this.#isSigned(r)) {
      return this.#init.onProblem('BAD_SIGNATURE', `${from} told of a consent by ${r.peer} that it did not sign`);
    }
    if (!sameSurvivors(own.survivors, r.survivors)) return this.#onOtherSurvivors(from, r, renounced);
    this.#otherwise.delete(r.peer);
    const next = { own, others: [...withoutPeer(renounced.others, r.peer), r] };
    this.#records = { ...this.#records, renounced: next };
    this.#init.write([renouncedOp(next)]);
    this.#decide();
    this.#tell(from, consentsOf(next));
  }

  /** Both sides hear of it: their people have to agree. */
  #onOtherSurvivors(from: PeerId, r: Renunciation, renounced: Renounced): void {
    if (from !== r.peer) return;
    this.#otherwise.set(r.peer, r.survivors);
    if (!renounced.own.survivors.includes(from)) this.#tellSometimes(from, consentsOf(renounced));
  }

  #isSigned(r: Renunciation): boolean {
    const name = toHex(r.signature) + toHex(r.reportBytes);
    if (this.#verified.has(name)) return true;
    if (!this.#init.verifier.verify(renunciationSignature(r))) return false;
    this.#verified.add(name);
    return true;
  }

  // --- values that only others accepted

  /** The first that is not here, above the own prefix. */
  #lacking(): RecoveredValue | null {
    const { core, kv } = this.#init;
    const rows = this.#outcome?.values ?? [];
    return (
      rows.find((row) => row.slot > core.prefix && row.bytes === null && heldValue(kv, row.slot, row.hash) === null) ??
      null
    );
  }

  #fetch(): void {
    if (this.#outcome === null || this.#asked !== null) return;
    const row = this.#lacking();
    if (row === null) return;
    this.#asked = { slot: row.slot, sinceTick: this.#now };
    // Whoever accepted it first; then also those who may have fetched it, or are done.
    const { renounced } = this.#records;
    const consents = renounced === null ? [] : consentsOf(renounced);
    const holders = consents.filter(({ report }) =>
      report.accepted.some((a) => a.slot === row.slot && equal(a.hash, row.hash)),
    );
    const others = [...holders, ...consents].map((r) => r.peer).filter((peer) => peer !== this.#init.self);
    const to = others[this.#turnOf++ % Math.max(1, others.length)];
    if (to !== undefined) this.#init.say(to, { type: 'recovery-ask', slot: row.slot, hash: row.hash });
  }

  #onValue(m: RecoveryValue): void {
    const row = this.#outcome?.values.find((each) => each.slot === m.slot);
    if (row === undefined || this.#asked?.slot !== m.slot) return;
    const value = decodeValue(m.value, batchHash);
    if (!equal(value.hash, row.hash)) throw new FormatError('another value than the one that was reported');
    this.#asked = null;
    if (heldValue(this.#init.kv, row.slot, row.hash) !== null) return;
    this.#init.write([{ type: 'put', key: fetchedKey(row.slot), value: learnedRecord(value) }]);
    this.#fetch();
  }

  // --- the end of it

  /** What makes the next epoch this store's own, once everything for it is here; null until then. */
  ready(): RecoveryWrite | null {
    const { core } = this.#init;
    const { renounced, followed } = this.#records;
    const candidate = this.#followable;
    if (candidate !== null && this.#isCommon(candidate)) return this.#follow(candidate);
    if (renounced === null) {
      return followed !== null && core.prefix >= followed.slot ? { ops: [], prefix: core.prefix } : null;
    }
    const outcome = this.#outcome;
    if (outcome === null || core.prefix < outcome.prefix || this.#lacking() !== null) return null;
    const { prefix, digest } = core;
    const { kv } = this.#init;
    const ops = settleOps(outcome, consentsOf(renounced), { prefix, digest }, (at, hash) => heldValue(kv, at, hash));
    return { ops, prefix: slot(Math.max(prefix, outcome.at)) };
  }
}
