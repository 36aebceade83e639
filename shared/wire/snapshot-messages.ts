import {
  asArray,
  asBoolean,
  asBytes,
  asInteger,
  asList,
  asText,
  type Cbor,
  decodeCbor,
  encodeCbor,
  FormatError,
  orNull,
} from '../base/cbor.ts';
import { type Slot, slot } from '../base/ids.ts';
import { decodeConfiguration, encodeConfiguration, type InForce } from '../consensus/configuration.ts';

/** What a snapshot stands for, beside its rows: everything that a store needs in order to go on from `slot`. */
export interface SnapshotHeader {
  readonly slot: Slot;
  /** The log's digest at `slot`, 32 bytes. */
  readonly digest: Uint8Array;
  /** The applied state's hash after `slot`, 32 bytes; the rows add up to it. */
  readonly state: Uint8Array;
  /** What governs the slot after it, and what is pending; empty where that is the genesis' own. In order. */
  readonly configurations: readonly InForce[];
  /** The first slot governed by a configuration that the sender could not read, or null. */
  readonly blockedFrom: Slot | null;
  /** Entries in it, for progress and for the order of the rows. */
  readonly positions: number;
}

/** A place in the order in which a snapshot's rows travel: which of its ranges, and the last key that came. */
export interface SnapshotCursor {
  readonly range: number;
  readonly after: string;
}

/** "Give me your newest snapshot", or the next part of one that was begun. */
export interface SnapshotAsk {
  readonly type: 'snapshot-ask';
  /** Which one is to be gone on with; null for any. */
  readonly slot: Slot | null;
  readonly cursor: SnapshotCursor | null;
  /** The header alone: a witness keeps no state. */
  readonly headOnly: boolean;
}

export type StateRow = readonly [key: string, record: Uint8Array];

/** A part of a snapshot. One whose `cursor` is null begins anew, whatever was asked for. */
export interface SnapshotPart {
  readonly type: 'snapshot-part';
  readonly header: SnapshotHeader;
  /** After which the rows follow; null for the first. */
  readonly cursor: SnapshotCursor | null;
  readonly rows: readonly StateRow[];
  /** After which the next part follows; null with the last. */
  readonly next: SnapshotCursor | null;
}

/** "Send me the values up to `to`, the last ones": history is fetched backwards. */
export interface HistoryAsk {
  readonly type: 'history-ask';
  readonly to: Slot;
}

/** Values up to and with `to`. Each is held against the digest known at `to`, so nobody has to be believed. Empty where the sender lacks them. */
export interface HistoryPart {
  readonly type: 'history-part';
  readonly to: Slot;
  /** In order, the last one in slot `to`: encoded. */
  readonly values: readonly Uint8Array[];
  /** The digest before the first of them. */
  readonly before: Uint8Array;
}

export type SnapshotMessage = SnapshotAsk | SnapshotPart | HistoryAsk | HistoryPart;

const SNAPSHOT_ASK = 1;
const SNAPSHOT_PART = 2;
const HISTORY_ASK = 3;
const HISTORY_PART = 4;

const KEY_LENGTH_MAX = 256;
const ROWS_MAX = 16_384;
const VALUES_MAX = 4096;
const CONFIGURATIONS_MAX = 1024;
const RANGES_MAX = 64;

const cursor = (c: SnapshotCursor | null): Cbor => (c === null ? null : [c.range, c.after]);

const asCursor = (value: Cbor | undefined): SnapshotCursor | null =>
  orNull(value, (each) => {
    const [range, after] = asArray(each, 2);
    return { range: asInteger(range, 0, RANGES_MAX), after: asText(after, KEY_LENGTH_MAX) };
  });

export function encodeHeader(h: SnapshotHeader): Cbor {
  return [
    h.slot,
    h.digest,
    h.state,
    h.configurations.map((c) => [c.slot, c.from, encodeConfiguration(c.configuration)]),
    h.blockedFrom,
    h.positions,
  ];
}

/** @throws FormatError */
export function decodeHeader(value: Cbor | undefined): SnapshotHeader {
  const [at, digest, state, configurations, blockedFrom, positions] = asArray(value, 6);
  return {
    slot: slot(asInteger(at, 1)),
    digest: asBytes(digest, 32),
    state: asBytes(state, 32),
    configurations: asList(configurations, CONFIGURATIONS_MAX).map((each) => {
      const [named, from, configuration] = asArray(each, 3);
      const at = asInteger(named, 1);
      return {
        slot: slot(at),
        from: slot(asInteger(from, at + 1)),
        configuration: decodeConfiguration(configuration),
      };
    }),
    blockedFrom: orNull(blockedFrom, (each) => slot(asInteger(each, 1))),
    positions: asInteger(positions),
  };
}

export function encodeSnapshotMessage(m: SnapshotMessage): Uint8Array {
  switch (m.type) {
    case 'snapshot-ask':
      return encodeCbor([SNAPSHOT_ASK, m.slot, cursor(m.cursor), m.headOnly]);
    case 'snapshot-part':
      return encodeCbor([
        SNAPSHOT_PART,
        encodeHeader(m.header),
        cursor(m.cursor),
        m.rows.map(([key, record]) => [key, record]),
        cursor(m.next),
      ]);
    case 'history-ask':
      return encodeCbor([HISTORY_ASK, m.to]);
    case 'history-part':
      return encodeCbor([HISTORY_PART, m.to, m.values, m.before]);
  }
}

/** @throws FormatError */
export function decodeSnapshotMessage(bytes: Uint8Array): SnapshotMessage {
  const [type, ...f] = asArray(decodeCbor(bytes));
  if (type === SNAPSHOT_ASK && f.length === 3) {
    return {
      type: 'snapshot-ask',
      slot: orNull(f[0], (value) => slot(asInteger(value, 1))),
      cursor: asCursor(f[1]),
      headOnly: asBoolean(f[2]),
    };
  }
  if (type === SNAPSHOT_PART && f.length === 4) {
    return {
      type: 'snapshot-part',
      header: decodeHeader(f[0]),
      cursor: asCursor(f[1]),
      rows: asList(f[2], ROWS_MAX).map((row): StateRow => {
        const [key, record] = asArray(row, 2);
        return [asText(key, KEY_LENGTH_MAX), asBytes(record)];
      }),
      next: asCursor(f[3]),
    };
  }
  if (type === HISTORY_ASK && f.length === 1) return { type: 'history-ask', to: slot(asInteger(f[0], 1)) };
  if (type === HISTORY_PART && f.length === 3) {
    return {
      type: 'history-part',
      to: slot(asInteger(f[0], 1)),
      values: asList(f[1], VALUES_MAX).map((value) => asBytes(value)),
      before: asBytes(f[2], 32),
    };
  }
  throw new FormatError('an unknown snapshot message');
}
