import type { Incarnation, PeerId, Slot } from '../base/ids.ts';
import { type Ballot, sameBallot } from './ballot.ts';
import { type Configuration, count, type InForce, type Voter } from './configuration.ts';
import { BACKOFF_TICKS, LOST_TICKS, SUSPICION_TICKS } from './constants.ts';
import type { Ledger } from './ledger.ts';
import type { Heartbeat } from './messages.ts';

interface Heard {
  readonly tick: number;
  readonly incarnation: Incarnation;
  readonly beat: Heartbeat;
}

/**
 * Who hears whom, and from that who may lead (after Omni-Paxos' ballot leader election): a candidate hears, both ways, a phase-1 and a
 * phase-2 quorum of every configuration in its window; a leader goes on only while it hears its phase-2 quorums.
 */
export class Election {
  readonly #ledger: Ledger;
  readonly #votes: boolean;
  readonly #random: () => number;
  readonly #heard = new Map<PeerId, Heard>();
  /** Whose connection closed, and when. */
  readonly #closed = new Map<PeerId, number>();
  #now = 0;
  /** Since when no leader with a quorum has been heard, by this peer or a neighbour. */
  #quietSinceTick = 0;
  #backoffTicks: number;

  /** @param random in [0, 1), injected. */
  constructor(ledger: Ledger, votes: boolean, random: () => number) {
    this.#ledger = ledger;
    this.#votes = votes;
    this.#random = random;
    this.#backoffTicks = this.#drawBackoff();
  }

  #drawBackoff(): number {
    return Math.floor(this.#random() * (BACKOFF_TICKS + 1));
  }

  onHeartbeat(from: PeerId, incarnation: Incarnation, beat: Heartbeat): void {
    this.#heard.set(from, { tick: this.#now, incarnation, beat });
    this.#ledger.see(beat.promised);
    if (beat.leading !== null) this.#quietSinceTick = this.#now;
    // A neighbour's leader holds this peer back while the neighbour says so; its silence was waited for there already.
    else if (beat.hearsLeader !== null) {
      this.#quietSinceTick = Math.max(this.#quietSinceTick, this.#now - SUSPICION_TICKS);
    }
  }

  /** This peer just promised itself to somebody else, who gets a moment to make use of it. */
  granted(): void {
    this.#quietSinceTick = Math.max(this.#quietSinceTick, this.#now - SUSPICION_TICKS + BACKOFF_TICKS);
  }

