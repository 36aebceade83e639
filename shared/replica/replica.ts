import { equal } from '../base/bytes.ts';
import { encodeCbor, FormatError } from '../base/cbor.ts';
import type { RandomBytes, SignedBytes, Signer, Verifier } from '../base/crypto.ts';
import { type GroupId, type Incarnation, type PeerId, type Slot, slot } from '../base/ids.ts';
import type { KvOp, KvReader } from '../base/kv.ts';
import type { Ballot } from '../consensus/ballot.ts';
import { decodeMessage, encodeMessage } from '../consensus/codec.ts';
import type { Configuration } from '../consensus/configuration.ts';
import { Core, type CoreView } from '../consensus/core.ts';
import type { Heartbeat, Message } from '../consensus/messages.ts';
import { commandsValue, type Value } from '../consensus/value.ts';
import {
  type Applied,
  type Body,
  batchHash,
  type Change,
  Document,
  DocumentReader,
  decodeRun,
  encodeBatch,
  type Ignored,
  LEVEL,
  type Refused,
  type Run,
  type UpdateNeeded,
  type Verdict,
} from '../document/index.ts';
import {
  type Application,
  type Outgoing as CoreOutgoing,
  Driver,
  type NextValue,
  type TurnWrite,
} from '../driver/driver.ts';
import { decodeDigest, digestKey } from '../driver/layout.ts';
import type { Missing } from '../driver/missing.ts';
import { Overlay, sealed } from '../driver/overlay.ts';
import type { KvSnapshot } from '../driver/store.ts';
import { type EditWish, Outbox, type Pending, Pool, type Settling, type Written } from '../session/index.ts';
import { decodeEnvelope, type Envelope, encodeEnvelope } from '../wire/envelope.ts';
import { decodeNote, encodeNote } from '../wire/note.ts';
import {
  decodeSessionMessage,
  encodeSessionMessage,
  type Greeting,
  type Hello,
  isRecoveryMessage,
  type SessionMessage,
} from '../wire/session-messages.ts';
import { decodeSnapshotMessage, encodeSnapshotMessage, type SnapshotMessage } from '../wire/snapshot-messages.ts';
import { placed, StateArea } from './area.ts';
import { Barriers } from './barriers.ts';
import { Gate, type IdentityVerdict, judgeSeen, Lineage, REPLACED, Sightings } from './identity.ts';
import { runsIn, Verdicts, type VerifyAll } from './ingress.ts';
import { KEEPING_LIMITS, Keeping, type KeepingLimits } from './keeping.ts';
import { Offers } from './offers.ts';
import { genesisDigest, keptVerdict, type OpenedStore } from './opening.ts';
import { POLICY_TIMES, type PolicyTimes } from './policy.ts';
import { type Candidate, RecoveryExchange, type RecoveryStanding } from './recovery-exchange.ts';
import { Rescue } from './recovery-rescue.ts';
import { type Proof, votesIn } from './recovery-store.ts';
import { States } from './states.ts';
import { Steering, type Voting } from './steering.ts';

/** @throws FormatError */
function decodeBody({ layer, body }: Envelope): GroupMessage {
  switch (layer) {
    case 'consensus':
      return { layer, message: decodeMessage(body, batchHash) };
    case 'session':
      return { layer, message: decodeSessionMessage(body) };
    case 'snapshot':
      return { layer, message: decodeSnapshotMessage(body) };
  }
}

function encodeBody(m: GroupMessage): Uint8Array {
  switch (m.layer) {
    case 'consensus':
      return encodeMessage(m.message);
    case 'session':
      return encodeSessionMessage(m.message);
    case 'snapshot':
      return encodeSnapshotMessage(m.message);
  }
}

/** Which stream a message travels on, so that consensus never waits behind a bulk transfer. */
export type Purpose = 'consensus' | 'session' | 'bulk';

export type GroupMessage =
  | { readonly layer: 'consensus'; readonly message: Message }
  | { readonly layer: 'session'; readonly message: SessionMessage }
  | { readonly layer: 'snapshot'; readonly message: SnapshotMessage };

/** A message on its way out; `frameOf` makes its bytes once for all its receivers. */
export type Outgoing = GroupMessage & { readonly to: readonly PeerId[]; readonly purpose: Purpose };

export interface ReplicaTurn {
  /** May leave before the write. */
  readonly send: readonly Outgoing[];
  readonly write: TurnWrite | null;
}

/** What became of something that this peer wrote. */
export interface Outcomes {
  /** On this disk: it will not be lost. */
  saved?(): void;
  /** Committed, or refused with the reason. */
  settled?(verdict: Verdict): void;
}

/** What became of a signed command that somebody carried here: on its way, here or agreed already, or not to be taken (a wrong signature, a gap, a former member's). */
export type Carried = 'new' | 'known' | 'refused';

export interface ReplicaPorts {
  readonly signer: Signer;
  readonly verifier: Verifier;
  readonly verifyAll: VerifyAll;
  readonly randomBytes: RandomBytes;
  /** In [0, 1). */
  readonly random: () => number;
  /** Sealed records on the disk. */
  readonly kv: KvReader;
  /** All of them as they are at this moment. */
  readonly snapshot: () => KvSnapshot;
}

