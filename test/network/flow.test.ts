import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FormatError } from '../../shared/base/cbor.ts';
import { BACKOFF_MAX_MS, BACKOFF_MIN_MS, backoffMs } from '../../src-main/network/backoff.ts';
import { Inbox } from '../../src-main/network/inbox.ts';
import { Liveness, SILENCE_MAX_MS, SILENCE_MS } from '../../src-main/network/liveness.ts';
import { decodePulse, encodePulse, type Pulse } from '../../src-main/network/pulse.ts';
import { SendWindow, WINDOW_BYTES_MAX, WINDOW_BYTES_MIN } from '../../src-main/network/send-window.ts';

/** Sends through a line of `bytesPerMs` with acknowledgements, for `ms`, as much as the window lets. */
function runLine(window: SendWindow, bytesPerMs: number, ms: number): { sent: number; longestMs: number } {
  const inFlight: { end: number; at: number }[] = [];
  let sent = 0;
  let free = 0;
  let longestMs = 0;
  for (let now = 0; now < ms; now++) {
    for (let allowance = window.allowance(); allowance > 0; allowance = window.allowance()) {
      const slice = Math.min(allowance, 65_536);
      window.sent(slice, now);
      sent += slice;
      free = Math.max(free, now) + slice / bytesPerMs;
      inFlight.push({ end: sent, at: free });
      if (now > ms / 2) longestMs = Math.max(longestMs, free - now);
    }
    while (inFlight.length > 0 && (inFlight[0] as { at: number }).at <= now) {
      window.acked((inFlight.shift() as { end: number }).end, now, 1);
    }
  }
  return { sent, longestMs };
}

describe('SendWindow', () => {
  test('opens on a fast line', () => {
    const window = new SendWindow();
    runLine(window, 300_000, 1_000);
    expect(window.bytes).toBe(WINDOW_BYTES_MAX);
  });

  test('on 1 Mbit/s it keeps the line busy, and what comes after waits no longer than a third of a second', () => {
    const window = new SendWindow();
    const { sent, longestMs } = runLine(window, 125, 60_000);
    expect(sent).toBeGreaterThan(60_000 * 125 * 0.9);
    expect(longestMs).toBeLessThan(350);
    expect(window.bytes).toBeGreaterThanOrEqual(WINDOW_BYTES_MIN);
  });

  test('a long silence before a frame is no slow line', () => {
    const window = new SendWindow();
    const before = window.bytes;
    window.sent(10_000, 0); // too little to be acknowledged by itself
    window.sent(30_000, 60_000);
    window.acked(25_000, 60_001, 1);
    expect(window.bytes).toBe(before);
  });

  test('what was never sent can’t be acknowledged', () => {
    const window = new SendWindow();
    window.sent(100, 0);
    expect(() => window.acked(101, 1, 1)).toThrow(RangeError);
    window.acked(100, 1, 1);
    expect(() => window.acked(99, 1, 1)).toThrow(RangeError);
  });
});

describe('Liveness', () => {
  test('five seconds of silence end a steady line', () => {
    const line = new Liveness(0);
    for (let now = 1_000; now <= 60_000; now += 1_000) line.heard(now);
    expect(line.isSilent(60_000 + SILENCE_MS)).toBe(false);
    expect(line.isSilent(60_001 + SILENCE_MS)).toBe(true);
  });

  test('a line that stutters gets more patience, up to a bound, and loses it again', () => {
    const line = new Liveness(0);
    line.heard(3_000);
    expect(line.silenceLimitMs()).toBe(9_000);
    line.heard(11_900);
    expect(line.silenceLimitMs()).toBe(SILENCE_MAX_MS);
    for (let now = 12_900; now < 80_000; now += 1_000) line.heard(now);
    expect(line.silenceLimitMs()).toBe(SILENCE_MS);
  });

  test('a process that slept starts over', () => {
    const line = new Liveness(0);
    line.forgive(100_000);
    expect(line.isSilent(104_000)).toBe(false);
    expect(line.isSilent(106_000)).toBe(true);
  });
});

test('backoff doubles from a quarter of a second to half a minute, jittered', () => {
  expect(backoffMs(0, 0.5)).toBe(BACKOFF_MIN_MS);
  expect(backoffMs(3, 0.5)).toBe(BACKOFF_MIN_MS * 8);
  fc.assert(
    fc.property(fc.nat(100), fc.double({ min: 0, max: 0.999, noNaN: true }), (failures, random) => {
      const ms = backoffMs(failures, random);
      expect(ms).toBeGreaterThanOrEqual(BACKOFF_MIN_MS * 0.75);
      expect(ms).toBeLessThanOrEqual(BACKOFF_MAX_MS);
    }),
  );
});

describe('Pulse', () => {
  const nonce = fc.nat();
  const addresses = fc.array(fc.string({ maxLength: 40 }), { maxLength: 16 });
  const pulses: fc.Arbitrary<Pulse> = fc.oneof(
    fc.record({ type: fc.constantFrom('open' as const, 'accept' as const), addresses }),
    fc.record({ type: fc.constant('reject' as const) }),
    fc.record({ type: fc.constantFrom('ping' as const, 'pong' as const), nonce }),
    fc.record({
      type: fc.constant('ack' as const),
      purpose: fc.constantFrom('session' as const, 'bulk' as const),
      bytes: nonce,
    }),
  );

  test('is read as it was written', () => {
    fc.assert(
      fc.property(pulses, (pulse) => {
        expect(decodePulse(encodePulse(pulse))).toEqual(pulse);
      }),
    );
  });

  test('anything else is a FormatError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        try {
          decodePulse(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(FormatError);
        }
      }),
    );
  });
});

describe('Inbox', () => {
  test('a handler that makes more frames arrive is not entered again', () => {
    const order: string[] = [];
    const inbox: Inbox = new Inbox(
      (frame) => {
        order.push(`in ${frame[0]}`);
        if (frame[0] === 1) inbox.push(Uint8Array.of(2));
        order.push(`out ${frame[0]}`);
      },
      () => {},
    );
    inbox.attach({ pause: () => {}, resume: () => {} });
    inbox.push(Uint8Array.of(1));
    expect(order).toEqual([]);
    inbox.open();
    expect(order).toEqual(['in 1', 'out 1', 'in 2', 'out 2']);
  });

  test('a frame still in work holds up those of the next connection; undelivered ones of the last are gone', async () => {
    const got: number[] = [];
    let finish: () => void = () => {};
    const inbox = new Inbox(
      (frame) => {
        got.push(frame[0] as number);
        return new Promise<void>((resolve) => {
          finish = resolve;
        });
      },
      () => {},
    );
    const source = { pause: () => {}, resume: () => {} };
    inbox.attach(source);
    inbox.open();
    inbox.push(Uint8Array.of(1));
    inbox.push(Uint8Array.of(2));
    inbox.detach();
    inbox.attach(source);
    inbox.open();
    inbox.push(Uint8Array.of(3));
    expect(got).toEqual([1]);
    finish();
    await new Promise((resolve) => setImmediate(resolve));
    expect(got).toEqual([1, 3]);
  });

  test('empty frames are bounded too', () => {
    let paused = 0;
    const inbox = new Inbox(
      () => new Promise(() => {}),
      () => {},
    );
    inbox.attach({ pause: () => paused++, resume: () => {} });
    inbox.open();
    for (let n = 0; n < 100_000; n++) inbox.push(new Uint8Array(0));
    expect(paused).toBe(1);
  });
});
