import { equal } from '../../shared/base/bytes.ts';
import type { Incarnation, PeerId, Slot } from '../../shared/base/ids.ts';
import { type Ballot, compareBallots } from '../../shared/consensus/ballot.ts';
import { type Configuration, type InForce, isVoter } from '../../shared/consensus/configuration.ts';
import { nextDigest } from '../../shared/consensus/ledger.ts';
import type { Message } from '../../shared/consensus/messages.ts';
import type { Value } from '../../shared/consensus/value.ts';
import { GENESIS_DIGEST, nameOf, showBallot, showValue } from './names.ts';

/** A rule of the protocol was broken. Raised by the checkers, never by the core. */
export class Violation extends Error {
  override readonly name = 'Violation';
}

/** What the checkers may see of a peer: its name and what is on its disk. */
export interface Witnessed {
  readonly peer: PeerId;
  readonly incarnation: Incarnation;
  /** Counts the starts of this peer. */
  readonly run: number;
  readonly disk: {
    readonly promised: Ballot | null;
    readonly prefix: number;
    /** All that was ever durably accepted by this store: `slot|ballot` → value. */
    readonly everAccepted: ReadonlyMap<string, string>;
  };
}

interface Proposal {
  readonly ballot: Ballot;
  readonly value: string;
}

export const acceptanceKey = (at: number, ballot: Ballot): string => `${at}|${showBallot(ballot)}`;

/**
 * Knows nothing of the core's state: it sees what reaches the disks and what leaves, works out for itself what is chosen, and holds every
 * peer against that.
 */
export class Checkers {
  readonly #alpha: number;
  /** Worked out from durable acceptances alone. */
  readonly #chosen = new Map<number, { value: string; of: Value; ballots: Ballot[] }>();
  /** `slot|ballot` → who holds it durably. */
  readonly #holders = new Map<string, { ballot: Ballot; value: Value; by: Set<string> }>();
  readonly #proposals = new Map<number, Map<string, Proposal>>();
  readonly #ballotRuns = new Map<string, number>();
  readonly #inForce: InForce[];
  readonly #digests: Uint8Array[] = [GENESIS_DIGEST];
  /** Ballots under which something was chosen. */
  readonly #established = new Set<string>();

  constructor(alpha: number, genesis: Configuration) {
    this.#alpha = alpha;
    this.#inForce = [{ slot: 0 as Slot, from: 1 as Slot, configuration: genesis }];
  }

  /** Every slot up to here is chosen, by the checkers' own count. */
  get prefix(): number {
    return this.#digests.length - 1;
  }

  chosenIn(at: number): string | null {
    return this.#chosen.get(at)?.value ?? null;
  }

  get configurations(): readonly InForce[] {
    return this.#inForce;
  }

  /** A configuration was proposed in a slot that is not chosen yet, as far as the chosen prefix goes. */
  get isChangePending(): boolean {
    return [...this.#proposals].some(
      ([at, list]) => at > this.prefix && [...list.values()].some((p) => p.value.startsWith('{')),
    );
  }

  governing(at: number): InForce {
    return this.#inForce.findLast((c) => c.from <= at) as InForce;
  }

  // --- disks ---

  promised(peer: Witnessed, before: Ballot | null, ballot: Ballot): void {
    if (compareBallots(ballot, before) <= 0) {
      throw new Violation(
        `${nameOf(peer.peer)} lowers its promise from ${showBallot(before)} to ${showBallot(ballot)}`,
      );
    }
  }

  /** After the batch is on the disk. */
  accepted(peer: Witnessed, at: number, ballot: Ballot, value: Value): void {
    const name = nameOf(peer.peer);
    const what = `${at}=${showValue(value)} under ${showBallot(ballot)}`;
    if (compareBallots(ballot, peer.disk.promised) > 0)
      throw new Violation(`${name} accepts ${what} without promising it`);
    if (at > this.prefix + this.#alpha) {
      throw new Violation(`${name} accepts ${what}, but nobody knows what governs ${at}: chosen up to ${this.prefix}`);
    }
    const governing = this.governing(at);
    if (!isVoter(governing.configuration, peer.peer, peer.incarnation)) {
      throw new Violation(`${name} accepts ${what}, but has no vote there`);
    }
    if (peer.disk.prefix < governing.from - 1) {
      throw new Violation(`${name} accepts ${what} before it holds everything below ${governing.from} (R2)`);
    }
    this.#proposed(at, ballot, value);
    this.#count(peer, at, ballot, value, governing);
  }

