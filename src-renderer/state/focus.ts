import { tick } from 'svelte';
import { dialogs } from './dialogs.svelte.ts';

/** Where the keyboard was, and around what. */
interface Place {
  readonly at: Element | null;
  readonly entry: Element | null;
  readonly entries: Element | null;
  readonly region: Element | null;
}

/**
 * Where the keyboard goes when what it was on goes away. Every move happens before the next key can arrive, so nothing that is typed
 * meanwhile is lost.
 */
class Focus {
  #composer: HTMLElement | null = null;
  #isComposerWanted = false;
  #last: Place = placeOf(null);
  /** What had the keyboard before the dialog that is open, or the one that led to it. */
  #before: Place = placeOf(null);

  /** From now on, what had the keyboard and is taken out of the page hands it on. Once, for the page. */
  start(): void {
    document.addEventListener('focusin', () => {
      this.#last = placeOf(document.activeElement);
      // Who goes on somewhere else does not want to be fetched back.
      if (dialogs.open === null) this.#isComposerWanted = false;
    });
    // While the keyboard moves it is nowhere for a moment, and what it leaves may go already, such as an entry's buttons.
    document.addEventListener(
      'focusout',
      ({ relatedTarget }) => {
        if (relatedTarget instanceof Element) this.#last = placeOf(relatedTarget);
      },
      { capture: true },
    );
    new MutationObserver(() => {
      const { at, region } = this.#last;
      if (!isNowhere() || at === null || at.isConnected) return;
      // A dialog that goes gives the keyboard back by itself.
      if (!(region instanceof HTMLDialogElement) || region.isConnected) this.#goNear(this.#last);
    }).observe(document.body, { childList: true, subtree: true });
  }

  /** The field of the log that is shown, for as long as it is there. */
  composer(field: HTMLElement): () => void {
    this.#composer = field;
    queueMicrotask(() => {
      // A field that comes while somebody is somewhere else leaves them there; a touch screen would also bring up its keys.
      if (this.#isComposerWanted) this.#toComposer();
      else if (isNowhere() && window.matchMedia('(hover: hover)').matches) this.#toComposer();
    });
    return () => {
      if (this.#composer === field) this.#composer = null;
    };
  }

  /** To the field of the log that is shown, as soon as it is there and no dialog is before it. */
  write(): void {
    this.#isComposerWanted = true;
    void tick().then(() => this.#toComposer());
  }

  /** For a dialog that opens: how the keyboard gets back to what had it, or to the nearest that is left of where that was. */
  placeToReturn(): () => void {
    const now = placeOf(document.activeElement);
    const before = now.at === null || now.region instanceof HTMLDialogElement ? this.#before : now;
    this.#before = before;
    return () => {
      // Another dialog follows, or somebody took the keyboard already.
      if (dialogs.open !== null || !isNowhere()) return;
      if (!this.#isComposerWanted || !this.#toComposer()) this.#goNear(before);
    };
  }

  #goNear({ at, entry, entries, region }: Place): void {
    if (takes(at) || takes(entry) || takes(entries)) return;
    for (const near of region?.querySelectorAll('h2[tabindex], .body :is(button, input)') ?? [])
      if (takes(near)) return;
    if (!takes(this.#composer)) takes(document.querySelector('main button'));
  }

  #toComposer(): boolean {
    if (dialogs.open !== null || !takes(this.#composer)) return false;
    this.#isComposerWanted = false;
    return true;
  }
}

function placeOf(at: Element | null): Place {
  return {
    at: at === document.body ? null : at,
    entry: at?.closest('[data-position]') ?? null,
    entries: at?.closest('[data-entries]') ?? null,
    region: at?.closest('dialog, section, nav') ?? null,
  };
}

const isNowhere = (): boolean => document.activeElement === null || document.activeElement === document.body;

function takes(place: Element | null): boolean {
  if (!(place instanceof HTMLElement) || !place.isConnected) return false;
  place.focus({ preventScroll: true });
  return document.activeElement === place;
}

export const focus = new Focus();
