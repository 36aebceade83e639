import * as v from 'valibot';
import { describe, expect, test } from 'vitest';
import type { Method } from '../../shared/ipc/contract.ts';
import {
  EXIT,
  errorCodes,
  exitCodeOf,
  isErrorCode,
  refusalCodes,
  waitingCodes,
  whyCodes,
} from '../../shared/ipc/errors.ts';
import { readClientMessage, readServerMessage } from '../../shared/ipc/messages.ts';
import { describeIssues, isMethod, methods } from '../../shared/ipc/schemas.ts';
import { FakeService, line } from './fake-service.ts';

const writing = { wait: 'committed', timeoutMs: 30_000 };

/** One good set of parameters for each method. */
const good: Record<Method, object> = {
  groups: {},
  create: { title: 'Ward 3 · night log' },
  invite: { rights: 'writer', role: null, expiresMs: 86_400_000, timeoutMs: 0 },
  join: { ticket: 'synod1abc', timeoutMs: 60_000 },
  append: { ...writing, text: 'x', key: 'k', writer: 'Ana', group: 'gabc' },
  edit: { ...writing, entry: '57', text: '' },
  remove: { ...writing, entry: 'e7k' },
  restore: { ...writing, entry: 'e7k', revision: 3 },
  log: { follow: true, pending: true, since: 1, limit: 0 },
  history: { entry: '57' },
  barrier: { timeoutMs: 2 ** 31 - 1 },
  status: {},
  members: { group: 'Ward 3' },
  watch: { window: '7b1c-2' },
  dismiss: { key: 'x/0/1' },
  draft: { about: 'new' },
  saveDraft: { group: 'gabc', about: 'e7k', window: '7b1c-2', text: '' },
  backup: { path: '/mnt/stick/synod.backup' },
  outbox: {},
  carried: { group: 'gabc' },
  carry: { group: 'gabc', runs: ['AQID'] },
  promote: { peer: 'NAS', timeoutMs: 1 },
  demote: { peer: 'NAS', timeoutMs: 1 },
  expel: { peer: 'NAS', timeoutMs: 1 },
  lead: { peer: 'NAS', timeoutMs: 1 },
  quorum: { phase1: 2, phase2: 2, timeoutMs: 1 },
  away: { away: true, untilMs: 1_795_000_000_000, timeoutMs: 1 },
  leave: { group: 'gabc', timeoutMs: 1 },
  invites: {},
  revoke: { key: 'ab', timeoutMs: 1 },
  rename: { title: 'Ward 4', timeoutMs: 1 },
  profile: { name: 'NAS', timeoutMs: 1 },
};

const hostile = [null, undefined, true, 1, '', 'x', [{}], { constructor: 1 }].map((value) => ({ value }));

describe.each(Object.keys(methods).filter(isMethod))('%s', (method) => {
  const { params, answer, kind } = methods[method];

  test('takes its parameters as they are', () => {
    expect(v.parse(params, JSON.parse(JSON.stringify(good[method])))).toEqual(good[method]);
  });

  test('takes no field that it does not know, and none twice by another way', () => {
    expect(v.is(params, { ...good[method], extra: 1 })).toBe(false);
    expect(
      v.is(params, JSON.parse(`{"__proto__":{},${JSON.stringify(good[method]).slice(1)}`.replace(',}', '}'))),
    ).toBe(false);
  });

  test.each(hostile)('takes no $value', ({ value }) => {
    expect(v.is(params, value)).toBe(false);
    for (const field of Object.keys(good[method])) {
      if (typeof value === typeof (good[method] as Record<string, unknown>)[field]) continue;
      // Left out is another matter than undefined, and null is one only where the contract says so.
      if (value === null && (field === 'role' || field === 'untilMs')) continue;
      expect(v.is(params, { ...good[method], [field]: value })).toBe(false);
    }
  });

  test('lets its answers through unchanged', async () => {
    const signal = AbortSignal.timeout(1_000);
    const service = new FakeService();
    const run = service[method] as (params: object, signal: AbortSignal) => unknown;
    const result = run.call(service, { ...good[method], follow: false }, signal);
    if (kind === 'call') {
      const value = await result;
      expect(v.parse(answer, JSON.parse(JSON.stringify(value)))).toEqual(value);
    } else {
      for await (const item of result as AsyncIterable<unknown>) expect(v.parse(answer, item)).toEqual(item);
    }
  });
});

test('an answer drops fields that this version does not know', () => {
  expect(v.parse(methods.log.answer, { ...line(1, 'x'), later: 1 })).toEqual(line(1, 'x'));
});

