import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FrameDecoder } from '../../src-main/network/framing.ts';
import { SendLane, SLICE_BYTES_MAX } from '../../src-main/network/send-lane.ts';
import type { SendWindow } from '../../src-main/network/send-window.ts';

/** A window that lets through what the list says, again and again. */
function windowOf(allowances: readonly number[]): SendWindow {
  let turn = 0;
  return { allowance: () => allowances[turn++ % allowances.length] as number, sent: () => {} } as unknown as SendWindow;
}

test('frames come out whole and in order, wherever slices end and however often the stream stalls', () => {
  const sizes = fc.array(fc.nat(300), { minLength: 1, maxLength: 60 });
  const allowances = fc.array(fc.integer({ min: 5, max: 200 }), { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(sizes, allowances, fc.array(fc.boolean(), { minLength: 1, maxLength: 7 }), (list, window, stalls) => {
      const got: Uint8Array[] = [];
      const decoder = new FrameDecoder(1_000);
      let isFull = false;
      let sends = 0;
      let left = 0;
      const sink = {
        writableNeedsDrain: false,
        send: (bytes: Uint8Array): boolean => {
          expect(isFull).toBe(false); // never more before the drain
          expect(bytes.length).toBeLessThanOrEqual(SLICE_BYTES_MAX);
          decoder.push(bytes, (body) => got.push(body));
          isFull = stalls[sends++ % stalls.length] as boolean;
          return !isFull;
        },
      };
      const lane = new SendLane(sink, windowOf(window), (bytes) => {
        left += bytes;
      });
      const frames = list.map((size, n) => new Uint8Array(size).fill(n + 1));
      for (const frame of frames) lane.push(frame);
      const total = lane.bytes;
      lane.flush(0);
      for (let turn = 0; lane.bytes > 0 && turn < 10_000; turn++) {
        isFull = false;
        lane.drained();
        lane.flush(0);
      }
      expect(got.map((frame) => [...frame])).toEqual(frames.map((frame) => [...frame]));
      expect(left).toBe(total);
    }),
  );
});

test('a header is never cut by the end of a slice', () => {
  const got: number[] = [];
  const decoder = new FrameDecoder(100);
  const sink = {
    writableNeedsDrain: false,
    send: (bytes: Uint8Array): boolean => {
      decoder.push(bytes, (body) => got.push(body.length));
      return true;
    },
  };
  const lane = new SendLane(sink, null, () => {});
  // 65,536 leaves three bytes after frames of 13: less than a header.
  for (let n = 0; n < 20_000; n++) lane.push(new Uint8Array(8));
  lane.flush(0);
  expect(got).toHaveLength(20_000);
});
