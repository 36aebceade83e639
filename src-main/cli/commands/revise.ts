import type { WrittenRevision } from '../../../shared/ipc/contract.ts';
import { type Asking, answered, type Invocation, withPeer } from '../command.ts';
import { readText } from '../input.ts';
import { exitOf, revisedLine, type WritingOptions, writingOptions } from '../writing.ts';

export async function edit(invocation: Invocation): Promise<number> {
  const [entry, word] = invocation.args.positionals as [string, string];
  const options = writingOptions(invocation);
  return withPeer(invocation, async (asking) => {
    const text = await readText(word, invocation.io);
    const params = { ...asking.inGroup, ...options.params, entry, text };
    return revise(invocation, options, asking, (signal) => asking.service.edit(params, signal));
  });
}

export async function remove(invocation: Invocation): Promise<number> {
  const entry = invocation.args.positionals[0] as string;
  const options = writingOptions(invocation);
  return withPeer(invocation, (asking) => {
    const params = { ...asking.inGroup, ...options.params, entry };
    return revise(invocation, options, asking, (signal) => asking.service.remove(params, signal));
  });
}

export async function restore(invocation: Invocation): Promise<number> {
  const { args } = invocation;
  const entry = args.positionals[0] as string;
  const options = writingOptions(invocation);
  const revision = args.integer('revision', 1);
  return withPeer(invocation, (asking) => {
    const which = revision === undefined ? {} : { revision };
    const params = { ...asking.inGroup, ...options.params, entry, ...which };
    return revise(invocation, options, asking, (signal) => asking.service.restore(params, signal));
  });
}

async function revise(
  { io, json }: Invocation,
  { params, strict }: WritingOptions,
  asking: Asking,
  request: (signal: AbortSignal) => Promise<WrittenRevision>,
): Promise<number> {
  const written = await answered(asking, params.timeoutMs, request);
  await io.out(revisedLine(written, json));
  return exitOf(written, strict);
}
