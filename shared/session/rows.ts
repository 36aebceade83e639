import {
  asArray,
  asBoolean,
  asBytes,
  asInteger,
  asText,
  decodeCbor,
  encodeCbor,
  FormatError,
  orNull,
} from '../base/cbor.ts';
import { HASH_BYTES } from '../base/hash.ts';
import {
  type Incarnation,
  incarnationBytes,
  incarnationFromBytes,
  type Seq,
  type Slot,
  seq,
  slot,
} from '../base/ids.ts';
import {
  type Body,
  decodePayload,
  decodeRun,
  numberKey,
  REFUSALS,
  type RefusalCode,
  type Run,
  refusalOf,
  TAG_BYTES,
} from '../document/index.ts';

/**
 * The outbox' rows. Plain CBOR arrays, their version first; whoever stores them seals them.
 *
 * - `o/<incarnation>/<first seq, 13 hex digits>`: a run that is not settled yet, with what its commands' headers don't say.
 *   `[1, run, [[seq, root revision|null, root tag|null, supersedes|null, quiet] …]]`
 * - `o/<incarnation>/settled`: the last own seq whose outcome was taken in: `[1, seq]`
 * - `x/<incarnation>/<seq, 13 hex digits>`: a refused command, kept until it is dismissed.
 *   `[1, incarnation, seq, hash, code, detail, kind, payload, time, offset, saw]`
 */
export type Row = readonly [key: string, value: Uint8Array];

export const OUTBOX_PREFIX = 'o/';
export const REFUSED_PREFIX = 'x/';
const VERSION = 1;

/** A revision by number and by the tag of the command that made it. */
export interface Base {
  readonly revision: number;
  readonly tag: Uint8Array;
}

/** What an outbox knows of its command besides the command itself. */
export interface Extra {
  readonly seq: Seq;
  /** Of an edit: the agreed revision that its first ancestor in the outbox was made on. */
  readonly root: Base | null;
  /** The own command in whose place this one stands, merged anew. */
  readonly supersedes: Seq | null;
  /** Not kept when it is refused. */
  readonly quiet: boolean;
}

export interface RunRow {
  readonly run: Run;
  readonly extras: readonly Extra[];
}

/** A run as it lies on the disk. */
export interface StoredRun extends RunRow {
  readonly key: string;
  /** The last seq of its incarnation whose outcome was taken in. */
  readonly settled: Seq;
}

/** What an outbox left on the disk. */
export interface OutboxRows {
  /** In the order of their first seqs, those of former incarnations among them. */
  readonly runs: readonly StoredRun[];
  /** The last seq of an incarnation whose outcome was taken in; 0 before the first. */
  readonly settledOf: (incarnation: Incarnation) => Seq;
  /** By their keys. */
  readonly refused: ReadonlyMap<string, RefusedItem>;
}

/** A command that was refused, with its wording and the reason. */
export interface RefusedItem {
  /** What `dismiss` takes. */
  readonly key: string;
  readonly incarnation: Incarnation;
  readonly seq: Seq;
  readonly hash: Uint8Array;
  readonly code: RefusalCode;
  readonly detail: string;
  readonly writer: string;
  readonly body: Body;
  readonly timeMs: number;
  readonly offsetMinutes: number;
  readonly saw: Slot;
}

export const runKey = (incarnation: Incarnation, firstSeq: Seq): string => `o/${incarnation}/${numberKey(firstSeq)}`;
export const settledKey = (incarnation: Incarnation): string => `o/${incarnation}/settled`;
export const refusedKey = (incarnation: Incarnation, at: Seq): string => `x/${incarnation}/${numberKey(at)}`;

export function encodeRunRow(row: RunRow): Uint8Array {
  const extras = row.extras
    .filter((each) => each.root !== null || each.supersedes !== null || each.quiet)
    .map((each) => [each.seq, each.root?.revision ?? null, each.root?.tag ?? null, each.supersedes, each.quiet]);
  return encodeCbor([VERSION, row.run.bytes, extras]);
}

