import type { PeerService } from '../../shared/ipc/contract.ts';
import { wordsOf } from './failure.ts';

/** Whose draft it is, and what it is about. */
export interface Slot {
  readonly group: string;
  readonly window: string;
  readonly about: string;
}

/** What the peer was told last. Until it answers, that may stand there or not; but whatever is told next arrives after it. */
interface Told {
  readonly text: string;
  /** Why it is not kept, for people; null where it is. */
  readonly kept: Promise<string | null>;
}

const isKept = (text: string): Told => ({ text, kept: Promise.resolve(null) });

/** One draft at the peer: only what differs from what was told last is told, whether that was answered yet or not. */
export class Saving {
  readonly #slot: Slot;
  readonly #service: () => PeerService | null;
  /** Null: nobody knows what the peer keeps. */
  #told: Told | null = isKept('');

  constructor(service: () => PeerService | null, slot: Slot) {
    this.#service = service;
    this.#slot = slot;
  }

  /** Another peer, or the same one after a while: whatever it was told, it is told again. */
  forget(): void {
    this.#told = null;
  }

  /** What the peer kept from before. @throws as the peer does */
  async fetch(service: PeerService): Promise<string> {
    const before = this.#told;
    const { text } = await service.draft(this.#slot, new AbortController().signal);
    // What was told meanwhile came later than this question.
    if (this.#told === before) this.#told = isKept(text);
    return text;
  }

  /** Keeps a text beside the draft, as nobody's. @throws as the peer does */
  async leave(service: PeerService, text: string): Promise<void> {
    const { group, about } = this.#slot;
    await service.saveDraft({ group, about, text }, new AbortController().signal);
  }

  /** @returns why it is not kept, for people; null where it is */
  async save(text: string): Promise<string | null> {
    if (this.#told?.text === text) return this.#told.kept;
    const service = this.#service();
    if (!service) return 'Not connected to Synod on this machine.';
    const told: Told = { text, kept: this.#tell(service, text) };
    this.#told = told;
    const problem = await told.kept;
    if (problem !== null && this.#told === told) this.#told = null;
    return problem;
  }

  async #tell(service: PeerService, text: string): Promise<string | null> {
    try {
      await service.saveDraft({ ...this.#slot, text: text.toWellFormed() }, new AbortController().signal);
      return null;
    } catch (error) {
      return wordsOf(error);
    }
  }
}
