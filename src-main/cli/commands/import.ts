import { createHash } from 'node:crypto';
import { EXIT, PeerError } from '../../../shared/ipc/errors.ts';
import { type Asking, type Invocation, jsonLine, withPeer } from '../command.ts';
import { failureLine, failureOf } from '../failure.ts';
import { checkedText, decoded, type InputLine, LINE_BYTES_MAX, lines, readBytes } from '../input.ts';
import { pipelined } from '../pipeline.ts';
import { grouped } from '../terminal.ts';
import { Appender, isLineFault, writingOptions } from '../writing.ts';

/** How often progress is told. Milliseconds. */
const PROGRESS_MS = 1_000;

/** What some programs begin a file with; it is no part of the first line. */
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf];

interface Fields {
  readonly text: string;
  readonly writer: string | undefined;
}

interface Entry {
  readonly text: string;
  readonly writer?: string;
  readonly key: string;
}

type Outcome = { readonly created: boolean; readonly committed: boolean } | { readonly error: unknown };

export async function importFile(invocation: Invocation): Promise<number> {
  const { args } = invocation;
  const fields: Fields = { text: args.text('text-field') ?? 'text', writer: args.text('writer-field') };
  return withPeer(invocation, (asking) => importAll(invocation, asking, fields));
}

async function importAll(invocation: Invocation, asking: Asking, fields: Fields): Promise<number> {
  const { args, io, json } = invocation;
  const appender = new Appender(asking, writingOptions(invocation).params);
  const keys = new LineKeys();
  const tally = { imported: 0, skipped: 0, failed: 0 };
  let waiting = 0;
  let toldAt = performance.now();

  async function* filled(signal: AbortSignal): AsyncGenerator<InputLine> {
    for await (const line of lines(readBytes(args.positionals[0] as string, io), signal)) {
      if (line.bytes?.length !== 0) yield line;
    }
  }

  await pipelined(io.signal, {
    source: filled,
    lengthOf: ({ bytes }) => bytes?.length ?? 0,
    start: async (line): Promise<{ line: InputLine; outcome: Outcome }> => {
      try {
        const { created, status } = await appender.append(entryOf(line, fields, keys));
        return { line, outcome: { created, committed: status === 'committed' } };
      } catch (error) {
        return { line, outcome: { error } };
      }
    },
    finish: async ({ line, outcome }) => {
      if ('error' in outcome) {
        if (!isLineFault(outcome.error)) throw outcome.error;
        tally.failed += 1;
        const failure = failureOf(outcome.error);
        await io.err(failureLine({ ...failure, message: `Line ${line.number}: ${failure.message}` }, json));
      } else {
        if (outcome.created) tally.imported += 1;
        else tally.skipped += 1;
        if (!outcome.committed) waiting += 1;
      }
      if (performance.now() - toldAt >= PROGRESS_MS) {
        toldAt = performance.now();
        await io.err(
          json ? jsonLine({ event: 'progress', line: line.number, ...tally }) : `${inWords(tally)} so far\n`,
        );
      }
    },
  });

  if (waiting > 0 && !json) {
    await io.err(`${grouped(waiting)} of them are saved here and get their places when the group can agree again.\n`);
  }
  await io.out(json ? jsonLine(tally) : `${inWords(tally)}\n`);
  return tally.failed > 0 ? EXIT.failed : EXIT.done;
}

function inWords({ imported, skipped, failed }: Record<'imported' | 'skipped' | 'failed', number>): string {
  return `${grouped(imported)} imported, ${grouped(skipped)} skipped (here already), ${grouped(failed)} failed`;
}

/** @throws PeerError BAD_LINE, TEXT_EMPTY, TEXT_TOO_LONG or TEXT_BAD */
function entryOf({ number, bytes: whole }: InputLine, fields: Fields, keys: LineKeys): Entry {
  if (whole === null) throw bad(`longer than ${LINE_BYTES_MAX / 1024 / 1024} MiB`);
  const bytes = number === 1 && BYTE_ORDER_MARK.every((byte, at) => whole[at] === byte) ? whole.subarray(3) : whole;
  // Counted whether the line is good or not, so that mending one line leaves the others their keys.
  const key = keys.next(bytes);
  const record = objectOf(decoded(bytes, 'The line'));
  const text = fieldOf(record, fields.text);
  if (text === undefined) throw bad(`no field ${JSON.stringify(fields.text)}; name it with --text-field`);
  const writer = fields.writer === undefined ? undefined : fieldOf(record, fields.writer);
  return { text: checkedText(text), key, ...(writer ? { writer } : {}) };
}

function objectOf(text: string): object {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw bad('not JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad('not a JSON object');
  return value;
}

function fieldOf(record: object, field: string): string | undefined {
  const value: unknown = Object.hasOwn(record, field) ? record[field as keyof typeof record] : undefined;
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'string') throw bad(`the field ${JSON.stringify(field)} is not a text`);
  if (!value.isWellFormed()) throw bad(`the field ${JSON.stringify(field)} has half a character (a lone surrogate)`);
  return value;
}

const bad = (what: string): PeerError => new PeerError('BAD_LINE', `${what}; the line was left out.`);

/** A line's key is what it says and how often it was said before: the same file again writes nothing new. */
class LineKeys {
  readonly #seen = new Map<string, number>();

  next(line: Uint8Array): string {
    const hash = createHash('sha256').update(line).digest('hex');
    const occurrence = (this.#seen.get(hash) ?? 0) + 1;
    this.#seen.set(hash, occurrence);
    return `import/${hash}/${occurrence}`;
  }
}
