/**
 * Every kind of file of a stopped peer, damaged in every way, one by one. The peers are in a group for each case, so that one start of the damaged peer
 * shows all of them: what harms one group harms no other.
 */
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { CommittedLine, GroupStatus, LogLine, PeerStatus } from '../../../shared/ipc/contract.ts';
import { never, type Peer, until, worldForAll } from '../harness.ts';
import { type DamageCase, groupCases } from './damage.ts';

const WAIT_MS = 80_000;
/** Groups that are made at once: not more than a door lets in. */
const AT_ONCE = 4;

/** What became of a damaged group on the machine. */
type Outcome = 'whole' | 'set aside';

interface Case extends DamageCase {
  readonly title: string;
  group: string;
  outcome: Outcome | null;
  words: string;
}

const cases: Case[] = groupCases.map((each, at) => {
  return { ...each, apply: each.apply, title: `case ${at}`, group: '', outcome: null, words: '' };
});

const world = worldForAll();
let peers: [Peer, Peer, Peer];
/** By group, what was acknowledged as committed, by its author. */
const acknowledged = new Map<string, { author: string; text: string; position: number }[]>();

const UNSENT = 'saved by Cleo alone';

async function statusOf(peer: Peer): Promise<PeerStatus> {
  return (await peer.service()).status({}, never);
}

async function groupsOf(peer: Peer): Promise<Map<string, GroupStatus>> {
  return new Map((await statusOf(peer)).groups.map((group) => [group.group, group]));
}

async function linesOf(peer: Peer, group: string, pending = false): Promise<LogLine[]> {
  const lines: LogLine[] = [];
  for await (const line of (await peer.service()).log({ group, follow: false, pending }, never)) lines.push(line);
  return lines;
}

async function write(peer: Peer, group: string, text: string): Promise<void> {
  const params = { group, text, wait: 'committed', timeoutMs: WAIT_MS } as const;
  const { position } = await (await peer.service()).append(params, never);
  if (position === null) throw new Error(`${peer.name} could not commit in ${group}`);
  acknowledged.get(group)?.push({ author: peer.id, text, position });
}

async function found(each: Case): Promise<void> {
  const [ana, ...others] = peers;
  const service = await ana.service();
  each.group = (await service.create({ title: each.title }, never)).group;
  acknowledged.set(each.group, []);
  for (const other of others) {
    const invitation = { group: each.group, rights: 'writer', role: 'voter', expiresMs: 3_600_000 } as const;
    const { ticket } = await service.invite({ ...invitation, timeoutMs: WAIT_MS }, never);
    for await (const _event of (await other.service()).join({ ticket, timeoutMs: WAIT_MS }, never));
  }
}

/** So many at once. */
async function pooled<Item>(items: readonly Item[], work: (item: Item) => Promise<void>): Promise<void> {
  const left = [...items];
  const worker = async (): Promise<void> => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) await work(next);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

async function untilAllVote(of: readonly Peer[], voters: number, among: readonly Case[]): Promise<void> {
  await until(`${among.length} groups are whole`, async () => {
    const all = await Promise.all(of.map(groupsOf));
    return among.every(({ group }) =>
      all.every((groups) => {
        const status = groups.get(group);
        return status?.canCommit && status.quorum.voters === voters;
      }),
    );
  });
}

beforeAll(async () => {
  peers = [await world.start('Ana'), await world.start('Ben'), await world.start('Cleo')];
  const [ana, ben, cleo] = peers;
  await pooled(cases, found);
  await untilAllVote(peers, 3, cases);
  await pooled(cases, async ({ group }) => {
    for (const peer of peers) await write(peer, group, `early of ${peer.name}`);
  });
  // What was in the write-ahead file is in a table after a start.
  await cleo.stop();
  await cleo.start();
  await untilAllVote(peers, 3, cases);
  await pooled(cases, async ({ group }) => {
    for (const peer of peers) await write(peer, group, `late of ${peer.name}`);
  });
  await Promise.all([ana.stop(), ben.stop()]);
  const service = await cleo.service();
  await pooled(cases, async ({ group }) => {
    const params = { group, text: UNSENT, wait: 'saved', timeoutMs: WAIT_MS } as const;
    expect(await service.append(params, never)).toMatchObject({ status: 'saved' });
  });
  await cleo.stop();
  for (const each of cases) each.apply(join(cleo.dir, 'groups', each.group));
  await Promise.all([ana.start(), ben.start()]);
  await pooled(cases, ({ group }) => write(ana, group, 'while Cleo is away'));
  await cleo.start();
}, 240_000);

/** Settled: it has what the others have, or says why it has nothing. */
function outcomeOf(each: Case, own: PeerStatus, others: Map<string, GroupStatus>): Outcome | null {
  const broken = own.broken?.find(({ group }) => group === each.group);
  if (broken !== undefined) {
    each.words = `${broken.code}: ${broken.message}`;
    return broken.code === 'DAMAGED' ? 'set aside' : null;
  }
  const status = own.groups.find(({ group }) => group === each.group);
  const other = others.get(each.group);
  if (status === undefined || other === undefined || status.applied !== other.applied) return null;
  expect([status.digest, status.state]).toEqual([other.digest, other.state]);
  if (status.whyCode === 'DAMAGED') {
    each.words = status.why ?? '';
    return null;
  }
  return status.canCommit && status.role === 'voter' ? 'whole' : null;
}

