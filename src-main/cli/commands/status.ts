import type { GroupStatus, MemberStatus, PeerStatus, VotingStatus } from '../../../shared/ipc/contract.ts';
import { EXIT } from '../../../shared/ipc/errors.ts';
import { ailmentsOf } from '../../peer/health.ts';
import { answered, type Invocation, inTime, jsonLine, withPeer } from '../command.ts';
import { grouped, localTime, printableLine, shortId, shortPeer, table } from '../terminal.ts';

export async function status(invocation: Invocation): Promise<number> {
  const { io, json } = invocation;
  return withPeer(invocation, async (asking) => {
    const found = await inTime(invocation, asking, (signal) => asking.service.status(asking.inGroup, signal));
    await io.out(json ? jsonLine(found) : statusPage(found));
    return EXIT.done;
  });
}

/** For a watchdog: well, or what is the matter. */
export async function health(invocation: Invocation): Promise<number> {
  const { io, json } = invocation;
  return withPeer(invocation, async (asking) => {
    const found = await inTime(invocation, asking, (signal) => asking.service.status(asking.inGroup, signal));
    const problems = ailmentsOf(found);
    const ok = problems.length === 0;
    const lines = problems.map(({ group, message }) => `${shortId(group)}  ${printableLine(message)}`);
    await io.out(json ? jsonLine({ ok, problems }) : page(ok ? ['All is well.'] : lines));
    return ok ? EXIT.done : EXIT.notCommitted;
  });
}

export async function members(invocation: Invocation): Promise<number> {
  const { io, json } = invocation;
  return withPeer(invocation, async (asking) => {
    const found = await inTime(invocation, asking, (signal) => asking.service.members(asking.inGroup, signal));
    const text = json ? found.map(jsonLine).join('') : page(memberTable(found, null));
    await io.out(text);
    return EXIT.done;
  });
}

export async function barrier(invocation: Invocation): Promise<number> {
  const { args, io, json } = invocation;
  const timeoutMs = args.duration('timeout', 30_000);
  return withPeer(invocation, async (asking) => {
    const params = { ...asking.inGroup, timeoutMs };
    const { position, slot, digest } = await answered(asking, timeoutMs, (signal) =>
      asking.service.barrier(params, signal),
    );
    await io.out(
      json
        ? jsonLine({ position, slot, digest })
        : `Everything agreed before now is here: up to #${position} (slot ${slot}, digest ${digest.slice(0, 12)}).\n`,
    );
    return EXIT.done;
  });
}

function statusPage({ peer, name, groups, broken = [] }: PeerStatus): string {
  const lines = [`${printableLine(name)}  (${shortPeer(peer)})`];
  for (const { group, message } of broken)
    lines.push('', `${shortId(group)}  can't be opened: ${printableLine(message)}`);
  if (groups.length === 0 && broken.length === 0) {
    lines.push('', 'In no log yet. Start one with: synod create TITLE, or join one with: synod join TICKET');
  }
  for (const group of groups) lines.push('', ...groupLines(group, peer));
  return page(lines);
}

/** The one exception to places that never change. */
function recoveredLines({ recovered }: GroupStatus): string[] {
  if (recovered === undefined) return [];
  const { slot, lossless, aside } = recovered;
  return [
    ...(slot !== null && lossless === false
      ? [
          `Went on after slot ${grouped(slot)} by a forced recovery: later positions may be others on machines that were given up.`,
        ]
      : []),
    ...aside.map((path) => `An older log of this machine, which the others went on without, is kept in ${path}`),
  ];
}

/** Where it is what keeps the group from committing here, it stands there as the reason. */
function mendingLines({ mending, why }: GroupStatus): string[] {
  return mending === undefined || why === mending.text ? [] : [mending.text];
}

function previewLines({ preview }: GroupStatus): string[] {
  if (preview === undefined) return [];
  const { here, positions } = preview;
  if (here >= positions) return [`All ${grouped(positions)} entries of the log are here and are being verified.`];
  return [
    `The log is on its way, the newest entries first: ${grouped(here)} of ${grouped(positions)} can be read, not verified yet.`,
  ];
}

function awayLines({ members }: GroupStatus, self: string): string[] {
  const own = members.find(({ peer }) => peer === self);
  if (own?.away === undefined) return [];
  return [
    `This machine said that it goes away${untilWhen(own.away)}. "synod away --back", or its next start, ends that.`,
  ];
}

const awayWords = ({ away, connected }: MemberStatus): string =>
  away === undefined ? '' : `${connected ? 'going away' : 'away'}${untilWhen(away)}`;

const untilWhen = ({ until }: { readonly until: string | null }): string =>
  until === null ? '' : ` until ${localTime(until, new Date())}`;

function groupLines(group: GroupStatus, peer: string): string[] {
  const { voters, reachable, phase2 } = group.quorum;
  const isSplit = group.whyCode === 'SPLIT';
  const isWell = group.canCommit && !isSplit;
  const machines = voters === 1 ? '1 machine decides' : `${voters} machines decide, ${phase2} are enough`;
  const standing = isWell
    ? `All well: ${machines}, ${reachable} here.`
    : `${isSplit ? 'Split' : 'Waiting'}: ${printableLine(group.why ?? `${machines}, ${reachable} here.`)}`;
  const pending = group.pending === 0 ? 'nothing waits' : `${grouped(group.pending)} not agreed yet`;
  const held =
    group.role === 'witness'
      ? `This machine is a witness: it votes and keeps no entries. What it knows of the members is as of slot ${grouped(group.applied)}.`
      : `${grouped(group.positions)} ${group.positions === 1 ? 'entry' : 'entries'} agreed, ${pending}.`;
  return [
    `${printableLine(group.title)}  (${shortId(group.group)})`,
    `  ${standing}`,
    `  ${held}`,
    ...awayLines(group, peer).map((line) => `  ${line}`),
    ...mendingLines(group).map((line) => `  ${printableLine(line)}`),
    ...previewLines(group).map((line) => `  ${line}`),
    ...(isWell && group.why !== null ? [`  ${printableLine(group.why)}`] : []),
    ...votingLines(group.voting).map((line) => `  ${printableLine(line)}`),
    ...recoveredLines(group).map((line) => `  ${printableLine(line)}`),
    ...memberTable(group.members, group.leader).map((line) => `  ${line}`),
  ];
}

function votingLines({ summary, next }: VotingStatus): string[] {
  if (next === null) return [summary];
  const waits = next.waitsFor === null ? '' : ` It waits: ${next.waitsFor}.`;
  return [summary, `Next: ${next.why}${waits}`];
}

const ROLES = { voter: 'votes', learner: 'holds all', witness: 'witness' } as const;

function memberTable(list: readonly MemberStatus[], leader: string | null): string[] {
  const now = new Date();
  return table(
    list.map((member) => [
      member.connected ? '●' : '○',
      printableLine(member.name),
      member.split ? 'another log' : member.peer === leader ? 'leads' : ROLES[member.role],
      member.rights,
      shortPeer(member.peer),
      member.connected
        ? 'here'
        : member.lastSeen === null
          ? 'not seen yet'
          : `since ${localTime(member.lastSeen, now)}`,
      member.removing ? 'being removed' : awayWords(member),
    ]),
  );
}

const page = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join('');
