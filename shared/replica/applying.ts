import { type Incarnation, type PeerId, type Slot, slot } from '../base/ids.ts';
import type { KvOp } from '../base/kv.ts';
import type { Core } from '../consensus/core.ts';
import type { Heartbeat } from '../consensus/messages.ts';
import type { Value } from '../consensus/value.ts';
import {
  type Applied,
  type Change,
  type Document,
  type DocumentReader,
  type Ignored,
  LEVEL,
  type UpdateNeeded,
} from '../document/index.ts';
import { decodeNote, encodeNote } from '../wire/note.ts';
import type { StateArea } from './area.ts';
import { REPLACED } from './identity.ts';
import { keptVerdict } from './opening.ts';
import { States } from './states.ts';

export interface ApplyingInit {
  readonly self: PeerId;
  readonly incarnation: Incarnation;
  readonly staysOn: boolean;
  readonly isSound: boolean;
  readonly core: Core;
  readonly document: Document;
  readonly reader: DocumentReader;
  readonly state: StateArea;
  /** Whether values are applied as they are chosen. */
  readonly applies: boolean;
  /** The digest of the log up to the slot that is applied at the start. */
  readonly digest: Uint8Array;
  /** A slot is applied: what its commands became, and where to write what follows from that. */
  readonly onOutcomes: (applied: Applied, write: (ops: readonly KvOp[]) => void) => void;
  /** From here on nothing is applied, until the store is opened anew. */
  readonly onStopped: () => void;
  /** The log names another store of this very peer: the verdict is written with the state that says so. */
  readonly onReplaced: () => void;
  readonly onProblem: (code: string, message: string) => void;
}

/** The state machine's side of a replica: chosen values become state, in order, each slot once; and states are held against the others' (R10). */
export class Applying {
  readonly #init: ApplyingInit;
  readonly #states = new States();
  #applies: boolean;
  #paused: UpdateNeeded | null = null;
  #applied: Slot;
  #digest: Uint8Array;
  #told: Slot = slot(0);
  #noted: Slot | null = null;
  #changes: Change[] = [];

  constructor(init: ApplyingInit) {
    this.#init = init;
    this.#applies = init.applies;
    this.#applied = init.reader.appliedSlot();
    this.#digest = init.digest;
  }

  get applied(): Slot {
    return this.#applied;
  }

  /** Of the committed log up to `applied`. */
  get digest(): Uint8Array {
    return this.#digest;
  }

  get paused(): UpdateNeeded | null {
    return this.#paused;
  }

  /** Values are applied as they are chosen: not at a witness, and not where some are not here. Once false, until the store is opened anew. */
  get applies(): boolean {
    return this.#applies;
  }

  /** In order, every slot once. */
  apply(at: Slot, value: Value, digest: Uint8Array, isWitness: boolean, write: (ops: readonly KvOp[]) => void): void {
    // A witness applies nothing from the slot on that makes it one.
    if (this.#applies && isWitness) {
      this.#applies = false;
      // Also once it is a voter again: its state has to be brought up first, and that takes an opening.
      this.#init.onStopped();
    }
    if (this.#paused !== null || !this.#applies) return;
    const applied = this.#applyValue(at, value);
    if (applied.type === 'update-needed') {
      this.#paused = applied;
      return this.#init.onStopped();
    }
    write(this.#init.state.ops(applied.ops));
    this.#applied = at;
    this.#digest = digest;
    if (applied.changes.some((c) => c.type === 'session' && c.peer === this.#init.self)) this.#lookForSuccessor(write);
    for (const ignored of applied.ignored) this.#tellIgnored(ignored);
    this.#init.onOutcomes(applied, write);
    this.#changes.push(...applied.changes);
    this.#states.applied(at, this.#init.reader.stateHash());
  }

  #applyValue(at: Slot, value: Value): Applied | UpdateNeeded {
    const { core, document } = this.#init;
    if (value.kind === 'commands') return document.apply(at, value.payload);
    const recovered = value.kind === 'configuration' ? core.recoveredIn(at) : null;
    if (recovered === null) return document.skip(at);
    return document.recovered(
      at,
      recovered.voters.map((v) => v.peer),
    );
  }

  /** The verdict is kept with the state that says so. */
  #lookForSuccessor(write: (ops: readonly KvOp[]) => void): void {
    if (!this.isReplaced) return;
    write([keptVerdict(REPLACED)]);
    this.#init.onReplaced();
  }

  /** The log took this store's session, and ended it for another store of this very peer: perhaps in one slot, or below a snapshot. */
  get isReplaced(): boolean {
    const { isSound, reader, self, incarnation } = this.#init;
    return isSound && reader.exists() && reader.session(self, incarnation)?.closed === true;
  }

  #tellIgnored(ignored: Ignored): void {
    if (ignored.why === 'duplicate' || ignored.why === 'gap') return;
    this.#init.onProblem('COMMAND_IGNORED', `${ignored.why}: ${ignored.peer ?? 'a whole value'}`);
  }

  /** What the slots of the turn changed, for whoever shows it. */
  get changes(): readonly Change[] {
    return this.#changes;
  }

  /** The same, once for each slot that was applied; null where nothing moved. */
  takeChanges(): readonly Change[] | null {
    if (this.#told === this.#applied) return null;
    this.#told = this.#applied;
    const changes = this.#changes;
    this.#changes = [];
    return changes;
  }

  /** What the heartbeats are to say of the state here; null while they say it. */
  takeNote(): Uint8Array | null {
    if (this.#noted === this.#applied) return null;
    this.#noted = this.#applied;
    const { reader, staysOn } = this.#init;
    return encodeNote({
      levelMax: LEVEL,
      applied: this.#applied,
      state: reader.stateHash(),
      staysOn,
      ...reader.sizes(),
    });
  }

  /** @throws InvariantError where it is this peer that differs from most. @throws FormatError */
  compare(from: PeerId, beat: Heartbeat): void {
    if (beat.note.length === 0) return;
    const { applied, state } = decodeNote(beat.note);
    if (!this.#states.differs(from, applied, state, this.#init.reader.members().length)) return;
    this.#init.onProblem('STATE_MISMATCH', `the state after slot ${applied} differs from ${from}'s`);
  }
}
