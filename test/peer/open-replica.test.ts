import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { MemoryStore } from '../../shared/driver/memory-store.ts';
import { StoreError, type StorePort } from '../../shared/driver/store.ts';
import { simSigner, simVerifier } from '../../shared/sim/keys.ts';
import type { BatchVerifier } from '../../src-main/group/verifier.ts';
import type { Network } from '../../src-main/network/network.ts';
import { OpenReplica } from '../../src-main/peer/open-replica.ts';
import { births, lived, open, peer } from '../replica/fixture.ts';
import { storeErrorOf } from '../storage/turns.ts';

let disk: MemoryStore;
/** What reached the disk, in its order. */
let happened: string[];
/** Batches wait here. */
let gate: Promise<void>;
/** What fails. */
let faulty: 'batch' | 'mark' | null;
let running: OpenReplica;

const network = { send: () => true, isConnected: () => false, flush: () => undefined } as unknown as Network;

beforeEach(() => {
  disk = lived();
  happened = [];
  gate = Promise.resolve();
  faulty = null;
  running = start();
});
afterEach(() => running.replica.end());

/** Returns how to let them through. */
function holdBatches(): () => void {
  const { promise, resolve } = Promise.withResolvers<void>();
  gate = promise;
  return resolve;
}

async function write(what: 'batch' | 'mark', run: () => Promise<void>): Promise<void> {
  if (faulty === what) {
    await breathe();
    throw new StoreError('DISK_FULL', 'as it was told to');
  }
  await run();
  happened.push(what);
}

/** The only voter of its group, so that it leads and decides by itself. */
function start(): OpenReplica {
  const port: StorePort = {
    close: () => disk.close(),
    kv: {
      ...disk.kv,
      write: (ops, options) =>
        write('batch', async () => {
          await gate;
          await disk.kv.write(ops, options);
        }),
    },
    mark: {
      read: () => disk.mark.read(),
      write: (place, bytes) => write('mark', () => disk.mark.write(place, bytes)),
    },
  };
  const nothing = (): void => undefined;
  return new OpenReplica(
    {
      self: peer,
      signer: simSigner(new Uint8Array(32).fill(1)),
      verifier: simVerifier as unknown as BatchVerifier,
      network: () => network,
      staysOn: true,
      log: nothing,
      events: { onPeers: nothing, onHello: nothing },
      meter: null,
    },
    {
      onChanges: nothing,
      onNews: nothing,
      onDamage: nothing,
      onVerdict: nothing,
      port: () => port,
      onWritten: nothing,
    },
    new Uint8Array(8),
    open(disk, births()),
  );
}

/** Turns until one has written, at most so many ticks. */
async function untilWritten(): Promise<void> {
  const before = happened.length;
  for (let tick = 0; tick < 200 && happened.length === before; tick++) {
    running.replica.tick();
    while (running.replica.isReady && happened.length === before) await running.turn();
  }
  expect(happened.length).toBeGreaterThan(before);
}

const breathe = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('a small turn', () => {
  test('goes to database and mark at once, and counts when it is in both', async () => {
    const release = holdBatches();
    const written = untilWritten();
    while (happened.length === 0) await breathe();
    for (let n = 0; n < 20; n++) await breathe();
    expect([happened, running.lastTurn]).toEqual([['mark'], 2]);
    release();
    await written;
    expect([happened, running.lastTurn]).toEqual([['mark', 'batch'], 3]);
  });

  test.each(['batch', 'mark'] as const)('is there after a fault of the disk that kept its %s away', async (failing) => {
    faulty = failing;
    expect(await storeErrorOf(untilWritten())).toBe('DISK_FULL');
    // Both had ended: the store can be closed and opened again.
    expect(happened).toEqual([failing === 'batch' ? 'mark' : 'batch']);
    running.replica.end();
    disk = disk.reopen();
    faulty = null;
    running = start();
    expect(running.lastTurn).toBe(3);
    await untilWritten();
    expect(running.lastTurn).toBe(4);
  });
});
