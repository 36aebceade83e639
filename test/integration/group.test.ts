// A group that is well: writing, reading, editing, and who decides in it.
import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { LogLine } from '../../shared/ipc/contract.ts';
import {
  enter,
  leaderOf,
  type Peer,
  textsOf,
  until,
  untilAgreed,
  untilStatus,
  worldForAll,
  worldForEach,
} from './harness.ts';

describe('three voters', () => {
  const world = worldForAll();
  let peers: [Peer, Peer, Peer];
  let ana: Peer;
  let ben: Peer;
  let cleo: Peer;
  /** Positions before the test. */
  const positions = async (): Promise<number> => (await untilAgreed(...peers)).positions;

  test('come together by invitations', async () => {
    peers = await world.group('Ana', 'Ben', 'Cleo');
    [ana, ben, cleo] = peers;
    const { members, ...status } = await ben.status();
    expect(status).toMatchObject({
      title: 'Log',
      role: 'voter',
      rights: 'writer',
      canCommit: true,
      why: null,
      whyCode: null,
      pending: 0,
      quorum: { phase1: 2, phase2: 2, voters: 3, reachable: 3 },
    });
    expect(status.ballot[1]).toBe(status.leader);
    const found = members.map(({ name, role, rights, connected }) => [name, role, rights, connected]);
    expect(found.toSorted()).toEqual([
      ['Ana', 'voter', 'keeper', true],
      ['Ben', 'voter', 'writer', true],
      ['Cleo', 'voter', 'writer', true],
    ]);
    // `members` is the list of `status`; what it measures may have moved.
    const listed = await ben.does('members');
    expect(listed.map(({ peer }) => peer)).toEqual(members.map(({ peer }) => peer));
    expect(Object.keys(listed[0])).toEqual(Object.keys(members[0] as object));
  });

  test.skipIf(process.platform === 'win32')('keep what is on their disks from other users of the machine', () => {
    const paths = readdirSync(ana.dir, { recursive: true, encoding: 'utf8' });
    expect(paths.filter((path) => /\.(log|ldb)$/.test(path))).not.toEqual([]);
    for (const path of paths) expect([path, statSync(join(ana.dir, path)).mode & 0o077]).toEqual([path, 0]);
  });

  test('have the same log, whoever wrote', async () => {
    const at = await positions();
    for (const [n, peer] of peers.entries()) {
      const [answer] = await peer.does('append', `entry ${n}`);
      expect(answer).toEqual({
        id: expect.stringMatching(/^e[a-z2-7]{25}$/),
        status: 'committed',
        position: at + n + 1,
        slot: expect.any(Number),
        why: null,
        whyCode: null,
      });
    }
    await untilAgreed(...peers);
    const [first, ...others] = await Promise.all(peers.map(async (peer) => (await peer.synod('log')).out));
    for (const other of others) expect(other).toBe(first);
    const [last] = await cleo.log('--limit', '1');
    expect(last).toMatchObject({ author: cleo.id, name: 'Cleo', writer: 'Cleo', revision: 1, removed: false });
    expect(last?.time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d:\d\d|Z)$/);
    expect(last?.placed).toMatch(/Z$/);
  });

  test('keep every letter, of any script', async () => {
    await positions();
    const texts = [
      'ÅÄÖ ½ “quoted” — dash',
      'Ω ≈ ç √ ∫',
      '日本語 한국어 العربية',
      '👩🏽‍🚀🏳️‍🌈',
      'e\u0301 is not é',
      '-- dashes',
      ' spaces  ',
      'tab\tand "quotes" \\n',
    ];
    for (const text of texts) await ben.does('append', '--wait', 'saved', '--', text);
    await untilAgreed(...peers);
    expect(textsOf(await cleo.log('--limit', String(texts.length)))).toEqual(texts);
    await ben.launch(['append', '-'], 'dos\r\nold mac\rend\r\n').ended;
    expect(textsOf(await ben.log('--limit', '1'))).toEqual(['dos\nold mac\nend']);
  });

  test('take an entry from standard input, and many by --lines', async () => {
    const at = await positions();
    expect((await ana.launch(['append', '-'], 'two\nlines\n').ended).lines).toMatchObject([{ position: at + 1 }]);
    const lines = Array.from({ length: 600 }, (_, n) => `line ${n}`);
    const many = await ben.launch(['append', '--lines', '-'], `${lines.join('\n\n')}\n`).ended;
    expect(many.code).toBe(0);
    expect(many.lines.map(({ position, status }) => [position, status])).toEqual(
      lines.map((_, n) => [at + 2 + n, 'committed']),
    );
    await untilAgreed(...peers);
    expect(textsOf(await cleo.log('--since', String(at)))).toEqual(['two\nlines', ...lines]);
  });

  test('write under another name with --as', async () => {
    await ana.does('append', '--as', 'CDR', 'Stand by.');
    expect(await ana.log('--limit', '1')).toMatchObject([{ writer: 'CDR', name: 'Ana', author: ana.id }]);
  });

  test('the same key of the same machine is the same entry', async () => {
    const at = await positions();
    const [first] = await ana.does('append', '--key', 'k', 'text');
    expect(await ana.does('append', '--key', 'k', 'text')).toEqual([first]);
    const other = await ana.synod('append', '--key', 'k', 'other text');
    expect(other).toMatchObject({ code: 1, lines: [], error: 'KEY_REUSED' });
    const [elsewhere] = await ben.does('append', '--key', 'k', 'text');
    expect(elsewhere.id).not.toBe(first.id);
    expect(await positions()).toBe(at + 2);
  });

  test('an import is idempotent', async () => {
    const at = await positions();
    const file = join(ana.dir, 'import.jsonl');
    const speech = [
      { who: 'CC', what: 'Roger.' },
      { who: 'CDR', what: 'Okay.' },
      { who: 'CC', what: 'Roger.' },
    ];
    writeFileSync(file, speech.map((line) => `${JSON.stringify(line)}\n`).join(''));
    const run = ['import', '--writer-field', 'who', '--text-field', 'what', file];
    expect(await ana.does(...run)).toEqual([{ imported: 3, skipped: 0, failed: 0 }]);
    expect(await ana.does(...run)).toEqual([{ imported: 0, skipped: 3, failed: 0 }]);
    writeFileSync(
      file,
      `${speech.map((line) => JSON.stringify(line)).join('\n')}\nnot json\n{"who":"LMP","what":"New."}\n`,
    );
    const third = await ana.synod(...run);
    expect(third).toMatchObject({ code: 1, lines: [{ imported: 1, skipped: 3, failed: 1 }], error: 'BAD_LINE' });
    expect(third.err).toContain('Line 4');
    await untilAgreed(...peers);
    const log = await ben.log('--since', String(at));
    expect(log.map(({ writer, text }) => [writer, text])).toEqual([
      ['CC', 'Roger.'],
      ['CDR', 'Okay.'],
      ['CC', 'Roger.'],
      ['LMP', 'New.'],
    ]);
  });

  test('an entry is edited, removed and restored, for all', async () => {
    const [{ id, position }] = (await ana.does('append', 'first wording')) as [{ id: string; position: number }];
    await untilAgreed(...peers);
    expect(await ben.does('edit', id, 'second wording')).toMatchObject([
      { id, position, revision: 2, status: 'committed' },
    ]);
    expect(await cleo.does('remove', String(position))).toMatchObject([{ id, position, status: 'committed' }]);
    await untilAgreed(...peers);
    expect(await ana.log('--limit', '1')).toMatchObject([{ id, position, text: null, removed: true }]);
    expect(await ana.does('restore', id.slice(0, 12))).toMatchObject([{ id, position, status: 'committed' }]);
    await untilAgreed(...peers);
    expect(await cleo.log('--limit', '1')).toMatchObject([{ text: 'second wording', removed: false }]);
    await cleo.does('restore', '--revision', '1', id);
    await untilAgreed(...peers);
    for (const peer of peers) {
      expect(await peer.log('--limit', '1')).toMatchObject([{ id, position, text: 'first wording', author: ana.id }]);
      const history = await peer.does('history', id);
      expect(history.map(({ author, text, removed }) => [author, text, removed])).toEqual([
        [ana.id, 'first wording', false],
        [ben.id, 'second wording', false],
        [cleo.id, null, true],
        [ana.id, 'second wording', false],
        [cleo.id, 'first wording', false],
      ]);
    }
  });

  test('what can not be done to an entry is said', async () => {
    const { positions: last } = await untilAgreed(...peers);
    expect(await ana.synod('edit', String(last + 1), 'x')).toMatchObject({ code: 1, error: 'ENTRY_NOT_FOUND' });
    expect(await ana.synod('edit', 'e2222222', 'x')).toMatchObject({ code: 1, error: 'ENTRY_NOT_FOUND' });
    expect(await ana.synod('edit', 'e', 'x')).toMatchObject({ code: 1, error: 'ENTRY_AMBIGUOUS' });
    expect(await ana.synod('restore', String(last))).toMatchObject({ code: 1, error: 'REFUSED_NOT_REMOVED' });
    expect(await ana.synod('restore', '--revision', '99', String(last))).toMatchObject({ error: 'REVISION_NOT_FOUND' });
    expect(await ana.synod('append', '')).toMatchObject({ code: 1, error: 'TEXT_EMPTY' });
    expect((await ana.launch(['append', '-'], 'x'.repeat(1024 * 1024 + 1)).ended).error).toBe('TEXT_TOO_LONG');
    expect((await ana.launch(['append', '-'], 'y'.repeat(1024 * 1024)).ended).lines).toMatchObject([
      { status: 'committed' },
    ]);
  });

  test('a barrier has all that was committed before it', async () => {
    for (let n = 0; n < 20; n++) {
      const [writer, reader] = [peers[n % 3] as Peer, peers[(n + 1) % 3] as Peer];
      const [{ position }] = (await writer.does('append', `tick ${n}`)) as [{ position: number }];
      const [barrier] = await reader.does('barrier');
      expect(barrier.position).toBeGreaterThanOrEqual(position);
      expect(textsOf(await reader.log('--since', String(position - 1), '--limit', '1'))).toEqual([`tick ${n}`]);
      expect(Object.keys(barrier)).toEqual(['position', 'slot', 'digest']);
    }
  });

  test('the log is read in parts', async () => {
    const all = await ben.log();
    const numbers = (log: LogLine[]): (number | null)[] => log.map(({ position }) => position);
    expect(numbers(all)).toEqual(all.map((_, at) => at + 1));
    expect(numbers(await ben.log('--limit', '3'))).toEqual(numbers(all.slice(-3)));
    expect(numbers(await ben.log('--since', '5', '--limit', '2'))).toEqual([6, 7]);
    const slot = all[9]?.slot ?? 0;
    const after = all.filter((line) => (line.slot ?? 0) > slot);
    expect(numbers(await ben.log('--after-slot', String(slot)))).toEqual(numbers(after));
  });

  test('following prints what is new, and again what changes', async () => {
    const at = await positions();
    const follower = cleo.launch(['log', '--follow', '--since', String(at - 1)]);
    const seen = (): LogLine[] => follower.lines as LogLine[];
    await until('the last entry is printed', () => seen().length === 1);
    const [{ id }] = (await ana.does('append', 'fresh')) as [{ id: string }];
    await until('the new entry is printed', () => seen().some((line) => line.id === id && line.text === 'fresh'));
    await ben.does('edit', id, 'fresher');
    await until('it is printed again', () => seen().at(-1)?.text === 'fresher');
    await ana.does('remove', id);
    await until('its removal is printed', () => seen().at(-1)?.removed);
    expect(seen().at(-1)).toMatchObject({ id, position: at + 1, text: null });
    follower.child.kill('SIGINT');
    expect(await follower.ended).toMatchObject({ code: 0, err: '' });
  });

  test('edits of one entry at the same moment end the same everywhere', async () => {
    const [{ id }] = (await ana.does('append', 'alpha beta gamma')) as [{ id: string }];
    await untilAgreed(...peers);
    await Promise.all([
      ana.does('edit', id, 'ALPHA beta gamma'),
      ben.does('edit', id, 'alpha beta GAMMA'),
      cleo.does('edit', id, 'alpha BETA gamma'),
    ]);
    await untilAgreed(...peers);
    const texts = await Promise.all(peers.map(async (peer) => textsOf(await peer.log('--limit', '1'))));
    expect(texts).toEqual([texts[0], texts[0], texts[0]]);
    const written = (await ana.does('history', id)).map(({ author }) => author);
    expect(written.toSorted()).toEqual([ana.id, ana.id, ben.id, cleo.id].toSorted());
  });

  test('leave a sound store behind', async () => {
    const { digest } = await untilAgreed(...peers);
    for (const peer of peers) {
      await peer.stop();
      expect(await peer.does('verify')).toMatchObject([{ ok: true, problems: [] }]);
      await peer.start();
    }
    expect((await untilAgreed(...peers)).digest).toBeDefined();
    expect((await ana.does('barrier'))[0].digest).toMatch(/^[0-9a-f]{64}$/);
    expect(digest).toMatch(/^[0-9a-f]{64}$/);
  });
});

