import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { RandomBytes } from '../../shared/base/crypto.ts';
import { type GroupId, groupIdOf, type Incarnation, incarnationFromBytes, type PeerId } from '../../shared/base/ids.ts';
import { Random } from '../../shared/base/random.ts';
import { identityFromSeed } from '../../src-main/group/identity.ts';

/** A fresh place that is gone after the test. */
export function temporaryDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'synod-group-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

export function seeded(seed: number): RandomBytes {
  const random = new Random(seed);
  return (length) => random.bytes(length);
}

export const somePeer = (seed: number): PeerId => identityFromSeed(seeded(seed)(32)).peer;
export const someGenesis = (seed: number): Uint8Array => seeded(seed)(120);
export const someGroup = (seed: number): GroupId => groupIdOf(someGenesis(seed));
export const someIncarnation = (seed: number): Incarnation => incarnationFromBytes(seeded(seed)(16));
