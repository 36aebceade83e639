import { toHex } from '../base/bytes.ts';
import { asArray, asInteger, decodeCbor } from '../base/cbor.ts';
import { type Ballot, compareBallots } from '../consensus/ballot.ts';
import { type Configuration, decodeConfiguration } from '../consensus/configuration.ts';
import { NOOP } from '../consensus/value.ts';
import { check } from './check.ts';
import { type Landed, valueName } from './disk-view.ts';
import type { SimNode } from './node.ts';
import type { Scene } from './scene.ts';

const CONSENT_MS_MAX = 3000;

/** What the survivors held as they renounced, read from their disks. */
interface Frozen {
  readonly survivors: readonly SimNode[];
  /** The longest of their prefixes. */
  readonly prefix: number;
  /** Above it: what the highest ballot on any of their disks says. */
  readonly highest: ReadonlyMap<number, { readonly ballot: Ballot; readonly value: string }>;
}

/**
 * Forced recovery (R12), once in a seed and after everything else: some machines are lost with their disks, others stay away, and persons of those that are left consent
 * to go on without them. What the log has to be then is worked out here once more, from the disks of the survivors alone.
 *
 * THE ONE EXCEPTION to "a committed place never changes": where not every survivor's word for what was chosen is left, that is above the longest prefix of a survivor, the
 * truth is from now on what the survivors go on with, and only where the recovery said that something may be lost. Everything up to that prefix stays what it was; and so does
 * all that was chosen above, where it said that nothing is lost.
 */
export class ForcedRecovery {
  readonly #scene: Scene;
  #frozen: Frozen | null = null;
  /** Whether all that was chosen is still there; null: nobody has gone on yet. */
  #isKept: boolean | null = null;
  /** Stays away until the others have gone on. */
  #returns: SimNode | null = null;

  constructor(scene: Scene) {
    this.#scene = scene;
  }

