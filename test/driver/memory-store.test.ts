import { describe, expect, it } from 'vitest';
import { MemoryStore } from '../../shared/driver/memory-store.ts';

const bytes = (n: number): Uint8Array => Uint8Array.of(n);

/** Batch n puts n under its own key and under `last`; the third one deletes what the first one put. */
function written(): MemoryStore {
  const store = MemoryStore.create();
  store.keepLog(8);
  for (let n = 1; n <= 5; n++) {
    store.writeSync(
      [
        { type: 'put', key: `k${n}`, value: bytes(n) },
        { type: 'put', key: 'last', value: bytes(n) },
        ...(n === 3 ? [{ type: 'del', key: 'k1' } as const] : []),
      ],
      { sync: true },
    );
  }
  return store;
}

const contents = (store: MemoryStore): string =>
  store
    .scanSync({ gte: 'a', lt: 'z', limit: 100 })
    .map(([key, value]) => `${key}=${value[0]}`)
    .join(' ');

describe('a memory store that loses what was synced', () => {
  it('drops batches from the end, and what they overwrote is back', () => {
    const store = written();
    store.dropLogged(3);
    expect(contents(store)).toBe('k1=1 k2=2 last=2');
    expect(store.loggedBatches).toBe(2);
  });

  it('drops batches from the middle, and the later ones stay', () => {
    const store = written();
    store.dropLogged(2, 1);
    expect(contents(store)).toBe('k1=1 k2=2 k5=5 last=5');
    store.dropLogged(1);
    expect(contents(store)).toBe('k1=1 k2=2 last=2');
  });

  it('keeps it so over a crash', () => {
    const store = written();
    store.dropLogged(1);
    expect(contents(store.crash())).toBe('k2=2 k3=3 k4=4 last=4');
  });

  it('keeps only so many batches, and none unless asked', () => {
    const store = MemoryStore.create();
    store.writeSync([{ type: 'put', key: 'a', value: bytes(1) }], { sync: true });
    expect(store.loggedBatches).toBe(0);
    expect(() => store.dropLogged(1)).toThrow(/only batches that are kept/);
    expect(written().loggedBatches).toBe(5);
  });

  it('changes a record, and a mark, behind its owner', () => {
    const store = written();
    store.rot('k4', bytes(99));
    store.rot('k2', null);
    expect(contents(store)).toBe('k3=3 k4=99 k5=5 last=5');
    store.markWriteSync(0, bytes(7));
    store.rotMark(0, null);
    expect(store.markReadSync()).toEqual([null, null]);
  });

  it('has a copy that goes its own way', () => {
    const store = written();
    store.writeSync([{ type: 'put', key: 'unsynced', value: bytes(6) }], { sync: false });
    const copy = store.copy();
    store.writeSync([{ type: 'put', key: 'k5', value: bytes(50) }], { sync: true });
    expect(contents(copy)).toBe('k2=2 k3=3 k4=4 k5=5 last=5 unsynced=6');
  });
});
