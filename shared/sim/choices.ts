import { toHex } from '../base/bytes.ts';
import { decodeCbor, encodeCbor } from '../base/cbor.ts';
import type { Incarnation, PeerId } from '../base/ids.ts';
import { type Ballot, compareBallots, showBallot } from '../consensus/ballot.ts';
import { type Configuration, count, decodeConfiguration, encodeConfiguration } from '../consensus/configuration.ts';
import { check } from './check.ts';
import { valueName } from './disk-view.ts';

/** A configuration with force, worked out from what was chosen. */
export interface Force {
  readonly slot: number;
  readonly from: number;
  readonly configuration: Configuration;
}

interface Ballots {
  readonly ballot: Ballot;
  readonly value: string;
  readonly configuration: Configuration | null;
  /** `peer/incarnation` of those that have it on their disks. */
  readonly holders: Set<string>;
}

interface Slots {
  readonly ballots: Map<string, Ballots>;
  /** By the lowest ballot under which a quorum accepted it. */
  chosen: Ballots | null;
}

export interface Acceptor {
  readonly peer: PeerId;
  readonly incarnation: Incarnation;
}

const KIND_CONFIGURATION = 1;
/** Below every one that somebody proposes under. */
const NO_BALLOT: Ballot = { round: 0, peer: '' as PeerId, incarnation: '' as Incarnation };
export const ballotName = (b: Ballot): string => `${b.round}.${b.peer}.${b.incarnation}`;
export const acceptorName = (a: Acceptor): string => `${a.peer}/${a.incarnation}`;

/**
 * The truth about what is chosen, counted from what reached the disks alone, and the rules that hold for it: one value per slot and ballot; one
 * value per slot; whatever is proposed after something was chosen is that (P2b); an acceptance counts only from a voter of the configuration that
 * governs the slot, and is made only by one who holds everything below that configuration (R1, R2).
 */
export class Choices {
  readonly alpha: number;
  /** Everything up to here is chosen. */
  prefix = 0;
  /** Machines that vote again under another incarnation. */
  readmissions = 0;
  readonly #slots = new Map<number, Slots>();
  readonly #inForce: Force[];

  constructor(alpha: number, first: Configuration) {
    this.alpha = alpha;
    this.#inForce = [{ slot: 0, from: 1, configuration: first }];
  }

  /** How many configurations took force after the first. */
  get changes(): number {
    return this.#inForce.length - 1;
  }

