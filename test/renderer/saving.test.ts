import { beforeEach, expect, test } from 'vitest';
import { makePeerClient } from '../../shared/ipc/client.ts';
import type { PeerService, SaveDraftParams } from '../../shared/ipc/contract.ts';
import { PeerError } from '../../shared/ipc/errors.ts';
import { Connection, type WireEvents } from '../../src-main/peer/connection.ts';
import { Saving } from '../../src-renderer/state/saving.ts';

const SLOT = { group: 'gabc', window: 'w1', about: 'new' };

/** A peer whose answers wait until the test gives them. */
let told: { text: string; window: string | undefined; answer: PromiseWithResolvers<Record<string, never>> }[];
let kept: PromiseWithResolvers<{ text: string }>;
let service: PeerService;
let isHere: boolean;
let saving: Saving;

beforeEach(() => {
  told = [];
  kept = Promise.withResolvers();
  isHere = true;
  service = {
    draft: () => kept.promise,
    saveDraft: ({ text, window }: SaveDraftParams) => {
      const answer = Promise.withResolvers<Record<string, never>>();
      told.push({ text, window, answer });
      return answer.promise;
    },
  } as unknown as PeerService;
  saving = new Saving(() => (isHere ? service : null), SLOT);
});

const texts = (): string[] => told.map(({ text }) => text);

test('a field that is cleared while its text is still being saved: the clearing is told, too', async () => {
  const first = saving.save('sent a moment ago');
  const cleared = saving.save('');
  expect(texts()).toEqual(['sent a moment ago', '']);
  for (const { answer } of told) answer.resolve({});
  expect([await first, await cleared]).toEqual([null, null]);
  expect(await saving.save('')).toBe(null);
  expect(told).toHaveLength(2);
});

test('the same text is told once, and whoever asks again gets its outcome', async () => {
  const both = Promise.all([saving.save('x'), saving.save('x')]);
  expect(texts()).toEqual(['x']);
  told[0]?.answer.reject(new PeerError('DISK_FULL', 'The disk is full.'));
  expect(await both).toEqual(['The disk is full.', 'The disk is full.']);
  const again = saving.save('x');
  told[1]?.answer.resolve({});
  expect(await again).toBe(null);
});

test('an older save that fails late does not make the peer be told again what it has', async () => {
  const first = saving.save('a');
  const second = saving.save('ab');
  told[1]?.answer.resolve({});
  told[0]?.answer.reject(new PeerError('BUSY', 'Busy.'));
  expect([await first, await second]).toEqual(['Busy.', null]);
  await saving.save('ab');
  expect(texts()).toEqual(['a', 'ab']);
});

test('nothing was kept, nothing is written: nothing is told', async () => {
  isHere = false;
  expect(await saving.save('')).toBe(null);
  expect(await saving.save('x')).toMatch(/^Not connected/);
  isHere = true;
  const saved = saving.save('x');
  told[0]?.answer.resolve({});
  expect(await saved).toBe(null);
});

test('what was kept from before is not told again, and is taken away when the field is emptied', async () => {
  const fetched = saving.fetch(service);
  kept.resolve({ text: 'from yesterday' });
  expect(await fetched).toBe('from yesterday');
  await saving.save('from yesterday');
  void saving.save('');
  expect(texts()).toEqual(['']);
});

test('what is told while the question what was kept is under way comes after it', async () => {
  const fetched = saving.fetch(service);
  void saving.save('new words');
  kept.resolve({ text: '' });
  await fetched;
  void saving.save('');
  expect(texts()).toEqual(['new words', '']);
});

test('another connection is told all over again', async () => {
  const saved = saving.save('x');
  told[0]?.answer.resolve({});
  await saved;
  saving.forget();
  void saving.save('x');
  expect(texts()).toEqual(['x', 'x']);
});

test('what is kept beside is nobody’s', async () => {
  void saving.leave(service, 'kept before');
  expect(told[0]).toMatchObject({ text: 'kept before', window: undefined });
});

test('over one carrier the peer is told in the order in which it was said', async () => {
  let toPeer: WireEvents | undefined;
  const client = makePeerClient({
    send: (text) => queueMicrotask(() => toPeer?.onText(text, text.length)),
    pause: () => {},
    resume: () => {},
  });
  new Connection(
    {
      listen: (events) => {
        toPeer = events;
      },
      send: (lines) => {
        for (const line of lines) client.receive(line);
      },
      isFull: false,
      pause: () => {},
      resume: () => {},
      refuse: () => {},
      goodbye: async () => {},
    },
    service,
    () => {},
  );
  const over = new Saving(() => client.service, SLOT);
  const outcomes = ['a', 'ab', ''].map((text) => over.save(text));
  await new Promise((resolve) => setImmediate(resolve));
  expect(texts()).toEqual(['a', 'ab', '']);
  // Also where the last one is answered first.
  for (const { answer } of told.toReversed()) answer.resolve({});
  expect(await Promise.all(outcomes)).toEqual([null, null, null]);
});
