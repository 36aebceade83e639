import type { AwayStatus, OpenInvitation } from '../../../shared/ipc/contract.ts';
import { EXIT } from '../../../shared/ipc/errors.ts';
import { answered, type Invocation, inTime, jsonLine, withPeer } from '../command.ts';
import { localTime, printableLine, shortPeer, table } from '../terminal.ts';
import { parseDuration, usage } from '../usage.ts';

export async function away(invocation: Invocation): Promise<number> {
  const { args, io, json } = invocation;
  const timeoutMs = args.duration('timeout', 30_000);
  const until = args.text('until');
  const isBack = args.flag('back');
  if (isBack && until !== undefined) throw usage('--back and --until exclude each other.');
  const untilMs = until === undefined ? null : timeOf(until, Date.now());
  return withPeer(invocation, async (asking) => {
    const params = { ...asking.inGroup, away: !isBack, untilMs, timeoutMs };
    const said = await answered(asking, timeoutMs, (signal) => asking.service.away(params, signal));
    await io.out(json ? jsonLine(said) : awayLine(said));
    return EXIT.done;
  });
}

function awayLine({ away: isAway, until, others }: AwayStatus): string {
  if (!isAway) return 'Back. This machine can vote and lead again.\n';
  const when = until === null ? '' : ` until ${localTime(until, new Date())}`;
  if (others === 0) {
    return `Away${when}. But nobody else votes and can lead: while this machine is away, nothing is agreed. Promote another one first, with synod promote. "synod away --back", or its next start, ends that.\n`;
  }
  return `Away${when}: others vote and lead in its place, where they can. "synod away --back", or its next start, ends that.\n`;
}

const DATE = /^([0-9]{4})-([0-9]{2})-([0-9]{2})$/;
const DATE_TIME = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,3})?)?(Z|[+-][0-9]{2}:[0-9]{2})?$/;

/** A duration from now, a day (its beginning here), or a time of ISO 8601 (here, without a zone). Milliseconds since 1970 UTC. */
export function timeOf(text: string, nowMs: number): number {
  const duration = parseDuration(text);
  if (duration !== null) return nowMs + duration;
  const day = DATE.exec(text);
  const ms = day ? beginningOf(day) : DATE_TIME.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(ms)) {
    throw usage(
      `--until is a day such as 2026-11-20, a time such as 2026-11-20T08:00, or 3d, not ${JSON.stringify(text)}.`,
    );
  }
  if (ms <= nowMs) throw usage(`--until ${text} is over already.`);
  return ms;
}

function beginningOf([, year, month, date]: RegExpExecArray): number {
  const day = new Date(Number(year), Number(month) - 1, Number(date));
  // The 31st of November is no day, whatever Date makes of it.
  return day.getMonth() === Number(month) - 1 ? day.getTime() : Number.NaN;
}

export async function leave(invocation: Invocation): Promise<number> {
  const { args, io, json } = invocation;
  const timeoutMs = args.duration('timeout', 30_000);
  return withPeer(invocation, async (asking) => {
    const params = { ...asking.inGroup, timeoutMs };
    const { peer, role } = await answered(asking, timeoutMs, (signal) => asking.service.leave(params, signal));
    const line = 'This machine is no longer a member. What was agreed stays readable here.\n';
    await io.out(json ? jsonLine({ peer, role }) : line);
    return EXIT.done;
  });
}

export async function invites(invocation: Invocation): Promise<number> {
  const { io, json } = invocation;
  return withPeer(invocation, async (asking) => {
    const open = await inTime(invocation, asking, (signal) => asking.service.invites(asking.inGroup, signal));
    await io.out(json ? open.map(jsonLine).join('') : page(open));
    return EXIT.done;
  });
}

function page(open: readonly OpenInvitation[]): string {
  if (open.length === 0) return 'No invitation is open.\n';
  const now = new Date();
  const rows = open.map(({ key, rights, role, name, expires, expired }) => [
    key.slice(0, 8),
    rights,
    role ?? '',
    `by ${printableLine(name)}`,
    expired ? 'expired' : expires === null ? 'for ever' : `until ${localTime(expires, now)}`,
  ]);
  return table(rows)
    .map((line) => `${line}\n`)
    .join('');
}

export async function revoke(invocation: Invocation): Promise<number> {
  const { args, io, json } = invocation;
  const key = args.positionals[0] as string;
  const timeoutMs = args.duration('timeout', 30_000);
  return withPeer(invocation, async (asking) => {
    const params = { ...asking.inGroup, key, timeoutMs };
    const revoked = await answered(asking, timeoutMs, (signal) => asking.service.revoke(params, signal));
    const was = revoked.expired ? ', which had expired,' : '';
    await io.out(
      json ? jsonLine(revoked) : `The invitation ${revoked.key.slice(0, 8)}${was} lets nobody in any more.\n`,
    );
    return EXIT.done;
  });
}

export async function rename(invocation: Invocation): Promise<number> {
  const { args, io, json } = invocation;
  const title = args.positionals[0] as string;
  const timeoutMs = args.duration('timeout', 30_000);
  return withPeer(invocation, async (asking) => {
    const params = { ...asking.inGroup, title, timeoutMs };
    const named = await answered(asking, timeoutMs, (signal) => asking.service.rename(params, signal));
    const line = `The log is called ${printableLine(named.title)} now.\n`;
    await io.out(json ? jsonLine({ group: named.group, title: named.title }) : line);
    return EXIT.done;
  });
}

export async function profile(invocation: Invocation): Promise<number> {
  const { args, io, json } = invocation;
  const name = args.text('name');
  const timeoutMs = args.duration('timeout', 30_000);
  return withPeer(invocation, async (asking) => {
    const params = name === undefined ? { timeoutMs } : { name, timeoutMs };
    const now = await answered(asking, timeoutMs, (signal) => asking.service.profile(params, signal));
    const line = `${printableLine(now.name)}  (${shortPeer(now.peer)})\n`;
    await io.out(json ? jsonLine({ peer: now.peer, name: now.name }) : line);
    return EXIT.done;
  });
}
