import type { Mutant } from './mutant.ts';

const core = (file: string): string => `shared/consensus/${file}.ts`;

/** What no simulation gets to, or hardly ever: unit tests catch these. */
export const UNIT_MUTANTS: readonly Mutant[] = [
  {
    name: 'change-before-a-value-of-its-own',
    rule: "R1: a change is proposed only after a value of the leader's own ballot is committed (the single-server bug)",
    seeds: [],
    caughtBy: 'test/consensus/reconfiguration.test.ts',
    patches: [
      {
        file: core('proposer'),
        find: "if (!r.established) return 'nothing of this ballot is committed yet';",
        replace: '',
      },
    ],
  },
  {
    name: 'change-with-any-predecessor',
    rule: 'R1: a configuration has force only if it names the one that governs its slot, and that is the newest',
    seeds: [],
    caughtBy: 'test/consensus/reconfiguration.test.ts',
    patches: [
      {
        file: core('configuration'),
        find: 'if (configuration.previous !== governing.slot || governing !== this.newest) return null;',
        replace: '',
      },
      {
        file: core('proposer'),
        find: "if (r.next < this.#ledger.history.newest.from) return 'the last change is not in force yet';",
        replace: '',
      },
    ],
  },
  {
    name: 'two-changes-at-once',
    rule: 'R1: one change at a time, and an accepted but unchosen one binds the next leader (each check covers for the other, and what has force is judged again when it is chosen)',
    seeds: [],
    caughtBy: 'test/consensus/reconfiguration.test.ts',
    patches: [
      {
        file: core('proposer'),
        find: "if (r.configurationIn !== null && r.configurationIn > this.#ledger.prefix) return 'a change is on its way';",
        replace: '',
      },
    ],
  },
  {
    name: 'behind-without-direction',
    rule: 'R1: Behind says who lacks (a stall)',
    seeds: [],
    caughtBy: 'test/consensus/reconfiguration.test.ts',
    patches: [
      {
        file: core('acceptor'),
        find: "if (prefix < at - history.alpha) return 'me';",
        replace: "if (prefix < at - history.alpha) return 'you';",
      },
      {
        file: core('acceptor'),
        find: "return this.#behind(from, m.ballot, m.slot, 'me');",
        replace: "return this.#behind(from, m.ballot, m.slot, 'you');",
      },
    ],
  },
  {
    name: 'part-of-a-promise-counted',
    rule: 'R4: a large Promise counts only when complete (a simulated one fits into one part)',
    seeds: [],
    caughtBy: 'test/consensus/multi-paxos.test.ts',
    patches: [
      { file: core('proposer'), find: 'if (m.parts === 1) return [m];', replace: 'if (m.parts >= 1) return [m];' },
    ],
  },
  {
    name: 'leader-without-its-quorum-goes-on',
    rule: 'R11: a leader goes on while it hears its quorums (its commits stall, and it ends by that; only slower)',
    seeds: [],
    caughtBy: 'test/consensus/election.test.ts',
    patches: [
      {
        file: core('election'),
        find: 'return n >= c.q2 && (isPrepared(slot) || n >= c.q1);',
        replace: 'return n >= 0 || isPrepared(slot);',
      },
    ],
  },
  {
    name: 'one-way-links-counted',
    rule: 'R11: a candidate hears its quorums both ways (elections that fail cost time, not safety)',
    seeds: [],
    caughtBy: 'test/consensus/election.test.ts',
    patches: [
      {
        file: core('election'),
        find: 'return peer === self.peer || (this.beatOf(peer)?.hears.includes(self.peer) ?? false);',
        replace: 'return peer === self.peer || this.beatOf(peer) !== null;',
      },
    ],
  },
  {
    name: 'good-leader-disturbed',
    rule: 'R11: voters refuse Prepare while they or a neighbour hear a leader that has its quorum',
    seeds: [],
    caughtBy: 'test/consensus/election.test.ts',
    patches: [
      {
        file: core('acceptor'),
        find: 'if (from !== self.peer && !sameBallot(m.ballot, promised) && this.#around.hearsLeaderBut(from, m.transferFrom)) {',
        replace:
          'if (from === self.peer && sameBallot(m.ballot, null) && this.#around.hearsLeaderBut(from, m.transferFrom)) {',
      },
      {
        file: core('election'),
        find: 'if (!this.hearsQuorums(window) || this.hearsLeaderBut(self.peer, null)) return false;',
        replace: 'if (!this.hearsQuorums(window)) return false;',
      },
    ],
  },
  {
    name: 'chosen-values-believed-unseen',
    rule: 'learning: a stretch is kept only if its chain reaches the digest announced with it (nobody lies in a simulation)',
    seeds: [],
    caughtBy: 'test/consensus/multi-paxos.test.ts',
    patches: [
      {
        file: core('learner'),
        find: 'if (!equal(digest, m.digest)) {',
        replace: 'if (digest.length !== m.digest.length) {',
      },
    ],
  },
  {
    name: 'barrier-served-by-an-older-value',
    rule: 'R9: a barrier waits for a slot that nothing bound (it takes a leader that dies just as a change takes force, and a read in between)',
    seeds: [],
    caughtBy: 'test/consensus/barriers.test.ts',
    patches: [
      {
        file: core('proposer'),
        find: 'this.#propose(r, value, false, null);',
        replace: 'this.#proposeNew(r, value);',
      },
    ],
  },
  {
    name: 'lost-records-unnoticed',
    rule: 'R6: what the mark and the other records speak of is there',
    seeds: [],
    caughtBy: 'test/replica/opening.test.ts',
    patches: [
      { file: 'shared/replica/opening.ts', find: 'holdTogether(kv, restored, verdict.mark);', replace: '' },
      {
        file: core('ledger'),
        find: 'assert(compareBallots(ballot, restored.promised) <= 0,',
        replace: 'assert(ballot.round > 0,',
      },
    ],
  },
  {
    name: 'lost-acceptances-unnoticed',
    rule: 'R6: listed values exist',
    seeds: [],
    caughtBy: 'test/storage/memory.test.ts',
    patches: [
      {
        file: 'shared/driver/journal-check.ts',
        find: 'this.#problems.length === 0 ? this.#judgeAccepted() : null;',
        replace: '[] as readonly Cbor[];',
      },
    ],
  },
  {
    name: 'spoken-before-the-mark',
    rule: 'R6: only after the mark do words leave that others count on (a simulated disk loses synced writes only where that is noticed)',
    seeds: [],
    caughtBy: 'test/driver/driver.test.ts',
    patches: [
      {
        file: 'shared/driver/driver.ts',
        find: "return underWay.effects.flatMap((e) => (e.type === 'sendAfterBatch' ? [e] : []));",
        replace:
          "return underWay.effects.flatMap((e) => (e.type === 'sendAfterBatch' || e.type === 'sendAfterPersist' ? [e] : []));",
      },
    ],
  },
  {
    name: 'carried-batch-of-another-chain',
    rule: 'R6: a batch that a mark carries is written only where it follows from what the database holds',
    seeds: [],
    caughtBy: 'test/driver/journal.test.ts',
    patches: [
      {
        file: 'shared/driver/carried.ts',
        find: 'return isWhole && end !== null && equal(end, link.previous) ? mark.batch : null;',
        replace: 'return isWhole && end !== undefined ? mark.batch : null;',
      },
    ],
  },
  {
    name: 'half-a-turn-spoken-of',
    rule: 'R6: what others count on leaves once batch and mark are both on the disk, also where they are written at once',
    seeds: [],
    caughtBy: 'test/peer/open-replica.test.ts',
    patches: [
      {
        file: 'src-main/peer/open-replica.ts',
        find: 'const ends = await Promise.allSettled([told, batch, mark]);',
        replace: 'const ends = await Promise.allSettled([told, mark]);',
      },
    ],
  },
  {
    name: 'mended-without-the-count',
    rule: 'R6: what was damaged is mended in place only where all that nobody else has is known to be here',
    seeds: [],
    caughtBy: 'test/replica/mend.test.ts',
    patches: [{ file: 'shared/driver/journal-check.ts', find: 'isAll ? accepted : null', replace: 'accepted' }],
  },
  {
    name: 'records-of-its-own-uncounted',
    rule: 'R6: a record that nobody else has and that is gone is noticed, each by itself',
    seeds: [],
    caughtBy: 'test/replica/mend.test.ts',
    patches: [
      {
        file: 'shared/driver/kept.ts',
        find: "['c/', 'm/', 'o/', 'r/', 'x/']",
        replace: "['c/', 'm/', 'r/', 'x/']",
      },
    ],
  },
  {
    name: 'older-acceptance-taken',
    rule: 'R6: an acceptance counts as there only under its own ballot',
    seeds: [],
    caughtBy: 'test/replica/mend.test.ts',
    patches: [{ file: 'shared/replica/opening.ts', find: 'return isSameBallot && equal(', replace: 'return equal(' }],
  },
  {
    name: 'mended-over-older-damage',
    rule: 'R6: only what was found outside of the turns is mended in place',
    seeds: [],
    caughtBy: 'test/replica/mend.test.ts',
    patches: [
      {
        file: 'shared/replica/remedy.ts',
        find: 'problems.some((code) => code !== BESIDE) && problems.every((code) => MENDABLE.has(code));',
        replace: 'problems.some((code) => MENDABLE.has(code));',
      },
    ],
  },
  {
    name: 'values-trusted-unchained',
    rule: 'R6: a chosen value is believed only where it leads from the digest before it to the one after it',
    seeds: [],
    caughtBy: 'test/replica/mend.test.ts',
    patches: [
      {
        file: 'shared/replica/mend.ts',
        find: 'const found = before && wholeValue(log, at, before);',
        replace: 'const found = { digest: after };',
      },
    ],
  },
  {
    name: 'written-after-a-failed-sync',
    rule: 'base rule 5: nothing is written to a store whose write failed',
    seeds: [],
    caughtBy: 'test/driver/journal.test.ts',
    patches: [
      { file: 'shared/driver/journal-store.ts', find: 'if (this.#error !== null) throw this.#error;', replace: '' },
    ],
  },
  {
    name: 'discharged-by-number',
    rule: 'R8: an outbox item is discharged only when its hash took effect or was refused',
    seeds: [],
    caughtBy: 'test/session/outbox.test.ts',
    patches: [
      {
        file: 'shared/session/settling.ts',
        find: 'if (!equal(item.command.hash, outcome.hash)) {',
        replace: 'if (item.command.hash.length !== outcome.hash.length) {',
      },
    ],
  },
  {
    name: 'queue-without-an-end',
    rule: 'every queue is bounded in bytes (a simulation never writes so much)',
    seeds: [],
    caughtBy: 'test/session/pool.test.ts',
    patches: [
      {
        file: 'shared/session/pool.ts',
        find: "> this.#bytesMax - this.#bytes) return 'full';",
        replace: "> Number.MAX_SAFE_INTEGER * (this.#bytesMax + this.#bytes)) return 'full';",
      },
    ],
  },
  {
    name: 'snapshot-read-without-an-end',
    rule: 'whoever gives a snapshot holds no more at once than a part, and one row (a simulation never has so large ones)',
    seeds: [],
    caughtBy: 'test/replica/snapshots.test.ts',
    patches: [
      {
        file: 'shared/replica/snapshot-server.ts',
        find: '{ ...range, limitBytes: this.#init.partBytes - bytes }',
        replace: 'range',
      },
    ],
  },
  {
    name: 'half-an-entry-called-whole',
    rule: 'of a snapshot on its way an entry is shown once all of its rows are there',
    seeds: [],
    caughtBy: 'test/replica/snapshots.test.ts',
    patches: [
      {
        file: 'shared/replica/snapshot-order.ts',
        find: 'Number.parseInt(at, 16) - 1)',
        replace: 'Number.parseInt(at, 16))',
      },
    ],
  },
  {
    name: 'preview-unchecked',
    rule: 'of a snapshot on its way no entry is shown whose records do not fit each other',
    seeds: [],
    caughtBy: 'test/replica/preview.test.ts',
    patches: [
      {
        file: 'shared/replica/preview.ts',
        find: 'entry !== undefined && this.#isPlausible(entry, position)',
        replace: 'entry !== undefined && (this.#isPlausible(entry, position) || true)',
      },
    ],
  },
  {
    name: 'preview-called-agreed',
    rule: 'what is not verified is not called committed, and is told once as what it is',
    seeds: [],
    caughtBy: 'test/peer/preview.test.ts',
    patches: [
      {
        file: 'src-main/peer/reading.ts',
        find: "status: 'unverified' }))",
        replace: "status: 'committed' as never }))",
      },
    ],
  },
  {
    name: 'snapshot-whatever-it-costs',
    rule: 'a snapshot is taken where it costs less than the values that are missing',
    seeds: [],
    caughtBy: 'test/replica/preview.test.ts',
    patches: [
      {
        file: 'shared/replica/snapshot-choice.ts',
        find: 'WRITES_PER_VALUE * behindBytes >= theirs.stateBytes',
        replace: 'slots > 0',
      },
    ],
  },
];
