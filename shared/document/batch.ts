import { concat } from '../base/bytes.ts';
import { asArray, asBytes, asInteger, encodeCbor, FormatError } from '../base/cbor.ts';
import { hashFor } from '../base/hash.ts';
import { Recent } from '../base/recent.ts';
import { decodeRun, type Run, SINGLE_RUN_BYTES_MAX } from './run.ts';
import { decodeStrictly } from './strict.ts';
import { TIME_MAX_MS } from './types.ts';

/**
 * A value's payload, opaque to the consensus core: the leader's `placed` time and the runs it proposes in one slot.
 * CBOR `[1, placed, [run bytes …]]`.
 *
 * Its hash covers the time, the command hashes and the signatures, never payloads or salts:
 * `H('value' ‖ CBOR [1, placed, [[signature, command hash ‖ command hash ‖ …] …]])`.
 */
export interface Batch {
  /** The leader's clock as it proposed this, milliseconds since 1970 UTC. */
  readonly placedMs: number;
  readonly runs: readonly Run[];
  readonly bytes: Uint8Array;
}

export const BATCH_VERSION = 1;
/** Runs in one batch. */
export const BATCH_RUNS_MAX = 4096;
/** Bytes of an encoded batch: one run of the largest size and what is around it. Batches are cut at 256 KiB otherwise. */
export const BATCH_BYTES_MAX = SINGLE_RUN_BYTES_MAX + 64 * 1024;

/** The bytes are a version that this build does not know. Whoever meets it pauses with "update needed". */
export class NewerBatchError extends FormatError {}

export function encodeBatch(placedMs: number, runs: readonly Run[]): Uint8Array {
  const bytes = encodeCbor([BATCH_VERSION, placedMs, runs.map((run) => run.bytes)]);
  remembered.set(bytes, { placedMs, runs, bytes }, bytes.length);
  return bytes;
}

/** Accept, hash and apply look at the same bytes in turn; they are decoded once. What a full pipeline holds, twice. Bytes. */
const REMEMBERED_BYTES = 8 * 1024 * 1024;
const remembered = new Recent<Uint8Array, Batch>(REMEMBERED_BYTES);

/**
 * Keeps `bytes`, which must not be written to afterwards.
 * @throws FormatError
 */
export function decodeBatch(bytes: Uint8Array): Batch {
  const known = remembered.get(bytes);
  if (known) return known;
  if (bytes.length > BATCH_BYTES_MAX) throw new FormatError('a batch is too long');
  const batch = decodeStrictly(bytes, (value) => {
    const [version, ...rest] = asArray(value);
    if (asInteger(version, 1) !== BATCH_VERSION) throw new NewerBatchError('a batch of another version');
    const [placedMs, runs] = asArray(rest, 2);
    const parts = asArray(runs);
    if (parts.length > BATCH_RUNS_MAX) throw new FormatError(`more than ${BATCH_RUNS_MAX} runs`);
    return {
      placedMs: asInteger(placedMs, 0, TIME_MAX_MS),
      runs: parts.map((part) => decodeRun(asBytes(part))),
      bytes,
    };
  });
  remembered.set(bytes, batch, bytes.length);
  return batch;
}

/** For the last who looks: `decodeBatch`, and then it is forgotten. @throws FormatError */
export function takeBatch(bytes: Uint8Array): Batch {
  const batch = decodeBatch(bytes);
  remembered.delete(bytes);
  return batch;
}

/** @throws FormatError */
export function batchHash(bytes: Uint8Array): Uint8Array {
  const { placedMs, runs } = decodeBatch(bytes);
  const signed = runs.map((run) => [run.signature, concat(...run.commands.map((command) => command.hash))]);
  return hashFor('value', encodeCbor([BATCH_VERSION, placedMs, signed]));
}
