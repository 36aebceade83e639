import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { concat, uint32 } from '../../shared/base/bytes.ts';
import {
  encodeFrame,
  FRAME_HEADER_BYTES,
  FRAME_VERSION,
  FrameDecoder,
  FrameError,
} from '../../src-main/network/framing.ts';

const LIMIT = 1_000;

/** Feeds bytes in chunks that end at the cuts. */
function decodeInChunks(bytes: Uint8Array, cuts: readonly number[], limit = LIMIT): Uint8Array[] {
  const decoder = new FrameDecoder(limit);
  const bodies: Uint8Array[] = [];
  const ends = [...cuts].map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b);
  let from = 0;
  for (const end of [...ends, bytes.length]) {
    decoder.push(bytes.subarray(from, end), (body) => bodies.push(body));
    from = end;
  }
  return bodies;
}

const bodies = fc.array(fc.uint8Array({ maxLength: LIMIT }), { maxLength: 12 });

describe('framing', () => {
  test('a frame is its length, its version and its body', () => {
    expect([...encodeFrame(Uint8Array.of(7, 8))]).toEqual([0, 0, 0, 3, FRAME_VERSION, 7, 8]);
  });

  test('whatever was framed comes out the same, however the bytes are cut', () => {
    fc.assert(
      fc.property(bodies, fc.array(fc.nat(), { maxLength: 40 }), (frames, cuts) => {
        const got = decodeInChunks(concat(...frames.map(encodeFrame)), cuts);
        expect(got.map((body) => [...body])).toEqual(frames.map((body) => [...body]));
      }),
    );
  });

  test('byte by byte too', () => {
    const bytes = concat(
      encodeFrame(Uint8Array.of(1)),
      encodeFrame(new Uint8Array(0)),
      encodeFrame(Uint8Array.of(2, 3)),
    );
    const got = decodeInChunks(
      bytes,
      Array.from(bytes, (_, at) => at),
    );
    expect(got.map((body) => [...body])).toEqual([[1], [], [2, 3]]);
  });

  test('bodies share no memory with the chunks', () => {
    const chunk = encodeFrame(Uint8Array.of(1, 2, 3));
    const [body] = decodeInChunks(chunk, []) as [Uint8Array];
    chunk.fill(9);
    expect([...body]).toEqual([1, 2, 3]);
  });

  test('any bytes either decode or raise a FrameError, and never more than the limit', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 4_000 }), fc.array(fc.nat(), { maxLength: 10 }), (bytes, cuts) => {
        try {
          for (const body of decodeInChunks(bytes, cuts)) expect(body.length).toBeLessThanOrEqual(LIMIT);
        } catch (error) {
          expect(error).toBeInstanceOf(FrameError);
        }
      }),
    );
  });

  test('whether bytes are refused does not depend on how they are cut', () => {
    const verdict = (bytes: Uint8Array, cuts: readonly number[]): string => {
      try {
        return decodeInChunks(bytes, cuts).length.toString();
      } catch (error) {
        return (error as FrameError).code;
      }
    };
    const hostile = fc.tuple(bodies, fc.uint8Array({ minLength: 1, maxLength: 50 }));
    fc.assert(
      fc.property(hostile, fc.array(fc.nat(), { maxLength: 20 }), ([frames, garbage], cuts) => {
        const bytes = concat(...frames.map(encodeFrame), garbage);
        expect(verdict(bytes, cuts)).toBe(verdict(bytes, []));
      }),
    );
  });

  test('a length over the limit is refused by its four bytes, before any body', () => {
    const decoder = new FrameDecoder(LIMIT);
    const code = codeOf(() => decoder.push(uint32(LIMIT + 2), () => {}));
    expect(code).toBe('FRAME_TOO_LARGE');
    expect(codeOf(() => new FrameDecoder(LIMIT).push(uint32(0xffffffff), () => {}))).toBe('FRAME_TOO_LARGE');
  });

  test('exactly the limit passes', () => {
    expect(decodeInChunks(encodeFrame(new Uint8Array(LIMIT)), [3, 500]).map(({ length }) => length)).toEqual([LIMIT]);
  });

  test('a length of nothing and a foreign version are bad', () => {
    expect(codeOf(() => decodeInChunks(uint32(0), []))).toBe('FRAME_BAD');
    expect(codeOf(() => decodeInChunks(Uint8Array.of(0, 0, 0, 1, FRAME_VERSION + 1), []))).toBe('FRAME_BAD');
  });

  test('the decoder knows whether it is between frames', () => {
    const decoder = new FrameDecoder(LIMIT);
    expect(decoder.atBoundary).toBe(true);
    const frame = encodeFrame(Uint8Array.of(1));
    decoder.push(frame.subarray(0, FRAME_HEADER_BYTES), () => {});
    expect(decoder.atBoundary).toBe(false);
    decoder.push(frame.subarray(FRAME_HEADER_BYTES), () => {});
    expect(decoder.atBoundary).toBe(true);
  });

  test('a great many small frames in one chunk cost no more than their bytes', () => {
    const frame = encodeFrame(Uint8Array.of(1, 2, 3));
    const chunk = new Uint8Array(300_000 * frame.length);
    for (let at = 0; at < chunk.length; at += frame.length) chunk.set(frame, at);
    let count = 0;
    new FrameDecoder(LIMIT).push(chunk, () => count++);
    expect(count).toBe(300_000); // quadratic copying would take hours
  });
});

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return (error as FrameError).code;
  }
  return 'none';
}
