import type { PeerService } from '../../shared/ipc/contract.ts';

/** A pause in writing that is worth a save. */
const SAVE_MS = 400;

/** What is being written about one thing: `new`, or the entry that is edited. The peer keeps it, so it outlives this window. */
export class Draft {
  readonly group: string;
  readonly about: string;
  readonly #service: () => PeerService | null;
  #text = $state('');
  #saved = '';
  /** The person's keys win over what was kept from before. */
  #isTouched = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param otherwise where nothing was kept; it stands there at once, so that keys pressed before the peer answers add to it */
  constructor(service: () => PeerService | null, group: string, about: string, otherwise = '') {
    this.#service = service;
    this.group = group;
    this.about = about;
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

  /** Fetches what was kept. */
  async load(): Promise<void> {
    const service = this.#service();
    if (!service) return;
    const { group, about } = this;
    try {
      const { text } = await service.draft({ group, about }, new AbortController().signal);
      this.#saved = text;
      if (!this.#isTouched && text !== '') this.#text = text;
    } catch {
      // What stands there stays.
    }
  }

  /** At once, as when the page is about to go. What can't be saved now is tried again with the next key or connection. */
  async save(): Promise<void> {
    clearTimeout(this.#timer);
    const service = this.#service();
    const text = this.#text;
    if (!service || !this.#isTouched || text === this.#saved) return;
    const { group, about } = this;
    try {
      await service.saveDraft({ group, about, text: text.toWellFormed() }, new AbortController().signal);
      this.#saved = text;
    } catch {
      // The text is still here.
    }
  }

  /** Nothing is being written any more. */
  clear(): void {
    this.text = '';
    void this.save();
  }
}
