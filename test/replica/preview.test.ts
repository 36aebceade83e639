import { describe, expect, it } from 'vitest';
import { utf8 } from '../../shared/base/bytes.ts';
import { type EntryId, groupIdOf, type Position, peerFromKey, position, slot } from '../../shared/base/ids.ts';
import { type EntryView, entryView } from '../../shared/document/index.ts';
import {
  appliedPlace,
  type EntryRecord,
  entryPlace,
  metaPlace,
  type Place,
  type RevisionRecord,
  revisionPlace,
} from '../../shared/document/records.ts';
import { KEEPING_LIMITS } from '../../shared/replica/keeping.ts';
import { Preview } from '../../shared/replica/preview.ts';
import type { Replica } from '../../shared/replica/replica.ts';
import { isSnapshotSooner } from '../../shared/replica/snapshot-choice.ts';
import type { Staging } from '../../shared/replica/snapshot-fetch.ts';
import type { SimNode } from '../../shared/sim/node.ts';
import { QuietGroup } from './quiet-group.ts';

/** A snapshot after a few slots, in parts so small that it takes hundreds of ticks. */
const SLOWLY = { ...KEEPING_LIMITS, snapshotLagSlots: 5, snapshotPartBytes: 16_000 };
/** So long that the second values are asked for after it was seen how far behind a machine is. Milliseconds. */
const LINK_MS = 60;

const ENTRIES = 560;

/** A group of one with so many entries, some of them edited or removed; the second machine is let in at the end. */
function withNewcomer(): QuietGroup {
  const group = new QuietGroup(2, { later: 1, limits: SLOWLY, linkMs: LINK_MS });
  for (let n = 1; n <= ENTRIES; n++) {
    group.write(0, { kind: 'create', key: null, text: `entry ${n} ${'x'.repeat(2_000)}` });
    if (n % 40 === 0) group.run(0.5);
  }
  group.run(1);
  const { reader } = group.at(0);
  for (const n of [3, 100, 300, 555]) {
    const { id, tag, revision } = reader.entryAt(position(n)) as EntryRecord;
    if (n === 300) group.write(0, { kind: 'remove', entry: id });
    else
      group.write(0, {
        kind: 'edit',
        entry: id,
        baseRevision: revision,
        baseTag: tag,
        text: `edited ${n}`,
        overlap: false,
      });
  }
  group.run(1);
  group.admit(group.nodes[1] as SimNode);
  return group;
}

const viewAt = ({ reader }: Replica, at: number): EntryView | undefined =>
  entryView(reader, reader.entryAt(at as Position));

describe('while a snapshot is on its way', () => {
  it('its entries can be read as they come, the newest first, and are the same once they are verified', () => {
    const group = withNewcomer();
    const founder = group.at(0);
    let applied: unknown = null;
    let before = 0;
    let wasFirst = false;
    for (let n = 0; n < 4_000 && group.at(1).applied < founder.applied; n++) {
      group.run(0.05);
      const replica = group.at(1);
      const { preview } = replica;
      if (preview === null) continue;
      // Nothing of it is applied: all stays as it was when it began.
      const now = [replica.applied, replica.reader.positions(), replica.appliedDigest, replica.reader.stateHash()];
      applied ??= now;
      expect(now).toEqual(applied);
      expect(preview.positions).toBe(ENTRIES);
      const count = preview.countAfter(0);
      expect(count).toBeGreaterThanOrEqual(before);
      if (count > 0 && count < 500) {
        wasFirst = true;
        expect(preview.ranges.every(({ from }) => from > ENTRIES - 500)).toBe(true);
      }
      if (count === before) continue;
      before = count;
      for (const { from, to } of preview.ranges) {
        for (const at of [from, to, 300, 555].filter((each) => from <= each && each <= to)) {
          expect(preview.show(at, (reader, entry) => entryView(reader, entry))).toEqual(viewAt(founder, at));
        }
      }
    }
    expect(wasFirst).toBe(true);
    expect(before).toBe(ENTRIES);
    const replica = group.at(1);
    expect(replica.preview).toBeNull();
    expect(replica.reader.positions()).toBe(ENTRIES);
    for (let at = 1; at <= ENTRIES; at++) expect(viewAt(replica, at)).toEqual(viewAt(founder, at));
    expect(replica.reader.stateHash()).toEqual(founder.reader.stateHash());
    expect(replica.reader.sizes()).toEqual(founder.reader.sizes());
  });

  it('a newcomer writes, and what it wrote gets its place before the snapshot is here', () => {
    const group = withNewcomer();
    for (let n = 0; n < 400 && group.at(1).preview === null; n++) group.run(0.05);
    const { applied } = group.at(1);
    group.write(1, { kind: 'create', key: null, text: 'first' });
    group.write(1, { kind: 'create', key: null, text: 'second' });
    group.run(1);
    expect(group.at(1).applied).toBe(applied);
    expect(group.at(1).preview?.positions).toBe(ENTRIES);
    expect([ENTRIES + 1, ENTRIES + 2].map((at) => viewAt(group.at(0), at)?.text)).toEqual(['first', 'second']);
    expect(group.at(1).outbox.pending).toBe(2);
    group.run(60);
    expect(group.at(1).outbox.pending).toBe(0);
    expect(group.at(1).reader.positions()).toBe(ENTRIES + 2);
    group.write(1, { kind: 'create', key: null, text: 'third' });
    group.run(1);
    expect(viewAt(group.at(0), ENTRIES + 3)?.text).toBe('third');
  });
});