describe('members', () => {
  const world = worldForEach();

  test('a learner joins, reads everything, and what it writes is committed', async () => {
    const [ana, ben] = await world().group('Ana', 'Ben', 'Cleo');
    const texts = Array.from({ length: 1_000 }, (_, n) => `earlier ${n}`);
    await ana.launch(['append', '--lines', '-'], texts.join('\n')).ended;
    const dora = await world().start('Dora');
    expect(await enter(dora, ana, '--role', 'learner')).toMatchObject({ role: 'learner' });
    await untilAgreed(ana, ben, dora);
    expect(textsOf(await dora.log())).toEqual(texts);
    expect(await dora.does('append', 'by the learner')).toMatchObject([{ status: 'committed', position: 1_001 }]);
    expect(await dora.status()).toMatchObject({ role: 'learner', rights: 'writer', quorum: { voters: 3 } });
    await untilAgreed(ana, ben, dora);
    expect(textsOf(await ben.log('--limit', '1'))).toEqual(['by the learner']);
  });

  test('voters are made and unmade, and it is in force when it is said', async () => {
    const ana = await world().start('Ana');
    await ana.does('create', 'Log');
    const [ben, cleo] = [await world().start('Ben'), await world().start('Cleo')];
    await enter(ben, ana, '--role', 'learner');
    await enter(cleo, ana, '--role', 'learner');
    const voters = async (peer: Peer): Promise<string[]> =>
      (await peer.status()).members
        .filter(({ role }) => role === 'voter')
        .map(({ name }) => name)
        .sort();
    expect(await voters(ana)).toEqual(['Ana']);
    expect(await ana.synod('demote', 'Ana')).toMatchObject({ code: 1, error: 'LAST_VOTER' });
    expect(await ana.synod('promote', 'Nobody')).toMatchObject({ code: 1, error: 'MEMBER_NOT_FOUND' });

    expect(await ana.does('promote', 'Ben')).toEqual([{ peer: ben.id, role: 'voter' }]);
    expect(await voters(ana)).toEqual(['Ana', 'Ben']);
    expect(await ana.does('promote', cleo.id.replace('12D3KooW', '').slice(0, 12))).toEqual([
      { peer: cleo.id, role: 'voter' },
    ]);
    expect(await voters(ana)).toEqual(['Ana', 'Ben', 'Cleo']);
    // In force: two of three decide without the third.
    await cleo.kill();
    expect(await ben.does('append', 'two of three')).toMatchObject([{ status: 'committed' }]);
    await cleo.start();
    await untilAgreed(ana, ben, cleo);

    expect(await ana.does('demote', 'Cleo')).toEqual([{ peer: cleo.id, role: 'learner' }]);
    expect(await voters(ana)).toEqual(['Ana', 'Ben']);
    await untilStatus(cleo, 'is a learner', ({ role }) => role === 'learner');
    // In force: now both are needed.
    await cleo.kill();
    expect(await ana.does('append', 'both of two')).toMatchObject([{ status: 'committed' }]);
    await ben.kill();
    expect(await ana.does('append', '--timeout', '500ms', 'one of two')).toMatchObject([{ status: 'saved' }]);
    await ben.start();
    await untilAgreed(ana, ben);
    expect(textsOf(await ben.log('--limit', '1'))).toEqual(['one of two']);
  });

  test('the leader itself can stop voting', async () => {
    const peers = await world().group('Ana', 'Ben', 'Cleo');
    const leader = await leaderOf(peers);
    const [ana] = peers;
    expect(await ana.does('demote', leader.id)).toEqual([{ peer: leader.id, role: 'learner' }]);
    const others = peers.filter((peer) => peer !== leader);
    const status = await untilStatus(
      others[0] as Peer,
      'another one leads',
      (s) => s.leader !== null && s.leader !== leader.id,
    );
    expect(status.quorum.voters).toBe(2);
    expect(await leader.does('append', 'still a writer')).toMatchObject([{ status: 'committed' }]);
    await untilAgreed(...peers);
  });

  test('several groups in one peer keep to themselves', async () => {
    const [ana, ben] = await Promise.all([world().start('Ana'), world().start('Ben')]);
    const groups: string[] = [];
    for (const title of ['Bridge', 'Engine room']) {
      const [{ group }] = (await ana.does('create', title)) as [{ group: string }];
      groups.push(group);
      const [{ ticket }] = (await ana.does('invite', '--group', title, '--role', 'learner')) as [{ ticket: string }];
      expect(await ben.does('join', ticket)).toMatchObject([{ group }]);
    }
    expect(await ana.synod('append', 'where to?')).toMatchObject({ code: 2, error: 'GROUP_NEEDED' });
    expect(await ana.synod('log', '--group', 'Galley')).toMatchObject({ code: 1, error: 'GROUP_NOT_FOUND' });
    await ana.does('append', '--group', 'Bridge', 'course 270');
    await ben.does('append', '--group', 'Engine room', '--timeout', '60s', 'full ahead');
    await ben.does('append', '--group', groups[0] as string, '--timeout', '60s', 'aye');
    await ben.kill();
    await ben.start();
    for (const peer of [ana, ben]) {
      for (const [title, texts] of [
        ['Bridge', ['course 270', 'aye']],
        ['Engine room', ['full ahead']],
      ] as const) {
        await until(`${peer.name} has ${title}`, async () => {
          const log = await peer.log('--group', title);
          return log.length === texts.length && textsOf(log).join() === texts.join();
        });
      }
    }
  });
});
