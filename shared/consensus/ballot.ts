import { compareText } from '../base/bytes.ts';
import { asArray, asBytes, asInteger, type Cbor } from '../base/cbor.ts';
import {
  type Incarnation,
  incarnationBytes,
  incarnationFromBytes,
  keyFromPeer,
  type PeerId,
  peerFromKey,
} from '../base/ids.ts';

/** A proposer's turn to lead: totally ordered, and no two proposers ever share one. Never used again after a restart. */
export interface Ballot {
  /** 1, 2, … */
  readonly round: number;
  readonly peer: PeerId;
  readonly incarnation: Incarnation;
}

/** Higher rounds are refused where they come in, so that nobody can use them up for the others. */
export const ROUND_MAX: number = 2 ** 48;

/** Negative, zero or positive. `null`, no ballot at all, is below every ballot. */
export function compareBallots(a: Ballot | null, b: Ballot | null): number {
  if (a === b) return 0;
  if (a === null) return -1;
  if (b === null) return 1;
  return a.round - b.round || compareText(a.peer, b.peer) || compareText(a.incarnation, b.incarnation);
}

export const sameBallot = (a: Ballot | null, b: Ballot | null): boolean => compareBallots(a, b) === 0;

export const showBallot = (b: Ballot | null): string =>
  b === null ? 'none' : `${b.round}.${b.peer.slice(-4)}.${b.incarnation.slice(0, 4)}`;

export function encodeBallot(b: Ballot | null): Cbor {
  return b === null ? null : [b.round, keyFromPeer(b.peer), incarnationBytes(b.incarnation)];
}

/** @throws FormatError */
export function decodeBallot(value: Cbor | undefined): Ballot {
  const [round, peer, incarnation] = asArray(value, 3);
  return {
    round: asInteger(round, 1, ROUND_MAX - 1),
    peer: peerFromKey(asBytes(peer, 32)),
    incarnation: incarnationFromBytes(asBytes(incarnation, 16)),
  };
}
