import { unreachable } from '../base/assert.ts';
import { EMPTY, equal } from '../base/bytes.ts';
import type { Incarnation, PeerId, Slot } from '../base/ids.ts';
import { Acceptor } from './acceptor.ts';
import { type Ballot, compareBallots, sameBallot, showBallot } from './ballot.ts';
import { type Configuration, count, type InForce, isVoter, type Voter } from './configuration.ts';
import {
  HEARTBEAT_TICKS,
  NOT_HELD_TICKS,
  ROUND_LEAP_MAX,
  SLOW_HEARTBEAT_TICKS,
  STALL_REST_TICKS,
} from './constants.ts';
import { Election } from './election.ts';
import type { Effect, Input } from './io.ts';
import { Learner } from './learner.ts';
import { type Acceptance, Ledger, type Restored, type Self } from './ledger.ts';
import type { Heartbeat, Message } from './messages.ts';
import { Proposer } from './proposer.ts';
import type { Value } from './value.ts';

export interface CoreInit {
  readonly self: Self;
  /** Fixed in the genesis for ever. */
  readonly alpha: number;
  readonly genesis: Configuration;
  readonly restored: Restored;
  /** False for a damaged store: it reads and serves, but neither votes nor leads. */
  readonly votes: boolean;
  /** In [0, 1); seeded in the simulator. */
  readonly random: () => number;
}

/** A plain picture of the state, for status, transcripts and tests. */
export interface CoreView {
  readonly leader: PeerId | null;
  readonly leads: boolean;
  readonly ballot: Ballot | null;
  readonly promised: Ballot | null;
  readonly prefix: Slot;
  readonly digest: Uint8Array;
  readonly configuration: InForce;
  readonly window: readonly InForce[];
  readonly reachable: number;
  readonly inFlight: number;
  readonly fetching: string | null;
  /** Somebody holds more, and nobody who does holds the next value: only a snapshot leads on. */
  readonly lacksSource: boolean;
  readonly votes: boolean;
  readonly changeObstacle: string | null;
}

/**
 * Multi-Paxos of one peer for one group, pure and synchronous: `step(input)` returns what to do. One input at a time; the order of the
 * effects' kinds within a turn is the driver's duty and is written on `Effect`. Throws InvariantError where an impossible state is met: the
 * group stops then.
 */
export class Core {
  readonly #ledger: Ledger;
  readonly #acceptor: Acceptor;
  readonly #learner: Learner;
  readonly #proposer: Proposer;
  readonly #election: Election;
  readonly #votes: boolean;
  #effects: Effect[] = [];
  #now = 0;
  #members: readonly PeerId[] = [];
  #note: Uint8Array = EMPTY;
  #mayLead = true;
  #lastLeader: { peer: PeerId; ballot: Ballot } | null = null;
  /** Up to here this disk holds values or a state, and others may count on that; null: all of the prefix. */
  #holding: Slot | null = null;
  #counted: Slot | null = null;
  /** When a value could not be accepted for want of what lies below its configuration (R2). */
  #handoverLackedTick: number | null = null;
  /** The prefix that everybody was told of by this peer as a leader. */
  #toldWatermark = 0;
  #barriersAsked = new Map<number, { sentTick: number }>();
  #handOverTo: PeerId | null = null;
  #handOverSinceTick = 0;

