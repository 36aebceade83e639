import { vi } from 'vitest';
import { networkContract } from './contract.ts';
import { libp2pWorld } from './libp2p-world.ts';

vi.setConfig({ testTimeout: 60_000 });

networkContract('libp2p on loopback', libp2pWorld);
