import { open } from 'node:fs/promises';
import { concat, equal, utf8 } from '../../shared/base/bytes.ts';
import type { KvOp } from '../../shared/driver/store.ts';

/** LevelDB's log format: blocks of 32 KiB, each fragment of a record with 7 bytes before it. (doc/log_format.md) */
const BLOCK_BYTES = 32_768;
const HEADER_BYTES = 7;
const COMPARED_BYTES_MAX = 64;

/**
 * Whether `ops`, written last and alone, stand whole at the end of the write-ahead file. LevelDB tells the failure of a write and
 * that of a sync with the same words; but before a sync the whole batch is in the file, and where a write was refused it isn't. A false yes
 * is possible where a cut-off batch happens to end in the same bytes, and does no harm: the disk counts as failed.
 */
export function endsWithBatch(tail: Uint8Array, fileBytes: number, ops: readonly KvOp[]): boolean {
  const inBlock = fileBytes % BLOCK_BYTES || Math.min(fileBytes, BLOCK_BYTES);
  const end = endOfBatch(ops);
  const length = Math.min(end.length, inBlock - HEADER_BYTES, tail.length);
  return length > 0 && equal(tail.subarray(tail.length - length), end.subarray(end.length - length));
}

/** As `endsWithBatch`, on a file. */
export async function fileEndsWithBatch(path: string, ops: readonly KvOp[]): Promise<boolean> {
  const handle = await open(path, 'r');
  try {
    const { size } = await handle.stat();
    const length = Math.min(size, COMPARED_BYTES_MAX);
    const { buffer, bytesRead } = await handle.read(new Uint8Array(length), 0, length, size - length);
    return endsWithBatch(buffer.subarray(0, bytesRead), size, ops);
  } finally {
    await handle.close();
  }
}

/** The last bytes of the batch in LevelDB's own form: a kind, then key and value, each after its length as a varint. */
function endOfBatch(ops: readonly KvOp[]): Uint8Array {
  const last = ops.at(-1);
  if (last === undefined) return new Uint8Array(0);
  const key = utf8(last.key);
  const record =
    last.type === 'put'
      ? concat(Uint8Array.of(1), varint(key.length), key, varint(last.value.length), last.value)
      : concat(Uint8Array.of(0), varint(key.length), key);
  return record.subarray(Math.max(0, record.length - COMPARED_BYTES_MAX));
}

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
  bytes.push(rest);
  return Uint8Array.from(bytes);
}
