import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concat, toHex } from '../../shared/base/bytes.ts';
import { FormatError } from '../../shared/base/cbor.ts';
import { sha256 } from '../../shared/base/hash.ts';
import { groupIdOf, incarnationFromBytes, type PeerId, peerFromKey, type Slot, slot } from '../../shared/base/ids.ts';
import { Random } from '../../shared/base/random.ts';
import { type Configuration, type InForce, majorities } from '../../shared/consensus/configuration.ts';
import { configurationValue, NOOP, type Value } from '../../shared/consensus/value.ts';
import { type Outcome, outcomeOf, prospect, type RecoveryFault } from '../../shared/replica/recovery.ts';
import {
  decodeRenunciation,
  inKeyOrder,
  type Renunciation,
  type Report,
  type ReportedValue,
  renunciationSignature,
  signRenunciation,
} from '../../shared/replica/recovery-consent.ts';
import { simSigner, simVerifier } from '../../shared/sim/keys.ts';

const ALPHA = 8;
const bytes = (length: number, n: number): Uint8Array => new Uint8Array(length).fill(n);
const group = groupIdOf(bytes(4, 1));
const epoch = bytes(32, 7);
const digest = bytes(32, 9);

/** Machines 0 … 6; 0 … 4 vote. */
const machines = Array.from({ length: 7 }, (_, i) => {
  const signer = simSigner(bytes(32, i + 1));
  return { signer, peer: peerFromKey(signer.publicKey), incarnation: incarnationFromBytes(bytes(16, i + 1)) };
});
type Machine = (typeof machines)[number];
const m = (i: number): Machine => machines[i] as Machine;

const voters = (...of: readonly number[]): Configuration => ({
  previous: slot(0),
  epoch,
  voters: of.map((i) => ({ peer: m(i).peer, incarnation: m(i).incarnation, witness: false })),
  ...majorities(of.length),
});
const first = voters(0, 1, 2, 3, 4);
const start = { alpha: ALPHA, first };
const genesis: InForce = { slot: slot(0), from: slot(1), configuration: first };

/** Opaque commands: only the hash is reported. */
const valueHash = (name: string): Uint8Array => sha256(new TextEncoder().encode(name));
const row = (at: number, by: number, round: number, name: string | Value): ReportedValue => ({
  slot: slot(at),
  ballot: { round, peer: m(by).peer, incarnation: m(by).incarnation },
  hash: typeof name === 'string' ? valueHash(name) : name.hash,
  configuration: typeof name === 'string' || name.kind !== 'configuration' ? null : name.bytes,
});

const reports = (
  i: number,
  prefix: number,
  accepted: readonly ReportedValue[] = [],
  more: Partial<Report> = {},
): Report => ({
  incarnation: m(i).incarnation,
  votes: true,
  prefix: slot(prefix),
  digest: sha256(concat(digest, Uint8Array.of(prefix))),
  inForce: [genesis],
  accepted,
  ...more,
});

const consent = (i: number, of: readonly number[], report: Report, nonce = i): Renunciation =>
  signRenunciation(
    { group, epoch, peer: m(i).peer, survivors: inKeyOrder(of.map((k) => m(k).peer)), nonce: bytes(16, nonce), report },
    m(i).signer,
  );

function outcome(...all: readonly Renunciation[]): Outcome {
  const found = outcomeOf(all, start);
  if (typeof found === 'string') throw new Error(found);
  return found;
}
const shown = ({ values, at, configuration }: Outcome, names: readonly string[]): string =>
  [
    ...values.slice(0, -1).map(({ hash, slot: where }) => {
      const name = names.find((each) => toHex(valueHash(each)) === toHex(hash));
      return `${where}:${name ?? (toHex(hash) === toHex(NOOP.hash) ? 'noop' : 'configuration')}`;
    }),
    `${at}:{${configuration.voters.map((v) => machines.findIndex((each) => each.peer === v.peer)).sort()}}`,
  ].join(' ');

