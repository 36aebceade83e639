import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, test } from 'vitest';
import type { GroupStatus } from '../../shared/ipc/contract.ts';
import { PeerError } from '../../shared/ipc/errors.ts';
import { FakeService, GROUP, PEER } from '../ipc/fake-service.ts';
import { synod } from './harness.ts';

let service: FakeService;
beforeEach(() => {
  service = new FakeService();
});

const ID = 'eaaaaaaaaaaaaaaaaaaaaaaaa0';

describe('append', () => {
  test('answers with the place', async () => {
    expect((await synod(['append', 'Bed 4: paracetamol 1 g given.'], { service })).out).toBe('#1 eaaaaaaa committed\n');
    const { code, out } = await synod(['append', 'x', '--json', '--wait', 'saved', '--as', 'Ana', '--key', 'k'], {
      service,
    });
    expect(code).toBe(0);
    expect(out).toBe(
      '{"id":"eaaaaaaaaaaaaaaaaaaaaaaaa1","status":"saved","position":null,"slot":null,"why":null,"whyCode":null}\n',
    );
    expect(service.entries.map(({ params }) => params)).toEqual([
      { text: 'Bed 4: paracetamol 1 g given.', wait: 'committed', timeoutMs: 30_000 },
      { text: 'x', wait: 'saved', timeoutMs: 30_000, writer: 'Ana', key: 'k' },
    ]);
  });

  test('at the timeout exits 0, and 4 with --strict, and says why', async () => {
    service.agrees = false;
    const lenient = await synod(['append', 'x', '--timeout', '5ms'], { service });
    expect(lenient).toMatchObject({ code: 0, out: 'eaaaaaaa saved · Only on this machine so far.\n' });
    const strict = await synod(['append', 'x', '--timeout', '5ms', '--strict', '--json'], { service });
    expect(strict.code).toBe(4);
    expect(strict.objects[0]).toMatchObject({ status: 'saved', position: null, whyCode: 'ALONE' });
  });

  test.each([
    ['text', 'text'],
    ['text\n', 'text'],
    ['text\r\n', 'text'],
    ['text\n\n', 'text\n'],
    ['two\nlines\n', 'two\nlines'],
    ['\u{feff}text', '\u{feff}text'],
    ['  naïve 🚑  ', '  naïve 🚑  '],
    ['bare\r', 'bare\r'],
  ])('- takes %j from standard input as %j', async (stdin, text) => {
    await synod(['append', '-'], { service, stdin });
    expect(service.entries[0]?.params.text).toBe(text);
  });

  test.each([
    ['TEXT_EMPTY', ''],
    ['TEXT_EMPTY', '\n'],
    ['TEXT_BAD', Uint8Array.of(0x61, 0xff)],
    ['TEXT_BAD', Uint8Array.of(0xed, 0xa0, 0x80)],
    ['TEXT_BAD', Uint8Array.of(0xc3)],
    ['TEXT_TOO_LONG', 'x'.repeat(1024 * 1024 + 1)],
    ['TEXT_TOO_LONG', 'x'.repeat(3 * 1024 * 1024)],
  ])('- refuses as %s and writes nothing', async (error, stdin) => {
    const { code, err } = await synod(['append', '-', '--json'], { service, stdin });
    expect(code).toBe(1);
    expect(JSON.parse(err)).toMatchObject({ error });
    expect(service.entries).toEqual([]);
  });

  test('- does not read for ever', async () => {
    let read = 0;
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (; read < 1_000; read++) yield Buffer.alloc(65_536, 'x');
    }
    expect((await synod(['append', '-'], { service, stdin: endless() })).code).toBe(1);
    expect(read).toBeLessThan(40);
  });

  test('1 MiB is not too long, however its lines end', async () => {
    for (const stdin of ['x'.repeat(1024 * 1024), 'x\r\n'.repeat(512 * 1024), 'é'.repeat(512 * 1024)]) {
      expect((await synod(['append', '-'], { service, stdin })).code).toBe(0);
    }
    expect((await synod(['append', '-'], { service, stdin: 'é'.repeat(512 * 1024 + 1) })).code).toBe(1);
  });
});

