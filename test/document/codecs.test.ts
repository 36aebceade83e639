import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { concat, toHex, utf8 } from '../../shared/base/bytes.ts';
import { type Cbor, decodeCbor, encodeCbor, FormatError } from '../../shared/base/cbor.ts';
import { domain, hashFor, sha256, ZERO_HASH } from '../../shared/base/hash.ts';
import { parseEntryId, peerFromKey, position, seq } from '../../shared/base/ids.ts';
import {
  type Body,
  batchHash,
  decodeBatch,
  decodeGenesis,
  decodePayload,
  decodeRun,
  encodeBatch,
  encodeGenesis,
  encodePayload,
  isRedacted,
  isSupported,
  KINDS,
  keyedEntryId,
  NewerBatchError,
  numberedEntryId,
  RESERVED,
  RUN_BYTES_MAX,
  type Run,
  redactRun,
  type SingleBody,
  tagOf,
  UnknownKindError,
  verifyRun,
} from '../../shared/document/index.ts';
import {
  appliedPlace,
  clockPlace,
  entryPlace,
  invitationPlace,
  memberPlace,
  membersPlace,
  metaPlace,
  positionPlace,
  revisionPlace,
  sessionPlace,
} from '../../shared/document/records.ts';
import { decodeStrictly } from '../../shared/document/strict.ts';
import { fakeVerifier, idAt, incarnationOf, Log, START_MS, write } from './fixture.ts';

const seed = 20261120;
const key32 = fc.uint8Array({ minLength: 32, maxLength: 32 });
const text = fc.string({ unit: 'grapheme', maxLength: 40 });
const peer = key32.map(peerFromKey);
const entry = fc.constant(parseEntryId('eabcdefghijklmnopqrstuvwxy'));

const count = fc.integer({ min: 1, max: 15 });
const single: fc.Arbitrary<SingleBody> = fc.oneof(
  fc.record({
    kind: fc.constant('create' as const),
    key: fc.option(fc.string({ minLength: 1, maxLength: 20 }), { nil: null }),
    text,
  }),
  fc.record({
    kind: fc.constant('edit' as const),
    entry,
    baseRevision: fc.integer({ min: 1, max: 1e9 }),
    baseTag: fc.uint8Array({ minLength: 8, maxLength: 8 }),
    text,
    overlap: fc.boolean(),
  }),
  fc.record({ kind: fc.constant('remove' as const), entry }),
  fc.record({
    kind: fc.constant('restore' as const),
    entry,
    revision: fc.option(fc.integer({ min: 1, max: 99 }), { nil: null }),
  }),
  fc.record({ kind: fc.constant('rename' as const), title: text }),
  fc.record({ kind: fc.constant('profile' as const), name: text }),
  fc.record({
    kind: fc.constant('invite' as const),
    key: key32,
    rights: fc.constantFrom('keeper' as const, 'writer' as const, 'reader' as const),
    pinned: fc.constantFrom('voter' as const, 'learner' as const, 'witness' as const, null),
    expiresMs: fc.option(fc.integer({ min: 0, max: START_MS }), { nil: null }),
  }),
  fc.record({
    kind: fc.constant('admit' as const),
    key: key32,
    joiner: peer,
    incarnation: fc.constant(incarnationOf(5)),
    signature: fc.uint8Array({ minLength: 64, maxLength: 64 }),
    name: text,
  }),
  fc.record({ kind: fc.constant('expel' as const), peer }),
  fc.record({
    kind: fc.constant('rights' as const),
    peer,
    rights: fc.constantFrom('keeper' as const, 'reader' as const),
  }),
  fc.record({ kind: fc.constant('pinRole' as const), peer, role: fc.constantFrom('voter' as const, null) }),
  fc.record({ kind: fc.constant('revoke' as const), key: key32 }),
  fc
    .record({ voters: count, phase1: count, phase2: count, byHand: fc.boolean() })
    .map(({ voters, phase1, phase2, byHand }) => {
      const sizes = byHand ? { phase1, phase2 } : { phase1: null, phase2: null };
      return { kind: 'quorum' as const, voters, ...sizes };
    }),
  fc.record({
    kind: fc.constant('away' as const),
    isAway: fc.constant(true),
    untilMs: fc.option(fc.integer({ min: 0, max: START_MS }), { nil: null }),
  }),
  fc.constant({ kind: 'away' as const, isAway: false, untilMs: null }),
);

