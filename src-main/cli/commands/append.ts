import { EXIT } from '../../../shared/ipc/errors.ts';
import { type Asking, answered, type Invocation, withPeer } from '../command.ts';
import { failureLine, failureOf } from '../failure.ts';
import { checkedText, decoded, lines, readBytes, readText, tooLong } from '../input.ts';
import { pipelined } from '../pipeline.ts';
import { usage } from '../usage.ts';
import { Appender, appendedLine, exitOf, isLineFault, type WritingOptions, writingOptions } from '../writing.ts';

export async function append(invocation: Invocation): Promise<number> {
  const { args, io, json } = invocation;
  const options = writingOptions(invocation);
  const key = args.text('key');
  const word = args.positionals[0] as string;
  if (args.flag('lines')) {
    if (key !== undefined)
      throw usage('--key names one entry and --lines writes many; "synod import" gives each a key.');
    return withPeer(invocation, (asking) => appendLines(invocation, asking, options, word));
  }
  return withPeer(invocation, async (asking) => {
    const text = await readText(word, io);
    const params = { ...asking.inGroup, ...options.params, text, ...(key === undefined ? {} : { key }) };
    const written = await answered(asking, options.params.timeoutMs, (signal) => asking.service.append(params, signal));
    await io.out(appendedLine(written, json));
    return exitOf(written, options.strict);
  });
}

interface LineResult {
  readonly number: number;
  readonly output?: string;
  readonly exitCode: number;
  readonly error?: unknown;
}

async function appendLines(
  { io, json }: Invocation,
  asking: Asking,
  options: WritingOptions,
  word: string,
): Promise<number> {
  const appender = new Appender(asking, options.params);
  let exitCode: number = EXIT.done;

  async function* texts(signal: AbortSignal): AsyncGenerator<{ number: number; read: () => string; length: number }> {
    const source = word === '-' ? readBytes('-', io) : once(word);
    for await (const { number, bytes } of lines(source, signal)) {
      if (bytes?.length === 0) continue;
      const read = (): string => {
        if (bytes === null) throw tooLong('more than 16 MiB');
        return checkedText(decoded(bytes, 'The line'));
      };
      yield { number, read, length: bytes?.length ?? 0 };
    }
  }

  await pipelined(io.signal, {
    source: texts,
    lengthOf: ({ length }) => length,
    start: async ({ number, read }): Promise<LineResult> => {
      try {
        const written = await appender.append({ text: read() });
        return { number, output: appendedLine(written, json), exitCode: exitOf(written, options.strict) };
      } catch (error) {
        return { number, error, exitCode: EXIT.failed };
      }
    },
    finish: async (result) => {
      if (result.output !== undefined) {
        await io.out(result.output);
      } else {
        if (!isLineFault(result.error)) throw result.error;
        const failure = failureOf(result.error);
        await io.err(failureLine({ ...failure, message: `Line ${result.number}: ${failure.message}` }, json));
      }
      // A line that failed weighs more than one that has to wait.
      if (exitCode !== EXIT.failed && result.exitCode !== EXIT.done) exitCode = result.exitCode;
    },
  });
  return exitCode;
}

async function* once(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}
