import { writeFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { agree, alone, errors, inPlace, type Machine, synod, trio } from './harness.ts';

const MIB = 1024 * 1024;

const append = (machine: Machine, stdin: string | Uint8Array, ...args: string[]) =>
  machine.runWith({ stdin }, 'append', ...args, '-');

describe('texts that are refused: 1, in words, and nothing is written', () => {
  test.each([
    ['a byte over 1 MiB', Buffer.alloc(MIB + 1, 'x'), 'TEXT_TOO_LONG'],
    ['over 1 MiB in bytes, not in letters', 'é'.repeat(MIB / 2 + 1), 'TEXT_TOO_LONG'],
    ['far over 1 MiB', Buffer.alloc(20 * MIB, 'x'), 'TEXT_TOO_LONG'],
    ['nothing', '', 'TEXT_EMPTY'],
    ['a line end alone', '\n', 'TEXT_EMPTY'],
    ['Latin-1', Buffer.from('caf\xe9', 'latin1'), 'TEXT_BAD'],
    ['UTF-16', Buffer.from('\ufeffhello', 'utf16le'), 'TEXT_BAD'],
    ['UTF-8 cut in a letter', Buffer.from('€').subarray(0, 2), 'TEXT_BAD'],
    ['an overlong form', Buffer.from([0xc0, 0xaf]), 'TEXT_BAD'],
    ['half a character in UTF-8', Buffer.from([0xed, 0xa0, 0x80]), 'TEXT_BAD'],
  ])('%s', async (_, stdin, code) => {
    const { machine } = await alone();
    const ran = await append(machine, stdin);
    expect([ran.code, ran.error?.error, ran.out]).toEqual([1, code, '']);
    expect(ran.error?.message).toMatch(/^.{20,200}$/);
    expect(await machine.texts()).toEqual([]);
    expect(await machine.write('after')).toBe(1);
  });

  test('an empty word, and as an edit', async () => {
    const { machine } = await alone();
    await machine.write('before');
    expect((await machine.run('append', '')).error?.error).toBe('TEXT_EMPTY');
    expect((await machine.run('edit', '1', '')).error?.error).toBe('TEXT_EMPTY');
    expect((await machine.runWith({ stdin: Buffer.alloc(MIB + 1, 'x') }, 'edit', '1', '-')).error?.error).toBe(
      'TEXT_TOO_LONG',
    );
    expect(await machine.texts()).toEqual(['before']);
  });
});

/** Text as it is given on standard input, and as it must come out again on all machines. */
const KEPT: readonly (readonly [what: string, given: string, kept?: string])[] = [
  ['CRLF', 'one\r\ntwo\r\n', 'one\ntwo'],
  ['CR alone', 'one\rtwo', 'one\ntwo'],
  ['two line ends at the end: one goes', 'one\n\n', 'one\n'],
  ['NUL', 'a\0b'],
  ['control characters', '\x01\x02\x07\x08\x0b\x0c\x1b[31mred\x1b[0m\x7f\u0085\u009b'],
  ['spaces alone', ' \t '],
  ['right to left', 'שלום עולם مرحبا'],
  ['overrides of direction', 'a\u202eb\u2066c\u2069'],
  ['combining marks, not composed', 'e\u0301\u0327 A\u030a'],
  ['and composed', '\u00e9'],
  ['a tower of marks', `o${'\u0336'.repeat(1000)}`],
  ['emoji with joiners', '👩‍👩‍👧‍👦🏳️‍🌈'],
  ['a byte order mark', '\ufeffx'],
  ['no characters', '\ufffe\uffff'],
  ['line separators', 'a\u2028b\u2029c'],
  ['what looks like markup', '<script>alert(1)</script> {"a":1} $(x) `y` \\n'],
  ['a dash', '- begins with a dash'],
];

test('texts that are kept as they are, on all machines', async () => {
  const { ana, ben, cy, all } = await trio();
  for (const [what, given] of KEPT) {
    const ran = await append(ben, given);
    expect([what, ran.code, ran.json[0]?.status]).toEqual([what, 0, 'committed']);
  }
  await agree(all);
  for (const machine of [ana, ben, cy]) {
    expect((await machine.texts()).slice(3)).toEqual(KEPT.map(([, given, kept]) => kept ?? given.replace(/\n$/, '')));
  }
  const lines = (await cy.run('log', '--since', '3')).json;
  expect(lines.map(({ text }) => text)).toEqual(KEPT.map(([, given, kept]) => kept ?? given.replace(/\n$/, '')));
});

test('control characters do not reach a terminal', async () => {
  const { machine } = await alone();
  await machine.write('\x1b[2J\x1b]0;owned\x07\u009b31mred\0\x08\x7f');
  const { out } = await synod(['log', '--dir', machine.dir]);
  expect(out).toContain('owned');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  expect(out).not.toMatch(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/);
});

describe('the longest texts go to all machines', () => {
  test.each([
    ['1 MiB of one letter', 'a'.repeat(MIB)],
    ['1 MiB of letters of four bytes', '😀'.repeat(MIB / 4)],
    ['1 MiB of control characters, six times as long in JSON', '\x01'.repeat(MIB)],
    ['1 MiB of line ends', '\n'.repeat(MIB)],
    ['1 MiB after CRLF became LF', 'a\r\n'.repeat(MIB / 2)],
  ])('%s', async (_, given) => {
    const { ana, ben, cy, all } = await trio();
    const kept = given.replace(/\r\n/g, '\n');
    // One final line end goes; the text itself ends in one more where it has any.
    const ran = await append(cy, given.endsWith('\n') ? `${given}\n` : given, '--timeout', '60s');
    expect([ran.code, ran.json[0]?.status, ran.error]).toEqual([0, 'committed', null]);
    await agree(all);
    for (const machine of [ana, ben, cy]) expect((await machine.texts()).at(-1) === kept).toBe(true);
    const { json } = await ben.run('log', '--limit', '1');
    expect(json[0]?.text === kept).toBe(true);
  });

  test('eight of them at once from each machine', async () => {
    const { all } = await trio();
    await Promise.all(
      all.flatMap((machine) =>
        Array.from({ length: 8 }, (_, n) => machine.write(`${machine.name} ${n} ${'z'.repeat(MIB - 10)}`)),
      ),
    );
    await agree(all);
    expect((await all[0].status()).positions).toBe(3 + 24);
  });
});

test('--lines: bad ones among good ones are named by number, the good ones are written in order, and it ends with 1', async () => {
  const { machine } = await alone();
  const stdin = Buffer.concat([
    Buffer.from('one\r\n\n'),
    Buffer.from('caf\xe9\n', 'latin1'),
    Buffer.from('two\n'),
    Buffer.alloc(MIB + 1, 'x'),
    Buffer.from('\n\0three\n\r\n'),
    Buffer.from([0xff, 0x0a]),
    Buffer.from('last, without an end'),
  ]);
  const ran = await append(machine, stdin, '--lines');
  expect(ran.code).toBe(1);
  expect(errors(ran.err).map(({ error, message }) => [error, /^Line (\d+):/.exec(message as string)?.[1]])).toEqual([
    ['TEXT_BAD', '3'],
    ['TEXT_TOO_LONG', '5'],
    ['TEXT_BAD', '8'],
  ]);
  expect(await machine.texts()).toEqual(['one', 'two', '\0three', 'last, without an end']);
  expect(ran.json.map(({ position }) => position)).toEqual([1, 2, 3, 4]);
});

test('import: bad lines among good ones are named by number; the same file again writes nothing new', async () => {
  const { machine } = await alone();
  const line = (value: unknown): Buffer => Buffer.from(`${JSON.stringify(value)}\n`);
  const file = inPlace('in.jsonl');
  await writeFile(
    file,
    Buffer.concat([
      line({ text: 'one', who: 'Eva' }),
      Buffer.from('not json\n'),
      line({ other: 1 }),
      line({ text: 5 }),
      line({ text: '' }),
      line([1]),
      line(null),
      Buffer.from('{"text":"caf\xe9"}\n', 'latin1'),
      Buffer.from('{"text":"\\ud800"}\n'),
      line({ text: 'x'.repeat(MIB + 1) }),
      Buffer.from(`${'['.repeat(100_000)}\n`),
      line({ text: 'long name', who: 'n'.repeat(500) }),
      line({ text: 'control in the name', who: 'a\u001bb' }),
      Buffer.from(`{"__proto__":{"text":"never"}}\n`),
      line({ text: 'two\r\nlines', who: null }),
      line({ text: 'one', who: 'Eva' }),
      Buffer.from('\n\r\n'),
      line({ text: 'last' }),
    ]),
  );
  const first = await machine.run('import', file, '--writer-field', 'who');
  expect(first.json.at(-1)).toEqual({ imported: 4, skipped: 0, failed: 13 });
  expect(first.code).toBe(1);
  const failed = errors(first.err);
  expect(failed.map(({ message }) => Number(/^Line (\d+):/.exec(message as string)?.[1]))).toEqual(
    Array.from({ length: 13 }, (_, n) => n + 2),
  );
  expect(failed.map(({ error }) => error)).toEqual([
    'BAD_LINE',
    'BAD_LINE',
    'BAD_LINE',
    'TEXT_EMPTY',
    'BAD_LINE',
    'BAD_LINE',
    'TEXT_BAD',
    'BAD_LINE',
    'TEXT_TOO_LONG',
    'BAD_LINE',
    'TEXT_TOO_LONG',
    'TEXT_BAD',
    'BAD_LINE',
  ]);
  expect(await machine.texts()).toEqual(['one', 'two\nlines', 'one', 'last']);
  const again = await machine.run('import', file, '--writer-field', 'who');
  expect(again.json.at(-1)).toEqual({ imported: 0, skipped: 4, failed: 13 });
  expect(await machine.texts()).toHaveLength(4);
});

describe('names', () => {
  test.each([
    ['a control character', 'Night\x07log', 'TEXT_BAD'],
    ['a line end', 'Night\nlog', 'TEXT_BAD'],
    ['an escape', '\x1b[31mred', 'TEXT_BAD'],
    ['over 500 bytes', 'n'.repeat(501), 'TEXT_TOO_LONG'],
  ])('a title with %s: 1, and no group is made', async (_, title, code) => {
    const { machine } = await alone();
    const ran = await machine.run('create', title);
    expect([ran.code, ran.error?.error]).toEqual([1, code]);
    expect((await machine.ask((service, signal) => service.groups({}, signal))).length).toBe(1);
  });

  test.each([
    ['a control character', 'Ana\x07', 'TEXT_BAD'],
    ['over 200 bytes', 'n'.repeat(201), 'TEXT_TOO_LONG'],
  ])('a machine named with %s: 1', async (_, name, code) => {
    const args = ['serve', '--dir', inPlace('Ana'), '--no-mdns', '--json', '--listen', '/ip4/127.0.0.1/tcp/0'];
    const ran = await synod([...args, '--name', name]);
    expect([ran.code, ran.error?.error, ran.out]).toEqual([1, code, '']);
  });

  test.each([
    ['a control character', 'Eva\x07', 'TEXT_BAD'],
    ['over 200 bytes', 'n'.repeat(201), 'TEXT_TOO_LONG'],
  ])('a writer with %s: 1', async (_, writer, code) => {
    const { machine } = await alone();
    const ran = await machine.run('append', '--as', writer, 'x');
    expect([ran.code, ran.error?.error]).toEqual([1, code]);
    expect(await machine.texts()).toEqual([]);
  });

  test('an empty title, and a machine named with nothing: refused in words', async () => {
    const { machine } = await alone();
    const untitled = await machine.run('create', '');
    expect(untitled.code).toBeGreaterThan(0);
    expect(['TEXT_EMPTY', 'USAGE']).toContain(untitled.error?.error);
    expect(untitled.error?.message).not.toMatch(/Invalid length|!0/);
    const nameless = await synod(['serve', '--dir', inPlace('Ben'), '--json', '--no-mdns', '--name', '']);
    expect(nameless.code).toBeGreaterThan(0);
    expect(['TEXT_EMPTY', 'USAGE']).toContain(nameless.error?.error);
  });

  test('a key over 1 KiB: 1', async () => {
    const { machine } = await alone();
    const ran = await machine.run('append', '--key', 'k'.repeat(1025), 'x');
    expect([ran.code, ran.error?.error]).toEqual([1, 'TEXT_TOO_LONG']);
    expect(ran.error?.message).toMatch(/key/i);
    expect(await machine.write('after')).toBe(1);
  });
});
