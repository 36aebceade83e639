/**
 * Bugs to plant: each is a change to one place of the production source, made as the module is loaded, so that production carries no
 * switches. A simulator that does not catch them proves nothing.
 */
export interface Mutant {
  readonly name: string;
  /** What it weakens. */
  readonly rule: string;
  readonly patches: readonly { readonly file: string; readonly find: string; readonly replace: string }[];
}

const core = (file: string): string => `shared/consensus/${file}.ts`;

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'reply-before-persist',
    rule: 'base rule 1: a promise or acceptance is on disk before the message that speaks of it leaves',
    patches: [
      {
        file: 'shared/driver/driver.ts',
        find: 'hasToPersist ||= !this.#overlay.isEmpty;\n          break;',
        replace: 'send.push(e);\n          break;',
      },
    ],
  },
  {
    name: 'ignore-highest-accepted-ballot',
    rule: 'P2c: a new leader re-proposes the value of the highest accepted ballot',
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
    patches: [{ file: core('proposer'), find: 'for (const row of part.accepted) {', replace: 'for (const row of [] as AcceptedValue[]) {' }],
  },
  {
    name: 'count-acceptances-across-ballots',
    rule: 'base rule 3: chosen means accepted by a quorum under one ballot',
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
    patches: [
      {
        file: core('proposer'),
        find: 'const phase = r.phases.get(governing.slot);\n    return phase?.done ? phase : null;',
        replace: 'return [...r.phases.values()].find((phase) => phase.done) ?? null;',
      },
      {
        file: core('proposer'),
        find: "assert(r.phases.get(inForce.slot)?.done === true,",
        replace: 'assert(true,',
      },
    ],
  },
  {
    name: 'ballot-reused-after-restart',
    rule: 'R3: ballots are never resumed after a restart',
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
    patches: [
      {
        file: core('ledger'),
        find: "this.promise(ballot);\n    this.#accepted.set(at, { ballot, value });",
        replace: 'this.#accepted.set(at, { ballot, value });',
      },
    ],
  },
  {
    name: 'watermark-trusted-alone',
    rule: 'base rule 3: a watermark says which value only under the same ballot',
    patches: [{ file: core('learner'), find: 'if (!held || !sameBallot(held.ballot, ballot)) break;', replace: 'if (!held) break;' }],
  },
  {
    name: 'old-ballots-accepted',
    rule: 'P1a: an acceptor accepts only what no higher promise forbids',
    patches: [
      {
        file: core('acceptor'),
        find: "if (compareBallots(m.ballot, this.#ledger.promised) < 0) return this.#nack(from, m.ballot, 'ballot');\n    this.#around",
        replace: 'this.#around',
      },
      {
        file: core('ledger'),
        find: "this.promise(ballot);\n    this.#accepted.set(at, { ballot, value });",
        replace: 'this.#accepted.set(at, { ballot, value });',
      },
    ],
  },
  {
    name: 'quorum-one-short',
    rule: 'base rule 4: quorums intersect',
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
];
