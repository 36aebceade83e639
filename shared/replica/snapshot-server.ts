import type { PeerId, Slot } from '../base/ids.ts';
import { slot } from '../base/ids.ts';
import { MissingRecordError } from '../base/kv.ts';
import type { InForce } from '../consensus/configuration.ts';
import { appliedPlace, metaPlace } from '../document/index.ts';
import { BLOCKED_KEY, decodeBlocked, decodeDigest, decodeInForce, digestKey, openRecord } from '../driver/layout.ts';
import { numberOfKey } from '../driver/records.ts';
import { configurationsRange } from '../driver/restore.ts';
import type { KvRange, KvRow, KvSnapshot } from '../driver/store.ts';
import type { SnapshotAsk, SnapshotCursor, SnapshotHeader, SnapshotPart, StateRow } from '../wire/snapshot-messages.ts';
import { type Area, named, placed } from './area.ts';
import { FIRST_CURSOR, nextRange, rangeAfter } from './snapshot-order.ts';

/** Rows read at once, where they are small: a part's bytes end the reading, too. */
const PAGE_ROWS = 1024;
/** Snapshots held open for whoever fetches them: each keeps the space of what is overwritten meanwhile. */
const OPEN_MAX = 2;
/** One that nobody asked for in 60 s is let go; who comes back later begins anew. Ticks. */
const IDLE_TICKS = 1200;

interface Open {
  readonly snapshot: KvSnapshot;
  readonly header: SnapshotHeader;
  usedTick: number;
  /** Asks that are being answered. */
  readers: number;
}

export interface ServerInit {
  readonly area: Area;
  readonly alpha: number;
  /** Of a part's rows, and no more than this and one row is read at once. */
  readonly partBytes: number;
  /** As the disk is now. */
  readonly open: () => KvSnapshot;
  readonly send: (to: PeerId, part: SnapshotPart) => void;
  /** A row can't be read. */
  readonly onDamage: (key: string, error: unknown) => void;
}

/**
 * Gives snapshots of the applied state as the disk holds it, part by part, each on request: so it is the receiver that sets the pace, and a commit never waits
 * for a snapshot.
 */
export class SnapshotServer {
  readonly #init: ServerInit;
  readonly #open = new Map<Slot, Open>();
  readonly #busy = new Set<PeerId>();
  #now = 0;
  #ended = false;

  constructor(init: ServerInit) {
    this.#init = init;
  }

