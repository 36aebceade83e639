import type { Mutant } from './mutant.ts';

const core = (file: string): string => `shared/consensus/${file}.ts`;

/** Driver, journal, document, replica: what is durable when, R6 to R10, and what nobody may lose. */
export const LAYER_MUTANTS: readonly Mutant[] = [
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
    seeds: [53],
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
    name: 'duplicate-commands-applied',
    rule: 'R8: a duplicate is dropped',
    seeds: [2],
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
    // In this driver a turn is never begun before the one before is on the disk, so what a peer says to itself can't be counted too
    // early by the core alone: the bug is planted where the driver gives the core its own words back.
    name: 'own-vote-before-durable',
    rule: 'R3: a leader counts its own acceptance only once it is durable',
    seeds: [1],
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
    name: 'refused-command-blocks-author',
    rule: 'R8: a refused command consumes its seq',
    seeds: [1],
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
    seeds: [73],
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
    seeds: [1],
    patches: [
      {
        file: 'shared/replica/replica.ts',
        find: "this.#driver.enqueue({ type: 'barrier', id: this.#barriers.ask() });",
        replace: 'this.onBarrier(this.#barriers.ask(), this.applied);',
      },
    ],
  },
  {
    name: 'saved-before-it-is',
    rule: 'P2: what is told to be saved is on the disk',
    seeds: [1],
    patches: [
      {
        file: 'shared/replica/authoring.ts',
        find: 'this.#uncutHandles.push(made.handle);\n',
        replace: 'this.#uncutHandles.push(made.handle);\n    Promise.resolve();\n    outcomes.saved?.();\n',
      },
    ],
  },
  {
    name: 'proposed-before-it-is-saved',
    rule: 'own commands are on the disk before any frame with them leaves, so that no number is given twice',
    seeds: [2],
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
    name: 'expelled-voter-not-reached',
    rule: 'R2: a voter that is no member any more is reached as long as it votes (a stall; the farewell covers for it at first)',
    seeds: [212],
    patches: [
      {
        file: 'shared/replica/reach.ts',
        find: 'for (const { configuration: c } of this.#core.window()) for (const v of c.voters) peers.add(v.peer);',
        replace: '',
      },
      { file: 'shared/replica/reach.ts', find: 'const FAREWELL_TICKS = 200;', replace: 'const FAREWELL_TICKS = 0;' },
    ],
  },
  {
    name: 'expelled-voter-not-served',
    rule: 'R2: a voter that is no member any more is given the whole log as long as it votes (a stall)',
    seeds: [1447],
    patches: [{ file: 'shared/replica/replica.ts', find: 'if (votes) return null;', replace: '' }],
  },
  {
    name: 'damaged-store-votes',
    rule: 'base rule 5, R6, R7: corrupt or missing is not empty; a store that lost something never speaks again as what it was',
    seeds: [18],
    patches: [
      {
        file: 'shared/replica/remedy.ts',
        find: "return counted.length > 0 || isUntold ? 'rebirth' : 'none';",
        replace: "return isUntold && counted.length > 99 ? 'rebirth' : 'none';",
      },
    ],
  },
  {
    name: 'verdict-forgotten',
    rule: 'R6: the verdict is durable, and stands at every later start',
    seeds: [],
    /** A store that is reborn at once needs its verdict only where that is cut short. */
    caughtBy: 'test/driver/journal.test.ts',
    patches: [
      {
        file: 'shared/driver/journal-check.ts',
        find: "ops.push(putCheckpoint(start), { type: 'put', key: DAMAGED, value: sealProblems(all) });",
        replace: 'ops.push(putCheckpoint(start));\n    sealProblems(all);',
      },
    ],
  },
  {
    name: 'lost-tail-unnoticed',
    rule: 'R6: what the mark vouches for is there',
    seeds: [192],
    patches: [{ file: 'shared/driver/journal-check.ts', find: 'if (this.#isJustAnew()) return;', replace: 'return;' }],
  },
  {
    name: 'carried-batch-forgotten',
    rule: 'R6: a turn that was spoken of, as its mark carried it, is there after a crash',
    seeds: [3],
    patches: [
      {
        file: 'shared/replica/opening.ts',
        find: "if (carried !== null) yield { type: 'batch', ops: carried };",
        replace: '',
      },
    ],
  },
  {
    name: 'lost-middle-unnoticed',
    rule: 'R6: turns are dense, and each follows from the one before',
    seeds: [628],
    patches: [
      {
        file: 'shared/driver/journal-check.ts',
        find: 'if (this.#checkpoint !== null || this.#accepted !== null) this.#sayMissing(expected, row.turn - 1);',
        replace: '',
      },
    ],
  },
  {
    name: 'corrupt-is-empty',
    rule: 'base rule 5: a record that does not fit its check is not taken for none (the mark and the count of records would tell, so they are planted away, too)',
    seeds: [140],
    patches: [
      {
        file: 'shared/driver/layout.ts',
        find: 'return record === undefined ? undefined : openRecord(key, record);',
        replace:
          'try {\n        return record === undefined ? undefined : openRecord(key, record);\n      } catch {\n        return undefined;\n      }',
      },
      { file: 'shared/replica/opening.ts', find: 'holdTogether(kv, restored, verdict.mark);', replace: '' },
      { file: 'shared/driver/journal-check.ts', find: '&& isAll === false) {', replace: '&& isAll === undefined) {' },
      {
        file: core('ledger'),
        find: 'assert(compareBallots(ballot, restored.promised) <= 0,',
        replace: 'assert(ballot.round > 0,',
      },
    ],
  },
  {
    name: 'wiped-disk-under-the-old-name',
    rule: 'R7: a store made anew is another incarnation (planted in the simulated machine, since it is a person who does it)',
    seeds: [14],
    patches: [
      {
        file: 'shared/sim/node.ts',
        find: 'this.incarnation = incarnationFromBytes(this.#random.bytes(16));\n    this.wiped',
        replace: 'this.#random.bytes(16);\n    this.wiped',
      },
    ],
  },
  {
    name: 'state-by-the-clock',
    rule: 'R10: state is a function of the log alone',
    seeds: [2],
    patches: [
      {
        file: 'shared/document/document.ts',
        find: 'this.#state.put(clockPlace, notePlaced(this.#clock, this.#slot, batch.placedMs));',
        replace:
          'this.#state.put(clockPlace, notePlaced(this.#clock, this.#slot, batch.placedMs + Math.floor(Math.random() * 9)));',
      },
    ],
  },
  {
    name: 'slot-skipped-after-a-crash',
    rule: 'what was chosen and not applied before a crash is applied after it, every slot',
    seeds: [18],
    patches: [
      {
        file: 'shared/driver/driver.ts',
        find: 'return this.#app.canApply && this.#app.applied < this.#replayUpTo;',
        replace: 'return this.#app.canApply && this.#app.applied < 0 * this.#replayUpTo;',
      },
    ],
  },
];