describe('append --lines', () => {
  test('writes one entry a line, in order, and skips empty lines', async () => {
    const stdin = 'one\n\ntwo\r\n\r\n 🚑 three\nlast';
    const { code, out, err } = await synod(['append', '-', '--lines'], { service, stdin });
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(service.entries.map(({ params }) => params.text)).toEqual(['one', 'two', ' 🚑 three', 'last']);
    expect(out).toBe([1, 2, 3, 4].map((n) => `#${n} eaaaaaaa committed\n`).join(''));
  });

  test('prints in input order, also where the answers come in another', async () => {
    const append = service.append.bind(service);
    service.append = async (params, signal) => {
      const written = await append(params, signal);
      await sleep(params.text.length > 2 ? 1 : 20);
      return written;
    };
    const stdin = Array.from({ length: 100 }, (_, i) => `${'x'.repeat(1 + (i % 4))}`).join('\n');
    const { objects } = await synod(['append', '-', '--lines', '--json'], { service, stdin });
    expect(objects.map(({ position }) => position)).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
  });

  test('keeps 256 in flight and reads no further', async () => {
    const gate = Promise.withResolvers<void>();
    service.gate = gate.promise;
    let read = 0;
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (; read < 1_000; read++) yield Buffer.from(`line ${read}\n`);
    }
    const running = synod(['append', '-', '--lines'], { service, stdin: endless() });
    await sleep(50);
    expect(service.running).toBe(256);
    expect(read).toBeLessThanOrEqual(257);
    gate.resolve();
    expect((await running).out.split('\n')).toHaveLength(1_001);
    expect(service.runningMax).toBe(256);
  });

  test('prints what is done while it waits for the next line', async () => {
    const next = Promise.withResolvers<void>();
    let out = '';
    async function* slow(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('one\n');
      await next.promise;
    }
    const write = async (text: string): Promise<void> => {
      out += text;
    };
    const running = synod(['append', '-', '--lines'], { service, stdin: slow(), io: { out: write } });
    await sleep(20);
    expect(out).toBe('#1 eaaaaaaa committed\n');
    next.resolve();
    await running;
  });

  test('names a bad line by its number and goes on', async () => {
    const stdin = Buffer.concat([Buffer.from('one\n\n'), Uint8Array.of(0xff, 0x0a), Buffer.from('two\n')]);
    const { code, err, objects } = await synod(['append', '-', '--lines', '--json'], { service, stdin });
    expect(code).toBe(1);
    expect(JSON.parse(err)).toEqual({ error: 'TEXT_BAD', message: expect.stringMatching(/^Line 3: /) });
    expect(objects).toHaveLength(2);
  });

  test('waits the whole timeout once and not for each batch of a group that can not agree', async () => {
    service.agrees = false;
    const stdin = 'x\n'.repeat(1_000);
    const began = performance.now();
    const { code, objects } = await synod(['append', '-', '--lines', '--json', '--strict', '--timeout', '1s'], {
      service,
      stdin,
    });
    expect(performance.now() - began).toBeLessThan(2_500);
    expect(code).toBe(4);
    expect(objects).toHaveLength(1_000);
  });

  test('long lines keep fewer in flight', async () => {
    const gate = Promise.withResolvers<void>();
    service.gate = gate.promise;
    const long = Buffer.from(`${'x'.repeat(1024 * 1024)}\n`);
    async function* many(): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < 20; i++) yield long;
    }
    const running = synod(['append', '-', '--lines'], { service, stdin: many() });
    await sleep(200);
    expect(service.running).toBe(8);
    gate.resolve();
    expect((await running).code).toBe(0);
    expect(service.entries).toHaveLength(20);
  });

  test('a line too long to keep is named, and the next is read', async () => {
    async function* input(): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < 20; i++) yield Buffer.alloc(1024 * 1024, 'x');
      yield Buffer.from('\nnext');
    }
    const { code, err } = await synod(['append', '-', '--lines'], { service, stdin: input() });
    expect(code).toBe(1);
    expect(err).toMatch(/^Line 1: The text has more than 16 MiB/);
    expect(service.entries.map(({ params }) => params.text)).toEqual(['next']);
  });

  test('stops where the peer does', async () => {
    async function* endless(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('one\n');
      await new Promise(() => {});
    }
    service.append = async () => {
      throw Object.assign(new Error('gone'), { code: 'PEER_LOST' });
    };
    expect(await synod(['append', '-', '--lines'], { service, stdin: endless() })).toMatchObject({
      code: 1,
      err: 'gone\n',
    });
  });

  test('an interruption does not wait for standard input', async () => {
    const interruption = new AbortController();
    async function* endless(): AsyncGenerator<Uint8Array> {
      await new Promise(() => {});
    }
    const running = synod(['append', '-', '--lines'], {
      service,
      stdin: endless(),
      io: { signal: interruption.signal },
    });
    await sleep(10);
    interruption.abort();
    expect((await running).code).toBe(130);
  });
});