  #count(peer: Witnessed, at: number, ballot: Ballot, value: Value, governing: InForce): void {
    const key = acceptanceKey(at, ballot);
    let held = this.#holders.get(key);
    if (!held) {
      held = { ballot, value, by: new Set() };
      this.#holders.set(key, held);
    }
    held.by.add(`${peer.peer}/${peer.incarnation}`);
    const votes = governing.configuration.voters.filter((v) => held.by.has(`${v.peer}/${v.incarnation}`)).length;
    if (votes >= governing.configuration.q2) this.#choose(at, ballot, value);
  }

  #choose(at: number, ballot: Ballot, value: Value): void {
    const text = showValue(value);
    const known = this.#chosen.get(at);
    if (known && known.value !== text) {
      throw new Violation(`two values chosen in ${at}: ${known.value} and ${text} (${showBallot(ballot)})`);
    }
    this.#established.add(showBallot(ballot));
    if (known) {
      known.ballots.push(ballot);
      return;
    }
    this.#chosen.set(at, { value: text, of: value, ballots: [ballot] });
    // P2b: every proposal with a higher number has this value.
    for (const p of this.#proposals.get(at)?.values() ?? []) this.#holdAgainstChosen(at, p);
    for (let next = this.#chosen.get(this.prefix + 1); next; next = this.#chosen.get(this.prefix + 1)) {
      const s = this.prefix + 1;
      this.#digests.push(nextDigest(this.#digests[s - 1] as Uint8Array, s as Slot, next.of.hash));
      if (next.of.kind === 'configuration' && next.of.configuration) this.#takesForce(s, next.of.configuration);
    }
  }

  #takesForce(s: number, c: Configuration): void {
    const governing = this.governing(s);
    if (c.previous !== governing.slot || governing !== this.#inForce.at(-1)) return;
    this.#inForce.push({ slot: s as Slot, from: (s + this.#alpha) as Slot, configuration: c });
  }

  // --- what leaves ---

  #proposed(at: number, ballot: Ballot, value: Value): void {
    let list = this.#proposals.get(at);
    if (!list) {
      list = new Map();
      this.#proposals.set(at, list);
    }
    const key = showBallot(ballot);
    const text = showValue(value);
    const known = list.get(key);
    if (known && known.value !== text)
      throw new Violation(`two values under ${key} in ${at}: ${known.value} and ${text}`);
    if (known) return;
    if (value.kind === 'configuration') this.#newChange(at, ballot, value, list);
    const p = { ballot, value: text };
    list.set(key, p);
    this.#holdAgainstChosen(at, p);
  }

  #newChange(at: number, ballot: Ballot, value: Value, earlier: Map<string, Proposal>): void {
    const isFresh = ![...earlier.values()].some((p) => p.value === showValue(value));
    if (isFresh && !this.#established.has(showBallot(ballot))) {
      throw new Violation(`a change in ${at} under ${showBallot(ballot)} before a value of that ballot was chosen`);
    }
  }

  #holdAgainstChosen(at: number, p: Proposal): void {
    const chosen = this.#chosen.get(at);
    if (!chosen || chosen.value === p.value) return;
    if (chosen.ballots.some((b) => compareBallots(p.ballot, b) > 0)) {
      throw new Violation(
        `${p.value} is proposed in ${at} under ${showBallot(p.ballot)} after ${chosen.value} was chosen`,
      );
    }
  }

  /** A message leaves `from`: what it speaks of is on the disk by now (base rule 1). */
  leaves(from: Witnessed, m: Message): void {
    const name = nameOf(from.peer);
    const { disk } = from;
    const durable = (b: Ballot | null, what: string): void => {
      if (compareBallots(b, disk.promised) > 0)
        throw new Violation(`${name} speaks of ${what} ${showBallot(b)} before it is on the disk`);
    };
    const holds = (prefix: number): void => {
      if (prefix > disk.prefix)
        throw new Violation(`${name} says that it holds ${prefix}, its disk ends at ${disk.prefix}`);
    };
    const own = (b: Ballot): void => {
      if (b.peer !== from.peer || b.incarnation !== from.incarnation)
        throw new Violation(`${name} uses ${showBallot(b)}`);
      durable(b, 'its ballot');
    };
    switch (m.type) {
      case 'prepare': {
        own(m.ballot);
        const run = this.#ballotRuns.get(showBallot(m.ballot)) ?? from.run;
        this.#ballotRuns.set(showBallot(m.ballot), run);
        if (run !== from.run) throw new Violation(`${name} resumes ${showBallot(m.ballot)} after a restart (R3)`);
        return;
      }
      case 'promise':
        durable(m.ballot, 'a promise');
        holds(m.floor);
        for (const row of m.accepted) {
          if (!disk.everAccepted.has(acceptanceKey(row.slot, row.ballot))) {
            throw new Violation(`${name} lists ${row.slot} under ${showBallot(row.ballot)}, which is not on its disk`);
          }
        }
        return;
      case 'accept':
        own(m.ballot);
        this.#proposed(m.slot, m.ballot, m.value);
        if (this.governing(m.slot).slot !== m.configuration || m.slot > this.prefix + this.#alpha) {
          throw new Violation(`${name} proposes in ${m.slot} under configuration ${m.configuration}`);
        }
        return;
      case 'accepted':
        holds(m.prefix);
        for (const s of m.slots) {
          if (!disk.everAccepted.has(acceptanceKey(s, m.ballot))) {
            throw new Violation(`${name} says that it accepted ${s} under ${showBallot(m.ballot)}, its disk doesn't`);
          }
        }
        return;
      case 'nack':
        durable(m.promised, 'a promise');
        return;
      case 'behind':
        holds(m.prefix);
        return;
      case 'heartbeat':
        durable(m.promised, 'a promise');
        holds(m.prefix);
        holds(m.durable);
        return;
      case 'commit':
        own(m.ballot);
        return;
    }
  }

  /** A peer commits a slot. */
  commits(peer: Witnessed, at: number, value: Value, digest: Uint8Array): void {
    const name = nameOf(peer.peer);
    const text = showValue(value);
    const chosen = this.#chosen.get(at);
    if (!chosen) throw new Violation(`${name} commits ${at}=${text}, which is not chosen`);
    if (chosen.value !== text) throw new Violation(`${name} commits ${at}=${text}, but ${chosen.value} is chosen`);
    if (at > this.prefix) throw new Violation(`${name} commits ${at}, but ${this.prefix + 1} is not chosen yet`);
    if (!equal(digest, this.#digests[at] as Uint8Array)) throw new Violation(`${name} has another digest at ${at}`);
  }
}
