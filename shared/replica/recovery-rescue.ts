import { toHex } from '../base/bytes.ts';
import type { PeerId } from '../base/ids.ts';
import { incarnationBytes, keyFromPeer } from '../base/ids.ts';
import type { KvOp } from '../base/kv.ts';
import type { Value } from '../consensus/value.ts';
import { type DocumentReader, decodeBatch, decodeRun, isRedacted, type Run } from '../document/index.ts';
import { numberKey, prefixRange } from '../driver/records.ts';
import type { KvRange, KvRow } from '../driver/store.ts';

/**
 * What stood in a log that a forced recovery went on without (R12): others' signed runs, kept until the log has judged them. STORED FORMAT, version 1:
 *
 *   r/<peer, hex>/<incarnation>/<first seq>   an encoded run
 */
const RESCUED = 'r/';
export const rescuedRange: KvRange = { ...prefixRange(RESCUED), limit: 1_000_000 };

/** 1 s, in ticks. */
const OFFER_TICKS = 20;
/** Runs offered at once. Bytes. */
const OFFER_BYTES = 256 * 1024;
/** What the log doesn't take by then (its author was removed, or an earlier command of it is lost) is offered again at the next start. */
const OFFERS_MAX = 120;

/** The runs of values that are dropped, but for this peer's own: those are in its outbox, or are put there. */
export function rescueOps(values: Iterable<Value>, self: PeerId): readonly KvOp[] {
  return runsOf(values)
    .filter((run) => run.peer !== self)
    .map((run) => ({ type: 'put', key: keyOf(run), value: run.bytes }));
}

/** Whole runs of the log, that could be proposed again. */
export function runsOf(values: Iterable<Value>): readonly Run[] {
  const runs: Run[] = [];
  for (const value of values) if (value.kind === 'commands') runs.push(...decodeBatch(value.payload).runs);
  return runs.filter((run) => !isRedacted(run));
}

function keyOf(run: Run): string {
  const session = `${toHex(keyFromPeer(run.peer))}/${toHex(incarnationBytes(run.incarnation))}/`;
  return numberKey(RESCUED + session, run.firstSeq);
}

/** Offers what was rescued to whoever leads, in the order of each author's numbers, until it is judged. Offering twice is harmless (R8). */
export class Rescue {
  #runs: readonly Run[];
  #now = 0;
  #offers = 0;

  /** @param rows opened records of `rescuedRange` */
  constructor(rows: readonly KvRow[]) {
    this.#runs = rows.map(([, bytes]) => decodeRun(bytes));
  }

  get isEmpty(): boolean {
    return this.#runs.length === 0;
  }

  /** What to offer now. Rows whose runs are judged are deleted. */
  tick(reader: DocumentReader, write: (ops: readonly KvOp[]) => void): readonly Run[] {
    this.#now++;
    if (this.#runs.length === 0 || this.#now % OFFER_TICKS !== 0 || this.#offers >= OFFERS_MAX) return [];
    this.#offers++;
    const isJudged = ({ peer, incarnation, lastSeq }: Run): boolean => {
      const session = reader.session(peer, incarnation);
      return session !== undefined && (session.closed || session.lastSeq >= lastSeq);
    };
    const judged = this.#runs.filter(isJudged);
    if (judged.length > 0) {
      this.#runs = this.#runs.filter((run) => !judged.includes(run));
      write(judged.map((run) => ({ type: 'del', key: keyOf(run) })));
    }
    let bytes = 0;
    return this.#runs.filter((run) => {
      bytes += run.bytes.length;
      return bytes <= OFFER_BYTES || bytes === run.bytes.length;
    });
  }
}
