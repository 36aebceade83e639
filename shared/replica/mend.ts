import { equal } from '../base/bytes.ts';
import { asArray, asInteger, type Cbor } from '../base/cbor.ts';
import { ZERO_HASH } from '../base/hash.ts';
import { type PeerId, type Slot, slot } from '../base/ids.ts';
import type { KvOp, KvReader } from '../base/kv.ts';
import {
  appliedPlace,
  batchHash,
  genesisOps,
  memberPlace,
  metaPlace,
  recordHash,
  StateSum,
} from '../document/index.ts';
import {
  AREA_KEY,
  decodeDigest,
  decodeLogRecord,
  digestKey,
  logKey,
  opening,
  openRecord,
  STAGING_KEY,
} from '../driver/layout.ts';
import { Missing } from '../driver/missing.ts';
import { sealed } from '../driver/overlay.ts';
import { numberOfKey, prefixRange } from '../driver/records.ts';
import { storedPrefix } from '../driver/restore.ts';
import { type Area, areaRange, named, placed } from './area.ts';
import { missingOp } from './history.ts';
import { decodeMendNote, MENDED_KEY, type MendNote, mendedAgain, mendNoteOp } from './mending.ts';
import { isDamage, wholeValue } from './salvage.ts';
import { type Answer, type Ask, keysOf, scanPages } from './scanning.ts';

/** What damage took that others have. */
export interface Mended {
  /** Slots whose values are fetched again. */
  readonly slots: number;
  /** The applied state is made anew, from the log or from a snapshot. */
  readonly isStateLost: boolean;
}

/** What a store must hold as it is, and is known to. */
export interface Vouched {
  readonly genesisBytes: Uint8Array;
  readonly genesisDigest: Uint8Array;
  /** `[slot, ballot, hash]` of all that was accepted above the prefix. */
  readonly accepted: readonly Cbor[];
  readonly missing: Missing;
  readonly area: Area;
  /** Or else a record was found damaged. */
  readonly isDatabaseBroken: boolean;
}

/** More separate holes than this are fetched as one. */
const HOLES_MAX = 1024;
/** Slots looked at at once. */
const PAGE_SLOTS = 64;

/**
 * What mends a store in its place (R6): everything that it alone has is here, promises and acceptances among it, and so it goes on as the acceptor that
 * it was. Chosen values that are gone are missing from now on, and come back as history does, chained to the digests around them; an applied state that does not
 * add up is made anew. Reads the whole log.
 */
export function* mendingOps(
  kv: KvReader,
  vouched: Vouched,
): Generator<Ask, { ops: readonly KvOp[]; mended: Mended }, Answer> {
  const { genesisDigest, accepted } = vouched;
  const { prefix, digest } = storedPrefix(opening(kv), genesisDigest);
  const missing = yield* holesIn(vouched, prefix, digest);
  const ops: KvOp[] = [];
  const del = (key: string): void => void ops.push({ type: 'del', key });

  const listed = new Set(accepted.map((row) => asInteger(asArray(row, 3)[0])));
  for (const key of yield* keysOf({ gte: logKey(prefix + 1), lt: 'l0' }))
    if (!listed.has(numberOfKey('l/', key))) del(key);
  for (const key of yield* keysOf({ gte: digestKey(prefix + 1), lt: 'd0' })) del(key);
  let slots = 0;
  let lost = Missing.NONE;
  for (const { from, to } of missing.ranges) {
    for (let at = from; at <= to; at = slot(at + 1)) {
      if (vouched.missing.at(at) !== null) continue;
      slots++;
      lost = lost.with({ from: at, to: at });
      del(logKey(at));
      if (whole(kv, digestKey(at), decodeDigest) === null) del(digestKey(at));
    }
  }
  if (slots > 0) ops.push(sealed(missingOp(missing)));
  if (prefix > 0) ops.push(sealed({ type: 'put', key: digestKey(prefix), value: digest }));

  // A record that only looked damaged, or that is at odds with another one: the state made anew is at one with the log.
  const isNothing = slots === 0 && !vouched.isDatabaseBroken;
  const isStateLost = isNothing || !(yield* isStateWhole(kv, vouched.area, prefix));
  if (slots > 0 || isStateLost) {
    const called = isStateLost ? yield* namesIn(kv, vouched.area) : { title: null, names: new Map<PeerId, string>() };
    const note = { upTo: prefix, isStateLost, slots: lost, ...called };
    ops.push(sealed(mendNoteOp(mendedAgain(whole(kv, MENDED_KEY, decodeMendNote), note))));
  }
  if (isStateLost) {
    for (const area of ['s', 'z'] as const) for (const key of yield* keysOf(areaRange(area))) del(key);
    ops.push(...genesisOps(vouched.genesisBytes).map(sealed));
    del(AREA_KEY);
  }
  // What was fetched of a snapshot is not worth holding against anything.
  del(STAGING_KEY);
  return { ops, mended: { slots, isStateLost } };
}

