import type { EntryId, PeerId } from '../base/ids.ts';
import type { DocumentReader } from './reader.ts';
import type { ClockMark, EntryRecord, RevisionRecord } from './records.ts';
import { isoTime } from './time.ts';

/** An entry as `synod log --json` prints it, but for `status`. Author, writer and times are the creation's. */
export interface EntryView {
  readonly position: number;
  readonly slot: number;
  readonly id: EntryId;
  readonly author: PeerId;
  /** The author's machine, as it calls itself now. */
  readonly name: string;
  readonly writer: string;
  /** With the author's offset. */
  readonly time: string;
  /** UTC. */
  readonly placed: string;
  readonly text: string | null;
  readonly revision: number;
  readonly removed: boolean;
}

/** What a window shows beyond `EntryView`. */
export interface EntryMarks {
  readonly clock: ClockMark;
  /** The current text keeps two wordings of one place. */
  readonly overlap: boolean;
}

/** A revision as `synod history --json` prints it. */
export interface RevisionView {
  readonly revision: number;
  readonly slot: number;
  readonly author: PeerId;
  readonly name: string;
  readonly writer: string;
  readonly time: string;
  readonly placed: string;
  readonly text: string | null;
  readonly removed: boolean;
}

export function entryView(reader: DocumentReader, entry: EntryRecord): EntryView;
/** Undefined where there is no such entry. */
export function entryView(reader: DocumentReader, entry: EntryRecord | undefined): EntryView | undefined;
export function entryView(reader: DocumentReader, entry: EntryRecord | undefined): EntryView | undefined {
  if (!entry) return undefined;
  const first = reader.revisionOf(entry, 1);
  return {
    position: entry.position,
    slot: entry.slot,
    id: entry.id,
    author: first.author,
    name: reader.member(first.author)?.name ?? '',
    writer: first.writer,
    time: isoTime(first.timeMs, first.offsetMinutes),
    placed: isoTime(first.placedMs, null),
    text: textNow(reader, entry, first),
    revision: entry.revision,
    removed: entry.removed,
  };
}

function textNow(reader: DocumentReader, entry: EntryRecord, first: RevisionRecord): string | null {
  if (entry.removed) return null;
  return entry.textRevision === 1 ? first.text : reader.revisionOf(entry, entry.textRevision).text;
}

export function entryMarks(reader: DocumentReader, entry: EntryRecord): EntryMarks {
  return {
    clock: reader.revisionOf(entry, 1).clock,
    overlap: !entry.removed && reader.revisionOf(entry, entry.textRevision).overlap,
  };
}

export function historyView(reader: DocumentReader, id: EntryId): RevisionView[] {
  return reader.history(id).map((each, i) => ({
    revision: i + 1,
    slot: each.slot,
    author: each.author,
    name: reader.member(each.author)?.name ?? '',
    writer: each.writer,
    time: isoTime(each.timeMs, each.offsetMinutes),
    placed: isoTime(each.placedMs, null),
    text: reader.textOf(id, i + 1),
    removed: each.kind === 'remove',
  }));
}
