import { EXIT, PeerError } from '../../../shared/ipc/errors.ts';
import { type Verification, verifyDir } from '../../peer/verify.ts';
import { directoryOf, type Invocation, jsonLine } from '../command.ts';
import { failureOf } from '../failure.ts';
import { printableLine } from '../terminal.ts';

/** Checks the stores of a directory on which no peer runs. */
export async function verify(invocation: Invocation): Promise<number> {
  const { io, json } = invocation;
  const dir = directoryOf(invocation);
  await assertNoPeer(invocation, dir);
  const found = await verifyDir(dir);
  await io.out(json ? jsonLine(found) : page(found));
  return found.ok ? EXIT.done : EXIT.damage;
}

/** The locks of the stores would tell as well, one by one and in other words. */
async function assertNoPeer({ io }: Invocation, dir: string): Promise<void> {
  try {
    (await io.connect(dir, io.signal)).close();
  } catch (error) {
    if (failureOf(error).code === 'NO_PEER') return;
    throw error;
  }
  throw new PeerError('PEER_RUNNING', `A peer is running for ${dir}. Stop it first, then verify.`);
}

function page({ ok, problems }: Verification): string {
  if (ok) return 'Every record is in order.\n';
  const lines = problems.map(({ code, message }) => `${code}  ${printableLine(message)}`);
  return `${lines.join('\n')}\nDamage was found. The group still has what was agreed: a running peer fetches it again.\n`;
}