describe('the outcome of a forced recovery', () => {
  it('goes on from the longest prefix, and a survivor alone decides alone', () => {
    const { prefix, at, configuration, inForce, shortfalls } = outcome(consent(0, [0], reports(0, 12)));
    expect([prefix, at]).toEqual([12, 13]);
    expect(configuration).toMatchObject({ previous: 0, q1: 1, q2: 1 });
    expect(inForce).toEqual([{ slot: 13, from: 14, configuration }]);
    expect(shortfalls).toEqual([{ configuration: 0, voters: 5, q2: 3, kept: 1 }]);
  });

  it('takes the value of the highest ballot in each slot, and no-ops in gaps', () => {
    const a = consent(0, [0, 1, 2], reports(0, 10, [row(11, 3, 4, 'old'), row(12, 3, 4, 'b')]));
    const b = consent(1, [0, 1, 2], reports(1, 8, [row(9, 0, 3, 'chosen'), row(11, 4, 5, 'new'), row(14, 4, 5, 'd')]));
    const c = consent(2, [0, 1, 2], reports(2, 10));
    const found = outcome(a, b, c);
    expect(shown(found, ['old', 'new', 'b', 'd', 'chosen'])).toBe('11:new 12:b 13:noop 14:d 15:{0,1,2}');
    expect(found.shortfalls).toEqual([]);
  });

  it('a learner brings its prefix and gets a vote; a damaged store brings its prefix alone', () => {
    const all = [consent(0, [0, 5, 6], reports(0, 3)), consent(5, [0, 5, 6], reports(5, 20))];
    const damaged = consent(6, [0, 5, 6], reports(6, 30, [], { votes: false }));
    const found = outcome(...all, damaged);
    expect(found.prefix).toBe(30);
    expect(shown(found, [])).toBe('31:{0,5}');
    expect(found.configuration.q2).toBe(2);
  });

  it('a configuration among what is recovered has the force that it would have had', () => {
    const change = configurationValue({ ...voters(0, 1, 5), previous: slot(0) });
    const all = [0, 1, 2].map((i) => consent(i, [0, 1, 2], reports(i, 10, i === 2 ? [] : [row(11, 3, 4, change)])));
    const found = outcome(...all);
    expect(shown(found, [])).toBe('11:configuration 12:{0,1,2}');
    expect(found.configuration.previous).toBe(11);
    expect(found.inForce.map((c) => [c.slot, c.from])).toEqual([
      [11, 11 + ALPHA],
      [12, 13],
    ]);
    // It takes 2 of these 3, of whom two go on: each quorum has one of them.
    expect(found.shortfalls).toEqual([]);
    const less = outcome(...[0, 2, 3].map((i) => consent(i, [0, 2, 3], reports(i, 10, [row(11, 3, 4, change)]))));
    expect(less.shortfalls).toEqual([{ configuration: 11, voters: 3, q2: 2, kept: 1 }]);
  });

  it('one that names another than the newest is recovered without force', () => {
    const stray = configurationValue({ ...voters(0, 1, 5), previous: slot(4) });
    const found = outcome(consent(0, [0], reports(0, 10, [row(11, 3, 4, stray)])));
    expect(found.configuration.previous).toBe(0);
    expect(found.inForce.map((c) => c.slot)).toEqual([12]);
  });

  it('a survivor under another incarnation than the configuration names did not take part in its quorums', () => {
    const reborn = { incarnation: incarnationFromBytes(bytes(16, 99)) };
    const all = [0, 1, 2].map((i) => consent(i, [0, 1, 2], reports(i, 10, [], i === 2 ? reborn : {})));
    expect(outcome(...all).shortfalls).toEqual([{ configuration: 0, voters: 5, q2: 3, kept: 2 }]);
  });

  it('another consent makes another epoch', () => {
    const one = outcome(consent(0, [0], reports(0, 12), 1));
    const other = outcome(consent(0, [0], reports(0, 12), 2));
    expect(toHex(one.epoch)).not.toBe(toHex(other.epoch));
    expect(toHex(one.epoch)).not.toBe(toHex(epoch));
  });

  const change = configurationValue({ ...voters(0, 1, 5), previous: slot(0) });
  const unreadable: Value = {
    ...NOOP,
    kind: 'configuration',
    bytes: Uint8Array.of(1, 0x80),
    hash: sha256(Uint8Array.of(1)),
    configuration: null,
  };
  it.each<[RecoveryFault, string, readonly Renunciation[]]>([
    ['INCOMPLETE', 'nobody', []],
    ['INCOMPLETE', 'one is missing', [consent(0, [0, 1], reports(0, 3))]],
    ['MIXED', 'other survivors', [consent(0, [0, 1], reports(0, 3)), consent(1, [0, 1, 2], reports(1, 3))]],
    ['MIXED', 'one twice', [consent(0, [0, 1], reports(0, 3)), consent(0, [0, 1], reports(0, 3), 5)]],
    [
      'CONFLICT',
      'one prefix, two digests',
      [consent(0, [0, 1], reports(0, 3)), consent(1, [0, 1], reports(1, 3, [], { digest: bytes(32, 1) }))],
    ],
    [
      'CONFLICT',
      'one ballot, two values',
      [consent(0, [0, 1], reports(0, 3, [row(4, 2, 1, 'a')])), consent(1, [0, 1], reports(1, 3, [row(4, 2, 1, 'b')]))],
    ],
    ['NO_VOTER', 'no sound store', [consent(0, [0], reports(0, 3, [], { votes: false }))]],
    ['UNREADABLE', 'a configuration of a newer version', [consent(0, [0], reports(0, 3, [row(4, 2, 1, unreadable)]))]],
  ])('%s: %s', (fault, _what, all) => {
    expect(outcomeOf(all, start)).toBe(fault);
  });

  it('witnesses alone can’t go on', () => {
    const configuration = { ...first, voters: first.voters.map((v, i) => ({ ...v, witness: i === 0 })) };
    const inForce = [{ slot: slot(2), from: slot(3), configuration }];
    expect(outcomeOf([consent(0, [0], reports(0, 3, [], { inForce }))], start)).toBe('NO_VOTER');
    const two = [
      consent(0, [0, 1], reports(0, 3, [], { inForce })),
      consent(1, [0, 1], reports(1, 3, [], { inForce })),
    ];
    expect(
      outcome(...two)
        .configuration.voters.map((v) => v.witness)
        .sort(),
    ).toEqual([false, true]);
  });

  it('says beforehand what one store alone can tell', () => {
    const own = reports(0, 10, [row(11, 3, 4, change)]);
    const kept = (of: readonly number[]): PeerId[] => of.map((i) => m(i).peer);
    expect(prospect(own, m(0).peer, kept([0, 1, 2]), start)).toEqual([]);
    expect(prospect(own, m(0).peer, kept([0, 2, 3]), start)).toEqual([
      { configuration: 11, voters: 3, q2: 2, kept: 1 },
    ]);
    expect(prospect({ ...own, votes: false }, m(0).peer, kept([0, 1, 2]), start)).toHaveLength(2);
  });
});

