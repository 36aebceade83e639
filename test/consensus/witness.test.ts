import { describe, expect, it } from 'vitest';
import { EMPTY } from '../../shared/base/bytes.ts';
import { incarnationFromBytes, type PeerId, peerFromKey, type Slot, slot } from '../../shared/base/ids.ts';
import { type Configuration, majorities } from '../../shared/consensus/configuration.ts';
import { Core } from '../../shared/consensus/core.ts';
import type { Effect } from '../../shared/consensus/io.ts';
import type { Heartbeat } from '../../shared/consensus/messages.ts';
import { NOOP } from '../../shared/consensus/value.ts';

const peers = [1, 2, 3].map((n) => peerFromKey(new Uint8Array(32).fill(n))) as [PeerId, PeerId, PeerId];
const [wit, ben, cleo] = peers;
const incarnation = incarnationFromBytes(new Uint8Array(16).fill(1));
const digest = new Uint8Array(32).fill(7);
const ALPHA = 4;
const PREFIX = slot(20);

const three = (previous: number): Configuration => ({
  previous: slot(previous),
  epoch: new Uint8Array(32),
  voters: peers.map((peer) => ({ peer, incarnation, witness: peer === wit })),
  ...majorities(3),
});

/** A witness whose log ends just where a new configuration begins, and which dropped what is below. */
function witness(): Core {
  return new Core({
    self: { peer: wit, incarnation },
    alpha: ALPHA,
    genesis: three(0),
    restored: {
      promised: null,
      prefix: PREFIX,
      digest,
      accepted: new Map(),
      inForce: [{ slot: slot(PREFIX + 1 - ALPHA), from: slot(PREFIX + 1), configuration: three(0) }],
      blockedFrom: null,
    },
    votes: true,
    random: () => 0.5,
  });
}

const ballot = { round: 1, peer: ben, incarnation };

const beat = (durable: Slot): Heartbeat => ({
  type: 'heartbeat',
  promised: null,
  leading: null,
  hearsLeader: null,
  hears: peers,
  prefix: PREFIX,
  digest,
  durable,
  votes: true,
  note: EMPTY,
});

/** What it does about the first value of the new configuration. */
function offered(core: Core): Effect[] {
  const message = {
    type: 'accept' as const,
    ballot,
    configuration: slot(PREFIX + 1 - ALPHA),
    slot: slot(PREFIX + 1),
    value: NOOP,
    watermark: PREFIX,
  };
  return [...core.step({ type: 'message', from: ben, incarnation, message }), ...core.step({ type: 'turn-end' })];
}

const accepts = (effects: readonly Effect[]): boolean =>
  effects.some((e) => e.type === 'persist' && e.op.type === 'accept');
const saysItLacks = (effects: readonly Effect[]): boolean =>
  effects.some((e) => e.type === 'sendAfterPersist' && e.message.type === 'behind' && e.message.lacks === 'me');

const hear = (core: Core, from: PeerId, durable: Slot): void => {
  core.step({ type: 'message', from, incarnation, message: beat(durable) });
};

describe('a voter that dropped what is below a new configuration (R2)', () => {
  it('accepts there once so many full voters hold it that every phase-1 quorum meets one', () => {
    const core = witness();
    core.step({ type: 'holding', upTo: slot(3), counted: slot(3) });
    hear(core, ben, PREFIX);
    hear(core, cleo, slot(PREFIX - 1));
    const early = offered(core);
    expect(accepts(early)).toBe(false);
    expect(saysItLacks(early)).toBe(true);
    expect(core.lacksHandover).toBe(true);
    hear(core, cleo, PREFIX);
    expect(accepts(offered(core))).toBe(true);
  });

  it('accepts there at once where it has fetched and kept all of it', () => {
    const core = witness();
    core.step({ type: 'holding', upTo: null, counted: slot(3) });
    expect(accepts(offered(core))).toBe(true);
  });
});

describe('what may be dropped (R5)', () => {
  it('is held by enough full voters, the one that drops not among them', () => {
    const core = witness();
    hear(core, ben, PREFIX);
    expect(core.droppable()).toBe(0);
    hear(core, cleo, slot(12));
    expect(core.droppable()).toBe(12);
  });

  it('is told by those alone who are heard', () => {
    const core = witness();
    hear(core, ben, PREFIX);
    hear(core, cleo, PREFIX);
    expect(core.droppable()).toBe(PREFIX);
    for (let n = 0; n < 100; n++) core.step({ type: 'tick' });
    expect(core.droppable()).toBe(0);
  });
});