describe('edit, remove and restore', () => {
  test.each([
    [['edit', ID, 'new'], 'edit', { entry: ID, text: 'new' }],
    [['remove', '57'], 'remove', { entry: '57' }],
    [['restore', 'e7k', '--revision', '3'], 'restore', { entry: 'e7k', revision: 3 }],
  ])('%j', async (args, method, params) => {
    const { code, objects } = await synod([...args, '--json'], { service });
    expect(code).toBe(0);
    expect(Object.keys(objects[0] ?? {})).toEqual(['id', 'status', 'position', 'slot', 'revision', 'why', 'whyCode']);
    expect(service.calls).toEqual([{ method, params: { wait: 'committed', timeoutMs: 30_000, ...params } }]);
  });

  test('what is not there exits 1', async () => {
    expect((await synod(['remove', 'enone'], { service })).code).toBe(1);
  });

  test('edit - reads the text', async () => {
    await synod(['edit', '1', '-'], { service, stdin: 'new\n' });
    expect(service.calls[0]?.params).toMatchObject({ text: 'new' });
  });
});

describe('import', () => {
  const file = [
    '{"met":"1","speaker":"CDR","text":"Okay."}',
    '{"met":"1","speaker":"CDR","text":"Okay."}',
    '{"met":"2","speaker":"CC","text":"Roger."}',
    '',
    '{"met":"3","text":"Who?"}',
  ].join('\n');
  const args = ['import', '-', '--writer-field', 'speaker', '--json'];

  test('writes one entry a line, with its writer, and twice what stands there twice', async () => {
    const { code, out } = await synod(args, { service, stdin: file });
    expect({ code, out }).toEqual({ code: 0, out: '{"imported":4,"skipped":0,"failed":0}\n' });
    expect(service.entries.map(({ params }) => [params.writer, params.text])).toEqual([
      ['CDR', 'Okay.'],
      ['CDR', 'Okay.'],
      ['CC', 'Roger.'],
      [undefined, 'Who?'],
    ]);
    expect(new Set(service.entries.map(({ params }) => params.key)).size).toBe(4);
  });

  test('again it skips them all, and with one more line it adds that one', async () => {
    await synod(args, { service, stdin: file });
    expect((await synod(args, { service, stdin: file })).out).toBe('{"imported":0,"skipped":4,"failed":0}\n');
    const longer = `${file}\r\n{"text":"Okay."}\r\n`;
    expect((await synod(args, { service, stdin: longer })).out).toBe('{"imported":1,"skipped":4,"failed":0}\n');
  });

  test('the keys follow from the lines alone', async () => {
    await synod(args, { service, stdin: '{"text":"Okay."}\n{"text":"Okay."}' });
    expect(service.entries.map(({ params }) => params.key)).toEqual([
      'import/4e2b78b0b8e0931270bbd6c15aa08886744f05ccf2a06a75cf9ada442e65fce9/1',
      'import/4e2b78b0b8e0931270bbd6c15aa08886744f05ccf2a06a75cf9ada442e65fce9/2',
    ]);
  });

  test('a bad line is named and counted, and the others go on', async () => {
    const stdin = ['{"text":"a"}', 'not JSON', '[]', '{"t":1}', '{"text":5}', '{"text":""}', '{"text":"b"}'].join('\n');
    const { code, out, err } = await synod(['import', '-', '--json'], { service, stdin });
    expect({ code, out }).toEqual({ code: 1, out: '{"imported":2,"skipped":0,"failed":5}\n' });
    const errors = err
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(errors.map(({ message }) => message.slice(0, 7))).toEqual([
      'Line 2:',
      'Line 3:',
      'Line 4:',
      'Line 5:',
      'Line 6:',
    ]);
    expect(errors.map(({ error }) => error)).toEqual(['BAD_LINE', 'BAD_LINE', 'BAD_LINE', 'BAD_LINE', 'TEXT_EMPTY']);
  });

  test('a byte order mark is no part of the first line', async () => {
    await synod(args, { service, stdin: file });
    expect((await synod(args, { service, stdin: `\u{feff}${file}` })).out).toBe(
      '{"imported":0,"skipped":4,"failed":0}\n',
    );
  });

  test('a field of another name', async () => {
    await synod(['import', '-', '--text-field', 'body'], { service, stdin: '{"body":"b","text":"t"}' });
    expect(service.entries[0]?.params.text).toBe('b');
  });

  test('a file that is not there exits 1', async () => {
    const { code, err } = await synod(['import', '/nowhere.jsonl', '--json'], { service });
    expect(code).toBe(1);
    expect(JSON.parse(err).error).toBe('FILE_UNREADABLE');
  });
});

