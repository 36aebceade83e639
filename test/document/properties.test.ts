import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  hash,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';
import { sha256 as portable } from '@noble/hashes/sha2.js';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { toHex } from '../../shared/base/bytes.ts';
import type { Signer, Verifier } from '../../shared/base/crypto.ts';
import { installSha256 } from '../../shared/base/hash.ts';
import { peerFromKey, slot } from '../../shared/base/ids.ts';
import type { KvOp } from '../../shared/base/kv.ts';
import { Random } from '../../shared/base/random.ts';
import {
  type Body,
  Document,
  DocumentReader,
  decodeRun,
  encodeBatch,
  encodeGenesis,
  genesisOps,
  groupOf,
  invitationBytes,
  type Run,
  type SingleBody,
  verifyRun,
} from '../../shared/document/index.ts';
import { StateSum } from '../../shared/document/sum.ts';
import {
  type Author,
  Author as AuthorOf,
  admitBody,
  documentOver,
  editOf,
  fakeSigner,
  idAt,
  incarnationOf,
  Log,
  MemoryKv,
  START_MS,
  write,
} from './fixture.ts';

const seed = 20261120;

afterEach(() => installSha256(portable));

/** A body that makes sense, more or less, in the log as it is. */
function someBody(log: Log, random: Random, author: Author): Body {
  const count = log.read.positions();
  const some = () => idAt(log, 1 + random.below(Math.max(count, 1))) ?? 'eaaaaaaaaaaaaaaaaaaaaaaaaa';
  const bodies: (() => SingleBody)[] = [
    () => write(`${random.uint32()}`) as SingleBody,
    () => write(`text ${random.below(3)}`, `key ${random.below(4)}`) as SingleBody,
    () => (count > 0 ? (editOf(log, some(), `edit ${random.uint32()}`) as SingleBody) : (write('x') as SingleBody)),
    () => ({ kind: 'remove', entry: some() }),
    () => ({ kind: 'restore', entry: some(), revision: random.chance(0.5) ? null : 1 + random.below(3) }),
    () => ({ kind: 'rename', title: `title ${random.below(9)}` }),
    () => ({ kind: 'profile', name: `name ${random.below(9)}` }),
    () => ({
      kind: 'invite',
      key: fakeSigner(`i${random.below(9)}`).publicKey,
      rights: 'writer',
      pinned: null,
      expiresMs: null,
    }),
    () => admitBody(log.author(`p${random.below(4)}`, 1).session, fakeSigner(`i${random.below(9)}`), 'P'),
    () => ({ kind: 'expel', peer: random.chance(0.9) ? log.author(`p${random.below(4)}`, 1).peer : author.peer }),
    () => ({
      kind: 'rights',
      peer: log.author(`p${random.below(4)}`, 1).peer,
      rights: random.pick(['keeper', 'writer', 'reader']),
    }),
    () => ({ kind: 'pinRole', peer: log.author(`p${random.below(4)}`, 1).peer, role: random.pick(['voter', null]) }),
    () => ({ kind: 'revoke', key: fakeSigner(`i${random.below(9)}`).publicKey }),
    () => ({ kind: 'quorum', voters: 1 + random.below(5), phase1: 1 + random.below(5), phase2: 1 + random.below(5) }),
    () => ({ kind: 'quorum', voters: 3, phase1: null, phase2: null }),
    () => ({ kind: 'away', isAway: true, untilMs: random.chance(0.5) ? null : random.below(9) }),
    () => ({ kind: 'away', isAway: false, untilMs: null }),
    () => write('') as SingleBody,
  ];
  if (random.chance(0.1))
    return { kind: 'bundle', bodies: [random.pick(bodies)(), random.pick(bodies)(), random.pick(bodies)()] };
  return random.pick(bodies)();
}

