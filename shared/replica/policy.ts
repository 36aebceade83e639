import { compareText } from '../base/bytes.ts';
import type { PeerId } from '../base/ids.ts';
import type { Configuration, Voter } from '../consensus/configuration.ts';
import { TICK_MS } from '../consensus/constants.ts';
import { inOrder, type Pinned, sameVoters, votersByHand } from './voters.ts';

/** How patient the policy is. Ticks. */
export interface PolicyTimes {
  /** Here for so long without a break, a machine is steady: it may be given a vote. */
  readonly steadyTicks: number;
  /** A voter that was not seen for so long makes room for one that is. */
  readonly goneTicks: number;
  /** Between two changes that nobody asked for. */
  readonly restTicks: number;
  /** A leader leads for so long before it gives way to a machine that stays on. */
  readonly reignTicks: number;
  /** Presence is compared in units of this, so that ranks don't flap. */
  readonly presenceTicks: number;
}

const MINUTE_TICKS: number = 60_000 / TICK_MS;

/** Ten minutes outlast a restart and a walk between two rooms; a day outlasts a night. */
export const POLICY_TIMES: PolicyTimes = {
  steadyTicks: 10 * MINUTE_TICKS,
  goneTicks: 24 * 60 * MINUTE_TICKS,
  restTicks: 5 * MINUTE_TICKS,
  reignTicks: 10 * MINUTE_TICKS,
  presenceTicks: 60 * MINUTE_TICKS,
};

/** One member, as the policy looks at it. */
export interface Machine extends Pinned {
  /** Ready, not about to go, and here for long enough. */
  readonly isSteady: boolean;
  readonly isHere: boolean;
  /** It said that it goes away. What was pinned rests meanwhile. */
  readonly isAway: boolean;
  /** Should it vote, its vote is of no use for now: it said that it goes, or was gone or damaged for too long. */
  readonly isLost: boolean;
  /** Null where it was never heard. */
  readonly staysOn: boolean | null;
  /** How long it has been here, in coarse units. */
  readonly presence: number;
}

/**
 * Why the voters should be others than now.
 * - `hand`: what people did: votes given or taken, members removed, a store made anew
 * - `away`: a voter said that it goes away
 * - `gone`: a voter was not seen for too long
 * - `damaged`: a voter's store is damaged
 * - `stays-on`: machines that stay on take the votes
 * - `more`, `fewer`: as the number of machines asks for
 */
export type PolicyWhy = 'hand' | 'away' | 'gone' | 'damaged' | 'stays-on' | 'more' | 'fewer';

export interface Wanted {
  readonly voters: readonly Voter[];
  readonly why: PolicyWhy;
  /** Somebody did or said something that asks for it; otherwise it can wait for a quiet moment. */
  readonly isAsked: boolean;
}

/** So many of `machines` vote. Never an even number: one more than an odd one survives nothing more, and has to be there. */
export function seatsFor(machines: number, stayOn: boolean): 0 | 1 | 3 | 5 {
  if (machines === 0) return 0;
  if (machines < 3) return 1;
  return stayOn && machines >= 5 ? 5 : 3;
}

/**
 * Who should vote. Roles given by hand stand. About all other members the policy decides: machines that stay on before others, whoever votes before whoever
 * does not, and as many as `seatsFor` says. Votes given by hand count among them, and take no vote away from anybody: with them the policy fills up and
 * swaps, but makes nobody give way for the number's sake. Null where all is as it should be.
 *
 * @param decides false: only what was done by hand
 */
export function wantedVoters(now: Configuration, machines: readonly Machine[], decides: boolean): Wanted | null {
  const byHand = votersByHand(now, machines);
  const seated = decides ? seat(byHand, machines) : null;
  const voters = seated === null || seated.every((v) => v.witness) ? byHand : seated;
  if (sameVoters(voters, now.voters)) return null;
  const why = sameVoters(voters, byHand) ? 'hand' : whyOf(byHand, voters, machines);
  return { voters, why, isAsked: why === 'hand' || why === 'away' || !sameVoters(byHand, now.voters) };
}

function seat(byHand: readonly Voter[], machines: readonly Machine[]): readonly Voter[] | null {
  const votes = ({ peer }: Machine): boolean => byHand.some((v) => v.peer === peer);
  const byPin = machines.filter((m) => votes(m) && isPinned(m));
  const free = machines.filter((m) => m.pinned !== 'learner' && !isPinned(m));
  const voting = free.filter(votes);
  const firm = voting.filter((m) => !m.isLost);
  const lost = voting.filter((m) => m.isLost);
  const steady = free.filter((m) => !votes(m) && m.isSteady);

  const stayOn = [...byPin, ...firm, ...steady].some((m) => m.staysOn === true);
  // One that was not heard yet keeps what it has until it is.
  const counts = (m: Machine): boolean => !stayOn || m.staysOn !== false;
  const machinesThatCount = [...byPin, ...[...firm, ...steady, ...lost].filter(counts)];
  const wanted = seatsFor(machinesThatCount.length, stayOn);
  const seats = byPin.length === 0 ? wanted : Math.max(wanted - byPin.length, voting.length);
  // Whoever votes keeps the vote before one who ranks higher; one that is lost makes room, but only for one that is here.
  const order = [firm.filter(counts), steady.filter(counts), lost.filter(counts), voting.filter((m) => !counts(m))];
  const chosen = [...byPin, ...order.flatMap(ranked).slice(0, seats)];
  if (chosen.length === 0) return null;
  return inOrder(
    chosen.map(({ peer, incarnation }) => byHand.find((v) => v.peer === peer) ?? { peer, incarnation, witness: false }),
  );
}

const isPinned = ({ pinned, isAway }: Machine): boolean => !isAway && (pinned === 'voter' || pinned === 'witness');

function ranked(machines: readonly Machine[]): readonly Machine[] {
  return machines.toSorted(
    (a, b) =>
      Number(b.staysOn === true) - Number(a.staysOn === true) ||
      Number(b.isHere) - Number(a.isHere) ||
      b.presence - a.presence ||
      compareText(a.peer, b.peer),
  );
}

function whyOf(before: readonly Voter[], after: readonly Voter[], machines: readonly Machine[]): PolicyWhy {
  const leaving = before.filter((v) => !after.some((w) => w.peer === v.peer));
  const left = machines.filter((m) => leaving.some((v) => v.peer === m.peer));
  if (left.length < leaving.length) return 'hand'; // it is no member any more
  if (left.some((m) => m.isAway)) return 'away';
  const lost = left.find((m) => m.isLost);
  if (lost !== undefined) return lost.isHere ? 'damaged' : 'gone';
  const joined = machines.filter((m) => after.some((w) => w.peer === m.peer) && !before.some((v) => v.peer === m.peer));
  if (left.length > 0 && joined.some((m) => m.staysOn === true)) return 'stays-on';
  return after.length < before.length ? 'fewer' : 'more';
}

/** Who of a configuration's voters is missing in another. */
export const missingIn = (voters: readonly Voter[], others: readonly Voter[]): readonly PeerId[] =>
  voters.filter((v) => !others.some((w) => w.peer === v.peer)).map((v) => v.peer);
