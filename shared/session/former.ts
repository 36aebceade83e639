import { assert } from '../base/assert.ts';
import { equal } from '../base/bytes.ts';
import type { Incarnation } from '../base/ids.ts';
import { type DocumentReader, isRefused, type Run, type SessionId } from '../document/index.ts';
import type { Editing } from './editing.ts';
import { baseOf, type Item } from './items.ts';
import { Moving, remainder } from './moving.ts';
import { type StoredRun, settledKey } from './rows.ts';
import type { Books, RefusedCommands } from './settling.ts';
import type { SignedRuns } from './signed-runs.ts';
import type { Fate, Unsettled } from './unsettled.ts';
import { writtenOf } from './wishes.ts';

/** A command of a former incarnation. */
export interface FormerItem {
  readonly session: SessionId;
  readonly item: Item;
}

/** What former incarnations left, until this one's session is open: only then can nothing of theirs take effect any more, and what is left is signed again. */
export class Former {
  readonly #own: Unsettled;
  readonly #runs: SignedRuns;
  readonly #editing: Editing;
  readonly #refused: RefusedCommands;
  readonly #incarnations: readonly Incarnation[];
  #rows: StoredRun[] = [];
  /** What of them still waits, worked out when it is looked at; null where it has to be again. */
  #left: readonly FormerItem[] | null = null;

  /** @param incarnations that this store had before, the oldest first: the order of what they left, whatever the clock said */
  constructor(
    own: Unsettled,
    runs: SignedRuns,
    editing: Editing,
    refused: RefusedCommands,
    incarnations: readonly Incarnation[],
  ) {
    this.#own = own;
    this.#runs = runs;
    this.#editing = editing;
    this.#refused = refused;
    this.#incarnations = incarnations;
  }

  /**
   * In the order in which they were written. Incarnations that are not known any more, since there were too many of them or damage took the list, lived before those
   * that are; how they follow each other is told by how far the log had come as they wrote, and only then by the clock.
   * @param rows each incarnation's in the order of their seqs
   */
  load(rows: readonly StoredRun[]): void {
    const lives = [...Map.groupBy(rows, ({ run }) => run.incarnation)].map(([incarnation, rows]) => {
      const first = rows[0]?.run.commands[0];
      return { rows, age: this.#incarnations.indexOf(incarnation), saw: first?.saw ?? 0, timeMs: first?.timeMs ?? 0 };
    });
    lives.sort((a, b) => a.age - b.age || a.saw - b.saw || a.timeMs - b.timeMs);
    this.#rows = lives.flatMap(({ rows }) => rows);
  }

  get isEmpty(): boolean {
    return this.#rows.length === 0;
  }

  runs(): readonly Run[] {
    return this.#rows.map(({ run }) => run);
  }

  /** The command with this hash is among them. */
  holds(hash: Uint8Array): boolean {
    return this.#rows.some(({ run }) => run.commands.some((command) => equal(command.hash, hash)));
  }

  /** What of them still waits, with handles below zero. */
  waiting(reader: DocumentReader): readonly FormerItem[] {
    if (this.isEmpty) return [];
    this.#left ??= [...remainder(this.#rows, this.#own.session, reader, () => undefined)].map(
      ({ session, item }, i) => ({ session, item: { ...item, handle: -1 - i } }),
    );
    return this.#left;
  }

  /** Something of this peer's was judged: what waits may be less. */
  onJudged(): void {
    this.#left = null;
  }

  /** This incarnation's session is open, so nothing of a former one can take effect any more: the remainder is signed again. */
  adopt(reader: DocumentReader, books: Books): void {
    const { peer, incarnation } = this.#own.session;
    const session = reader.session(peer, incarnation);
    if (!session || session.closed || reader.member(peer)?.incarnation !== incarnation) return;
    const rows = this.#rows;
    const held = this.#own.waiting();
    this.#rows = [];
    this.#runs.forget(books.ops);
    for (const { key, run } of rows) {
      books.ops.push({ type: 'del', key }, { type: 'del', key: settledKey(run.incarnation) });
    }
    this.#own.forget(session.lastSeq, session.lastHash);
    this.#editing.forget();

    const moving = new Moving(this.#own.session);
    for (const { session: from, item } of remainder(rows, this.#own.session, reader, (old, each, verdict) =>
      this.#refused.keep(old, each, verdict, books.ops),
    )) {
      this.#move(moving, from, { ...item, handle: this.#own.newHandle() }, reader, books);
    }
    for (const item of held) this.#move(moving, this.#own.session, item, reader, books);
    this.#runs.hold();
  }

  #move(moving: Moving, from: SessionId, item: Item, reader: DocumentReader, books: Books): void {
    const body = moving.translate(item.body);
    const fate: Fate = { handle: item.handle, quiet: item.quiet };
    const made =
      body.kind === 'edit'
        ? this.#editing.edit(
            reader,
            { entry: body.entry, text: body.text, base: baseOf(body) },
            writtenOf(item),
            fate,
            books.settled,
          )
        : this.#own.append(body, writtenOf(item), fate);
    if (isRefused(made)) {
      books.settled.push({ handle: item.handle, seq: item.command.seq, verdict: made });
      if (!item.quiet) this.#refused.keep(from.incarnation, item, made, books.ops);
      return;
    }
    const now = this.#own.get(made.seq);
    assert(now !== undefined, 'what was added is there', made.seq);
    moving.moved(from, item, now, (entry) => this.#own.walk(reader, entry).tip);
  }
}