describe('of what somebody sent as a snapshot is shown', () => {
  const group = groupIdOf(utf8('pumps'));
  const author = peerFromKey(new Uint8Array(32).fill(1));
  const tag = new Uint8Array(8).fill(1);
  const id = `e${'a'.repeat(25)}` as EntryId;
  const entry: EntryRecord = {
    id,
    position: position(1),
    slot: slot(5),
    revision: 2,
    removed: false,
    tag,
    textRevision: 2,
  };
  const first: RevisionRecord = {
    slot: slot(5),
    author,
    writer: 'Ana',
    timeMs: 1,
    offsetMinutes: 0,
    placedMs: 1,
    kind: 'create',
    text: 'one',
    textRevision: 1,
    tag: new Uint8Array(8),
    overlap: false,
    clock: null,
  };
  const second: RevisionRecord = { ...first, slot: slot(6), kind: 'edit', text: 'two', textRevision: 2, tag };
  const meta = { group, alpha: 2, level: 1, title: 'Pumps', positions: 1, judged: 2, keepers: 1, quorum: null };
  const header = {
    slot: slot(9),
    digest: new Uint8Array(32),
    state: new Uint8Array(32),
    configurations: [],
    blockedFrom: null,
    positions: 1,
  };
  const whole: Staging = { header, cursor: null, sum: new Uint8Array(32) };
  type Rows = Map<string, Uint8Array>;
  const put = <T>(rows: Rows, { key, codec }: Place<T>, record: T): unknown => rows.set(key, codec.encode(record));

  function textShown(bend: (rows: Rows) => unknown = () => {}, staging = whole): string | null {
    const rows: Rows = new Map();
    put(rows, appliedPlace, { slot: slot(9), stateHash: header.state, logBytes: 1, stateBytes: 1 });
    put(rows, metaPlace, meta);
    put(rows, entryPlace(position(1)), entry);
    put(rows, revisionPlace(position(1), 1), first);
    put(rows, revisionPlace(position(1), 2), second);
    bend(rows);
    const preview = Preview.of(group, { get: (key) => rows.get(key) }, staging);
    return preview?.show(1, (reader, each) => entryView(reader, each).text) ?? null;
  }

  it('an entry whose records fit each other', () => {
    expect(textShown()).toBe('two');
  });

  it('nothing before all that is small has come, and no entry before its last row', () => {
    const at = (range: number, after = ''): Staging => ({ ...whole, cursor: { range, after } });
    expect(textShown(() => {}, at(3))).toBeNull();
    expect(textShown(() => {}, at(5))).toBeNull();
    expect(textShown(() => {}, at(5, revisionPlace(position(1), 1).key))).toBeNull();
    expect(textShown(() => {}, at(6))).toBe('two');
  });

  it.each<[string, (rows: Rows) => unknown]>([
    ['another group', (rows) => put(rows, metaPlace, { ...meta, group: groupIdOf(utf8('valves')) })],
    ['another number of entries', (rows) => put(rows, metaPlace, { ...meta, positions: 2 })],
    [
      'another slot',
      (rows) => put(rows, appliedPlace, { slot: slot(8), stateHash: header.state, logBytes: 1, stateBytes: 1 }),
    ],
    ['another place', (rows) => put(rows, entryPlace(position(1)), { ...entry, position: position(2) })],
    ['a slot after the snapshot', (rows) => put(rows, entryPlace(position(1)), { ...entry, slot: slot(10) })],
    ['a creation in another slot', (rows) => put(rows, revisionPlace(position(1), 1), { ...first, slot: slot(4) })],
    ['a change after the snapshot', (rows) => put(rows, revisionPlace(position(1), 2), { ...second, slot: slot(10) })],
    ['another change than it names', (rows) => put(rows, revisionPlace(position(1), 2), { ...second, tag: first.tag })],
    [
      'a removal that removes nothing',
      (rows) => put(rows, revisionPlace(position(1), 2), { ...second, kind: 'remove' }),
    ],
    ['a text that nobody could write', (rows) => put(rows, revisionPlace(position(1), 2), { ...second, text: 'a\rb' })],
    ['a revision that is not there', (rows) => rows.delete(revisionPlace(position(1), 2).key)],
    ['bytes that are no record', (rows) => rows.set(entryPlace(position(1)).key, utf8('rotten'))],
    ['bytes that are no counter', (rows) => rows.set(metaPlace.key, utf8('rotten'))],
  ])('and not with %s', (_, bend) => {
    expect(textShown(bend)).toBeNull();
  });
});

