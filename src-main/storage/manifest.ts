import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { concat, fromUtf8 } from '../../shared/base/bytes.ts';
import { crc32c } from '../../shared/base/crc32c.ts';
import { Cursor, fits, must } from './level-bytes.ts';

/** LevelDB's log format (doc/log_format.md), in which the manifest is written. Bytes. */
const BLOCK_BYTES = 32_768;
const HEADER_BYTES = 7;
const FULL = 1;
const FIRST = 2;
const LAST = 4;

/** Of a version edit, db/version_edit.cc. */
const TAG = {
  comparator: 1,
  logNumber: 2,
  nextFileNumber: 3,
  lastSequence: 4,
  compactPointer: 5,
  deletedFile: 6,
  newFile: 7,
  previousLogNumber: 9,
} as const;

/**
 * The numbers of the tables that the database in `location` consists of. Others in its folder are leftovers: a kill leaves tables half written
 * that LevelDB deletes when it opens. Null where that can't be told; then LevelDB can't open it either.
 */
export async function liveTables(location: string): Promise<ReadonlySet<number> | null> {
  try {
    const name = fromUtf8(await readFile(join(location, 'CURRENT'))).trimEnd();
    must(/^MANIFEST-\d+$/.test(name));
    const live = new Set<number>();
    for (const edit of recordsIn(await readFile(join(location, name)))) applyEdit(new Cursor(edit), live);
    return live;
  } catch {
    return null;
  }
}

/** What a crash cut off at the end is passed over, as LevelDB does. @throws NotWhole */
function* recordsIn(log: Uint8Array): Generator<Uint8Array> {
  let parts: Uint8Array[] = [];
  for (let at = 0; at + HEADER_BYTES <= log.length; ) {
    const leftInBlock = BLOCK_BYTES - (at % BLOCK_BYTES);
    if (leftInBlock < HEADER_BYTES) {
      at += leftInBlock;
      continue;
    }
    const header = new Cursor(log.subarray(at, at + HEADER_BYTES));
    const crc = header.take(4);
    const length = header.integer(2);
    const type = header.byte();
    const end = at + HEADER_BYTES + length;
    if (end > log.length) return;
    must(length <= leftInBlock - HEADER_BYTES && type >= FULL && type <= LAST);
    must(fits(crc32c(log.subarray(at + HEADER_BYTES - 1, end)), crc));
    if (type === FULL || type === FIRST) parts = [];
    parts.push(log.subarray(at + HEADER_BYTES, end));
    if (type === FULL || type === LAST) yield concat(...parts);
    at = end;
  }
}

function applyEdit(edit: Cursor, live: Set<number>): void {
  while (edit.left > 0) {
    switch (edit.varint()) {
      case TAG.comparator:
        edit.take(edit.varint());
        break;
      case TAG.logNumber:
      case TAG.nextFileNumber:
      case TAG.lastSequence:
      case TAG.previousLogNumber:
        edit.varint();
        break;
      case TAG.compactPointer:
        edit.varint();
        edit.take(edit.varint());
        break;
      case TAG.deletedFile:
        edit.varint();
        live.delete(edit.varint());
        break;
      case TAG.newFile:
        edit.varint();
        live.add(edit.varint());
        edit.varint();
        edit.take(edit.varint());
        edit.take(edit.varint());
        break;
      default:
        must(false);
    }
  }
}
