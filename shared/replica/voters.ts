import { compareText } from '../base/bytes.ts';
import type { PeerId } from '../base/ids.ts';
import type { Configuration, Voter } from '../consensus/configuration.ts';
import type { Member } from '../document/reader.ts';

/**
 * Who should vote, given who does: members pinned as voters, and those who vote already and were not pinned otherwise. A newcomer is named only
 * while `isReady` (here, and holding everything), so that one who is away doesn't hold up the others. Never empty.
 */
export function wantedVoters(
  now: Configuration,
  members: readonly Member[],
  isReady: (peer: PeerId) => boolean,
): readonly Voter[] {
  const wanted = members.flatMap((member): Voter[] => {
    const { peer, incarnation, pinned } = member;
    const votes = now.voters.find((v) => v.peer === peer);
    const isWanted = pinned === 'voter' || pinned === 'witness' || (pinned === null && votes !== undefined);
    if (!isWanted) return [];
    const same = votes?.incarnation === incarnation && votes.witness === (pinned === 'witness');
    return same || isReady(peer) ? [{ peer, incarnation, witness: pinned === 'witness' }] : votes ? [votes] : [];
  });
  if (wanted.every((v) => v.witness)) return now.voters;
  return wanted.sort((a, b) => compareText(a.peer, b.peer));
}

export function sameVoters(a: readonly Voter[], b: readonly Voter[]): boolean {
  return (
    a.length === b.length &&
    a.every((v) => b.some((w) => w.peer === v.peer && w.incarnation === v.incarnation && w.witness === v.witness))
  );
}
