/**
 * Not here, since a seed would need more luck than it has:
 * - A barrier served by a re-proposed value (R9). It takes a leader that dies just as a new configuration's first slots are used, a successor whose second
 *   phase 1 comes late, and a read in between; test/consensus/barriers.test.ts plays it by hand.
 * - An expelled voter that nobody writes to, since members are gone through only when one changes (R2). The farewell to whoever was expelled covers for it
 *   for its first seconds.
 */

/**
 * Bugs to plant: each is a change to one place of the production source, made as the module is loaded, so that production carries no
 * switches. A simulator that does not catch them proves nothing.
 */
export interface Mutant {
  readonly name: string;
  /** What it weakens. */
  readonly rule: string;
  /** Known to catch it; where none of them does any more, the tests look for another. */
  readonly seeds: readonly number[];
  readonly patches: readonly { readonly file: string; readonly find: string; readonly replace: string }[];
}

const core = (file: string): string => `shared/consensus/${file}.ts`;

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'reply-before-persist',
    rule: 'base rule 1: a promise or acceptance is on disk before the message that speaks of it leaves',
    seeds: [1],
    patches: [
      {
        file: 'shared/driver/driver.ts',
        find: 'hasToPersist ||= this.#overlay.isWaiting;\n          break;',
        replace: 'send.push(e);\n          break;',
      },
    ],
  },
  {
    name: 'applied-slot-before-its-records',
    rule: 'the applied state moves on the disk all at once: where the applied slot is ahead of its records, what is between is never applied',
    seeds: [54, 57],
    patches: [
      {
        file: 'shared/driver/overlay.ts',
        find: 'for (const op of ops) this.#put(hasToHurry ? this.#waiting : this.#deferred, op);',
        replace:
          "for (const op of ops) this.#put(hasToHurry || op.key === 's/applied' ? this.#waiting : this.#deferred, op);",
      },
    ],
  },
  {
    name: 'ignore-highest-accepted-ballot',
    rule: 'P2c: a new leader re-proposes the value of the highest accepted ballot',
    seeds: [80, 251, 259],
    patches: [
      {
        file: core('proposer'),
        find: 'if (!known || compareBallots(row.ballot, known.ballot) > 0) phase.bound.set(row.slot, row);',
        replace: 'if (!known || compareBallots(row.ballot, known.ballot) < 0) phase.bound.set(row.slot, row);',
      },
    ],
  },
  {
    name: 'ignore-accepted-values',
    rule: 'P2c: a new leader is bound by what was accepted',
    seeds: [2, 3, 4],
    patches: [
      {
        file: core('proposer'),
        find: 'for (const row of part.accepted) {',
        replace: 'for (const row of [] as AcceptedValue[]) {',
      },
    ],
  },
  {
    name: 'count-acceptances-across-ballots',
    rule: 'base rule 3: chosen means accepted by a quorum under one ballot',
    seeds: [13, 101],
    patches: [
      {
        file: core('proposer'),
        find: 'if (!r || !sameBallot(r.ballot, m.ballot)) return;\n    for (const at of m.slots) {',
        replace: 'if (!r) return;\n    for (const at of m.slots) {',
      },
    ],
  },
  {
    name: 'phase-1-ignores-configuration',
    rule: 'R1: phase 1 is per configuration',
    seeds: [3, 6, 7],
    patches: [
      {
        file: core('proposer'),
        find: 'const phase = r.phases.get(governing.slot);\n    return phase?.done ? phase : null;',
        replace: 'return [...r.phases.values()].find((phase) => phase.done) ?? null;',
      },
      {
        // A phase 1 that is over goes with its configuration, which alone would keep it from being used for the next one.
        file: core('proposer'),
        find: 'for (const at of r.phases.keys()) if (!window.some((inForce) => inForce.slot === at)) r.phases.delete(at);',
        replace: '',
      },
      {
        file: core('proposer'),
        find: 'assert(r.phases.get(inForce.slot)?.done === true,',
        replace: 'assert(true,',
      },
    ],
  },
  {
    name: 'ballot-reused-after-restart',
    rule: 'R3: ballots are never resumed after a restart',
    seeds: [1, 30, 38],
    patches: [
      {
        file: core('ledger'),
        find: 'this.roundSeen = restored.promised?.round ?? 0;',
        replace: 'this.roundSeen = (restored.promised?.round ?? 1) - 1;',
      },
      {
        file: core('proposer'),
        find: 'assert(compareBallots(ballot, this.#ledger.promised) > 0,',
        replace: 'assert(compareBallots(ballot, this.#ledger.promised) >= 0,',
      },
    ],
  },
  {
    name: 'accept-does-not-promise',
    rule: 'base rule 2: accepting a ballot also promises it',
    seeds: [3, 4, 5],
    patches: [
      {
        file: core('ledger'),
        find: 'this.promise(ballot);\n    this.#accepted.set(at, { ballot, value });',
        replace: 'this.#accepted.set(at, { ballot, value });',
      },
    ],
  },
  {
    name: 'watermark-trusted-alone',
    rule: 'base rule 3: a watermark says which value only under the same ballot',
    seeds: [7, 11],
    patches: [
      {
        file: core('learner'),
        find: 'if (!held || !sameBallot(held.ballot, ballot)) break;',
        replace: 'if (!held) break;',
      },
    ],
  },
  {
    name: 'old-ballots-accepted',
    rule: 'P1a: an acceptor accepts only what no higher promise forbids',
    seeds: [3, 4, 5],
    patches: [
      {
        file: core('acceptor'),
        find: "if (compareBallots(m.ballot, this.#ledger.promised) < 0) return this.#nack(from, m.ballot, 'ballot');\n    this.#around",
        replace: 'this.#around',
      },
      {
        file: core('ledger'),
        find: 'this.promise(ballot);\n    this.#accepted.set(at, { ballot, value });',
        replace: 'this.#accepted.set(at, { ballot, value });',
      },
    ],
  },
  {
    name: 'quorum-one-short',
    rule: 'base rule 4: quorums intersect',
    seeds: [2, 3, 4],
    patches: [
      {
        file: core('proposer'),
        find: 'flight.acceptedBy.size < flight.inForce.configuration.q2',
        replace: 'flight.acceptedBy.size < flight.inForce.configuration.q2 - 1',
      },
    ],
  },
  {
    name: 'duplicate-commands-applied',
    rule: 'R8: a duplicate is dropped',
    seeds: [15, 22, 23],
    patches: [
      {
        file: 'shared/document/document.ts',
        find: "if (command.seq <= session.lastSeq) return 'duplicate';",
        replace: '',
      },
      {
        file: 'shared/document/document.ts',
        find: "return equal(command.prev, session.lastHash) ? null : 'fork';",
        replace: 'return null;',
      },
    ],
  },
  {
    name: 'promise-lost-at-restart',
    rule: 'R3: what was promised outlives a restart',
    seeds: [1, 15, 21],
    patches: [
      {
        file: 'shared/driver/restore.ts',
        find: 'promised: promise ? decodePromise(promise) : null,',
        replace: 'promised: promise && decodePromise(promise) ? null : null,',
      },
      {
        file: core('ledger'),
        find: 'assert(compareBallots(ballot, restored.promised) <= 0,',
        replace: 'assert(ballot.round > 0,',
      },
    ],
  },
  {
    name: 'fill-below-floor',
    rule: 'R4: a leader catches up to the highest floor of its quorum before it proposes',
    seeds: [13, 40],
    patches: [
      {
        file: core('proposer'),
        find: 'if (phase.done && phase.floorPeer !== null && phase.floor > this.#ledger.prefix) {',
        replace: 'if (phase.done && phase.floorPeer !== null && phase.floor > Number.MAX_SAFE_INTEGER) {',
      },
    ],
  },
  {
    name: 'horizon-and-prefix-check-off',
    rule: 'R1: nothing is proposed or accepted more than α slots ahead of what is known (each check covers for the other)',
    seeds: [2, 4, 6],
    patches: [
      { file: core('proposer'), find: 'if (r.next > this.#ledger.horizon) return null;', replace: '' },
      {
        file: core('proposer'),
        find: 'Math.min(IN_FLIGHT_MAX - r.flights.size, this.#ledger.horizon - r.next + 1)',
        replace: 'IN_FLIGHT_MAX - r.flights.size',
      },
      {
        file: core('proposer'),
        find: 'assert(at > prefix && at <= this.#ledger.horizon,',
        replace: 'assert(at > prefix,',
      },
      { file: core('acceptor'), find: "if (prefix < at - history.alpha) return 'me';", replace: '' },
    ],
  },
  {
    // In this driver a turn is never begun before the one before is on the disk, so what a peer says to itself can't be counted too
    // early by the core alone: the bug is planted where the driver gives the core its own words back.
    name: 'own-vote-before-durable',
    rule: 'R3: a leader counts its own acceptance only once it is durable',
    seeds: [1, 2],
    patches: [
      {
        file: 'shared/driver/driver.ts',
        find: "if (effect.type === 'leader') this.#app.onLeader(",
        replace:
          "if (effect.type === 'sendAfterPersist' && effect.message.type === 'accepted' && effect.to.includes(this.#self)) step(selfInput(this.#self, this.#incarnation, effect.message));\n        if (effect.type === 'leader') this.#app.onLeader(",
      },
    ],
  },
  {
    name: 'forgotten-incarnation-counted',
    rule: 'R7: a store that lost what it had said is another voter',
    seeds: [14, 24, 51],
    patches: [
      {
        file: core('configuration'),
        find: 'v.peer === peer && v.incarnation === incarnation',
        replace: 'v.peer === peer && incarnation !== null',
      },
    ],
  },
  {
    name: 'refused-command-blocks-author',
    rule: 'R8: a refused command consumes its seq',
    seeds: [1, 2],
    patches: [
      {
        file: 'shared/document/document.ts',
        find: 'return { lastSeq: seq, lastHash: command.hash, closed: session.closed, refusals };',
        replace:
          'return isRefused(verdict) ? session : { lastSeq: seq, lastHash: command.hash, closed: session.closed, refusals };',
      },
    ],
  },
  {
    name: 'gap-applied',
    rule: 'R8: a command whose predecessor is missing is not applied',
    seeds: [136, 253, 264],
    patches: [
      {
        file: 'shared/document/document.ts',
        find: "if (command.seq > session.lastSeq + 1) return 'gap';",
        replace: '',
      },
      {
        file: 'shared/document/document.ts',
        find: "return equal(command.prev, session.lastHash) ? null : 'fork';",
        replace: 'return null;',
      },
    ],
  },
  {
    name: 'stale-barrier',
    rule: 'R9: a barrier is served by a slot that was proposed after it was asked for',
    seeds: [1, 4, 5],
    patches: [
      {
        file: 'shared/replica/replica.ts',
        find: "this.#driver.enqueue({ type: 'barrier', id: this.#barriers.ask() });",
        replace: 'this.onBarrier(this.#barriers.ask(), this.applied);',
      },
    ],
  },
  {
    name: 'prepare-refused-at-equal-ballot',
    rule: 'R1: a Prepare at the ballot already promised is granted (a stall)',
    seeds: [5, 8],
    patches: [
      {
        file: core('acceptor'),
        find: "if (compareBallots(m.ballot, promised) < 0) return this.#nack(from, m.ballot, 'ballot');",
        replace:
          "if (compareBallots(m.ballot, promised) < (from === self.peer ? 0 : 1)) return this.#nack(from, m.ballot, 'ballot');",
      },
    ],
  },
  {
    name: 'hand-over-without-prefix',
    rule: 'R2: no voter accepts in a configuration before it holds everything below its first slot',
    seeds: [3, 10, 12],
    patches: [
      {
        file: core('acceptor'),
        find: "if (this.#ledger.prefix < governing.from - 1) return this.#behind(from, m.ballot, m.slot, 'me');",
        replace: '',
      },
      {
        file: core('proposer'),
        find: 'if (!this.#isVoterIn(governing) || prefix < governing.from - 1) return null;',
        replace: 'if (!this.#isVoterIn(governing)) return null;',
      },
    ],
  },
  {
    name: 'saved-before-it-is',
    rule: 'P2: what is told to be saved is on the disk',
    seeds: [1],
    patches: [
      {
        file: 'shared/replica/replica.ts',
        find: 'this.#uncutHandles.push(made.handle);\n',
        replace: 'this.#uncutHandles.push(made.handle);\n    Promise.resolve();\n    outcomes.saved?.();\n',
      },
    ],
  },
  {
    name: 'promise-cut-off',
    rule: 'R1: a Promise lists everything accepted above its floor, with no upper limit',
    seeds: [2, 3, 4],
    patches: [
      {
        file: core('acceptor'),
        find: 'const rows: AcceptedValue[] = [...accepted]\n',
        replace: 'const rows: AcceptedValue[] = [...accepted]\n      .filter(([at]) => at <= prefix + 1)\n',
      },
    ],
  },
  {
    name: 'proposed-before-it-is-saved',
    rule: 'own commands are on the disk before any frame with them leaves, so that no number is given twice',
    seeds: [3],
    patches: [
      {
        file: 'shared/driver/driver.ts',
        find: "case 'send':\n          send.push(e);",
        replace: "case 'send':\n        case 'sendAfterBatch':\n          send.push(e as never);",
      },
      {
        file: 'shared/driver/driver.ts',
        find: "return underWay.effects.flatMap((e) => (e.type === 'sendAfterBatch' ? [e] : []));",
        replace: 'return [];',
      },
    ],
  },
  {
    name: 'expelled-voter-not-served',
    rule: 'R2: a voter that is no member any more is given the whole log as long as it votes (a stall)',
    seeds: [1847, 3274],
    patches: [{ file: 'shared/replica/replica.ts', find: 'if (votes) return null;', replace: '' }],
  },
];
