import { FormatError } from '../../shared/base/cbor.ts';
import { decodeRun, type Run } from '../../shared/document/index.ts';
import type { CarriedCount, CarriedRun, CarryParams, OutboxLine } from '../../shared/ipc/contract.ts';
import { PeerError } from '../../shared/ipc/errors.ts';
import type { Carried } from '../../shared/replica/replica.ts';
import type { Network } from '../network/network.ts';
import type { GroupHost } from './group-host.ts';
import { pendingLines } from './reading.ts';
import { refusedLine } from './watching.ts';
import { whyNot } from './why.ts';

/** What this machine wrote and the group has not agreed on: what waits, and then what was refused. */
export async function* outboxLines(host: GroupHost, network: Network): AsyncGenerator<OutboxLine> {
  for (const line of pendingLines(host, network, { marks: true })) {
    const { id, text, time, writer, why, whyCode, change = 'create' } = line;
    yield { status: 'pending', id, change, text, time, writer, why, whyCode };
  }
  const { outbox, reader } = host.replica;
  for (const item of outbox.refusedView()) {
    const { key, change, text, time, writer, why, whyCode } = refusedLine(item, reader);
    yield { status: 'refused', key, change, text, time, writer, why, whyCode };
  }
}

export async function* carriedRuns(host: GroupHost): AsyncGenerator<CarriedRun> {
  for (const run of host.replica.carriedRuns()) {
    yield { group: host.group, run: Buffer.from(run.bytes).toString('base64'), commands: run.commands.length };
  }
}

/** @throws PeerError `OTHER_GROUP`, `BAD_FILE`, or `TIMED_OUT` where nobody leads: then nothing was done */
export async function carry(
  hosts: ReadonlyMap<string, GroupHost>,
  network: Network,
  { group, runs }: CarryParams,
): Promise<CarriedCount> {
  const host = hosts.get(group);
  if (host === undefined) {
    throw new PeerError(
      'OTHER_GROUP',
      `These commands are of ${group}, a log that this machine is not in. Nothing was done.`,
    );
  }
  const decoded = runs.map(runOf);
  const carried = await new Promise<readonly Carried[] | null>((resolve, reject) => {
    Promise.resolve(host.replica.relay(decoded, resolve)).catch(reject);
    host.wake();
  });
  if (carried === null) {
    const why = whyNot(host, network)?.text ?? 'Nobody leads just now.';
    throw new PeerError('TIMED_OUT', `Nothing was handed over: ${why} Try again then; doing it twice is harmless.`);
  }
  const count = (what: Carried): number =>
    decoded.reduce((sum, run, i) => sum + (carried[i] === what ? run.commands.length : 0), 0);
  return { new: count('new'), known: count('known'), refused: count('refused') };
}

function runOf(base64: string): Run {
  try {
    return decodeRun(new Uint8Array(Buffer.from(base64, 'base64')));
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    throw new PeerError('BAD_FILE', `A command in it can't be read: ${error.message}.`, { cause: error });
  }
}
