import { compareBytes, equal } from '../base/bytes.ts';
import { encodeCbor } from '../base/cbor.ts';
import { hashFor } from '../base/hash.ts';
import { keyFromPeer, type PeerId, type Slot, slot } from '../base/ids.ts';
import { compareBallots } from '../consensus/ballot.ts';
import {
  type Configuration,
  ConfigurationHistory,
  configurationFault,
  count,
  encodeConfiguration,
  type InForce,
  majorities,
  VOTERS_MAX,
  type Voter,
} from '../consensus/configuration.ts';
import { nextDigest } from '../consensus/ledger.ts';
import { configurationValue, decodeValue, NOOP } from '../consensus/value.ts';
import { batchHash } from '../document/index.ts';
import { type Renunciation, type Report, type ReportedValue, sameSurvivors } from './recovery-consent.ts';

/**
 * Forced recovery (R12): what the log is that survivors go on with, as a pure function of their frozen reports. All of them compute the same, whatever order the
 * reports came in.
 *
 * WHY IT LOSES NOTHING, where it says so. It is phase 1 of Paxos under a ballot above all others, which nobody ever proposes under. To renounce is to promise that
 * ballot: from then on the store promises and accepts nothing in the old epoch. A report is its Promise: the chosen prefix, and everything accepted above it.
 * Let S be the survivors that vote, and |S ∩ C| > N − Q2 for each configuration C that governs an open slot. Then S meets every phase-2 quorum of C.
 *   - Say value v was chosen in slot i under ballot b. Somebody in S was in that quorum, and accepted (i, b, v) before it renounced, as it accepts nothing
 *     afterwards. So its report holds slot i in its prefix, or in i a value under b or higher; and whatever was ever proposed in i above b is v (Paxos' own
 *     invariant: each such proposer did a phase 1 that met the same quorum). So the highest ballot reported in i bears v.
 *   - A slot above the longest prefix that no report lists was therefore never chosen, and never will be: a no-op stands there. Nor is anything that is listed and not
 *     chosen yet chosen otherwise later: that too would take a quorum that S meets.
 *   - A configuration that no survivor knows can't govern a slot where something was chosen. It has force only once it and everything below it are chosen, which the
 *     above finds; and whoever accepts in its slots holds the prefix below them first (R2). So it is enough to look at the configurations with force in what was found.
 * Renouncing needs no common moment, as promises need none: what others choose between two renunciations is in the later report.
 *
 * Where S is too small for some C, values that only those accepted who are gone may be lost, from the first slot above the longest prefix on; and there other
 * values may come to stand than those that a lost machine showed. That is the one exception to P1, and `shortfalls` says so beforehand.
 *
 * WHY A RENOUNCED ACCEPTOR CAN'T ACT IN THE OLD EPOCH, at any crash point. The consent is written while the peer is stopped, by whoever holds the store's lock: one
 * atomic batch and its mark. Before the batch is there, the store is an acceptor like any other, and nobody has seen the consent. Once it is there every opening
 * reads it before the first input and the core doesn't vote (`votesIn`), until the batch that makes the recovered log its own; that one sets the new epoch, in which
 * this incarnation has said nothing. Everything accepted is in the report or overwritten by that batch, so no Promise of the new epoch speaks of the old one. A
 * consent that is lost again with the disk's last turns is noticed as any lost turn (R6), and such a store doesn't vote.
 */
export interface Outcome {
  /** Of the epoch that begins. */
  readonly epoch: Uint8Array;
  /** The longest prefix that a survivor holds, and the digest there. */
  readonly prefix: Slot;
  readonly digest: Uint8Array;
  /** What stands in the slots after it, in order and without a gap; the last is the new configuration, in `at`. */
  readonly values: readonly RecoveredValue[];
  /** Where the new configuration stands. */
  readonly at: Slot;
  readonly configuration: Configuration;
  /** What takes force above the prefix, the new configuration last. */
  readonly inForce: readonly InForce[];
  /** Empty: nothing that was committed is lost. */
  readonly shortfalls: readonly Shortfall[];
}