describe('log', () => {
  test('prints the lines as they are with --json', async () => {
    const { objects } = await synod(['log', '--json', '--pending'], { service });
    expect(Object.keys(objects[0] ?? {})).toEqual([
      'position',
      'slot',
      'id',
      'author',
      'name',
      'writer',
      'time',
      'placed',
      'text',
      'revision',
      'removed',
      'status',
    ]);
    expect(objects[2]).toMatchObject({ position: 3, text: null, removed: true, status: 'committed' });
    expect(objects[3]).toMatchObject({ position: null, status: 'pending', whyCode: 'ALONE' });
  });

  test('passes on what was asked for', async () => {
    await synod(['log', '--after-slot', '0', '--limit', '5', '--group', 'Ward 3'], { service });
    await synod(['log', '--since', '7'], { service });
    const asked = service.calls.filter(({ method }) => method === 'log');
    expect(asked.map(({ params }) => params)).toEqual([
      { afterSlot: 0, limit: 5, follow: false, pending: false, group: 'Ward 3' },
      { since: 7, follow: false, pending: false },
    ]);
  });

  test('sets apart what is shown before it is verified', async () => {
    const all = service.log.bind(service);
    service.log = async function* (params, signal) {
      for await (const line of all(params, signal)) {
        yield line.status === 'committed' && line.position > 2 ? { ...line, status: 'unverified' } : line;
      }
    };
    const { out } = await synod(['log'], { service });
    expect(out).toMatch(/\n +2 .*\n.*\n─+ not verified yet, the rest is coming ─+\n +3 /);
    expect(out.match(/not verified/g)).toHaveLength(1);
    const statuses = (await synod(['log', '--json'], { service })).out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).status);
    expect(statuses).toEqual(['committed', 'committed', 'unverified']);
  });

  test('is a page for people, and keeps others’ escape codes from the terminal', async () => {
    const { out } = await synod(['log', '--pending'], { service });
    expect(out).not.toContain('\u001b');
    expect(out).toContain('     1  ');
    expect(out).toMatch(/ {27,}second \ufffd\[31mred/);
    expect(out).toMatch(/removed/);
    expect(out).toMatch(/─ not agreed yet ─.*\n.*Doctor called\. {2}\(Only on this machine so far\.\)/);
    expect(out.match(/2026/g)).toHaveLength(1);
  });

  test('--follow runs until it is interrupted, which is no failure', async () => {
    const interruption = new AbortController();
    const running = synod(['log', '--follow', '--json'], { service, io: { signal: interruption.signal } });
    await sleep(20);
    expect(service.openStreams).toBe(1);
    interruption.abort();
    expect(await running).toMatchObject({ code: 0, err: '' });
    expect(service.openStreams).toBe(0);
  });

  test('--follow ends with the given time too, and fails with the peer', async () => {
    expect(await synod(['log', '--follow', '--timeout', '10ms'], { service })).toMatchObject({ code: 0, err: '' });
    service.failure = new PeerError('STOPPING', 'The peer is stopping.');
    expect((await synod(['log', '--follow'], { service })).code).toBe(1);
  });

  test('history prints a revision a line', async () => {
    const { objects } = await synod(['history', '57', '--json'], { service });
    expect(objects).toEqual([
      {
        revision: 1,
        slot: 4,
        author: PEER,
        writer: 'Ana',
        time: '2026-11-19T22:04:00.000+01:00',
        text: 'first',
        removed: false,
      },
      {
        revision: 2,
        slot: null,
        author: PEER,
        writer: 'Ana',
        time: '2026-11-19T22:04:00.000+01:00',
        text: null,
        removed: true,
      },
    ]);
    expect((await synod(['history', '57'], { service })).out).toMatch(/^Revision 1 {2}Ana .*\n {4}first\nRevision 2/);
  });
});

