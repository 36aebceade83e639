/** Writes as data: one turn's list of them is one atomic batch on the disk. Keys are ASCII, ordered by code unit. */
export type KvOp =
  | { readonly type: 'put'; readonly key: string; readonly value: Uint8Array }
  | { readonly type: 'del'; readonly key: string };

/** A synchronous point read, through whatever was written but isn't on the disk yet. */
export interface KvReader {
  get(key: string): Uint8Array | undefined;
}
