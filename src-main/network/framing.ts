/**
 * Frames on a stream: a 4-byte big-endian length of what follows, one version byte, the body. The same on every protocol;
 * only the size limit differs.
 */

export const FRAME_VERSION = 1;
/** Length and version byte in front of each body. Bytes. */
export const FRAME_HEADER_BYTES = 5;

/** What the other side sent is no frame. The stream can't be read any further: its boundaries are lost. */
export class FrameError extends Error {
  override readonly name = 'FrameError';
  readonly code: 'FRAME_TOO_LARGE' | 'FRAME_BAD';
  constructor(code: FrameError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

/** Writes the header of a body of `bodyBytes` at `at`. */
export function writeFrameHeader(target: Uint8Array, at: number, bodyBytes: number): void {
  const length = bodyBytes + 1;
  target[at] = length >>> 24;
  target[at + 1] = (length >>> 16) & 255;
  target[at + 2] = (length >>> 8) & 255;
  target[at + 3] = length & 255;
  target[at + 4] = FRAME_VERSION;
}

export function encodeFrame(body: Uint8Array): Uint8Array {
  const frame = new Uint8Array(FRAME_HEADER_BYTES + body.length);
  writeFrameHeader(frame, 0, body.length);
  frame.set(body, FRAME_HEADER_BYTES);
  return frame;
}

/**
 * Cuts arbitrary chunks into bodies. Each byte is copied once, so bodies share no memory with chunks. A length over the limit is
 * refused from its header alone, before any of its body is kept.
 */
export class FrameDecoder {
  readonly #bodyBytesMax: number;
  readonly #header = new Uint8Array(FRAME_HEADER_BYTES);
  #headerFilled = 0;
  #body: Uint8Array | null = null;
  #bodyFilled = 0;

  constructor(bodyBytesMax: number) {
    this.#bodyBytesMax = bodyBytesMax;
  }

  /** True between frames: a stream that ends here ended well. */
  get atBoundary(): boolean {
    return this.#headerFilled === 0;
  }

  /** Hands each completed body to `onBody`, in order. @throws FrameError, after which the decoder is of no more use. */
  push(chunk: Uint8Array, onBody: (body: Uint8Array) => void): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#body === null) {
        at = this.#readHeader(chunk, at);
        if (this.#headerFilled < FRAME_HEADER_BYTES) return;
        this.#body = new Uint8Array(this.#checkedBodyBytes());
        this.#bodyFilled = 0;
      }
      const body: Uint8Array = this.#body;
      const take = Math.min(body.length - this.#bodyFilled, chunk.length - at);
      body.set(chunk.subarray(at, at + take), this.#bodyFilled);
      this.#bodyFilled += take;
      at += take;
      if (this.#bodyFilled < body.length) return;
      this.#body = null;
      this.#headerFilled = 0;
      onBody(body);
    }
  }

  #readHeader(chunk: Uint8Array, from: number): number {
    let at = from;
    while (this.#headerFilled < FRAME_HEADER_BYTES && at < chunk.length) {
      this.#header[this.#headerFilled++] = chunk[at++] as number;
      // As soon as the length is there: a bad one must not wait for the version byte.
      if (this.#headerFilled === 4) this.#checkedBodyBytes();
    }
    if (this.#headerFilled === FRAME_HEADER_BYTES && this.#header[4] !== FRAME_VERSION) {
      throw new FrameError('FRAME_BAD', `frame version ${this.#header[4]}, not ${FRAME_VERSION}`);
    }
    return at;
  }

  #checkedBodyBytes(): number {
    const [a, b, c, d] = this.#header as unknown as [number, number, number, number];
    const length = ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
    if (length === 0) throw new FrameError('FRAME_BAD', 'a frame without a version byte');
    if (length - 1 > this.#bodyBytesMax) {
      throw new FrameError('FRAME_TOO_LARGE', `a frame of ${length - 1} bytes, over ${this.#bodyBytesMax}`);
    }
    return length - 1;
  }
}