/** A log of random commands in random batches, with duplicates, gaps and no-ops between. */
function randomLog(from: number, slots = 40): Log {
  const random = new Random(from);
  const log = new Log();
  const authors = [log.ana, ...['p0', 'p1', 'p2'].map((name) => log.author(name, 1))];
  const sent: Run[] = [];
  for (let i = 0; i < slots; i++) {
    if (random.chance(0.1)) {
      log.skip();
      continue;
    }
    const runs: Run[] = [];
    for (let n = random.below(4); n >= 0; n--) {
      const author = random.chance(0.5) ? log.ana : random.pick(authors);
      const run = author.run(...Array.from({ length: 1 + random.below(4) }, () => someBody(log, random, author)));
      sent.push(run);
      // A lost run is a gap for those behind it, until the author comes back to what was judged.
      if (random.chance(0.95)) runs.push(run);
      if (random.chance(0.2)) runs.push(random.pick(sent));
    }
    log.try(runs, START_MS + i * 30_000);
    for (const author of authors) backToJudged(log, author);
  }
  return log;
}

function backToJudged(log: Log, author: Author): void {
  const session = log.read.session(author.peer, author.session.incarnation);
  if (!session) {
    author.seq = 0 as never;
    author.prev = new Uint8Array(32);
    return;
  }
  author.seq = session.lastSeq;
  author.prev = session.lastHash;
}

describe('the state hash', () => {
  test('is the sum over all records, whatever happened', () => {
    fc.assert(
      fc.property(fc.nat(), (from) => {
        const log = randomLog(from);
        expect(log.read.stateHash()).toEqual(log.recomputed);
        expect(log.read.sizes().stateBytes).toBe(log.stateBytes);
      }),
      { seed, numRuns: 25 },
    );
  });

  test('adds and subtracts modulo 2²⁵⁶', () => {
    const bytes = fc.uint8Array({ minLength: 32, maxLength: 32 });
    const edge = fc.constantFrom(new Uint8Array(32), new Uint8Array(32).fill(255), new Uint8Array(32).fill(255, 0, 16));
    const number = (b: Uint8Array) => BigInt(`0x${toHex(b)}`);
    fc.assert(
      fc.property(fc.oneof(bytes, edge), fc.array(fc.tuple(fc.boolean(), fc.oneof(bytes, edge))), (start, steps) => {
        const sum = new StateSum(start);
        let expected = number(start);
        for (const [add, hash] of steps) {
          if (add) sum.add(hash);
          else sum.subtract(hash);
          expected = BigInt.asUintN(256, add ? expected + number(hash) : expected - number(hash));
        }
        expect(number(sum.toBytes())).toBe(expected);
      }),
      { seed, numRuns: 300 },
    );
  });
});

describe('commands about the group, in any order', () => {
  type Said = readonly [by: 'ana' | 'ben' | 'cy', body: (log: Log) => SingleBody];
  const key = (n: number) => fakeSigner(`i${n}`);
  const peerOf = (log: Log, name: string) => log.author(name, 1).peer;
  const all: readonly Said[] = [
    ['ana', () => ({ kind: 'invite', key: key(1).publicKey, rights: 'writer', pinned: 'voter', expiresMs: 5 })],
    ['ana', () => ({ kind: 'revoke', key: key(1).publicKey })],
    ['ben', (log) => admitBody(log.author('Dan', 1).session, key(1), 'Dan')],
    ['ben', () => ({ kind: 'revoke', key: key(1).publicKey })],
    ['cy', () => ({ kind: 'revoke', key: key(1).publicKey })],
    ['ana', () => ({ kind: 'quorum', voters: 3, phase1: 2, phase2: 2 })],
    ['ben', () => ({ kind: 'quorum', voters: 3, phase1: 1, phase2: 2 })],
    ['ben', () => ({ kind: 'quorum', voters: 3, phase1: null, phase2: null })],
    ['cy', () => ({ kind: 'away', isAway: true, untilMs: 7 })],
    ['cy', () => ({ kind: 'away', isAway: false, untilMs: null })],
    ['ben', (log) => ({ kind: 'expel', peer: peerOf(log, 'Ben') })],
    ['ana', (log) => ({ kind: 'expel', peer: peerOf(log, 'Ana') })],
    ['cy', (log) => ({ kind: 'expel', peer: peerOf(log, 'Cy') })],
  ];

  test('each is judged once, taken or refused, and the state hash is that of what is there', () => {
    fc.assert(
      fc.property(fc.shuffledSubarray([...all], { minLength: 6 }), (said) => {
        const log = new Log();
        const authors = { ana: log.ana, ben: log.join('Ben', 'keeper'), cy: log.join('Cy', 'reader') };
        const before = log.outcomes.length;
        for (const [by, body] of said) {
          const author = authors[by];
          log.apply(author.run(body(log)));
          // A refusal consumed its number, too: otherwise the author's next command would be a gap.
          const { peer, incarnation } = author.session;
          expect(log.read.session(peer, incarnation)?.lastSeq).toBe(author.seq);
          expect(log.read.stateHash()).toEqual(log.recomputed);
        }
        expect(log.outcomes.length - before).toBe(said.length);
        const { keepers, quorum } = log.read.meta();
        expect(keepers).toBeGreaterThan(0);
        expect([null, 2]).toContain(quorum?.phase1 ?? null);
        const open = log.read.invitations();
        for (const each of open) expect([each.revoked, each.usedBy]).toEqual([false, null]);
      }),
      { seed, numRuns: 200 },
    );
  });
});

