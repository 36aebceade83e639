/**
 * The key under which a text is sent. The same text keeps its key until it was written: where the connection broke in between, sending it again writes
 * nothing twice.
 */
export class Sending {
  #text: string | null = null;
  #key = '';

  keyOf(text: string): string {
    if (this.#text !== text) {
      this.#text = text;
      this.#key = crypto.randomUUID();
    }
    return this.#key;
  }

  done(): void {
    this.#text = null;
  }
}