/** The same text for the same values, whichever class the platform's library gives its bytes. */
const shown = (value: unknown): string =>
  JSON.stringify(value, (_key, each) =>
    each?.type === 'Buffer' ? toHex(each.data) : each instanceof Uint8Array ? toHex(each) : each,
  );

const anyBody: fc.Arbitrary<Body> = fc.oneof(
  single,
  fc.constant({ kind: 'openSession' as const }),
  fc.record({ kind: fc.constant('bundle' as const), bodies: fc.array(single, { minLength: 1, maxLength: 5 }) }),
);

describe('round trips', () => {
  test('of every body', () => {
    fc.assert(
      fc.property(text, anyBody, (writer, body) => {
        const bytes = encodePayload({ writer, body });
        expect(decodePayload(KINDS[body.kind], bytes)).toEqual({ writer, body });
      }),
      { seed, numRuns: 500 },
    );
  });

  test('of runs: hashes, chain and signature come out as they were signed', () => {
    fc.assert(
      fc.property(fc.array(anyBody, { minLength: 1, maxLength: 20 }), (bodies) => {
        const author = new Log().ana;
        author.run(write('before'));
        const run = author.run(...bodies);
        const again = decodeRun(Uint8Array.from(run.bytes));
        expect(shown(again)).toBe(shown(run));
        expect(verifyRun(again, fakeVerifier)).toBe(true);
      }),
      { seed, numRuns: 100 },
    );
  });

  test('of batches, and of the hash', () => {
    const log = new Log();
    const runs = [log.ana.run(write('a'), write('b')), log.ana.run(write('c'))];
    const bytes = encodeBatch(START_MS, runs);
    const again = decodeBatch(Uint8Array.from(bytes));
    expect(shown(again.runs)).toBe(shown(runs));
    expect(again.placedMs).toBe(START_MS);
    expect(batchHash(Uint8Array.from(bytes))).toEqual(batchHash(bytes));
    expect(batchHash(encodeBatch(START_MS + 1, runs))).not.toEqual(batchHash(bytes));
    expect(batchHash(encodeBatch(START_MS, runs.toReversed()))).not.toEqual(batchHash(bytes));
  });

  test('of the genesis', () => {
    const bytes = new Log().genesis;
    expect(encodeGenesis(decodeGenesis(bytes))).toEqual(bytes);
  });
});

describe('the formats, spelled out', () => {
  const log = new Log();
  const session = log.ana.session;
  const peerKey = log.ana.signer.publicKey;
  const run = log.ana.run(write('first'), write('second'));
  const [first, second] = run.commands as [Run['commands'][0], Run['commands'][0]];

  test('a command', () => {
    const payload = encodeCbor(['somebody', [null, 'second']]);
    expect(second.payload).toEqual(payload);
    const payloadHash = hashFor('payload', second.salt as Uint8Array, payload);
    const header = encodeCbor([
      1,
      session.group,
      peerKey,
      new Uint8Array(16).fill(1),
      2,
      first.hash,
      1,
      0,
      START_MS,
      60,
      KINDS.create,
      payloadHash,
    ]);
    expect(second.hash).toEqual(hashFor('command', header));
    expect(first.prev).toEqual(ZERO_HASH);
  });

  test('a run', () => {
    const signed = concat(domain('run'), sha256(concat(first.hash, second.hash)));
    expect(run.signature).toEqual(log.ana.signer.sign(signed));
    const rows = run.commands.map((each) => [1, 0, START_MS, 60, KINDS.create, each.salt, each.payload, null]);
    const whole = [1, session.group, peerKey, new Uint8Array(16).fill(1), 1, ZERO_HASH, run.signature, rows] as Cbor[];
    expect(run.bytes).toEqual(encodeCbor(whole));
  });

  test("a value's hash", () => {
    const signed = [[run.signature, concat(first.hash, second.hash)]];
    expect(batchHash(encodeBatch(7, [run]))).toEqual(hashFor('value', encodeCbor([1, 7, signed])));
  });

  test('tags and entry ids', () => {
    expect(tagOf(first.hash, null)).toEqual(first.hash.slice(0, 8));
    expect(tagOf(first.hash, 3)).toEqual(hashFor('command', first.hash, Uint8Array.of(0, 0, 0, 3)).slice(0, 8));
    const ids = [
      keyedEntryId(session.group, session.peer, 'a'),
      keyedEntryId(session.group, log.author('Ben', 1).peer, 'a'),
      numberedEntryId(session, seq(1), 0),
      numberedEntryId(session, seq(1), 1),
      numberedEntryId(session, seq(2 ** 32 + 1), 0),
      numberedEntryId({ ...session, incarnation: incarnationOf(2) }, seq(1), 0),
    ];
    expect(new Set(ids).size).toBe(ids.length);
    expect(keyedEntryId(log.group, session.peer, 'a')).toBe(ids[0]);
  });

  test('numbers of kinds are never used twice', () => {
    const all = [...Object.values(KINDS), ...Object.values(RESERVED)];
    expect(new Set(all).size).toBe(all.length);
  });
});

