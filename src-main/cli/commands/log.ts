import type { GroupStatus, LogLine, LogParams, Revision } from '../../../shared/ipc/contract.ts';
import { EXIT } from '../../../shared/ipc/errors.ts';
import { type Asking, type Invocation, inTime, jsonLine, withPeer } from '../command.ts';
import { failureOf } from '../failure.ts';
import { dim, localClock, localDay, localTime, printable, printableLine, shortPeer } from '../terminal.ts';
import { usage } from '../usage.ts';

export async function log(invocation: Invocation): Promise<number> {
  const { args, io, json } = invocation;
  const since = args.integer('since', 0);
  const afterSlot = args.integer('after-slot', 0);
  const limit = args.integer('limit', 0);
  if (since !== undefined && afterSlot !== undefined) throw usage('Give --since or --after-slot, not both.');
  const asked: Omit<LogParams, 'group'> = {
    ...(since === undefined ? {} : { since }),
    ...(afterSlot === undefined ? {} : { afterSlot }),
    ...(limit === undefined ? {} : { limit }),
    follow: args.flag('follow'),
    pending: args.flag('pending'),
  };
  const page = new LogPage(io.colour);
  return withPeer(invocation, async (asking) => {
    let isEmpty = true;
    try {
      await inTime(invocation, asking, async (signal) => {
        const group = await groupAsked(asking, signal);
        await sayWhatLacks(invocation, group);
        if (asked.follow) await sayWhyEmpty(invocation, group);
        for await (const line of asking.service.log({ ...asking.inGroup, ...asked }, signal)) {
          isEmpty = false;
          await io.out(json ? jsonLine(line) : page.show(line));
        }
        if (isEmpty && !asked.follow) await sayWhyEmpty(invocation, group);
      });
    } catch (error) {
      // Following ends when the person or the given time says so; that is how it is meant.
      const { code } = failureOf(error);
      if (!asked.follow || (code !== 'CANCELLED' && code !== 'TIMED_OUT')) throw error;
    }
    return EXIT.done;
  });
}

/** Null where several are here: then the log itself says so. */
async function groupAsked(asking: Asking, signal: AbortSignal): Promise<GroupStatus | null> {
  const { groups } = await asking.service.status(asking.inGroup, signal);
  const [group, another] = groups;
  return another === undefined ? (group ?? null) : null;
}

/** A log that is being made anew after damage must not pass for a whole one. */
async function sayWhatLacks({ io, json }: Invocation, group: GroupStatus | null): Promise<void> {
  if (!group?.mending?.entries) return;
  const { text } = group.mending;
  await io.err(
    json ? jsonLine({ event: 'incomplete', message: text }) : `This log is not whole yet. ${printableLine(text)}\n`,
  );
}

/** On a witness the log is empty whatever the group agreed on; with `--json` that is the role in `status`. */
async function sayWhyEmpty({ io, json }: Invocation, group: GroupStatus | null): Promise<void> {
  if (json || group?.role !== 'witness') return;
  await io.err('This machine is a witness: it votes and keeps no entries. Read the log on another member.\n');
}

/** What a line below the ones that are agreed says of those under it. */
const BELOW: Partial<Record<LogLine['status'], string>> = {
  unverified: 'not verified yet, the rest is coming',
  pending: 'not agreed yet',
};

/** The log as a page: days as headings, positions in a margin, what is not verified or not agreed yet below a line. */
class LogPage {
  readonly #colour: boolean;
  #day = '';
  #status: LogLine['status'] = 'committed';

  constructor(colour: boolean) {
    this.#colour = colour;
  }

  show(line: LogLine): string {
    return this.#headings(line) + this.#entry(line);
  }

  #headings(line: LogLine): string {
    const below = line.status === this.#status ? undefined : BELOW[line.status];
    let text = below === undefined ? '' : `${dim(`───────── ${below} ─────────`, this.#colour)}\n`;
    this.#status = line.status;
    const day = localDay(line.time);
    if (day !== this.#day) text += `${dim(day, this.#colour)}\n`;
    this.#day = day;
    return text;
  }

  #entry(line: LogLine): string {
    const margin = (line.position === null ? '·' : String(line.position)).padStart(6);
    const who = printableLine(line.writer || line.name).padEnd(10);
    const notes: string[] = [];
    if (line.revision > 1 && !line.removed) notes.push('edited');
    if (line.status === 'pending') notes.push(printableLine(line.why));
    const note = notes.length > 0 ? dim(`  (${notes.join('; ')})`, this.#colour) : '';
    const head = `${dim(margin, this.#colour)}  ${localClock(line.time)}  ${who}  `;
    const indent = `\n${' '.repeat(margin.length + 2 + 5 + 2 + who.length + 2)}`;
    const text = line.text === null ? dim('removed', this.#colour) : printable(line.text).replaceAll('\n', indent);
    return `${head}${text}${note}\n`;
  }
}

export async function history(invocation: Invocation): Promise<number> {
  const { args, io, json } = invocation;
  const entry = args.positionals[0] as string;
  return withPeer(invocation, async (asking) => {
    await inTime(invocation, asking, async (signal) => {
      const names = json ? new Map<string, string>() : await namesOf(asking, signal);
      for await (const revision of asking.service.history({ ...asking.inGroup, entry }, signal)) {
        await io.out(json ? jsonLine(revision) : revisionText(revision, names, io.colour));
      }
    });
    return EXIT.done;
  });
}

async function namesOf({ service, inGroup }: Asking, signal: AbortSignal): Promise<Map<string, string>> {
  const members = await service.members(inGroup, signal);
  return new Map(members.map(({ peer, name }) => [peer, name]));
}

function revisionText(revision: Revision, names: ReadonlyMap<string, string>, colour: boolean): string {
  const who = revision.writer || names.get(revision.author) || shortPeer(revision.author);
  const place = revision.slot === null ? 'not agreed yet' : `slot ${revision.slot}`;
  const when = localTime(revision.time, new Date());
  const head = `Revision ${revision.revision}  ${printableLine(who)}  ${when}  ${dim(`(${place})`, colour)}`;
  const text = revision.text === null || revision.removed ? 'removed' : printable(revision.text);
  return `${head}\n    ${text.replaceAll('\n', '\n    ')}\n`;
}
