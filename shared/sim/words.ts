import { type Ballot, compareBallots, sameBallot, showBallot } from '../consensus/ballot.ts';
import { type Configuration, count } from '../consensus/configuration.ts';
import type { Accept, Message, Promise1b } from '../consensus/messages.ts';
import type { Value } from '../consensus/value.ts';
import { type Batch, decodeBatch, decodeRun } from '../document/index.ts';
import type { Outgoing } from '../replica/replica.ts';
import { check } from './check.ts';
import { type Acceptor, acceptorName, ballotName, type Choices } from './choices.ts';
import { type DiskView, type Landed, valueName } from './disk-view.ts';

/** What the checks may know of a node. */
export interface Speaker extends Acceptor {
  readonly name: string;
  /** Counts its starts. */
  readonly life: number;
  readonly disk: DiskView;
  /** What it holds for chosen, in memory. */
  readonly prefix: number;
  /** Its store was found damaged. */
  readonly isDamaged: boolean;
  /** What it had said and lost, and did not notice; null: nothing. */
  readonly forgot: string | null;
  /** Its store was put back or copied, which only others can tell it. */
  readonly isOld: boolean;
}

/**
 * Listens to every message as it leaves and watches every batch as it lands. Base rule 1: nothing is said of a promise, an acceptance, a prefix or an
 * own command before it stands on that very node's disk. And what is said has to be true.
 */
export class Words {
  readonly #choices: Choices;
  /** `ballot|configuration` → who promised it, and the lowest floor that was said with it. */
  readonly #promised = new Map<string, Map<string, number>>();
  /** In which life of its owner a ballot was used. */
  readonly #lifeOf = new Map<string, string>();
  readonly #digests = new Map<number, Uint8Array>();
  readonly #names = new WeakMap<Value, string>();

  /** How much each acceptor's disk was seen to hold: one that is lost afterwards is a fault of its own. */
  readonly #durable = new Map<string, number>();

  constructor(choices: Choices) {
    this.#choices = choices;
  }

  /** Above this slot the log is another one now (R12). */
  forget(above: number): void {
    for (const at of this.#digests.keys()) if (at > above) this.#digests.delete(at);
  }

  // --- what lands on a disk

  landed(who: Speaker, landed: Landed): void {
    const { rows, digests, configurations, promisedBefore, prefixBefore } = landed;
    const { disk, name } = who;
    this.#durable.set(acceptorName(who), Math.max(disk.durable, this.#durable.get(acceptorName(who)) ?? 0));
    check(
      compareBallots(disk.promised, promisedBefore) >= 0,
      () => `${name} lowers its promise from ${showBallot(promisedBefore)} to ${showBallot(disk.promised)}`,
    );
    check(disk.prefix >= prefixBefore, () => `${name}'s chosen prefix falls from ${prefixBefore} to ${disk.prefix}`);
    for (const { slot, ballot, bytes } of rows) {
      if (ballot === null || who.isDamaged) continue;
      check(
        compareBallots(ballot, disk.promised) <= 0,
        () =>
          `${name} accepts slot ${slot} under ${showBallot(ballot)} and has promised ${showBallot(disk.promised)} (base rule 2)`,
      );
      const { peer, incarnation } = who;
      this.#choices.accepted(slot, ballot, bytes, { peer, incarnation, name, held: disk.prefix });
      this.#handedOver(who, slot);
    }
    // Before an acceptance in a slot counts, what was dropped is held against those who hold it.
    this.#dropped(who, landed);
    for (let at = prefixBefore + 1; at <= disk.prefix; at++)
      if (disk.missing.at(at) === null) this.#choices.committed(at, disk.rows.get(at)?.value, name);
    this.#choices.said(disk.prefix, name);
    // A committed place is rewritten by nothing but itself.
    for (const { slot, value } of rows) if (slot <= disk.prefix) this.#choices.committed(slot, value, name);
    for (const { slot, digest } of digests) this.#sameDigest(slot, digest, name);
    for (const { slot, record } of configurations) this.#choices.tookForce(slot, record, name);
  }

  /**
   * R5: a value goes only where full voters, oneself not counted, hold it or a state made from it on their disks, so many in each configuration that may still
   * be needed that every phase-1 quorum meets one.
   */
  #dropped(who: Speaker, { missingBefore, prefixBefore }: Landed): void {
    const { missing } = who.disk;
    if (missing === missingBefore) return;
    const last = missing.ranges.findLast(({ to }) => to <= prefixBefore && missingBefore.at(to) === null);
    if (last === undefined) return;
    for (const { configuration: c } of this.#choices.knownAbove(who.disk.prefix)) {
      const holders = this.#holders(who, c, last.to);
      check(
        holders + c.q1 > c.voters.length,
        () => `${who.name} drops slot ${last.to}, which only ${holders} other voters of ${c.voters.length} hold (R5)`,
      );
    }
  }