test.each([
  { position: null },
  { slot: null },
  { placed: null },
  { position: 0 },
  { position: 1.5 },
  { slot: -1 },
  { revision: 0 },
  { status: 'pending' },
  { status: 'other' },
  { text: 5 },
])('a line with %j is refused', (wrong) => {
  expect(v.is(methods.log.answer, { ...line(1, 'x'), ...wrong })).toBe(false);
});

test('what a person typed or pasted is refused in words for people, the rest with the name of its field', () => {
  const said = (method: Method, params: object): string =>
    describeIssues(v.safeParse(methods[method].params, { ...good[method], ...params }).issues ?? []);
  const long = 'x'.repeat(2 * 1024 * 1024 + 1);
  const typed = [
    said('join', { ticket: long }),
    said('join', { ticket: '' }),
    said('create', { title: long }),
    said('create', { title: '\ud800' }),
    said('append', { text: long }),
    said('append', { text: '\ud800' }),
    said('append', { writer: long }),
    said('append', { writer: '' }),
    said('edit', { text: long }),
    said('saveDraft', { text: long }),
  ];
  for (const words of typed) expect(words).toMatch(/^[A-Z][^:<=>]*(: an entry holds 1 MiB[^:]*)?\.$/);
  expect(typed[0]).toMatch(/^That is too long for a ticket\./);
  expect(said('append', { key: long })).toMatch(/^key: /);
});

test('quorum sizes come in twos, or majorities alone; who is back is not away until then', () => {
  const takes = (method: Method, params: object): boolean => v.is(methods[method].params, { ...params, timeoutMs: 1 });
  expect(takes('quorum', {})).toBe(true);
  expect(takes('quorum', { majorities: true })).toBe(true);
  for (const wrong of [{ phase1: 2 }, { phase2: 2 }, { phase1: 2, phase2: 2, majorities: true }]) {
    expect(takes('quorum', wrong)).toBe(false);
  }
  expect(takes('away', { away: false, untilMs: null })).toBe(true);
  expect(takes('away', { away: false, untilMs: 1 })).toBe(false);
});

test('a method is only what the contract lists', () => {
  expect(isMethod('append')).toBe(true);
  for (const name of ['', 'constructor', '__proto__', 'toString', 'Append']) expect(isMethod(name)).toBe(false);
});

describe('messages', () => {
  test('are read as they were written', () => {
    expect(readClientMessage('{"id":0,"method":"status","params":{}}')).toEqual({
      id: 0,
      method: 'status',
      params: {},
    });
    expect(readClientMessage('{"cancel":3}')).toEqual({ cancel: 3 });
    expect(readServerMessage('{"id":1,"event":{"a":null}}')).toEqual({ id: 1, event: { a: null } });
    expect(readServerMessage('{"id":1,"result":null}')).toEqual({ id: 1, result: null });
    expect(readServerMessage('{"id":1,"done":true}')).toEqual({ id: 1, done: true });
    const error = { code: 'NO_GROUP', message: 'x' };
    expect(readServerMessage(JSON.stringify({ id: 1, error }))).toEqual({ id: 1, error });
  });

  test.each([
    '',
    'x',
    '1',
    '"x"',
    'null',
    '[]',
    '{}',
    '{"id":1}',
    '{"id":1,"method":"status"}',
    '{"id":1,"method":"status","params":{},"cancel":1}',
    '{"cancel":"1"}',
    '{"cancel":1e400}',
    '{"id":1.5,"method":"status","params":{}}',
  ])('%s is none from a client', (text) => {
    expect(readClientMessage(text)).toBeNull();
  });

  test.each([
    '',
    '{"id":1}',
    '{"id":1,"done":false}',
    '{"id":1,"result":1,"event":1}',
    '{"id":1,"error":"x"}',
    '{"id":1,"error":{"code":"UNHEARD_OF","message":"x"}}',
    '{"id":1,"error":{"code":"toString","message":"x"}}',
    '{"id":"1","result":1}',
  ])('%s is none from a peer', (text) => {
    expect(readServerMessage(text)).toBeNull();
  });
});

describe('codes', () => {
  test('are each in one list once', () => {
    expect(new Set(whyCodes).size).toBe(whyCodes.length);
    expect(whyCodes).toEqual([...waitingCodes, ...refusalCodes]);
    expect(new Set(errorCodes).size).toBe(errorCodes.length);
    for (const code of refusalCodes) expect(isErrorCode(code)).toBe(true);
  });

  test('have an exit code that a script can expect, and none means well', () => {
    const exits = new Set(errorCodes.map(exitCodeOf));
    expect([...exits].toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 74, 78, 130]);
    expect(exits.has(EXIT.done)).toBe(false);
  });
});
