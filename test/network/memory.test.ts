import { describe, expect, test } from 'vitest';
import { peerFromKey } from '../../shared/base/ids.ts';
import { MemoryHub } from '../../src-main/network/memory-network.ts';
import { connected, introduce, type Node, networkContract } from './contract.ts';
import { Recorder, rest, until } from './recorder.ts';

const peerOf = (seed: number) => peerFromKey(new Uint8Array(32).fill(seed));

networkContract('memory', () => {
  const hub = new MemoryHub();
  return { start: async (seed, events) => hub.create(peerOf(seed), events), stop: async () => {} };
});

describe('MemoryHub', () => {
  const nodesOn = (hub: MemoryHub, count: number): Node[] =>
    Array.from({ length: count }, (_, n) => {
      const events = new Recorder();
      return { network: hub.create(peerOf(n + 1), events), events };
    });

  test('partition leaves the groups apart until healed', async () => {
    const hub = new MemoryHub();
    const nodes = nodesOn(hub, 4) as [Node, Node, Node, Node];
    await introduce(...nodes);
    const [a, b, c, d] = nodes.map(({ network }) => network.self) as [never, never, never, never];
    hub.partition([a, b], [c]);
    await until(() => !nodes[0].network.isConnected(c), 'the split');
    const seen = nodes.map(({ network }) => [a, b, c, d].filter((peer) => network.isConnected(peer)));
    expect(seen).toEqual([[b], [a], [], []]);
    hub.heal();
    await connected(...nodes);
    expect(nodes[0].events.connectionsOf(c)).toEqual([true, false, true]);
  });

  test('cut and heal one pair', async () => {
    const hub = new MemoryHub();
    const [a, b] = nodesOn(hub, 2) as [Node, Node];
    await introduce(a, b);
    hub.cut(a.network.self, b.network.self);
    await until(() => !a.network.isConnected(b.network.self), 'the cut');
    a.network.wake();
    await rest(20);
    expect(b.network.isConnected(a.network.self)).toBe(false);
    hub.heal(b.network.self, a.network.self);
    await connected(a, b);
  });
});
