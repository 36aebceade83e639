import { type PeerId, type Slot, slot } from '../base/ids.ts';
import type { Core } from '../consensus/core.ts';
import type { Change, DocumentReader } from '../document/index.ts';

/** 10 s, in ticks. */
const FAREWELL_TICKS = 200;

/** Members that are known from elsewhere, as of a slot of the log. */
export interface Met {
  readonly peers: readonly PeerId[];
  readonly at: Slot;
}

/** Whom this group exchanges frames with: its members, voters that consensus still needs, and whoever is just being seen off. */
export class Reach {
  readonly #self: PeerId;
  readonly #core: Core;
  readonly #reader: DocumentReader;
  readonly #applied: () => Slot;
  readonly #onPeers: (peers: readonly PeerId[]) => void;
  #peers: readonly PeerId[] = [];
  #met: Met = { peers: [], at: slot(0) };
  /** Members expelled a moment ago, and since which tick: they are told so before they are cut off. */
  readonly #leaving = new Map<PeerId, number>();
  /** The configurations of the window, by name. */
  #window: readonly Slot[] = [];
  #ticks = 0;

  constructor(init: {
    readonly self: PeerId;
    readonly core: Core;
    readonly reader: DocumentReader;
    readonly applied: () => Slot;
    readonly onPeers: (peers: readonly PeerId[]) => void;
  }) {
    this.#self = init.self;
    this.#core = init.core;
    this.#reader = init.reader;
    this.#applied = init.applied;
    this.#onPeers = init.onPeers;
  }

  get peers(): readonly PeerId[] {
    return this.#peers;
  }

  get met(): Met {
    return this.#met;
  }

  /** Reached until the log itself says who is in the group. */
  meet(met: Met): void {
    this.#met = met;
    this.update();
  }

  /** A turn is applied. */
  applied(changes: readonly Change[]): void {
    for (const c of changes) {
      if (c.type === 'member' && c.what === 'expelled' && c.peer !== this.#self) this.#leaving.set(c.peer, this.#ticks);
    }
    const window = this.#core.window().map((inForce) => inForce.slot);
    const isSameWindow = window.length === this.#window.length && window.every((at, i) => at === this.#window[i]);
    this.#window = window;
    // Also where only the configurations moved: a voter that is no member any more is reached as long as it votes.
    if (!isSameWindow || changes.some((c) => c.type === 'member' || c.type === 'session')) this.update();
  }

  /** Whoever was expelled is let go once it has heard of it, or had time to. */
  tick(): void {
    this.#ticks++;
    let isChanged = false;
    for (const [peer, sinceTick] of this.#leaving) {
      const expelledSlot = this.#reader.member(peer)?.expelledSlot ?? null;
      const knows = expelledSlot !== null && (this.#core.beatOf(peer)?.prefix ?? 0) >= expelledSlot;
      if (expelledSlot !== null && !knows && this.#ticks - sinceTick < FAREWELL_TICKS) continue;
      this.#leaving.delete(peer);
      isChanged = true;
    }
    if (isChanged) this.update();
  }

  update(): void {
    const peers = new Set(this.#reader.members().map((m) => m.peer));
    for (const { configuration: c } of this.#core.window()) for (const v of c.voters) peers.add(v.peer);
    const isNewcomer = this.#reader.member(this.#self)?.expelledSlot !== null;
    if (isNewcomer || this.#applied() < this.#met.at) for (const peer of this.#met.peers) peers.add(peer);
    for (const peer of this.#leaving.keys()) peers.add(peer);
    peers.delete(this.#self);
    this.#peers = [...peers];
    this.#onPeers(this.#peers);
  }
}
