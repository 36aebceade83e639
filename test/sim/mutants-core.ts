import type { Mutant } from './mutant.ts';

const core = (file: string): string => `shared/consensus/${file}.ts`;

/** Consensus: the base rules, R1 to R4, R9, R11. */
export const CORE_MUTANTS: readonly Mutant[] = [
  {
    name: 'ignore-highest-accepted-ballot',
    rule: 'P2c: a new leader re-proposes the value of the highest accepted ballot',
    seeds: [50],
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
    seeds: [1],
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
    seeds: [],
    /** It takes two reigns of one leader over one slot: not one seed in a thousand gets there. */
    caughtBy: 'test/consensus/paxos-made-simple.test.ts',
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
    seeds: [3],
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
    seeds: [27],
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
    seeds: [7],
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
    seeds: [11],
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
    seeds: [2],
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
    seeds: [2],
    patches: [
      {
        file: core('proposer'),
        find: 'flight.acceptedBy.size < flight.inForce.configuration.q2',
        replace: 'flight.acceptedBy.size < flight.inForce.configuration.q2 - 1',
      },
    ],
  },
  {
    name: 'promise-lost-at-restart',
    rule: 'R3: what was promised outlives a restart',
    seeds: [2],
    patches: [
      { file: 'shared/replica/opening.ts', find: 'holdTogether(kv, restored, verdict.mark);', replace: '' },
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
    seeds: [2],
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
    seeds: [4],
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
    name: 'forgotten-incarnation-counted',
    rule: 'R7: a store that lost what it had said is another voter',
    seeds: [14],
    patches: [
      {
        file: core('configuration'),
        find: 'v.peer === peer && v.incarnation === incarnation',
        replace: 'v.peer === peer && incarnation !== null',
      },
    ],
  },
  {
    name: 'prepare-refused-at-equal-ballot',
    rule: 'R1: a Prepare at the ballot already promised is granted (a stall)',
    seeds: [11],
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
    seeds: [5],
    patches: [
      {
        file: core('acceptor'),
        find: 'if (this.#ledger.prefix < governing.from - 1 || !this.#around.isHeld(governing)) {',
        replace: 'if (!this.#around.isHeld(governing)) {',
      },
      {
        file: core('proposer'),
        find: 'if (!this.#isVoterIn(governing) || prefix < governing.from - 1) return null;',
        replace: 'if (!this.#isVoterIn(governing)) return null;',
      },
    ],
  },
  {
    name: 'promise-cut-off',
    rule: 'R1: a Promise lists everything accepted above its floor, with no upper limit',
    seeds: [2],
    patches: [
      {
        file: core('acceptor'),
        find: 'const rows: AcceptedValue[] = [...accepted]\n',
        replace: 'const rows: AcceptedValue[] = [...accepted]\n      .filter(([at]) => at <= prefix + 1)\n',
      },
    ],
  },
  {
    name: 'change-in-force-at-once',
    rule: 'R1: a configuration chosen in s governs from s+α',
    seeds: [1],
    patches: [
      {
        file: core('configuration'),
        find: 'const inForce: InForce = { slot: s, from: slot(s + this.alpha), configuration };',
        replace: 'const inForce: InForce = { slot: s, from: slot(s + 1), configuration };',
      },
    ],
  },
  {
    name: 'promises-of-strangers-counted',
    rule: "R1: only promises of that configuration's own voters count",
    seeds: [12],
    patches: [
      {
        file: core('proposer'),
        find: 'if (!phase || phase.done || !isVoter(phase.inForce.configuration, from, incarnation)) return;',
        replace: 'if (!phase || phase.done) return;',
      },
      {
        file: core('acceptor'),
        find: 'if (!isVoter(governing.configuration, self.peer, self.incarnation) || this.#blocked(m.slot)) return;\n    // A ballot',
        replace: '// A ballot',
      },
      {
        file: core('proposer'),
        find: 'this.#sendAfterPersist(this.#others(inForce.configuration), m);',
        replace:
          'this.#sendAfterPersist([...new Set(this.#ledger.history.all.flatMap((c) => this.#others(c.configuration)))], m);',
      },
    ],
  },
  {
    name: 'non-voters-accept',
    rule: 'R1: nothing is accepted outside of the configuration that governs the slot',
    seeds: [2],
    patches: [
      {
        file: core('acceptor'),
        find: 'if (!isVoter(governing.configuration, self.peer, self.incarnation) || this.#blocked(m.slot)) return;\n\n',
        replace: '\n',
      },
      {
        file: core('proposer'),
        find: 'const to = this.#others(inForce.configuration);',
        replace: 'const to = [...new Set(this.#ledger.history.all.flatMap((c) => this.#others(c.configuration)))];',
      },
    ],
  },
  {
    name: 'quorums-that-miss-each-other',
    rule: 'base rule 4: q1 + q2 > voters',
    seeds: [43],
    patches: [
      {
        file: core('configuration'),
        find: 'if (c.q1 + c.q2 <= n) return',
        replace: 'if (c.q1 + c.q2 < 2) return',
      },
    ],
  },
  {
    name: 'value-on-one-machine',
    rule: 'base rule 4: q2 ≥ 2 where there are two',
    seeds: [17],
    patches: [
      {
        file: core('configuration'),
        find: 'if (n >= 2 && c.q2 < 2) return',
        replace: 'if (n < 0) return',
      },
    ],
  },
  {
    name: 'only-the-newest-configuration-answered',
    rule: 'R1: an acceptor judges by what governs the slot, not by the newest that it knows (a stall)',
    seeds: [1],
    patches: [
      {
        file: core('acceptor'),
        find: "return history.governing(at).slot === configuration ? null : 'you';",
        replace: "return history.newest.slot === configuration ? null : 'you';",
      },
    ],
  },
  {
    name: 'idle-group-stuck-before-a-change',
    rule: 'R1: no-ops carry an idle group up to s+α (a stall)',
    seeds: [64],
    patches: [
      {
        file: core('proposer'),
        find: 'r.barriersWaiting.length > 0 ||\n      r.next < this.#ledger.history.newest.from;',
        replace: 'r.barriersWaiting.length > 0;',
      },
    ],
  },
  {
    name: 'prepare-before-its-ballot-is-durable',
    rule: 'R3: a ballot is durable before its Prepare leaves',
    seeds: [1],
    patches: [
      {
        file: core('proposer'),
        find: 'this.#sendAfterPersist(this.#others(inForce.configuration), m);',
        replace: 'this.#send(this.#others(inForce.configuration), m);',
      },
    ],
  },
  {
    name: 'acceptances-expire',
    rule: 'what an acceptor accepted never expires',
    seeds: [2],
    patches: [
      {
        file: 'shared/driver/restore.ts',
        find: 'if (ballot !== null) accepted.set(',
        replace: 'if (ballot !== null && rowsLeft-- > 0) accepted.set(',
      },
      {
        file: 'shared/driver/restore.ts',
        find: 'const accepted = new Map<Slot, Acceptance>();',
        replace: 'const accepted = new Map<Slot, Acceptance>();\n  let rowsLeft = 0;',
      },
    ],
  },
];
