import { equal } from '../base/bytes.ts';
import type { EntryId } from '../base/ids.ts';
import type { DocumentReader, EditBody } from '../document/index.ts';
import { baseOf, type Doomed } from './items.ts';
import type { Merged } from './merge.ts';
import type { Base } from './rows.ts';

export function editBody(entry: EntryId, base: Base, { text, overlap }: Merged): EditBody {
  return { kind: 'edit', entry, baseRevision: base.revision, baseTag: base.tag, text, overlap };
}

/** The text of a revision that was agreed on; null where this revision never was, or its text was deleted. */
export function agreedText(reader: DocumentReader, entry: EntryId, base: Base): string | null {
  const revision = reader.revision(entry, base.revision);
  return revision && equal(revision.tag, base.tag) ? reader.textOf(entry, base.revision) : null;
}

/**
 * The agreed text that an edit goes back to: its base, else the root that was noted when it was made. Where neither was
 * agreed on there is no common text, and a merge keeps both wordings whole.
 */
export function rootTextOf(reader: DocumentReader, { item, body }: Doomed): string {
  const direct = agreedText(reader, body.entry, baseOf(body));
  if (direct !== null) return direct;
  return (item.root && agreedText(reader, body.entry, item.root)) ?? '';
}
