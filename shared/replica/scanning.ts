import type { Prepared } from '../driver/journal-format.ts';
import { RECORD_VERSION, unseal } from '../driver/records.ts';
import type { KvOp, KvRange, KvRow } from '../driver/store.ts';
import { isDamage } from './salvage.ts';

const PAGE_ROWS = 1000;

/** What an opening asks of whoever has the disk; the answer goes into the generator's `next`. */
export type Ask =
  | { readonly type: 'scan'; readonly range: KvRange }
  | { readonly type: 'marks' }
  /** A batch alone, synced: it ends what was begun before, whoever looks. */
  | { readonly type: 'batch'; readonly ops: readonly KvOp[] }
  /** Batch, then mark, both on the disk. */
  | { readonly type: 'write'; readonly prepared: Prepared };

export type Answer = readonly KvRow[] | readonly [Uint8Array | null, Uint8Array | null] | undefined;

export function* scanAll(range: {
  readonly gte: string;
  readonly lt: string;
}): Generator<Ask, readonly KvRow[], Answer> {
  const rows: KvRow[] = [];
  yield* scanPages(range, (page) => void rows.push(...page));
  return rows;
}

export function* scanPages(
  range: { readonly gte: string; readonly lt: string },
  take: (page: readonly KvRow[]) => void,
): Generator<Ask, void, Answer> {
  for (let gte: string | null = range.gte; gte !== null; ) {
    const page = (yield { type: 'scan', range: { gte, lt: range.lt, limit: PAGE_ROWS } }) as readonly KvRow[];
    take(page);
    const last = page.at(-1);
    gte = last === undefined || page.length < PAGE_ROWS ? null : `${last[0]}\0`;
  }
}

export function* keysOf(range: { readonly gte: string; readonly lt: string }): Generator<Ask, string[], Answer> {
  const keys: string[] = [];
  yield* scanPages(range, (page) => {
    for (const [key] of page) keys.push(key);
  });
  return keys;
}

export function* unreadableIn(
  ranges: readonly { readonly gte: string; readonly lt: string }[],
): Generator<Ask, string[], Answer> {
  const keys: string[] = [];
  for (const range of ranges) {
    for (const row of yield* scanAll(range)) if (opened([row]).length === 0) keys.push(row[0]);
  }
  return keys;
}

/** Records of the layers above, opened; what is damaged is left out (the outbox says that commands are missing). */
export function opened(rows: readonly KvRow[]): KvRow[] {
  return rows.flatMap(([key, record]): KvRow[] => {
    try {
      return [[key, unseal(key, record, RECORD_VERSION).payload]];
    } catch (error) {
      if (isDamage(error)) return [];
      throw error;
    }
  });
}
