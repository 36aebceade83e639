import {
  type EntryId,
  type Incarnation,
  type PeerId,
  type Position,
  peerFromKey,
  position as positionOf,
  type Slot,
} from '../base/ids.ts';
import { type KvReader, present } from '../base/kv.ts';
import {
  appliedPlace,
  type EntryRecord,
  entryPlace,
  type InvitationRecord,
  invitationPlace,
  invitationsPlace,
  type MemberRecord,
  type MetaRecord,
  memberPlace,
  membersPlace,
  metaPlace,
  type Place,
  positionPlace,
  type RevisionRecord,
  revisionPlace,
  type SessionRecord,
  type Sizes,
  sessionPlace,
} from './records.ts';

export interface Member extends MemberRecord {
  readonly peer: PeerId;
}

export interface Invitation extends InvitationRecord {
  readonly key: Uint8Array;
}

/** The applied state, typed. Every call reads afresh, so it is as new as the reader below it. */
export class DocumentReader {
  readonly #kv: KvReader;

  constructor(kv: KvReader) {
    this.#kv = kv;
  }

  /** False before the genesis, or a snapshot, is there. */
  exists(): boolean {
    return this.#kv.get(appliedPlace.key) !== undefined;
  }

  appliedSlot(): Slot {
    return this.#must(appliedPlace).slot;
  }

  /** 32 bytes: equal applied slots mean equal state hashes on every peer. */
  stateHash(): Uint8Array {
    return this.#must(appliedPlace).stateHash;
  }

  /** Of the log up to the applied slot, and of the state. */
  sizes(): Sizes {
    return this.#must(appliedPlace);
  }

  meta(): MetaRecord {
    return this.#must(metaPlace);
  }

  title(): string | null {
    return this.meta().title;
  }

  /** How many positions are taken: also the last position, 0 where there is none. */
  positions(): number {
    return this.meta().positions;
  }

  entry(id: EntryId): EntryRecord | undefined {
    const position = this.#get(positionPlace(id));
    return position && this.#must(entryPlace(position));
  }

  /** Undefined after the last position. @throws MissingRecordError where a position that is taken has no entry */
  entryAt(position: Position): EntryRecord | undefined {
    const entry = this.#get(entryPlace(position));
    return entry ?? (position <= this.positions() ? this.#must(entryPlace(position)) : undefined);
  }

  revision(id: EntryId, number: number): RevisionRecord | undefined {
    const position = this.#get(positionPlace(id));
    return position && this.#get(revisionPlace(position, number));
  }

  /** A revision that the entry speaks of. @throws MissingRecordError */
  revisionOf({ position }: EntryRecord, number: number): RevisionRecord {
    return this.#must(revisionPlace(position, number));
  }

  /** All revisions, the first first; empty where there is no such entry. */
  history(id: EntryId): RevisionRecord[] {
    const entry = this.entry(id);
    return entry ? Array.from({ length: entry.revision }, (_, i) => this.revisionOf(entry, i + 1)) : [];
  }

  /** The text a revision shows; null for a removal, a redacted text or a revision that is not there. */
  textOf(id: EntryId, number: number): string | null {
    const entry = this.entry(id);
    const revision = entry && this.#get(revisionPlace(entry.position, number));
    if (!revision || revision.kind === 'remove') return null;
    if (revision.textRevision === number) return revision.text;
    return this.revisionOf(entry, revision.textRevision).text;
  }

  /** The current text; null where the entry is removed or not there. */
  text(id: EntryId): string | null {
    const entry = this.entry(id);
    return entry ? this.textOf(id, entry.revision) : null;
  }

  /** The first position whose entry was created after this slot; one past the last where there is none. */
  firstPositionAfter(slot: Slot): Position {
    let low = 1;
    let high = this.positions() + 1;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.#must(entryPlace(positionOf(middle))).slot > slot) high = middle;
      else low = middle + 1;
    }
    return positionOf(low);
  }

  session(peer: PeerId, incarnation: Incarnation): SessionRecord | undefined {
    return this.#get(sessionPlace(peer, incarnation));
  }

  /** Members and former members (`expelledSlot` tells). Undefined for a stranger. */
  member(peer: PeerId): Member | undefined {
    const record = this.#get(memberPlace(peer));
    return record && { peer, ...record };
  }

  /** In the order in which they came; with `former`, also those who were expelled. */
  members(options: { readonly former?: boolean } = {}): Member[] {
    const keys = this.#get(membersPlace) ?? [];
    const all = keys.map((key) => {
      const peer = peerFromKey(key);
      return { peer, ...this.#must(memberPlace(peer)) };
    });
    return options.former ? all : all.filter((member) => member.expelledSlot === null);
  }

  invitation(key: Uint8Array): Invitation | undefined {
    const record = this.#get(invitationPlace(key));
    return record && { key, ...record };
  }

  /** The open ones, expired or not, in the order in which they were made. */
  invitations(): Invitation[] {
    const keys = this.#get(invitationsPlace) ?? [];
    return keys.map((key) => ({ key, ...this.#must(invitationPlace(key)) }));
  }

  #get<T>(place: Place<T>): T | undefined {
    const bytes = this.#kv.get(place.key);
    return bytes && place.codec.decode(bytes);
  }

  #must<T>(place: Place<T>): T {
    return present(this.#get(place), place.key);
  }
}
