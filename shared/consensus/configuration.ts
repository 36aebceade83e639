import { assert } from '../base/assert.ts';
import { equal } from '../base/bytes.ts';
import { asArray, asBoolean, asBytes, asInteger, type Cbor, FormatError } from '../base/cbor.ts';
import {
  type Incarnation,
  incarnationBytes,
  incarnationFromBytes,
  keyFromPeer,
  type PeerId,
  peerFromKey,
  type Slot,
  slot,
} from '../base/ids.ts';

/** An acceptor. One that lost something it said comes back under a new incarnation, which is another voter. */
export interface Voter {
  readonly peer: PeerId;
  readonly incarnation: Incarnation;
  /** Votes, applies nothing, never leads. */
  readonly witness: boolean;
}

/** Who decides, and how many of them it takes. */
export interface Configuration {
  /**
   * The slot of the configuration that governs the slot where this one is chosen. It takes force only if that is true, and if that one is
   * also the newest with force (rule R1). Named by slot, not by content, so that A → B → A can't be mixed up.
   */
  readonly previous: Slot;
  /** 32 bytes; changes only by forced recovery. */
  readonly epoch: Uint8Array;
  readonly voters: readonly Voter[];
  /** Voters that must promise before anything is proposed, and that must accept before a value is chosen; `q1 + q2 > voters`. */
  readonly q1: number;
  readonly q2: number;
}

export const VOTERS_MAX = 15;

/** Majorities; two must hold a value wherever there are two. */
export function majorities(voters: number): { q1: number; q2: number } {
  const majority = Math.floor(voters / 2) + 1;
  return { q1: majority, q2: majority };
}

/** Base rule 4, and nobody named twice. Returns what is wrong, or null. */
export function configurationFault(c: Pick<Configuration, 'voters' | 'q1' | 'q2'>): string | null {
  const n = c.voters.length;
  if (n < 1 || n > VOTERS_MAX) return `1 … ${VOTERS_MAX} voters are possible, not ${n}`;
  if (new Set(c.voters.map((v) => v.peer)).size !== n) return 'a peer is named twice';
  if (c.q1 < 1 || c.q1 > n || c.q2 < 1 || c.q2 > n) return 'a quorum is larger than the group or empty';
  if (c.q1 + c.q2 <= n) return `quorums of ${c.q1} and ${c.q2} of ${n} may miss each other`;
  if (n >= 2 && c.q2 < 2) return 'a value must be on two machines where there are two';
  if (c.voters.every((v) => v.witness)) return 'witnesses alone hold nothing';
  return null;
}

export function encodeConfiguration(c: Configuration): Cbor {
  return [
    c.previous,
    c.epoch,
    c.voters.map((v) => [keyFromPeer(v.peer), incarnationBytes(v.incarnation), v.witness]),
    c.q1,
    c.q2,
  ];
}

/** @throws FormatError */
export function decodeConfiguration(value: Cbor | undefined): Configuration {
  const [previous, epoch, voters, q1, q2] = asArray(value, 5);
  const c: Configuration = {
    previous: slot(asInteger(previous)),
    epoch: asBytes(epoch, 32),
    voters: asArray(voters).map((v) => {
      const [peer, incarnation, witness] = asArray(v, 3);
      return {
        peer: peerFromKey(asBytes(peer, 32)),
        incarnation: incarnationFromBytes(asBytes(incarnation, 16)),
        witness: asBoolean(witness),
      };
    }),
    q1: asInteger(q1, 1),
    q2: asInteger(q2, 1),
  };
  const fault = configurationFault(c);
  if (fault !== null) throw new FormatError(fault);
  return c;
}

/** A configuration with force: chosen in `slot`, its name; governs from `from` on. */
export interface InForce {
  readonly slot: Slot;
  readonly from: Slot;
  readonly configuration: Configuration;
}

/**
 * The configurations with force in a chosen prefix: a function of chosen values alone (rule R1). For a prefix *p* it knows what
 * governs every slot up to *p + α*, and nothing beyond.
 */
export class ConfigurationHistory {
  readonly alpha: number;
  readonly #inForce: InForce[];

  constructor(alpha: number, genesis: Configuration, later: readonly InForce[] = []) {
    this.alpha = alpha;
    this.#inForce = [{ slot: slot(0), from: slot(1), configuration: genesis }, ...later];
  }

  get all(): readonly InForce[] {
    return this.#inForce;
  }

  get newest(): InForce {
    return this.#inForce[this.#inForce.length - 1] as InForce;
  }

  /** What governs slot `i`, as far as this history knows. The caller makes sure that it knows the prefix up to `i − α`. */
  governing(i: Slot): InForce {
    for (let k = this.#inForce.length - 1; k > 0; k--) {
      const c = this.#inForce[k] as InForce;
      if (c.from <= i) return c;
    }
    return this.#inForce[0] as InForce;
  }

  /** The first slot that `c` no longer governs, or null where none newer is known. */
  endOf(c: InForce): Slot | null {
    const next = this.#inForce[this.#inForce.indexOf(c) + 1];
    return next ? next.from : null;
  }

  /**
   * Takes note of a configuration chosen in `s`, the slot after the prefix. Returns it if it has force: it names the configuration that governs
   * `s`, and that is the newest with force below `s`. One of another epoch was not chosen by anybody's quorum but put there by forced recovery (R12): it
   * names the newest, and governs at once, since those who would have to decide the α slots between are gone.
   */
  chosen(s: Slot, configuration: Configuration): InForce | null {
    const governing = this.governing(s);
    assert(this.newest.slot < s, 'configurations are chosen in order', { newest: this.newest.slot, s });
    if (!equal(configuration.epoch, this.newest.configuration.epoch)) {
      if (configuration.previous !== this.newest.slot) return null;
      const recovered: InForce = { slot: s, from: slot(s + 1), configuration };
      this.#inForce.push(recovered);
      return recovered;
    }
    if (configuration.previous !== governing.slot || governing !== this.newest) return null;
    const inForce: InForce = { slot: s, from: slot(s + this.alpha), configuration };
    this.#inForce.push(inForce);
    return inForce;
  }
}

export function isVoter(c: Configuration, peer: PeerId, incarnation: Incarnation): boolean {
  return c.voters.some((v) => v.peer === peer && v.incarnation === incarnation);
}

/** How many of the voters satisfy `has`. */
export function count(c: Configuration, has: (voter: Voter) => boolean): number {
  let n = 0;
  for (const voter of c.voters) if (has(voter)) n++;
  return n;
}
