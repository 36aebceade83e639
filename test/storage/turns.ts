import type { Cbor } from '../../shared/base/cbor.ts';
import { JournalCore } from '../../shared/driver/journal.ts';
import type { JournalInit } from '../../shared/driver/journal-check.ts';
import type { Problem, Turn, Verdict } from '../../shared/driver/journal-format.ts';
import { Kept } from '../../shared/driver/kept.ts';
import { numberKey, seal } from '../../shared/driver/records.ts';
import { type KvOp, type MarkPlace, StoreError, type StorePort } from '../../shared/driver/store.ts';

export const INCARNATION: Uint8Array = new Uint8Array(16).fill(7);
const BALLOT: Cbor = [3, 'peer', INCARNATION];

export const valueKey = (n: number): string => numberKey('l/', n);

/** The n-th turn: stores a value of some size and says that it is accepted, with the one before it. */
export function turnOf(n: number, valueBytes = 40): Turn {
  const row = (at: number): Cbor => [at, BALLOT, new Uint8Array(32).fill(at)];
  return {
    ops: [{ type: 'put', key: valueKey(n), value: seal(valueKey(n), 1, new Uint8Array(valueBytes).fill(n)) }],
    accepted: n > 1 ? [row(n - 1), row(n)] : [row(n)],
    promise: BALLOT,
    lastOwnSeq: n,
  };
}

/** As a driver would open a journal on this store. */
export function initOf(port: Pick<StorePort, 'kv'>, incarnation = INCARNATION): JournalInit {
  return {
    incarnation,
    acceptedExists: (row) => port.kv.get(valueKey((row as readonly Cbor[])[0] as number)) !== undefined,
    kept: new Kept(),
    state: () => ({ promise: BALLOT, lastOwnSeq: 0 }),
  };
}

export function codesOf(verdict: Verdict): string[] {
  return verdict.sound ? [] : verdict.problems.map(({ code }: Problem) => code);
}

/** Fills a new store with `turns` turns, many to a batch and one mark at the end: what it would be after as many real ones. */
export async function fillQuickly(port: StorePort, turns: number): Promise<void> {
  const { core, prepared } = JournalCore.create(INCARNATION, turnOf(1));
  let ops: KvOp[] = [...prepared.ops];
  let { mark } = prepared;
  core.committed();
  for (let n = 2; n <= turns; n++) {
    const next = core.prepare(turnOf(n));
    core.committed();
    ops.push(...next.ops);
    mark = next.mark;
    if (n % 512 === 0) {
      await port.kv.write(ops, { sync: false });
      ops = [];
    }
  }
  await port.kv.write(ops, { sync: true });
  await port.mark.write(mark.place, mark.bytes);
}

export async function storeErrorOf(run: Promise<unknown>): Promise<string> {
  try {
    await run;
  } catch (error) {
    if (error instanceof StoreError) return error.code;
    throw error;
  }
  return 'none';
}

export const bytesOf = (...values: readonly number[]): Uint8Array => Uint8Array.from(values);
export const put = (key: string, ...values: readonly number[]): KvOp => ({
  type: 'put',
  key,
  value: bytesOf(...values),
});
export const del = (key: string): KvOp => ({ type: 'del', key });

/** Both places, for putting back an older mark. */
export async function readMarks(port: StorePort): Promise<readonly [Uint8Array, Uint8Array]> {
  const [first, second] = await port.mark.read();
  return [first ?? new Uint8Array(512), second ?? new Uint8Array(512)];
}

export async function writeMarks(port: StorePort, marks: readonly [Uint8Array, Uint8Array]): Promise<void> {
  for (const place of [0, 1] as const satisfies readonly MarkPlace[]) await port.mark.write(place, marks[place]);
}
