import { resolve } from 'node:path';
import { type DamageCode, EXIT } from '../../../shared/ipc/errors.ts';
import { checkBackup } from '../../peer/backup.ts';
import { type Verification, verifyDir } from '../../peer/verify.ts';
import { assertNoPeer, directoryOf, type Invocation, jsonLine } from '../command.ts';
import { printableLine } from '../terminal.ts';

/** Checks the stores of a directory on which no peer runs. */
export async function verify(invocation: Invocation): Promise<number> {
  const { args, io, json } = invocation;
  const [file] = args.positionals;
  if (file !== undefined) return verifyBackup(invocation, resolve(io.cwd, file));
  const dir = directoryOf(invocation);
  await assertNoPeer(invocation, dir, 'verify');
  const found = await verifyDir(dir);
  await io.out(json ? jsonLine(found) : page(found));
  return found.ok ? EXIT.done : EXIT.damage;
}

/** The file as a whole, and each record in it. */
async function verifyBackup({ io, json }: Invocation, path: string): Promise<number> {
  const { groups, rows, madeMs, damaged } = await checkBackup(path);
  const problems = damaged.map((key) => ({
    code: 'RECORD_DAMAGED' as const,
    message: `${key}: its check does not fit`,
  }));
  const ok = problems.length === 0;
  const made = new Date(madeMs).toISOString();
  if (json) await io.out(jsonLine({ ok, problems, made, groups, rows }));
  else if (ok) await io.out(`The backup of ${made} is whole.\n`);
  else await io.out(`${problems.map(({ code, message }) => `${code}  ${printableLine(message)}`).join('\n')}\n`);
  return ok ? EXIT.done : EXIT.damage;
}

function page({ ok, problems }: Verification): string {
  if (ok) return 'Every record is in order.\n';
  const lines = problems.map(({ code, message }) => `${code}  ${printableLine(message)}`);
  return `${lines.join('\n')}\n${outlook(problems.map(({ code }) => code))}\n`;
}

/** What becomes of it: only a peer that starts can fetch anything. */
function outlook(codes: readonly DamageCode[]): string {
  if (codes.some((code) => code === 'IDENTITY_DAMAGED' || code === 'IDENTITY_MISSING')) {
    return 'Damage was found. No peer starts here until the identity is back: put it back from a backup. The group still has what was agreed; what was saved here alone stays where it is.';
  }
  if (codes.every((code) => code === 'UNREADABLE')) {
    return 'Not everything could be read, which says nothing about damage: look at the disk, and at the rights to the directory.';
  }
  return 'Damage was found. The group still has what was agreed: a running peer fetches it again.';
}
