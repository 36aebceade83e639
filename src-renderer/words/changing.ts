import type { PeerError } from '../../shared/ipc/errors.ts';
import type { VoteChange } from './votes.ts';

/** What is asked, what it does, and what is said when it is done; of one member or of several. */
export function changeWords(
  change: VoteChange,
  names: string,
  isOne: boolean,
): { title: string; act: string; done: string } {
  switch (change) {
    case 'promote':
      return {
        title: `Give ${names} ${isOne ? 'a vote' : 'votes'}?`,
        act: isOne ? 'Give the vote' : 'Give the votes',
        done: `${names} ${isOne ? 'votes' : 'vote'} now.`,
      };
    case 'demote':
      return { title: `Take ${names}'s vote back?`, act: 'Take the vote back', done: `${names} reads along now.` };
    case 'expel':
      return { title: `Remove ${names}?`, act: 'Remove', done: `${names} is no longer a member.` };
  }
}

/** What went wrong with it, and the way out. */
export function changeFailed(error: PeerError, change: VoteChange, names: string): string {
  switch (error.code) {
    case 'TIMED_OUT':
      return `${error.message} It was asked for, and comes into force by itself as soon as it can.`;
    case 'LAST_VOTER':
      return `${names} is the only machine that votes. Give another one a vote first.`;
    case 'REFUSED_NO_RIGHTS':
      return "This machine's rights don't allow it: only keepers do this.";
    case 'REFUSED_LAST_KEEPER':
      return `${names} is the only keeper, and a log can't be without one.`;
    case 'REFUSED_NO_SUCH_MEMBER':
    case 'MEMBER_NOT_FOUND':
      return change === 'expel' ? `${names} was removed already.` : `${names} is no longer a member.`;
    default:
      return error.message;
  }
}
