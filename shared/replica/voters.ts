import { compareText } from '../base/bytes.ts';
import type { Incarnation, PeerId } from '../base/ids.ts';
import type { Configuration, Voter } from '../consensus/configuration.ts';
import type { PinnedRole } from '../document/index.ts';

/** What decides by hand about one member. */
export interface Pinned {
  readonly peer: PeerId;
  readonly incarnation: Incarnation;
  readonly pinned: PinnedRole;
  /** Here, sound, and holding everything: it can be given a vote without holding up the others. */
  readonly isReady: boolean;
}

/**
 * Who votes by what people did, given who does: members pinned as voters, and those who vote already and were not pinned otherwise. A newcomer is named
 * only while it is ready. A voter whose store was made anew is followed by its new incarnation. Never empty, and never witnesses alone.
 */
export function votersByHand(now: Configuration, members: readonly Pinned[]): readonly Voter[] {
  const wanted = members.flatMap((member): Voter[] => {
    const { peer, incarnation, pinned } = member;
    const votes = now.voters.find((v) => v.peer === peer);
    const isWanted = pinned === 'voter' || pinned === 'witness' || (pinned === null && votes !== undefined);
    if (!isWanted) return [];
    const same = votes?.incarnation === incarnation && votes.witness === (pinned === 'witness');
    return same || member.isReady ? [{ peer, incarnation, witness: pinned === 'witness' }] : votes ? [votes] : [];
  });
  return wanted.every((v) => v.witness) ? now.voters : inOrder(wanted);
}

/** How many voters may be away, whichever they are. */
export interface Survives {
  /** While somebody leads. */
  readonly writing: number;
  /** While a leader is chosen: whoever is to lead has to reach both quorums, or it could do nothing with what it won. */
  readonly electing: number;
}

/** What a configuration survives at worst: a quorum is left, and with it a machine that can lead. A witness never does. */
export function survivedBy({ voters, q1, q2 }: Pick<Configuration, 'voters' | 'q1' | 'q2'>): Survives {
  const full = voters.filter((v) => !v.witness).length;
  const spare = (needed: number): number => Math.max(0, Math.min(voters.length - needed, full - 1));
  return { writing: spare(q2), electing: spare(Math.max(q1, q2)) };
}

/** One spelling for one set of voters. */
export const inOrder = (voters: readonly Voter[]): readonly Voter[] =>
  voters.toSorted((a, b) => compareText(a.peer, b.peer));

export function sameVoters(a: readonly Voter[], b: readonly Voter[]): boolean {
  return (
    a.length === b.length &&
    a.every((v) => b.some((w) => w.peer === v.peer && w.incarnation === v.incarnation && w.witness === v.witness))
  );
}
