import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import type { GroupStatus, MemberStatus } from '../../shared/ipc/contract.ts';
import { FakeService, group as groupStatus, PEER } from '../ipc/fake-service.ts';
import { synod } from './harness.ts';

let service: FakeService;
beforeEach(() => {
  service = new FakeService();
});

describe('a log that is made anew after damage', () => {
  const text = 'Part of the disk was damaged. Ben has to return.';
  const standsAs = (entries: boolean, why: string | null = null): void => {
    const mending = { entries, upTo: 500, missing: 12, from: [], text };
    service.status = async () => ({ peer: PEER, name: 'NAS', groups: [{ ...groupStatus(), why, mending }] });
  };

  test('is called not whole on standard error, beside what of it is here', async () => {
    standsAs(true);
    const { code, out, err } = await synod(['log'], { service });
    expect({ code, err }).toEqual({ code: 0, err: `This log is not whole yet. ${text}\n` });
    expect(out).toContain('line 1');
    const json = await synod(['log', '--json'], { service });
    expect(JSON.parse(json.err)).toEqual({ event: 'incomplete', message: text });
    expect(json.objects).toHaveLength(3);
    const follow = await synod(['log', '--follow', '--timeout', '20ms'], { service });
    expect(follow.err).toBe(`This log is not whole yet. ${text}\n`);
  });

  test('and not where every entry is here', async () => {
    standsAs(false);
    expect((await synod(['log'], { service })).err).toBe('');
  });

  test('status says it once', async () => {
    for (const why of [null, text, 'Needs 2 of 3 voters.']) {
      standsAs(true, why);
      const { out } = await synod(['status'], { service });
      expect(out.split(text)).toHaveLength(2);
    }
  });
});

test('status says how much of a snapshot can be read, and at its end that it is being verified', async () => {
  const said = async (here: number): Promise<string> => {
    const preview = { slot: 90, positions: 1930, here };
    service.status = async () => ({ peer: PEER, name: 'NAS', groups: [{ ...groupStatus(), preview }] });
    return (await synod(['status'], { service })).out;
  };
  expect(await said(412)).toContain('412 of 1\u2009930 can be read, not verified yet.');
  expect(await said(1930)).toContain('All 1\u2009930 entries of the log are here and are being verified.');
});

describe('a witness', () => {
  const standsAs = (role: GroupStatus['role']): void => {
    service.status = async () => ({
      peer: PEER,
      name: 'NAS',
      groups: [{ ...groupStatus(), role, positions: 0, applied: 7 }],
    });
  };

  test('status says that it keeps no entries, and how old its list of members is', async () => {
    standsAs('witness');
    const { out } = await synod(['status'], { service });
    expect(out).toContain('it votes and keeps no entries. What it knows of the members is as of slot 7.');
    expect(out).not.toContain('0 entries agreed');
    standsAs('voter');
    expect((await synod(['status'], { service })).out).toContain('0 entries agreed');
  });

  test.each<[string[]]>([[['log', '--limit', '0']], [['log', '--limit', '0', '--follow', '--timeout', '20ms']]])(
    'an empty %j has its reason on standard error',
    async (args) => {
      standsAs('witness');
      expect(await synod(args, { service })).toMatchObject({
        code: 0,
        out: '',
        err: expect.stringMatching(/is a witness/),
      });
      standsAs('learner');
      expect(await synod(args, { service })).toMatchObject({ code: 0, out: '', err: '' });
    },
  );

  test('quorum counts that one that can lead has to be left', async () => {
    service.quorum = async () => ({
      voters: 3,
      phase1: 2,
      phase2: 2,
      witnesses: 2,
      survives: { writing: 0, electing: 0 },
      pinned: false,
    });
    const { out } = await synod(['quorum'], { service });
    expect(out).toMatch(/2 {8}2 {8}none +none +now\n/);
    expect(out).toMatch(/2 of them are witnesses, and never lead: of the others one has to be here/);
  });
});

test('who goes away and who is being removed is told in words', async () => {
  const [own, other] = groupStatus().members as [MemberStatus, MemberStatus];
  const { away: _away, ...stays } = other;
  const members = [
    { ...own, away: { until: null } },
    { ...stays, removing: true as const },
  ];
  service.status = async () => ({ peer: PEER, name: 'Ana', groups: [{ ...groupStatus(), members }] });
  service.members = async () => members;
  const { out } = await synod(['status'], { service });
  expect(out).toContain('This machine said that it goes away. "synod away --back"');
  const listed = (await synod(['members'], { service })).out.split('\n');
  expect(listed[0]).toMatch(/here +going away$/);
  expect(listed[1]).toMatch(/being removed$/);
});

describe('a file in a bad place', () => {
  test('is named, nothing is left behind, and it is no fault of the program', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'synod-out-'));
    try {
      await writeFile(join(dir, 'file'), '');
      const exported = (name: string): ReturnType<typeof synod> =>
        synod(['outbox', '--export', join(dir, name), '--json'], { service });
      const missing = await exported('none/out');
      expect(missing.code).toBe(1);
      expect(JSON.parse(missing.err)).toMatchObject({
        error: 'FILE_UNWRITABLE',
        message: expect.stringContaining(`there is no directory ${join(dir, 'none')}`),
      });
      expect(JSON.parse((await exported('file/out')).err).error).toBe('FILE_UNWRITABLE');
      expect(JSON.parse((await exported('.')).err)).toMatchObject({
        error: 'FILE_EXISTS',
        message: expect.stringContaining('is a directory'),
      });
      expect(await readdir(dir)).toEqual(['file']);
    } finally {
      await rm(dir, { recursive: true });
    }
  });
});
