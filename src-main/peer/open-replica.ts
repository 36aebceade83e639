import type { Signer } from '../../shared/base/crypto.ts';
import type { PeerId } from '../../shared/base/ids.ts';
import type { Change } from '../../shared/document/index.ts';
import type { TurnWrite } from '../../shared/driver/driver.ts';
import type { JournalCore } from '../../shared/driver/journal.ts';
import type { StorePort } from '../../shared/driver/store.ts';
import type { IdentityVerdict } from '../../shared/replica/identity.ts';
import type { OpenedStore } from '../../shared/replica/opening.ts';
import { type Outgoing, Replica, type ReplicaEvents } from '../../shared/replica/replica.ts';
import { platformRandom } from '../group/keys.ts';
import type { BatchVerifier } from '../group/verifier.ts';
import type { Network } from '../network/network.ts';
import type { Log } from './log.ts';
import type { GroupMeter } from './meter.ts';

/** What each replica of a group is run with. */
export interface OpenReplicaInit {
  readonly self: PeerId;
  readonly signer: Signer;
  readonly verifier: BatchVerifier;
  readonly network: () => Network;
  readonly staysOn: boolean;
  readonly log: Log;
  /** Membership, hello, leadership: what the peer around it needs to know. */
  readonly events: Pick<ReplicaEvents, 'onPeers' | 'onHello'>;
  /** Told of what passes, where somebody measures; null: nothing is measured. */
  readonly meter: GroupMeter | null;
}

/** What a replica tells the loop around it. */
export interface OpenReplicaEvents {
  /** A turn applied something. */
  onChanges(changes: readonly Change[]): void;
  /** There is something to do. */
  onNews(): void;
  /** A record that another member asked for is not what it was. */
  onDamage(error: unknown): void;
  /** This store is not what it was taken for: it has fallen silent, and must be opened with this verdict. */
  onVerdict(verdict: IdentityVerdict): void;
}

export interface OpenReplicaPorts extends OpenReplicaEvents {
  /** The store that is open now: whoever still holds a replica of an earlier opening reads that one, too. */
  port(): StorePort;
  /** The disk took a turn. */
  onWritten(): void;
}

const FEW_SIGNATURES = 2;
/** LevelDB's sync leaves a batch in the disk's own cache on macOS, the mark's does not: what waits for the batch waits for the mark there. */
const SYNC_IS_FLUSH: boolean = process.platform !== 'darwin';

/** Resolves or rejects once both have ended, so that nothing is under way any more. @param saved the first that holds the batch is on the disk, and nothing has failed before */
async function atOnce(batch: Promise<void>, mark: Promise<void>, saved: () => void): Promise<void> {
  const first = SYNC_IS_FLUSH ? Promise.race([batch, mark]) : mark;
  const told = first.then(saved);
  const ends = await Promise.allSettled([told, batch, mark]);
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
}

/** One replica on its open store: carries its turns to disk and network. Once the store is opened anew, another one takes its place. */
export class OpenReplica {
  readonly replica: Replica;
  readonly #init: OpenReplicaInit;
  readonly #ports: OpenReplicaPorts;
  readonly #nonce: Uint8Array;
  readonly #journal: JournalCore;

  /** @param nonce of this process, for its frames. 8 bytes */
  constructor(init: OpenReplicaInit, ports: OpenReplicaPorts, nonce: Uint8Array, store: OpenedStore) {
    this.#init = init;
    this.#ports = ports;
    this.#nonce = nonce;
    this.#journal = store.journal;
    this.replica = this.#makeReplica(store);
  }

  /** The last turn that is on the disk. */
  get lastTurn(): number {
    return this.#journal.lastTurn;
  }

  /** Send, write, send the rest, apply. @throws StoreError where the disk failed, and what `isDamage` tells of a damaged record */
  async turn(): Promise<void> {
    const { replica } = this;
    const turn = replica.begin(Date.now());
    this.#send(turn.send);
    if (turn.write !== null) await this.#write(turn.write, () => this.#send(replica.batchLanded()));
    this.#send(replica.finish());
    replica.applyTurn();
  }

  /** What is still to be written before the replica ends. False where there is nothing. @throws StoreError */
  async writeLast(): Promise<boolean> {
    const turn = this.replica.lastWrite();
    if (turn !== null) await this.#write(turn, () => undefined);
    return turn !== null;
  }

  /** @param saved what holds the batch is on the disk: it itself, or the mark that carries it */
  async #write(turn: TurnWrite, saved: () => void): Promise<void> {
    const { ops, mark, isCarried } = this.#journal.prepare(turn, true);
    const { meter } = this.#init;
    const port = this.#ports.port();
    meter?.writing(turn);
    const writeMark = () => port.mark.write(mark.place, mark.bytes).then(() => meter?.markWritten());
    const writeBatch = () => port.kv.write(ops, { sync: true }).then(() => meter?.batchWritten());
    try {
      if (isCarried && turn.speaksOnceSaved) {
        // The mark alone is there sooner than beside a batch, and the batch is in time for the others' answers.
        await writeMark();
        saved();
        await writeBatch();
      } else if (isCarried) await atOnce(writeBatch(), writeMark(), saved);
      else {
        await writeBatch();
        if (SYNC_IS_FLUSH) saved();
        await writeMark();
        if (!SYNC_IS_FLUSH) saved();
      }
    } catch (error) {
      this.#journal.failed();
      throw error;
    }
    this.#journal.committed();
    meter?.written();
    this.#ports.onWritten();
  }

  /** On its way before the disk or the applying takes its time. */
  #send(messages: readonly Outgoing[]): void {
    if (messages.length === 0) return;
    const network = this.#init.network();
    const { meter } = this.#init;
    for (const out of messages) {
      const frame = this.replica.frameOf(out, this.#nonce, this.#journal.lastTurn);
      for (const peer of out.to) {
        if (!network.send(peer, out.purpose, frame) && network.isConnected(peer)) meter?.dropped();
      }
    }
    network.flush();
  }

  #makeReplica(store: OpenedStore): Replica {
    const { self, signer, verifier, staysOn, log, events, meter } = this.#init;
    return new Replica({
      self,
      store,
      staysOn,
      presence: { nonce: this.#nonce, turn: () => this.#journal.lastTurn },
      ports: {
        signer,
        verifier,
        // One or two are checked sooner than another thread would be woken.
        verifyAll: (list) =>
          list.length <= FEW_SIGNATURES ? list.map((signed) => verifier.verify(signed)) : verifier.verifyAll(list),
        randomBytes: platformRandom,
        random: Math.random,
        kv: { get: (key) => this.#ports.port().kv.get(key) },
        snapshot: () => this.#ports.port().kv.snapshot(),
      },
      events: {
        ...events,
        onApplied: (_applied, changes) => {
          this.#ports.onChanges(changes);
          meter?.applied(this.replica, changes);
        },
        onLeader: (leader) => {
          log('info', leader === null ? 'nobody leads; what is written waits until somebody does' : 'somebody leads', {
            leader,
          });
          meter?.leader(leader);
        },
        onProblem: ({ code, message }) => {
          log('warn', message, { code });
          meter?.problem(code);
        },
        onVerdict: (verdict) => this.#ports.onVerdict(verdict),
        onNews: () => this.#ports.onNews(),
        onDamage: (error) => this.#ports.onDamage(error),
      },
    });
  }
}
