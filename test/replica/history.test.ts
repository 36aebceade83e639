import { describe, expect, it } from 'vitest';
import { utf8 } from '../../shared/base/bytes.ts';
import { peerFromKey, type Slot, slot } from '../../shared/base/ids.ts';
import type { KvOp } from '../../shared/base/kv.ts';
import { nextDigest } from '../../shared/consensus/ledger.ts';
import { NOOP } from '../../shared/consensus/value.ts';
import { digestKey, learnedRecord, logKey, opening } from '../../shared/driver/layout.ts';
import { MemoryStore } from '../../shared/driver/memory-store.ts';
import { Missing } from '../../shared/driver/missing.ts';
import { sealed } from '../../shared/driver/overlay.ts';
import { HistoryFetch, serveHistory } from '../../shared/replica/history.ts';
import { decodeSnapshotMessage, encodeSnapshotMessage, type HistoryPart } from '../../shared/wire/snapshot-messages.ts';

const ana = peerFromKey(new Uint8Array(32).fill(1));
const ben = peerFromKey(new Uint8Array(32).fill(2));
const genesis = new Uint8Array(32).fill(9);

function put(store: MemoryStore, rows: Iterable<readonly [string, Uint8Array]>): void {
  const ops = [...rows].map(([key, value]): KvOp => sealed({ type: 'put', key, value }));
  store.writeSync(ops, { sync: true });
}

describe('history', () => {
  const LAST = 700;

  function log(): MemoryStore {
    const store = MemoryStore.create();
    let digest: Uint8Array = genesis;
    for (let at = 1; at <= LAST; at++) {
      digest = nextDigest(digest, slot(at), NOOP.hash);
      put(store, [
        [logKey(at), learnedRecord(NOOP)],
        [digestKey(at), digest],
      ]);
    }
    return store;
  }

  const whole = log();
  const unexpected = (key: string): never => {
    throw new Error(`${key} is damaged`);
  };
  const reading = (store: MemoryStore) => opening({ get: (key) => store.get(key) });

  /** Holds nothing up to `to` but what a snapshot brings, and perhaps a few of the first slots. */
  function behind(to: Slot, held = 0) {
    const store = MemoryStore.create();
    for (const at of [...Array.from({ length: held }, (_, i) => i + 1)]) {
      put(store, [
        [logKey(at), reading(whole).get(logKey(at)) as Uint8Array],
        [digestKey(at), reading(whole).get(digestKey(at)) as Uint8Array],
      ]);
    }
    put(store, [[digestKey(to), reading(whole).get(digestKey(to)) as Uint8Array]]);
    let missing = Missing.NONE.with({ from: slot(held + 1), to });
    const problems: string[] = [];
    const asked: Slot[] = [];
    const history = new HistoryFetch({
      kv: reading(store),
      genesis,
      missing: () => missing,
      sources: () => [ana, ben],
      ask: (_to, ask) => asked.push(ask.to),
      take: (ops, rest) => {
        put(
          store,
          ops.map((op) => [op.key, (op as { value: Uint8Array }).value] as const),
        );
        missing = rest;
      },
      isWritten: () => true,
      onProblem: (_code, message) => problems.push(message),
      onDamage: unexpected,
    });
    return { store, history, asked, problems, missing: () => missing };
  }

  function run(guest: ReturnType<typeof behind>, bend: (part: HistoryPart) => HistoryPart = (part) => part): void {
    for (let now = 1; now < 60; now++) {
      guest.history.tick(now, true);
      const to = guest.asked.shift();
      if (to === undefined) continue;
      const part = decodeSnapshotMessage(
        encodeSnapshotMessage(serveHistory(reading(whole), Missing.NONE, to, genesis, unexpected)),
      );
      // Either of the two may have been asked.
      for (const from of [ana, ben]) guest.history.onPart(from, bend(part as HistoryPart));
    }
  }

  it.each([0, 5, 200])('comes from the back until nothing is missing, where the first %i are held', (held) => {
    const guest = behind(slot(LAST), held);
    run(guest);
    expect(guest.missing().isEmpty).toBe(true);
    for (let at = 1; at <= LAST; at++) {
      expect(guest.store.get(logKey(at))).toEqual(whole.get(logKey(at)));
      expect(guest.store.get(digestKey(at))).toEqual(whole.get(digestKey(at)));
    }
    expect(guest.problems).toEqual([]);
  });

  it.each([
    [
      'another value',
      (part: HistoryPart) => ({
        ...part,
        values: part.values.map((value, i) => (i === 0 ? Uint8Array.of(1, 0x80) : value)),
      }),
    ],
    ['a value left out', (part: HistoryPart) => ({ ...part, values: part.values.slice(0, -1) })],
    ['another beginning', (part: HistoryPart) => ({ ...part, before: new Uint8Array(32) })],
    ['what is no value', (part: HistoryPart) => ({ ...part, values: [Uint8Array.of(99), ...part.values] })],
  ])('with %s is not taken', (_, bend) => {
    const guest = behind(slot(LAST));
    run(guest, bend);
    expect(guest.missing().ranges).toEqual([{ from: 1, to: LAST }]);
    expect(guest.problems.length).toBeGreaterThan(0);
  });

  it('that does not meet what was there before the gap is not taken', () => {
    const guest = behind(slot(LAST), 5);
    put(guest.store, [[digestKey(5), new Uint8Array(32)]]);
    run(guest);
    expect(guest.missing().at(6)).not.toBeNull();
    expect(guest.problems.length).toBeGreaterThan(0);
  });

  it('is not given from where it is missing', () => {
    const gap = Missing.NONE.with({ from: slot(300), to: slot(400) });
    expect(serveHistory(reading(whole), gap, slot(400), genesis, unexpected).values).toEqual([]);
    expect(serveHistory(reading(whole), gap, slot(420), genesis, unexpected).values).toHaveLength(20);
  });

  it('is given as far as it can be read; a record that is not what it was is told of, and ends nothing', () => {
    const store = log();
    store.writeSync([{ type: 'put', key: logKey(650), value: utf8('rotten') }], { sync: true });
    const damaged: string[] = [];
    const part = serveHistory(reading(store), Missing.NONE, slot(LAST), genesis, (key) => damaged.push(key));
    expect(part.values).toHaveLength(LAST - 650);
    expect(part.before).toEqual(reading(whole).get(digestKey(650)));
    expect(damaged).toEqual([logKey(650)]);
  });
});
