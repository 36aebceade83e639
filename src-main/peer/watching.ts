import { setTimeout as pause } from 'node:timers/promises';
import type { EntryId, GroupId } from '../../shared/base/ids.ts';
import { type Body, type DocumentReader, type EntryRecord, isoTime } from '../../shared/document/index.ts';
import {
  CHANGED_MAX,
  type KeptDraft,
  PENDING_LINES_MAX,
  type PeerStatus,
  REFUSED_MAX,
  type RefusedLine,
  type WatchEvent,
} from '../../shared/ipc/contract.ts';
import type { Replica } from '../../shared/replica/replica.ts';
import type { RefusedItem } from '../../shared/session/index.ts';
import type { Network } from '../network/network.ts';
import { type DraftOf, type Drafts, NEW } from './drafts.ts';
import { refusalCode, wordsOf } from './failures.ts';
import type { GroupHost } from './group-host.ts';
import { isMadeAnew } from './mending-why.ts';
import { previewOf, shownPositions } from './preview.ts';
import { pendingLines } from './reading.ts';

/** How often it is looked whether anything changed: too quick to be seen as a delay. Milliseconds. */
const LOOK_MS = 40;
/** Every so many looks it is also asked how the peer stands, which is more work. */
const LOOKS_PER_STATUS = 6;

/** What the texts of one event come to: it is sent again with each change, and an entry may be a mebibyte. UTF-16 units. */
const TEXTS_MAX = 1024 * 1024;

export interface Watched {
  readonly hosts: ReadonlyMap<string, GroupHost>;
  readonly network: Network;
  readonly drafts: Drafts;
  /** Who watches; left out by who writes no drafts. */
  readonly window: string | undefined;
  readonly status: () => PeerStatus;
}

/**
 * Tells a window how things stand and then what changes. It is pulled: behind a window that does not ask, changes gather as what has to be looked at again, at
 * most `CHANGED_MAX` numbers a group.
 */
export async function* watch(watched: Watched, signal: AbortSignal): AsyncGenerator<WatchEvent> {
  const feeds = new Map<string, Feed>();
  let told = '';
  const leave = watched.window === undefined ? () => {} : watched.drafts.attend(watched.window);
  try {
    for (let look = 0; !signal.aborted; look++) {
      if (look % LOOKS_PER_STATUS === 0) {
        const status = watched.status();
        const text = JSON.stringify(status);
        if (text !== told) yield { kind: 'status', status };
        told = text;
      }
      for (const [group, host] of watched.hosts) if (!feeds.has(group)) feeds.set(group, new Feed(host, watched));
      for (const [group, feed] of feeds) {
        if (watched.hosts.get(group) === feed.host) yield* feed.news(look % LOOKS_PER_STATUS === 0);
        else {
          feed.stop();
          feeds.delete(group);
          yield { kind: 'gone', group };
        }
      }
      await pause(LOOK_MS, undefined, { signal }).catch(() => undefined);
    }
  } finally {
    leave();
    for (const feed of feeds.values()) feed.stop();
  }
}

/** What of one group was told to one window, and what is still to be told. */
class Feed {
  readonly host: GroupHost;
  readonly #watched: Watched;
  readonly #changed = new Set<number>();
  /** Another one after the store was opened again: then all of it is told anew. */
  #replica: Replica | null = null;
  #isTooMuch = false;
  #positions = -1;
  /** Entries of a snapshot on its way that could be read when it was told last. */
  #previewed = 0;
  #changes = -1;
  #draftChanges = -1;
  #keptTold = '';
  readonly stop: () => void;

  constructor(host: GroupHost, watched: Watched) {
    this.host = host;
    this.#watched = watched;
    this.stop = host.watch((changes) => {
      for (const change of changes) if (change.type === 'entry') this.#note(change.position);
    });
  }

