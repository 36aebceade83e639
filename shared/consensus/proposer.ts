import { assert } from '../base/assert.ts';
import { equal } from '../base/bytes.ts';
import type { Incarnation, PeerId, Slot } from '../base/ids.ts';
import { type Ballot, compareBallots, ROUND_MAX, sameBallot, showBallot } from './ballot.ts';
import { type Configuration, configurationFault, type InForce, isVoter, type Voter } from './configuration.ts';
import { IN_FLIGHT_MAX, RESEND_TICKS, STALL_TICKS } from './constants.ts';
import type { Effect } from './io.ts';
import type { Ledger } from './ledger.ts';
import type { Accept, Accepted, AcceptedValue, Behind, Message, Nack, Prepare, Promise1b } from './messages.ts';
import { configurationValue, NOOP, type Value } from './value.ts';

export interface ProposerSurroundings {
  /** Hand a message to this peer's own acceptor, as part of the same step. */
  prepareSelf(m: Prepare): void;
  acceptSelf(m: Accept): void;
  choose(value: Value): void;
  /** Chosen values are missing here that `from` has up to `prefix`. */
  lacks(from: PeerId, prefix: Slot): void;
  steppedDown(reason: string): void;
  becameLeader(): void;
  /** A slot proposed after this peer's own barrier came is committed. */
  barrierReached(id: number, at: Slot): void;
}

interface PhaseOne {
  readonly inForce: InForce;
  /** Parts of Promises that are not complete yet. */
  readonly parts: Map<PeerId, Promise1b[]>;
  readonly promised: Set<PeerId>;
  /** The highest accepted ballot's value per slot, over the complete Promises. */
  readonly bound: Map<Slot, AcceptedValue>;
  boundMax: number;
  floor: Slot;
  floorPeer: PeerId | null;
  done: boolean;
  sentTick: number;
}

interface Flight {
  readonly value: Value;
  /** Null: everybody. */
  readonly awaitedBy: readonly PeerId[] | null;
  readonly inForce: InForce;
  readonly acceptedBy: Set<PeerId>;
  sentTick: number;
}

interface Reign {
  readonly ballot: Ballot;
  readonly transferFrom: Ballot | null;
  readonly sinceTick: number;
  readonly phases: Map<Slot, PhaseOne>;
  readonly flights: Map<Slot, Flight>;
  /** The next slot that nothing was proposed in under this ballot. */
  next: Slot;
  leads: boolean;
  /** A value of this very ballot was chosen (the single-server bug's cure: no change of voters before that). */
  established: boolean;
  lastProgressTick: number;
  handingOver: boolean;
  /** The last slot in which a configuration was proposed under this ballot. */
  configurationIn: Slot | null;
  /** Barriers that wait for a slot, and those that have one. */
  barriersWaiting: BarrierAsk[];
  /** Who waits to hear of what was chosen since `takeAwaiting` was called last; null: everybody. */
  awaiting: readonly PeerId[] | null;
  readonly barriersIn: Map<Slot, BarrierAsk[]>;
}

export interface BarrierAsk {
  /** Null: this peer's own. */
  readonly from: PeerId | null;
  readonly id: number;
}

/**
 * Candidate and leader. Phase 1 once per configuration in the window; then every open slot gets the value of the highest accepted ballot,
 * gaps get no-ops, and only then anything new is proposed, pipelined. All of it is gone when the reign ends: nothing here is durable but the ballot.
 */
export class Proposer {
  readonly #ledger: Ledger;
  readonly #around: ProposerSurroundings;
  readonly #emit: (effect: Effect) => void;
  #reign: Reign | null = null;
  #now = 0;
  /** Voters that refused for want of chosen values, with the prefix that they had. */
  readonly #laggards = new Map<PeerId, Slot>();

  constructor(ledger: Ledger, around: ProposerSurroundings, emit: (effect: Effect) => void) {
    this.#ledger = ledger;
    this.#around = around;
    this.#emit = emit;
  }

  /** The ballot under which this peer is a candidate or leads. */
  get ballot(): Ballot | null {
    return this.#reign?.ballot ?? null;
  }
  get leads(): boolean {
    return this.#reign?.leads ?? false;
  }
  get handingOver(): boolean {
    return this.#reign?.handingOver ?? false;
  }
  /** Values that were proposed and are not chosen. */
  get inFlight(): number {
    return this.#reign?.flights.size ?? 0;
  }
  get idle(): boolean {
    return this.#reign === null || this.#reign.flights.size === 0;
  }

