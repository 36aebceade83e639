export type { Tip, Written } from './items.ts';
export { type Merged, mergeTexts } from './merge.ts';
export {
  type AddOptions,
  type Cut,
  type EditWish,
  Outbox,
  type OutboxInit,
  type Pending,
  type Settled,
  type Settling,
} from './outbox.ts';
export type { PendingView } from './pending.ts';
export { type JudgedSeq, type Offered, POOL_BYTES_MAX, Pool, TAKE_BYTES } from './pool.ts';
export { type Base, OUTBOX_PREFIX, outboxRowOf, REFUSED_PREFIX, type RefusedItem, type Row } from './rows.ts';
export { decodeTail, encodeTail, TAIL_KEY, type Tail } from './tail.ts';
