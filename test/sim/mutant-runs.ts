import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Failed } from './jobs.ts';
import type { Mutant } from './mutant.ts';

const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const mutate = new URL('mutate.ts', import.meta.url).href;
const vitest = fileURLToPath(new URL('vitest.mjs', import.meta.resolve('vitest/package.json')));

/** What caught a mutant, or null where nothing did. */
export interface Caught {
  readonly by: string | null;
  /** Seeds run until then. */
  readonly seeds: number;
  readonly seed: number | null;
  readonly seconds: number;
}

/** In processes of their own, since the bug is planted as the modules are loaded. */
export async function catchMutant(mutant: Mutant, seedsMax: number): Promise<Caught> {
  const started = Date.now();
  const took = (): number => (Date.now() - started) / 1000;
  if (mutant.caughtBy !== undefined) {
    const isCaught = await failsUnder(mutant.name, mutant.caughtBy);
    return { by: isCaught ? mutant.caughtBy : null, seeds: 0, seed: null, seconds: took() };
  }
  let seeds = 0;
  const known = mutant.seeds.length > 0 ? [['--list', mutant.seeds.join(',')]] : [];
  for (const asked of [...known, ['--seeds', `${seedsMax}`]]) {
    const { ran, failed } = await runWith(mutant.name, asked);
    seeds += ran;
    const [first] = failed;
    if (first) return { by: first.message.replace(/^seed \d+: /, ''), seeds, seed: first.seed, seconds: took() };
  }
  return { by: null, seeds, seed: null, seconds: took() };
}

interface Result {
  readonly ran: number;
  readonly failed: readonly Failed[];
}

/** @throws where the mutant does not fit the source any more */
export async function runWith(name: string, seeds: readonly string[]): Promise<Result> {
  const args = ['--import', mutate, path('run.ts'), '--json', '--stop-after', '1', ...seeds];
  const { said, complaint } = await run(args, name);
  try {
    return JSON.parse(said) as Result;
  } catch {
    throw new Error(`${name} did not run: ${complaint}`);
  }
}

/** Does that test file fail with the bug planted? (`mutant-vitest.ts` plants it.) */
async function failsUnder(name: string, file: string): Promise<boolean> {
  const { said, complaint, code } = await run([vitest, 'run', '--config', path('mutant-vitest.ts'), file], name);
  if (code !== 0 && !/Tests .*failed/.test(said)) throw new Error(`${name} did not run: ${said}${complaint}`);
  return code !== 0;
}

function run(args: readonly string[], name: string): Promise<{ said: string; complaint: string; code: number | null }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, {
      cwd: path('../..'),
      env: { ...process.env, SYNOD_MUTANT: name, NODE_OPTIONS: '', NO_COLOR: '1', VITEST: '' },
    });
    let said = '';
    let complaint = '';
    child.stdout.on('data', (chunk) => {
      said += chunk;
    });
    child.stderr.on('data', (chunk) => {
      complaint += chunk;
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ said, complaint, code }));
  });
}
