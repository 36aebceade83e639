import { asArray, asBytes, asInteger, asText, decodeCbor, encodeCbor, FormatError } from '../base/cbor.ts';
import { type Incarnation, incarnationBytes, incarnationFromBytes } from '../base/ids.ts';
import type { KvOp } from '../base/kv.ts';
import type { Restored } from '../consensus/ledger.ts';
import { genesisOps } from '../document/index.ts';
import type { Turn as JournalTurn, Problem } from '../driver/journal-format.ts';
import { BLOCKED_KEY, inForceOp, PREFIX_KEY, PROMISE_KEY } from '../driver/layout.ts';
import { sealed } from '../driver/overlay.ts';
import { TAIL_KEY } from '../session/index.ts';

/**
 *   m/group    [1, genesis, incarnation]: which group this store is of, and the incarnation that it has now
 *   m/reborn   [1, [former incarnation …], [[code, message] …]]: why it has another than it was made with; the newest former one is last
 */
export const GROUP_KEY = 'm/group';
export const REBORN_KEY = 'm/reborn';
const FORMERS_MAX = 16;

/** Why a store goes on under another incarnation than before. */
export interface Reborn {
  /** The oldest first. */
  readonly formers: readonly Incarnation[];
  /** What was found, the last time. */
  readonly problems: readonly Problem[];
}

/** Which group this is, and whose store. Everything else can be fetched again, this can't: so a store keeps it in a file of its own, too. */
export function groupRecord(genesisBytes: Uint8Array, incarnation: Incarnation): KvOp {
  return { type: 'put', key: GROUP_KEY, value: encodeCbor([1, genesisBytes, incarnationBytes(incarnation)]) };
}

export function encodeReborn({ formers, problems }: Reborn): Uint8Array {
  return encodeCbor([1, formers.map(incarnationBytes), problems.map(({ code, message }) => [code, message])]);
}

/** @throws FormatError */
export function decodeReborn(bytes: Uint8Array): Reborn {
  const [version, formers, problems] = asArray(decodeCbor(bytes), 3);
  if (asInteger(version) !== 1) throw new FormatError('a record of another version');
  return {
    formers: asArray(formers).map((each) => incarnationFromBytes(asBytes(each, 16))),
    problems: asArray(problems).map((row): Problem => {
      const [code, message] = asArray(row, 2);
      return { code: asText(code) as Problem['code'], message: asText(message) };
    }),
  };
}

/** A crash between the first batch of an incarnation and its mark looks like this; what it was born for says more. */
const isCutShort = (problems: readonly Problem[]): boolean =>
  problems.every(({ code }) => code === 'MARK_FOREIGN' || code === 'DAMAGED_BEFORE');

export function rebornOf(before: Reborn | null, former: Incarnation, problems: readonly Problem[]): Reborn {
  const formers = [...(before?.formers ?? []), former].slice(-FORMERS_MAX);
  if (before !== null && isCutShort(problems)) return { formers, problems: before.problems };
  // That there was damage before says less than what it was.
  const telling = problems.filter(({ code }) => code !== 'DAMAGED_BEFORE');
  return { formers, problems: telling.length > 0 ? telling : problems };
}

/** Keys of what is on the disk now, for what a rebirth takes away. */
export interface Present {
  /** `l/` and `d/` above the prefix, and all of `c/`. */
  readonly log: readonly string[];
  /** All of `s/` and `z/` where the applied state is to be made anew from the log; null where it is whole. */
  readonly state: readonly string[] | null;
  /** Records of the layers above that can't be read. */
  readonly unreadable: readonly string[];
  /** What was noted about the store as it was. */
  readonly notes: readonly string[];
}

/**
 * The first turn of a store under a new incarnation, in its own place. Nothing that its former one promised or accepted is in it; the log as far as it can be
 * believed is, and so are the former one's own commands (`o/`), which are signed again once this one's session is open (R8).
 */
export function rebirthTurn(
  store: { readonly genesisBytes: Uint8Array; readonly incarnation: Incarnation },
  reborn: Reborn,
  kept: Restored,
  { log, state, unreadable, notes }: Present,
): JournalTurn {
  const gone = [...log, ...(state ?? []), ...unreadable, PROMISE_KEY, BLOCKED_KEY, TAIL_KEY, ...notes];
  const put = (key: string, value: Uint8Array): KvOp => ({ type: 'put', key, value });
  const ops: KvOp[] = [
    ...gone.map((key): KvOp => ({ type: 'del', key })),
    ...(state === null ? [] : genesisOps(store.genesisBytes)),
    ...kept.inForce.map(inForceOp),
    ...(kept.blockedFrom === null ? [] : [put(BLOCKED_KEY, encodeCbor(kept.blockedFrom))]),
    put(PREFIX_KEY, encodeCbor([kept.prefix, kept.digest])),
    groupRecord(store.genesisBytes, store.incarnation),
    put(REBORN_KEY, encodeReborn(reborn)),
  ];
  return { ops: ops.map(sealed), accepted: [], promise: null, lastOwnSeq: 0 };
}
