import type { Appended, AppendParams, Wait, Written, WrittenRevision } from '../../shared/ipc/contract.ts';
import { type ErrorCode, EXIT } from '../../shared/ipc/errors.ts';
import { type Asking, answered, type Invocation, jsonLine } from './command.ts';
import { failureOf } from './failure.ts';
import { printableLine, shortId } from './terminal.ts';

/** What all commands that write have in common. */
export interface WritingOptions {
  /** To be spread into the request's parameters. */
  readonly params: { readonly wait: Wait; readonly timeoutMs: number; readonly writer?: string };
  readonly strict: boolean;
}

/** @throws PeerError USAGE */
export function writingOptions({ args }: Invocation): WritingOptions {
  const writer = args.text('as');
  return {
    params: {
      wait: args.choice('wait', ['saved', 'committed']) ?? 'committed',
      timeoutMs: args.duration('timeout', 30_000),
      ...(writer === undefined ? {} : { writer }),
    },
    strict: args.flag('strict'),
  };
}

/** With --strict what is only saved counts as not done. */
export function exitOf(written: Written, strict: boolean): number {
  return strict && written.status !== 'committed' ? EXIT.notCommitted : EXIT.done;
}

export function appendedLine({ id, status, position, slot, why, whyCode }: Written, json: boolean): string {
  if (json) return jsonLine({ id, status, position, slot, why, whyCode });
  return `${placeOf(position)}${shortId(id)} ${status}${reasonOf(why)}\n`;
}

export function revisedLine(written: WrittenRevision, json: boolean): string {
  const { id, status, position, slot, revision, why, whyCode } = written;
  if (json) return jsonLine({ id, status, position, slot, revision, why, whyCode });
  return `${placeOf(position)}${shortId(id)} ${status} · revision ${revision}${reasonOf(why)}\n`;
}

const placeOf = (position: number | null): string => (position === null ? '' : `#${position} `);
const reasonOf = (why: string | null): string => (why === null ? '' : ` · ${printableLine(why)}`);

/** What is wrong with one line alone; the lines after it can still be written. */
const lineFaults: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'BAD_LINE',
  'TEXT_EMPTY',
  'TEXT_TOO_LONG',
  'TEXT_BAD',
  'KEY_REUSED',
  'REFUSED_TEXT_EMPTY',
  'REFUSED_TEXT_TOO_LONG',
  'REFUSED_TEXT_BAD',
]);

export function isLineFault(error: unknown): boolean {
  return lineFaults.has(failureOf(error).code);
}

/** How long each entry waits for a group that has just let one run into its timeout. Milliseconds. */
const IMPATIENT_MS = 200;

/**
 * Appends many entries to one group. Where the group can't agree, only the first ones wait for the whole timeout: what
 * follows is saved, and waits again as soon as something is committed.
 */
export class Appender {
  readonly #asking: Asking;
  readonly #options: WritingOptions['params'];
  #patient = true;

  constructor(asking: Asking, options: WritingOptions['params']) {
    this.#asking = asking;
    this.#options = options;
  }

  async append(entry: Pick<AppendParams, 'text' | 'key' | 'writer'>): Promise<Appended> {
    const { service, inGroup } = this.#asking;
    const timeoutMs = this.#patient ? this.#options.timeoutMs : Math.min(IMPATIENT_MS, this.#options.timeoutMs);
    const params = { ...inGroup, ...this.#options, timeoutMs, ...entry };
    const appended = await answered(this.#asking, timeoutMs, (signal) => service.append(params, signal));
    if (params.wait === 'committed') this.#patient = appended.status === 'committed';
    return appended;
  }
}
