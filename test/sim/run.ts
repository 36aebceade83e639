import { hash } from 'node:crypto';
import { parseArgs } from 'node:util';
import { installSha256 } from '../../shared/base/hash.ts';
import { World } from '../../shared/sim/world.ts';

installSha256((bytes) => hash('sha256', bytes, 'buffer'));

const { values } = parseArgs({
  options: { seed: { type: 'string' }, seeds: { type: 'string', default: '100' }, from: { type: 'string', default: '1' } },
});
const from = Number(values.seed ?? values.from);
const count = values.seed ? 1 : Number(values.seeds);
const started = performance.now();
const faults: Record<string, number> = {};
let events = 0;
let entries = 0;
let failed = 0;
for (let seed = from; seed < from + count; seed++) {
  try {
    const report = new World({ seed }).run();
    events += report.events;
    entries += report.entries;
    for (const [kind, n] of Object.entries(report.faults)) faults[kind] = (faults[kind] ?? 0) + n;
    if (values.seed) console.log(report);
  } catch (error) {
    failed++;
    console.error(error instanceof Error ? error.message.slice(0, values.seed ? 100_000 : 600) : error);
    if (values.seed) console.error((error as { cause?: { stack?: string } }).cause?.stack);
  }
}
const seconds = (performance.now() - started) / 1000;
console.log(`${count} seeds in ${seconds.toFixed(1)} s (${(count / seconds).toFixed(1)} seeds/s), ${events} events, ${entries} entries`);
console.log(faults);
console.log(`${count - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
