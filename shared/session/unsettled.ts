import { equal } from '../base/bytes.ts';
import type { RandomBytes } from '../base/crypto.ts';
import { ZERO_HASH } from '../base/hash.ts';
import { type EntryId, type Seq, seq as seqOf } from '../base/ids.ts';
import {
  type Body,
  chainOf,
  type DocumentReader,
  KINDS,
  payloadHashOf,
  placeCommand,
  type Refused,
  SALT_BYTES,
  type SessionId,
  tagOf,
} from '../document/index.ts';
import { entryOf, type Item, itemsOf, type Pending, placedBodies, type Walked, type Written, walk } from './items.ts';
import type { Base, RunRow } from './rows.ts';
import type { SignedRuns } from './signed-runs.ts';
import { sealed } from './wishes.ts';

export interface AddOptions {
  /** Not kept when it is refused: for what the peer does by itself. */
  readonly quiet?: boolean;
}

/** What a command inherits from the one in whose place it stands. */
export interface Fate extends AddOptions {
  readonly handle?: number;
  readonly root?: Base | null;
  readonly supersedes?: Seq;
}

/** This session's commands that are not settled, in the order of their seqs, and the end of the chain on which the next one follows. */
export class Unsettled {
  readonly session: SessionId;
  readonly #random: RandomBytes;
  readonly #runs: SignedRuns;
  readonly #chain: ReturnType<typeof chainOf>;
  readonly #items = new Map<Seq, Item>();
  readonly #itemsOf = new Map<EntryId, Set<Item>>();
  /** What each makes or changes: ids are hashes, and are asked for several times. */
  readonly #entries = new Map<Item, readonly (EntryId | null)[]>();
  /** Commands whose text lives on in a later one; they only wait for their seq to be consumed. */
  readonly #replaced = new Set<Seq>();
  #lastSeq: Seq = seqOf(0);
  #lastHash: Uint8Array = ZERO_HASH;
  #nextHandle = 1;
  #changes = 0;

  /**
   * @param random for salts
   * @param runs in which what is appended waits to be signed
   */
  constructor(session: SessionId, random: RandomBytes, runs: SignedRuns) {
    this.session = session;
    this.#random = random;
    this.#runs = runs;
    this.#chain = chainOf(session);
  }

  /** The seq of the newest own command, settled or not; 0 before the first. */
  get lastSeq(): Seq {
    return this.#lastSeq;
  }

  get lastHash(): Uint8Array {
    return this.#lastHash;
  }

  /** Without those that others stand for. */
  get count(): number {
    return this.#items.size - this.#replaced.size;
  }

  /** Grows whenever what is here is another. */
  get changes(): number {
    return this.#changes;
  }

  get(seq: Seq): Item | undefined {
    return this.#items.get(seq);
  }

  /** All of them. */
  items(): IterableIterator<Item> {
    return this.#items.values();
  }

  /** Without those that others stand for. */
  waiting(): Item[] {
    return [...this.items()].filter((item) => !this.isReplaced(item.command.seq));
  }

  /** What is made of an entry, and the edits of it that can't take effect. */
  walk(reader: DocumentReader, entry: EntryId): Walked {
    const items = [...this.#about(entry)].filter((item) => !this.isReplaced(item.command.seq));
    return walk(reader, this.session, entry, items);
  }

  /** The text with which one of them creates the entry; null where none does. */
  textCreating(entry: EntryId): string | null {
    for (const item of this.#about(entry)) {
      for (const { body } of placedBodies(item.body)) if (body.kind === 'create') return body.text;
    }
    return null;
  }

  /** The text of a revision that one of them makes; null where none does. */
  textOf(entry: EntryId, base: Base): string | null {
    for (const item of this.#about(entry)) {
      for (const { body, index } of placedBodies(item.body)) {
        if ((body.kind === 'edit' || body.kind === 'create') && equal(tagOf(item.command.hash, index), base.tag)) {
          return body.text;
        }
      }
    }
    return null;
  }

  newHandle(): number {
    return this.#nextHandle++;
  }

  /** Gives a body the next seq. It waits to be signed. */
  append(body: Body, written: Written, fate: Fate): Pending | Refused {
    const { writer, ...fields } = written;
    const payload = sealed(body, writer);
    if (!(payload instanceof Uint8Array)) return payload;
    const salt = this.#random(SALT_BYTES);
    const seq = seqOf(this.#lastSeq + 1);
    const command = placeCommand(
      this.#chain,
      seq,
      this.#lastHash,
      { ...fields, kind: KINDS[body.kind], salt, payload },
      payloadHashOf(salt, payload),
    );
    const item: Item = {
      handle: fate.handle ?? this.newHandle(),
      command,
      body,
      writer,
      root: fate.root ?? null,
      supersedes: fate.supersedes ?? null,
      quiet: fate.quiet ?? false,
    };
    this.#lastSeq = seq;
    this.#lastHash = command.hash;
    this.#runs.add(item);
    this.#put(item);
    return { handle: item.handle, seq, hash: command.hash, entries: this.#entriesOf(item) };
  }

  /** Takes in a run from the disk. @param settled the last seq whose outcome was taken in */
  load({ run, extras }: RunRow, settled: Seq): void {
    if (run.lastSeq > this.#lastSeq) this.goOnBehind(run.lastSeq, run.lastHash);
    for (const item of itemsOf(run, extras)) {
      if (item.command.seq <= settled) continue;
      if (item.supersedes !== null && this.#items.has(item.supersedes)) this.#replaced.add(item.supersedes);
      this.#put({ ...item, handle: this.newHandle() });
    }
  }

  /** The session goes on behind this command. */
  goOnBehind(lastSeq: Seq, lastHash: Uint8Array): void {
    this.#lastSeq = lastSeq;
    this.#lastHash = lastHash;
  }

  isReplaced(seq: Seq): boolean {
    return this.#replaced.has(seq);
  }

  /** Another one stands for it from now on. */
  replace(seq: Seq): void {
    this.#replaced.add(seq);
  }

  /** Its seq is consumed. True where another one stands for it. */
  consume(seq: Seq): boolean {
    return this.#replaced.delete(seq);
  }

  drop(item: Item): void {
    this.#changes++;
    this.#items.delete(item.command.seq);
    for (const entry of this.#entriesOf(item)) {
      if (entry === null) continue;
      const items = this.#itemsOf.get(entry);
      items?.delete(item);
      if (items?.size === 0) this.#itemsOf.delete(entry);
    }
    this.#entries.delete(item);
  }

  /** The commands that follow this one were never sent: their seqs are free again. */
  forget(lastSeq: Seq, lastHash: Uint8Array): void {
    this.#changes++;
    this.#items.clear();
    this.#entries.clear();
    this.#itemsOf.clear();
    this.#replaced.clear();
    this.goOnBehind(lastSeq, lastHash);
  }

  #put(item: Item): void {
    this.#changes++;
    this.#items.set(item.command.seq, item);
    const entries = this.#entriesOf(item);
    this.#entries.set(item, entries);
    for (const entry of entries) {
      if (entry === null) continue;
      const items = this.#itemsOf.get(entry);
      if (items) items.add(item);
      else this.#itemsOf.set(entry, new Set([item]));
    }
  }

  #about(entry: EntryId): Iterable<Item> {
    return this.#itemsOf.get(entry) ?? [];
  }

  #entriesOf(item: Item): readonly (EntryId | null)[] {
    return (
      this.#entries.get(item) ??
      placedBodies(item.body).map((placed) => entryOf(this.session, item.command.seq, placed))
    );
  }
}