/** It said that this group's store is damaged. */
const wasTold = ({ group }: Case): boolean =>
  peers[2].stderr.split('\n').some((line) => line.includes(`"group":"${group}"`) && line.includes('damaged'));

describe(`${cases.length} ways to damage a file of a group`, () => {
  test('the peer runs, and each group goes on or says what is wrong', async () => {
    const [ana, , cleo] = peers;
    await until('all of them are settled', async () => {
      const [own, others] = [await statusOf(cleo), await groupsOf(ana)];
      for (const each of cases) each.outcome = outcomeOf(each, own, others);
      return cases.every(({ outcome }) => outcome !== null);
    }).finally(() => {
      for (const { file, damage, outcome, words } of cases) {
        console.log(`${file.padEnd(22)}${damage.padEnd(24)}${(outcome ?? 'not settled').padEnd(26)}${words}`);
      }
    });
    for (const { outcome, words, file, damage } of cases) {
      if (outcome !== 'whole') expect(words, `${file}, ${damage}`).toMatch(/damaged|can't be|missing/);
    }
    // It was asked for damage: it says so as an error, and that is all that it has to complain of.
    const complaints = cleo.troubles.splice(0);
    expect(
      complaints.filter(
        (line) =>
          !/"message":"(this copy (is|was) damaged|this copy (could|does) not|the database is damaged|.*can't be)/.test(
            line,
          ),
      ),
    ).toEqual([]);
  });

  test('what is no part of the record harms nothing', () => {
    const harmless = cases.filter(({ file }) => ['ballast', 'LOCK'].includes(file));
    expect(harmless.map(({ outcome }) => outcome)).toEqual(harmless.map(() => 'whole'));
  });

  test('a mark, or a write-ahead file, that is gone is told of, whatever becomes of the store', () => {
    const noticed = cases.filter(({ file, damage }) => {
      return ['mark', 'the write-ahead file'].includes(file) && /nothing|removed/.test(damage);
    });
    expect(noticed.map(wasTold)).toEqual([true, true, true, true]);
  });

  test('the two others commit in every group', async () => {
    const [ana, ben] = peers;
    await pooled(cases, async ({ group }) => {
      await write(ben, group, 'with a damaged one, by Ben');
      await write(ana, group, 'with a damaged one, by Ana');
    });
  });

  test('nothing that was agreed on is lost, doubled or moved; what was only saved is kept, or its damage is told', async () => {
    const [ana, ben, cleo] = peers;
    const lost: string[] = [];
    await pooled(cases, async (each) => {
      const { group, file, damage, outcome, mayLoseSaved } = each;
      const logs = await Promise.all([linesOf(ana, group), linesOf(ben, group)]);
      expect(logs[1]).toEqual(logs[0]);
      const log = logs[0] as CommittedLine[];
      const wanted = acknowledged.get(group) ?? [];
      for (const { author, text, position } of wanted) {
        const there = log.filter((line) => line.text === text && line.author === author);
        expect(
          there.map((line) => line.position),
          `${file}, ${damage}: ${text}`,
        ).toEqual([position]);
      }
      if (outcome !== 'set aside') {
        await until('it reads the same', async () => {
          const own = (await linesOf(cleo, group)).length;
          return own === (await linesOf(ana, group)).length;
        });
      }
      const agreed = (await linesOf(ana, group)).filter(({ text }) => text === UNSENT).length;
      expect(agreed).toBeLessThanOrEqual(1);
      const own = outcome === 'set aside' ? [] : await linesOf(cleo, group, true);
      const isKept = agreed === 1 || own.some(({ text }) => text === UNSENT);
      if (!isKept) lost.push(`${file}, ${damage}`);
      if (!isKept) expect([mayLoseSaved, wasTold(each)], `${file}, ${damage}`).toEqual([true, true]);
    });
    console.log(`saved here alone, and gone with the file that held it: ${lost.toSorted().join('; ') || 'nothing'}`);
  });

  test('verify says the same as the peer did', async () => {
    const [, , cleo] = peers;
    const last = await groupsOf(cleo);
    expect(await cleo.stop()).toBe(0);
    const { code, lines } = await cleo.synod('verify');
    const problems = lines[0].problems as { message: string }[];
    for (const each of cases) {
      const isNamed = problems.some(({ message }) => message.startsWith(each.group));
      const what = `${each.file}, ${each.damage}`;
      if (!wasTold(each)) expect(isNamed, what).toBe(false);
      else if (last.get(each.group)?.whyCode === 'DAMAGED') expect(isNamed, what).toBe(true);
    }
    expect(code).toBe(problems.length === 0 ? 0 : 5);
  });
});
