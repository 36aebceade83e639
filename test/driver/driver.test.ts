import { beforeEach, describe, expect, it } from 'vitest';
import { utf8 } from '../../shared/base/bytes.ts';
import { hashFor } from '../../shared/base/hash.ts';
import { incarnationFromBytes, peerFromKey, type Slot, slot } from '../../shared/base/ids.ts';
import type { KvOp } from '../../shared/base/kv.ts';
import { type Configuration, majorities } from '../../shared/consensus/configuration.ts';
import { Core } from '../../shared/consensus/core.ts';
import type { Message } from '../../shared/consensus/messages.ts';
import { commandsValue, type Value } from '../../shared/consensus/value.ts';
import { type Application, Driver, type NextValue, type Outgoing, type Turn } from '../../shared/driver/driver.ts';
import { openRecord, PREFIX_KEY, PROMISE_KEY } from '../../shared/driver/layout.ts';
import { Missing } from '../../shared/driver/missing.ts';
import { Overlay } from '../../shared/driver/overlay.ts';

const hash = (payload: Uint8Array): Uint8Array => hashFor('payload', payload);
const peers = [1, 2, 3].map((n) => peerFromKey(new Uint8Array(32).fill(n)));
const incarnations = [1, 2, 3].map((n) => incarnationFromBytes(new Uint8Array(16).fill(n)));
const [self, second, third] = peers as [(typeof peers)[0], (typeof peers)[0], (typeof peers)[0]];

function configuration(voters: number): Configuration {
  return {
    previous: slot(0),
    epoch: new Uint8Array(32),
    voters: peers.slice(0, voters).map((peer, i) => ({ peer, incarnation: incarnations[i] as never, witness: false })),
    ...majorities(voters),
  };
}

/** An application that writes down what is asked of it, in the order in which it happens. */
class Notes implements Application {
  applied: Slot = slot(0);
  canApply = true;
  missing: Missing = Missing.NONE;
  lastOwnSeq = 0;
  readonly happened: string[] = [];
  toSave: KvOp[] = [];
  values: NextValue[] = [];
  hasWork = (): boolean => this.toSave.length > 0;
  beginTurn(): readonly KvOp[] {
    const ops = this.toSave;
    this.toSave = [];
    return ops;
  }
  nextValue = () => this.values.shift() ?? null;
  beforeWrite = (): readonly KvOp[] => [];
  persisted(): void {
    this.happened.push('persisted');
  }
  apply(at: Slot, _value: Value, _digest: Uint8Array, write: (ops: readonly KvOp[]) => void): void {
    this.applied = at;
    this.happened.push(`apply ${at}`);
    write([{ type: 'put', key: `s/${at}`, value: utf8('applied') }]);
  }
  turnApplied(): void {}
  onLeader(): void {}
  onBarrier(id: number, at: Slot): void {
    this.happened.push(`barrier ${id} at ${at}`);
  }
  serveLimit = () => null;
  onDamage(key: string): void {
    this.happened.push(`damage ${key}`);
  }
}

let app: Notes;
let disk: Map<string, Uint8Array>;
let driver: Driver;
let core: Core;

function start(voters: number): void {
  app = new Notes();
  disk = new Map();
  const overlay = new Overlay({ get: (key) => disk.get(key) });
  core = new Core({
    self: { peer: self, incarnation: incarnations[0] as never },
    alpha: 64,
    genesis: configuration(voters),
    restored: {
      promised: null,
      prefix: slot(0),
      digest: new Uint8Array(32),
      accepted: new Map(),
      inForce: [],
      blockedFrom: null,
    },
    votes: true,
    random: () => 0,
  });
  driver = new Driver({ core, app, self, incarnation: incarnations[0] as never, overlay, hash });
}

function land(turn: Turn): void {
  for (const op of turn.write?.ops ?? []) {
    if (op.type === 'put') disk.set(op.key, op.value);
    else disk.delete(op.key);
  }
}

/** The batch lands, then its mark. */
const finish = (turn: Turn): Outgoing[] => {
  const sent = [...(turn.write === null ? [] : driver.batchLanded()), ...driver.finish()];
  driver.apply();
  return sent;
};

/** Turns until nothing is left to do. */
function settle(): Outgoing[] {
  const sent: Outgoing[] = [];
  while (driver.isReady) {
    const turn = driver.begin(0);
    sent.push(...turn.send);
    land(turn);
    sent.push(...finish(turn));
  }
  return sent;
}

const types = (messages: readonly Outgoing[]): string[] => messages.map(({ message }) => message.type);
const value = (text: string): Value => commandsValue(utf8(text), hash);
const hear = (from: number, message: Message): void =>
  driver.enqueue({ type: 'message', from: peers[from] as never, incarnation: incarnations[from] as never, message });

const beat = (hears: boolean): Message => ({
  type: 'heartbeat',
  promised: null,
  leading: null,
  hearsLeader: null,
  hears: hears ? [self] : [],
  prefix: slot(0),
  digest: new Uint8Array(32),
  durable: slot(0),
  votes: true,
  note: new Uint8Array(0),
});