/**
 * A history in which values were chosen and survivors cut off at any moment, made by a rule that is independent of the code: per slot, rounds are
 * tried in order by different proposers, each with a phase 1 over a random quorum; a value accepted by a quorum under one ballot is chosen.
 */
function history(seed: number): {
  chosen: Map<number, string>;
  accepted: Map<number, { round: number; name: string }>[];
  prefixes: number[];
} {
  const random = new Random(seed);
  const accepted = Array.from({ length: 5 }, () => new Map<number, { round: number; name: string }>());
  const promised = Array.from({ length: 5 }, () => new Map<number, number>());
  const chosen = new Map<number, string>();
  const some = (): number[] => [0, 1, 2, 3, 4].filter(() => random.chance(0.65));
  for (let at = 11; at < 11 + ALPHA; at++) {
    const rounds = random.below(5);
    for (let round = 1; round <= rounds; round++) {
      const quorum = some();
      if (quorum.length < 3) continue;
      for (const i of quorum) promised[i]?.set(at, round);
      const held = quorum.flatMap((i) => accepted[i]?.get(at) ?? []).sort((a, b) => b.round - a.round);
      const name = held[0]?.name ?? `${at}/${round}`;
      const takers = some().filter((i) => (promised[i]?.get(at) ?? 0) <= round);
      for (const i of takers) accepted[i]?.set(at, { round, name });
      if (takers.length >= 3) chosen.set(at, name);
    }
  }
  let known = 10;
  while (chosen.has(known + 1)) known++;
  const prefixes = accepted.map(() => 10 + random.below(known - 10 + 1));
  return { chosen, accepted, prefixes };
}

