import { resolve } from 'node:path';
import type { BackupEvent } from '../../../shared/ipc/contract.ts';
import { EXIT, PeerError } from '../../../shared/ipc/errors.ts';
import { loadOrCreateIdentity } from '../../group/identity.ts';
import { backUpDirectory } from '../../peer/backup.ts';
import { rebuild as rebuildDirectory } from '../../peer/rebuild.ts';
import { directoryOf, type Invocation, jsonLine } from '../command.ts';
import { failureOf } from '../failure.ts';
import { grouped, printableLine } from '../terminal.ts';

const SECRET =
  'It holds this machine’s key: whoever has the file can speak as this machine. Keep it as safe as the directory itself.';
const LOST =
  'What was written on that machine after the backup, and neither agreed nor sent to anybody, is not in it; all that the group has agreed on is fetched again.';

/** A file that this very machine can be made again from, whether its peer runs or not. */
export async function backup(invocation: Invocation): Promise<number> {
  const { args, io, json } = invocation;
  const path = resolve(io.cwd, args.positionals[0] as string);
  const dir = directoryOf(invocation);
  const tell = async (event: BackupEvent): Promise<void> => {
    if (event.kind === 'progress') {
      const { rows, bytes } = event;
      await io.err(json ? jsonLine({ event: 'progress', rows, bytes }) : `${grouped(rows)} records so far\n`);
      return;
    }
    const { bytes, rows, groups } = event;
    if (json) return io.out(jsonLine({ path, bytes, rows, groups }));
    await io.out(`${printableLine(path)}  ${grouped(bytes)} bytes\n${SECRET}\n`);
  };
  const connection = await io.connect(dir, io.signal).catch((error: unknown) => {
    if (failureOf(error).code === 'NO_PEER') return null;
    throw error;
  });
  if (connection === null) {
    const { peer } = await existingIdentity(dir);
    for await (const event of backUpDirectory(dir, path, peer, io.signal)) await tell(event);
    return EXIT.done;
  }
  try {
    for await (const event of connection.service.backup({ path }, io.signal)) await tell(event);
  } finally {
    connection.close();
  }
  return EXIT.done;
}

/** A directory without an identity is one that nobody was ever in. */
async function existingIdentity(dir: string): Promise<Awaited<ReturnType<typeof loadOrCreateIdentity>>> {
  return loadOrCreateIdentity(dir, () => {
    throw new PeerError('NO_GROUP', `There is no peer in ${dir} that a backup could be made of.`);
  });
}

/** A data directory made of a backup; its stores get new incarnations when they are opened first. */
export async function rebuild({ args, io, json }: Invocation): Promise<number> {
  const [dir, file] = args.positionals.map((path) => resolve(io.cwd, path)) as [string, string];
  process.umask(0o077);
  const { peer, madeMs, groups, rows } = await rebuildDirectory(dir, file, io.signal);
  const made = new Date(madeMs).toISOString();
  if (json) await io.out(jsonLine({ dir, peer, made, groups, rows }));
  else {
    const count = groups.length === 1 ? 'one group' : `${groups.length} groups`;
    await io.out(
      `${printableLine(dir)}  ${count}, as of ${made}\n${LOST}\nStart it with: synod serve --dir ${printableLine(dir)}\n` +
        'It votes again once the others have agreed. Should the machine it was taken of still run, that one stops: one of the two goes on.\n',
    );
  }
  return EXIT.done;
}
