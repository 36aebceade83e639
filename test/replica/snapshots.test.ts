import { describe, expect, it } from 'vitest';
import { utf8 } from '../../shared/base/bytes.ts';
import { ZERO_HASH } from '../../shared/base/hash.ts';
import { groupIdOf, type PeerId, peerFromKey, type Slot, slot } from '../../shared/base/ids.ts';
import type { KvOp } from '../../shared/base/kv.ts';
import { Random } from '../../shared/base/random.ts';
import { appliedPlace, metaPlace, numberKey, recordHash, StateSum } from '../../shared/document/index.ts';
import {
  AREA_KEY,
  digestKey,
  logKey,
  MISSING_KEY,
  opening,
  PROMISE_KEY,
  STAGING_KEY,
} from '../../shared/driver/layout.ts';
import { MemoryStore } from '../../shared/driver/memory-store.ts';
import { Missing } from '../../shared/driver/missing.ts';
import { sealed } from '../../shared/driver/overlay.ts';
import type { KvRow, KvSnapshot } from '../../shared/driver/store.ts';
import { areaRange, named } from '../../shared/replica/area.ts';
import { decodeStaging, installOps, SnapshotFetch } from '../../shared/replica/snapshot-fetch.ts';
import { snapshotRanges, wholeEntries } from '../../shared/replica/snapshot-order.ts';
import { SnapshotServer } from '../../shared/replica/snapshot-server.ts';
import {
  decodeSnapshotMessage,
  encodeSnapshotMessage,
  type SnapshotCursor,
  type SnapshotMessage,
  type SnapshotPart,
} from '../../shared/wire/snapshot-messages.ts';

const ana = peerFromKey(new Uint8Array(32).fill(1));
const ben = peerFromKey(new Uint8Array(32).fill(2));
const genesis = new Uint8Array(32).fill(9);

const meta = (positions: number): Uint8Array =>
  metaPlace.codec.encode({
    group: groupIdOf(utf8('pumps')),
    alpha: 2,
    level: 1,
    title: 'Pumps',
    positions,
    judged: 1,
    keepers: 1,
    quorum: null,
  });

/** A state of so many entries at a slot, whole, as a store has it on its disk. */
function stateAt(at: number, positions: number, random: Random): Map<string, Uint8Array> {
  const rows = new Map<string, Uint8Array>([['s/meta', meta(positions)]]);
  for (let n = 1; n <= positions; n++) {
    rows.set(`s/p/${numberKey(n)}`, utf8(`entry ${n} at ${at}`));
    rows.set(`s/r/${numberKey(n)}/1`, random.bytes(1 + random.below(2000)));
    if (n % 5 === 0) rows.set(`s/r/${numberKey(n)}/2`, random.bytes(100));
    rows.set(`s/e/e${n}`, utf8(`${n}`));
  }
  for (const key of ['s/clock', 's/members', 's/m/someone', 's/s/someone/x', 's/v/00', 's/zz/later'])
    rows.set(key, random.bytes(20));
  const sum = new StateSum(ZERO_HASH);
  for (const [key, record] of rows) sum.add(recordHash(key, record));
  rows.set(
    appliedPlace.key,
    appliedPlace.codec.encode({ slot: slot(at), stateHash: sum.toBytes(), logBytes: 0, stateBytes: 0 }),
  );
  return rows;
}

function put(store: MemoryStore, rows: Iterable<readonly [string, Uint8Array]>): void {
  const ops = [...rows].map(([key, value]): KvOp => sealed({ type: 'put', key, value }));
  store.writeSync(ops, { sync: true });
}

function holding(at: number, state: Map<string, Uint8Array>): MemoryStore {
  const store = MemoryStore.create();
  put(store, state);
  put(store, [[digestKey(at), new Uint8Array(32).fill(at)]]);
  return store;
}

/** A store that fetches, started anew whenever that is wanted; what it writes is on its disk at once. */
class Guest {
  readonly store = MemoryStore.create();
  readonly problems: string[] = [];
  asked: SnapshotMessage[] = [];
  #now = 0;
  fetch: SnapshotFetch = this.#start();

