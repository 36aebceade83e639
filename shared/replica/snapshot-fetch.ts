import { equal } from '../base/bytes.ts';
import { asArray, asBytes, decodeCbor, encodeCbor, FormatError } from '../base/cbor.ts';
import { ZERO_HASH } from '../base/hash.ts';
import { type PeerId, type Slot, slot } from '../base/ids.ts';
import type { KvOp } from '../base/kv.ts';
import { appliedPlace, recordHash, STATE_PREFIX, StateSum } from '../document/index.ts';
import {
  AREA_KEY,
  BLOCKED_KEY,
  digestKey,
  inForceOp,
  logKey,
  MISSING_KEY,
  PREFIX_KEY,
  STAGING_KEY,
} from '../driver/layout.ts';
import type { Missing } from '../driver/missing.ts';
import {
  decodeHeader,
  encodeHeader,
  type SnapshotAsk,
  type SnapshotCursor,
  type SnapshotHeader,
  type SnapshotPart,
} from '../wire/snapshot-messages.ts';
import { type Area, otherArea, placed } from './area.ts';

/** Without a part for 5 s another source is asked. Ticks. */
const PATIENCE_TICKS = 100;
/** After so many sources in vain values are fetched one by one again, for 10 s. */
const SOURCES_MAX = 3;
const REST_TICKS = 200;

/** A snapshot as far as it has come: durable with its rows, so that a restart goes on where it was. */
export interface Staging {
  readonly header: SnapshotHeader;
  /** Null once all rows are there. */
  readonly cursor: SnapshotCursor | null;
  /** Over the rows so far, to be held against the header's state hash. */
  readonly sum: Uint8Array;
}

export function encodeStaging({ header, cursor, sum }: Staging): Uint8Array {
  return encodeCbor([1, encodeHeader(header), cursor === null ? null : [cursor.range, cursor.after], sum]);
}

/** @throws FormatError */
export function decodeStaging(bytes: Uint8Array): Staging {
  const [version, header, cursor, sum] = asArray(decodeCbor(bytes), 4);
  if (version !== 1) throw new FormatError('a staging of another version');
  const [range, after] = cursor === null ? [null, null] : asArray(cursor, 2);
  return {
    header: decodeHeader(header),
    cursor: typeof range === 'number' && typeof after === 'string' ? { range, after } : null,
    sum: asBytes(sum, 32),
  };
}

export interface FetchSurroundings {
  /** Whom to ask, the best first: heard members that hold more than this peer. */
  sources(): readonly PeerId[];
  ask(to: PeerId, ask: SnapshotAsk): void;
  /** For a later batch, all together. */
  write(ops: readonly KvOp[]): void;
  /** Everything that was written is on the disk. */
  isWritten(): boolean;
  /** Nothing stands in the area that is not in use; otherwise it is being cleared. */
  isClear(): boolean;
  /** What stands there is of no use. */
  clear(): void;
  /** Whether values are fetched one by one meanwhile. */
  mayFetchValues(may: boolean): void;
  onProblem(code: string, message: string): void;
}

/**
 * Fetches a snapshot into the area that is not in use, part by part: each part is on the disk before the next is asked for, so memory and queues stay small.
 * Once all rows are there and add up to the state's hash, one atomic batch (`installOps`) makes it the store's own.
 */
export class SnapshotFetch {
  readonly #around: FetchSurroundings;
  readonly #area: Area;
  #staging: Staging | null;
  #headOnly = false;
  #source: PeerId | null = null;
  #askedTick = 0;
  #isAsked = false;
  #tried: PeerId[] = [];
  #restUntilTick = 0;
  #now = 0;

  /** @param area the one that is in use @param staging what an earlier run left */
  constructor(area: Area, staging: Staging | null, around: FetchSurroundings) {
    this.#area = area;
    this.#staging = staging;
    this.#around = around;
  }

  get isUnderWay(): boolean {
    return this.#source !== null;
  }

  /** What has come so far; null where nothing has, or where it is of no use. Another object after each part. */
  get staging(): Staging | null {
    return this.#staging;
  }

  /** A snapshot that is whole and on the disk. */
  get ready(): SnapshotHeader | null {
    const staging = this.#staging;
    return staging !== null && staging.cursor === null && this.#around.isWritten() ? staging.header : null;
  }

