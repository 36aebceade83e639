import type { Body, SingleBody } from './bodies.ts';
import { create, edit, remove, restore } from './entries.ts';
import { isRefused, type Judging, type Refused, refuse, type Took, type Verdict } from './judging.ts';
import type { KindName } from './kinds.ts';
import {
  admit,
  changeRights,
  expel,
  invite,
  memberOf,
  openSession,
  pinRole,
  profile,
  rename,
  revoke,
  setAway,
  setQuorum,
} from './membership.ts';
import type { Rights } from './types.ts';

/** What a member needs at least to send a command of this kind. */
const NEEDS: Readonly<Record<Exclude<KindName, 'bundle'>, Rights>> = {
  create: 'writer',
  edit: 'writer',
  remove: 'writer',
  restore: 'writer',
  rename: 'writer',
  profile: 'reader',
  invite: 'keeper',
  admit: 'keeper',
  expel: 'keeper',
  rights: 'keeper',
  pinRole: 'keeper',
  openSession: 'reader',
  revoke: 'keeper',
  quorum: 'keeper',
  away: 'reader',
};

const STRENGTH: Readonly<Record<Rights, number>> = { reader: 0, writer: 1, keeper: 2 };

/** Judges one command's body by the state and changes the state accordingly, or not at all. */
export function judge(judging: Judging, body: Body): Verdict {
  if (body.kind !== 'bundle') {
    const result = judgeOne(judging, body);
    return isRefused(result) ? result : { took: [result] };
  }
  const changesBefore = judging.changes.length;
  const took: Took[] = [];
  let refused: Refused | null = null;
  judging.state.atomically(() => {
    for (const [index, each] of body.bodies.entries()) {
      // A body may change what the next one may do: the author's rights are looked up again each time.
      const author = memberOf(judging.state, judging.run.peer);
      const result = author ? judgeOne({ ...judging, author, index }, each) : refuse('NOT_MEMBER', judging.run.peer);
      if (isRefused(result)) {
        refused = refuse(result.refused, `body ${index}: ${result.detail}`);
        return false;
      }
      took.push(result);
    }
    return true;
  });
  if (refused === null) return { took };
  judging.changes.length = changesBefore;
  return refused;
}

function judgeOne(judging: Judging, body: SingleBody): Took | Refused {
  const { rights } = judging.author;
  const leaves = body.kind === 'expel' && body.peer === judging.run.peer;
  if (!leaves && STRENGTH[rights] < STRENGTH[NEEDS[body.kind]]) return refuse('NO_RIGHTS', `${body.kind} as ${rights}`);
  switch (body.kind) {
    case 'create':
      return create(judging, body);
    case 'edit':
      return edit(judging, body);
    case 'remove':
      return remove(judging, body);
    case 'restore':
      return restore(judging, body);
    case 'rename':
      return rename(judging, body);
    case 'profile':
      return profile(judging, body);
    case 'invite':
      return invite(judging, body);
    case 'admit':
      return admit(judging, body);
    case 'expel':
      return expel(judging, body);
    case 'rights':
      return changeRights(judging, body);
    case 'pinRole':
      return pinRole(judging, body);
    case 'openSession':
      return openSession(judging);
    case 'revoke':
      return revoke(judging, body);
    case 'quorum':
      return setQuorum(judging, body);
    case 'away':
      return setAway(judging, body);
  }
}
