import { concat } from '../base/bytes.ts';
import { asArray, asBytes, asInteger, asText, type Cbor, encodeCbor, FormatError } from '../base/cbor.ts';
import type { SignedBytes, Signer, Verifier } from '../base/crypto.ts';
import { domain, HASH_BYTES, sha256 } from '../base/hash.ts';
import {
  incarnationFromBytes,
  parseGroupId,
  peerFromKey,
  type Seq,
  seq as seqOf,
  slot as slotOf,
} from '../base/ids.ts';
import { decodePayload, UnknownKindError } from './bodies.ts';
import {
  type ChainStart,
  type Command,
  type CommandFields,
  chainOf,
  payloadHashOf,
  placeCommand,
  SALT_BYTES,
  type SessionId,
} from './command.ts';
import { KIND_MAX, KINDS, kindName } from './kinds.ts';
import { decodeStrictly } from './strict.ts';
import { TEXT_MAX_BYTES } from './text.ts';
import { OFFSET_MAX_MINUTES, TIME_MAX_MS } from './types.ts';

/**
 * Up to 256 consecutive commands of one session under one signature, judged one by one.
 *
 * Signed are `'run' ‖ SHA-256(command hash ‖ command hash ‖ …)` ('run' is the purpose's prefix).
 *
 * Encoded compactly, since the headers can be built again: CBOR `[1, group, peer (32), incarnation (16), first seq,
 * prev (32), signature (64), [[level, saw, time, offset, kind, salt (16), payload, null] …]]`; a redacted command ends in
 * `…, null, null, payloadHash (32)]`.
 */
export interface Run extends SessionId {
  readonly peerKey: Uint8Array;
  readonly firstSeq: Seq;
  readonly lastSeq: Seq;
  readonly prev: Uint8Array;
  /** The hash of the last command: the next run's `prev`. */
  readonly lastHash: Uint8Array;
  readonly signature: Uint8Array;
  readonly commands: readonly Command[];
  /** As it was decoded or first encoded: never encoded again. */
  readonly bytes: Uint8Array;
}

const VERSION = 1;
export const RUN_COMMANDS_MAX = 256;
/** Bytes of an encoded run with more than one command. */
export const RUN_BYTES_MAX = 256 * 1024;
/** Bytes of an encoded run of one command: the largest text and room for what is around it. */
export const SINGLE_RUN_BYTES_MAX = TEXT_MAX_BYTES + 64 * 1024;
/** At most what an encoded run takes besides its commands. */
export const RUN_OVERHEAD_BYTES = 256;
const LEVEL_MAX = 1000;
const SIGNATURE_BYTES = 64;

/** At most what a command takes in a run's encoding, in bytes. */
export const commandBytesMax = (command: Command): number => (command.payload?.length ?? HASH_BYTES) + 64;

export function runSignedBytes(commands: readonly Command[]): Uint8Array {
  return concat(domain('run'), sha256(concat(...commands.map((command) => command.hash))));
}

/** Signs commands that already have their places. */
export function signRun(session: SessionId, commands: readonly Command[], signer: Signer): Run {
  const [first] = commands;
  if (!first) throw new RangeError('a run has at least one command');
  return runOf(session, commands, signer.sign(runSignedBytes(commands)));
}

/** The same run without the payloads of these commands: its hashes and signature stay as they were. */
export function redactRun(run: Run, seqs: ReadonlySet<number>): Run {
  const commands = run.commands.map((command) =>
    seqs.has(command.seq) ? { ...command, salt: null, payload: null } : command,
  );
  return runOf(run, commands, run.signature);
}

function runOf(session: SessionId, commands: readonly Command[], signature: Uint8Array): Run {
  const first = commands[0] as Command;
  const last = commands.at(-1) as Command;
  const chain = chainOf(session);
  const bytes = encodeCbor([
    VERSION,
    session.group,
    chain.peerKey,
    chain.incarnationBytes,
    first.seq,
    first.prev,
    signature,
    commands.map(commandToCbor),
  ]);
  return {
    group: session.group,
    peer: session.peer,
    incarnation: session.incarnation,
    peerKey: chain.peerKey,
    firstSeq: first.seq,
    lastSeq: last.seq,
    prev: first.prev,
    lastHash: last.hash,
    signature,
    commands,
    bytes,
  };
}

