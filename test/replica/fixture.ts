import type { Cbor } from '../../shared/base/cbor.ts';
import { incarnationBytes, incarnationFromBytes, peerFromKey, slot } from '../../shared/base/ids.ts';
import { encodeBallot } from '../../shared/consensus/ballot.ts';
import { majorities } from '../../shared/consensus/configuration.ts';
import { nextDigest } from '../../shared/consensus/ledger.ts';
import { configurationValue, NOOP, type Value } from '../../shared/consensus/value.ts';
import { encodeGenesis } from '../../shared/document/index.ts';
import { JournalCore } from '../../shared/driver/journal.ts';
import type { Prepared } from '../../shared/driver/journal-format.ts';
import { logOps } from '../../shared/driver/layout.ts';
import { MemoryStore } from '../../shared/driver/memory-store.ts';
import { sealed } from '../../shared/driver/overlay.ts';
import {
  type Answer,
  firstTurn,
  genesisDigest,
  type OpenedStore,
  type OpeningInit,
  openStore,
} from '../../shared/replica/opening.ts';

/** A store of one group that has lived a little, on a disk in memory. */

export const peer = peerFromKey(new Uint8Array(32).fill(1));
export const incarnation = incarnationFromBytes(new Uint8Array(16).fill(2));
export const ballot = { round: 3, peer, incarnation };
export const genesis = encodeGenesis({
  alpha: 2,
  level: 1,
  founder: peer,
  incarnation,
  nonce: new Uint8Array(16),
  timeMs: 0,
});

export function put(store: MemoryStore, { ops, mark }: Prepared): void {
  if (ops.length > 0) store.writeSync(ops, { sync: true });
  store.markWriteSync(mark.place, mark.bytes);
}

/** Answers what the opening asks. @param write instead of putting it on the disk */
export function open(
  store: MemoryStore,
  init: OpeningInit = {},
  write: (store: MemoryStore, prepared: Prepared) => void = put,
): OpenedStore {
  const opening = openStore({ get: (key) => store.get(key) }, init);
  let answer: Answer;
  for (;;) {
    const step = opening.next(answer);
    if (step.done) return step.value;
    const ask = step.value;
    if (ask.type === 'scan') answer = store.scanSync(ask.range);
    else if (ask.type === 'marks') answer = store.markReadSync();
    else {
      if (ask.type === 'batch') store.writeSync(ask.ops, { sync: true });
      else write(store, ask.prepared);
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
export function lived(accepted: readonly Cbor[] = [[4, encodeBallot(ballot), NOOP.hash]]): MemoryStore {
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
  const turn = core.prepare({
    ops: ops.map(sealed),
    accepted,
    promise: encodeBallot(ballot),
    lastOwnSeq: 0,
  });
  put(store, turn);
  return store.reopen();
}

/** The record is there, and not what it was. */
export const bend = (store: MemoryStore, key: string): void => {
  const record = (store.get(key) as Uint8Array).slice();
  record[1] = ((record[1] as number) + 1) & 255;
  store.writeSync([{ type: 'put', key, value: record }], { sync: true });
};

/** Incarnations that are told apart: 0x51, 0x52, … */
export function births(): { readonly newIncarnation: () => ReturnType<typeof incarnationFromBytes> } {
  let n = 0x50;
  return { newIncarnation: () => incarnationFromBytes(new Uint8Array(16).fill(++n)) };
}
