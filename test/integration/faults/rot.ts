// Blocks of a stopped peer's database that rotted, told by what stands in them.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Peer } from '../harness.ts';

/** A value of the log, and a wording of the state that is made from it. */
export const VALUE = 'l/0000000000';
export const WORDING = 's/r/0000000000';

/** Bends a byte of each table behind such a name: where its block begins, the name stands in full. Returns how many. */
export function rot(peer: Peer, group: string, key: string): number {
  const folder = join(peer.dir, 'groups', group, 'db');
  let bent = 0;
  for (const name of readdirSync(folder).filter((each) => each.endsWith('.ldb'))) {
    const path = join(folder, name);
    const bytes = readFileSync(path);
    const at = bytes.indexOf(key);
    if (at < 0) continue;
    bytes[at + 600] = (bytes[at + 600] as number) ^ 0x10;
    writeFileSync(path, bytes);
    bent++;
  }
  return bent;
}
