import type { PeerService } from '../../shared/ipc/contract.ts';
import { Saving, type Slot } from './saving.ts';

/** A pause in writing that is worth a save. */
const SAVE_MS = 400;

/** What is being written about one thing: `new`, or the entry that is edited. The peer keeps it, so it outlives this window. */
export class Draft {
  readonly #service: () => PeerService | null;
  readonly #saving: Saving;
  #text = $state('');
  /** The person's keys win over what was kept from before. */
  #isTouched = false;
  #isLoaded = $state(false);
  #isLoading = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param otherwise where nothing was kept; it stands there at once, so that keys pressed before the peer answers add to it */
  constructor(service: () => PeerService | null, slot: Slot, otherwise = '') {
    this.#service = service;
    this.#saving = new Saving(service, slot);
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
      this.#saving.forget();
      await this.save();
      return;
    }
    this.#isLoading = true;
    try {
      const text = await this.#saving.fetch(service);
      if (!this.#isTouched && text !== '') {
        this.#isTouched = true;
        this.#text = text;
      } else if (text !== '' && text !== this.#text) {
        // Somebody was quicker than the peer: what they write goes into this draft, and what was kept stays beside it, nobody's.
        await this.#saving.leave(service, text);
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
    return this.#isTouched ? this.#saving.save(this.#text) : null;
  }

  /** Nothing is being written any more. */
  clear(): void {
    this.text = '';
    void this.save();
  }
}
