/**
 * What was looked up of late, by identity or by text. Two generations: the older one goes as a whole once the younger holds half of what may be kept, so
 * the last half is always there. (A WeakMap would keep what is in it alive until the next full collection, however short its keys live.)
 */
export class Recent<K, V> {
  readonly #half: number;
  #young = new Map<K, V>();
  #old = new Map<K, V>();
  #weight = 0;

  /** @param weightMax what is kept at most; the last one stays, however heavy it is */
  constructor(weightMax: number) {
    this.#half = Math.max(1, Math.floor(weightMax / 2));
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  get(key: K): V | undefined {
    return this.#young.get(key) ?? this.#old.get(key);
  }

  /** It is not asked for any more. What it weighed counts on until its generation goes. */
  delete(key: K): void {
    this.#young.delete(key);
    this.#old.delete(key);
  }

  set(key: K, value: V, weight = 1): void {
    if (this.#young.size > 0 && this.#weight + weight > this.#half) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#weight = 0;
    }
    this.#young.set(key, value);
    this.#weight += weight;
  }
}