  /** @param isNeeded nothing else leads on, or values one by one would take much longer @param headOnly a witness keeps no state */
  tick(now: number, isNeeded: boolean, headOnly: boolean): void {
    this.#now = now;
    if (!isNeeded || this.#staging?.cursor === null) return this.#stop();
    if (this.#staging === null && !this.#around.isClear()) return;
    if (now < this.#restUntilTick) return;
    if (this.#source !== null && now - this.#askedTick >= PATIENCE_TICKS) this.#isAsked = false;
    else if (this.#source !== null) {
      if (!this.#isAsked && this.#around.isWritten()) this.#ask(this.#source, headOnly);
      return;
    }
    const source = this.#around.sources().find((peer) => !this.#tried.includes(peer));
    if (source === undefined || this.#tried.length >= SOURCES_MAX) {
      this.#stop();
      this.#tried = [];
      this.#restUntilTick = now + REST_TICKS;
      return;
    }
    this.#tried.push(source);
    this.#source = source;
    this.#around.mayFetchValues(false);
    this.#ask(source, headOnly);
  }

  #stop(): void {
    if (this.#source === null) return;
    this.#source = null;
    this.#isAsked = false;
    this.#around.mayFetchValues(true);
  }

  #ask(to: PeerId, headOnly: boolean): void {
    this.#isAsked = true;
    this.#headOnly = headOnly;
    this.#askedTick = this.#now;
    const { header, cursor } = this.#staging ?? { header: null, cursor: null };
    this.#around.ask(to, { type: 'snapshot-ask', slot: header?.slot ?? null, cursor, headOnly });
  }

  onPart(from: PeerId, part: SnapshotPart): void {
    if (from !== this.#source || !this.#isAsked) return;
    this.#isAsked = false;
    this.#askedTick = this.#now;
    this.#tried = [from];
    const staging = this.#staging;
    const isMore = staging !== null && part.cursor !== null && sameHeader(staging.header, part.header);
    // Another snapshot than the one begun: it is fetched from its start, into a place that is empty.
    if (staging !== null && !isMore) return this.#startOver();
    if (!sameCursor(part.cursor, staging?.cursor ?? null)) return;
    const sum = new StateSum(staging?.sum ?? ZERO_HASH);
    const area = otherArea(this.#area);
    const ops: KvOp[] = [];
    for (const [key, value] of part.rows) {
      if (!key.startsWith(STATE_PREFIX)) return this.#refuse(from, `a row of a snapshot is no state: ${key}`);
      if (key !== appliedPlace.key) sum.add(recordHash(key, value));
      else if (!isApplied(value, part.header))
        return this.#refuse(from, 'a snapshot names another state than it holds');
      ops.push({ type: 'put', key: placed(area, key), value });
    }
    if (staging === null && !this.#headOnly && !part.rows.some(([key]) => key === appliedPlace.key)) {
      return this.#refuse(from, 'a snapshot begins without saying which slot it is of');
    }
    if (part.next === null && !this.#headOnly && !equal(sum.toBytes(), part.header.state)) {
      return this.#refuse(from, `the rows of the snapshot at slot ${part.header.slot} don't add up to its state`);
    }
    this.#staging = { header: part.header, cursor: part.next, sum: sum.toBytes() };
    this.#around.write([...ops, { type: 'put', key: STAGING_KEY, value: encodeStaging(this.#staging) }]);
  }

  #refuse(from: PeerId, message: string): void {
    this.#around.onProblem('BAD_SNAPSHOT', `${message} (from ${from})`);
    this.#startOver();
    this.#tried.push(from);
    this.#stop();
  }

  /** What was fetched is of no use any more. */
  abandon(): void {
    if (this.#staging === null) return;
    this.#startOver();
    this.#stop();
  }

  #startOver(): void {
    this.#staging = null;
    this.#around.write([{ type: 'del', key: STAGING_KEY }]);
    this.#around.clear();
  }
}

function isApplied(record: Uint8Array, header: SnapshotHeader): boolean {
  try {
    const applied = appliedPlace.codec.decode(record);
    return applied.slot === header.slot && equal(applied.stateHash, header.state);
  } catch (error) {
    if (error instanceof FormatError) return false;
    throw error;
  }
}

const sameHeader = (a: SnapshotHeader, b: SnapshotHeader): boolean =>
  a.slot === b.slot && equal(a.digest, b.digest) && equal(a.state, b.state);

const sameCursor = (a: SnapshotCursor | null, b: SnapshotCursor | null): boolean =>
  a?.range === b?.range && a?.after === b?.after;

export interface InstallFrom {
  readonly header: SnapshotHeader;
  /** The area in use now. */
  readonly area: Area;
  readonly prefix: Slot;
  readonly missing: Missing;
  /** Slots above the prefix in which something is accepted. */
  readonly accepted: readonly Slot[];
  /** A witness takes the place in the log and no state. */
  readonly headOnly: boolean;
}

/**
 * The one batch that makes a fetched snapshot the store's own: the state's area, and where the log is behind, its prefix, digest and configurations. The
 * promise stays, and so does what was accepted above it; what was accepted up to it is decided, one way or the other.
 */
export function installOps(from: InstallFrom): readonly KvOp[] {
  const { header, prefix } = from;
  const ops: KvOp[] = [{ type: 'del', key: STAGING_KEY }];
  if (!from.headOnly) ops.push({ type: 'put', key: AREA_KEY, value: encodeCbor(otherArea(from.area)) });
  if (header.slot <= prefix) return ops;
  ops.push(
    { type: 'put', key: PREFIX_KEY, value: encodeCbor([header.slot, header.digest]) },
    { type: 'put', key: digestKey(header.slot), value: header.digest },
    {
      type: 'put',
      key: MISSING_KEY,
      value: from.missing.with({ from: slot(prefix + 1), to: header.slot }).encode(),
    },
    ...from.accepted.filter((at) => at <= header.slot).map((at): KvOp => ({ type: 'del', key: logKey(at) })),
    ...header.configurations.map(inForceOp),
  );
  if (header.blockedFrom !== null) ops.push({ type: 'put', key: BLOCKED_KEY, value: encodeCbor(header.blockedFrom) });
  return ops;
}