describe('properties', () => {
  const survivors = fc.subarray([0, 1, 2, 3, 4], { minLength: 1 });
  /** What each survivor reports of a history. Prefixes share digests, as the prefix is one log. */
  const reported = (seed: number, of: readonly number[]) => {
    const made = history(seed);
    const all = of.map((i) => {
      const prefix = made.prefixes[i] as number;
      const rows = [...(made.accepted[i] ?? [])]
        .filter(([at]) => at > prefix)
        .map(([at, { round, name }]) => row(at, round % 5, round, name));
      return consent(i, of, reports(i, prefix, rows));
    });
    return { ...made, all };
  };

  it('nothing chosen is lost wherever no shortfall is named', () => {
    let lossless = 0;
    let lossy = 0;
    fc.assert(
      fc.property(fc.nat(), survivors, (seed, of) => {
        const { chosen, all } = reported(seed, of);
        const found = outcome(...all);
        const isKept = [...chosen]
          .filter(([at]) => at > found.prefix)
          .every(([at, name]) => toHex(valueAt(found, slot(at))) === toHex(valueHash(name)));
        if (found.shortfalls.length === 0) expect(isKept).toBe(true);
        if (found.shortfalls.length === 0) lossless++;
        else if (!isKept) lossy++;
      }),
      { numRuns: 2_000, seed: 1 },
    );
    // Both happen: the condition is neither empty nor always true.
    expect(lossless).toBeGreaterThan(100);
    expect(lossy).toBeGreaterThan(100);
  });

  it('is the same in any order', () => {
    fc.assert(
      fc.property(fc.nat(), survivors, fc.nat(), (seed, of, turn) => {
        const { all } = reported(seed, of);
        const turned = [...all.slice(turn % all.length), ...all.slice(0, turn % all.length)].reverse();
        expect(outcome(...turned)).toEqual(outcome(...all));
      }),
      { numRuns: 300 },
    );
  });

  it('is nothing at all before everybody has consented', () => {
    fc.assert(
      fc.property(fc.nat(), fc.subarray([0, 1, 2, 3, 4], { minLength: 2 }), fc.nat(), (seed, of, gone) => {
        const { all } = reported(seed, of);
        expect(
          outcomeOf(
            all.filter((_, i) => i !== gone % all.length),
            start,
          ),
        ).toBe('INCOMPLETE');
      }),
      { numRuns: 100 },
    );
  });
});

function valueAt({ values }: Outcome, at: Slot): Uint8Array {
  return values.find((each) => each.slot === at)?.hash ?? new Uint8Array(0);
}

describe('a renunciation', () => {
  const change = configurationValue({ ...voters(0, 1, 5), previous: slot(0) });
  const whole = consent(1, [0, 1, 5], reports(1, 10, [row(11, 3, 4, change), row(13, 0, 2, 'x')]));

  it('is read back as it was, and its signature holds', () => {
    const again = decodeRenunciation(whole.bytes);
    expect(again).toEqual(whole);
    expect(simVerifier.verify(renunciationSignature(again))).toBe(true);
  });

  it('whatever is done to its bytes, it is refused, or no longer signed', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 255 }), (at, by) => {
        const damaged = whole.bytes.slice();
        damaged[at % damaged.length] = ((damaged[at % damaged.length] as number) + by) & 255;
        for (const wrong of [damaged, whole.bytes.slice(0, at % damaged.length)]) {
          try {
            expect(simVerifier.verify(renunciationSignature(decodeRenunciation(wrong)))).toBe(false);
          } catch (error) {
            expect(error).toBeInstanceOf(FormatError);
          }
        }
      }),
      { numRuns: 3_000 },
    );
  });

  it.each<[string, Renunciation]>([
    ['who renounces is none of the survivors', consent(2, [0, 1], reports(2, 3))],
    ['accepted values out of order', consent(0, [0], reports(0, 3, [row(5, 0, 1, 'a'), row(4, 0, 1, 'b')]))],
    ['accepted values within the prefix', consent(0, [0], reports(0, 3, [row(3, 0, 1, 'a')]))],
    ['nothing governs', consent(0, [0], reports(0, 3, [], { inForce: [] }))],
    [
      'a configuration under another hash',
      consent(0, [0], reports(0, 3, [{ ...row(4, 0, 1, 'a'), configuration: change.bytes }])),
    ],
  ])('is refused where %s', (_what, wrong) => {
    expect(() => decodeRenunciation(wrong.bytes)).toThrow(FormatError);
  });
});
