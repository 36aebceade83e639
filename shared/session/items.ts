import { equal } from '../base/bytes.ts';
import type { EntryId, Seq, Slot } from '../base/ids.ts';
import {
  type Body,
  type Command,
  type DocumentReader,
  decodePayload,
  type EditBody,
  keyedEntryId,
  numberedEntryId,
  type Run,
  type SessionId,
  type SingleBody,
  tagOf,
  type Verdict,
} from '../document/index.ts';
import type { Base, Extra } from './rows.ts';

/** What the author's peer says about a command as it is written. */
export interface Written {
  /** The name of the person at the keyboard; may be empty. */
  readonly writer: string;
  readonly timeMs: number;
  readonly offsetMinutes: number;
  /** The applied slot that the author was shown. */
  readonly saw: Slot;
  readonly level: number;
}

/** One own command that is not settled. */
export interface Item {
  /** What the caller holds; a successor has its predecessor's. */
  readonly handle: number;
  readonly command: Command;
  readonly body: Body;
  readonly writer: string;
  readonly root: Base | null;
  readonly supersedes: Item['command']['seq'] | null;
  readonly quiet: boolean;
}

/** A run's commands as items; the caller gives them handles. */
export function itemsOf(run: Run, extras: readonly Extra[]): Item[] {
  const extraOf = new Map(extras.map((each) => [each.seq, each]));
  return run.commands.map((command) => {
    if (command.payload === null) throw new RangeError('an own pending command has its payload');
    const { writer, body } = decodePayload(command.kind, command.payload);
    const extra = extraOf.get(command.seq);
    return {
      handle: 0,
      command,
      body,
      writer,
      root: extra?.root ?? null,
      supersedes: extra?.supersedes ?? null,
      quiet: extra?.quiet ?? false,
    };
  });
}

/** A command that was added. It is *saved* once the operations of the next `cut` are on the disk. */
export interface Pending {
  /** Names the wish, not the command: whatever takes its place after a merge has the same handle. */
  readonly handle: number;
  readonly seq: Seq;
  readonly hash: Uint8Array;
  /** The entries it makes or changes, one for each body; null for a body about no entry. */
  readonly entries: readonly (EntryId | null)[];
}

/** What at last became of a handle. */
export interface Settled {
  readonly handle: number;
  /** Of the command that decided it: the last successor. */
  readonly seq: Seq;
  readonly verdict: Verdict;
}

/** A body with its place: `index` is null where it is the whole command. */
export interface PlacedBody {
  readonly body: SingleBody;
  readonly index: number | null;
}

export function placedBodies(body: Body): PlacedBody[] {
  return body.kind === 'bundle' ? body.bodies.map((each, index) => ({ body: each, index })) : [{ body, index: null }];
}

/** The entry that a body is about or makes. */
export function entryOf(session: SessionId, seq: Command['seq'], { body, index }: PlacedBody): EntryId | null {
  switch (body.kind) {
    case 'create':
      return body.key === null
        ? numberedEntryId(session, seq, index ?? 0)
        : keyedEntryId(session.group, session.peer, body.key);
    case 'edit':
    case 'remove':
    case 'restore':
      return body.entry;
    default:
      return null;
  }
}

export const sameBase = (a: Base, b: Base): boolean => a.revision === b.revision && equal(a.tag, b.tag);
export const baseOf = (body: EditBody): Base => ({ revision: body.baseRevision, tag: body.baseTag });

/** An entry as it will be once the own pending commands took effect. */
export interface Tip extends Base {
  /** Also where the entry is removed: what a restoration brings back. Null where the text was deleted. */
  readonly text: string | null;
  readonly removed: boolean;
  /** The newest agreed revision below; null where the entry itself is pending. */
  readonly agreed: Base | null;
}

/** An edit that can't take effect any more: its base is past, or was never taken. */
export interface Doomed {
  readonly item: Item;
  readonly body: EditBody;
}

export interface Walked {
  readonly tip: Tip | undefined;
  readonly doomed: readonly Doomed[];
}

export function agreedTip(reader: DocumentReader, id: EntryId): Tip | undefined {
  const entry = reader.entry(id);
  if (!entry) return undefined;
  const { revision, tag, removed } = entry;
  const text = reader.revisionOf(entry, entry.textRevision).text;
  return { revision, tag, removed, text, agreed: { revision, tag } };
}

/** Goes through the own commands about an entry, in their order, as apply will. */
export function walk(reader: DocumentReader, session: SessionId, id: EntryId, items: Iterable<Item>): Walked {
  let tip = agreedTip(reader, id);
  const doomed: Doomed[] = [];
  for (const item of items) {
    for (const placed of placedBodies(item.body)) {
      if (entryOf(session, item.command.seq, placed) !== id) continue;
      const { body } = placed;
      const next = step(reader, id, tip, body, tagOf(item.command.hash, placed.index));
      if (next) tip = next;
      else if (body.kind === 'edit' && tip && !tip.removed && placed.index === null) doomed.push({ item, body });
    }
  }
  return { tip, doomed };
}

/** Undefined where the body would be refused, or changes nothing. */
function step(
  reader: DocumentReader,
  id: EntryId,
  tip: Tip | undefined,
  body: SingleBody,
  tag: Uint8Array,
): Tip | undefined {
  if (body.kind === 'create') {
    return tip ? undefined : { revision: 1, tag, text: body.text, removed: false, agreed: null };
  }
  if (!tip) return undefined;
  const next = { revision: tip.revision + 1, tag, agreed: tip.agreed };
  switch (body.kind) {
    case 'edit':
      return !tip.removed && sameBase(tip, baseOf(body)) ? { ...next, text: body.text, removed: false } : undefined;
    case 'remove':
      return tip.removed ? undefined : { ...next, text: tip.text, removed: true };
    case 'restore':
      if (body.revision === null) return tip.removed ? { ...next, text: tip.text, removed: false } : undefined;
      return body.revision <= tip.revision
        ? { ...next, text: reader.textOf(id, body.revision), removed: false }
        : undefined;
    default:
      return undefined;
  }
}
