/** Writes as data: one turn's list of them is one atomic batch on the disk. Keys are ASCII, ordered by code unit. */
export type KvOp =
  | { readonly type: 'put'; readonly key: string; readonly value: Uint8Array }
  | { readonly type: 'del'; readonly key: string };

/** A synchronous point read, through whatever was written but isn't on the disk yet. */
export interface KvReader {
  get(key: string): Uint8Array | undefined;
}

/** What other records speak of is not there: the store is damaged. */
export class MissingRecordError extends Error {
  override readonly name = 'MissingRecordError';
  readonly key: string;
  constructor(key: string) {
    super(`${key}: the record is missing`);
    this.key = key;
  }
}

/** A record that others speak of. @throws MissingRecordError */
export function present<T>(record: T | undefined, key: string): T {
  if (record === undefined) throw new MissingRecordError(key);
  return record;
}