export interface ReplicaEvents {
  /** The applied state moved to `applied`; what somebody who shows it should look at again. */
  onApplied?(applied: Slot, changes: readonly Change[]): void;
  /** Whom this group wants to reach: members, and voters that consensus still needs. */
  onPeers?(peers: readonly PeerId[]): void;
  onHello?(from: PeerId, hello: Hello): void;
  /** Something that came in or was read is wrong; it was dropped, and why. */
  onProblem?(problem: { readonly code: string; readonly message: string }): void;
  /** Leadership as seen here changed. */
  onLeader?(leader: PeerId | null): void;
  /** There is something to do that nobody from outside has brought. */
  onNews?(): void;
  /** This store is not the only one of its incarnation, or not the newest: it has fallen silent, and must be closed and opened with this verdict. */
  onVerdict?(verdict: IdentityVerdict): void;
}

export interface ReplicaSettings {
  /** A machine that is meant to stay on: preferred as a voter, and to lead. */
  readonly staysOn?: boolean;
  /** How patient the policy about voters is; production's times without it. */
  readonly policy?: PolicyTimes;
  /** How much it keeps of the log, and when it takes a snapshot. */
  readonly limits?: KeepingLimits;
}

/** The run of this store, as it stands on each of its frames. */
export interface Presence {
  /** Drawn at the start of the process, 8 bytes. */
  readonly nonce: Uint8Array;
  /** The last durable turn. */
  readonly turn: () => number;
}

/**
 * With two values on their way a further one waits until it is worth a round of signing, syncing and sending: small ones would cost a busy
 * leader more than they bring. Values, commands, bytes.
 */
const BUSY_VALUES = 2;
const WORTH_COMMANDS = 128;
const WORTH_BYTES = 64 * 1024;

/** 200 ms, in ticks. */
const STEER_TICKS = 4;
/** 10 s, in ticks. */
const FAREWELL_TICKS = 200;
/** A vote, or what makes one: it waits until the other side has greeted. */
const VOTING: ReadonlySet<Message['type']> = new Set(['prepare', 'promise', 'accept', 'accepted', 'transfer']);
const WRITE_REFUSED_DAMAGED: Refused = { refused: 'SESSION_CLOSED', detail: 'this store is damaged' };
/** It would never learn what became of it. */
const WRITE_REFUSED_WITNESS: Refused = {
  refused: 'SESSION_CLOSED',
  detail: 'this machine is a witness and keeps no entries',
};

/**
 * One group on one peer: core, driver, state machine and outbox wired together, sans-I/O. The simulator and the running peer run just
 * this; they differ in clock, disk, network and keys.
 */
export class Replica implements Application {
  readonly group: GroupId;
  readonly self: PeerId;
  readonly incarnation: Incarnation;
  readonly reader: DocumentReader;
  readonly outbox: Outbox;
  readonly #store: OpenedStore;
  readonly #ports: ReplicaPorts;
  readonly #events: ReplicaEvents;
  readonly #core: Core;
  readonly #driver: Driver;
  readonly #document: Document;
  readonly #verdicts: Verdicts;
  readonly #pool: Pool;
  readonly #offers: Offers;
  readonly #waiting = new Map<number, Outcomes>();
  /** Since the last turn began. */
  #hasTicked = false;
  /** Handles whose command is in the batch of the turn under way. */
  #cutHandles: number[] = [];
  #uncutHandles: number[] = [];
  #cutSeq: number;
  #savedSeq: number;
  #leader: PeerId | null = null;
  #outgoing: Outgoing[] = [];
  #changes: Change[] = [];
  #members: readonly PeerId[] = [];
  #met: { readonly peers: readonly PeerId[]; readonly at: Slot } = { peers: [], at: slot(0) };
  /** Members expelled a moment ago, and since which tick: they are told so before they are cut off. */
  readonly #leaving = new Map<PeerId, number>();
  /** The configurations of the window, by name. */
  #window: readonly Slot[] = [];
  #paused: UpdateNeeded | null = null;
  #forked = false;
  #lastNote = '';
  #ticks = 0;
  readonly #states = new States();
  readonly #state: StateArea;
  readonly #keeping: Keeping;
  readonly #recovery: RecoveryExchange;
  readonly #rescue: Rescue;
  /** Values are applied as they are chosen: not at a witness, and not where some are not here. Once false, until the store is opened anew. */
  #applies: boolean;
  readonly #barriers: Barriers;
  readonly #staysOn: boolean;
  readonly #presence: Presence | null;
  readonly #sightings: Sightings;
  readonly #lineage: Lineage | null;
  readonly #gate = new Gate();
  /** Set once this store must not speak any more. */
  #verdict: IdentityVerdict | null = null;
  #isStopping = false;
  /** The peer's incarnation as of the last slot applied. */
  #ownIncarnation: Incarnation | null = null;

  readonly #steering: Steering;
  /** This peer's clock, as of the last turn. */
  #nowMs = 0;

