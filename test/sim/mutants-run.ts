import { parseArgs } from 'node:util';
import type { Mutant } from './mutant.ts';
import { type Caught, catchMutant } from './mutant-runs.ts';
import { MUTANTS } from './mutants.ts';

/**
 *   npm run mutants                       plants each bug and says what caught it
 *   npm run mutants -- --only NAME        one of them (or several, with commas)
 *   npm run mutants -- --max-seeds 5000   so many seeds before it counts as missed (1000)
 *   npm run mutants -- --jobs 8 --markdown
 */
const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    'max-seeds': { type: 'string', default: '1000' },
    jobs: { type: 'string', default: '1' },
    markdown: { type: 'boolean', default: false },
  },
});

const only = values.only?.split(',');
const wanted = MUTANTS.filter(({ name }) => only === undefined || only.includes(name));
if (wanted.length === 0) throw new Error(`no such mutant: ${values.only}`);

const COLUMNS = ['mutant', 'rule weakened', 'caught by', 'seed', 'seeds needed', 'seconds'] as const;
const WIDTHS = [40, 60, 70, 6, 12, 8] as const;

function line(cells: readonly string[]): string {
  if (values.markdown) return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return cells.map((cell, i) => cell.slice(0, WIDTHS[i]).padEnd(WIDTHS[i] as number)).join('  ');
}

function row({ name, rule }: Mutant, { by, seed, seeds, seconds }: Caught): string {
  return line([
    name,
    rule,
    by ?? 'NOTHING',
    seed === null ? '' : `${seed}`,
    seeds === 0 ? '' : `${seeds}`,
    seconds.toFixed(1),
  ]);
}

console.log(line(COLUMNS));
if (values.markdown) console.log(line(COLUMNS.map(() => '---')));

let missed = 0;
const waiting = [...wanted];
async function work(): Promise<void> {
  for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
    const caught = await catchMutant(mutant, Number(values['max-seeds'])).catch((error: Error): Caught => {
      console.error(error.message);
      return { by: null, seeds: 0, seed: null, seconds: 0 };
    });
    if (caught.by === null) missed++;
    console.log(row(mutant, caught));
  }
}
await Promise.all(Array.from({ length: Number(values.jobs) }, work));
console.log(`${wanted.length - missed} caught, ${missed} missed`);
process.exitCode = missed === 0 ? 0 : 1;
