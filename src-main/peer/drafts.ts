import type { GroupId } from '../../shared/base/ids.ts';
import { TEXT_BYTES_MAX } from '../../shared/ipc/contract.ts';
import { PeerError } from '../../shared/ipc/errors.ts';
import type { LocalSettings } from '../group/local.ts';

/** Drafts kept at once, so that nobody fills the disk with them. */
export const DRAFTS_MAX = 200;
/** What a draft of a new entry is about. */
export const NEW = 'new';
/** Which drafts there are, the one written longest ago first. */
const INDEX = 'drafts';

export interface DraftOf {
  readonly about: string;
  /** Whose it is; null: nobody's. */
  readonly window: string | null;
  readonly text: string;
}

/** What somebody was writing when the window was closed, for each window by itself. It never leaves this machine. */
export class Drafts {
  readonly #local: LocalSettings;
  /** Windows that are open, and how often: a page that is loaded anew may come before the one that it was has gone. */
  readonly #open = new Map<string, number>();
  /** A draft and the index are two records, so one change goes after the other. */
  #last: Promise<unknown> = Promise.resolve();
  /** Grows with everything that may change what `apart` answers. */
  changes = 0;

  constructor(local: LocalSettings) {
    this.#local = local;
  }

  /** A window is open, until the answer is called: nobody else gets its drafts. */
  attend(window: string): () => void {
    this.#count(window, 1);
    return () => this.#count(window, -1);
  }

  #count(window: string, by: number): void {
    const count = (this.#open.get(window) ?? 0) + by;
    if (count > 0) this.#open.set(window, count);
    else this.#open.delete(window);
    this.changes += 1;
  }

  /** The window's own, or what one left that is closed: then it is this one's. Without a window the newest. Empty where there is none. */
  take(group: GroupId, about: string, window?: string): Promise<string> {
    return this.#next(async () => {
      const drafts = this.#of(group).filter((draft) => draft.about === about);
      if (window === undefined) return drafts.at(-1)?.text ?? '';
      const own = drafts.findLast((draft) => draft.window === window);
      const left = own ?? drafts.findLast((draft) => !this.#isOpen(draft));
      if (left === undefined) return '';
      if (left !== own) await this.#put(group, { ...left, window });
      // The one that it was, and copies that a peer left that was killed while a draft was changing hands.
      for (const draft of drafts) {
        const isCopy = draft.text === left.text && draft.window !== window && !this.#isOpen(draft);
        if (isCopy) await this.#put(group, { ...draft, text: '' });
      }
      return left.text;
    });
  }

  /** Those that stand in no field: of windows that are closed, and a window's own edits, since one that is loaded anew shows none. */
  apart(group: GroupId, window?: string): DraftOf[] {
    return this.#of(group).filter((draft) =>
      draft.window !== null && draft.window === window ? draft.about !== NEW : !this.#isOpen(draft),
    );
  }

  /** Not synced: it is saved again with every pause in writing. @throws PeerError TEXT_TOO_LONG */
  async save(group: GroupId, draft: DraftOf): Promise<void> {
    if (draft.text.length > TEXT_BYTES_MAX) {
      throw new PeerError('TEXT_TOO_LONG', 'A draft this long is not kept. Split it, or post it in parts.');
    }
    await this.#next(() => this.#put(group, draft));
  }

  #isOpen({ window }: DraftOf): boolean {
    return window !== null && this.#open.has(window);
  }

  #next<T>(act: () => Promise<T>): Promise<T> {
    const done = this.#last.then(act);
    // Who asked is told that it failed; who comes next goes on.
    this.#last = done.catch(() => undefined);
    return done;
  }

  async #put(group: GroupId, { about, window, text }: DraftOf): Promise<void> {
    const key = keyOf(group, about, window);
    const others = this.#index().filter((each) => each !== key);
    const index = text === '' ? others : [...others, key];
    const gone = index.splice(0, Math.max(0, index.length - DRAFTS_MAX));
    const unsynced = { sync: false };
    // The index names at least what is there, also where this is cut off in the middle: what it does not name would stay for ever.
    if (text !== '') await this.#local.set(INDEX, [...gone, ...index], unsynced);
    await this.#local.set(key, text === '' ? undefined : text, unsynced);
    for (const each of gone) await this.#local.set(each, undefined, unsynced);
    if (text === '' || gone.length > 0) await this.#local.set(INDEX, index, unsynced);
    this.changes += 1;
  }

  /** The one written longest ago first. */
  #of(group: GroupId): DraftOf[] {
    const start = `draft/${group}/`;
    return this.#index().flatMap((key) => {
      const text = key.startsWith(start) ? this.#local.get(key) : undefined;
      const [about = '', window = null] = key.slice(start.length).split('/');
      return typeof text === 'string' ? [{ about, window, text }] : [];
    });
  }

  #index(): string[] {
    const index = this.#local.get(INDEX);
    return Array.isArray(index) ? index.filter((key) => typeof key === 'string') : [];
  }
}

const keyOf = (group: GroupId, about: string, window: string | null): string =>
  `draft/${group}/${about}${window === null ? '' : `/${window}`}`;