/** What the log and its members are called, as far as that can be read: it is looked for before the records go. */
function* namesIn(kv: KvReader, area: Area): Generator<Ask, Pick<MendNote, 'title' | 'names'>, Answer> {
  const names = new Map<PeerId, string>();
  const prefix = placed(area, memberPlace('' as PeerId).key);
  yield* scanPages(prefixRange(prefix), (rows) => {
    for (const [at, record] of rows) {
      const peer = at.slice(prefix.length) as PeerId;
      const member = whole(new Map([[at, record]]), at, (payload) => memberPlace(peer).codec.decode(payload));
      if (member !== null && member.expelledSlot === null) names.set(peer, member.name);
    }
  });
  const meta = whole(kv, placed(area, metaPlace.key), (record) => metaPlace.codec.decode(record));
  return { title: meta?.title ?? null, names };
}

/** What is missing, and every slot whose value does not lead from the digest before it to the one after it. */
function* holesIn(
  { genesisDigest, missing }: Vouched,
  prefix: Slot,
  digest: Uint8Array,
): Generator<Ask, Missing, Answer> {
  const holes: { from: Slot; to: Slot }[] = [];
  // Null where the digest before the slot is not known.
  let before: Uint8Array | null = genesisDigest;
  let log: KvReader = { get: () => undefined };
  for (let at = slot(1); at <= prefix; at = slot(at + 1)) {
    if ((at - 1) % PAGE_SLOTS === 0) log = yield* pageOf(at, slot(Math.min(prefix, at + PAGE_SLOTS - 1)));
    const after = at === prefix ? digest : whole(log, digestKey(at), decodeDigest);
    if (missing.at(at) !== null) {
      before = after;
      continue;
    }
    const found = before && wholeValue(log, at, before);
    if (found && after && equal(found.digest, after)) {
      before = after;
      continue;
    }
    const last = holes.at(-1);
    if (last?.to === at - 1) last.to = at;
    else holes.push({ from: at, to: at });
    // Where both are here and don't lead to each other, one of the digests is wrong, and it can't be told which.
    const isOdd: boolean =
      before !== null && whole(log, logKey(at), (record) => decodeLogRecord(record, batchHash)) !== null;
    before = isOdd ? null : after;
  }
  const [first] = holes;
  const last = holes.at(-1);
  if (first && last && holes.length > HOLES_MAX) return missing.with({ from: first.from, to: last.to });
  return holes.reduce((all, hole) => all.with(hole), missing);
}

function* pageOf(from: Slot, to: Slot): Generator<Ask, KvReader, Answer> {
  const page = new Map<string, Uint8Array>();
  for (const key of [logKey, digestKey]) {
    yield* scanPages({ gte: key(from), lt: key(to + 1) }, (rows) => {
      for (const [name, record] of rows) page.set(name, record);
    });
  }
  return page;
}

function whole<T>(kv: KvReader, key: string, decode: (record: Uint8Array) => T): T | null {
  const record = kv.get(key);
  try {
    return record === undefined ? null : decode(openRecord(key, record));
  } catch (error) {
    if (isDamage(error)) return null;
    throw error;
  }
}

/** The records of the applied state add up to the hash that stands with them, and no slot after the prefix is in it. */
function* isStateWhole(kv: KvReader, area: Area, prefix: Slot): Generator<Ask, boolean, Answer> {
  const key = placed(area, appliedPlace.key);
  const applied = whole(kv, key, (record) => appliedPlace.codec.decode(record));
  if (applied === null || applied.slot > prefix) return false;
  const sum = new StateSum(ZERO_HASH);
  let isWhole = true;
  yield* scanPages(areaRange(area), (rows) => {
    for (const [at, record] of rows) {
      const payload = at === key ? null : whole(new Map([[at, record]]), at, (each) => each);
      if (payload !== null) sum.add(recordHash(named(at), payload));
      else if (at !== key) isWhole = false;
    }
  });
  return isWhole && equal(sum.toBytes(), applied.stateHash);
}