/** A run that the log held and holds no more, as the outbox keeps it: nothing is known of it but what it says itself. */
export function outboxRowOf(run: Run): Row {
  return [runKey(run.incarnation, run.firstSeq), encodeRunRow({ run, extras: [] })];
}

/** @throws FormatError */
export function decodeRunRow(bytes: Uint8Array): RunRow {
  const [, run, extras] = fieldsOf(bytes, 3);
  return {
    run: decodeRun(asBytes(run)),
    extras: asArray(extras).map((each) => {
      const [at, revision, tag, supersedes, quiet] = asArray(each, 5);
      if ((revision === null) !== (tag === null)) throw new FormatError('half a base');
      return {
        seq: seq(asInteger(at, 1)),
        root: revision === null ? null : { revision: asInteger(revision, 1), tag: asBytes(tag, TAG_BYTES) },
        supersedes: orNull(supersedes, (n) => seq(asInteger(n, 1))),
        quiet: asBoolean(quiet),
      };
    }),
  };
}

/** All of an outbox' rows. @throws FormatError where a row is damaged */
export function decodeRows(rows: readonly Row[]): OutboxRows {
  const settled = new Map<string, Seq>();
  const refused = new Map<string, RefusedItem>();
  const found: StoredRun[] = [];
  for (const [key, value] of rows) {
    if (key.startsWith(REFUSED_PREFIX)) refused.set(key, decodeRefused(value));
    else if (key.endsWith('/settled'))
      settled.set(key.slice(OUTBOX_PREFIX.length, -'/settled'.length), decodeSettled(value));
    else if (key.startsWith(OUTBOX_PREFIX)) found.push({ key, settled: seq(0), ...decodeRunRow(value) });
  }
  const settledOf = (incarnation: Incarnation): Seq => settled.get(incarnation) ?? seq(0);
  const runs = found
    .map((row) => ({ ...row, settled: settledOf(row.run.incarnation) }))
    .sort((a, b) => a.run.firstSeq - b.run.firstSeq);
  return { runs, settledOf, refused };
}

export const encodeSettled = (at: Seq): Uint8Array => encodeCbor([VERSION, at]);

export function decodeSettled(bytes: Uint8Array): Seq {
  const [, at] = fieldsOf(bytes, 2);
  return seq(asInteger(at));
}

export interface RefusedRow extends Omit<RefusedItem, 'body' | 'key' | 'writer'> {
  readonly kind: number;
  readonly payload: Uint8Array;
}

export function encodeRefused(row: RefusedRow): Uint8Array {
  return encodeCbor([
    VERSION,
    incarnationBytes(row.incarnation),
    row.seq,
    row.hash,
    REFUSALS[row.code],
    row.detail,
    row.kind,
    row.payload,
    row.timeMs,
    row.offsetMinutes,
    row.saw,
  ]);
}

/** @throws FormatError */
export function decodeRefused(bytes: Uint8Array): RefusedItem {
  const [, incarnation, at, hash, number, detail, kind, payload, timeMs, offset, saw] = fieldsOf(bytes, 11);
  const code = refusalOf(asInteger(number));
  if (code === undefined) throw new FormatError('no such refusal');
  const { writer, body } = decodePayload(asInteger(kind), asBytes(payload));
  const own = incarnationFromBytes(asBytes(incarnation, 16));
  const ownSeq = seq(asInteger(at, 1));
  return {
    key: refusedKey(own, ownSeq),
    incarnation: own,
    seq: ownSeq,
    hash: asBytes(hash, HASH_BYTES),
    code,
    detail: asText(detail),
    writer,
    body,
    timeMs: asInteger(timeMs),
    offsetMinutes: asInteger(offset, Number.MIN_SAFE_INTEGER),
    saw: slot(asInteger(saw)),
  };
}

function fieldsOf(bytes: Uint8Array, length: number) {
  const fields = asArray(decodeCbor(bytes), length);
  if (fields[0] !== VERSION) throw new FormatError('an outbox row of another version');
  return fields;
}
