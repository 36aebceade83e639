import type { PeerService } from '../../shared/ipc/contract.ts';
import { wordsOf } from './failure.ts';

/** A pause in writing that is worth a save. */
const SAVE_MS = 400;

/** Whose draft it is, and what it is about. */
interface Slot {
  readonly group: string;
  readonly window: string;
  readonly about: string;
}

/** What is being written about one thing: `new`, or the entry that is edited. The peer keeps it, so it outlives this window. */
export class Draft {
  readonly #slot: Slot;
  readonly #service: () => PeerService | null;
  #text = $state('');
  /** What the peer keeps; null: nobody knows. */
  #saved: string | null = '';
  /** The person's keys win over what was kept from before. */
  #isTouched = false;
  #isLoaded = $state(false);
  #isLoading = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param otherwise where nothing was kept; it stands there at once, so that keys pressed before the peer answers add to it */
  constructor(service: () => PeerService | null, slot: Slot, otherwise = '') {
    this.#service = service;
    this.#slot = slot;
    this.#text = otherwise;
  }

  get text(): string {
    return this.#text;
  }

  set text(text: string) {
    this.#isTouched = true;
    this.#text = text;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.save(), SAVE_MS);
  }

  /** What was kept stands here, if there was anything. */
  get isLoaded(): boolean {
    return this.#isLoaded;
  }

  /** Fetches what was kept. Once: from then on it is this window that knows, and a peer that was away is told. */
  async load(): Promise<void> {
    const service = this.#service();
    if (!service || this.#isLoading) return;
    if (this.#isLoaded) {
      this.#saved = null;
      await this.save();
      return;
    }
    this.#isLoading = true;
    try {
      const { text } = await service.draft(this.#slot, new AbortController().signal);
      this.#saved = text;
      if (!this.#isTouched && text !== '') {
        this.#isTouched = true;
        this.#text = text;
      } else if (text !== '' && text !== this.#text) {
        // Somebody was quicker than the peer: what they write goes into this draft, and what was kept stays beside it, nobody's.
        const { group, about } = this.#slot;
        await service.saveDraft({ group, about, text }, new AbortController().signal);
      }
      this.#isLoaded = true;
    } catch {
      // What stands there stays.
    } finally {
      this.#isLoading = false;
    }
    await this.save();
  }

  /**
   * At once, as when the page is about to go. What can't be saved now is tried again with the next key or connection.
   * @returns why it is not kept, for people; null where it is
   */
  async save(): Promise<string | null> {
    clearTimeout(this.#timer);
    const service = this.#service();
    const text = this.#text;
    if (!this.#isTouched || text === this.#saved) return null;
    if (!service) return 'Not connected to Synod on this machine.';
    try {
      await service.saveDraft({ ...this.#slot, text: text.toWellFormed() }, new AbortController().signal);
      this.#saved = text;
      return null;
    } catch (error) {
      return wordsOf(error);
    }
  }

  /** Nothing is being written any more. */
  clear(): void {
    this.text = '';
    void this.save();
  }
}
