import { expect, test } from 'vitest';
import type { WatchEvent } from '../../shared/ipc/contract.ts';
import type { Network } from '../../src-main/network/network.ts';
import type { GroupHost } from '../../src-main/peer/group-host.ts';
import { createService, type ServiceInit } from '../../src-main/peer/service.ts';

/** A group whose store is closed to be opened again. */
const closed = (trouble: GroupHost['trouble']): GroupHost =>
  ({
    group: 'gabc',
    isOpen: false,
    isStopping: false,
    trouble,
    whenOpen: () => Promise.resolve(),
    watch: () => () => {},
  }) as unknown as GroupHost;

async function firstOf(host: GroupHost): Promise<WatchEvent> {
  const init: Partial<ServiceInit> = {
    self: 'p' as ServiceInit['self'],
    name: () => 'Ana',
    hosts: new Map([[host.group, host]]),
    broken: new Map(),
    network: {} as Network,
  };
  const ending = new AbortController();
  try {
    for await (const event of createService(init as ServiceInit).watch({}, ending.signal)) return event;
  } finally {
    ending.abort();
  }
  throw new Error('nothing was told');
}

test('a window is told of a group that is closed for a while, so that it does not take it for gone', async () => {
  expect(await firstOf(closed('DISK_FULL'))).toMatchObject({
    kind: 'status',
    status: {
      groups: [],
      broken: [{ group: 'gabc', code: 'DISK_FULL', message: expect.stringMatching(/free some space/) }],
    },
  });
  expect(await firstOf(closed(null))).toMatchObject({ status: { broken: [{ group: 'gabc', code: 'BUSY' }] } });
});
