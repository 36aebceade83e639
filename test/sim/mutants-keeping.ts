import type { Mutant } from './mutant.ts';

const core = 'shared/consensus/core.ts';
const fetching = 'shared/replica/snapshot-fetch.ts';

/** What is kept, dropped, given and taken: rules R2 and R5 weakened. */
export const KEEPING_MUTANTS: readonly Mutant[] = [
  {
    name: 'drops-what-it-alone-holds',
    rule: 'R5: values are dropped only where enough other full voters hold them',
    seeds: [2],
    patches: [
      {
        file: core,
        find: 'return Math.min(this.#ledger.prefix, ...limits) as Slot;',
        replace: 'return (limits.length >= 0 ? this.#ledger.prefix : 0) as Slot;',
      },
    ],
  },
  {
    name: 'counts-itself-among-the-holders',
    rule: 'R5: the one that drops never counts itself',
    seeds: [2],
    patches: [
      {
        file: core,
        find: 'if (v.witness || v.peer === this.#ledger.self.peer || !this.#election.canAnswer(v)) return 0;',
        replace:
          'if (v.peer === this.#ledger.self.peer) return this.#ledger.prefix;\n    if (v.witness || !this.#election.canAnswer(v)) return 0;',
      },
    ],
  },
  {
    name: 'counts-witnesses-among-the-holders',
    rule: 'R5: only full voters hold a state',
    seeds: [29],
    patches: [
      {
        file: core,
        find: 'if (v.witness || v.peer === this.#ledger.self.peer || !this.#election.canAnswer(v)) return 0;',
        replace: 'if (v.peer === this.#ledger.self.peer || !this.#election.canAnswer(v)) return 0;',
      },
      { file: core, find: 'durable: this.#counted ?? prefix,', replace: 'durable: prefix,' },
    ],
  },
  {
    name: 'drops-before-its-state-is-written',
    rule: 'R5: what is dropped is in a state on the disk',
    seeds: [806],
    patches: [
      {
        file: 'shared/driver/driver.ts',
        find: 'if (writes && everything) this.#overlay.add(this.#app.beforeWrite());',
        replace: 'if (writes) this.#overlay.add(this.#app.beforeWrite());',
      },
    ],
  },
  {
    name: 'witness-accepts-without-the-prefix',
    rule: 'R2: one that dropped values accepts in a new configuration only once enough of its full voters hold them',
    seeds: [],
    caughtBy: 'test/consensus/witness.test.ts',
    patches: [
      {
        file: core,
        find: 'if (this.#holding === null || this.#holding >= from - 1) return true;',
        replace: 'if (this.#holding === null || from > 0) return true;',
      },
    ],
  },
  {
    name: 'snapshot-without-configurations',
    rule: 'R5: a snapshot carries the governing and the pending configurations',
    seeds: [8],
    patches: [{ file: fetching, find: '...header.configurations.map(inForceOp),', replace: '' }],
  },
  {
    name: 'snapshot-of-another-moment',
    rule: 'R5: a snapshot is of one moment',
    seeds: [29],
    patches: [
      {
        file: 'shared/driver/memory-store.ts',
        find: 'const table = this.#table.copy();',
        replace: 'const table = this.#table;',
      },
      {
        file: fetching,
        find: '!this.#headOnly && !equal(sum.toBytes(), part.header.state)',
        replace: '!this.#headOnly && sum === null',
      },
    ],
  },
  {
    name: 'installed-before-it-is-whole',
    rule: 'a snapshot is installed once all of its rows are there',
    seeds: [1],
    patches: [
      {
        file: fetching,
        find: 'return staging !== null && staging.cursor === null && this.#around.isWritten() ? staging.header : null;',
        replace: 'return staging !== null && this.#around.isWritten() ? staging.header : null;',
      },
    ],
  },
];
