import { resolve } from 'node:path';
import { asArray, asBytes, asInteger, asText, FormatError } from '../../../shared/base/cbor.ts';
import type { OutboxLine } from '../../../shared/ipc/contract.ts';
import { EXIT, PeerError } from '../../../shared/ipc/errors.ts';
import { type Part, readArchive, writeArchive } from '../../storage/archive.ts';
import { type Asking, type Invocation, inTime, jsonLine, withPeer } from '../command.ts';
import { grouped, localTime, printableLine } from '../terminal.ts';
import { usage } from '../usage.ts';

/** Handed over at once. Base64, so that a request stays well below what the peer takes. Letters. */
const CARRY_LENGTH_MAX = 1024 * 1024;

/**
 * The file of `--export`: `['head', 1, group, made at (ms)]`, then `['run', bytes]` for each signed run, every session's in its order.
 */
const FORMAT = 1;

export async function outbox(invocation: Invocation): Promise<number> {
  const { args, io } = invocation;
  const [out, from] = [args.text('export'), args.text('import')];
  if (out !== undefined && from !== undefined) throw usage('--export and --import exclude each other.');
  return withPeer(invocation, (asking) => {
    if (out !== undefined) return exportTo(invocation, asking, resolve(io.cwd, out));
    return from === undefined ? list(invocation, asking) : importFrom(invocation, asking, resolve(io.cwd, from));
  });
}

async function list(invocation: Invocation, asking: Asking): Promise<number> {
  const { io, json } = invocation;
  let count = 0;
  await inTime(invocation, asking, async (signal) => {
    for await (const line of asking.service.outbox(asking.inGroup, signal)) {
      count += 1;
      await io.out(json ? jsonLine(line) : inWords(line));
    }
  });
  if (count === 0 && !json) await io.out('Nothing waits: all that was written here is agreed.\n');
  return EXIT.done;
}

function inWords({ status, change, text, time, why }: OutboxLine): string {
  const what = text === null ? (change ?? 'a change') : printableLine(text);
  return `${status.padEnd(8)}  ${localTime(time, new Date())}  ${what}\n          ${printableLine(why)}\n`;
}

async function exportTo(invocation: Invocation, asking: Asking, path: string): Promise<number> {
  const { io, json } = invocation;
  let runs = 0;
  let commands = 0;
  let group = '';
  async function* parts(): AsyncGenerator<Part> {
    for await (const each of asking.service.carried(asking.inGroup, io.signal)) {
      if (runs === 0) yield ['head', FORMAT, each.group, Date.now()];
      group = each.group;
      runs += 1;
      commands += each.commands;
      yield ['run', new Uint8Array(Buffer.from(each.run, 'base64'))];
    }
    if (runs === 0) throw new PeerError('FILE_EMPTY', 'Nothing waits, so there is nothing to carry. No file was made.');
  }
  const bytes = await writeArchive(path, 'outbox', parts(), io.signal);
  if (json) await io.out(jsonLine({ path, group, commands, bytes }));
  else {
    const count = commands === 1 ? 'one command' : `${grouped(commands)} commands`;
    await io.out(
      `${printableLine(path)}  ${count}\nAny member's machine can hand them over: synod outbox --import FILE. They stay here, too, until they are agreed.\n`,
    );
  }
  return EXIT.done;
}

async function importFrom({ io, json }: Invocation, { service }: Asking, path: string): Promise<number> {
  const total = { new: 0, known: 0, refused: 0 };
  let group = '';
  let runs: string[] = [];
  let length = 0;
  const handOver = async (): Promise<void> => {
    if (runs.length === 0) return;
    const count = await service.carry({ group, runs }, io.signal);
    for (const each of ['new', 'known', 'refused'] as const) total[each] += count[each];
    runs = [];
    length = 0;
  };
  await check(path);
  for await (const part of readArchive(path, 'outbox')) {
    if (part[0] === 'head') group = asText(part[2]);
    else {
      const run = Buffer.from(asBytes(part[1])).toString('base64');
      if (length + run.length > CARRY_LENGTH_MAX) await handOver();
      runs.push(run);
      length += run.length;
    }
  }
  await handOver();
  if (json) await io.out(jsonLine({ group, ...total }));
  else {
    await io.out(
      `${grouped(total.new)} handed over, ${grouped(total.known)} known already, ${grouped(total.refused)} refused\n`,
    );
  }
  return total.refused > 0 ? EXIT.failed : EXIT.done;
}

/** The whole file, before anything of it is handed over. @throws ArchiveError, PeerError */
async function check(path: string): Promise<void> {
  let isFirst = true;
  try {
    for await (const part of readArchive(path, 'outbox')) {
      if (isFirst) {
        const [kind, version] = asArray(part, 4);
        if (kind !== 'head') throw new FormatError('it lacks its beginning');
        if (asInteger(version) > FORMAT)
          throw new PeerError('NEWER_FORMAT', `${path} was made by a newer Synod. Update this one.`);
      } else if (part[0] !== 'run') throw new FormatError('a part that is not known');
      isFirst = false;
    }
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    throw new PeerError('FILE_DAMAGED', `${path} is damaged: ${error.message}.`, { cause: error });
  }
}