describe('redaction', () => {
  test('keeps hashes and signature, and leaves neither payload nor salt', () => {
    const run = new Log().ana.run(write('keep'), write('a secret'));
    const stub = redactRun(run, new Set([2]));
    const again = decodeRun(Uint8Array.from(stub.bytes));
    expect(again.lastHash).toEqual(run.lastHash);
    expect(verifyRun(again, fakeVerifier)).toBe(true);
    expect(batchHash(encodeBatch(1, [again]))).toEqual(batchHash(encodeBatch(1, [run])));
    expect(Buffer.from(stub.bytes).includes('a secret')).toBe(false);
    expect(Buffer.from(stub.bytes).includes(Buffer.from(run.commands[1]?.salt ?? []))).toBe(false);
    expect([isRedacted(run), isRedacted(again)]).toEqual([false, true]);
  });
});

describe('what is unknown', () => {
  test('a kind that comes later is known to be unknown, also inside a bundle', () => {
    const author = new Log().ana;
    const later = author.with({ kind: RESERVED.label }, write('x'));
    expect(isSupported(later)).toBe(false);
    const payload = encodeCbor([
      '',
      [
        [KINDS.create, [null, 'a']],
        [RESERVED.check, ['what', 'ever']],
      ],
    ]);
    const inside = author.with({ kind: KINDS.bundle, payload }, write('x'));
    expect(isSupported(inside)).toBe(false);
    expect(isSupported(author.run(write('x')))).toBe(true);
    expect(() => decodePayload(KINDS.bundle, payload)).toThrow(UnknownKindError);
  });

  test('a batch of another version', () => {
    expect(() => decodeBatch(encodeCbor([2, 'something', 'else', 'entirely']))).toThrow(NewerBatchError);
  });
});

describe('limits', () => {
  const author = new Log().ana;

  test('a run has at most 256 commands', () => {
    const many = Array.from({ length: 257 }, () => write('x'));
    expect(() => decodeRun(author.run(...many).bytes)).toThrow(FormatError);
    expect(decodeRun(author.run(...many.slice(1)).bytes).commands).toHaveLength(256);
  });

  test('only a single command may be larger than 256 KiB', () => {
    const large = write('x'.repeat(RUN_BYTES_MAX));
    expect(decodeRun(author.run(large).bytes).commands).toHaveLength(1);
    expect(() => decodeRun(author.run(large, write('y')).bytes)).toThrow('too long');
    expect(() => decodeRun(author.run(write('x'.repeat(2 ** 20 + 2 ** 17))).bytes)).toThrow('too long');
  });

  test('a salt has 16 bytes', () => {
    const value = decodeCbor(author.run(write('x')).bytes) as Cbor[];
    const [row] = value[7] as Cbor[][];
    const short = [...value.slice(0, 7), [(row as Cbor[]).with(5, new Uint8Array(15))]];
    expect(() => decodeRun(encodeCbor(short))).toThrow('16 bytes');
  });

  test('a payload and its hash exclude each other', () => {
    const value = decodeCbor(author.run(write('x')).bytes) as Cbor[];
    const [row] = value[7] as Cbor[][];
    const both = [...value.slice(0, 7), [[...(row as Cbor[]).slice(0, 7), new Uint8Array(32)]]];
    expect(() => decodeRun(encodeCbor(both))).toThrow('exclude each other');
    const saltLeft = [...value.slice(0, 7), [[...(row as Cbor[]).slice(0, 6), null, new Uint8Array(32)]]];
    expect(() => decodeRun(encodeCbor(saltLeft))).toThrow('exclude each other');
  });
});

