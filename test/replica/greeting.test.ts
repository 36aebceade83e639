import { expect, test } from 'vitest';
import { incarnationFromBytes, peerFromKey, slot } from '../../shared/base/ids.ts';
import { encodeMessage } from '../../shared/consensus/codec.ts';
import type { MemoryStore } from '../../shared/driver/memory-store.ts';
import type { IdentityVerdict } from '../../shared/replica/identity.ts';
import { genesisDigest, type OpenedStore } from '../../shared/replica/opening.ts';
import { consentTo } from '../../shared/replica/recovery-offline.ts';
import { type Outgoing, Replica } from '../../shared/replica/replica.ts';
import { encodeEnvelope, type Layer } from '../../shared/wire/envelope.ts';
import { encodeSessionMessage, type Seen } from '../../shared/wire/session-messages.ts';
import { fakeVerifier } from '../document/fixture.ts';
import { births, genesis, incarnation, lived, open, peer, put } from './fixture.ts';

const ben = peerFromKey(new Uint8Array(32).fill(9));
const benNow = incarnationFromBytes(new Uint8Array(16).fill(9));
const ballot = { round: 5, peer: ben, incarnation: benNow };
const NONCE = new Uint8Array(8).fill(7);

/** A voter that Ben speaks to. */
class Voter {
  readonly store: MemoryStore = this.lives();
  readonly opened: OpenedStore = open(this.store, births());
  readonly verdicts: IdentityVerdict[] = [];
  readonly replica = new Replica({
    self: peer,
    store: this.opened,
    ports: {
      signer: { publicKey: new Uint8Array(32), sign: () => new Uint8Array(64) },
      verifier: fakeVerifier,
      verifyAll: (list) => list.map(() => true),
      randomBytes: (length) => new Uint8Array(length),
      random: () => 0.5,
      kv: { get: (key) => this.store.get(key) },
      snapshot: () => this.store.snapshotSync(),
    },
    events: { onVerdict: (verdict) => this.verdicts.push(verdict) },
    presence: { nonce: new Uint8Array(8).fill(1), turn: () => this.opened.journal.lastTurn },
  });

  lives(): MemoryStore {
    return lived();
  }

  /** Turns until there is nothing to do. What left for Ben, by type. */
  turns(): string[] {
    const sent: Outgoing[] = [];
    for (let n = 0; n < 20 && this.replica.isReady; n++) {
      const turn = this.replica.begin(0);
      sent.push(...turn.send);
      if (turn.write !== null) {
        put(this.store, this.opened.journal.prepare(turn.write));
        sent.push(...this.replica.batchLanded());
        this.opened.journal.committed();
      }
      sent.push(...this.replica.finish());
      this.replica.applyTurn();
    }
    return sent.filter(({ to }) => to.includes(ben)).map(({ message }) => message.type);
  }

  hears(layer: Layer, body: Uint8Array, nonce = NONCE, epoch = genesisDigest(genesis)): void {
    const group = this.replica.group;
    const envelope = { group, epoch, incarnation: benNow, nonce, turn: 3, layer, body };
    void this.replica.receiveFrame(ben, encodeEnvelope(envelope));
  }

  hearsPrepare(epoch?: Uint8Array): void {
    const prepare = { type: 'prepare', ballot, configuration: slot(2), slot: slot(4), transferFrom: null } as const;
    this.hears('consensus', encodeMessage(prepare), NONCE, epoch);
  }

  hearsGreeting(seen: readonly Seen[], nonce = NONCE): void {
    this.hears('session', encodeSessionMessage({ type: 'greeting', asks: false, seen }), nonce);
  }
}

test('a vote waits until the other side has greeted on this connection, and is then given', () => {
  const voter = new Voter();
  voter.replica.connection(ben, true);
  expect(voter.turns()).toEqual(['greeting']);
  voter.hearsPrepare();
  // Its greeting is asked for again; nothing is promised.
  expect(voter.turns()).toEqual(['greeting']);
  voter.hearsGreeting([]);
  expect(voter.turns()).toEqual(['promise']);
  // Another connection, another greeting.
  voter.replica.connection(ben, false);
  voter.replica.connection(ben, true);
  voter.hearsPrepare();
  expect(voter.turns()).not.toContain('promise');
});

test('a greeting by another run opens nothing for this one', () => {
  const voter = new Voter();
  voter.replica.connection(ben, true);
  voter.hearsGreeting([], new Uint8Array(8).fill(8));
  voter.hearsPrepare();
  expect(voter.turns()).not.toContain('promise');
});

test('one that is told of a later turn of its own gives no vote any more, whatever waited', () => {
  const voter = new Voter();
  voter.replica.connection(ben, true);
  voter.hearsPrepare();
  voter.hearsGreeting([{ incarnation, nonce: new Uint8Array(8).fill(1), turn: 1_000, twice: false }]);
  expect(voter.turns()).not.toContain('promise');
  expect(voter.verdicts.map(({ code }) => code)).toEqual(['ROLLED_BACK']);
  voter.hearsPrepare();
  expect(voter.turns()).toEqual([]);
});

test('what comes from another epoch is not answered, whoever greeted', () => {
  const voter = new Voter();
  voter.replica.connection(ben, true);
  voter.hearsGreeting([]);
  voter.turns();
  voter.hearsPrepare(new Uint8Array(32).fill(5));
  expect(voter.turns()).toEqual([]);
  voter.hearsPrepare();
  expect(voter.turns()).toEqual(['promise']);
});

/** Its person consented to go on with Ben alone (R12), and his consent is not here yet. */
class Survivor extends Voter {
  override lives(): MemoryStore {
    const store = lived();
    const opened = open(store, births());
    const signer = { publicKey: new Uint8Array(32), sign: () => new Uint8Array(64) };
    const { consent } = consentTo(opened, { self: peer, signer, survivors: [peer, ben], nonce: new Uint8Array(16) });
    if (consent !== null) put(store, opened.journal.prepare(consent));
    return store.reopen();
  }
}

test('one that has consented to a forced recovery gives no vote in the old epoch, and makes none of another’s', () => {
  const survivor = new Survivor();
  expect([survivor.replica.recovery?.step, survivor.replica.inspect().votes]).toEqual(['consents', false]);
  survivor.replica.connection(ben, true);
  survivor.hearsGreeting([]);
  survivor.hearsPrepare();
  expect(survivor.turns()).not.toContain('promise');
});

test('what it saw of the other is told on the next connection, and outlives a restart', () => {
  const voter = new Voter();
  voter.replica.connection(ben, true);
  voter.hearsPrepare();
  voter.hearsGreeting([]);
  for (let n = 0; n < 25; n++) voter.replica.tick();
  voter.turns();
  voter.hearsPrepare();
  voter.replica.flush();
  voter.turns();
  const again = open(voter.store.reopen(), births());
  expect(again.seen.map(([key]) => key)).toEqual([`m/seen/${ben}`]);
  expect(again.runs).toBeDefined();
  expect(again.problems).toEqual([]);
});