describe('determinism', () => {
  const opsOf = (ops: readonly KvOp[]) => ops.map((op) => `${op.key}=${op.type === 'put' ? toHex(op.value) : ''}`);

  test('the same log gives the same operations and outcomes, however state is flushed, copied or hashed', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(), (from, other) => {
        const log = randomLog(from);
        const random = new Random(other);
        // A second peer: its disk lags behind, its process is restarted at will, its hash is the platform's.
        installSha256((bytes) => hash('sha256', bytes, 'buffer'));
        const disk = new MemoryKv();
        disk.write(genesisOps(log.genesis));
        let waiting: KvOp[] = [];
        const reader = {
          get: (key: string) => {
            const op = waiting.findLast((each) => each.key === key);
            return op?.type === 'put' ? op.value : disk.get(key);
          },
        };
        const first = new MemoryKv();
        first.write(genesisOps(log.genesis));
        const [a, b] = [documentOver(first), documentOver(reader)];
        log.values.forEach((bytes, i) => {
          const at = slot(i + 1);
          const one = bytes ? a.apply(at, bytes.slice()) : a.skip(at);
          const two = bytes ? b.apply(at, Uint8Array.from(bytes)) : b.skip(at);
          if (one.type !== 'applied' || two.type !== 'applied') throw new Error('paused');
          expect(opsOf(two.ops)).toEqual(opsOf(one.ops));
          expect(JSON.stringify(two.outcomes)).toBe(JSON.stringify(one.outcomes));
          expect(two.ignored).toEqual(one.ignored);
          first.write(one.ops);
          waiting.push(...two.ops);
          if (random.chance(0.3)) {
            disk.write(waiting);
            waiting = [];
          }
        });
        expect(first.under('s/').map(([key, value]) => `${key}=${toHex(value)}`)).toEqual(
          log.kv.under('s/').map(([key, value]) => `${key}=${toHex(value)}`),
        );
      }),
      { seed, numRuns: 15 },
    );
  });
});

