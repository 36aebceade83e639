import type { Incarnation, PeerId } from '../base/ids.ts';
import type { KvOp } from '../base/kv.ts';
import type { Message } from '../consensus/messages.ts';
import type { DocumentReader } from '../document/index.ts';
import type { Greeting, Seen, SessionMessage } from '../wire/session-messages.ts';
import { Gate, type IdentityVerdict, judgeSeen, Lineage, Sightings } from './identity.ts';
import type { FrameHead, GroupMessage } from './messages.ts';
import type { OpenedStore } from './opening.ts';
import type { Presence } from './ports.ts';

/** A vote, or what makes one: it waits until the other side has greeted. */
const VOTING: ReadonlySet<Message['type']> = new Set(['prepare', 'promise', 'accept', 'accepted', 'transfer']);

/** Whether a message votes, or asks for a vote. */
export function isVoting(m: GroupMessage): boolean {
  return m.layer === 'consensus' && VOTING.has(m.message.type);
}

/**
 * What this store and the others tell each other of who they are (R7): on each new connection, before votes are counted. A store that is not the only one of its
 * incarnation, or not the newest, falls silent.
 */
export class Greetings {
  readonly #self: PeerId;
  readonly #store: OpenedStore;
  readonly #presence: Presence | null;
  readonly #reader: DocumentReader;
  readonly #say: (to: PeerId, message: SessionMessage) => void;
  readonly #onVerdict: (verdict: IdentityVerdict) => void;
  readonly #sightings: Sightings;
  readonly #lineage: Lineage | null;
  readonly #gate = new Gate();
  #ticks = 0;
  #verdict: IdentityVerdict | null = null;

  constructor(init: {
    readonly self: PeerId;
    readonly store: OpenedStore;
    /** Null: nobody is greeted, and votes wait for no greeting. */
    readonly presence: Presence | null;
    readonly reader: DocumentReader;
    readonly say: (to: PeerId, message: SessionMessage) => void;
    readonly onVerdict: (verdict: IdentityVerdict) => void;
  }) {
    const { store, presence } = init;
    this.#self = init.self;
    this.#store = store;
    this.#presence = presence;
    this.#reader = init.reader;
    this.#say = init.say;
    this.#onVerdict = init.onVerdict;
    this.#sightings = new Sightings(store.seen);
    this.#lineage = presence ? new Lineage(store.runs, presence.nonce, presence.turn()) : null;
  }

  /** This store must not vote any more, nor be counted. */
  get isSilent(): boolean {
    return this.#verdict !== null;
  }

  get isSpoken(): boolean {
    return this.#presence !== null;
  }

  /** What is said to others of this store's last durable turn. */
  tells(turn: number): number {
    return this.#lineage?.tells(turn) ?? turn;
  }

  /** The incarnation that a peer was last seen under here; null for one that never was. */
  incarnationOf(peer: PeerId): Incarnation | null {
    return this.#sightings.incarnationOf(peer);
  }

  tick(): void {
    this.#ticks++;
    this.#sightings.tick();
  }

  connection(peer: PeerId, connected: boolean): void {
    this.#gate.close(peer);
    if (connected && this.#presence !== null) this.#greet(peer, true);
  }

  /** A message came in; `deliver` takes it, now or once its sender has greeted. A promise is open while what it sets free is. */
  receive(from: PeerId, head: FrameHead, m: GroupMessage, deliver: () => void | Promise<void>): void | Promise<void> {
    if (this.#presence === null) return deliver();
    const { incarnation, nonce, turn } = head;
    this.#sightings.frame(from, incarnation, nonce, turn);
    if (m.layer === 'session' && m.message.type === 'greeting') {
      const isTwice = turn > 0 && this.#sightings.greeting(from, incarnation, nonce);
      if (isTwice || m.message.asks) this.#greet(from, false);
      this.#judge(from, m.message);
      return this.#gate.open(from, nonce);
    }
    if (!isVoting(m) || this.#gate.isOpen(from, nonce)) return deliver();
    this.#gate.hold(from, deliver);
    if (this.#gate.mayAsk(from, this.#ticks)) this.#greet(from, true);
  }

  #greet(to: PeerId, asks: boolean): void {
    this.#say(to, { type: 'greeting', asks, seen: this.#sightings.of(to) });
  }

  #judge(from: PeerId, { seen }: Greeting): void {
    const { problems, incarnation, reborn } = this.#store;
    if (this.#presence === null || this.#lineage === null || problems.length > 0) return;
    const by = this.#reader.member(from)?.name || from.slice(-6);
    const own = {
      incarnation,
      turn: this.#presence.turn(),
      lineage: this.#lineage,
      formers: [...(reborn?.formers ?? []), ...this.#ended(seen)],
    };
    const verdict = judgeSeen(own, seen, by);
    if (verdict !== null) this.fallSilent(verdict);
  }

  /** Whose sessions the log ended: others of this machine's, and not what goes on now, also where damage took the list of those that this store had before. */
  #ended(seen: readonly Seen[]): readonly Incarnation[] {
    const told = [...new Set(seen.map(({ incarnation }) => incarnation))];
    return told.filter((incarnation) => this.#reader.session(this.#self, incarnation)?.closed === true);
  }

  /** From now on nothing of this store counts or is counted. */
  fallSilent(verdict: IdentityVerdict): void {
    if (this.#verdict !== null) return;
    this.#verdict = verdict;
    this.#onVerdict(verdict);
  }

  /** What was seen of others, and this run itself: for a batch that is written anyway. @param isLast before a stop */
  takeOps(isLast: boolean): readonly KvOp[] {
    return this.#lineage === null ? [] : [...this.#lineage.takeOps(), ...this.#sightings.takeOps(isLast)];
  }

  /** Before a stop: what was seen of others may be all that there is to write. */
  takeLastOps(): readonly KvOp[] {
    return this.#lineage === null ? [] : this.#sightings.takeOps(true);
  }
}