  constructor(init: CoreInit) {
    const emit = (effect: Effect): void => {
      this.#effects.push(effect);
    };
    const choose = (value: Value): void => this.#choose(value);
    this.#votes = init.votes;
    this.#ledger = new Ledger({ ...init, emit });
    this.#election = new Election(this.#ledger, init.votes, init.random);
    this.#learner = new Learner(
      this.#ledger,
      {
        choose,
        leader: () => this.#election.leaderHeard()?.peer ?? null,
        isHeard: (peer) => this.#election.isHeard(peer),
      },
      emit,
    );
    this.#acceptor = new Acceptor(
      this.#ledger,
      init.votes,
      {
        hearsLeaderBut: (but, transferFrom) =>
          (this.#proposer.leads && !this.#proposer.handingOver) || this.#election.hearsLeaderBut(but, transferFrom),
        watermark: (from, ballot, watermark) => this.#learner.onWatermark(from, ballot, watermark, null),
        fetch: (from) => this.#learner.fetchFrom(from),
        isHeld: (governing) => this.#isHeld(governing),
      },
      emit,
    );
    const { peer, incarnation } = init.self;
    this.#proposer = new Proposer(
      this.#ledger,
      {
        choose,
        prepareSelf: (m) => this.#acceptor.onPrepare(peer, incarnation, m),
        acceptSelf: (m) => this.#acceptor.onAccept(peer, incarnation, m),
        lacks: (from, prefix) => {
          this.#learner.announce(from, prefix);
          this.#learner.fetchFrom(from);
        },
        becameLeader: () => this.#beat(true),
        barrierReached: (id, at) => this.#barrierReached(id, at),
        steppedDown: (reason) => this.#steppedDown(reason),
      },
      emit,
    );
  }

  step(input: Input): Effect[] {
    switch (input.type) {
      case 'tick':
        this.#tick();
        break;
      case 'message':
        this.#onMessage(input.from, input.incarnation, input.message);
        break;
      case 'propose':
        this.#proposer.proposeFresh(input.value, input.afterBatch, input.awaitedBy ?? null);
        break;
      case 'reconfigure':
        if (this.changeObstacle(input) === null) {
          this.#proposer.proposeConfiguration(input.voters, input.q1, input.q2);
        }
        break;
      case 'hand-over':
        this.#startHandOver(input.to);
        break;
      case 'barrier':
        this.#barriersAsked.set(input.id, { sentTick: this.#now });
        this.#askBarrier(input.id);
        break;
      case 'members':
        for (const gone of this.#members.filter((peer) => !input.peers.includes(peer))) this.#forget(gone);
        this.#members = input.peers;
        break;
      case 'connection':
        this.#election.connection(input.peer, input.connected);
        if (input.connected) this.#proposer.resendTo(input.peer);
        else this.#learner.forget(input.peer);
        break;
      case 'note':
        this.#note = input.note;
        break;
      case 'fetching':
        this.#learner.setMayFetch(input.may);
        break;
      case 'holding':
        this.#holding = input.upTo;
        this.#counted = input.counted;
        break;
      case 'may-lead':
        this.#mayLead = input.may;
        if (!input.may) this.#startHandOver(null);
        break;
      case 'turn-end':
        this.#turnEnd();
        break;
      default:
        unreachable(input);
    }
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  get prefix(): Slot {
    return this.#ledger.prefix;
  }
  get digest(): Uint8Array {
    return this.#ledger.digest;
  }
  get inFlight(): number {
    return this.#proposer.inFlight;
  }
  /** The newest with force. */
  get configuration(): Configuration {
    return this.#ledger.history.newest.configuration;
  }
  window(): readonly InForce[] {
    return this.#ledger.window();
  }
  /** The configuration that was chosen in this slot, if it has force, and began an epoch: by forced recovery (R12). Else null. */
  recoveredIn(at: Slot): Configuration | null {
    const { all } = this.#ledger.history;
    const index = all.findIndex((c) => c.slot === at);
    const before = all[index - 1]?.configuration;
    const configuration = all[index]?.configuration;
    return before && configuration && !equal(before.epoch, configuration.epoch) ? configuration : null;
  }
  get promised(): Ballot | null {
    return this.#ledger.promised;
  }
  /** Everything accepted above the prefix. */
  get accepted(): ReadonlyMap<Slot, Acceptance> {
    return this.#ledger.accepted;
  }

  /** How many fresh values may be proposed now; 0 unless this peer leads. */
  room(): number {
    return this.#proposer.room();
  }

  /**
   * Why these voters can't be proposed now, or null: quorums of both configurations must be linked, and newcomers must hold nearly
   * everything, so that the change can't leave the group without a quorum.
   */
  changeObstacle(next: Pick<Configuration, 'voters' | 'q1' | 'q2'>): string | null {
    const obstacle = this.#proposer.changeObstacle();
    if (obstacle !== null) return obstacle;
    const { prefix, history } = this.#ledger;
    const present = count(next as Configuration, (v) => {
      const { self } = this.#ledger;
      if (v.peer === self.peer) return v.incarnation === self.incarnation;
      const beat = this.#election.beatOf(v.peer);
      return beat !== null && this.#election.canAnswer(v) && beat.prefix >= prefix - history.alpha;
    });
    if (present < Math.max(next.q1, next.q2)) return 'the new voters are not all here and caught up';
    return null;
  }

  /** Up to which slot others may count on this disk; null: the whole prefix. */
  get counted(): Slot | null {
    return this.#counted;
  }

  /** Lately this peer could not accept, since it dropped values that too few of the new voters hold: it has to fetch them again (R2). */
  get lacksHandover(): boolean {
    return this.#handoverLackedTick !== null && this.#now - this.#handoverLackedTick < NOT_HELD_TICKS;
  }

  /**
   * R5: values up to here may be dropped: full voters other than this one hold them, or a snapshot, on their disks, so many in each configuration of the window
   * that every phase-1 quorum meets one. Slot 0 where that can't be told.
   */
  droppable(): Slot {
    const limits = this.#ledger.window().map(({ configuration: c }) => {
      const held = c.voters.map((v) => this.#heldBy(v)).sort((a, b) => b - a);
      return held[c.voters.length - c.q1] ?? 0;
    });
    return Math.min(this.#ledger.prefix, ...limits) as Slot;
  }

  /** Up to which slot another full voter is known to hold everything; 0 for a witness, for oneself, and for one not heard. */
  #heldBy(v: Voter): number {
    if (v.witness || v.peer === this.#ledger.self.peer || !this.#election.canAnswer(v)) return 0;
    return this.#election.beatOf(v.peer)?.durable ?? 0;
  }

  /** R2 for one that doesn't hold the whole prefix: `H` of the new configuration does, with `|H| + q1 > N`. */
  #isHeld({ from, configuration: c }: InForce): boolean {
    if (this.#holding === null || this.#holding >= from - 1) return true;
    const isHeld = count(c, (v) => this.#heldBy(v) >= from - 1) + c.q1 > c.voters.length;
    if (!isHeld) this.#handoverLackedTick = this.#now;
    return isHeld;
  }

  inspect(): CoreView {
    const { prefix, digest, promised, history } = this.#ledger;
    return {
      leader: this.#lastLeader?.peer ?? null,
      leads: this.#proposer.leads,
      ballot: this.#lastLeader?.ballot ?? null,
      promised,
      prefix,
      digest,
      configuration: history.newest,
      window: this.#ledger.window(),
      reachable: this.#election.reachable(history.newest.configuration),
      inFlight: this.#proposer.inspect().inFlight,
      fetching: this.#learner.inspect().fetching,
      lacksSource: this.#learner.lacksSource,
      votes: this.#votes,
      changeObstacle: this.#proposer.changeObstacle(),
    };
  }

  /** Who is heard now. A store that lost its log knows few members, and may hear more. */
  heard(): readonly PeerId[] {
    return this.#election.hears();
  }

  /** The last heartbeat of a peer that is heard, for status. */
  beatOf(peer: PeerId): Heartbeat | null {
    return this.#election.beatOf(peer);
  }

  #onMessage(from: PeerId, incarnation: Incarnation, m: Message): void {
    if (!this.#isPlausible(from, m)) return;
    switch (m.type) {
      case 'prepare':
        this.#acceptor.onPrepare(from, incarnation, m);
        if (sameBallot(m.ballot, this.#ledger.promised)) this.#election.granted();
        return;
      case 'promise':
        this.#learner.announce(from, m.floor, m.digest);
        return this.#proposer.onPromise(from, incarnation, m);
      case 'accept':
        this.#yieldTo(m.ballot);
        return this.#acceptor.onAccept(from, incarnation, m);
      case 'accepted':
        return this.#proposer.onAccepted(from, incarnation, m);
      case 'nack':
        return this.#proposer.onNack(from, m);
      case 'behind':
        this.#learner.announce(from, m.prefix, m.digest);
        return this.#proposer.onBehind(from, m);
      case 'commit':
        this.#yieldTo(m.ballot);
        return this.#learner.onWatermark(from, m.ballot, m.watermark, m.digest);
      case 'heartbeat':
        return this.#onHeartbeat(from, incarnation, m);
      case 'fetch':
        return this.#learner.onFetch(from, m);
      case 'not-held':
        return this.#learner.onNotHeld(from, m);
      case 'values':
        this.#learner.onValues(from, m);
        return this.#proposer.advance();
      case 'transfer':
        return this.#onTransfer(from, m.ballot);
      case 'barrier':
        return this.#proposer.onBarrier({ from, id: m.id });
      case 'barrier-reached':
        return this.#barrierReached(m.id, m.slot);
      default:
        unreachable(m);
    }
  }

  /** Nobody speaks under another's ballot, and rounds go up step by step: one leap would use them up for everybody. */
  #isPlausible(from: PeerId, m: Message): boolean {
    const roundMax = this.#ledger.roundSeen + ROUND_LEAP_MAX;
    const isNear = (ballot: Ballot | null): boolean => ballot === null || ballot.round <= roundMax;
    switch (m.type) {
      case 'prepare':
      case 'accept':
      case 'commit':
      case 'transfer':
        return m.ballot.peer === from && isNear(m.ballot);
      case 'heartbeat':
        if (m.leading !== null && m.leading.peer !== from) return false;
        return isNear(m.promised) && isNear(m.leading) && isNear(m.hearsLeader);
      case 'nack':
        return isNear(m.promised);
      default:
        return true;
    }
  }

  #onHeartbeat(from: PeerId, incarnation: Incarnation, m: Heartbeat): void {
    const before = this.#election.beatOf(from);
    this.#election.onHeartbeat(from, incarnation, m);
    if (m.leading !== null) {
      this.#yieldTo(m.leading);
      this.#learner.onWatermark(from, m.leading, m.prefix, m.digest);
    } else {
      this.#learner.announce(from, m.prefix, m.digest);
    }
    if (before === null) this.#proposer.resendTo(from);
    else this.#proposer.onProgress(from, m.prefix);
    this.#noteLeader();
  }

  /** A proposer that sees a leader under a higher ballot has lost. */
  #yieldTo(ballot: Ballot): void {
    this.#ledger.see(ballot);
    const own = this.#proposer.ballot;
    if (own !== null && compareBallots(ballot, own) > 0) this.#proposer.stepDown(`${showBallot(ballot)} leads`);
  }

  #choose(value: Value): void {
    const at = this.#ledger.nextSlot;
    this.#ledger.choose(value);
    this.#proposer.onChosen(at, value);
  }

  #tick(): void {
    this.#now++;
    this.#election.tick(this.#now);
    this.#learner.tick(this.#now);
    this.#proposer.tick(this.#now, (peer) => this.#election.isHeard(peer));
    this.#watchLeadership();
    if (this.#proposer.leads) this.#tellWatermark(null);
    const ready = this.#mayLead && !this.#learner.isBehind;
    if (ready && this.#proposer.ballot === null && this.#election.mayCampaign()) this.#proposer.campaign(null);
    this.#beat(false);
    this.#noteLeader();
    for (const [id, asked] of this.#barriersAsked) {
      if (this.#now - asked.sentTick >= SLOW_HEARTBEAT_TICKS) {
        asked.sentTick = this.#now;
        this.#askBarrier(id);
      }
    }
  }

  #watchLeadership(): void {
    if (!this.#proposer.leads) return;
    const isPrepared = (configuration: Slot): boolean => this.#proposer.isPrepared(configuration);
    if (!this.#election.hearsLeaderQuorums(this.#ledger.window(), isPrepared)) {
      return this.#proposer.stepDown('a quorum is not heard any more');
    }
    const unable = this.#isBlocked || !this.#mayLead;
    if (this.#proposer.isRetired || unable) this.#startHandOver(null);
    if (unable && this.#successor() === null) return this.#proposer.stepDown('this version is too old to lead');
    if (!this.#proposer.handingOver) return;
    if (this.#proposer.idle || this.#now - this.#handOverSinceTick >= SLOW_HEARTBEAT_TICKS) this.#finishHandOver();
  }

  #startHandOver(to: PeerId | null): void {
    if (!this.#proposer.leads || this.#proposer.handingOver) return;
    this.#handOverTo = to;
    this.#handOverSinceTick = this.#now;
    if (this.#successor() === null) return;
    this.#proposer.startHandOver();
    if (this.#proposer.idle) this.#finishHandOver();
  }

  /** A configuration was chosen that this version can't read, so it must not lead. */
  get #isBlocked(): boolean {
    return this.#ledger.blockedFrom !== null;
  }

  /** A voter all over the window that can answer, is no witness, and is furthest along; the wished-for one where it qualifies. */
  #successor(): PeerId | null {
    const { self } = this.#ledger;
    const window = this.#ledger.window();
    const able = (window[0] as InForce).configuration.voters
      .filter((v) => !v.witness && v.peer !== self.peer && this.#election.canAnswer(v))
      .filter((v) => window.every(({ configuration: c }) => isVoter(c, v.peer, v.incarnation)))
      .map((v) => ({ peer: v.peer, beat: this.#election.beatOf(v.peer) }))
      .sort((a, b) => (b.beat?.prefix ?? 0) - (a.beat?.prefix ?? 0));
    if (this.#handOverTo !== null) return able.some((v) => v.peer === this.#handOverTo) ? this.#handOverTo : null;
    return able[0]?.peer ?? null;
  }

  #finishHandOver(): void {
    const to = this.#successor();
    const ballot = this.#proposer.ballot;
    if (to === null || ballot === null) return this.#proposer.cancelHandOver();
    this.#tellWatermark(null);
    this.#effects.push({ type: 'sendAfterPersist', to: [to], message: { type: 'transfer', ballot } });
    this.#proposer.stepDown('leadership was handed over');
  }

  #onTransfer(from: PeerId, ballot: Ballot): void {
    const { self, history } = this.#ledger;
    const own = history.newest.configuration.voters.find((v) => v.peer === self.peer);
    if (!own || own.witness || own.incarnation !== self.incarnation) return;
    if (!this.#votes || !this.#mayLead || this.#isBlocked) return;
    if (ballot.peer !== from || this.#proposer.ballot !== null) return;
    this.#ledger.see(ballot);
    this.#proposer.campaign(ballot);
  }

  #steppedDown(reason: string): void {
    if (reason === 'commits stall') this.#election.restAfterAttempt(STALL_REST_TICKS);
    else if (reason === 'leadership was handed over') this.#election.heardLeaderNow();
    else this.#election.restAfterAttempt();
    this.#handOverTo = null;
    this.#beat(true);
    this.#noteLeader();
  }

  #barrierReached(id: number, at: Slot): void {
    if (this.#barriersAsked.delete(id)) this.#effects.push({ type: 'barrier', id, slot: at });
  }

  #askBarrier(id: number): void {
    if (this.#proposer.leads) this.#proposer.onBarrier({ from: null, id });
    else if (this.#lastLeader !== null) {
      this.#effects.push({ type: 'send', to: [this.#lastLeader.peer], message: { type: 'barrier', id } });
    }
  }

  #turnEnd(): void {
    this.#proposer.turnEnd();
    this.#acceptor.turnEnd();
    if (this.#proposer.leads) this.#tellWatermark(this.#proposer.takeAwaiting());
    this.#noteLeader();
  }

  /**
   * Who waits for a commit hears of it at once. The others hear with the next Accept, or at the next tick: a message of its own to each for each
   * commit would cost a busy group more than the rest of the round. @param to all where null
   */
  #tellWatermark(to: readonly PeerId[] | null): void {
    const { prefix, digest } = this.#ledger;
    const ballot = this.#proposer.ballot;
    if (ballot === null || prefix === this.#toldWatermark) return;
    const told = to === null ? this.#members : this.#members.filter((peer) => to.includes(peer));
    if (to === null) this.#toldWatermark = prefix;
    if (told.length === 0) return;
    this.#effects.push({ type: 'send', to: told, message: { type: 'commit', ballot, watermark: prefix, digest } });
  }

  #beat(now: boolean): void {
    const fast = this.#now % HEARTBEAT_TICKS === 0;
    const slow = this.#now % SLOW_HEARTBEAT_TICKS === 0;
    if (!now && !fast) return;
    const voters = new Set(this.#ledger.window().flatMap(({ configuration: c }) => c.voters.map((v) => v.peer)));
    const isVoter = voters.has(this.#ledger.self.peer);
    const to = this.#members.filter((peer) => now || slow || this.#proposer.leads || (isVoter && voters.has(peer)));
    if (to.length === 0) return;
    const { promised, prefix, digest, blockedFrom } = this.#ledger;
    // It speaks of a promise and of what is held, so it leaves after the disk has them.
    this.#effects.push({
      type: 'sendAfterPersist',
      to,
      message: {
        type: 'heartbeat',
        promised,
        leading: this.#proposer.leads && !this.#proposer.handingOver ? this.#proposer.ballot : null,
        hearsLeader: this.#election.leaderHeard()?.ballot ?? null,
        hears: this.#election.hears(),
        prefix,
        digest,
        durable: this.#counted ?? prefix,
        votes: this.#votes && !(blockedFrom !== null && prefix + 1 >= blockedFrom),
        note: this.#note,
      },
    });
  }

  #noteLeader(): void {
    const own = this.#proposer.leads ? this.#proposer.ballot : null;
    const heard = this.#election.leaderHeard();
    const leader = own !== null ? { peer: this.#ledger.self.peer, ballot: own } : heard;
    if (
      leader?.peer === this.#lastLeader?.peer &&
      sameBallot(leader?.ballot ?? null, this.#lastLeader?.ballot ?? null)
    ) {
      return;
    }
    this.#lastLeader = leader;
    this.#effects.push({
      type: 'leader',
      leader: leader?.peer ?? null,
      ballot: leader?.ballot ?? null,
      self: own !== null,
    });
    for (const id of this.#barriersAsked.keys()) this.#askBarrier(id);
  }

  #forget(peer: PeerId): void {
    this.#election.forget(peer);
    this.#learner.forget(peer);
  }
}
