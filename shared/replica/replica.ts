import { equal } from '../base/bytes.ts';
import { FormatError } from '../base/cbor.ts';
import type { SignedBytes } from '../base/crypto.ts';
import { type GroupId, type Incarnation, type PeerId, type Slot, slot } from '../base/ids.ts';
import type { KvOp, KvReader } from '../base/kv.ts';
import type { Ballot } from '../consensus/ballot.ts';
import type { Configuration } from '../consensus/configuration.ts';
import { Core, type CoreView } from '../consensus/core.ts';
import type { Heartbeat } from '../consensus/messages.ts';
import type { Value } from '../consensus/value.ts';
import {
  type Body,
  batchHash,
  Document,
  DocumentReader,
  LEVEL,
  type Refused,
  type Run,
  type UpdateNeeded,
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
import { type EditWish, Outbox, type Pending, type Written } from '../session/index.ts';
import { decodeEnvelope, type Envelope, encodeEnvelope } from '../wire/envelope.ts';
import { isRecoveryMessage, type SessionMessage } from '../wire/session-messages.ts';
import { Applying } from './applying.ts';
import { placed, StateArea } from './area.ts';
import { Authoring } from './authoring.ts';
import { Barriers } from './barriers.ts';
import { Greetings, isVoting } from './greetings.ts';
import { REPLACED } from './identity.ts';
import { runsIn, Verdicts } from './ingress.ts';
import { KEEPING_LIMITS, Keeping } from './keeping.ts';
import { Mending, type MendStanding } from './mending.ts';
import { decodeBody, encodeBody, type FrameHead, type GroupMessage, type Outgoing } from './messages.ts';
import { genesisDigest, type OpenedStore } from './opening.ts';
import { POLICY_TIMES } from './policy.ts';
import type {
  Carried,
  Outcomes,
  Presence,
  ReplicaEvents,
  ReplicaPorts,
  ReplicaSettings,
  ReplicaTurn,
} from './ports.ts';
import type { Preview } from './preview.ts';
import { type Met, Reach } from './reach.ts';
import { type Candidate, RecoveryExchange, type RecoveryStanding } from './recovery-exchange.ts';
import { type Proof, votesIn } from './recovery-store.ts';
import { Steering, type Voting } from './steering.ts';

export type { FrameHead, GroupMessage, Outgoing, Purpose } from './messages.ts';
export type {
  Carried,
  Outcomes,
  Presence,
  ReplicaEvents,
  ReplicaPorts,
  ReplicaSettings,
  ReplicaTurn,
} from './ports.ts';

/** 200 ms, in ticks. */
const STEER_TICKS = 4;

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
  readonly #events: ReplicaEvents;
  readonly #core: Core;
  readonly #driver: Driver;
  readonly #applying: Applying;
  readonly #verdicts: Verdicts;
  readonly #authoring: Authoring;
  #leader: PeerId | null = null;
  #outgoing: Outgoing[] = [];
  readonly #reach: Reach;
  #forked = false;
  #ticks = 0;
  readonly #state: StateArea;
  readonly #keeping: Keeping;
  readonly #mending: Mending;
  readonly #recovery: RecoveryExchange;
  readonly #barriers: Barriers;
  readonly #greetings: Greetings;
  #isStopping = false;
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
    this.#events = init.events ?? {};
    this.#barriers = new Barriers(ports.random);
    const overlay = new Overlay(ports.kv);
    this.#state = new StateArea(overlay, store.area);
    this.reader = new DocumentReader(this.#state);
    this.#greetings = new Greetings({
      self: init.self,
      store,
      presence: init.presence ?? null,
      reader: this.reader,
      say: (to, message) => this.say(to, message),
      onVerdict: (verdict) => this.#events.onVerdict?.(verdict),
    });
    this.#verdicts = new Verdicts(ports.verifyAll, (signed: SignedBytes) => ports.verifier.verify(signed));
    this.outbox = new Outbox({
      group: store.group,
      peer: init.self,
      incarnation: store.incarnation,
      random: ports.randomBytes,
      tail: store.tail,
      formers: store.reborn?.formers ?? [],
    });
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
      staysOn: init.staysOn ?? false,
      isSound: this.isSound,
      alpha: store.genesis.alpha,
      times: init.policy ?? POLICY_TIMES,
      core: this.#core,
      reader: this.reader,
    });
    this.#reach = new Reach({
      self: init.self,
      core: this.#core,
      reader: this.reader,
      applied: () => this.applied,
      onPeers: (peers) => {
        this.#driver.enqueue({ type: 'members', peers });
        this.#events.onPeers?.(peers);
      },
    });
    this.#driver = new Driver({
      core: this.#core,
      app: this,
      self: init.self,
      incarnation: store.incarnation,
      overlay,
      hash: batchHash,
    });
    this.#applying = new Applying({
      self: init.self,
      incarnation: store.incarnation,
      staysOn: init.staysOn ?? false,
      isSound: this.isSound,
      core: this.#core,
      document: new Document({
        reader: this.#state,
        verifyRun: (run) => this.#verdicts.of(run),
        verifier: ports.verifier,
      }),
      reader: this.reader,
      state: this.#state,
      applies: !store.missing.meets(this.reader.appliedSlot() + 1, this.#core.prefix) && !this.isWitness,
      digest: this.#digestAtStart(overlay),
      onOutcomes: (applied, write) => this.#authoring.applied(applied, write),
      onStopped: () => this.#driver.enqueue({ type: 'may-lead', may: false }),
      onReplaced: () => this.#greetings.fallSilent(REPLACED),
      onProblem: (code, message) => this.#problem(code, message),
    });
    this.#keeping = new Keeping({
      group: store.group,
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
      applied: () => this.applied,
      sizes: () => this.reader.sizes(),
      applies: () => this.#applying.applies,
      mayHave: (peer) => this.serveLimit(peer) === null,
      onProblem: (code, message) => this.#problem(code, message),
      onDamage: (key, error) => this.onDamage(key, error),
    });
    this.#mending = new Mending(store.mending, {
      applied: () => this.applied,
      missing: () => this.missing,
      isReplayable: () => this.#keeping.isReplayable,
      isWitness: () => this.isWitness,
      sources: () => this.#keeping.sources,
      write: (ops) => overlay.defer(ops),
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
      isMember: (peer) => this.reader.member(peer)?.expelledSlot === null || this.#reach.peers.includes(peer),
      onProblem: (code, message) => this.#problem(code, message),
    });
    if (!this.#applying.applies) this.#driver.enqueue({ type: 'may-lead', may: false });
    this.#authoring = new Authoring({
      self: init.self,
      group: store.group,
      incarnation: store.incarnation,
      store,
      outbox: this.outbox,
      reader: this.reader,
      verdicts: this.#verdicts,
      signer: ports.signer,
      leader: () => this.#leader,
      inFlight: () => this.#core.inFlight,
      isWitness: () => this.isWitness,
      say: (to, message) => this.say(to, message),
      onForked: () => this.#onForked(),
      onProblem: (code, message) => this.#problem(code, message),
    });
    if (this.#greetings.isSpoken && this.#applying.isReplaced) this.#greetings.fallSilent(REPLACED);
    this.#reach.update();
  }

  #digestAtStart(overlay: KvReader): Uint8Array {
    const applied = this.reader.appliedSlot();
    if (applied === this.#core.prefix) return this.#core.digest;
    const key = digestKey(applied);
    const record = overlay.get(key);
    return record ? decodeDigest(record) : genesisDigest(this.#store.genesisBytes);
  }

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
    return this.#greetings.incarnationOf(peer);
  }

  get genesisBytes(): Uint8Array {
    return this.#store.genesisBytes;
  }

  /** Set while something newer than this program waits to be applied. */
  get paused(): UpdateNeeded | null {
    return this.#applying.paused;
  }

  get canApply(): boolean {
    return this.paused === null && this.#applying.applies;
  }

  /** What of the prefix is not held here. */
  get missing(): Missing {
    return this.#keeping.missing;
  }

  /** What damage took from this store and is not here again; null where nothing is. For people. */
  get mending(): MendStanding | null {
    return this.#mending.standing;
  }

  /** What of a snapshot on its way can be shown already. Nothing of it is verified, and nothing but a view may read it. */
  get preview(): Preview | null {
    return this.#keeping.preview;
  }

  /** How far a forced recovery is; null where none is under way. */
  get recovery(): RecoveryStanding | null {
    return this.#recovery.standing;
  }

  /** Set where this store is to be set aside: the others went on with another log than the one that is here. */
  get outcast(): Candidate | null {
    return this.hasWork() ? null : this.#recovery.outcast;
  }

  /** Members who went on with another log by a forced recovery, which can't become one with this one. */
  get split(): readonly PeerId[] {
    return this.#recovery.split;
  }

  /** After which slot positions may be others by forced recovery, and whether nothing was lost by any; null where there was none. */
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
    return !this.#applying.applies && this.paused === null && !this.isWitness && this.#keeping.isReplayable;
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
    return this.#applying.applied;
  }

  /** The digest of the committed log up to `applied`. */
  get appliedDigest(): Uint8Array {
    return this.#applying.digest;
  }

  get prefix(): Slot {
    return this.#core.prefix;
  }

  /** Whom this group exchanges frames with. */
  get peers(): readonly PeerId[] {
    return this.#reach.peers;
  }

  /** Who leads, as far as is known here; null while nobody does. */
  get leader(): PeerId | null {
    return this.#leader;
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
    return this.#authoring.lastOwnSeq;
  }

  /**
   * Members that are known from elsewhere, as of `at`: told by the one that let this peer in, or remembered from before the store was damaged. They are
   * reached until the log itself says who is in the group.
   */
  meet(peers: readonly PeerId[], at: Slot): void {
    this.#reach.meet({ peers, at });
  }

  /** As they were told to `meet`, for the next replica of this store. */
  get met(): Met {
    return this.#reach.met;
  }

  // --- writing

  /** Adds a command of this peer's. Refused at once where no peer would take it, and on a damaged store. */
  write(
    body: Body,
    written: Written,
    outcomes: Outcomes,
    options: { readonly quiet?: boolean } = {},
  ): Pending | Refused {
    return this.#authoring.add(body, written, outcomes, options);
  }

  edit(wish: EditWish, written: Written, outcomes: Outcomes): Pending | Refused {
    return this.#authoring.edit(wish, written, outcomes);
  }

  /** Goes on waiting for a command that was saved before the store was opened anew. Null where it is settled, or not here. */
  rejoin(pending: Pending, outcomes: Outcomes): Pending | null {
    return this.#authoring.rejoin(pending, outcomes);
  }

  /** Nobody waits for it any more; the command itself goes on. */
  forget(handle: number): void {
    this.#authoring.forget(handle);
  }

  /** `then` gets a slot that is applied and no older than this moment (R9). All wishes of a turn share one no-op. */
  barrier(then: (at: Slot) => void): void {
    this.#barriers.wish(then);
  }

  /** Before a stop: what is decided is written, then `isFlushed`. */
  flush(): void {
    if (!this.#isStopping) this.#authoring.write(this.#greetings.takeLastOps());
    this.#isStopping = true;
    this.#driver.flush();
  }
  get isFlushed(): boolean {
    return this.#driver.isFlushed && !this.#authoring.hasOwnOps;
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
    this.#ticks++;
    this.#greetings.tick();
    this.#driver.enqueue({ type: 'tick' });
    this.#authoring.tick();
    const note = this.#applying.takeNote();
    if (note !== null) this.#driver.enqueue({ type: 'note', note });
    this.#reach.tick();
    this.#keeping.tick();
    this.#mending.tick();
    this.#recovery.tick();
    if (this.canApply) this.#authoring.offerRescued();
    this.#steer();
  }

  connection(peer: PeerId, connected: boolean): void {
    this.#driver.enqueue({ type: 'connection', peer, connected });
    this.#greetings.connection(peer, connected);
    if (connected) this.#authoring.onConnected(peer);
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
      return this.receiveOpened(from, envelope, decodeBody(envelope));
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      return this.#problem('BAD_MESSAGE', `${from} sent something that can't be read: ${error.message}`);
    }
  }

  /** A message of this group, and what stood on its frame. @throws FormatError */
  receiveOpened(from: PeerId, head: FrameHead, m: GroupMessage): void | Promise<void> {
    if (m.layer === 'session' && isRecoveryMessage(m.message)) return this.#recovery.onMessage(from, m.message);
    if (!equal(head.epoch, this.#epoch)) return this.#recovery.onOtherEpoch(from, head.epoch);
    this.#recovery.onOwnEpoch(from);
    if (this.#recovery.isDeaf) return;
    return this.#greetings.receive(from, head, m, () => this.receive(from, head.incarnation, m));
  }

  receive(from: PeerId, incarnation: Incarnation, m: GroupMessage): void | Promise<void> {
    if (m.layer === 'session') return this.#onSession(from, m.message);
    if (m.layer === 'snapshot') return this.#keeping.onMessage(from, m.message);
    const { message } = m;
    if (this.#greetings.isSilent && isVoting(m)) return;
    if (message.type === 'heartbeat') this.#applying.compare(from, message);
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
    return this.#authoring.onOffer(from, m.runs);
  }

  /** Who leads is a keeper's to say, as who votes. */
  #onLeadAsked(from: PeerId, to: PeerId): void {
    const keeper = this.reader.member(from);
    if (keeper?.expelledSlot !== null || keeper.rights !== 'keeper') {
      return this.#problem('NOT_KEEPER', `${from} asked for another leader, and is no keeper`);
    }
    if (to !== this.self) this.handOver(to);
  }

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
    const ops = write === null ? [] : this.#greetings.takeOps(this.#isStopping);
    return write === null || ops.length === 0 ? write : { ...write, ops: [...write.ops, ...ops.map(sealed)] };
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
    return this.#greetings.isSilent ? out.filter((each) => each.layer === 'session') : out;
  }

  /** @param nonce drawn at the start of this process. @param turn the last durable one. */
  frameOf(out: GroupMessage, nonce: Uint8Array, turn: number): Uint8Array {
    return encodeEnvelope({
      group: this.group,
      ...this.headOf(nonce, turn),
      layer: out.layer,
      body: encodeBody(out),
    });
  }

  /** What stands on each of its frames now. As for `frameOf`. */
  headOf(nonce: Uint8Array, turn: number): FrameHead {
    // One that neither votes nor writes adds nothing to what its incarnation said: nobody is to hold that against the other one.
    return {
      epoch: this.#epoch,
      incarnation: this.incarnation,
      nonce,
      turn: this.isSound ? this.#greetings.tells(turn) : 0,
    };
  }

  // --- Application: called by the driver

  hasWork(): boolean {
    return this.#authoring.hasWork || this.#barriers.areWished || this.#outgoing.length > 0;
  }

  carriedRuns(): readonly Run[] {
    return this.#authoring.carriedRuns();
  }

  /**
   * Brings signed commands to the leader as their authors would (R8): each session's in its order. `then` is told what became of each; null where nobody leads, so
   * that nothing was done.
   */
  relay(runs: readonly Run[], then: (carried: readonly Carried[] | null) => void): void | Promise<void> {
    return this.#authoring.relay(runs, then);
  }

  /** A refused command is not shown any more. In the next batch. */
  dismiss(key: string): void {
    this.#authoring.write(this.outbox.dismiss(key));
  }

  beginTurn(nowMs: number): readonly KvOp[] {
    if (this.#barriers.areWished) this.#driver.enqueue({ type: 'barrier', id: this.#barriers.ask() });
    return this.#authoring.beginTurn({ writer: '', timeMs: nowMs, offsetMinutes: 0, saw: this.applied, level: LEVEL });
  }

  nextValue(nowMs: number): NextValue | null {
    return this.#authoring.nextValue(nowMs);
  }

  beforeWrite(): readonly KvOp[] {
    return this.#keeping.drop();
  }

  persisted(): void {
    this.#authoring.persisted();
  }

  apply(at: Slot, value: Value, digest: Uint8Array, write: (ops: readonly KvOp[]) => void): void {
    this.#applying.apply(at, value, digest, this.isWitness, write);
  }

  turnApplied(): void {
    this.#reach.applied(this.#applying.changes);
    const { applied } = this;
    this.#barriers.applied(applied);
    const changes = this.#applying.takeChanges();
    if (changes !== null) this.#events.onApplied?.(applied, changes);
  }

  onLeader(leader: PeerId | null, _ballot: Ballot | null, self: boolean): void {
    this.#leader = self ? this.self : leader;
    this.#authoring.onLeader();
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
    this.#events.onDamage?.(error);
  }

  // --- inside

  /** Put back, as it seems; should the other one be alive, it finds itself replaced, and asks. */
  #onForked(): void {
    this.#forked = true;
    if (!this.#greetings.isSpoken || !this.isSound) return;
    this.#greetings.fallSilent({
      code: 'ROLLED_BACK',
      message: 'the group knows commands of it that it does not know itself',
    });
  }

  /** Voters and leadership are looked after a few times a second. */
  #steer(): void {
    if (this.#ticks % STEER_TICKS !== 0) return;
    const inputs = this.#steering.tick(this.#ticks, this.#nowMs, this.#reach.peers);
    if (this.paused === null) for (const input of inputs) this.#driver.enqueue(input);
  }

  #problem(code: string, message: string): void {
    this.#events.onProblem?.({ code, message });
  }
}
