import { expect, test } from 'vitest';
import { position } from '../../shared/base/ids.ts';
import type { LogLine, LogParams, WatchEvent } from '../../shared/ipc/contract.ts';
import { KEEPING_LIMITS } from '../../shared/replica/keeping.ts';
import type { SimNode } from '../../shared/sim/node.ts';
import type { Network } from '../../src-main/network/network.ts';
import type { GroupHost } from '../../src-main/peer/group-host.ts';
import { entryNamed } from '../../src-main/peer/lookup.ts';
import { previewStatus } from '../../src-main/peer/preview.ts';
import { logLines } from '../../src-main/peer/reading.ts';
import { type Watched, watch } from '../../src-main/peer/watching.ts';
import { QuietGroup } from '../replica/quiet-group.ts';

const ENTRIES = 520;
interface Fetching {
  readonly group: QuietGroup;
  readonly host: GroupHost;
  /** The first place that is not agreed here. */
  readonly first: number;
}

/** A newcomer's group in the middle of a snapshot: after the oldest entries, which came as values, some of the newest are here, and nothing is installed. */
function fetching(): Fetching {
  const limits = { ...KEEPING_LIMITS, snapshotLagSlots: 5, snapshotPartBytes: 16_000 };
  const group = new QuietGroup(2, { later: 1, limits, linkMs: 60 });
  for (let n = 1; n <= ENTRIES; n++) {
    group.write(0, { kind: 'create', key: null, text: `entry ${n} ${'x'.repeat(2_000)}` });
    if (n % 40 === 0) group.run(0.5);
  }
  group.run(1);
  group.admit(group.nodes[1] as SimNode);
  while ((group.at(1).preview?.countAfter(group.at(1).reader.positions()) ?? 0) < 60) group.run(0.05);
  const host = {
    group: group.at(1).group,
    isOpen: true,
    get replica() {
      return group.at(1);
    },
    watch: () => () => {},
  };
  return { group, host: host as unknown as GroupHost, first: host.replica.reader.positions() + 1 };
}

const untilWhole = (group: QuietGroup): void => {
  while (group.at(1).applied < group.at(0).applied) group.run(0.5);
};

const reading = (host: GroupHost, params: Partial<LogParams>, signal = AbortSignal.timeout(60_000)) =>
  logLines(host, {} as Network, { follow: false, pending: false, ...params }, signal);

async function all(host: GroupHost, params: Partial<LogParams> = {}): Promise<LogLine[]> {
  const lines: LogLine[] = [];
  for await (const line of reading(host, params)) lines.push(line);
  return lines;
}

const places = (lines: readonly LogLine[]): (number | null)[] => lines.map(({ position: at }) => at);

test('the log shows what is applied, then what has come, marked as not verified; afterwards the same entries as agreed', async () => {
  const { group, host, first } = fetching();
  const before = await all(host);
  const shown = before.filter(({ status }) => status === 'unverified');
  expect(before.slice(0, first - 1).every(({ status }) => status === 'committed')).toBe(true);
  expect(shown.length).toBeGreaterThanOrEqual(60);
  expect(before).toHaveLength(first - 1 + shown.length);
  expect(shown[0]?.position).toBe(first);
  expect(previewStatus(host.replica)).toMatchObject({ preview: { positions: ENTRIES, here: before.length } });
  expect(await all(host, { since: first + 1, limit: 3 })).toEqual(shown.slice(2, 5));
  expect(places(await all(host, { afterSlot: shown[0]?.slot ?? 0 })).every((at) => (at ?? 0) > first)).toBe(true);
  // The last so many are the last places, whether they have come or not.
  expect(await all(host, { limit: 2 })).toEqual(shown.filter(({ position: at }) => (at ?? 0) > ENTRIES - 2));

  untilWhole(group);
  const after = await all(host);
  expect(places(after)).toEqual(Array.from({ length: ENTRIES }, (_, i) => i + 1));
  for (const line of shown) expect(after[(line.position ?? 0) - 1]).toEqual({ ...line, status: 'committed' });
  expect(previewStatus(host.replica)).toEqual({});
});

test('a log that is being read as the snapshot is installed has each entry once', async () => {
  const { group, host, first } = fetching();
  const lines: LogLine[] = [];
  for await (const line of reading(host, { since: first - 1 })) {
    lines.push(line);
    if (lines.length === 10) untilWhole(group);
  }
  expect(places(lines)).toEqual(Array.from({ length: ENTRIES - first + 1 }, (_, i) => first + i));
  expect(lines.map(({ status }) => status)).toEqual(lines.map((_, i) => (i < 10 ? 'unverified' : 'committed')));
});

test('who follows is told of each entry as agreed once, after it was installed', async () => {
  const { group, host, first } = fetching();
  const ending = new AbortController();
  const lines: LogLine[] = [];
  for await (const line of reading(host, { follow: true, since: first - 1 }, ending.signal)) {
    lines.push(line);
    if (lines.length === 10) untilWhole(group);
    if (line.status === 'committed' && line.position === ENTRIES) break;
  }
  const agreed = lines.filter(({ status }) => status === 'committed');
  expect(places(agreed)).toEqual(Array.from({ length: ENTRIES - first + 1 }, (_, i) => first + i));
  expect(places(lines.filter(({ status }) => status === 'unverified'))).toEqual(places(agreed.slice(0, 10)));
});

test('what is not verified has a place, and can be named only to be read', async () => {
  const { host, first } = fetching();
  await expect(entryNamed(host, String(first))).rejects.toThrow(/not verified yet/);
  await expect(entryNamed(host, String(ENTRIES + 1))).rejects.toThrow(/There is no entry/);
  expect(host.replica.reader.entryAt(position(first))).toBeUndefined();
});

test('a window is told how many places there are, to read again as more has come, and all of it once it is verified', async () => {
  const { group, host } = fetching();
  const ending = new AbortController();
  const watched: Partial<Watched> = {
    hosts: new Map([[host.group, host]]),
    drafts: { changes: 0, apart: () => [] } as unknown as Watched['drafts'],
    window: undefined,
    network: { isConnected: () => true, lastSeenMs: () => null } as unknown as Network,
    status: () => ({ peer: 'p', name: 'Ana', groups: [] }),
  };
  type Told = Extract<WatchEvent, { kind: 'log' }>;
  const told: Told[] = [];
  for await (const event of watch(watched as Watched, ending.signal)) {
    if (event.kind !== 'log') continue;
    told.push(event);
    if (told.length === 1) group.run(0.5);
    if (told.length === 2) untilWhole(group);
    if (told.length === 3) break;
  }
  expect(told.map(({ positions }) => positions)).toEqual([ENTRIES, ENTRIES, ENTRIES]);
  expect(told.map(({ changed }) => changed)).toEqual([null, null, null]);
});
