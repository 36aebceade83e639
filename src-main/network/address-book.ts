import { type LocalAddress, rankAddresses } from './address-rank.ts';
import { dialableAddress } from './addresses.ts';

/** Kept per member; beyond it the longest unheard-of goes. */
const ADDRESSES_MAX = 32;
/** Dialled in one go. */
export const CANDIDATES_MAX = 8;

interface Known {
  /** When a dial to it last worked, as a count of such dials; 0 for never. */
  worked: number;
  /** When it was last named, as a count of namings. */
  named: number;
}

/** Where a member may be reached: what the group remembers, what the member announced, what mDNS saw, what worked. */
export class AddressBook {
  readonly #known = new Map<string, Known>();
  #count = 0;

  get isEmpty(): boolean {
    return this.#known.size === 0;
  }

  /** Best first. Not dialable ones are left out. Returns those that were not known yet. */
  add(addresses: readonly string[]): string[] {
    const fresh: string[] = [];
    for (const text of [...addresses].reverse()) {
      const address = dialableAddress(text);
      if (address === null) continue;
      const known = this.#known.get(address);
      if (known) known.named = ++this.#count;
      else {
        this.#known.set(address, { worked: 0, named: ++this.#count });
        fresh.unshift(address);
      }
    }
    this.#evict();
    return fresh;
  }

  worked(address: string): void {
    this.add([address]);
    const known = this.#known.get(address);
    if (known) known.worked = ++this.#count;
  }

  /** What to dial, best first: what worked last, then by rank, then as named. */
  candidates(local: readonly LocalAddress[]): string[] {
    const byNaming = [...this.#known].sort(([, a], [, b]) => b.named - a.named).map(([address]) => address);
    const ranked = rankAddresses(byNaming, local);
    const worked = (address: string): number => this.#known.get(address)?.worked ?? 0;
    return ranked.sort((a, b) => worked(b) - worked(a)).slice(0, CANDIDATES_MAX);
  }

  #evict(): void {
    while (this.#known.size > ADDRESSES_MAX) {
      const [oldest] = [...this.#known].sort(([, a], [, b]) => a.worked - b.worked || a.named - b.named);
      this.#known.delete((oldest as [string, Known])[0]);
    }
  }
}
