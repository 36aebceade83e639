import type { PeerId } from '../base/ids.ts';
import type { Heartbeat } from '../consensus/messages.ts';
import { decodeNote } from '../wire/note.ts';

/** How long a machine has been as it is, by this peer's own observation. Ticks. */
export interface Presence {
  /** The two hear each other. */
  readonly isHere: boolean;
  /** Here without a break that counts; 0 while it is away. */
  readonly hereTicks: number;
  /** Away since; 0 while it is here. One that was never heard counts from when this peer began to look. */
  readonly goneTicks: number;
  /** Its store is damaged since; 0 while it votes. */
  readonly damagedTicks: number;
  /** Whether it is meant to stay on, by its own word; null where it was never heard. */
  readonly staysOn: boolean | null;
}

interface Seen {
  isHere: boolean;
  isHereSince: number;
  damagedSince: number | null;
  staysOn: boolean | null;
  note: Uint8Array | null;
}

/**
 * Who is here, and for how long: in memory, so a peer that starts counts anew. Every peer looks, whether it leads or not: when leadership changes hands, the next
 * leader has looked as long as it runs.
 */
export class Attendance {
  readonly #self: PeerId;
  readonly #staysOn: boolean;
  readonly #seen = new Map<PeerId, Seen>();
  #startedTick: number | null = null;
  #now = 0;

  constructor(self: PeerId, staysOn: boolean) {
    this.#self = self;
    this.#staysOn = staysOn;
  }

  /** @param beatOf the last heartbeat of a peer that is heard; a shorter silence than the suspicion time is no break */
  look(now: number, peers: readonly PeerId[], beatOf: (peer: PeerId) => Heartbeat | null): void {
    this.#startedTick ??= now;
    this.#now = now;
    for (const peer of this.#seen.keys()) if (!peers.includes(peer)) this.#seen.delete(peer);
    for (const peer of peers) if (peer !== this.#self) this.#lookAt(peer, beatOf(peer));
  }

  #lookAt(peer: PeerId, beat: Heartbeat | null): void {
    const now = this.#now;
    const isHere = beat?.hears.includes(this.#self) ?? false;
    const seen = this.#seen.get(peer) ?? { isHere, isHereSince: now, damagedSince: null, staysOn: null, note: null };
    this.#seen.set(peer, seen);
    if (seen.isHere !== isHere) seen.isHereSince = now;
    seen.isHere = isHere;
    if (beat === null) return;
    seen.damagedSince = beat.votes ? null : (seen.damagedSince ?? now);
    if (beat.note === seen.note || beat.note.length === 0) return;
    seen.note = beat.note;
    seen.staysOn = decodeNote(beat.note).staysOn;
  }

  /** For how long this peer has been looking. Ticks. */
  get lookedTicks(): number {
    return this.#startedTick === null ? 0 : this.#now - this.#startedTick;
  }

  of(peer: PeerId): Presence {
    if (peer === this.#self) {
      return { isHere: true, hereTicks: this.lookedTicks, goneTicks: 0, damagedTicks: 0, staysOn: this.#staysOn };
    }
    const seen = this.#seen.get(peer);
    if (seen === undefined) return { isHere: false, hereTicks: 0, goneTicks: 0, damagedTicks: 0, staysOn: null };
    const ticks = this.#now - seen.isHereSince;
    return {
      isHere: seen.isHere,
      hereTicks: seen.isHere ? ticks : 0,
      goneTicks: seen.isHere ? 0 : ticks,
      damagedTicks: seen.damagedSince === null ? 0 : this.#now - seen.damagedSince,
      staysOn: seen.staysOn,
    };
  }
}