describe('exactly once, in the order of its author', () => {
  test('under every duplication, loss and reordering, as long as the authors send again', () => {
    fc.assert(
      fc.property(fc.nat(), (from) => {
        const random = new Random(from);
        const log = new Log();
        const authors = [log.ana, log.join('Ben'), log.join('Cy')];
        const runs = authors.map((author, a) =>
          Array.from({ length: 8 }, (_, r) =>
            author.run(...Array.from({ length: 1 + random.below(3) }, (_, c) => write(`${a}.${r}.${c}`))),
          ),
        );
        const wanted = runs.map((own) => own.reduce((sum, run) => sum + run.commands.length, 0));
        log.outcomes.length = 0;
        for (let round = 0; round < 250; round++) {
          const batch = Array.from({ length: random.below(6) }, () => random.pick(random.pick(runs)));
          log.apply(...batch.map((run) => decodeRun(Uint8Array.from(run.bytes))));
        }
        authors.forEach((author, a) => {
          const seqs = log.outcomes.filter((each) => each.peer === author.peer).map((each) => each.seq);
          const first = (runs[a] as Run[])[0]?.firstSeq ?? 0;
          expect(seqs).toEqual(Array.from({ length: wanted[a] as number }, (_, i) => first + i));
          const texts = log.lines.map((line) => line.replace(/^#\d+ /, '')).filter((text) => text.startsWith(`${a}.`));
          expect(texts).toEqual(texts.toSorted());
          expect(new Set(texts).size).toBe(wanted[a]);
        });
      }),
      { seed, numRuns: 8 },
    );
  });
});

describe('with real signatures (Ed25519)', () => {
  const PUBLIC = Buffer.from('302a300506032b6570032100', 'hex');
  const real = (): Signer => {
    const pair = generateKeyPairSync('ed25519');
    const key: KeyObject = createPrivateKey({
      key: pair.privateKey.export({ format: 'der', type: 'pkcs8' }),
      format: 'der',
      type: 'pkcs8',
    });
    const publicKey = new Uint8Array(pair.publicKey.export({ format: 'der', type: 'spki' }).subarray(PUBLIC.length));
    return { publicKey, sign: (bytes) => new Uint8Array(sign(null, bytes, key)) };
  };
  const verifier: Verifier = {
    verify: ({ publicKey, bytes, signature }) => {
      const key = createPublicKey({ key: Buffer.concat([PUBLIC, publicKey]), format: 'der', type: 'spki' });
      return verify(null, bytes, key, signature);
    },
  };

  test('a group begins, lets somebody in and writes; one changed bit and nothing of the run counts', () => {
    const [ana, ben, key] = [real(), real(), real()];
    const genesis = encodeGenesis({
      alpha: 64,
      level: 1,
      founder: peerFromKey(ana.publicKey),
      incarnation: incarnationOf(1),
      nonce: new Uint8Array(16),
      timeMs: START_MS,
    });
    const group = groupOf(genesis);
    const sessionOf = (signer: Signer) => ({
      group,
      peer: peerFromKey(signer.publicKey),
      incarnation: incarnationOf(1),
    });
    const [anas, bens] = [new AuthorOf(sessionOf(ana), ana), new AuthorOf(sessionOf(ben), ben)];
    const kv = new MemoryKv();
    kv.write(genesisOps(genesis));
    const document = new Document({ reader: kv, verifyRun: (run) => verifyRun(run, verifier), verifier });
    const joiner = { ...sessionOf(ben), name: 'Ben' };
    const admit: Body = {
      kind: 'admit',
      key: key.publicKey,
      joiner: joiner.peer,
      incarnation: joiner.incarnation,
      signature: key.sign(invitationBytes(joiner)),
      name: 'Ben',
    };
    const forged = { ...admit, signature: ben.sign(invitationBytes(joiner)) };
    const invite: Body = { kind: 'invite', key: key.publicKey, rights: 'writer', pinned: null, expiresMs: null };
    const good = bens.run(write('hello'));
    const bad = Uint8Array.from(good.bytes);
    bad[bad.length - 5] = (bad[bad.length - 5] as number) ^ 1;
    const runs = [anas.run(invite, forged, admit), decodeRun(bad), good];
    const result = document.apply(slot(1), encodeBatch(START_MS, runs).slice());
    if (result.type !== 'applied') throw new Error('paused');
    kv.write(result.ops);
    expect(result.ignored.map((each) => each.why)).toEqual(['signature']);
    const says = result.outcomes.map(({ verdict }) => ('refused' in verdict ? verdict.refused : 'took'));
    expect(says).toEqual(['took', 'INVITATION_BAD', 'took', 'took']);
    expect(new DocumentReader(kv).positions()).toBe(1);
  });
});
