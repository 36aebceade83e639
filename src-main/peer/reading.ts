import { setImmediate as nextRound } from 'node:timers/promises';
import type { EntryId, Position } from '../../shared/base/ids.ts';
import { slot as slotOf } from '../../shared/base/ids.ts';
import {
  type DocumentReader,
  type EntryRecord,
  entryMarks,
  entryView,
  historyView,
  isoTime,
} from '../../shared/document/index.ts';
import type {
  Changed,
  CommittedLine,
  LogLine,
  LogParams,
  PendingLine,
  PlacedLine,
  Revision,
  UnverifiedLine,
} from '../../shared/ipc/contract.ts';
import type { Network } from '../network/network.ts';
import { openedAgain } from './failures.ts';
import type { GroupHost } from './group-host.ts';
import { previewOf, shownPositions } from './preview.ts';
import { whyNot } from './why.ts';

/** Lines read before others get their turn. */
const LINES_A_ROUND = 256;

/** The log as it is, and with `follow` as it becomes. Nothing piles up behind a reader that doesn't ask: what changed is a set of entries. */
export async function* logLines(
  host: GroupHost,
  network: Network,
  params: LogParams,
  signal: AbortSignal,
): AsyncGenerator<LogLine> {
  const changed = new Set<EntryId>();
  let wake = (): void => {};
  const stopWatching = params.follow
    ? host.watch((changes) => {
        for (const change of changes) if (change.type === 'entry') changed.add(change.entry);
        wake();
      })
    : () => {};
  const onAbort = (): void => wake();
  signal.addEventListener('abort', onAbort);
  try {
    let { next, end, shownEnd } = range(host, params);
    for (; next <= end; next++) {
      if (signal.aborted) return;
      if (next % LINES_A_ROUND === 0) await nextRound();
      const line = lineAt(host, next, params.marks);
      // The store was opened again meanwhile, and what it lost is on its way back: a log with holes must not pass for a whole one.
      if (line === null) throw openedAgain();
      yield line;
    }
    for (let at = next; at <= shownEnd && !signal.aborted; at++) {
      if (at % LINES_A_ROUND === 0) await nextRound();
      const isVerified = at <= host.replica.reader.positions();
      // The snapshot was installed meanwhile: who follows is told of all of it below.
      if (isVerified && params.follow) break;
      const line = isVerified ? lineAt(host, at, params.marks) : unverifiedAt(host, at, params.marks);
      if (line !== null && line.slot > (params.afterSlot ?? 0)) yield line;
    }
    if (params.pending) yield* pendingLines(host, network, params);
    while (params.follow && !signal.aborted) {
      for (; next <= host.replica.reader.positions(); next++) {
        const line = lineAt(host, next, params.marks);
        if (line) {
          changed.delete(line.id as EntryId);
          yield line;
        }
        if (signal.aborted) return;
      }
      for (const id of changed) {
        changed.delete(id);
        const position = host.replica.reader.entry(id)?.position;
        const line = position === undefined || position >= next ? null : lineAt(host, position, params.marks);
        if (line) yield line;
        if (signal.aborted) return;
      }
      if (next > host.replica.reader.positions() && changed.size === 0) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  } finally {
    stopWatching();
    signal.removeEventListener('abort', onAbort);
  }
}

/** Positions to print first, all inclusive: agreed ones up to `end`, and up to `shownEnd` what a snapshot on its way has brought. */
function range(
  { replica }: GroupHost,
  { since, afterSlot, limit }: LogParams,
): { next: number; end: number; shownEnd: number } {
  const { reader } = replica;
  const shown = shownPositions(replica);
  const last = limit === undefined ? 1 : Math.max(1, shown - limit + 1);
  const after = afterSlot === undefined ? last : reader.firstPositionAfter(slotOf(afterSlot));
  const next = since === undefined ? after : since + 1;
  const shownEnd = limit === undefined ? shown : Math.min(shown, next + limit - 1);
  return { next, end: Math.min(shownEnd, reader.positions()), shownEnd };
}

function lineAt(host: GroupHost, at: number, marks = false): CommittedLine | null {
  const { reader } = host.replica;
  const entry = reader.entryAt(at as Position);
  return entry ? { ...placedLine(reader, entry, marks), status: 'committed' } : null;
}

/** Null where it has not come. */
const unverifiedAt = ({ replica }: GroupHost, at: number, marks = false): UnverifiedLine | null =>
  previewOf(replica)?.show(at, (reader, entry) => ({ ...placedLine(reader, entry, marks), status: 'unverified' })) ??
  null;

const placedLine = (reader: DocumentReader, entry: EntryRecord, marks: boolean): PlacedLine => ({
  ...entryView(reader, entry),
  ...(marks ? { ...entryMarks(reader, entry), changed: changedBy(reader, entry) } : {}),
});

/** Who made the newest revision; null where it is the first. */
function changedBy(reader: DocumentReader, entry: EntryRecord): Changed | null {
  const { kind, author, writer, timeMs, offsetMinutes } = reader.revisionOf(entry, entry.revision);
  if (kind === 'create') return null;
  const name = reader.member(author)?.name ?? '';
  return { change: kind, author, name, writer, time: isoTime(timeMs, offsetMinutes) };
}

interface PendingParams {
  readonly pendingMax?: number;
  readonly marks?: boolean;
}

/** The last so many. What they wait for is the same for all. */
export function pendingLines(host: GroupHost, network: Network, params: PendingParams): PendingLine[] {
  const { replica } = host;
  const why = whyNot(host, network);
  // An entry that several commands wait for is shown once, as the last of them leaves it.
  const lastOf = new Map(replica.outbox.pendingView(replica.reader, params.pendingMax).map((view) => [view.id, view]));
  return [...lastOf.values()].map((view) => ({
    id: view.id,
    author: view.author,
    name: view.name,
    writer: view.writer,
    time: view.time,
    text: view.text,
    revision: replica.outbox.current(replica.reader, view.id)?.revision ?? 1,
    removed: view.removed,
    status: 'pending',
    position: null,
    slot: null,
    placed: null,
    why: why?.text ?? 'It is on its way.',
    whyCode: why?.code ?? 'ON_ITS_WAY',
    // Whatever is done to an entry that is not agreed itself, what waits is a new entry.
    ...(params.marks ? { change: view.position === null ? 'create' : view.what, of: view.position } : {}),
  }));
}

export function revisions(host: GroupHost, id: EntryId): Revision[] {
  return historyView(host.replica.reader, id).map(({ revision, slot, author, writer, time, text, removed }) => ({
    revision,
    slot,
    author,
    writer,
    time,
    text,
    removed,
  }));
}
