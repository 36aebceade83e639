import { concat, equal, utf8 } from '../../shared/base/bytes.ts';
import type { SignedBytes, Signer, Verifier } from '../../shared/base/crypto.ts';
import { sha256, ZERO_HASH } from '../../shared/base/hash.ts';
import {
  type EntryId,
  incarnationFromBytes,
  peerFromKey,
  position,
  type Seq,
  seq,
  slot,
} from '../../shared/base/ids.ts';
import type { KvOp, KvReader } from '../../shared/base/kv.ts';
import { Random } from '../../shared/base/random.ts';
import {
  type AdmitBody,
  type Applied,
  type Body,
  chainOf,
  Document,
  DocumentReader,
  encodeBatch,
  encodeGenesis,
  encodePayload,
  genesisOps,
  groupOf,
  invitationBytes,
  KINDS,
  type Outcome,
  payloadHashOf,
  placeCommand,
  type Run,
  recordHash,
  type SessionId,
  signRun,
  type UpdateNeeded,
  verifyRun,
} from '../../shared/document/index.ts';
import { StateSum } from '../../shared/document/sum.ts';

/** Signs by hashing: as binding as the tests need, and cheap. */
export function fakeSigner(name: string): Signer {
  const publicKey = sha256(utf8(name));
  return { publicKey, sign: (bytes) => fakeSignature(publicKey, bytes) };
}

const fakeSignature = (key: Uint8Array, bytes: Uint8Array): Uint8Array => {
  const half = sha256(concat(key, bytes));
  return concat(half, half);
};

export const fakeVerifier: Verifier = {
  verify: ({ publicKey, bytes, signature }: SignedBytes) => equal(signature, fakeSignature(publicKey, bytes)),
};

export class MemoryKv implements KvReader {
  readonly rows = new Map<string, Uint8Array>();

  get(key: string): Uint8Array | undefined {
    return this.rows.get(key);
  }

  write(ops: readonly KvOp[]): void {
    for (const op of ops) {
      if (op.type === 'put') this.rows.set(op.key, op.value);
      else this.rows.delete(op.key);
    }
  }

  under(prefix: string): [string, Uint8Array][] {
    return [...this.rows].filter(([key]) => key.startsWith(prefix)).sort(([a], [b]) => (a < b ? -1 : 1));
  }
}

export const START_MS = Date.UTC(2026, 10, 20, 12, 0, 0);

/** What a command says besides its body. */
export interface Saying {
  readonly writer?: string;
  readonly timeMs?: number;
  readonly saw?: number;
  readonly level?: number;
  readonly kind?: number;
  readonly payload?: Uint8Array;
}

/** One peer that signs commands of one incarnation, one after the other. */
export class Author {
  readonly session: SessionId;
  readonly signer: Signer;
  readonly random: Random;
  seq: Seq = seq(0);
  prev: Uint8Array = ZERO_HASH;

  constructor(session: SessionId, signer: Signer) {
    this.session = session;
    this.signer = signer;
    this.random = new Random(session.peer.length + session.incarnation.charCodeAt(0));
  }

  get peer() {
    return this.session.peer;
  }

  /** A run of one command for each body. */
  run(...bodies: readonly Body[]): Run {
    return this.say(bodies.map((body) => [body, {}]));
  }

  with(saying: Saying, body: Body): Run {
    return this.say([[body, saying]]);
  }

  say(bodies: readonly (readonly [Body, Saying])[]): Run {
    const chain = chainOf(this.session);
    const commands = bodies.map(([body, saying]) => {
      const payload = saying.payload ?? encodePayload({ writer: saying.writer ?? 'somebody', body });
      const salt = this.random.bytes(16);
      const fields = {
        level: saying.level ?? 1,
        saw: slot(saying.saw ?? 0),
        timeMs: saying.timeMs ?? START_MS,
        offsetMinutes: 60,
        kind: saying.kind ?? KINDS[body.kind],
        salt,
        payload,
      };
      this.seq = seq(this.seq + 1);
      const command = placeCommand(chain, this.seq, this.prev, fields, payloadHashOf(salt, payload));
      this.prev = command.hash;
      return command;
    });
    return signRun(this.session, commands, this.signer);
  }
}

export const incarnationOf = (n: number) => incarnationFromBytes(new Uint8Array(16).fill(n));

/** A log of one group, applied as it grows. */
export class Log {
  readonly kv = new MemoryKv();
  readonly genesis: Uint8Array;
  readonly ana: Author;
  readonly values: (Uint8Array | null)[] = [];
  readonly outcomes: Outcome[] = [];
  #slot = 0;
  #document: Document;