describe('groups and members', () => {
  test('create, invite, join', async () => {
    expect((await synod(['create', 'Ward 3', '--json'], { service })).out).toBe(
      `{"group":"${GROUP}","title":"Ward 3"}\n`,
    );
    expect((await synod(['invite', '--json', '--role', 'voter', '--expires', '1h'], { service })).out).toBe(
      '{"ticket":"synod1abcdef"}\n',
    );
    expect(service.calls[1]?.params).toEqual({
      rights: 'writer',
      role: 'voter',
      expiresMs: 3_600_000,
      timeoutMs: 30_000,
    });
    const joined = await synod(['join', '-', '--json'], { service, stdin: '  synod1abcdef\n' });
    expect(joined.out).toBe(`{"group":"${GROUP}","role":"learner"}\n`);
    expect(JSON.parse(joined.err)).toEqual({ event: 'join', step: 'DIALLING', message: expect.any(String) });
    expect(service.calls[2]?.params).toEqual({ ticket: 'synod1abcdef', timeoutMs: 60_000 });
  });

  test('what is too long for a ticket, or nothing at all, is called so', async () => {
    const long = await synod(['join', '-'], { service, stdin: `synod1${'a'.repeat(3 * 1024 * 1024)}` });
    expect(long).toMatchObject({ code: 1, out: '', err: expect.stringContaining('That is too long for a ticket.') });
    const none = await synod(['join', '-'], { service, stdin: ' \n' });
    expect(none).toMatchObject({ code: 1, out: '', err: expect.stringContaining('There is no ticket.') });
    expect(service.calls).toEqual([]);
  });

  test('a used invitation exits 4 and says so', async () => {
    const { code, out, err } = await synod(['join', 'synod1used'], { service });
    expect({ code, out }).toEqual({ code: 4, out: '' });
    expect(err).toMatch(/The invitation was used\.\n$/);
  });

  test.each([
    ['promote', '"voter"'],
    ['demote', '"learner"'],
    ['expel', 'null'],
    ['lead', '"voter"'],
  ])('%s answers once it is in force', async (verb, role) => {
    expect((await synod([verb, 'NAS', '--json', '--timeout', '5s'], { service })).out).toBe(
      `{"peer":"${PEER}","role":${role}}\n`,
    );
    expect(service.calls[0]?.params).toEqual({ peer: 'NAS', timeoutMs: 5_000 });
  });

  test('quorum shows and sets, and says what each choice survives', async () => {
    const shown = await synod(['quorum'], { service });
    expect(shown.out).toMatch(/^3 machines vote: 2 choose who leads, 2 agree \(majorities\)\.\n/);
    expect(shown.out).toMatch(/2 {8}2 {8}any 1 +any 1 +now\n/);
    expect(shown.out).toMatch(/1 {8}3 {8}none +none\n/);
    const larger = await synod(['quorum', '--phase1', '3', '--phase2', '2'], { service: new FakeService() });
    expect(larger.out).toMatch(/3 {8}2 {8}any 1 +none +now\n/);
    const set = await synod(['quorum', '--phase1', '1', '--phase2', '3', '--json'], { service });
    expect(set.out).toBe(
      '{"voters":3,"phase1":1,"phase2":3,"witnesses":0,"survives":{"writing":0,"electing":0},"pinned":true}\n',
    );
    await synod(['quorum', '--majorities', '--timeout', '5s', '--group', 'Ward 3'], { service });
    expect(service.calls.map(({ params }) => params)).toEqual([
      { timeoutMs: 30_000 },
      { phase1: 1, phase2: 3, timeoutMs: 30_000 },
      { majorities: true, timeoutMs: 5_000, group: 'Ward 3' },
    ]);
  });

  test('away says until when, and back', async () => {
    const day = await synod(['away', '--until', '2099-11-20', '--json'], { service });
    const until = new Date(2099, 10, 20).toISOString();
    expect(day.objects).toEqual([{ peer: PEER, away: true, until, others: 2 }]);
    await synod(['away', '--until', '2099-11-20T08:00+01:00'], { service });
    await synod(['away'], { service });
    const before = Date.now();
    await synod(['away', '--until', '3d'], { service });
    const untilMs = (service.calls[3]?.params as { untilMs: number } | undefined)?.untilMs ?? 0;
    expect(untilMs - before).toBeGreaterThanOrEqual(3 * 86_400_000);
    expect(service.calls.slice(1, 3).map(({ params }) => params)).toEqual([
      { away: true, untilMs: Date.UTC(2099, 10, 20, 7) },
      { away: true, untilMs: null },
    ]);
    expect((await synod(['away', '--back', '--json'], { service })).objects).toEqual([
      { peer: PEER, away: false, until: null, others: 2 },
    ]);
    expect((await synod(['away'], { service })).out).toMatch(/^Away: others vote and lead in its place/);
    service.others = 0;
    expect((await synod(['away'], { service })).out).toMatch(
      /^Away. But nobody else votes and can lead: .* Promote another/,
    );
  });

  test('leave, rename, profile', async () => {
    expect((await synod(['leave', '--json'], { service })).out).toBe(`{"peer":"${PEER}","role":null}\n`);
    expect((await synod(['leave'], { service })).out).toMatch(/no longer a member.*stays readable/);
    expect((await synod(['rename', 'Ward 4', '--json'], { service })).out).toBe(
      `{"group":"${GROUP}","title":"Ward 4"}\n`,
    );
    expect((await synod(['profile', '--name', 'NAS', '--json'], { service })).out).toBe(
      `{"peer":"${PEER}","name":"NAS"}\n`,
    );
    await synod(['profile'], { service });
    expect(service.calls.at(-1)?.params).toEqual({ timeoutMs: 30_000 });
  });

  test('invites lists what is open, and revoke closes it; what has expired is called so', async () => {
    const { objects } = await synod(['invites', '--json'], { service });
    expect(objects).toEqual(await new FakeService().invites({}));
    const { out } = await synod(['invites'], { service });
    expect(out).toMatch(/^abababab {2}writer {2}voter {2}by Ana’s \ufffd\[31mlaptop {2}for ever\n/);
    expect(out).toMatch(/^cdcdcdcd .* expired$/m);
    const revoked = await synod(['revoke', 'cdcd', '--json'], { service });
    expect(revoked.objects).toEqual([objects[1]]);
    expect((await synod(['revoke', 'cdcd'], { service })).out).toBe(
      'The invitation cdcdcdcd, which had expired, lets nobody in any more.\n',
    );
    expect(service.calls.at(-1)?.params).toEqual({ key: 'cdcd', timeoutMs: 30_000 });
  });

  test('status is one object, members one a line', async () => {
    const { objects } = await synod(['status', '--json'], { service });
    expect(objects).toEqual([await new FakeService().status({})]);
    expect((await synod(['members', '--json'], { service })).objects).toEqual(await new FakeService().members({}));
    expect((await synod(['barrier', '--json'], { service })).objects).toEqual([
      { position: 57, slot: 60, digest: 'ab'.repeat(32) },
    ]);
  });

  test('health is 0 while all is well, and 4 with what is the matter', async () => {
    const whole = await new FakeService().status({});
    const [group] = whole.groups as [GroupStatus];
    const of = async (...args: readonly string[]) => synod(['health', ...args], { service });
    service.status = async () => ({ ...whole, groups: [{ ...group, why: null, whyCode: null }] });
    expect(await of('--json')).toMatchObject({ code: 0, objects: [{ ok: true, problems: [] }] });
    expect(await of()).toMatchObject({ code: 0, out: 'All is well.\n' });
    service.status = async () => ({
      ...whole,
      groups: [{ ...group, why: 'It is on its way.', whyCode: 'ON_ITS_WAY' }],
    });
    expect(await of('--json')).toMatchObject({ code: 0 });
    const broken = [{ group: 'gother', code: 'DAMAGED', message: 'It can not be read.' }];
    service.status = async () => ({
      ...whole,
      groups: [{ ...group, why: 'Ben is away.', whyCode: 'NO_QUORUM' }],
      broken,
    });
    const problems = [...broken, { group: group.group, code: 'NO_QUORUM', message: 'Ben is away.' }];
    expect(await of('--json')).toMatchObject({ code: 4, objects: [{ ok: false, problems }] });
    const { code, out } = await of();
    expect({ code, lines: out.trim().split('\n') }).toEqual({
      code: 4,
      lines: [expect.stringContaining('It can not be read.'), expect.stringContaining('Ben is away.')],
    });
  });

  test('status for people says who is here and what is missing', async () => {
    const { out } = await synod(['status'], { service });
    expect(out).toContain('Ward 3');
    expect(out).toContain('Waiting: Needs 2 of 3 voters.');
    expect(out).toMatch(/● {2}Ana’s laptop {2}leads/);
    expect(out).toMatch(/○ {2}NAS {11}witness/);
    expect(out).toContain(
      '  1 of 3 voters are here. Any 1 may be away.\n  Next: NAS stops voting. It waits: nobody leads.\n',
    );
  });
});

test('a person’s own limit on a question ends it', async () => {
  service.status = (_params: object, signal?: AbortSignal) =>
    new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(new Error('aborted'))));
  const { code, err } = await synod(['status', '--timeout', '20ms', '--json'], { service });
  expect(code).toBe(4);
  expect(JSON.parse(err).error).toBe('TIMED_OUT');
});
