import type { Report } from './world.ts';

/** What many seeds came to, together. Plain data, so that processes can add theirs up. */
export interface Tally {
  readonly seeds: number;
  readonly total: Readonly<Record<Counted, number>>;
  readonly calmMostMs: number;
  readonly faults: Readonly<Record<string, number>>;
}

type Counted = Exclude<
  { [K in keyof Report]: Report[K] extends number ? K : never }[keyof Report],
  'seed' | 'nodes' | 'injections'
>;

const COUNTED: readonly Counted[] = [
  'events',
  'virtualMs',
  'calmMs',
  'entries',
  'slots',
  'barriers',
  'refusals',
  'ballots',
  'slotsAgain',
  'slotsContested',
  'reconfigurations',
  'readmissions',
  'damagedStores',
  'mendedStores',
];

export const NOTHING_YET: Tally = {
  seeds: 0,
  total: Object.fromEntries(COUNTED.map((name) => [name, 0])) as Record<Counted, number>,
  calmMostMs: 0,
  faults: {},
};

export function tallyOf(report: Report): Tally {
  return {
    seeds: 1,
    total: Object.fromEntries(COUNTED.map((name) => [name, report[name]])) as Record<Counted, number>,
    calmMostMs: report.calmMs,
    faults: report.faults,
  };
}

export function sum(a: Tally, b: Tally): Tally {
  const faults = { ...a.faults };
  for (const [kind, n] of Object.entries(b.faults)) faults[kind] = (faults[kind] ?? 0) + n;
  return {
    seeds: a.seeds + b.seeds,
    total: Object.fromEntries(COUNTED.map((name) => [name, a.total[name] + b.total[name]])) as Record<Counted, number>,
    calmMostMs: Math.max(a.calmMostMs, b.calmMostMs),
    faults,
  };
}

/** A table to read: what was decided, then what was broken, the most frequent first. */
export function table({ seeds, total, calmMostMs, faults }: Tally): string {
  const row = (name: string, n: number | string): string => `  ${name.padEnd(34)}${`${n}`.padStart(12)}`;
  return [
    row('seeds that passed', seeds),
    row('virtual time, hours', (total.virtualMs / 3_600_000).toFixed(1)),
    row('events', total.events),
    row('slots decided', total.slots),
    row('  proposed in by several leaders', total.slotsAgain),
    row('  contested: several values', total.slotsContested),
    row('entries', total.entries),
    row('refusals', total.refusals),
    row('barriers', total.barriers),
    row('elections won (ballots)', total.ballots),
    row('reconfigurations', total.reconfigurations),
    row('readmissions', total.readmissions),
    row('stores found damaged', total.damagedStores),
    row('stores mended in their places', total.mendedStores),
    row('to come together, ms at most', calmMostMs),
    'injected:',
    ...Object.entries(faults)
      .sort(([, a], [, b]) => b - a)
      .map(([kind, n]) => row(kind, n)),
  ].join('\n');
}