  isPrepared(configuration: Slot): boolean {
    return this.#reign?.phases.get(configuration)?.done ?? false;
  }

  /** R3: a new round, promised by this peer's own acceptor and on its disk before any Prepare leaves. */
  campaign(transferFrom: Ballot | null): void {
    const { self, prefix } = this.#ledger;
    const ballot: Ballot = {
      round: this.#ledger.roundSeen + 1,
      peer: self.peer,
      incarnation: self.incarnation,
    };
    assert(ballot.round <= ROUND_MAX, 'rounds do not run out', ballot.round);
    assert(compareBallots(ballot, this.#ledger.promised) > 0, 'a campaign is above every promise', showBallot(ballot));
    this.#ledger.promise(ballot);
    this.#reign = {
      ballot,
      transferFrom,
      sinceTick: this.#now,
      phases: new Map(),
      flights: new Map(),
      next: (prefix + 1) as Slot,
      leads: false,
      established: false,
      lastProgressTick: this.#now,
      handingOver: false,
      configurationIn: null,
      barriersWaiting: [],
      awaiting: [],
      barriersIn: new Map(),
    };
    this.advance();
  }

  stepDown(reason: string): void {
    if (this.#reign === null) return;
    this.#reign = null;
    this.#around.steppedDown(reason);
  }

  /** Room for fresh values now. */
  room(): number {
    const r = this.#reign;
    if (!r?.leads || r.handingOver || this.#mustCatchUp(r) !== null) return 0;
    const next = this.#openPhase(r);
    if (next === null || this.#boundValue(next, r.next) !== null) return 0;
    return Math.max(0, Math.min(IN_FLIGHT_MAX - r.flights.size, this.#ledger.horizon - r.next + 1));
  }

  proposeFresh(value: Value, afterBatch: boolean, awaitedBy: readonly PeerId[] | null): void {
    const r = this.#reign;
    assert(r !== null && this.room() > 0, 'fresh values are proposed only where there is room');
    this.#proposeNew(r, value, afterBatch, awaitedBy);
  }

  /** All that can be done now: prepare what is not prepared, catch up to the floors, re-propose what binds. */
  advance(): void {
    const r = this.#reign;
    if (r === null) return;
    const window = this.#ledger.window();
    for (const at of r.phases.keys()) if (!window.some((inForce) => inForce.slot === at)) r.phases.delete(at);
    for (const inForce of window) if (!r.phases.has(inForce.slot)) this.#prepare(r, inForce);
    if (this.#reign !== r) return;
    const floor = this.#mustCatchUp(r);
    if (floor !== null) return this.#around.lacks(floor.peer, floor.slot);
    const first = r.phases.get(this.#ledger.history.governing(this.#ledger.nextSlot).slot);
    if (!first?.done || !this.#isVoterIn(first.inForce)) return;
    if (!r.leads) {
      r.leads = true;
      this.#around.becameLeader();
    }
    for (;;) {
      const phase = this.#openPhase(r);
      const value = phase && this.#boundValue(phase, r.next);
      if (!value || this.#reign !== r) return;
      this.#propose(r, value, false, null);
    }
  }

  /** The phase 1 under which the next slot may be proposed, or null where it can't be yet. */
  #openPhase(r: Reign): PhaseOne | null {
    // A leader uses slot i only once it knows the prefix up to i − α: only then it is known what governs i.
    if (r.next > this.#ledger.horizon) return null;
    const { prefix, history, blockedFrom } = this.#ledger;
    if (blockedFrom !== null && r.next >= blockedFrom) return null;
    const governing = history.governing(r.next);
    // No voter, this one included, accepts in a configuration's slots before it holds everything below them (R2).
    if (!this.#isVoterIn(governing) || prefix < governing.from - 1) return null;
    const phase = r.phases.get(governing.slot);
    return phase?.done ? phase : null;
  }

  #isVoterIn({ configuration }: InForce): boolean {
    const { self } = this.#ledger;
    return isVoter(configuration, self.peer, self.incarnation);
  }

  /** What must be proposed in `at` before anything new: the value of the highest accepted ballot, or a no-op in a gap below one. */
  #boundValue(phase: PhaseOne, at: Slot): Value | null {
    const bound = phase.bound.get(at);
    if (bound) return bound.value;
    return at < phase.boundMax ? NOOP : null;
  }

  /** R4: the highest floor of the quorums counted, where this peer's prefix is below it. */
  #mustCatchUp(r: Reign): { slot: Slot; peer: PeerId } | null {
    for (const phase of r.phases.values()) {
      if (phase.done && phase.floorPeer !== null && phase.floor > this.#ledger.prefix) {
        return { slot: phase.floor, peer: phase.floorPeer };
      }
    }
    return null;
  }

  #prepare(r: Reign, inForce: InForce): void {
    r.phases.set(inForce.slot, {
      inForce,
      parts: new Map(),
      promised: new Set(),
      bound: new Map(),
      boundMax: 0,
      floor: 0 as Slot,
      floorPeer: null,
      done: false,
      sentTick: this.#now,
    });
    const m = this.#prepareMessage(r, inForce);
    this.#around.prepareSelf(m);
    this.#sendAfterPersist(this.#others(inForce.configuration), m);
  }

  #prepareMessage(r: Reign, inForce: InForce): Prepare {
    return {
      type: 'prepare',
      ballot: r.ballot,
      configuration: inForce.slot,
      slot: Math.max(this.#ledger.nextSlot, inForce.from) as Slot,
      transferFrom: r.transferFrom,
    };
  }

  onPromise(from: PeerId, incarnation: Incarnation, m: Promise1b): void {
    const r = this.#reign;
    if (!r || !sameBallot(r.ballot, m.ballot)) return;
    const phase = r.phases.get(m.configuration);
    // Only this configuration's own acceptors count, each under the incarnation that it names.
    if (!phase || phase.done || !isVoter(phase.inForce.configuration, from, incarnation)) return;
    if (phase.promised.has(from)) return;
    const parts = this.#collect(phase, from, m);
    if (parts === null) return;
    phase.promised.add(from);
    if (phase.floorPeer === null || m.floor > phase.floor) {
      phase.floor = m.floor;
      phase.floorPeer = from;
    }
    for (const part of parts) {
      for (const row of part.accepted) {
        const known = phase.bound.get(row.slot);
        if (!known || compareBallots(row.ballot, known.ballot) > 0) phase.bound.set(row.slot, row);
        if (known && sameBallot(row.ballot, known.ballot)) {
          assert(equal(row.value.hash, known.value.hash), 'one value per slot and ballot', {
            slot: row.slot,
            ballot: showBallot(row.ballot),
          });
        }
        if (row.slot >= phase.inForce.from && row.slot > phase.boundMax) phase.boundMax = row.slot;
      }
    }
    if (phase.promised.size >= phase.inForce.configuration.q1) {
      phase.done = true;
      phase.parts.clear();
      this.advance();
    }
  }

  /** All parts of one Promise once they are there, else null. Parts of an earlier answer (another floor) are dropped. */
  #collect(phase: PhaseOne, from: PeerId, m: Promise1b): readonly Promise1b[] | null {
    if (m.parts === 1) return [m];
    let parts = phase.parts.get(from) ?? [];
    if (parts.some((p) => !equal(p.listing, m.listing) || p.floor !== m.floor || p.part >= m.part)) parts = [];
    if (m.part !== parts.length) return null;
    parts.push(m);
    phase.parts.set(from, parts);
    return parts.length === m.parts ? parts : null;
  }

  /** In a slot that nothing binds. What waits for such a slot is served by this one: an older value's slot could lie below what is committed. */
  #proposeNew(r: Reign, value: Value, afterBatch = false, awaitedBy: readonly PeerId[] | null = null): void {
    if (r.barriersWaiting.length > 0) {
      r.barriersIn.set(r.next, r.barriersWaiting);
      r.barriersWaiting = [];
    }
    this.#propose(r, value, afterBatch, awaitedBy);
  }

  #propose(r: Reign, value: Value, afterBatch: boolean, awaitedBy: readonly PeerId[] | null): void {
    const at = r.next;
    const { history, prefix, self } = this.#ledger;
    assert(at > prefix && at <= this.#ledger.horizon, 'proposals stay between the prefix and the horizon', {
      at,
      prefix,
    });
    const inForce = history.governing(at);
    assert(r.phases.get(inForce.slot)?.done === true, 'phase 1 of the governing configuration comes first', { at });
    assert(isVoter(inForce.configuration, self.peer, self.incarnation), 'a leader is a voter where it proposes', {
      at,
    });
    r.next = (at + 1) as Slot;
    const m: Accept = {
      type: 'accept',
      ballot: r.ballot,
      configuration: inForce.slot,
      slot: at,
      value,
      watermark: prefix,
    };
    r.flights.set(at, { value, awaitedBy, inForce, acceptedBy: new Set(), sentTick: this.#now });
    // The ballot is durable since before the first Prepare, so an Accept may leave while this peer's own disk still writes.
    const to = this.#others(inForce.configuration);
    if (!afterBatch) this.#send(to, m);
    else if (to.length > 0) this.#emit({ type: 'sendAfterBatch', to, message: m });
    this.#around.acceptSelf(m);
  }

  onAccepted(from: PeerId, incarnation: Incarnation, m: Accepted): void {
    const r = this.#reign;
    if (!r || !sameBallot(r.ballot, m.ballot)) return;
    for (const at of m.slots) {
      const flight = r.flights.get(at);
      if (flight && isVoter(flight.inForce.configuration, from, incarnation)) flight.acceptedBy.add(from);
    }
    for (;;) {
      const at = this.#ledger.nextSlot;
      const flight = r.flights.get(at);
      if (!flight || flight.acceptedBy.size < flight.inForce.configuration.q2) break;
      r.established = true;
      this.#around.choose(flight.value);
      if (this.#reign !== r) return;
      this.#answerBarriers(r, at);
    }
    this.advance();
  }

  /** Every value that joins the prefix, however it was learned. A leader that learns a value other than its own steps down at once. */
  onChosen(at: Slot, value: Value): void {
    const r = this.#reign;
    if (!r) return;
    r.lastProgressTick = this.#now;
    if (r.next <= at) r.next = (at + 1) as Slot;
    const flight = r.flights.get(at);
    r.flights.delete(at);
    const awaitedBy = flight?.awaitedBy ?? null;
    r.awaiting = r.awaiting === null || awaitedBy === null ? null : [...r.awaiting, ...awaitedBy];
    if (flight && !equal(flight.value.hash, value.hash)) {
      this.stepDown(`slot ${at} was decided by another ballot`);
    }
  }

  /** Who waits to hear of what was chosen since this was called last; null: everybody. */
  takeAwaiting(): readonly PeerId[] | null {
    const r = this.#reign;
    if (r === null) return null;
    const { awaiting } = r;
    r.awaiting = [];
    return awaiting;
  }

  #answerBarriers(r: Reign, at: Slot): void {
    for (const { from, id } of r.barriersIn.get(at) ?? []) {
      if (from === null) {
        this.#around.barrierReached(id, at);
        continue;
      }
      if (r.awaiting !== null) r.awaiting = [...r.awaiting, from];
      this.#send([from], { type: 'barrier-reached', id, slot: at });
    }
    r.barriersIn.delete(at);
  }

  /** Taken only by a leader; the one who asks tries again until somebody answers. */
  onBarrier(ask: BarrierAsk): void {
    if (this.#reign?.leads) this.#reign.barriersWaiting.push(ask);
  }

  onNack(_from: PeerId, m: Nack): void {
    this.#ledger.see(m.promised);
    const r = this.#reign;
    if (!r || !sameBallot(r.ballot, m.ballot)) return;
    if (m.reason === 'ballot') this.stepDown(`${showBallot(m.promised)} was promised`);
    else if (!r.leads) this.stepDown('another leader is heard');
  }

  onBehind(from: PeerId, m: Behind): void {
    if (m.lacks === 'me') this.#laggards.set(from, m.prefix);
    else if (m.prefix > this.#ledger.prefix) this.#around.lacks(from, m.prefix);
  }

  /** Somebody who had refused because it lacked chosen values has more of them now: it is asked again at once. */
  onProgress(peer: PeerId, prefix: Slot): void {
    const before = this.#laggards.get(peer);
    if (before === undefined || prefix <= before) return;
    this.#laggards.delete(peer);
    this.resendTo(peer);
  }

  /** What `peer` has not answered is said again: all of it, or what has waited since `sentBeforeTick`. */
  resendTo(peer: PeerId, sentBeforeTick = Number.POSITIVE_INFINITY): void {
    const r = this.#reign;
    if (!r) return;
    for (const phase of r.phases.values()) {
      if (phase.done || phase.promised.has(peer) || phase.sentTick > sentBeforeTick) continue;
      if (this.#votesIn(phase.inForce.configuration, peer)) {
        this.#sendAfterPersist([peer], this.#prepareMessage(r, phase.inForce));
      }
    }
    for (const [at, flight] of r.flights) {
      if (flight.acceptedBy.has(peer) || flight.sentTick > sentBeforeTick) continue;
      if (!this.#votesIn(flight.inForce.configuration, peer)) continue;
      this.#sendAfterPersist([peer], {
        type: 'accept',
        ballot: r.ballot,
        configuration: flight.inForce.slot,
        slot: at,
        value: flight.value,
        watermark: this.#ledger.prefix,
      });
    }
  }

  #votesIn(c: Configuration, peer: PeerId): boolean {
    return peer !== this.#ledger.self.peer && c.voters.some((v) => v.peer === peer);
  }

  tick(now: number, isHeard: (peer: PeerId) => boolean): void {
    this.#now = now;
    const r = this.#reign;
    if (!r) return;
    if (!r.leads && now - r.sinceTick >= STALL_TICKS / 2) return this.stepDown('no quorum of promises');
    // Also where a floor can't be reached: the one that stated it may be gone.
    const waits = r.flights.size > 0 || this.#mustCatchUp(r) !== null;
    if (r.leads && waits && now - r.lastProgressTick >= STALL_TICKS) return this.stepDown('commits stall');
    if (!waits) r.lastProgressTick = now;
    const overdueTick = now - RESEND_TICKS;
    const waiting = [...[...r.phases.values()].filter((phase) => !phase.done), ...r.flights.values()];
    const overdue = waiting.filter((what) => what.sentTick <= overdueTick);
    if (overdue.length === 0) return;
    const voters = new Set(this.#ledger.window().flatMap(({ configuration: c }) => c.voters.map((v) => v.peer)));
    for (const peer of voters) if (isHeard(peer)) this.resendTo(peer, overdueTick);
    for (const what of overdue) what.sentTick = now;
  }

  /** No-ops where something waits for slots to pass: the first value of a reign, a barrier, a configuration on its way to force. */
  turnEnd(): void {
    const r = this.#reign;
    if (!r?.leads) return;
    this.advance();
    const waits = () =>
      (!r.established && r.flights.size === 0) ||
      r.barriersWaiting.length > 0 ||
      r.next < this.#ledger.history.newest.from;
    while (this.#reign === r && waits() && this.room() > 0) this.#proposeNew(r, NOOP);
  }

  /** Why no change of voters can be proposed now, or null. */
  changeObstacle(): string | null {
    const r = this.#reign;
    if (!r?.leads) return 'this peer does not lead';
    if (!r.established) return 'nothing of this ballot is committed yet';
    if (r.next < this.#ledger.history.newest.from) return 'the last change is not in force yet';
    if (r.configurationIn !== null && r.configurationIn > this.#ledger.prefix) return 'a change is on its way';
    for (const phase of r.phases.values()) {
      for (const [at, row] of phase.bound) {
        if (at > this.#ledger.prefix && row.value.kind === 'configuration')
          return 'an earlier change binds this leader';
      }
    }
    return this.room() > 0 ? null : 'no slot is free';
  }

  proposeConfiguration(voters: readonly Voter[], q1: number, q2: number): void {
    const r = this.#reign;
    if (!r || this.changeObstacle() !== null) return;
    const governing = this.#ledger.history.governing(r.next);
    const c: Configuration = {
      previous: governing.slot,
      epoch: governing.configuration.epoch,
      voters,
      q1,
      q2,
    };
    if (configurationFault(c) !== null) return;
    r.configurationIn = r.next;
    this.#proposeNew(r, configurationValue(c));
  }

  /** Stops taking fresh values; `finishHandOver` follows once nothing is in flight. */
  startHandOver(): void {
    if (this.#reign) this.#reign.handingOver = true;
  }

  cancelHandOver(): void {
    if (this.#reign) this.#reign.handingOver = false;
  }

  /** In the newest configuration this peer has no vote, and all slots before that one are committed. */
  get isRetired(): boolean {
    const { self, history, prefix } = this.#ledger;
    const { configuration, from } = history.newest;
    return prefix >= from - 1 && !isVoter(configuration, self.peer, self.incarnation);
  }

  #others(c: Configuration): PeerId[] {
    return c.voters.map((v) => v.peer).filter((peer) => peer !== this.#ledger.self.peer);
  }

  #send(to: readonly PeerId[], message: Message): void {
    if (to.length > 0) this.#emit({ type: 'send', to, message });
  }

  #sendAfterPersist(to: readonly PeerId[], message: Message): void {
    if (to.length > 0) this.#emit({ type: 'sendAfterPersist', to, message });
  }

  inspect(): { ballot: string | null; leads: boolean; inFlight: number; next: number | null } {
    const r = this.#reign;
    return {
      ballot: r ? showBallot(r.ballot) : null,
      leads: r?.leads ?? false,
      inFlight: r?.flights.size ?? 0,
      next: r?.next ?? null,
    };
  }
}
