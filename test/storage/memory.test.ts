import { MemoryStore } from '../../shared/driver/memory-store.ts';
import { journalContract, type StoreUnderTest, storeContract } from './contract.ts';

async function make(): Promise<StoreUnderTest> {
  let store = MemoryStore.create();
  return {
    create: async () => store,
    reopen: async () => {
      store = store.reopen();
      return store;
    },
    cleanUp: async () => undefined,
  };
}

storeContract('in memory', make);
journalContract('in memory', make);