function commandToCbor(command: Command): Cbor {
  return [
    command.level,
    command.saw,
    command.timeMs,
    command.offsetMinutes,
    command.kind,
    command.payload === null ? null : command.salt,
    command.payload,
    command.payload === null ? command.payloadHash : null,
  ];
}

/** Keeps `bytes` (and views into them), so they must not be written to afterwards. @throws FormatError */
export function decodeRun(bytes: Uint8Array): Run {
  if (bytes.length > SINGLE_RUN_BYTES_MAX) throw new FormatError('a run is too long');
  return decodeStrictly(bytes, (value) => runFrom(value, bytes));
}

function runFrom(value: Cbor, bytes: Uint8Array): Run {
  const [version, group, peer, incarnation, firstSeq, prev, signature, items] = asArray(value, 8);
  if (version !== VERSION) throw new FormatError('a run of another version');
  const rows = asArray(items);
  if (rows.length === 0 || rows.length > RUN_COMMANDS_MAX) throw new FormatError(`1 … ${RUN_COMMANDS_MAX} commands`);
  if (rows.length > 1 && bytes.length > RUN_BYTES_MAX) throw new FormatError('a run is too long');

  const peerKey = asBytes(peer, 32);
  const session = {
    group: parseGroupId(asText(group, 26)),
    peer: peerFromKey(peerKey),
    incarnation: incarnationFromBytes(asBytes(incarnation, 16)),
  };
  const first = asInteger(firstSeq, 1, Number.MAX_SAFE_INTEGER - RUN_COMMANDS_MAX);
  const before = asBytes(prev, HASH_BYTES);
  const commands = chainFrom(chainOf(session), first, before, rows);
  return {
    ...session,
    peerKey,
    firstSeq: seqOf(first),
    lastSeq: seqOf(first + rows.length - 1),
    prev: before,
    lastHash: (commands.at(-1) as Command).hash,
    signature: asBytes(signature, SIGNATURE_BYTES),
    commands,
    bytes,
  };
}

function chainFrom(chain: ChainStart, firstSeq: number, before: Uint8Array, rows: readonly Cbor[]): Command[] {
  let prev = before;
  return rows.map((row, i) => {
    const [level, saw, timeMs, offset, kind, salt, payload, payloadHash] = asArray(row, 8);
    const redacted = payload === null;
    if (redacted ? salt !== null : payloadHash !== null)
      throw new FormatError('a payload and its hash exclude each other');
    const fields: CommandFields = {
      level: asInteger(level, 1, LEVEL_MAX),
      saw: slotOf(asInteger(saw)),
      timeMs: asInteger(timeMs, 0, TIME_MAX_MS),
      offsetMinutes: asInteger(offset, -OFFSET_MAX_MINUTES, OFFSET_MAX_MINUTES),
      kind: asInteger(kind, 1, KIND_MAX),
      salt: redacted ? null : asBytes(salt, SALT_BYTES),
      payload: redacted ? null : asBytes(payload),
    };
    const hash =
      fields.salt === null || fields.payload === null
        ? asBytes(payloadHash, HASH_BYTES)
        : payloadHashOf(fields.salt, fields.payload);
    const command = placeCommand(chain, seqOf(firstSeq + i), prev, fields, hash);
    prev = command.hash;
    return command;
  });
}

/** What a verifier is asked about a run. */
export function runSignature(run: Run): SignedBytes {
  return { publicKey: run.peerKey, bytes: runSignedBytes(run.commands), signature: run.signature };
}

export function verifyRun(run: Run, verifier: Verifier): boolean {
  return verifier.verify(runSignature(run));
}

/** True where a payload is gone. Such a run is history: it is served and verified, and never proposed. */
export function isRedacted(run: Run): boolean {
  return run.commands.some((command) => command.payload === null);
}

/**
 * Whether this build knows every kind in the run. A leader proposes no others: an old peer would pause at them. (Looks
 * into bundles; a payload of no shape at all is known to be bad, hence known.)
 */
export function isSupported(run: Run): boolean {
  return run.commands.every((command) => {
    if (kindName(command.kind) === undefined) return false;
    if (command.kind !== KINDS.bundle || command.payload === null) return true;
    try {
      decodePayload(command.kind, command.payload);
      return true;
    } catch (error) {
      return !(error instanceof UnknownKindError);
    }
  });
}

export const sessionKeyOf = (session: SessionId): string => `${session.peer}/${session.incarnation}`;