  constructor() {
    const founder = fakeSigner('Ana');
    this.genesis = encodeGenesis({
      alpha: 64,
      level: 1,
      founder: peerFromKey(founder.publicKey),
      incarnation: incarnationOf(1),
      nonce: new Uint8Array(16).fill(9),
      timeMs: START_MS,
    });
    this.kv.write(genesisOps(this.genesis));
    this.#document = documentOver(this.kv);
    this.ana = this.author('Ana', 1);
  }

  get group() {
    return groupOf(this.genesis);
  }

  get read(): DocumentReader {
    return new DocumentReader(this.kv);
  }

  get slot() {
    return this.#slot;
  }

  author(name: string, incarnation: number): Author {
    const signer = fakeSigner(name);
    const peer = peerFromKey(signer.publicKey);
    return new Author({ group: this.group, peer, incarnation: incarnationOf(incarnation) }, signer);
  }

  /** Applies one value that holds these runs, as it comes off the wire. */
  try(runs: readonly Run[], placedMs = START_MS): Applied | UpdateNeeded {
    return this.tryBytes(encodeBatch(placedMs, runs).slice());
  }

  tryBytes(bytes: Uint8Array): Applied | UpdateNeeded {
    const result = this.#document.apply(slot(this.#slot + 1), bytes);
    if (result.type === 'applied') {
      this.#slot += 1;
      this.values.push(bytes);
      this.kv.write(result.ops);
      this.outcomes.push(...result.outcomes);
    }
    return result;
  }

  apply(...runs: readonly Run[]): Applied {
    const result = this.try(runs);
    if (result.type !== 'applied') throw new Error(result.why);
    return result;
  }

  skip(): Applied {
    const result = this.#document.skip(slot(this.#slot + 1));
    this.#slot += 1;
    this.values.push(null);
    this.kv.write(result.ops);
    return result;
  }

  /** These go on by a forced recovery. */
  recovered(...authors: readonly Author[]): Applied {
    const result = this.#document.recovered(
      slot(this.#slot + 1),
      authors.map(({ peer }) => peer),
    );
    this.#slot += 1;
    this.kv.write(result.ops);
    return result;
  }

  /** Invites and admits somebody, by Ana. */
  admit(author: Author, rights: 'keeper' | 'writer' | 'reader' = 'writer', name = 'Somebody'): Author {
    const key = fakeSigner(`invitation ${this.#slot} ${author.peer}`);
    this.apply(
      this.ana.run(
        { kind: 'invite', key: key.publicKey, rights, pinned: null, expiresMs: null },
        admitBody(author.session, key, name),
      ),
    );
    return author;
  }

  join(name: string, rights: 'keeper' | 'writer' | 'reader' = 'writer', incarnation = 1): Author {
    return this.admit(this.author(name, incarnation), rights, name);
  }

  /** `took`, or the refusal's code, of each command. */
  says(...runs: readonly Run[]): string[] {
    return this.apply(...runs).outcomes.map(({ verdict }) => ('refused' in verdict ? verdict.refused : 'took'));
  }

  /** The lines of the log: `#1 text`. */
  get lines(): string[] {
    const { read } = this;
    return Array.from({ length: read.positions() }, (_, i) => {
      const text = read.text(read.entryAt(position(i + 1))?.id as EntryId);
      return `#${i + 1} ${text ?? '(removed)'}`;
    });
  }

  /** What all records come to. Bytes. */
  get stateBytes(): number {
    let bytes = 0;
    for (const [key, record] of this.kv.under('s/')) if (key !== 's/applied') bytes += key.length + record.length;
    return bytes;
  }

  /** The state hash computed anew from all records. */
  get recomputed(): Uint8Array {
    const sum = new StateSum(ZERO_HASH);
    for (const [key, record] of this.kv.under('s/')) if (key !== 's/applied') sum.add(recordHash(key, record));
    return sum.toBytes();
  }
}

export function documentOver(reader: KvReader): Document {
  return new Document({ reader, verifyRun: (run) => verifyRun(run, fakeVerifier), verifier: fakeVerifier });
}

export function admitBody(joiner: SessionId, key: Signer, name: string): AdmitBody {
  const { group, peer, incarnation } = joiner;
  const signature = key.sign(invitationBytes({ group, peer, incarnation, name }));
  return { kind: 'admit', key: key.publicKey, joiner: peer, incarnation, signature, name };
}

export const write = (text: string, key: string | null = null): Body => ({ kind: 'create', key, text });

/** An edit on the revision that is current in this log. */
export function editOf(log: Log, entry: EntryId, text: string): Body {
  const now = log.read.entry(entry);
  if (!now) throw new Error(`no ${entry}`);
  return { kind: 'edit', entry, baseRevision: now.revision, baseTag: now.tag, text, overlap: false };
}

export const idAt = (log: Log, at: number): EntryId => log.read.entryAt(position(at))?.id as EntryId;