  /** R2: whoever doesn't hold all that is below a configuration accepts there only once enough of its full voters do. */
  #handedOver(who: Speaker, at: number): void {
    const { from, configuration: c } = this.#choices.governing(at, who.name);
    if (who.disk.durable >= from - 1) return;
    const holders = this.#holders(who, c, from - 1);
    check(
      holders + c.q1 > c.voters.length,
      () => `${who.name} accepts in slot ${at}, and what is below ${from} is held by only ${holders} others (R2)`,
    );
  }

  /** How many full voters but `who` were ever seen to hold everything up to `upTo` on their disks. */
  #holders(who: Speaker, c: Configuration, upTo: number): number {
    return count(c, (v) => !v.witness && v.peer !== who.peer && (this.#durable.get(acceptorName(v)) ?? 0) >= upTo);
  }

  #sameDigest(slot: number, digest: Uint8Array, name: string): void {
    const known = this.#digests.get(slot);
    if (known === undefined) this.#digests.set(slot, digest);
    else
      check(
        known.every((byte, i) => byte === digest[i]),
        () => `${name} has another digest at slot ${slot} than somebody else`,
      );
  }

  // --- what leaves

  leave(who: Speaker, out: Outgoing): void {
    if (out.layer === 'consensus') return this.#message(who, out.message);
    if (out.message.type !== 'offer') return;
    for (const bytes of out.message.runs) this.#saved(who, [decodeRun(bytes)], 'offers');
  }

  #message(who: Speaker, m: Message): void {
    switch (m.type) {
      case 'prepare':
        this.#maySpeak(who, 'campaigns');
        // Of a store that was put back the ballot may be one that it used before: nobody answers it before having told it so.
        return who.isOld && who.forgot !== null ? this.#hasPromised(who, m.ballot) : this.#reigns(who, m.ballot);
      case 'promise':
        this.#mayVote(who, 'promises');
        return this.#promise(who, m);
      case 'accept':
        return this.#accept(who, m);
      case 'accepted':
        this.#mayVote(who, 'accepts');
        for (const at of m.slots) this.#accepted(who, at, m.ballot);
        return this.#holds(who, m.prefix);
      case 'nack':
        return this.#hasPromised(who, m.promised);
      case 'behind':
        return this.#holds(who, m.prefix);
      case 'commit':
        this.#reigns(who, m.ballot);
        return this.#choices.said(m.watermark, who.name);
      case 'heartbeat':
        if (m.votes) this.#maySpeak(who, 'says that it votes');
        this.#hasPromised(who, m.promised);
        if (m.leading) this.#reigns(who, m.leading);
        this.#holds(who, m.prefix);
        check(
          m.durable <= who.disk.durable,
          () => `${who.name} says that it holds ${m.durable}, but its disk has ${who.disk.durable}`,
        );
        return;
      case 'values':
        m.values.forEach((value, i) => {
          this.#choices.committed(m.from + i, this.#nameOf(value), who.name);
        });
        return this.#choices.said(m.prefix, who.name);
      case 'barrier-reached':
        return this.#choices.said(m.slot, who.name);
      default:
        return;
    }
  }

  /** Corrupt or missing is not empty (base rule 5, R6): whoever lost something that it had said takes part in nothing more. */
  #mayVote(who: Speaker, does: string): void {
    this.#isWhole(who, does);
    check(who.forgot === null, () => `${who.name} ${does}, and its store lost ${who.forgot} without noticing`);
  }

  /**
   * What counts for nothing until whoever hears it has greeted. A store that was put back or copied, whole in itself, can't know it before somebody says so (R7), and until
   * then it looks for votes. It gives none: it answers only those who have greeted it, and all of them saw a later turn (`Disks`, `isSeenBeyond`).
   */
  #maySpeak(who: Speaker, does: string): void {
    if (who.isOld) this.#isWhole(who, does);
    else this.#mayVote(who, does);
  }

  #isWhole(who: Speaker, does: string): void {
    check(!who.isDamaged, () => `${who.name} ${does}, and its store was found damaged`);
  }

  /** Its own ballot: on its disk, and of this life (R3). */
  #reigns(who: Speaker, ballot: Ballot): void {
    const { name } = who;
    check(
      ballot.peer === who.peer && ballot.incarnation === who.incarnation,
      () => `${name} uses ${showBallot(ballot)}, which is not its own`,
    );
    this.#hasPromised(who, ballot);
    const life = `${name}, life ${who.life}`;
    const known = this.#lifeOf.get(ballotName(ballot));
    if (known === undefined) this.#lifeOf.set(ballotName(ballot), life);
    else check(known === life, () => `${showBallot(ballot)} is used by ${life}, and was by ${known} (R3)`);
  }

  #hasPromised(who: Speaker, ballot: Ballot | null): void {
    check(
      compareBallots(ballot, who.disk.promised) <= 0,
      () =>
        `${who.name} speaks of ${showBallot(ballot)}, but its disk has only promised ${showBallot(who.disk.promised)}`,
    );
  }

  #holds(who: Speaker, prefix: number): void {
    check(
      prefix <= who.disk.prefix,
      () => `${who.name} says that it holds ${prefix}, but its disk has ${who.disk.prefix}`,
    );
  }

  #promise(who: Speaker, m: Promise1b): void {
    const { disk, name } = who;
    this.#hasPromised(who, m.ballot);
    this.#holds(who, m.floor);
    for (const { slot, ballot, value } of m.accepted) {
      const row = disk.rows.get(slot);
      const isThere = compareBallots(row?.ballot ?? null, ballot) >= 0;
      check(
        isThere || slot <= disk.prefix,
        () => `${name} lists slot ${slot} under ${showBallot(ballot)}, which is not on its disk`,
      );
      if (row?.ballot && sameBallot(row.ballot, ballot)) {
        check(
          row.value === this.#nameOf(value),
          () => `${name} lists another value in slot ${slot} than is on its disk`,
        );
      }
    }
    if (m.parts === 1) {
      for (const [slot, { ballot }] of disk.rows) {
        if (slot <= m.floor || ballot === null || compareBallots(ballot, m.ballot) >= 0) continue;
        check(
          m.accepted.some((row) => row.slot === slot) || slot <= disk.prefix,
          () => `${name} promises ${showBallot(m.ballot)} and hides what it accepted in slot ${slot}`,
        );
      }
    }
    const key = `${ballotName(m.ballot)}|${m.configuration}`;
    const promised = this.#promised.get(key) ?? new Map<string, number>();
    const floor = Math.min(m.floor, promised.get(acceptorName(who)) ?? m.floor);
    this.#promised.set(key, promised.set(acceptorName(who), floor));
  }

  #accept(who: Speaker, m: Accept): void {
    const { name } = who;
    this.#mayVote(who, 'proposes');
    this.#reigns(who, m.ballot);
    this.#choices.said(m.watermark, name);
    check(
      m.slot <= who.prefix + this.#choices.alpha,
      () => `${name} proposes in slot ${m.slot} and knows only what is chosen up to ${who.prefix} (R1)`,
    );
    const governing = this.#choices.governing(m.slot, `${name} proposes`);
    check(
      governing.slot === m.configuration,
      () =>
        `${name} proposes in slot ${m.slot} by the configuration of ${m.configuration}, but that of ${governing.slot} decides`,
    );
    const promised = this.#promised.get(`${ballotName(m.ballot)}|${m.configuration}`);
    const votes = count(
      governing.configuration,
      (v) => (v.peer === who.peer && v.incarnation === who.incarnation) || promised?.has(acceptorName(v)) === true,
    );
    check(
      votes >= governing.configuration.q1,
      () =>
        `${name} proposes in slot ${m.slot} under ${showBallot(m.ballot)}, which only ${votes} of the voters of ${m.configuration} promised`,
    );
    // Whichever of them the leader counted, one of its quorum's floors is no lower than this (R4).
    const floors = [...(promised?.values() ?? [])].sort((a, b) => a - b);
    const floor = floors[governing.configuration.q1 - 2] ?? 0;
    check(
      m.slot > floor,
      () => `${name} proposes in slot ${m.slot}, below the floor ${floor} of those who promised (R4)`,
    );
    this.#choices.proposed(m.slot, m.ballot, this.#nameOf(m.value), m.value.bytes);
    if (m.value.kind === 'commands') this.#saved(who, (decodeBatch(m.value.payload) as Batch).runs, 'proposes');
  }

  #accepted(who: Speaker, at: number, ballot: Ballot): void {
    const row = who.disk.rows.get(at);
    check(
      at <= who.disk.prefix || compareBallots(row?.ballot ?? null, ballot) >= 0,
      () => `${who.name} says that it accepted slot ${at} under ${showBallot(ballot)}, which is not on its disk`,
    );
  }

  /** No own command leaves before it is saved. */
  #saved(who: Speaker, runs: Batch['runs'], does: string): void {
    for (const run of runs) {
      if (run.peer !== who.peer || run.incarnation !== who.incarnation) continue;
      check(
        run.lastSeq <= who.disk.ownSeq,
        () => `${who.name} ${does} its command ${run.lastSeq}, but only ${who.disk.ownSeq} are on its disk`,
      );
    }
  }

  #nameOf(value: Value): string {
    let name = this.#names.get(value);
    if (name === undefined) {
      name = valueName(value.bytes);
      this.#names.set(value, name);
    }
    return name;
  }
}
