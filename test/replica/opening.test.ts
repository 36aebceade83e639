import { describe, expect, it } from 'vitest';
import { type Cbor, encodeCbor } from '../../shared/base/cbor.ts';
import { incarnationBytes, incarnationFromBytes, peerFromKey, slot } from '../../shared/base/ids.ts';
import { encodeBallot } from '../../shared/consensus/ballot.ts';
import { majorities } from '../../shared/consensus/configuration.ts';
import { nextDigest } from '../../shared/consensus/ledger.ts';
import { configurationValue, NOOP, type Value } from '../../shared/consensus/value.ts';
import { encodeGenesis } from '../../shared/document/index.ts';
import { JournalCore } from '../../shared/driver/journal.ts';
import type { Prepared } from '../../shared/driver/journal-format.ts';
import { configurationKey, digestKey, logKey, logOps, PREFIX_KEY, PROMISE_KEY } from '../../shared/driver/layout.ts';
import { MemoryStore } from '../../shared/driver/memory-store.ts';
import { sealed } from '../../shared/driver/overlay.ts';
import { type Answer, firstTurn, genesisDigest, type OpenedStore, openStore } from '../../shared/replica/opening.ts';

const peer = peerFromKey(new Uint8Array(32).fill(1));
const incarnation = incarnationFromBytes(new Uint8Array(16).fill(2));
const ballot = { round: 3, peer, incarnation };
const genesis = encodeGenesis({
  alpha: 2,
  level: 1,
  founder: peer,
  incarnation,
  nonce: new Uint8Array(16),
  timeMs: 0,
});

function put(store: MemoryStore, { ops, mark }: Prepared): void {
  if (ops.length > 0) store.writeSync(ops, { sync: true });
  store.markWriteSync(mark.place, mark.bytes);
}

function open(store: MemoryStore): OpenedStore {
  const opening = openStore({ get: (key) => store.get(key) });
  let answer: Answer;
  for (;;) {
    const step = opening.next(answer);
    if (step.done) return step.value;
    const ask = step.value;
    if (ask.type === 'scan') answer = store.scanSync(ask.range);
    else if (ask.type === 'marks') answer = store.markReadSync();
    else {
      put(store, ask.prepared);
      answer = undefined;
    }
  }
}

const change: Value = configurationValue({
  previous: slot(0),
  epoch: genesisDigest(genesis),
  voters: [{ peer, incarnation, witness: false }],
  ...majorities(1),
});

/** Three chosen slots, the second a configuration, and an acceptance above them. */
function lived(accepted: readonly Cbor[] = [[4, null, NOOP.hash]]): MemoryStore {
  const store = MemoryStore.create();
  const { core, prepared } = JournalCore.create(incarnationBytes(incarnation), firstTurn(genesis, incarnation));
  put(store, prepared);
  core.committed();
  let digest = genesisDigest(genesis);
  const ops = [NOOP, change, NOOP].flatMap((value, i) => {
    const at = slot(i + 1);
    digest = nextDigest(digest, at, value.hash);
    return [
      ...logOps({ type: 'accept', slot: at, ballot, value }),
      ...logOps({ type: 'choose', slot: at, digest, value: null }),
    ];
  });
  const inForce = change.kind === 'configuration' && change.configuration;
  if (!inForce) throw new Error('a configuration');
  ops.push(
    ...logOps({ type: 'promise', ballot }),
    ...logOps({ type: 'in-force', inForce: { slot: slot(2), from: slot(4), configuration: inForce } }),
    ...logOps({ type: 'accept', slot: slot(4), ballot, value: NOOP }),
  );
  const turn = core.prepare({ ops: ops.map(sealed), accepted, promise: encodeBallot(ballot), lastOwnSeq: 0 });
  put(store, turn);
  return store.reopen();
}

const bend = (store: MemoryStore, key: string): void => {
  const record = (store.get(key) as Uint8Array).slice();
  record[1] = ((record[1] as number) + 1) & 255;
  store.writeSync([{ type: 'put', key, value: record }], { sync: true });
};

describe('opening a store', () => {
  it('gives back what was said and chosen', () => {
    const { problems, restored } = open(lived());
    expect(problems).toEqual([]);
    expect(restored.prefix).toBe(3);
    expect(restored.promised).toEqual(ballot);
    expect([...restored.accepted.keys()]).toEqual([4]);
    expect(restored.inForce.map((c) => [c.slot, c.from])).toEqual([[2, 4]]);
  });

  it.each([
    ['the prefix', PREFIX_KEY],
    ['the promise', PROMISE_KEY],
    ['a configuration', configurationKey(2)],
  ])('a damaged record of %s: it never votes again, whatever the next start finds', (_what, key) => {
    const store = lived();
    bend(store, key);
    const first = open(store);
    expect(first.problems).not.toEqual([]);
    expect(first.restored).toMatchObject({ prefix: 3, promised: null });
    expect(first.restored.accepted.size).toBe(0);
    const second = open(store.reopen());
    expect(second.problems.map((problem) => problem.code)).toContain('DAMAGED_BEFORE');
    expect(second.restored.promised).toBe(null);
  });

  it.each([
    ['the promise behind an acceptance', [PROMISE_KEY]],
    ['the prefix', [PREFIX_KEY]],
    ['the digest of the last chosen slot', [digestKey(3)]],
    ['the promise, and nothing was accepted above the prefix', [PROMISE_KEY, logKey(4)]],
  ])('a record that is gone by itself, %s: it never votes again', (_what, keys) => {
    const store = lived(keys.length > 1 ? [] : [[4, null, NOOP.hash]]);
    store.writeSync(
      keys.map((key) => ({ type: 'del', key })),
      { sync: true },
    );
    expect(open(store).problems).not.toEqual([]);
    expect(open(store.reopen()).problems.map((problem) => problem.code)).toContain('DAMAGED_BEFORE');
  });

  it('finds the configurations again from the chosen values', () => {
    const store = lived();
    bend(store, configurationKey(2));
    expect(open(store).restored.inForce.map((c) => [c.slot, c.from])).toEqual([[2, 4]]);
  });

  it('believes the log only as far as it is whole', () => {
    const store = lived();
    bend(store, 'l/0000000000003');
    bend(store, PREFIX_KEY);
    expect(open(store).restored.prefix).toBe(2);
  });

  it('can’t go on without knowing its group', () => {
    const store = lived();
    bend(store, 'm/group');
    expect(() => open(store)).toThrow(/can't be read/);
    store.writeSync([sealed({ type: 'put', key: 'm/group', value: encodeCbor([]) })], { sync: true });
    expect(() => open(store)).toThrow(/can't be read/);
  });
});