  #start(): SnapshotFetch {
    const kv = opening({ get: (key) => this.store.get(key) });
    const staging = kv.get(STAGING_KEY);
    return new SnapshotFetch('s', staging === undefined ? null : decodeStaging(staging), {
      sources: () => [ana],
      ask: (_to: PeerId, ask) => this.asked.push(ask),
      write: (ops) => this.store.writeSync(ops.map(sealed), { sync: true }),
      isWritten: () => true,
      isClear: () => true,
      clear: () => {
        const rows = this.store.scanSync({ ...areaRange('z'), limit: 1e6 });
        this.store.writeSync(
          rows.map(([key]): KvOp => ({ type: 'del', key })),
          { sync: true },
        );
      },
      mayFetchValues: () => undefined,
      onProblem: (_code, message) => this.problems.push(message),
    });
  }

  restart(): void {
    this.fetch = this.#start();
  }

  tick(ticks = 1, headOnly = false): void {
    for (let n = 0; n < ticks; n++) this.fetch.tick(++this.#now, true, headOnly);
  }

  /** What stands in the area that the snapshot goes to. */
  get fetched(): Map<string, Uint8Array> {
    const kv = opening({ get: (key) => this.store.get(key) });
    const keys = this.store.scanSync({ ...areaRange('z'), limit: 1e6 }).map(([key]) => key);
    return new Map(keys.map((key) => [named(key), kv.get(key) as Uint8Array]));
  }
}

function serving(
  store: MemoryStore,
  partBytes = 256 * 1024,
  open: () => KvSnapshot = () => store.snapshotSync(),
): { server: SnapshotServer; sent: SnapshotPart[]; damage: string[] } {
  const sent: SnapshotPart[] = [];
  const damage: string[] = [];
  const server = new SnapshotServer({
    area: 's',
    alpha: 2,
    partBytes,
    open,
    // Through its bytes, as on the wire.
    send: (_to, part) => sent.push(decodeSnapshotMessage(encodeSnapshotMessage(part)) as SnapshotPart),
    onDamage: (_key, error) => damage.push((error as Error).message),
  });
  return { server, sent, damage };
}

/** Carries asks and parts to and fro until nothing is asked any more; `between` may do anything after each part. */
function carry(
  guest: Guest,
  server: SnapshotServer,
  sent: SnapshotPart[],
  between: (n: number) => void = () => undefined,
): number {
  let n = 0;
  for (let idle = 0; idle < 3; ) {
    guest.tick();
    const asks = guest.asked.splice(0);
    idle = asks.length === 0 ? idle + 1 : 0;
    for (const ask of asks) if (ask.type === 'snapshot-ask') server.onAsk(ben, ask);
    for (const part of sent.splice(0)) guest.fetch.onPart(ana, part);
    if (asks.length > 0) between(++n);
  }
  return n;
}

