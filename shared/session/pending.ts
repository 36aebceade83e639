import type { EntryId } from '../base/ids.ts';
import { type DocumentReader, isoTime, type SessionId, type SingleBody } from '../document/index.ts';
import { entryOf, type Item, placedBodies, type Tip } from './items.ts';

/** An own pending command about an entry, in the fields of `EntryView`. */
export interface PendingView {
  readonly handle: number;
  readonly seq: number;
  readonly what: 'create' | 'edit' | 'remove' | 'restore';
  readonly id: EntryId;
  /** The entry's, where it is agreed; null for one that is pending itself. */
  readonly position: number | null;
  readonly slot: number | null;
  readonly author: string;
  readonly name: string;
  readonly writer: string;
  readonly time: string;
  readonly text: string | null;
  readonly removed: boolean;
}

export function pendingView(
  reader: DocumentReader,
  session: SessionId,
  items: readonly Item[],
  tipOf: (entry: EntryId) => Tip | undefined,
): PendingView[] {
  const name = reader.member(session.peer)?.name ?? '';
  const views: PendingView[] = [];
  for (const item of items) {
    const { seq, timeMs, offsetMinutes } = item.command;
    for (const placed of placedBodies(item.body)) {
      const what = placed.body.kind;
      const id = entryOf(session, seq, placed);
      if (id === null || (what !== 'create' && what !== 'edit' && what !== 'remove' && what !== 'restore')) continue;
      const agreed = reader.entry(id);
      const tip = tipOf(id);
      const removed = what === 'remove' || (what === 'create' && (tip?.removed ?? false));
      views.push({
        handle: item.handle,
        seq,
        what,
        id,
        position: agreed?.position ?? null,
        slot: agreed?.slot ?? null,
        author: session.peer,
        name,
        writer: item.writer,
        time: isoTime(timeMs, offsetMinutes),
        text: removed ? null : placed.body.kind === 'edit' ? placed.body.text : (tip?.text ?? createdText(placed.body)),
        removed,
      });
    }
  }
  return views;
}

/** What a former incarnation created stands in no line of this one's edits until it is signed again. */
const createdText = (body: SingleBody): string | null => (body.kind === 'create' ? body.text : null);