  /** Returns who goes on; null where it does not come to that. */
  begin(): readonly SimNode[] | null {
    const { nodes, random, scheduler, injections, choices } = this.#scene;
    for (const node of nodes) node.start();
    const shuffled = nodes.map((node) => ({ node, at: random.number() })).sort((a, b) => a.at - b.at);
    const wanted = 1 + random.below(Math.max(1, nodes.length - 1));
    const able = shuffled.map(({ node }) => node).filter((node) => mayGoOn(node));
    const survivors = able.slice(0, wanted).filter((a, _, all) => all.every((b) => knows(a, b)));
    const lost = nodes.filter((node) => !survivors.includes(node));
    if (survivors.length === 0 || lost.length === 0) return null;
    if (!injections.strike('forced recovery', `${survivors.map((n) => n.name)} without ${lost.map((n) => n.name)}`))
      return null;
    // One alone decides nothing in the old epoch, as a phase-2 quorum has two.
    const mayReturn = choices.newest.configuration.voters.length > 1 && random.chance(0.5);
    this.#returns = mayReturn ? (lost.find((node) => node.replica?.isSound && !node.isTreated) ?? null) : null;
    for (const node of lost) if (node !== this.#returns) this.#lose(node);
    this.#returns?.crash(true);
    for (const node of survivors) node.crash(random.chance(0.5));
    this.#frozen = { survivors, prefix: 0, highest: new Map() };
    for (const node of survivors) {
      const isCutOff = random.chance(0.3);
      scheduler.after(random.number() * CONSENT_MS_MAX, () => this.#consent(node, survivors, isCutOff));
    }
    return survivors;
  }

  #lose(node: SimNode): void {
    this.#scene.people.excuse(node, true);
    this.#scene.gone.add(node);
    node.retire();
  }

  /**
   * One that was given up comes back, with what it had accepted and not heard of since; all that was saved there is to be committed in the new epoch. Not one whose log is longer than that of the
   * survivors: it is set aside by the peer around the replica, which is not simulated.
   */
  #comeBack(node: SimNode): void {
    this.#returns = null;
    if (node.disk.prefix > (this.#frozen?.prefix ?? 0)) return this.#lose(node);
    if (!this.#scene.injections.strike('return after a recovery', node.name)) return this.#lose(node);
    this.#scene.past.add(node);
    node.start();
  }

  /** As a turn ends. */
  turned(node: SimNode): void {
    if (node.replica !== null && node.replica.recovered.length > 0) this.#scene.past.delete(node);
  }

  #consent(node: SimNode, survivors: readonly SimNode[], isCutOff: boolean): void {
    const { random, scheduler } = this.#scene;
    const peers = survivors.map(({ peer }) => peer);
    // Somebody else may have started it again meanwhile; a consent takes a machine on which no peer runs.
    node.crash(false);
    if (this.#frozen !== null) this.#frozen = frozenWith(this.#frozen, node);
    if (isCutOff) node.recover(peers, 1);
    if (!isCutOff || random.chance(0.5)) node.recover(peers);
    node.start();
    const crashMs = random.number() * CONSENT_MS_MAX;
    if (random.chance(0.4)) {
      scheduler.after(crashMs, () => {
        const isDone = this.#wentOn(node);
        node.crash(random.chance(0.5));
        if (isCutOff && !isDone) node.recover(peers);
        node.start();
      });
    } else if (isCutOff) {
      scheduler.after(crashMs, () => {
        // Nobody consents to what has happened: that would be the next recovery, and the others would have to consent to that one.
        if (this.#wentOn(node)) return;
        node.crash(false);
        node.recover(peers);
        node.start();
      });
    }
  }

  #wentOn({ replica }: SimNode): boolean {
    return replica !== null && replica.recovery === null && replica.recovered.length > 0;
  }

  isOver(survivors: readonly SimNode[]): boolean {
    if (!survivors.every((node) => this.#wentOn(node))) return false;
    for (const { name, replica } of survivors) {
      const says = replica?.lastRecovery;
      check(
        says?.slot === this.#frozen?.prefix,
        () => `${name} went on after ${says?.slot}, and ${this.#frozen?.prefix} are held`,
      );
      check(
        !says?.lossless || this.#isKept === true,
        () => `${name} says that nothing was lost, and something that was chosen is`,
      );
    }
    if (this.#returns !== null) this.#comeBack(this.#returns);
    return true;
  }

  /** The first batch with a configuration of another epoch says what the log is from now on. Returns after which slot it may be another one than before; null: it is not. */
  landed(node: SimNode, { configurations }: Landed): number | null {
    const { choices } = this.#scene;
    if (this.#frozen === null || this.#isKept !== null) return null;
    const first = toHex(choices.first.epoch);
    const begun = configurations
      .map(({ slot, record }) => ({ slot, ...configurationOf(record) }))
      .find(({ configuration }) => toHex(configuration.epoch) !== first);
    if (begun === undefined) return null;
    const { prefix, highest, survivors } = this.#frozen;
    check(survivors.includes(node), () => `${node.name} begins an epoch, and is no survivor`);
    const rows: { readonly slot: number; readonly value: string; readonly bytes: Uint8Array }[] = [];
    this.#isKept = true;
    for (let at = prefix + 1; at <= begun.slot; at++) {
      const value = node.disk.rows.get(at)?.value ?? '';
      const expected = at === begun.slot ? value : (highest.get(at)?.value ?? valueName(NOOP.bytes));
      check(
        value === expected,
        () => `${node.name} goes on with ${value} in slot ${at}, and the survivors hold ${expected}`,
      );
      const chosen = choices.chosenValue(at);
      if (chosen !== null && chosen !== value) this.#isKept = false;
      rows.push({ slot: at, value, bytes: node.store?.valueAt(at) ?? new Uint8Array(0) });
    }
    if (choices.prefix > begun.slot) this.#isKept = false;
    check(
      Math.max(prefix, ...highest.keys()) < begun.slot,
      () => `${node.name} begins an epoch in slot ${begun.slot}, below what was accepted`,
    );
    choices.recovered(prefix, rows);
    return this.#isKept ? null : prefix;
  }
}

/** With what is on this survivor's disk as its person consents. */
function frozenWith({ survivors, prefix: before, highest: known }: Frozen, { disk }: SimNode): Frozen {
  const prefix = Math.max(before, disk.prefix);
  const highest = new Map([...known].filter(([at]) => at > prefix));
  for (const [at, { ballot, value }] of disk.rows) {
    if (at <= prefix || ballot === null) continue;
    if (compareBallots(ballot, highest.get(at)?.ballot ?? null) > 0) highest.set(at, { ballot, value });
  }
  return { survivors, prefix, highest };
}

const mayGoOn = ({ replica }: SimNode): boolean => replica?.isSound === true && !replica.isWitness;

/** By its own log. */
const knows = (a: SimNode, b: SimNode): boolean => a.replica?.reader.member(b.peer)?.expelledSlot === null;

function configurationOf(record: Uint8Array): { readonly from: number; readonly configuration: Configuration } {
  const [from, configuration] = asArray(decodeCbor(record), 2);
  return { from: asInteger(from), configuration: decodeConfiguration(configuration) };
}