  constructor(
    init: ReplicaSettings & {
      readonly self: PeerId;
      readonly store: OpenedStore;
      readonly ports: ReplicaPorts;
      readonly events?: ReplicaEvents;
      /** Without it, nobody is greeted, and votes wait for no greeting. */
      readonly presence?: Presence;
    },
  ) {
    const { store, ports } = init;
    this.group = store.group;
    this.self = init.self;
    this.incarnation = store.incarnation;
    this.#store = store;
    this.#ports = ports;
    this.#events = init.events ?? {};
    this.#staysOn = init.staysOn ?? false;
    this.#presence = init.presence ?? null;
    this.#sightings = new Sightings(store.seen);
    this.#lineage = init.presence ? new Lineage(store.runs, init.presence.nonce, init.presence.turn()) : null;
    this.#barriers = new Barriers(ports.random);
    const overlay = new Overlay(ports.kv);
    this.#state = new StateArea(overlay, store.area);
    this.reader = new DocumentReader(this.#state);
    this.#verdicts = new Verdicts(ports.verifyAll, (signed: SignedBytes) => ports.verifier.verify(signed));
    this.#document = new Document({
      reader: this.#state,
      verifyRun: (run) => this.#verdicts.of(run),
      verifier: ports.verifier,
    });
    this.#pool = new Pool((session) => this.reader.session(session.peer, session.incarnation)?.lastSeq ?? 0);
    this.outbox = new Outbox({
      group: store.group,
      peer: init.self,
      incarnation: store.incarnation,
      random: ports.randomBytes,
    });
    this.#offers = new Offers(this.outbox);
    this.#core = new Core({
      self: { peer: init.self, incarnation: store.incarnation },
      alpha: store.genesis.alpha,
      genesis: store.firstConfiguration,
      restored: store.restored,
      votes: this.isSound && votesIn(store.recovery),
      random: ports.random,
    });
    this.#steering = new Steering({
      self: init.self,
      staysOn: this.#staysOn,
      isSound: this.isSound,
      alpha: store.genesis.alpha,
      times: init.policy ?? POLICY_TIMES,
      core: this.#core,
      reader: this.reader,
    });
    this.#driver = new Driver({
      core: this.#core,
      app: this,
      self: init.self,
      incarnation: store.incarnation,
      overlay,
      hash: batchHash,
    });
    this.#applied = this.reader.appliedSlot();
    this.#keeping = new Keeping({
      self: init.self,
      area: store.area,
      alpha: store.genesis.alpha,
      genesisDigest: genesisDigest(store.genesisBytes),
      missing: store.missing,
      staging: store.staging,
      limits: init.limits ?? KEEPING_LIMITS,
      core: this.#core,
      overlay,
      snapshot: ports.snapshot,
      enqueue: (input) => this.#driver.enqueue(input),
      say: (to, message) => {
        this.#outgoing.push({ to: [to], purpose: 'bulk', layer: 'snapshot', message });
        this.#events.onNews?.();
      },
      applied: () => this.#applied,
      applies: () => this.#applies,
      mayHave: (peer) => this.serveLimit(peer) === null,
      onProblem: (code, message) => this.#problem(code, message),
      onDamage: (key, error) => this.onDamage(key, error),
    });
    this.#recovery = new RecoveryExchange({
      self: init.self,
      group: store.group,
      start: { alpha: store.genesis.alpha, first: store.firstConfiguration },
      records: store.recovery,
      core: this.#core,
      verifier: ports.verifier,
      kv: overlay,
      say: (to, message) => {
        this.say(to, message);
        this.#events.onNews?.();
      },
      write: (ops) => overlay.defer(ops),
      isMember: (peer) => this.reader.member(peer)?.expelledSlot === null || this.#members.includes(peer),
      onProblem: (code, message) => this.#problem(code, message),
    });
    this.#rescue = new Rescue(store.rescued);
    this.#applies = this.#keeping.isReplayable && !this.isWitness;
    if (!this.#applies) this.#driver.enqueue({ type: 'may-lead', may: false });
    this.#appliedDigest = this.#digestAtStart(overlay);
    const loaded = this.outbox.load([...store.outbox, ...store.refused], this.reader);
    this.#cutSeq = this.outbox.lastSeq;
    this.#savedSeq = this.outbox.lastSeq;
    this.#ownOps = [...loaded.ops];
    this.#takeSettling(loaded);
    this.#ownIncarnation = this.#incarnationInLog();
    this.#updateMembers();
  }

  #digestAtStart(overlay: KvReader): Uint8Array {
    if (this.applied === this.#core.prefix) return this.#core.digest;
    const key = digestKey(this.applied);
    const record = overlay.get(key);
    return record ? decodeDigest(record) : genesisDigest(this.#store.genesisBytes);
  }

  /** What the next turn has to write down beside the commands: what loading the outbox left, what was dismissed. */
  #ownOps: KvOp[];

  // --- how things stand

  get isSound(): boolean {
    return this.#store.problems.length === 0;
  }

  /** What was found wrong with this store when it was opened. */
  get problems(): OpenedStore['problems'] {
    return this.#store.problems;
  }

  /** Why this store has another incarnation than it was made with; null where it has not. */
  get reborn(): OpenedStore['reborn'] {
    return this.#store.reborn;
  }

  /** The incarnation that a peer was last seen under here; null for one that never was. */
  seenIncarnation(peer: PeerId): Incarnation | null {
    return this.#sightings.incarnationOf(peer);
  }

  get genesisBytes(): Uint8Array {
    return this.#store.genesisBytes;
  }

  /** Set while something newer than this program waits to be applied. */
  get paused(): UpdateNeeded | null {
    return this.#paused;
  }

  get canApply(): boolean {
    return this.#paused === null && this.#applies;
  }

  /** What of the prefix is not held here. */
  get missing(): Missing {
    return this.#keeping.missing;
  }

  /** A snapshot on its way: up to which slot it reaches, and how many entries are in it. */
  get fetchingSnapshot(): { readonly slot: Slot; readonly positions: number } | null {
    return this.#keeping.fetching;
  }

  /** How far a forced recovery is; null where none is under way. */
  get recovery(): RecoveryStanding | null {
    return this.#recovery.standing;
  }

  /** Set where this store is to be set aside: the others went on with another log than the one that is here. */
  get outcast(): Candidate | null {
    return this.hasWork() ? null : this.#recovery.outcast;
  }

  /** After which slot the last forced recovery went on, and whether anything may be lost by it; null where there was none. */
  get lastRecovery(): { readonly slot: Slot; readonly lossless: boolean } | null {
    return this.#recovery.last;
  }

  /** A store that was made to follow others from the start, and has not written anything yet. */
  get isSuccessor(): boolean {
    return (
      this.isSound && this.#recovery.standing?.step === 'following' && this.prefix === 0 && this.outbox.lastSeq === 0
    );
  }

  /** Where the log went on by forced recovery. */
  get recovered(): readonly Proof[] {
    return this.#recovery.proofs;
  }

  /** It votes, applies nothing, and never leads. */
  get isWitness(): boolean {
    return this.#core.configuration.voters.some((v) => v.peer === this.self && v.witness);
  }

  /** Where a record of the state machine stands on the disk. */
  stateKey(key: string): string {
    return placed(this.#state.area, key);
  }

  /**
   * Between two turns: the store is to be opened anew, since a snapshot is there to be installed, since what could not be applied can be now, or since another epoch
   * begins. Nothing that was not saved is lost by it.
   */
  get wantsReopening(): boolean {
    if (this.hasWork()) return false;
    if (this.#recovery.ready() !== null) return true;
    if (this.#keeping.install() !== null) return true;
    return !this.#applies && this.#paused === null && !this.isWitness && this.#keeping.isReplayable;
  }

  /** The last batch before the store is opened anew, null where there is nothing to write. Nothing may be asked of this replica afterwards. */
  lastWrite(): TurnWrite | null {
    const last = this.#recovery.ready() ?? this.#keeping.install();
    const write = this.#driver.last(last?.ops ?? [], last?.prefix ?? this.#core.prefix);
    // The run is noted with its first batch, and this may be it.
    return this.#withSightings(write.ops.length > 0 ? write : null);
  }

  /** It is not read from any more. */
  end(): void {
    this.#keeping.end();
  }

  /** Somebody else writes as this store: it was copied. */
  get isForked(): boolean {
    return this.#forked;
  }

  get applied(): Slot {
    return this.#applied;
  }

  /** The digest of the committed log up to `applied`. */
  get appliedDigest(): Uint8Array {
    return this.#appliedDigest;
  }

  get prefix(): Slot {
    return this.#core.prefix;
  }

  /** Whom this group exchanges frames with. */
  get peers(): readonly PeerId[] {
    return this.#members;
  }

  inspect(): CoreView {
    return this.#core.inspect();
  }

  beatOf(peer: PeerId): Heartbeat | null {
    return this.#core.beatOf(peer);
  }

  changeObstacle(next: Pick<Configuration, 'voters' | 'q1' | 'q2'>): string | null {
    return this.#core.changeObstacle(next);
  }

  get lastOwnSeq(): number {
    return Math.max(this.outbox.lastSeq, this.#store.markedOwnSeq);
  }

  /**
   * Members that are known from elsewhere, as of `at`: told by the one that let this peer in, or remembered from before the store was damaged. They are
   * reached until the log itself says who is in the group.
   */
  meet(peers: readonly PeerId[], at: Slot): void {
    this.#met = { peers, at };
    this.#updateMembers();
  }

  /** As they were told to `meet`, for the next replica of this store. */
  get met(): { readonly peers: readonly PeerId[]; readonly at: Slot } {
    return this.#met;
  }

  // --- writing

  /** Adds a command of this peer's. Refused at once where no peer would take it, and on a damaged store. */
  write(
    body: Body,
    written: Written,
    outcomes: Outcomes,
    options: { readonly quiet?: boolean } = {},
  ): Pending | Refused {
    if (!this.isSound) return WRITE_REFUSED_DAMAGED;
    if (this.isWitness) return WRITE_REFUSED_WITNESS;
    this.#openSession(written);
    return this.#await(this.outbox.add(body, written, options), outcomes);
  }

  edit(wish: EditWish, written: Written, outcomes: Outcomes): Pending | Refused {
    if (!this.isSound) return WRITE_REFUSED_DAMAGED;
    if (this.isWitness) return WRITE_REFUSED_WITNESS;
    this.#openSession(written);
    return this.#await(this.outbox.edit(this.reader, wish, written), outcomes);
  }

  /** A store that was reborn begins with this, whatever of the log it has: it ends its former session (R8). */
  #openSession(written: Written): void {
    if (this.#store.reborn === null || !this.isSound || this.outbox.lastSeq > 0) return;
    this.outbox.openSession({ ...written, writer: '' });
  }

  #await(made: Pending | Refused, outcomes: Outcomes): Pending | Refused {
    if ('refused' in made) return made;
    this.#waiting.set(made.handle, outcomes);
    this.#uncutHandles.push(made.handle);
    return made;
  }

  /** Nobody waits for it any more; the command itself goes on. */
  forget(handle: number): void {
    this.#waiting.delete(handle);
  }

  /** `then` gets a slot that is applied and no older than this moment (R9). All wishes of a turn share one no-op. */
  barrier(then: (at: Slot) => void): void {
    this.#barriers.wish(then);
  }

  /** Before a stop: what is decided is written, then `isFlushed`. */
  flush(): void {
    // What was seen of others may be all that there is to write.
    if (!this.#isStopping && this.#lineage !== null) this.#ownOps.push(...this.#sightings.takeOps(true));
    this.#isStopping = true;
    this.#driver.flush();
  }
  get isFlushed(): boolean {
    return this.#driver.isFlushed && this.#ownOps.length === 0;
  }

  /** To `to`, or to whoever is best: a machine that stays on, if there is one. Without effect unless this peer leads. */
  handOver(to: PeerId | null): void {
    const best = to ?? this.#steering.successor();
    this.#driver.enqueue({ type: 'hand-over', to: best });
    // Should it be unable after all, somebody else is better than nobody.
    if (to === null && best !== null) this.#driver.enqueue({ type: 'hand-over', to: null });
  }

  /** Has the leader, wherever it is, hand leadership to `to`. May come to nothing: ask again. */
  askToLead(to: PeerId): void {
    if (this.#leader === this.self) this.handOver(to);
    else if (this.#leader !== null) this.say(this.#leader, { type: 'lead', to });
  }

  /** Who will vote next, and what that waits for. */
  voting(): Voting {
    return this.#steering.voting();
  }

  /** The leader proposes these quorum sizes for the voters that there are. Without effect where that is not possible now. */
  proposeQuorums(q1: number, q2: number): void {
    this.#driver.enqueue({ type: 'reconfigure', voters: this.#core.configuration.voters, q1, q2 });
  }

  // --- in

  tick(): void {
    this.#hasTicked = true;
    this.#ticks++;
    this.#sightings.tick();
    this.#driver.enqueue({ type: 'tick' });
    this.#offers.tick();
    this.#pumpOffers();
    this.#updateNote();
    this.#letGo();
    this.#keeping.tick();
    this.#recovery.tick();
    this.#offerRescued();
    this.#steer();
  }

  connection(peer: PeerId, connected: boolean): void {
    this.#driver.enqueue({ type: 'connection', peer, connected });
    this.#gate.close(peer);
    if (!connected) return;
    if (this.#presence !== null) this.#greet(peer, true);
    this.#offers.onConnected(peer);
  }

  /** Speaks to one peer on the session stream: for what the layers around this one have to say. */
  say(to: PeerId, message: SessionMessage): void {
    this.#outgoing.push({ to: [to], purpose: 'session', layer: 'session', message });
  }

  /** A frame from a member. Nothing of it is believed before it is validated. A promise is open while signatures are verified elsewhere. */
  receiveFrame(from: PeerId, frame: Uint8Array): void | Promise<void> {
    try {
      return this.receiveEnvelope(from, decodeEnvelope(frame));
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      return this.#problem('BAD_MESSAGE', `${from} sent something that can't be read: ${error.message}`);
    }
  }

  receiveEnvelope(from: PeerId, envelope: Envelope): void | Promise<void> {
    try {
      if (envelope.group !== this.group)
        return this.#problem('OTHER_GROUP', `a frame of ${envelope.group} from ${from}`);
      const m = decodeBody(envelope);
      if (m.layer === 'session' && isRecoveryMessage(m.message)) return this.#recovery.onMessage(from, m.message);
      if (!equal(envelope.epoch, this.#epoch)) return this.#recovery.onOtherEpoch(from, envelope.epoch);
      if (this.#recovery.isDeaf) return;
      return this.#presence === null
        ? this.receive(from, envelope.incarnation, m)
        : this.#receiveSeen(from, envelope, m);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      return this.#problem('BAD_MESSAGE', `${from} sent something that can't be read: ${error.message}`);
    }
  }

  #receiveSeen(from: PeerId, { incarnation, nonce, turn }: Envelope, m: GroupMessage): void | Promise<void> {
    this.#sightings.frame(from, incarnation, nonce, turn);
    if (m.layer === 'session' && m.message.type === 'greeting') {
      const isTwice = turn > 0 && this.#sightings.greeting(from, incarnation, nonce);
      if (isTwice || m.message.asks) this.#greet(from, false);
      this.#judge(from, m.message);
      return this.#gate.open(from, nonce);
    }
    if (m.layer !== 'consensus' || !VOTING.has(m.message.type) || this.#gate.isOpen(from, nonce)) {
      return this.receive(from, incarnation, m);
    }
    this.#gate.hold(from, () => this.receive(from, incarnation, m));
    if (this.#gate.mayAsk(from, this.#ticks)) this.#greet(from, true);
  }

  #greet(to: PeerId, asks: boolean): void {
    this.say(to, { type: 'greeting', asks, seen: this.#sightings.of(to) });
  }

  #judge(from: PeerId, { seen }: Greeting): void {
    if (this.#presence === null || this.#lineage === null || !this.isSound) return;
    const by = this.reader.member(from)?.name || from.slice(-6);
    const own = {
      incarnation: this.incarnation,
      turn: this.#presence.turn(),
      lineage: this.#lineage,
      formers: this.#store.reborn?.formers ?? [],
    };
    const verdict = judgeSeen(own, seen, by);
    if (verdict !== null) this.#fallSilent(verdict);
  }

  /** From now on nothing of this store counts or is counted. */
  #fallSilent(verdict: IdentityVerdict): void {
    if (this.#verdict !== null) return;
    this.#verdict = verdict;
    this.#events.onVerdict?.(verdict);
  }

  receive(from: PeerId, incarnation: Incarnation, m: GroupMessage): void | Promise<void> {
    if (m.layer === 'session') return this.#onSession(from, m.message);
    if (m.layer === 'snapshot') return this.#keeping.onMessage(from, m.message);
    const { message } = m;
    if (this.#verdict !== null && VOTING.has(message.type)) return;
    if (message.type === 'heartbeat') this.#compareState(from, message);
    const runs = runsIn(message);
    const accept = (): void => this.#driver.enqueue({ type: 'message', from, incarnation, message });
    if (runs.length === 0) return accept();
    return this.#verdicts.ensure(runs, (allValid) => {
      // Acceptors take nothing that is not signed. What is chosen already is learned all the same; apply passes over it.
      if (!allValid && message.type === 'accept') {
        return this.#problem('BAD_SIGNATURE', `${from} proposed a command whose signature is wrong`);
      }
      accept();
    });
  }

  #onSession(from: PeerId, m: SessionMessage): void | Promise<void> {
    if (m.type === 'hello') return this.#events.onHello?.(from, m);
    if (m.type === 'lead') return this.#onLeadAsked(from, m.to);
    if (m.type === 'greeting') return;
    if (isRecoveryMessage(m)) return this.#recovery.onMessage(from, m);
    const runs = m.runs.map(decodeRun).filter((run) => run.group === this.group);
    return this.#verdicts.ensure(runs, () => {
      if (this.#leader !== this.self) return;
      for (const run of runs) {
        if (!this.#verdicts.of(run))
          return this.#problem('BAD_SIGNATURE', `${from} offered a command whose signature is wrong`);
        const offered = this.#pool.offer(run);
        if (offered === 'gap' || offered === 'full') return;
      }
      this.#hasNews = true;
    });
  }

  /** Who leads is a keeper's to say, as who votes. */
  #onLeadAsked(from: PeerId, to: PeerId): void {
    const keeper = this.reader.member(from);
    if (keeper?.expelledSlot !== null || keeper.rights !== 'keeper') {
      return this.#problem('NOT_KEEPER', `${from} asked for another leader, and is no keeper`);
    }
    if (to !== this.self) this.handOver(to);
  }

  /** Something came in that is no input of the core: the next turn has to look at it. */
  #hasNews = false;

  get #epoch(): Uint8Array {
    return this.#recovery.epoch;
  }

  // --- turns

  get isReady(): boolean {
    return this.#driver.isReady;
  }

  get queuedInputs(): number {
    return this.#driver.queuedInputs;
  }

  begin(nowMs: number): ReplicaTurn {
    this.#nowMs = nowMs;
    const turn = this.#driver.begin(nowMs);
    return { send: this.#outgoingOf(turn.send), write: this.#withSightings(turn.write) };
  }

  /** What was seen of others, and this run itself, is kept with a batch that is written anyway. */
  #withSightings(write: TurnWrite | null): TurnWrite | null {
    if (write === null || this.#lineage === null) return write;
    const ops = [...this.#lineage.takeOps(), ...this.#sightings.takeOps(this.#isStopping)];
    return ops.length === 0 ? write : { ...write, ops: [...write.ops, ...ops.map(sealed)] };
  }

  batchLanded(): readonly Outgoing[] {
    return this.#outgoingOf(this.#driver.batchLanded());
  }

  finish(): readonly Outgoing[] {
    return this.#outgoingOf(this.#driver.finish());
  }

  applyTurn(): void {
    this.#driver.apply();
  }

  #outgoingOf(messages: readonly CoreOutgoing[]): readonly Outgoing[] {
    const out: Outgoing[] = messages.map(({ to, message }) => ({
      to,
      purpose: message.type === 'values' || message.type === 'not-held' ? 'bulk' : 'consensus',
      layer: 'consensus',
      message,
    }));
    if (this.#outgoing.length > 0) {
      out.push(...this.#outgoing);
      this.#outgoing = [];
    }
    return this.#verdict === null ? out : out.filter((each) => each.layer === 'session');
  }

  /** @param nonce drawn at the start of this process. @param turn the last durable one. */
  frameOf(out: GroupMessage, nonce: Uint8Array, turn: number): Uint8Array {
    return encodeEnvelope({
      group: this.group,
      epoch: this.#epoch,
      incarnation: this.incarnation,
      nonce,
      // One that neither votes nor writes adds nothing to what its incarnation said: nobody is to hold that against the other one.
      turn: this.isSound ? turn : 0,
      layer: out.layer,
      body: encodeBody(out),
    });
  }

  // --- Application: called by the driver

  hasWork(): boolean {
    return (
      this.#mayCut || this.#ownOps.length > 0 || this.#barriers.areWished || this.#outgoing.length > 0 || this.#hasNews
    );
  }

  /** Signed commands that are here and not agreed: own ones that are on the disk, and others' that wait in the pool. */
  carriedRuns(): readonly Run[] {
    const own = this.outbox
      .carriedRuns()
      .filter((run) => run.incarnation !== this.incarnation || run.lastSeq <= this.#savedSeq);
    const isOwn = (run: Run): boolean => run.peer === this.self && run.incarnation === this.incarnation;
    return [...own, ...this.#pool.waiting().filter((run) => !isOwn(run))];
  }

  /**
   * Brings signed commands to the leader as their authors would (R8): each session's in its order. `then` is told what became of each; null where nobody leads, so
   * that nothing was done.
   */
  relay(runs: readonly Run[], then: (carried: readonly Carried[] | null) => void): void | Promise<void> {
    return this.#verdicts.ensure(runs, () => {
      const leader = this.#leader;
      if (leader === null) return then(null);
      const carried = runs.map((run): Carried => this.#carry(run, leader));
      const sent = runs.filter((_, i) => carried[i] === 'new');
      if (leader !== this.self && sent.length > 0) {
        this.say(leader, { type: 'offer', runs: sent.map((run) => run.bytes) });
      }
      this.#hasNews = true;
      then(carried);
    });
  }

  #carry(run: Run, leader: PeerId): Carried {
    if (run.group !== this.group || !this.#verdicts.of(run)) return 'refused';
    const { lastSeq = 0, closed = false } = this.reader.session(run.peer, run.incarnation) ?? {};
    if (run.lastSeq <= lastSeq) return 'known';
    if (closed || this.reader.member(run.peer)?.expelledSlot !== null) return 'refused';
    if (leader !== this.self) return 'new';
    const offered = this.#pool.offer(run);
    return offered === 'kept' ? 'new' : offered === 'duplicate' ? 'known' : 'refused';
  }

  /** A refused command is not shown any more. In the next batch. */
  dismiss(key: string): void {
    this.#ownOps.push(...this.outbox.dismiss(key));
  }

  beginTurn(nowMs: number): readonly KvOp[] {
    this.#hasNews = false;
    this.#openSession({ writer: '', timeMs: nowMs, offsetMinutes: 0, saw: this.applied, level: LEVEL });
    if (this.#barriers.areWished) this.#driver.enqueue({ type: 'barrier', id: this.#barriers.ask() });
    const ops = [...this.#ownOps];
    this.#ownOps = [];
    const mayCut = this.#mayCut;
    this.#hasTicked = false;
    if (mayCut) {
      const cut = this.outbox.cut(this.#ports.signer);
      for (const run of cut.runs) this.#verdicts.trust(run);
      this.#cutSeq = this.outbox.lastSeq;
      ops.push(...cut.ops, { type: 'put', key: 'm/own', value: encodeCbor(this.lastOwnSeq) });
    }
    if (mayCut || !this.outbox.needsCut) {
      this.#cutHandles = this.#uncutHandles;
      this.#uncutHandles = [];
    }
    return ops;
  }

  get #isBusy(): boolean {
    return this.#leader === this.self && this.#core.inFlight >= BUSY_VALUES;
  }

  /** Saving never waits for the group: a busy leader's own commands are held back until the next tick at most. */
  get #mayCut(): boolean {
    if (!this.outbox.needsCut) return false;
    return this.#hasTicked || !this.#isBusy || this.outbox.uncut >= WORTH_COMMANDS;
  }

  nextValue(nowMs: number): NextValue | null {
    this.#feedPool();
    if (this.#isBusy && this.#pool.bytes < WORTH_BYTES) return null;
    const runs = this.#pool.take();
    if (runs.length === 0) return null;
    const isUnsaved = (run: Run): boolean =>
      run.peer === this.self && run.incarnation === this.incarnation && run.lastSeq > this.#savedSeq;
    return {
      value: commandsValue(encodeBatch(nowMs, runs), batchHash),
      afterBatch: runs.some(isUnsaved),
      awaitedBy: [...new Set(runs.map((run) => run.peer))],
    };
  }

  beforeWrite(): readonly KvOp[] {
    return this.#keeping.drop();
  }

  persisted(): void {
    this.#savedSeq = this.#cutSeq;
    for (const handle of this.#cutHandles) this.#waiting.get(handle)?.saved?.();
    this.#cutHandles = [];
    this.#pumpOffers();
  }

  apply(at: Slot, value: Value, digest: Uint8Array, write: (ops: readonly KvOp[]) => void): void {
    // A witness applies nothing from the slot on that makes it one.
    if (this.#applies && this.isWitness) this.#applies = false;
    if (this.#paused !== null || !this.#applies) return;
    const applied = this.#applyValue(at, value);
    if (applied.type === 'update-needed') {
      this.#paused = applied;
      this.#driver.enqueue({ type: 'may-lead', may: false });
      return;
    }
    write(this.#state.ops(applied.ops));
    this.#applied = at;
    this.#appliedDigest = digest;
    if (applied.changes.some((c) => c.type === 'session' && c.peer === this.self)) this.#lookForSuccessor(write);
    for (const ignored of applied.ignored) this.#noteIgnored(ignored);
    if (applied.outcomes.length > 0) {
      const settling = this.outbox.onOutcomes(applied.outcomes, this.reader);
      write(settling.ops);
      this.#takeSettling(settling);
      for (const { peer, incarnation, seq } of applied.outcomes) {
        if (peer === this.self && incarnation === this.incarnation) this.#offers.onSettled(seq);
      }
    }
    this.#changes.push(...applied.changes);
    this.#states.applied(at, this.reader.stateHash());
  }

  /** The log names another store of this very peer than before, when it was this one: it was replaced. The verdict is kept with the state that says so. */
  #lookForSuccessor(write: (ops: readonly KvOp[]) => void): void {
    const before = this.#ownIncarnation;
    this.#ownIncarnation = this.#incarnationInLog();
    if (before !== this.incarnation || this.#ownIncarnation === this.incarnation || !this.isSound) return;
    write([keptVerdict(REPLACED)]);
    this.#fallSilent(REPLACED);
  }

  #incarnationInLog(): Incarnation | null {
    return this.reader.exists() ? (this.reader.member(this.self)?.incarnation ?? null) : null;
  }

  #applyValue(at: Slot, value: Value): Applied | UpdateNeeded {
    if (value.kind === 'commands') return this.#document.apply(at, value.payload);
    const recovered = value.kind === 'configuration' ? this.#core.recoveredIn(at) : null;
    if (recovered === null) return this.#document.skip(at);
    return this.#document.recovered(
      at,
      recovered.voters.map((v) => v.peer),
    );
  }

  turnApplied(): void {
    for (const c of this.#changes) {
      if (c.type === 'member' && c.what === 'expelled' && c.peer !== this.self) this.#leaving.set(c.peer, this.#ticks);
    }
    const window = this.#core.window().map((inForce) => inForce.slot);
    const isSameWindow = window.length === this.#window.length && window.every((at, i) => at === this.#window[i]);
    this.#window = window;
    // Also where only the configurations moved: a voter that is no member any more is reached as long as it votes.
    if (!isSameWindow || this.#changes.some((c) => c.type === 'member' || c.type === 'session')) this.#updateMembers();
    const { applied } = this;
    this.#barriers.applied(applied);
    if (this.#appliedTold !== applied) {
      this.#appliedTold = applied;
      const changes = this.#changes;
      this.#changes = [];
      this.#events.onApplied?.(applied, changes);
    }
  }

  #appliedTold: Slot = slot(0);
  #applied: Slot;
  #appliedDigest: Uint8Array;

  onLeader(leader: PeerId | null, _ballot: Ballot | null, self: boolean): void {
    this.#leader = self ? this.self : leader;
    this.#pool.reset();
    this.#offers.onLeader(this.#leader);
    this.#events.onLeader?.(this.#leader);
  }

  onBarrier(id: number, at: Slot): void {
    this.#barriers.placed(id, at);
  }

  /** Whoever was expelled hears of that, and of nothing after it; but as long as it votes, the group may need it to know all (R2). */
  serveLimit(peer: PeerId): Slot | null {
    const votes = this.#core.window().some(({ configuration: c }) => c.voters.some((v) => v.peer === peer));
    if (votes) return null;
    // It knows of no member that came or went since: only who votes gets anything from it.
    if (this.isWitness) return slot(0);
    return this.reader.member(peer)?.expelledSlot ?? null;
  }

  onDamage(key: string, error: unknown): void {
    this.#problem('RECORD_DAMAGED', `${key}: ${error instanceof Error ? error.message : String(error)}`);
  }

  // --- inside

  #takeSettling({ settled, forked }: Settling): void {
    if (forked) this.#onForked();
    for (const { handle, verdict } of settled) {
      const outcomes = this.#waiting.get(handle);
      this.#waiting.delete(handle);
      outcomes?.settled?.(verdict);
    }
  }

  /** Put back, as it seems; should the other one be alive, it finds itself replaced, and asks. */
  #onForked(): void {
    this.#forked = true;
    if (this.#presence === null || !this.isSound) return;
    this.#fallSilent({ code: 'ROLLED_BACK', message: 'the group knows commands of it that it does not know itself' });
  }

  #noteIgnored(ignored: Ignored): void {
    if (ignored.why === 'duplicate' || ignored.why === 'gap') return;
    this.#problem('COMMAND_IGNORED', `${ignored.why}: ${ignored.peer ?? 'a whole value'}`);
  }

  /** Own runs go to the pool where this peer leads. Those of this very turn too: their Accept waits for the disk. */
  #feedPool(): void {
    if (this.#leader !== this.self) return;
    for (let next = this.#offers.next(this.#cutSeq); next !== null; next = this.#offers.next(this.#cutSeq)) {
      for (const run of next.runs) {
        const offered = this.#pool.offer(run);
        if (offered === 'full' || offered === 'gap') return this.#offers.notTaken(run.firstSeq - 1);
      }
    }
  }

  #pumpOffers(): void {
    if (this.#leader === null || this.#leader === this.self) return;
    const next = this.#offers.next(this.#savedSeq);
    if (next === null) return;
    this.say(next.to, { type: 'offer', runs: next.runs.map((run) => run.bytes) });
  }

  /** What a log held that others went on without, and that this one may not have yet. */
  #offerRescued(): void {
    if (this.#leader === null || this.#rescue.isEmpty || !this.canApply) return;
    const runs = this.#rescue.tick(this.reader, (ops) => this.#ownOps.push(...ops));
    if (runs.length === 0) return;
    if (this.#leader !== this.self) this.say(this.#leader, { type: 'offer', runs: runs.map((run) => run.bytes) });
    else for (const run of runs) if (this.#verdicts.of(run)) this.#pool.offer(run);
  }

  #updateMembers(): void {
    const peers = new Set(this.reader.members().map((m) => m.peer));
    for (const { configuration: c } of this.#core.window()) for (const v of c.voters) peers.add(v.peer);
    const isNewcomer = this.reader.member(this.self)?.expelledSlot !== null;
    if (isNewcomer || this.applied < this.#met.at) for (const peer of this.#met.peers) peers.add(peer);
    for (const peer of this.#leaving.keys()) peers.add(peer);
    peers.delete(this.self);
    this.#members = [...peers];
    this.#driver.enqueue({ type: 'members', peers: this.#members });
    this.#events.onPeers?.(this.#members);
  }

  /** Whoever was expelled has heard of it, or had time to. */
  #letGo(): void {
    let isChanged = false;
    for (const [peer, sinceTick] of this.#leaving) {
      const expelledSlot = this.reader.member(peer)?.expelledSlot ?? null;
      const knows = expelledSlot !== null && (this.#core.beatOf(peer)?.prefix ?? 0) >= expelledSlot;
      if (expelledSlot !== null && !knows && this.#ticks - sinceTick < FAREWELL_TICKS) continue;
      this.#leaving.delete(peer);
      isChanged = true;
    }
    if (isChanged) this.#updateMembers();
  }

  #updateNote(): void {
    const { applied } = this;
    const state = this.reader.stateHash();
    const key = `${applied}`;
    if (key === this.#lastNote) return;
    this.#lastNote = key;
    const note = encodeNote({ levelMax: LEVEL, applied, state, staysOn: this.#staysOn });
    this.#driver.enqueue({ type: 'note', note });
  }

  #compareState(from: PeerId, beat: Heartbeat): void {
    if (beat.note.length === 0) return;
    const { applied, state } = decodeNote(beat.note);
    if (!this.#states.differs(from, applied, state, this.reader.members().length)) return;
    this.#problem('STATE_MISMATCH', `the state after slot ${applied} differs from ${from}'s`);
  }

  /** Voters and leadership are looked after a few times a second. */
  #steer(): void {
    if (this.#ticks % STEER_TICKS !== 0) return;
    const inputs = this.#steering.tick(this.#ticks, this.#nowMs, this.#members);
    if (this.#paused === null) for (const input of inputs) this.#driver.enqueue(input);
  }

  #problem(code: string, message: string): void {
    this.#events.onProblem?.({ code, message });
  }
}