  tick(): void {
    this.#now++;
    for (const [at, each] of this.#open) {
      if (each.readers === 0 && this.#now - each.usedTick >= IDLE_TICKS) this.#letGo(at, each);
    }
  }

  /** Nothing is read any more. */
  end(): void {
    this.#ended = true;
    for (const [at, each] of this.#open) this.#letGo(at, each);
  }

  #letGo(at: Slot, { snapshot }: Open): void {
    this.#open.delete(at);
    snapshot.close();
  }

  onAsk(from: PeerId, ask: SnapshotAsk): void {
    if (this.#busy.has(from) || this.#ended) return;
    this.#busy.add(from);
    const known = ask.slot === null ? undefined : this.#open.get(ask.slot);
    chain(known ?? this.#begin(), (open) => {
      if (open === null) return this.#done(from);
      // At one slot every state is the same, wherever the part before came from.
      const cursor = open.header.slot === ask.slot ? ask.cursor : null;
      open.usedTick = this.#now;
      open.readers++;
      const rows = ask.headOnly ? { rows: [], next: null } : this.#read(open, cursor ?? FIRST_CURSOR);
      return chain(rows, (part) => {
        open.readers--;
        this.#done(from);
        if (part !== null && !this.#ended)
          this.#init.send(from, { type: 'snapshot-part', header: open.header, cursor, ...part });
      });
    });
  }

  #done(from: PeerId): void {
    this.#busy.delete(from);
  }

  /** Null where the state can't be given. */
  #begin(): Open | null | Promise<Open | null> {
    const snapshot = this.#init.open();
    return this.#guard(
      'm/',
      () =>
        chain(this.#headerOf(snapshot), (header) => {
          const same = header === null ? undefined : this.#open.get(header.slot);
          if (header === null || same !== undefined || this.#ended) {
            snapshot.close();
            return same ?? null;
          }
          const idle = [...this.#open].filter(([, each]) => each.readers === 0);
          const [oldest] = idle.sort(([, a], [, b]) => a.usedTick - b.usedTick);
          if (this.#open.size >= OPEN_MAX && oldest !== undefined) this.#letGo(...oldest);
          const made: Open = { snapshot, header, usedTick: this.#now, readers: 0 };
          this.#open.set(header.slot, made);
          return made;
        }),
      () => snapshot.close(),
    );
  }

  /** Null where there is no state to give yet, or its digest is still to be fetched. */
  #headerOf(snapshot: KvSnapshot): MaybeLater<SnapshotHeader | null> {
    const { area, alpha } = this.#init;
    const one = (key: string): MaybeLater<Uint8Array> =>
      chain(this.#maybeOne(snapshot, key), (record) => {
        if (record === null) throw new MissingRecordError(key);
        return record;
      });
    return chain(one(placed(area, appliedPlace.key)), (applied) => {
      const { slot: at, stateHash } = appliedPlace.codec.decode(applied);
      return chain(one(placed(area, metaPlace.key)), (meta) =>
        chain(this.#maybeOne(snapshot, digestKey(at)), (digest) =>
          chain(this.#maybeOne(snapshot, BLOCKED_KEY), (blocked) =>
            chain(snapshot.scan(configurationsRange), (rows): SnapshotHeader | null => {
              if (digest === null) return null;
              const blockedFrom = blocked === null ? null : decodeBlocked(blocked);
              return {
                slot: at,
                digest: decodeDigest(digest),
                state: stateHash,
                configurations: governingFrom(at, rows),
                blockedFrom: blockedFrom !== null && blockedFrom <= at + alpha ? blockedFrom : null,
                positions: metaPlace.codec.decode(meta).positions,
              };
            }),
          ),
        ),
      );
    });
  }

  #maybeOne(snapshot: KvSnapshot, key: string): MaybeLater<Uint8Array | null> {
    return chain(snapshot.scan({ gte: key, lt: `${key}\0`, limit: 1 }), ([row]) =>
      row === undefined ? null : openRecord(key, row[1]),
    );
  }

  /** Null where a row is damaged. */
  #read(
    open: Open,
    cursor: SnapshotCursor,
  ): MaybeLater<{ readonly rows: readonly StateRow[]; readonly next: SnapshotCursor | null } | null> {
    const rows: StateRow[] = [];
    let bytes = 0;
    const go = (at: SnapshotCursor): MaybeLater<{ rows: readonly StateRow[]; next: SnapshotCursor | null } | null> => {
      const range: KvRange | null = rangeAfter(open.header.positions, at, this.#init.area, PAGE_ROWS);
      if (range === null) return { rows, next: null };
      if (bytes >= this.#init.partBytes) return { rows, next: at };
      return chain(open.snapshot.scan({ ...range, limitBytes: this.#init.partBytes - bytes }), (page) => {
        let last = at;
        for (const [key, record] of page) {
          rows.push([named(key), openRecord(key, record)]);
          // As the store counts: a page that its bytes ended is not the range's last.
          bytes += key.length + record.length;
          last = { range: at.range, after: named(key) };
        }
        const isEnded = page.length < PAGE_ROWS && bytes < this.#init.partBytes;
        return go(isEnded ? nextRange(at) : last);
      });
    };
    return this.#guard('s/', () => go(cursor));
  }

  /** What is damaged is told and given to nobody; a store that was closed meanwhile has nothing to say. */
  #guard<T>(key: string, run: () => MaybeLater<T>, onError: () => void = () => undefined): MaybeLater<T | null> {
    const failed = (error: unknown): null => {
      onError();
      if (!this.#ended) this.#init.onDamage(key, error);
      return null;
    };
    try {
      const result = run();
      return result instanceof Promise ? result.catch(failed) : result;
    } catch (error) {
      return failed(error);
    }
  }
}

type MaybeLater<T> = T | Promise<T>;

/** At once where it is there at once: a store in memory answers in the same breath. */
function chain<T, R>(value: MaybeLater<T>, then: (value: T) => MaybeLater<R>): MaybeLater<R> {
  return value instanceof Promise ? value.then(then) : then(value);
}

/** What governs the slot after `at`, unless it is the genesis', and what was chosen up to `at` to govern later. */
function governingFrom(at: Slot, rows: readonly KvRow[]): readonly InForce[] {
  const known = rows.flatMap(([key, record]): InForce[] => {
    const named = slot(numberOfKey('c/', key));
    return named <= at ? [decodeInForce(named, openRecord(key, record))] : [];
  });
  const governing = known.findLastIndex(({ from }) => from <= at + 1);
  return known.slice(Math.max(0, governing));
}