/** Decoders of bytes that others send or that a disk may have damaged, each with something to damage. */
const sample = new Log();
const sampleRuns = [
  sample.ana.run(write('a', 'key'), { kind: 'bundle', bodies: [{ kind: 'rename', title: 't' }] }),
  sample.ana.run(write('b')),
];
sample.apply(...sampleRuns);
sample.join('Ben');
const record = (key: string) => sample.kv.get(key) as Uint8Array;
const id = idAt(sample, 1);
const { ana } = sample;

const places = [
  appliedPlace,
  clockPlace,
  positionPlace(id),
  entryPlace(position(1)),
  revisionPlace(position(1), 1),
  sessionPlace(ana.peer, ana.session.incarnation),
  memberPlace(ana.peer),
  membersPlace,
  metaPlace,
];

const decoders: [string, (bytes: Uint8Array) => unknown, Uint8Array][] = [
  ['run', decodeRun, (sampleRuns[0] as Run).bytes],
  ['batch', (bytes) => decodeBatch(bytes), encodeBatch(START_MS, sampleRuns)],
  ['genesis', decodeGenesis, sample.genesis],
  ...Object.entries(KINDS).map(([name, kind]): [string, (bytes: Uint8Array) => unknown, Uint8Array] => [
    `payload of ${name}`,
    (bytes) => decodePayload(kind, bytes),
    encodePayload({ writer: 'w', body: write('text', 'key') }),
  ]),
  ...places.map((place): [string, (bytes: Uint8Array) => unknown, Uint8Array] => [
    `record ${place.key.slice(0, 5)}`,
    (bytes) => place.codec.decode(bytes),
    record(place.key),
  ]),
  ['record s/v', (bytes) => invitationPlace(new Uint8Array(32)).codec.decode(bytes), record('s/meta')],
];

const nested = (depth: number) => concat(new Uint8Array(depth).fill(0x81), Uint8Array.of(0));

describe('hostile bytes', () => {
  /** Whatever is thrown must be a FormatError, or the one that says "update needed". */
  const mustBeStrict = (decode: (bytes: Uint8Array) => unknown, bytes: Uint8Array) => {
    try {
      decode(bytes);
    } catch (error) {
      if (!(error instanceof FormatError || error instanceof UnknownKindError)) throw error;
    }
  };

  test.each(decoders)('%s', (_name, decode, good) => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => mustBeStrict(decode, bytes)),
      { seed, numRuns: 500 },
    );
    const anyCbor = fc.letrec<{ value: Cbor }>((tie) => ({
      value: fc.oneof(
        { depthSize: 'small' },
        fc.constant(null),
        fc.boolean(),
        fc.integer(),
        fc.string(),
        fc.uint8Array({ maxLength: 70 }),
        fc.array(tie('value'), { maxLength: 14 }),
      ),
    })).value;
    fc.assert(
      fc.property(anyCbor, (value) => mustBeStrict(decode, encodeCbor(value))),
      { seed, numRuns: 500 },
    );
    const damage = fc.array(fc.tuple(fc.nat({ max: good.length - 1 }), fc.nat({ max: 255 })), { maxLength: 4 });
    fc.assert(
      fc.property(damage, fc.nat({ max: good.length }), fc.uint8Array({ maxLength: 3 }), (changes, cut, more) => {
        const bytes = Uint8Array.from(good);
        for (const [at, to] of changes) bytes[at] = to;
        mustBeStrict(decode, bytes);
        mustBeStrict(decode, good.slice(0, cut));
        if (more.length > 0) expect(() => decode(concat(good, more))).toThrow();
      }),
      { seed, numRuns: 500 },
    );
  });

  test.each(decoders.filter(([name]) => !name.startsWith('record')))('%s: nesting without end', (_name, decode) => {
    for (const depth of [100, 1000, 10_000, 200_000]) expect(() => decode(nested(depth))).toThrow(FormatError);
  });

  test('a stack that runs out while they are read is their fault', () => {
    const deep = (value: Cbor): Cbor => [deep(value)];
    expect(() => decodeStrictly(encodeCbor(0), deep)).toThrow(FormatError);
  });

  test('text that is not UTF-8', () => {
    const bytes = encodePayload({ writer: '', body: write('aaaa') });
    bytes[bytes.length - 1] = 0xff;
    expect(() => decodePayload(KINDS.create, bytes)).toThrow(FormatError);
    expect(utf8('a')).toHaveLength(1);
  });
});
