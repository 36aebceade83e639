import type { EntryId, Incarnation } from '../../shared/base/ids.ts';
import { slot } from '../../shared/base/ids.ts';
import { Random } from '../../shared/base/random.ts';
import { type Body, isRefused, type Outcome, type Refused } from '../../shared/document/index.ts';
import { type EditWish, Outbox, type Pending, type Settled, type Written } from '../../shared/session/index.ts';
import { type Author, type Log, MemoryKv, START_MS } from '../document/fixture.ts';

/** Somebody at a machine: an outbox, its disk, and what it was told. */
export class Desk {
  readonly log: Log;
  readonly author: Author;
  readonly disk: MemoryKv;
  readonly told: Settled[] = [];
  outbox: Outbox;
  forked = false;
  clockMs: number = START_MS;

  readonly #formers: readonly Incarnation[];

  /** @param formers incarnations that this machine's store had before */
  constructor(log: Log, author: Author, disk: MemoryKv = new MemoryKv(), formers: readonly Incarnation[] = []) {
    this.log = log;
    this.author = author;
    this.disk = disk;
    this.#formers = formers;
    this.outbox = this.#open();
  }

  #open(): Outbox {
    const random = new Random(this.author.peer.length + this.told.length + this.disk.rows.size);
    const outbox = new Outbox({
      ...this.author.session,
      random: (length) => random.bytes(length),
      formers: this.#formers,
    });
    const rows = [...this.disk.under('o/'), ...this.disk.under('x/')];
    this.#note(outbox.load(rows, this.log.read));
    return outbox;
  }

  /** The process dies; what was written is there. */
  restart(): void {
    this.outbox = this.#open();
  }

  get written(): Written {
    return { writer: 'W', timeMs: this.clockMs, offsetMinutes: 0, saw: slot(this.log.slot), level: 1 };
  }

  add(body: Body): Pending {
    return must(this.outbox.add(body, this.written));
  }

  write(text: string, key: string | null = null): EntryId {
    return this.add({ kind: 'create', key, text }).entries[0] as EntryId;
  }

  edit(entry: EntryId, text: string, base?: EditWish['base']): Pending {
    return must(this.tryEdit(entry, text, base));
  }

  tryEdit(entry: EntryId, text: string, base?: EditWish['base']): Pending | Refused {
    const wish = base ? { entry, text, base } : { entry, text };
    return this.outbox.edit(this.log.read, wish, this.written);
  }

  /** Signs and keeps what was added. */
  save(): this {
    this.disk.write(this.outbox.cut(this.author.signer).ops);
    return this;
  }

  /** All unsettled runs, saved before. */
  runs() {
    this.save();
    return this.outbox.runsToSend(0, Number.MAX_SAFE_INTEGER);
  }

  hear(outcomes: readonly Outcome[]): this {
    this.#note(this.outbox.onOutcomes(outcomes, this.log.read));
    return this;
  }

  #note(settling: ReturnType<Outbox['onOutcomes']>): void {
    this.disk.write(settling.ops);
    this.told.push(...settling.settled);
    this.forked ||= settling.forked;
  }

  /** What this machine was told about a wish. */
  answer(pending: Pending): string | undefined {
    const settled = this.told.filter((each) => each.handle === pending.handle);
    if (settled.length > 1) throw new Error('told twice');
    const verdict = settled[0]?.verdict;
    if (!verdict) return undefined;
    return 'refused' in verdict ? verdict.refused : `took ${verdict.took.map((each) => each.revision).join(',')}`;
  }

  rows(): string[] {
    return [...this.disk.rows.keys()].filter((key) => !key.endsWith('/settled'));
  }
}

/** One slot with all runs of these machines, heard by all of them. */
export function agree(log: Log, ...desks: readonly Desk[]): void {
  const { outcomes } = log.apply(...desks.flatMap((desk) => desk.runs()));
  for (const desk of desks) desk.hear(outcomes);
}

/** As many slots as it takes. */
export function settle(log: Log, ...desks: readonly Desk[]): void {
  for (let i = 0; i < 50; i++) {
    for (const desk of desks) desk.save();
    if (desks.every((desk) => desk.outbox.pending === 0 && !desk.outbox.needsCut)) return;
    agree(log, ...desks);
  }
  throw new Error('never settled');
}

export function must(pending: Pending | Refused): Pending {
  if (isRefused(pending)) throw new Error(`${pending.refused} ${pending.detail}`);
  return pending;
}
