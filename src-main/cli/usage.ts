import { parseArgs } from 'node:util';
import { PeerError } from '../../shared/ipc/errors.ts';

export interface OptionSpec {
  readonly type: 'string' | 'boolean';
  readonly multiple?: boolean;
}

export type Options = Readonly<Record<string, OptionSpec>>;

/** What every command takes. */
export const commonOptions: Options = {
  dir: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean' },
};

/** What the commands take that ask a group for something. */
export const groupOptions: Options = { group: { type: 'string' }, timeout: { type: 'string' } };

export const usage = (message: string): PeerError => new PeerError('USAGE', message);

/** A command line taken apart, with the checks that options share. */
export class Arguments {
  readonly positionals: readonly string[];
  readonly #values: Readonly<Record<string, unknown>>;

  /** @throws PeerError USAGE */
  constructor(args: readonly string[], options: Options) {
    try {
      const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
      this.#values = values;
      this.positionals = positionals;
    } catch (error) {
      throw usage(plain(error instanceof Error ? error.message : String(error)));
    }
  }

  flag(name: string): boolean {
    return this.#values[name] === true;
  }

  text(name: string): string | undefined {
    const value = this.#values[name];
    if (value === '') throw usage(`--${name} is empty.`);
    return typeof value === 'string' ? value : undefined;
  }

  texts(name: string): readonly string[] {
    const value = this.#values[name];
    return Array.isArray(value) ? value : [];
  }

  choice<T extends string>(name: string, choices: readonly T[]): T | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const found = choices.find((choice) => choice === text);
    if (found === undefined) throw usage(`--${name} is one of ${choices.join(', ')}, not ${JSON.stringify(text)}.`);
    return found;
  }

  integer(name: string, min: number): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const value = /^[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN;
    if (!Number.isSafeInteger(value) || value < min) {
      throw usage(`--${name} is a whole number from ${min}, not ${JSON.stringify(text)}.`);
    }
    return value;
  }

  duration(name: string, otherwiseMs: number, maxMs = DURATION_MAX_MS): number {
    const text = this.text(name);
    if (text === undefined) return otherwiseMs;
    const value = parseDuration(text);
    if (value === null) {
      throw usage(`--${name} is a number with ms, s, m, h or d, such as 30s, not ${JSON.stringify(text)}.`);
    }
    return Math.min(value, maxMs);
  }
}

/** Longer waits overflow a timer and mean the same. Milliseconds. */
export const DURATION_MAX_MS = 2 ** 31 - 1;

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds, or null for what is not an integer with one of the units. */
export function parseDuration(text: string): number | null {
  const [, digits, unit] = /^([0-9]{1,15})(ms|s|m|h|d)$/.exec(text) ?? [];
  if (digits === undefined || unit === undefined) return null;
  const value = Number(digits) * (UNITS[unit] as number);
  return Number.isSafeInteger(value) ? value : null;
}

/** Node's own words on a wrong option, cut to what helps. */
function plain(message: string): string {
  const [first = message] = message.split(/\n|\. (?=[A-Z])/);
  return first.endsWith('.') ? first : `${first}.`;
}