  tick(now: number): void {
    this.#now = now;
    for (const [peer, sinceTick] of this.#closed) {
      if (now - sinceTick !== LOST_TICKS || !this.#isLost(peer) || this.#heard.get(peer)?.beat.leading === null)
        continue;
      // Its silence need not be waited for. What neighbours hear still holds this peer back.
      this.#quietSinceTick = Math.min(this.#quietSinceTick, now - SUSPICION_TICKS);
    }
  }

  /** The network's word about a link. A process that ends closes its connections at once; a machine that goes dark does not. */
  connection(peer: PeerId, connected: boolean): void {
    if (connected) this.#closed.delete(peer);
    else this.#closed.set(peer, this.#now);
  }

  /** Its connection closed a while ago, and nothing was heard since. */
  #isLost(peer: PeerId): boolean {
    const closedTick = this.#closed.get(peer);
    if (closedTick === undefined || this.#now - closedTick < LOST_TICKS) return false;
    return (this.#heard.get(peer)?.tick ?? -1) <= closedTick;
  }

  isHeard(peer: PeerId): boolean {
    return this.beatOf(peer) !== null;
  }

  /** The last heartbeat, or null where that is too long ago. */
  beatOf(peer: PeerId): Heartbeat | null {
    const heard = this.#heard.get(peer);
    return heard && this.#now - heard.tick < SUSPICION_TICKS ? heard.beat : null;
  }

  /** All peers heard lately. */
  hears(): PeerId[] {
    return [...this.#heard.keys()].filter((peer) => this.isHeard(peer));
  }

  /** The link works both ways: each hears the other. Oneself always counts. */
  linked(peer: PeerId): boolean {
    const { self } = this.#ledger;
    return peer === self.peer || (this.beatOf(peer)?.hears.includes(self.peer) ?? false);
  }

  /** Linked, under the incarnation that the configuration names, and its store is sound: it can answer as that acceptor. */
  canAnswer({ peer, incarnation }: Voter): boolean {
    const { self } = this.#ledger;
    if (peer === self.peer) return this.#votes && incarnation === self.incarnation;
    return (
      this.linked(peer) && (this.beatOf(peer)?.votes ?? false) && this.#heard.get(peer)?.incarnation === incarnation
    );
  }

  reachable(c: Configuration): number {
    return count(c, (v) => this.canAnswer(v));
  }

  /** Both quorums of every configuration in the window can answer. */
  hearsQuorums(window: readonly InForce[]): boolean {
    return window.every(({ configuration: c }) => {
      const n = this.reachable(c);
      return n >= c.q1 && n >= c.q2;
    });
  }

  /** Enough for a leader to go on; configurations still to be prepared need their phase-1 quorum too. */
  hearsLeaderQuorums(window: readonly InForce[], isPrepared: (configuration: Slot) => boolean): boolean {
    return window.every(({ slot, configuration: c }) => {
      const n = this.reachable(c);
      return n >= c.q2 && (isPrepared(slot) || n >= c.q1);
    });
  }

  /** The leader that this peer itself hears, with the highest ballot if several claim it. */
  leaderHeard(): { readonly peer: PeerId; readonly ballot: Ballot } | null {
    let best: { peer: PeerId; ballot: Ballot } | null = null;
    for (const peer of this.hears()) {
      if (this.#isLost(peer)) continue;
      const ballot = this.beatOf(peer)?.leading;
      if (ballot && (best === null || ballot.round > best.ballot.round)) best = { peer, ballot };
    }
    return best;
  }

  hearsLeaderBut(but: PeerId, transferFrom: Ballot | null): boolean {
    for (const peer of this.hears()) {
      if (peer === but || this.#isLost(peer)) continue;
      const beat = this.beatOf(peer) as Heartbeat;
      for (const leader of [beat.leading, beat.hearsLeader]) {
        if (leader === null || leader.peer === but || sameBallot(leader, transferFrom)) continue;
        return true;
      }
    }
    return false;
  }

  /** Quiet for long enough that this peer may try to lead. A voter that decides alone need not wait for anybody. */
  mayCampaign(): boolean {
    const window = this.#ledger.window();
    const { self, blockedFrom } = this.#ledger;
    if (!this.#votes || blockedFrom !== null) return false;
    // Whoever leads proposes in the open slots, so it must be a voter in the configuration that governs the first of them.
    const own = (window[0] as InForce).configuration.voters.find((v) => v.peer === self.peer);
    if (!own || own.witness || own.incarnation !== self.incarnation) return false;
    if (!this.hearsQuorums(window) || this.hearsLeaderBut(self.peer, null)) return false;
    const alone = window.every(({ configuration: c }) => c.voters.length === 1);
    return alone || this.#now - this.#quietSinceTick >= SUSPICION_TICKS + this.#backoffTicks;
  }

  /** After an attempt that led to nothing, or having given up leading. `extraTicks` lets the others go first. */
  restAfterAttempt(extraTicks = 0): void {
    this.#quietSinceTick = this.#now - SUSPICION_TICKS + extraTicks;
    this.#backoffTicks = this.#drawBackoff() + 1;
  }

  /** A leader was there just now (for instance oneself, handing over): wait the full time. */
  heardLeaderNow(): void {
    this.#quietSinceTick = this.#now;
    this.#backoffTicks = this.#drawBackoff();
  }

  forget(peer: PeerId): void {
    this.#heard.delete(peer);
    this.#closed.delete(peer);
  }
}
