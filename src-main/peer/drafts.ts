import type { GroupId } from '../../shared/base/ids.ts';
import { TEXT_BYTES_MAX } from '../../shared/ipc/contract.ts';
import { PeerError } from '../../shared/ipc/errors.ts';
import type { LocalSettings } from '../group/local.ts';

/** Drafts kept at once, so that nobody fills the disk with them. */
export const DRAFTS_MAX = 200;
/** Which drafts there are, the one written longest ago first. */
const INDEX = 'drafts';

/** What somebody was writing when the window was closed. It never leaves this machine. */
export class Drafts {
  readonly #local: LocalSettings;

  constructor(local: LocalSettings) {
    this.#local = local;
  }

  /** Empty where there is none. */
  get(group: GroupId, about: string): string {
    const text = this.#local.get(keyOf(group, about));
    return typeof text === 'string' ? text : '';
  }

  /** Not synced: it is saved again with every pause in writing. @throws PeerError TEXT_TOO_LONG */
  async save(group: GroupId, about: string, text: string): Promise<void> {
    if (text.length > TEXT_BYTES_MAX) {
      throw new PeerError('TEXT_TOO_LONG', 'A draft this long is not kept. Split it, or post it in parts.');
    }
    const key = keyOf(group, about);
    const others = this.#index().filter((each) => each !== key);
    const index = text === '' ? others : [...others, key];
    const gone = index.splice(0, Math.max(0, index.length - DRAFTS_MAX));
    const unsynced = { sync: false };
    await this.#local.set(key, text === '' ? undefined : text, unsynced);
    for (const each of gone) await this.#local.set(each, undefined, unsynced);
    await this.#local.set(INDEX, index, unsynced);
  }

  #index(): string[] {
    const index = this.#local.get(INDEX);
    return Array.isArray(index) ? index.filter((key) => typeof key === 'string') : [];
  }
}

const keyOf = (group: GroupId, about: string): string => `draft/${group}/${about}`;