/** Three voters, of whom this peer becomes the leader. */
function lead(): void {
  start(3);
  driver.enqueue({ type: 'members', peers: [second, third] });
  for (let tick = 0; tick < 60 && core.inspect().promised === null; tick++) {
    hear(1, beat(true));
    driver.enqueue({ type: 'tick' });
    settle();
  }
  const ballot = core.promised;
  if (ballot === null) throw new Error('no campaign');
  const promise = {
    type: 'promise',
    ballot,
    configuration: slot(0),
    floor: slot(0),
    digest: new Uint8Array(32),
  } as const;
  hear(1, { ...promise, listing: new Uint8Array(8), part: 0, parts: 1, accepted: [] });
  settle();
  expect(core.inspect().leads).toBe(true);
}

describe('a turn', () => {
  beforeEach(() => start(1));

  it('persists, then sends, then applies', () => {
    driver.enqueue({ type: 'tick' });
    const turn = driver.begin(0);
    expect(turn.write?.ops.map((op) => op.key)).toContain(PROMISE_KEY);
    expect(app.happened).toEqual([]);
    land(turn);
    finish(turn);
    expect(app.happened).toEqual(['persisted']);
    settle();
    expect(app.happened.indexOf('apply 1')).toBeGreaterThan(app.happened.indexOf('persisted'));
    expect(app.applied).toBe(core.prefix);
  });

  it('leaves nothing said that is not on the disk: the vote of one counts only after its batch', () => {
    driver.enqueue({ type: 'tick' });
    settle();
    const before = core.prefix;
    app.values.push({ value: value('a'), afterBatch: false });
    driver.enqueue({ type: 'tick' });
    const turn = driver.begin(0);
    expect(core.prefix).toBe(before);
    finish(turn);
    settle();
    expect(core.prefix).toBe(before + 1);
  });

  it('takes all inputs that came meanwhile into one batch', () => {
    driver.enqueue({ type: 'tick' });
    settle();
    for (let i = 0; i < 5; i++) app.values.push({ value: value(`v${i}`), afterBatch: false });
    driver.enqueue({ type: 'note', note: utf8('x') });
    const turn = driver.begin(0);
    expect(turn.write?.ops.filter((op) => op.key.startsWith('l/'))).toHaveLength(5);
    land(turn);
    finish(turn);
  });

  it('refuses a second turn while one is under way', () => {
    driver.enqueue({ type: 'tick' });
    driver.begin(0);
    expect(driver.isReady).toBe(false);
    expect(() => driver.begin(0)).toThrow('one turn at a time');
  });

  it('writes what only follows from others’ words with the next batch, and at the next tick at the latest', () => {
    driver.enqueue({ type: 'tick' });
    settle();
    driver.enqueue({ type: 'tick' });
    settle();
    expect(disk.has(PREFIX_KEY)).toBe(true);
    expect(driver.isFlushed).toBe(true);
    expect([...disk.keys()].filter((key) => key.startsWith('s/'))).toHaveLength(app.applied);
  });

  it('flushes before a stop', () => {
    driver.enqueue({ type: 'tick' });
    settle();
    app.values.push({ value: value('a'), afterBatch: false });
    driver.enqueue({ type: 'note', note: utf8('x') });
    settle();
    expect(driver.isFlushed).toBe(false);
    driver.flush();
    settle();
    expect(driver.isFlushed).toBe(true);
  });

  it('seals every record under its own key', () => {
    driver.enqueue({ type: 'tick' });
    settle();
    for (const [key, record] of disk) expect(() => openRecord(key, record)).not.toThrow();
  });
});

describe('a leader among three', () => {
  it('sends an Accept while its own disk still writes, for its ballot has long been durable', () => {
    lead();
    app.values.push({ value: value('a'), afterBatch: false });
    driver.enqueue({ type: 'note', note: utf8('x') });
    const turn = driver.begin(0);
    expect(types(turn.send)).toContain('accept');
    finish(turn);
  });

  it('holds an Accept back that speaks of commands which this very batch saves', () => {
    lead();
    app.toSave = [{ type: 'put', key: 'o/1', value: utf8('own') }];
    app.values.push({ value: value('own'), afterBatch: true });
    const turn = driver.begin(0);
    expect(types(turn.send)).not.toContain('accept');
    expect(turn.write?.ops.map((op) => op.key)).toContain('o/1');
    // Not its mark: an Accept speaks of no promise and no acceptance.
    expect(types(driver.batchLanded())).toEqual(['accept']);
    expect(types(driver.finish())).not.toContain('accept');
  });

  it('serves what it chose in the same turn', () => {
    lead();
    settle();
    const ballot = core.promised as never;
    hear(1, { type: 'accepted', ballot, slots: [slot(1)], prefix: slot(0) });
    hear(2, { type: 'fetch', from: slot(1) });
    const turn = driver.begin(0);
    const served = turn.send.find(({ message }) => message.type === 'values')?.message;
    expect(served).toMatchObject({ from: 1, prefix: 1 });
    expect(app.happened).not.toContain('damage l/0000000000001');
    finish(turn);
  });
});
