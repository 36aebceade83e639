import type { Mutant } from './mutant.ts';

const identity = 'shared/replica/identity.ts';
const recovery = 'shared/replica/recovery.ts';

/** Who is one of two, or older than itself (R7), and who goes on without the rest (R12). */
export const IDENTITY_MUTANTS: readonly Mutant[] = [
  {
    name: 'votes-before-the-greeting',
    rule: 'R7: a vote is neither counted nor answered before the other side had its chance to say what it saw',
    seeds: [123],
    patches: [
      {
        file: 'shared/replica/greetings.ts',
        find: 'if (!isVoting(m) || this.#gate.isOpen(from, nonce)) return deliver();',
        replace: 'if (!isVoting(m) || nonce.length > 0) return deliver();',
      },
    ],
  },
  {
    name: 'later-turn-ignored',
    rule: 'R7: a store that is told of a later turn of a run that it knows was put back',
    seeds: [81],
    patches: [
      {
        file: identity,
        find: 'if (at >= 0) return turn <= (this.#runs[at + 1]?.turn ?? turnNow);',
        replace: 'if (at >= 0) return true;',
      },
    ],
  },
  {
    name: 'unknown-run-ignored',
    rule: 'R7: a store that is told of a run that it does not know was put back, or is one of two (with a run that it knows it is told of one, too, mostly)',
    seeds: [],
    caughtBy: 'test/replica/identity.test.ts',
    patches: [
      {
        file: identity,
        find: 'return turn <= turnNow && turn <= (this.#runs[0] as Run).turn;',
        replace: 'return turn >= 0;',
      },
    ],
  },
  {
    name: 'unknown-run-excused',
    rule: 'R7: a run that is not known is another store’s, also where it was seen at the very turn with which an own one begins (that takes a copy that said one thing and was gone)',
    seeds: [],
    caughtBy: 'test/replica/copies.test.ts',
    patches: [
      {
        file: identity,
        find: 'return turn <= turnNow && turn <= (this.#runs[0] as Run).turn;',
        replace:
          'return turn <= turnNow && (turn <= (this.#runs[0] as Run).turn || this.#runs.some((run) => run.turn === turn));',
      },
    ],
  },
  {
    name: 'turn-told-before-one-is-written',
    rule: 'R7: a run that has written nothing tells no turn, as nobody could tell it from the run of a copy',
    seeds: [13],
    patches: [
      {
        file: identity,
        find: 'return this.#isFirst || turn > began.turn ? turn : 0;',
        replace: 'return this.#isFirst || turn >= began.turn ? turn : 0;',
      },
    ],
  },
  {
    name: 'fork-pushed-out',
    rule: 'R7: two runs that can’t be one store’s stay remembered, however many follow (no simulated link leads one way for as many starts)',
    seeds: [],
    caughtBy: 'test/replica/copies.test.ts',
    patches: [
      {
        file: identity,
        find: 'if (sighting.fork === null && before) sighting.fork = [before, run];',
        replace: 'if (sighting.fork === null && before) sighting.fork = null;',
      },
    ],
  },
  {
    name: 'ended-store-taken-for-a-newer-one',
    rule: 'R7: a store whose session the log ended is not the one that went on (no simulated store loses the list of its former incarnations and is then put back)',
    seeds: [],
    caughtBy: 'test/replica/copies.test.ts',
    patches: [
      {
        file: 'shared/replica/greetings.ts',
        find: 'this.#reader.session(this.#self, incarnation)?.closed === true',
        replace: 'this.#reader.session(this.#self, incarnation)?.closed === null',
      },
    ],
  },
  {
    name: 'two-runs-unnoticed',
    rule: 'R7: a run that comes back after another one had greeted means that both live (in a simulation one of them is always told before)',
    seeds: [],
    caughtBy: 'test/replica/identity.test.ts',
    patches: [{ file: identity, find: 'sighting.twice = true;', replace: '' }],
  },
  {
    name: 'replaced-store-goes-on',
    rule: 'R7: a store whose session the log ended for another one of its peer falls silent',
    seeds: [7],
    patches: [
      {
        file: 'shared/replica/applying.ts',
        find: 'reader.session(self, incarnation)?.closed === true;',
        replace: 'reader.session(self, incarnation)?.closed === null;',
      },
    ],
  },
  {
    name: 'reborn-under-the-old-name',
    rule: 'R7: a store that lost what it had said is another voter',
    seeds: [4],
    patches: [
      {
        file: 'shared/replica/opening.ts',
        find: 'incarnation = init.newIncarnation();',
        replace: 'init.newIncarnation();',
      },
    ],
  },
  {
    name: 'formers-in-order-of-the-clock',
    rule: 'R7, P2: what several former incarnations left is signed again in the order in which they lived, whatever the clock said',
    seeds: [],
    caughtBy: 'test/session/outbox.test.ts',
    patches: [
      {
        file: 'shared/session/former.ts',
        find: 'a.age - b.age || a.saw - b.saw || a.timeMs - b.timeMs',
        replace: 'a.timeMs - b.timeMs || a.age - b.age',
      },
    ],
  },
  {
    name: 'former-commands-in-order-of-the-clock',
    rule: 'P2: what one former incarnation left is signed again in the order in which it was written, also where the clock was set back in between',
    seeds: [],
    caughtBy: 'test/session/outbox.test.ts',
    patches: [
      {
        file: 'shared/session/former.ts',
        find: 'this.#rows = lives.flatMap(({ rows }) => rows);',
        replace:
          'this.#rows = lives.flatMap(({ rows }) => rows.toSorted((a, b) => (a.run.commands[0]?.timeMs ?? 0) - (b.run.commands[0]?.timeMs ?? 0)));',
      },
    ],
  },
  {
    name: 'recovery-from-a-shorter-log',
    rule: 'R12: the log goes on from the longest prefix that a survivor holds',
    seeds: [37],
    patches: [
      { file: recovery, find: 'report.prefix > best.prefix ? report', replace: 'report.prefix < best.prefix ? report' },
    ],
  },
  {
    name: 'recovery-from-a-lower-ballot',
    rule: 'R12: above it stands what was accepted under the highest ballot',
    seeds: [],
    /** It takes two values in one slot as a quorum is lost for good: not one seed in a thousand gets there. */
    caughtBy: 'test/replica/recovery.test.ts',
    patches: [
      {
        file: recovery,
        find: 'if (order > 0) highest.set(row.slot, row);',
        replace: 'if (order !== 0) highest.set(row.slot, row);',
      },
    ],
  },
  {
    name: 'recovery-claims-to-be-lossless',
    rule: 'R12: nothing is lost only where the survivors meet every phase-2 quorum of each configuration of an open slot',
    seeds: [368],
    patches: [
      { file: recovery, find: 'kept > c.voters.length - c.q2 ? []', replace: 'kept >= c.voters.length - c.q2 ? []' },
    ],
  },
  {
    name: 'renounced-acceptor-votes',
    rule: 'R12: who has consented takes no part in the old epoch any more, from the batch on that says so',
    seeds: [37],
    patches: [
      {
        file: 'shared/replica/recovery-store.ts',
        find: 'renounced === null && followed === null;',
        replace: 'renounced !== undefined && followed === null;',
      },
      {
        file: 'shared/replica/recovery-exchange.ts',
        find: 'return this.#records.renounced !== null && this.#outcome === null;',
        replace: 'return this.#records.renounced === undefined;',
      },
    ],
  },
  {
    name: 'frames-of-another-epoch-taken',
    rule: 'R12: what is said in another epoch is not taken',
    seeds: [],
    caughtBy: 'test/replica/greeting.test.ts',
    patches: [
      {
        file: 'shared/replica/replica.ts',
        find: 'if (!equal(head.epoch, this.#epoch)) return this.#recovery.onOtherEpoch(from, head.epoch);',
        replace: 'if (!equal(head.epoch, this.#epoch)) this.#recovery.onOtherEpoch(from, head.epoch);',
      },
    ],
  },
];
