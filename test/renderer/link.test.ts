import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Link, type LinkState } from '../../src-renderer/carrier/link.ts';
import type { WireEvents } from '../../src-renderer/carrier/wire.ts';

const wires: { events: WireEvents; sent: string[]; isClosed: boolean }[] = [];
const states: LinkState[] = [];
let link: Link;

beforeEach(() => {
  vi.useFakeTimers();
  wires.length = 0;
  states.length = 0;
  link = new Link(
    (events) => {
      const wire = { events, sent: [] as string[], isClosed: false };
      wires.push(wire);
      return {
        send: (text) => void wire.sent.push(text),
        pause() {},
        resume() {},
        close() {
          wire.isClosed = true;
        },
      };
    },
    (state) => states.push(state),
  );
  link.start();
});

afterEach(() => {
  link.stop();
  vi.useRealTimers();
});

const kinds = (): string[] => states.map(({ kind }) => kind);

test('a broken wire fails what was under way, and another one is tried', async () => {
  wires[0]!.events.opened();
  const [state] = states.slice(-1);
  if (state?.kind !== 'connected') throw new Error('not connected');
  const asked = state.service.groups({}, new AbortController().signal);
  wires[0]!.events.ended();
  await expect(asked).rejects.toMatchObject({ code: 'PEER_LOST' });
  expect(kinds()).toEqual(['connecting', 'connected', 'lost']);
  vi.advanceTimersByTime(250);
  wires[1]!.events.opened();
  expect(kinds().at(-1)).toBe('connected');
});

test('it is lost since it broke, not since the last try', () => {
  wires[0]!.events.opened();
  vi.setSystemTime(1_000_000);
  wires[0]!.events.ended();
  for (let i = 1; i < 6; i++) {
    vi.advanceTimersByTime(5_000);
    wires[i]!.events.ended();
  }
  const lost = states.filter((state) => state.kind === 'lost');
  expect(lost.map(({ sinceMs }) => sinceMs)).toEqual(lost.map(() => 1_000_000));
});

test('a wire that only opens and breaks is tried less and less often', () => {
  for (let i = 0; i < 5; i++) {
    wires[i]!.events.opened();
    wires[i]!.events.ended();
    vi.advanceTimersByTime(5_000);
  }
  wires[5]!.events.ended();
  vi.advanceTimersByTime(3_900);
  expect(wires).toHaveLength(6);
  link.hurry();
  expect(wires).toHaveLength(7);
});

test('a page that is not let in tries no more, until it has another token', async () => {
  wires[0]!.events.opened();
  const [state] = states.slice(-1);
  if (state?.kind !== 'connected') throw new Error('not connected');
  const asked = state.service.groups({}, new AbortController().signal);
  wires[0]!.events.refused();
  await expect(asked).rejects.toMatchObject({ code: 'PEER_LOST' });
  expect(kinds()).toEqual(['connecting', 'connected', 'refused']);
  vi.advanceTimersByTime(60_000);
  link.hurry();
  expect(wires).toHaveLength(1);
  link.renew();
  expect(wires).toHaveLength(2);
  link.renew();
  expect(wires).toHaveLength(2);
  wires[1]!.events.opened();
  expect(kinds().at(-1)).toBe('connected');
});

test('a peer that talks nonsense is hung up on', () => {
  wires[0]!.events.opened();
  wires[0]!.events.text('nonsense');
  expect(wires[0]!.isClosed).toBe(true);
  expect(kinds().at(-1)).toBe('lost');
});