export interface RecoveredValue {
  readonly slot: Slot;
  readonly hash: Uint8Array;
  /** The digest of the log up to here. */
  readonly digest: Uint8Array;
  /** The value's own bytes, where they are known without asking anybody: no-ops and configurations. */
  readonly bytes: Uint8Array | null;
}

/** A configuration of open slots of which too few are kept: up to `voters − q2` of its quorums' members may have decided without any of them. */
export interface Shortfall {
  readonly configuration: Slot;
  readonly voters: number;
  readonly q2: number;
  /** Of its voters, those who survive and vote. */
  readonly kept: number;
}

/**
 * - `INCOMPLETE`: not all survivors have consented.
 * - `MIXED`: not of one recovery.
 * - `CONFLICT`: two reports can't both be true.
 * - `UNREADABLE`: a configuration was accepted that this version can't read.
 * - `NO_VOTER`: no survivor's store is sound, or only witnesses' are.
 */
export type RecoveryFault = 'INCOMPLETE' | 'MIXED' | 'CONFLICT' | 'UNREADABLE' | 'NO_VOTER';

/** Fixed in the genesis. */
export interface Start {
  readonly alpha: number;
  readonly first: Configuration;
}

/** Who of the survivors has not consented, as far as these tell. */
export function missingFrom(renunciations: readonly Renunciation[]): readonly PeerId[] {
  const [one] = renunciations;
  return (one?.survivors ?? []).filter((peer) => !renunciations.some((r) => r.peer === peer));
}

export function outcomeOf(renunciations: readonly Renunciation[], start: Start): Outcome | RecoveryFault {
  const all = inSurvivorOrder(renunciations);
  if (typeof all === 'string') return all;
  const longest = longestOf(all);
  if (longest === null) return 'CONFLICT';
  const chosen = highestBallots(all, longest.prefix);
  if (chosen === null) return 'CONFLICT';
  const found = replay(longest, chosen, start);
  if (found === null) return 'UNREADABLE';
  const { history, values, digest: before } = found;

  const at = slot(longest.prefix + values.length + 1);
  const { newest } = history;
  const [{ survivors }] = all;
  const epoch = hashFor(
    'epoch',
    encodeCbor([
      newest.slot,
      encodeConfiguration(newest.configuration),
      survivors.map(keyFromPeer),
      all.map((r) => r.nonce).sort(compareBytes),
    ]),
  );
  const voters = votersOf(all, newest.configuration);
  const configuration: Configuration = { previous: newest.slot, epoch, voters, ...majorities(voters.length) };
  if (configurationFault(configuration) !== null) return 'NO_VOTER';
  const shortfalls = shortfallsIn(governingAbove(history, longest.prefix), (v) =>
    all.some(({ peer, report }) => peer === v.peer && report.votes && report.incarnation === v.incarnation),
  );
  const recovered = history.chosen(at, configuration);
  if (recovered === null) return 'CONFLICT';
  const value = configurationValue(configuration);
  values.push({ slot: at, hash: value.hash, digest: nextDigest(before, at, value.hash), bytes: value.bytes });
  return {
    epoch,
    prefix: longest.prefix,
    digest: longest.digest,
    values,
    at,
    configuration,
    inForce: history.all.filter((c) => c.slot > longest.prefix),
    shortfalls,
  };
}

/** What may be lost, as far as one store can tell before the others have spoken: they count as sound. */
export function prospect(own: Report, self: PeerId, kept: readonly PeerId[], start: Start): readonly Shortfall[] {
  const found = replay(own, new Map(own.accepted.map((row) => [row.slot, row])), start);
  if (found === null) return [];
  return shortfallsIn(governingAbove(found.history, own.prefix), (v) =>
    v.peer === self ? own.votes && v.incarnation === own.incarnation : kept.includes(v.peer),
  );
}

type Complete = readonly [Renunciation, ...Renunciation[]];