describe('a snapshot is taken instead of the values', () => {
  const small = { snapshotLagSlots: 256, snapshotLagBytes: 1_000_000 };
  const sooner = (slots: number, behind: number, own: number, state: number): boolean =>
    isSnapshotSooner(
      { slots, theirs: { logBytes: own + behind, stateBytes: state }, own: { logBytes: own, stateBytes: 0 } },
      small,
    );

  it.each([
    ['where little is missing, by slots and by bytes', 255, 999_999, 600_000, 1_000, false],
    ['by a newcomer that lacks much, in however few slots', 100, 600_000, 200_000, 50_000_000, true],
    ['by a newcomer that lacks little', 100, 500_000, 0, 1_000, false],
    ['by one that follows in a young log with large entries', 64, 999_000, 1_000, 1_000, false],
    ['by a store without entries, whatever the state', 256, 10, 0, 50_000_000, true],
    ['where the values are heavy, however few', 20, 30_000_000, 10_000_000, 40_000_000, true],
    ['where the values are light, however many', 5_000, 100_000, 39_900_000, 40_000_000, false],
    ['where twice the values come to the state', 256, 50, 50, 100, true],
    ['where twice the values do not', 256, 49, 51, 100, false],
    ['by one that the other says is further', 300, -1_000, 2_000, 1_000, false],
  ])('%s: %i slots, %i bytes behind after %i, a state of %i', (_, slots, behind, own, state, taken) => {
    expect(sooner(slots, behind, own, state)).toBe(taken);
  });

  const create = (length: number) => ({ kind: 'create', key: null, text: 'x'.repeat(length) }) as const;

  /** The second machine has a log of `before`, and is away for `meanwhile`. */
  function isTakenAfter(before: readonly number[], meanwhile: readonly number[]): boolean {
    const group = new QuietGroup(2, { limits: SLOWLY, linkMs: LINK_MS });
    const write = (lengths: readonly number[]): void => {
      for (const length of lengths) {
        group.write(0, create(length));
        group.run(0.3);
      }
    };
    write(before);
    group.cut(1);
    write(meanwhile);
    const { applied } = group.at(1);
    expect(applied).toBeLessThan(group.at(0).applied);
    group.join(1);
    group.run(60);
    expect(group.at(1).reader.stateHash()).toEqual(group.at(0).reader.stateHash());
    return group.snapshotAsks > 0;
  }

  const few = (length: number): number[] => new Array(10).fill(length);
  const many = (length: number): number[] => new Array(40).fill(length);

  it('after few slots with long texts, where the log before was short', () => {
    expect(isTakenAfter(many(10), few(60_000))).toBe(true);
  });

  it('and not after many with short texts, where what is here is most of the state', () => {
    expect(isTakenAfter(few(20_000), many(10))).toBe(false);
  });
});
