import type { JoinEvent } from '../../../shared/ipc/contract.ts';
import { EXIT, PeerError } from '../../../shared/ipc/errors.ts';
import { answered, type Invocation, inTime, jsonLine, withPeer } from '../command.ts';
import { readTicket } from '../input.ts';
import { printableLine } from '../terminal.ts';

export async function create(invocation: Invocation): Promise<number> {
  const { args, io, json } = invocation;
  const title = args.positionals[0] as string;
  return withPeer(invocation, async (asking) => {
    const made = await inTime(invocation, asking, (signal) => asking.service.create({ title }, signal));
    await io.out(
      json
        ? jsonLine({ group: made.group, title: made.title })
        : `${printableLine(made.title)} is ready: ${made.group}\n`,
    );
    return EXIT.done;
  });
}

export async function invite(invocation: Invocation): Promise<number> {
  const { args, io, json } = invocation;
  const rights = args.choice('rights', ['writer', 'reader', 'keeper']) ?? 'writer';
  const role = args.choice('role', ['voter', 'learner', 'witness']) ?? null;
  const expiresMs = args.duration('expires', 24 * 3_600_000, 366 * 24 * 3_600_000);
  const timeoutMs = args.duration('timeout', 30_000);
  return withPeer(invocation, async (asking) => {
    const params = { ...asking.inGroup, rights, role, expiresMs, timeoutMs };
    const { ticket } = await answered(asking, timeoutMs, (signal) => asking.service.invite(params, signal));
    await io.out(json ? jsonLine({ ticket }) : `${ticket}\n`);
    return EXIT.done;
  });
}

export async function join(invocation: Invocation): Promise<number> {
  const { args, io, json } = invocation;
  const timeoutMs = args.duration('timeout', 60_000);
  const ticket = await readTicket(args.positionals[0] as string, io);
  return withPeer(invocation, (asking) =>
    answered(asking, timeoutMs, async (signal) => {
      for await (const event of asking.service.join({ ticket, timeoutMs }, signal)) {
        if (event.kind === 'step') {
          await io.err(json ? jsonLine(stepOf(event)) : `${printableLine(event.message)}\n`);
        } else {
          await io.out(json ? jsonLine({ group: event.group, role: event.role }) : joinedLine(event));
          return EXIT.done;
        }
      }
      throw new PeerError('TIMED_OUT', 'Not in the group yet. Run the same command again to go on.');
    }),
  );
}

const stepOf = ({ step, message }: Extract<JoinEvent, { kind: 'step' }>): object => ({ event: 'join', step, message });

function joinedLine({ title, group, role }: Extract<JoinEvent, { kind: 'joined' }>): string {
  return `In: ${printableLine(title)} (${group}), as a ${role}.\n`;
}