/** One of each survivor and nobody else, in the survivors' order. */
function inSurvivorOrder(renunciations: readonly Renunciation[]): Complete | RecoveryFault {
  const [one] = renunciations;
  if (one === undefined) return 'INCOMPLETE';
  const isOfOne = renunciations.every(
    (r) => r.group === one.group && equal(r.epoch, one.epoch) && sameSurvivors(r.survivors, one.survivors),
  );
  if (!isOfOne || new Set(renunciations.map((r) => r.peer)).size !== renunciations.length) return 'MIXED';
  const all = one.survivors.flatMap((peer) => renunciations.filter((r) => r.peer === peer));
  return all.length === one.survivors.length ? (all as [Renunciation, ...Renunciation[]]) : 'INCOMPLETE';
}

/** The report with the longest prefix; null where equal prefixes have different digests. */
function longestOf(all: Complete): Report | null {
  const longest = all.reduce((best, { report }) => (report.prefix > best.prefix ? report : best), all[0].report);
  const isAgreed = all.every(({ report: r }) => r.prefix !== longest.prefix || equal(r.digest, longest.digest));
  return isAgreed ? longest : null;
}

/** Above the prefix, by slot; null where one ballot has two values in a slot. */
function highestBallots(all: Complete, prefix: Slot): ReadonlyMap<Slot, ReportedValue> | null {
  const highest = new Map<Slot, ReportedValue>();
  for (const row of all.flatMap(({ report }) => report.accepted)) {
    if (row.slot <= prefix) continue;
    const held = highest.get(row.slot);
    const order = held === undefined ? 1 : compareBallots(row.ballot, held.ballot);
    if (order === 0 && held !== undefined && !equal(held.hash, row.hash)) return null;
    if (order > 0) highest.set(row.slot, row);
  }
  return highest;
}

interface Replayed {
  readonly history: ConfigurationHistory;
  readonly values: RecoveredValue[];
  readonly digest: Uint8Array;
}

/** The slots after a report's prefix as they will stand, gaps filled; null where a configuration among them can't be read. */
function replay(report: Report, chosen: ReadonlyMap<Slot, ReportedValue>, { alpha, first }: Start): Replayed | null {
  const history = new ConfigurationHistory(
    alpha,
    first,
    report.inForce.filter((c) => c.slot > 0),
  );
  const last = Math.max(report.prefix, ...chosen.keys());
  const values: RecoveredValue[] = [];
  let { digest } = report;
  for (let at = slot(report.prefix + 1); at <= last; at = slot(at + 1)) {
    const row = chosen.get(at);
    const hash = row?.hash ?? NOOP.hash;
    digest = nextDigest(digest, at, hash);
    const isNoop = equal(hash, NOOP.hash);
    values.push({ slot: at, hash, digest, bytes: isNoop ? NOOP.bytes : (row?.configuration ?? null) });
    if (row === undefined || row.configuration === null) continue;
    const value = decodeValue(row.configuration, batchHash);
    if (value.kind !== 'configuration' || value.configuration === null) return null;
    history.chosen(at, value.configuration);
  }
  return { history, values, digest };
}

function governingAbove(history: ConfigurationHistory, prefix: Slot): readonly InForce[] {
  return history.all.filter((c) => (history.endOf(c) ?? Number.POSITIVE_INFINITY) > prefix + 1);
}

function shortfallsIn(configurations: readonly InForce[], isKept: (v: Voter) => boolean): readonly Shortfall[] {
  return configurations.flatMap(({ slot: at, configuration: c }): Shortfall[] => {
    const kept = count(c, isKept);
    return kept > c.voters.length - c.q2 ? [] : [{ configuration: at, voters: c.voters.length, q2: c.q2, kept }];
  });
}

/** Every survivor whose store is sound, under the incarnation that it reported; where they are too many, those who voted before come first. */
function votersOf(all: Complete, before: Configuration): readonly Voter[] {
  const votedAs = (peer: PeerId): Voter | undefined => before.voters.find((v) => v.peer === peer);
  const sound = all.filter(({ report }) => report.votes);
  const ranked = [...sound.filter((r) => votedAs(r.peer)), ...sound.filter((r) => !votedAs(r.peer))].slice(
    0,
    VOTERS_MAX,
  );
  return sound
    .filter((r) => ranked.includes(r))
    .map(({ peer, report }) => ({
      peer,
      incarnation: report.incarnation,
      witness: votedAs(peer)?.witness ?? false,
    }));
}