  /** With which the group began. */
  get first(): Configuration {
    return (this.#inForce[0] as Force).configuration;
  }

  /**
   * Survivors go on in another epoch (R12): above `prefix`, what stands in these slots is what they hold, whatever was proposed, accepted or chosen there before; the last is their configuration, which
   * governs from the next slot on.
   */
  recovered(
    prefix: number,
    rows: readonly { readonly slot: number; readonly value: string; readonly bytes: Uint8Array }[],
  ): void {
    for (const at of [...this.#slots.keys()]) if (at > prefix) this.#slots.delete(at);
    const known = this.#inForce.filter(({ slot }) => slot <= prefix);
    this.#inForce.splice(0, this.#inForce.length, ...known);
    this.prefix = Math.min(this.prefix, prefix);
    const last = rows.at(-1)?.slot;
    for (const { slot, value, bytes } of rows) {
      const ballot = NO_BALLOT;
      const configuration = configurationIn(bytes);
      const chosen = { ballot, value, configuration, holders: new Set<string>() };
      this.#slots.set(slot, { ballots: new Map(), chosen });
      if (slot !== last || configuration === null) this.#advance();
      else {
        this.prefix = slot;
        this.#inForce.push({ slot, from: slot + 1, configuration });
      }
    }
  }

  get newest(): Force {
    return this.#inForce[this.#inForce.length - 1] as Force;
  }

  /** What governs a slot, by the rule R1: only known with everything chosen up to α before it. */
  governing(at: number, who: string): Force {
    check(
      at <= this.prefix + this.alpha,
      () => `${who} in slot ${at}, but only ${this.prefix} are chosen: nobody can know who decides there`,
    );
    return this.#at(at);
  }

  #at(at: number): Force {
    return this.#inForce.findLast((c) => c.from <= at) as Force;
  }

  chosenValue(at: number): string | null {
    return this.#slots.get(at)?.chosen?.value ?? null;
  }

  /** Every configuration whose quorums somebody may still need: in force for an open slot, or proposed in one. */
  needed(): Configuration[] {
    const governing = this.#at(Math.max(1, this.prefix));
    const list = this.#inForce.slice(this.#inForce.indexOf(governing)).map((c) => c.configuration);
    for (const [at, { ballots, chosen }] of this.#slots) {
      if (at <= this.prefix) continue;
      if (chosen?.configuration) list.push(chosen.configuration);
      for (const { configuration } of ballots.values()) if (configuration) list.push(configuration);
    }
    return list;
  }

  /** What governs the slots above `prefix`, as whoever holds that prefix knows it. */
  knownAbove(prefix: number): readonly Force[] {
    return this.#inForce.slice(this.#inForce.indexOf(this.#at(prefix + 1))).filter(({ slot }) => slot <= prefix);
  }

  /** How hard it was made for them: slots that more than one ballot, and more than one value, was proposed in; ballots in all. */
  get contest(): { readonly ballots: number; readonly slotsAgain: number; readonly slotsContested: number } {
    const all = [...this.#slots.values()].map(({ ballots }) => [...ballots.values()]);
    return {
      ballots: new Set(all.flat().map((b) => ballotName(b.ballot))).size,
      slotsAgain: all.filter((ballots) => ballots.length > 1).length,
      slotsContested: all.filter((ballots) => new Set(ballots.map((b) => b.value)).size > 1).length,
    };
  }

  /** A value leaves in an Accept, or reaches a disk. */
  proposed(at: number, ballot: Ballot, value: string, bytes: Uint8Array): Ballots {
    const slots = this.#slotsAt(at);
    const name = ballotName(ballot);
    let known = slots.ballots.get(name);
    if (!known) {
      known = { ballot, value, configuration: configurationIn(bytes), holders: new Set() };
      slots.ballots.set(name, known);
    }
    check(
      known.value === value,
      () => `two values in slot ${at} under one ballot ${showBallot(ballot)}: ${known.value} and ${value}`,
    );
    const { chosen } = slots;
    if (chosen && chosen.value !== value) {
      check(
        compareBallots(ballot, chosen.ballot) <= 0,
        () =>
          `slot ${at}: ${chosen.value} was chosen under ${showBallot(chosen.ballot)}, and ${value} is proposed under ${showBallot(ballot)}`,
      );
    }
    return known;
  }

  /** An acceptance is on a disk whose chosen prefix is `held`. */
  accepted(
    at: number,
    ballot: Ballot,
    bytes: Uint8Array,
    by: Acceptor & { readonly name: string; readonly held: number },
  ): void {
    const value = valueName(bytes);
    const known = this.proposed(at, ballot, value, bytes);
    const { configuration, from } = this.governing(at, `${by.name} accepts`);
    check(
      configuration.voters.some((v) => v.peer === by.peer && v.incarnation === by.incarnation),
      () => `${by.name} accepts in slot ${at}, but is no voter there under this incarnation`,
    );
    check(
      by.held >= from - 1,
      () => `${by.name} accepts in slot ${at} and holds only ${by.held}, but needs ${from - 1} (R2)`,
    );
    known.holders.add(acceptorName(by));
    if (count(configuration, (v) => known.holders.has(acceptorName(v))) >= configuration.q2) this.#choose(at, known);
  }

  #choose(at: number, known: Ballots): void {
    const slots = this.#slotsAt(at);
    const before = slots.chosen;
    check(
      before === null || before.value === known.value,
      () =>
        `two values chosen in slot ${at}: ${before?.value} before, and ${known.value} under ${showBallot(known.ballot)}`,
    );
    if (before === null || compareBallots(known.ballot, before.ballot) < 0) slots.chosen = known;
    const { value, ballot } = slots.chosen ?? known;
    for (const other of slots.ballots.values()) {
      check(
        other.value === value || compareBallots(other.ballot, ballot) < 0,
        () =>
          `slot ${at}: ${value} is chosen under ${showBallot(ballot)}, though ${other.value} was proposed under ${showBallot(other.ballot)}`,
      );
    }
    this.#advance();
  }

  #advance(): void {
    for (let next = this.#slots.get(this.prefix + 1)?.chosen; next; next = this.#slots.get(this.prefix + 1)?.chosen) {
      this.prefix++;
      const c = next.configuration;
      if (c && c.previous === this.newest.slot && this.#at(this.prefix) === this.newest) this.#force(c);
    }
  }

  /** Base rule 4, counted here once more: whoever may propose has met whoever may have chosen, and where there are two a value is on two. */
  #force(c: Configuration): void {
    const n = new Set(c.voters.map((v) => v.peer)).size;
    check(
      n === c.voters.length && c.q1 <= n && c.q2 <= n && c.q1 + c.q2 > n && c.q2 >= Math.min(2, n),
      () =>
        `the configuration of ${this.prefix} has quorums of ${c.q1} and ${c.q2} among ${c.voters.length} (base rule 4)`,
    );
    const before = this.newest.configuration.voters;
    for (const { peer, incarnation } of c.voters) {
      if (before.some((v) => v.peer === peer && v.incarnation !== incarnation)) this.readmissions++;
    }
    this.#inForce.push({ slot: this.prefix, from: this.prefix + this.alpha, configuration: c });
  }

  /** A node holds `value` as the chosen one of slot `at`. */
  committed(at: number, value: string | undefined, who: string): void {
    const chosen = this.chosenValue(at);
    check(
      chosen !== null,
      () => `${who} holds slot ${at} for chosen, but no quorum has accepted one value there under one ballot`,
    );
    check(chosen === value, () => `${who} holds ${value} for chosen in slot ${at}, but ${chosen} is`);
  }

  /** Somebody speaks of everything up to `upTo` as chosen. */
  said(upTo: number, who: string): void {
    check(
      upTo <= this.prefix,
      () => `${who} says that ${upTo} is chosen, but the disks have quorums up to ${this.prefix} only`,
    );
  }

  /** A node believes that this configuration took force. */
  tookForce(at: number, record: Uint8Array, who: string): void {
    const known = this.#inForce.find((c) => c.slot === at);
    check(
      known !== undefined &&
        toHex(encodeCbor([known.from, encodeConfiguration(known.configuration)])) === toHex(record),
      () => `${who} has a configuration of slot ${at} in force that has none`,
    );
  }

  #slotsAt(at: number): Slots {
    let slots = this.#slots.get(at);
    if (!slots) {
      slots = { ballots: new Map(), chosen: null };
      this.#slots.set(at, slots);
    }
    return slots;
  }
}

function configurationIn(bytes: Uint8Array): Configuration | null {
  return bytes[0] === KIND_CONFIGURATION ? decodeConfiguration(decodeCbor(bytes.subarray(1))) : null;
}
