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

/** One spelling for one set of voters. */
export const inOrder = (voters: readonly Voter[]): readonly Voter[] =>
  voters.toSorted((a, b) => compareText(a.peer, b.peer));

export function sameVoters(a: readonly Voter[], b: readonly Voter[]): boolean {
  return (
    a.length === b.length &&
    a.every((v) => b.some((w) => w.peer === v.peer && w.incarnation === v.incarnation && w.witness === v.witness))
  );
}