  #note(position: number): void {
    if (this.#isTooMuch) return;
    this.#changed.add(position);
    if (this.#changed.size <= CHANGED_MAX) return;
    this.#changed.clear();
    this.#isTooMuch = true;
  }

  /** All of one moment: an entry that is pending no more is agreed in the same news, or refused. @param isSlow a look among those at what need not be told at once */
  news(isSlow = true): WatchEvent[] {
    if (!this.host.isOpen) return [];
    const { replica, group } = this.host;
    if (this.#replica !== replica) {
      this.#isTooMuch ||= this.#replica !== null;
      this.#replica = replica;
      this.#positions = -1;
      this.#changes = -1;
    }
    const news: WatchEvent[] = [];
    if (isSlow) this.#lookAtPreview(replica);
    const positions = shownPositions(replica);
    if (positions !== this.#positions || this.#changed.size > 0 || this.#isTooMuch) {
      const changed = this.#isTooMuch ? null : [...this.#changed].toSorted((a, b) => a - b);
      this.#changed.clear();
      this.#isTooMuch = false;
      this.#positions = positions;
      news.push({ kind: 'log', group, positions, changed });
    }
    news.push(...this.#ownNews(replica, group));
    if (news.length > 0 || this.#watched.drafts.changes !== this.#draftChanges) news.push(...this.#keptNews(replica));
    return news;
  }

  #lookAtPreview(replica: Replica): void {
    const here = previewOf(replica)?.countAfter(replica.reader.positions()) ?? 0;
    if (here !== this.#previewed) this.#isTooMuch = true;
    this.#previewed = here;
  }

  #keptNews(replica: Replica): WatchEvent[] {
    const { drafts, window } = this.#watched;
    const { group } = this.host;
    this.#draftChanges = drafts.changes;
    const kept = newest(drafts.apart(group, window).map((draft) => keptDraft(draft, replica)));
    const told = JSON.stringify(kept);
    if (told === this.#keptTold) return [];
    this.#keptTold = told;
    return [{ kind: 'kept', group, drafts: kept }];
  }

  #ownNews(replica: Replica, group: GroupId): WatchEvent[] {
    const { outbox, reader } = replica;
    if (outbox.changes === this.#changes) return [];
    this.#changes = outbox.changes;
    const lines = pendingLines(this.host, this.#watched.network, { pendingMax: PENDING_LINES_MAX, marks: true });
    const count = Math.max(0, outbox.pending - PENDING_LINES_MAX) + lines.length;
    const refused = outbox.refusedView().slice(-REFUSED_MAX);
    return [
      { kind: 'pending', group, count, lines: newest(lines) },
      { kind: 'refused', group, lines: newest(refused.map((item) => refusedLine(item, reader))) },
    ];
  }
}

/** The last lines, as many as go together, and one whatever its length. */
function newest<L extends { readonly text: string | null }>(lines: readonly L[]): L[] {
  let length = 0;
  const tooLong = lines.findLastIndex(({ text }) => {
    length += text?.length ?? 0;
    return length > TEXTS_MAX;
  });
  return lines.slice(Math.min(tooLong + 1, lines.length - 1));
}

export function refusedLine(item: RefusedItem, reader: DocumentReader): RefusedLine {
  const { key, code, detail, writer, timeMs, offsetMinutes, body } = item;
  const refused = { refused: code, detail };
  const isChange = body.kind === 'edit' || body.kind === 'remove' || body.kind === 'restore';
  const entry = isChange ? reader.entry(body.entry) : undefined;
  return {
    key,
    whyCode: refusalCode(refused),
    why: (code === 'ENTRY_REMOVED' && entry && removedWords(reader, entry, body.kind)) || wordsOf(refused),
    writer,
    time: isoTime(timeMs, offsetMinutes),
    text: body.kind === 'create' || body.kind === 'edit' ? body.text : null,
    change: isChange || body.kind === 'create' ? body.kind : null,
    of: entry?.position ?? null,
  };
}

/** What a person can do with it depends on what has become of the entry that it is about. */
function keptDraft(draft: DraftOf, replica: Replica): KeptDraft {
  const { reader, outbox } = replica;
  if (draft.about === NEW)
    return { ...draft, kind: 'new', why: 'It was being written when its window was closed.', of: null };
  const id = draft.about as EntryId;
  const entry = reader.entry(id);
  const of = entry?.position ?? null;
  const tip = outbox.current(reader, id);
  if (!entry && !tip && isMadeAnew(replica))
    return { ...draft, kind: 'edit', why: 'This edit was not sent. It can go on once the log is here again.', of };
  if (tip && !tip.removed) return { ...draft, kind: 'edit', why: 'This edit was not sent.', of };
  const removed = entry && (removedWords(reader, entry, 'edit') ?? wordsOf({ refused: 'ENTRY_REMOVED', detail: '' }));
  return { ...draft, kind: 'gone', why: removed ?? 'There is no such entry here.', of };
}

/** With the name of whoever was there first, as long as nobody did anything to the entry since. */
function removedWords(reader: DocumentReader, entry: EntryRecord, what: Body['kind']): string | null {
  const { kind, author, writer } = reader.revisionOf(entry, entry.revision);
  if (kind !== 'remove') return null;
  const name = writer || reader.member(author)?.name || author.slice(-6);
  if (what === 'remove') return `${name} had removed the entry already.`;
  return `The entry was removed by ${name} before this edit arrived. Your wording is kept here.`;
}
