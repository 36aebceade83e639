// What is said of signed commands that people carry by hand.
import { describe, expect, it } from 'vitest';
import type { Body, Run } from '../../shared/document/index.ts';
import { REFUSALS_KEPT } from '../../shared/document/records.ts';
import type { Carried } from '../../shared/replica/replica.ts';
import type { SimNode } from '../../shared/sim/node.ts';
import { Author, incarnationOf } from '../document/fixture.ts';
import { QuietGroup } from './quiet-group.ts';

const create = (text: string): Body => ({ kind: 'create', key: null, text });
/** Only keepers may, and only an invitation that is there. */
const refused: Body = { kind: 'revoke', key: new Uint8Array(32) };
const untraced: Body = { kind: 'profile', name: 'Ben' };

/** Two machines; the second one is off, and what it signed is carried to the first one, which leads. */
function carrying() {
  const group = new QuietGroup(2);
  for (let i = 0; i < 10 && group.leader !== 0; i++) group.run(1);
  const absent = group.nodes[1] as SimNode;
  absent.crash(false);
  const session = { group: group.at(0).group, peer: absent.peer, incarnation: absent.incarnation };
  const author = (incarnation = absent.incarnation): Author => new Author({ ...session, incarnation }, absent.signer);
  const carry = (...runs: readonly Run[]): readonly Carried[] | null => {
    let result: readonly Carried[] | null = null;
    void group.at(0).relay(runs, (carried) => {
      result = carried;
    });
    (group.nodes[0] as SimNode).pump();
    group.run(1);
    return result;
  };
  return { group, session, author, carry };
}

describe('commands that are carried', () => {
  it('are known once they took effect, and not by their numbers', () => {
    const { group, author, carry } = carrying();
    const one = author();
    const [first, bad, last] = [one.run(create('a'), untraced), one.run(refused), one.run(create('b'))];
    expect(carry(first, bad, last)).toEqual(['new', 'new', 'new']);
    expect(group.at(0).reader.positions()).toBe(2);
    expect(carry(first, bad, last)).toEqual(['known', 'refused', 'known']);
    expect(carry(bad)).toEqual(['refused']);
  });

  it('are known by those that follow on them, and else by what they left', () => {
    const { author, carry } = carrying();
    const one = author();
    const [trace, none, after] = [one.run(create('a')), one.run(untraced), one.run(create('b'))];
    carry(trace, none, after);
    carry(one.run(create('c')));
    expect(carry(trace)).toEqual(['known']);
    expect(carry(none, after)).toEqual(['known', 'known']);
    // Nothing in the state tells its hash.
    expect(carry(none)).toEqual(['refused']);
  });

  it('are refused where the group agreed on another command of that number', () => {
    const { author, carry } = carrying();
    const [one, other] = [author(), author()];
    const there = [one.run(create('a')), one.run(create('b'))];
    expect(carry(...there)).toEqual(['new', 'new']);
    const never = other.run(create('never'));
    expect(carry(never)).toEqual(['refused']);
    expect(carry(other.run(create('never, too')))).toEqual(['refused']);
    // It follows on what is not there.
    expect(carry(other.run(create('nor that')))).toEqual(['refused']);
    expect(carry(...there)).toEqual(['known', 'known']);
  });

  it('are refused in a session that a newer store closed, but for what took effect before', () => {
    const { group, session, author, carry } = carrying();
    const one = author();
    const before = one.run(create('in time'));
    carry(before);
    const next = new Author({ ...session, incarnation: incarnationOf(7) }, one.signer);
    // The number of the late one is used up, in a session that is closed by then.
    const [opens, late] = [next.run({ kind: 'openSession' }), one.run(create('too late'))];
    expect(carry(opens, late)).toEqual(['new', 'new']);
    expect(group.at(0).reader.session(session.peer, session.incarnation)).toMatchObject({ closed: true, lastSeq: 2 });
    expect(carry(opens, before, late)).toEqual(['known', 'known', 'refused']);
    expect(carry(one.run(create('later still')))).toEqual(['refused']);
  });

  it('are not known where a refusal is so old that the session forgot it', () => {
    const { author, carry } = carrying();
    const one = author();
    const [bad, good] = [one.run(refused), one.run(create('a'))];
    carry(bad, good, ...Array.from({ length: REFUSALS_KEPT }, () => one.run(refused)));
    expect(carry(bad, good)).toEqual(['refused', 'known']);
  });
});