describe('a snapshot', () => {
  const random = new Random(7);
  const state = stateAt(90, 1200, random);

  it('brings every row of the state, and says at which slot', () => {
    const guest = new Guest();
    const { server, sent } = serving(holding(90, state));
    expect(carry(guest, server, sent)).toBeGreaterThan(3);
    expect(guest.fetch.ready).toMatchObject({ slot: 90, positions: 1200 });
    expect(guest.fetched).toEqual(state);
  });

  it('begins with what is small and the newest entries', () => {
    const { server, sent } = serving(holding(90, state));
    server.onAsk(ben, { type: 'snapshot-ask', slot: null, cursor: null, headOnly: false });
    const keys = sent[0]?.rows.map(([key]) => key) ?? [];
    const first = keys.findIndex((key) => key.startsWith('s/p/'));
    expect(keys.slice(0, first)).toEqual(
      expect.arrayContaining(['s/applied', 's/meta', 's/members', 's/m/someone', 's/zz/later']),
    );
    const entries = keys.filter((key) => key.startsWith('s/p/'));
    expect(keys[first]).toBe(`s/p/${numberKey(1151)}`);
    expect(entries).toHaveLength(500);
    expect(entries.toSorted()[0]).toBe(`s/p/${numberKey(701)}`);
  });

  it.each([0, 1, 499, 500, 501, 1200, 400_000])(
    'goes through every place of a state of %i entries once',
    (positions) => {
      const ranges = [...snapshotRanges(positions)].sort((a, b) => (a.gte < b.gte ? -1 : 1));
      // As many as a cursor can count.
      expect(ranges.length).toBeLessThanOrEqual(64);
      expect(ranges[0]?.gte).toBe('s/');
      expect(ranges.at(-1)?.lt).toBe('s0');
      expect(ranges.map(({ lt }) => lt)).toEqual([...ranges.slice(1).map(({ gte }) => gte), 's0']);
    },
  );

  it('brings the entries newest block first, and each that it calls whole with all of its rows', () => {
    const guest = new Guest();
    const { server, sent } = serving(holding(90, state), 20_000);
    let before = 0;
    carry(guest, server, sent, () => {
      const whole = wholeEntries(1200, guest.fetch.staging?.cursor ?? null);
      const rows = guest.fetched;
      const positions = whole.flatMap(({ from, to }) => Array.from({ length: to - from + 1 }, (_, i) => from + i));
      const isWhole = (n: number): boolean => {
        const at = numberKey(n);
        return rows.has(`s/p/${at}`) && rows.has(`s/r/${at}/1`) && rows.has(`s/r/${at}/2`) === (n % 5 === 0);
      };
      expect(positions.filter((n) => !isWhole(n))).toEqual([]);
      expect(positions.length).toBeGreaterThanOrEqual(before);
      if (positions.length < 500) expect(Math.min(701, ...positions)).toBe(701);
      before = positions.length;
    });
    expect(before).toBe(1200);
  });

  it('is read no further than a part is long, and one row', () => {
    const large = stateAt(90, 40, random);
    for (let n = 1; n <= 40; n++) large.set(`s/r/${numberKey(n)}/1`, random.bytes(50_000));
    const store = holding(90, large);
    const read: number[] = [];
    const { server, sent } = serving(store, 120_000, () => {
      const snapshot = store.snapshotSync();
      return {
        ...snapshot,
        scan: (range) => {
          const rows = snapshot.scan(range) as readonly KvRow[];
          read.push(rows.reduce((sum, [key, value]) => sum + key.length + value.length, 0));
          return rows;
        },
      };
    });
    let cursor: SnapshotCursor | null = null;
    let at: Slot | null = null;
    const keys: string[] = [];
    do {
      read.length = 0;
      server.onAsk(ben, { type: 'snapshot-ask', slot: at, cursor, headOnly: false });
      const part = sent.pop() as SnapshotPart;
      expect(read.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThan(120_000 + 51_000);
      keys.push(...part.rows.map(([key]) => key));
      [cursor, at] = [part.next, part.header.slot];
    } while (cursor !== null);
    expect(keys.toSorted()).toEqual([...large.keys()].toSorted());
  });

  it('goes on at another source that stands at the same slot', () => {
    const guest = new Guest();
    let { server, sent } = serving(holding(90, state));
    guest.tick();
    for (const ask of guest.asked.splice(0)) if (ask.type === 'snapshot-ask') server.onAsk(ben, ask);
    const first = sent[0] as SnapshotPart;
    for (const part of sent.splice(0)) guest.fetch.onPart(ana, part);
    ({ server, sent } = serving(holding(90, state)));
    guest.tick();
    for (const ask of guest.asked.splice(0)) if (ask.type === 'snapshot-ask') server.onAsk(ben, ask);
    expect(sent[0]?.cursor).toEqual(first.next);
    carry(guest, server, sent);
    expect(guest.fetched).toEqual(state);
  });

  it('goes on where it was after a restart between any two parts, while the source goes on writing', () => {
    const guest = new Guest();
    const store = holding(90, state);
    const { server, sent } = serving(store);
    let parts = 0;
    carry(guest, server, sent, (n) => {
      parts = n;
      put(store, [[`s/p/${numberKey(3)}`, utf8(`changed ${n}`)]]);
      guest.restart();
    });
    expect(guest.fetched).toEqual(state);
    const again = new Guest();
    const other = serving(holding(90, state));
    expect(parts).toBe(carry(again, other.server, other.sent));
  });

  it('begins anew, in an empty place, where the source has only another one', () => {
    const guest = new Guest();
    const first = serving(holding(90, state));
    for (let n = 0; n < 2; n++) {
      guest.tick();
      for (const ask of guest.asked.splice(0)) if (ask.type === 'snapshot-ask') first.server.onAsk(ben, ask);
      for (const part of first.sent.splice(0)) guest.fetch.onPart(ana, part);
    }
    expect(guest.fetched.size).toBeGreaterThan(0);
    // With fewer entries, so that leftovers would show.
    const smaller = stateAt(70, 10, random);
    const second = serving(holding(70, smaller));
    carry(guest, second.server, second.sent);
    expect(guest.fetch.ready?.slot).toBe(70);
    expect(guest.fetched).toEqual(smaller);
  });

  it.each([
    [
      'a row changed',
      (part: SnapshotPart) => ({
        ...part,
        rows: part.rows.map(([key, record], i) => [key, i === 5 ? utf8('other') : record] as const),
      }),
    ],
    ['a row left out', (part: SnapshotPart) => ({ ...part, rows: part.rows.filter((_, i) => i !== 5) })],
    [
      'a row twice',
      (part: SnapshotPart) => ({
        ...part,
        rows: [...part.rows, part.rows.find(([key]) => key !== 's/applied') as (typeof part.rows)[0]],
      }),
    ],
    [
      'the slot left out',
      (part: SnapshotPart) => ({ ...part, rows: part.rows.filter(([key]) => key !== 's/applied') }),
    ],
    ['another slot than its rows', (part: SnapshotPart) => ({ ...part, header: { ...part.header, slot: slot(91) } })],
    [
      'a row that is no state',
      (part: SnapshotPart) => ({ ...part, rows: [['m/promise', utf8('x')] as const, ...part.rows] }),
    ],
  ])('is not taken with %s', (_, bend) => {
    const small = stateAt(90, 20, random);
    const guest = new Guest();
    const { server, sent } = serving(holding(90, small));
    guest.tick();
    for (const ask of guest.asked.splice(0)) if (ask.type === 'snapshot-ask') server.onAsk(ben, ask);
    for (const part of sent.splice(0)) guest.fetch.onPart(ana, bend(part));
    expect(guest.problems).toHaveLength(1);
    expect(guest.fetch.ready).toBeNull();
    expect(guest.store.get('m/promise')).toBeUndefined();
  });

  it('with a damaged row is given to nobody', () => {
    const store = holding(90, stateAt(90, 20, random));
    store.writeSync([{ type: 'put', key: `s/p/${numberKey(4)}`, value: utf8('rotten') }], { sync: true });
    const { server, sent, damage } = serving(store);
    server.onAsk(ben, { type: 'snapshot-ask', slot: null, cursor: null, headOnly: false });
    expect(sent).toEqual([]);
    expect(damage).toHaveLength(1);
    server.onAsk(ben, { type: 'snapshot-ask', slot: null, cursor: null, headOnly: false });
    expect(damage).toHaveLength(2);
  });

  it('is a header alone for a witness', () => {
    const guest = new Guest();
    const { server, sent } = serving(holding(90, state));
    guest.tick(1, true);
    for (const ask of guest.asked.splice(0)) if (ask.type === 'snapshot-ask') server.onAsk(ben, ask);
    for (const part of sent.splice(0)) guest.fetch.onPart(ana, part);
    expect(guest.fetch.ready?.slot).toBe(90);
    expect(guest.fetched.size).toBe(0);
  });
});

describe('installing', () => {
  const header = {
    slot: slot(90),
    digest: genesis,
    state: genesis,
    configurations: [],
    blockedFrom: null,
    positions: 3,
  };
  const from = { header, area: 's' as const, prefix: slot(40), missing: Missing.NONE, headOnly: false };
  const keys = (ops: readonly KvOp[], type: KvOp['type']): string[] =>
    ops.filter((op) => op.type === type).map(({ key }) => key);

  it('keeps what was accepted above the snapshot, and the promise', () => {
    const ops = installOps({ ...from, accepted: [slot(41), slot(90), slot(91), slot(104)] });
    expect(keys(ops, 'del')).toEqual([STAGING_KEY, logKey(41), logKey(90)]);
    expect(keys(ops, 'put')).not.toContain(PROMISE_KEY);
  });

  it('names what of the log is not here from then on', () => {
    const ops = installOps({ ...from, accepted: [] });
    const missing = ops.find(({ key }) => key === MISSING_KEY) as { value: Uint8Array };
    expect(Missing.decode(missing.value).ranges).toEqual([{ from: 41, to: 90 }]);
  });

  it('only moves the state where the log is further than the snapshot', () => {
    const ops = installOps({ ...from, prefix: slot(95), accepted: [slot(96)] });
    expect(ops.map(({ key }) => key)).toEqual([STAGING_KEY, AREA_KEY]);
  });
});
