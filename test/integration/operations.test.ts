// A headless peer as an operator meets it: its log, its metrics, its health, and the codes that it ends with.
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ClassicLevel } from 'classic-level';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { toHex } from '../../shared/base/bytes.ts';
import { seal, unseal } from '../../shared/driver/records.ts';
import { GROUP_KEY } from '../../shared/replica/opening.ts';
import { Scrape } from '../peer/prometheus.ts';
import { launch, type Outcome, type Running, until } from './harness.ts';

let place: string;
let services: Service[];

beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), 'synod-ops-'));
  services = [];
});

afterEach(async () => {
  for (const { running } of services) {
    running.child.kill('SIGKILL');
    await running.ended;
  }
  rmSync(place, { recursive: true, force: true, maxRetries: 5 });
});

interface Ready {
  readonly peer: string;
  readonly web: string | null;
  readonly metrics: string | null;
}

/** A directory, and the process that serves it. */
class Service {
  readonly name: string;
  readonly dir: string;
  running!: Running;
  ready!: Ready;

  constructor(name: string) {
    this.name = name;
    this.dir = join(place, name);
  }

  /** Starts it with metrics on a port of its own. Throws what it said where it ends before it is ready. */
  async start(options: { args?: readonly string[]; nodeArgs?: readonly string[] } = {}): Promise<this> {
    this.launch(options);
    const ended = this.running.ended.then(({ code, err }) => {
      throw new Error(`${this.name} ended with ${code}: ${err}`);
    });
    const ready = until(`${this.name} is ready`, () => this.running.lines[0] as Ready | undefined);
    this.ready = await Promise.race([ready, ended]);
    ended.catch(() => undefined);
    return this;
  }

  launch({ args = [], nodeArgs = [] }: { args?: readonly string[]; nodeArgs?: readonly string[] } = {}): Running {
    const fixed = ['serve', '--dir', this.dir, '--name', this.name, '--listen', '/ip4/127.0.0.1/tcp/0', '--no-mdns'];
    this.running = launch([...fixed, '--json', '--metrics', '127.0.0.1:0', ...args], undefined, nodeArgs);
    services.push(this);
    return this.running;
  }

  async stop(): Promise<Outcome> {
    this.running.child.kill('SIGTERM');
    return this.running.ended;
  }

  synod([verb = '', ...args]: readonly string[]): Promise<Outcome> {
    return launch([verb, '--dir', this.dir, '--json', ...args]).ended;
  }

  async does(...args: readonly string[]): Promise<Outcome['lines'][number]> {
    const { code, lines, err } = await this.synod(args);
    expect({ code, err }, args.join(' ')).toMatchObject({ code: 0 });
    return lines[0];
  }

  /** A page of the metrics' server: its status and its body. */
  async page(path: string, headers: Readonly<Record<string, string>> = {}): Promise<[number | undefined, string]> {
    const url = new URL(path, this.ready.metrics ?? '');
    const sent = request(url, { headers, agent: false }).end();
    const [response] = await once(sent, 'response');
    let body = '';
    for await (const chunk of response) body += chunk;
    return [response.statusCode, body];
  }

  async scrape(): Promise<Scrape> {
    const [status, body] = await this.page('/metrics');
    expect(status).toBe(200);
    return new Scrape(body);
  }
}

/** JavaScript that runs in the process before the program. */
const preload = (source: string): string => `--import=data:text/javascript,${encodeURIComponent(source)}`;

/** What a process wrote to standard error, line by line; each has to be an object. */
function linesOf(err: string): Record<string, unknown>[] {
  expect(err === '' || err.endsWith('\n')).toBe(true);
  return err
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
}

/** Each is one of the log's, or the error that ends a command. */
function expectLog(lines: readonly Record<string, unknown>[]): void {
  for (const line of lines) {
    if (!('level' in line)) {
      expect(Object.keys(line)).toEqual(['error', 'message']);
      continue;
    }
    expect(line.level).toMatch(/^(debug|info|warn|error)$/);
    expect(new Date(String(line.time)).toISOString()).toBe(line.time);
    expect(line.message).toMatch(/\S/);
  }
}

describe('metrics', () => {
  test('are served to this machine alone, and move with what is written', async () => {
    const ana = await new Service('Ana').start();
    expect(ana.ready.metrics).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/metrics$/);
    expect((await ana.scrape()).all('synod_positions')).toEqual([]);
    expect(await ana.page('/readyz')).toEqual([200, 'ok\n']);
    const { group } = await ana.does('create', 'Ward 3');
    const before = await ana.scrape();
    expect(before.value('synod_can_commit', { group })).toBe(1);
    expect(before.value('synod_is_leader', { group })).toBe(1);
    for (let n = 0; n < 3; n++) await ana.does('append', `entry ${n}`);
    const after = await ana.scrape();
    const grown = (name: string, labels = {}): number => after.value(name, labels) - before.value(name, labels);
    expect(grown('synod_entries_total')).toBe(3);
    expect(grown('synod_commits_total')).toBe(3);
    expect(grown('synod_positions')).toBe(3);
    expect(grown('synod_commit_duration_seconds_count')).toBe(3);
    expect(grown('synod_disk_write_duration_seconds_count', { part: 'mark' })).toBeGreaterThanOrEqual(3);
    expect(grown('process_cpu_seconds_total')).toBeGreaterThan(0);
    expect(after.value('synod_elections_started_total')).toBe(1);
    expect(after.value('synod_leader_changes_total')).toBe(1);
    expect(after.value('synod_applied_slot')).toBe((await ana.does('status')).groups[0].applied);
    expect((await ana.page('/metrics', { host: 'rogue.example' }))[0]).toBe(403);
    expect((await ana.page('/livez', { host: 'rogue.example' }))[0]).toBe(403);
    expect((await ana.page('/other'))[0]).toBe(404);

    const { port } = new URL(ana.ready.metrics ?? '');
    const ben = new Service('Ben').launch({ args: ['--metrics', `127.0.0.1:${port}`] });
    expect(await ben.ended).toMatchObject({ code: 1, error: 'PORT_IN_USE', err: expect.stringContaining(port) });
    expect((await ana.stop()).code).toBe(0);
    await expect(fetch(ana.ready.metrics ?? '')).rejects.toThrow();
  });

  test('without --metrics nothing is served', async () => {
    const args = ['serve', '--dir', join(place, 'Cy'), '--listen', '/ip4/127.0.0.1/tcp/0', '--no-mdns', '--json'];
    const running = launch(args);
    const ready = await until('it is ready', () => running.lines[0]);
    expect(ready).toMatchObject({ event: 'ready', metrics: null });
    running.child.kill('SIGTERM');
    expect((await running.ended).code).toBe(0);
  });

  test('two voters, one of them away: /readyz and health say the same, and the metrics what is missing', async () => {
    const [ana, ben] = await Promise.all([new Service('Ana').start(), new Service('Ben').start()]);
    const { group } = await ana.does('create', 'Ward 3');
    const { ticket } = await ana.does('invite', '--role', 'voter');
    await ben.does('join', ticket);
    await ana.does('promote', ben.ready.peer);
    const together = await ana.scrape();
    expect(together.value('synod_voters')).toBe(2);
    expect(together.value('synod_members_connected')).toBe(2);
    expect(together.value('synod_peer_connected', { peer: ben.ready.peer })).toBe(1);
    await until(
      'the round trip is known',
      async () => (await ana.scrape()).all('synod_peer_rtt_seconds', { peer: ben.ready.peer }).length === 1,
    );

    await ben.stop();
    await until('it is noticed', async () => (await ana.page('/readyz'))[1].includes(' ALONE '));
    const health = await ana.synod(['health']);
    expect(health).toMatchObject({ code: 4, lines: [{ ok: false, problems: [{ group, code: 'ALONE' }] }] });
    const said = health.lines[0].problems.map(
      (each: Record<string, string>) => `${each.group} ${each.code} ${each.message}\n`,
    );
    expect(await ana.page('/readyz')).toEqual([503, said.join('')]);
    expect(await ana.page('/livez')).toEqual([200, 'ok\n']);
    await ana.does('append', '--wait', 'saved', 'alone');
    const apart = await ana.scrape();
    expect(apart.value('synod_can_commit')).toBe(0);
    expect(apart.value('synod_voters_reachable')).toBe(1);
    expect(apart.value('synod_pending_commands')).toBe(1);
    expect(apart.value('synod_peer_connected', { peer: ben.ready.peer })).toBe(0);
  });
});

test('the log is JSON in words, names the group, and holds no text, ticket, token or key', async () => {
  const CANARY = 'canary-5f1c';
  const args = ['--log-level', 'debug', '--web', '0'];
  const ana = await new Service('Ana').start({ args });
  const ben = await new Service('Ben').start({ args });
  const { group } = await ana.does('create', `Title ${CANARY}`);
  const { ticket } = await ana.does('invite', '--role', 'voter');
  await ben.does('join', ticket);
  await ben.synod(['join', ticket]);
  await ben.synod(['join', `${ticket.slice(0, -3)}aaa`]);
  const { id } = await ana.does('append', '--key', `key ${CANARY}`, '--as', `writer ${CANARY}`, `text ${CANARY}`);
  await ben.does('edit', id, `other text ${CANARY}`);
  await ana.does('append', '--lines', `one ${CANARY}\ntwo ${CANARY}`);
  await ana.synod(['append', '--key', `key ${CANARY}`, `refused ${CANARY}`]);
  await ana.does('remove', id);
  await ben.synod(['edit', id, `too late ${CANARY}`]);
  const tokens = [ana, ben].flatMap(({ dir, ready }) => [
    JSON.parse(readFileSync(join(dir, 'endpoint.json'), 'utf8')).token as string,
    new URL(ready.web ?? '').hash.replace('#token=', ''),
  ]);
  const errs = [(await ana.stop()).err];
  // The one that is left complains, is killed, and finds its files as a crash leaves them.
  await until('it is noticed', async () => (await ben.page('/readyz'))[0] === 503);
  ben.running.child.kill('SIGKILL');
  errs.push((await ben.running.ended).err);
  await ben.start({ args });
  errs.push((await ben.stop()).err);

  for (const err of errs) expectLog(linesOf(err));
  const lines = errs.flatMap(linesOf);
  expect(lines.filter(({ message }) => message === 'somebody leads').length).toBeGreaterThan(0);
  for (const line of lines) if ('leader' in line) expect(line.group).toBe(group);
  const all = errs.join('');
  expect(all.length).toBeGreaterThan(500);
  expect(tokens.every((token) => token.length > 20)).toBe(true);
  for (const secret of [CANARY, ticket, ticket.replace('synod1', '').slice(0, 40), ...tokens]) {
    expect(all).not.toContain(secret);
  }
  for (const { dir } of [ana, ben]) {
    const identity = readFileSync(join(dir, 'identity'));
    for (let at = 0; at + 16 <= identity.length; at++) {
      expect(all).not.toContain(toHex(identity.subarray(at, at + 16)));
    }
  }
});

test('at silent nothing is said, and at error nothing while all is well', async () => {
  for (const level of ['silent', 'error']) {
    const ana = await new Service(level).start({ args: ['--log-level', level] });
    await ana.does('create', 'Ward 3');
    expect(await ana.stop()).toMatchObject({ code: 0, err: '' });
  }
});

test("what Node itself has to say is JSON, too: warnings, and a fault's end with 1", async () => {
  const sign = join(place, 'sign');
  const source = `
    import { existsSync } from 'node:fs';
    setInterval(() => {
      if (!existsSync(${JSON.stringify(sign)})) return;
      process.emitWarning('somebody listens too much');
      setImmediate(() => { throw new Error('nobody catches this'); });
    }, 50);`;
  const ana = await new Service('Ana').start({ nodeArgs: [preload(source)] });
  await ana.does('create', 'Ward 3');
  writeFileSync(sign, '');
  const { code, err, error } = await ana.running.ended;
  const lines = linesOf(err);
  expectLog(lines);
  expect({ code, error }).toEqual({ code: 1, error: 'INTERNAL' });
  expect(lines.map(({ level, message }) => `${level} ${message}`)).toEqual(
    expect.arrayContaining([
      'warn Node warns: somebody listens too much',
      expect.stringMatching(/^error stopped by a fault of the program/),
    ]),
  );
  expect(err).toContain('nobody catches this');
});

describe('a disk', () => {
  /** A disk whose mark can't be synced while the file `fails` is there, and does not come back from a sync while `hangs` is. */
  function failingDisk(): { fails: string; hangs: string; nodeArgs: readonly string[] } {
    const [fails, hangs] = [join(place, 'fails'), join(place, 'hangs')];
    const source = `
      import fs from 'node:fs';
      import { syncBuiltinESMExports } from 'node:module';
      const { fdatasync, existsSync } = fs;
      const eio = () => Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO', errno: -5 });
      fs.fdatasync = function sync(fd, done) {
        if (existsSync(${JSON.stringify(hangs)})) setTimeout(sync, 50, fd, done);
        else if (existsSync(${JSON.stringify(fails)})) process.nextTick(done, eio());
        else fdatasync(fd, done);
      };
      syncBuiltinESMExports();`;
    return { fails, hangs, nodeArgs: [preload(source)] };
  }

  test('that refuses a sync ends the peer with 74, and what was saved is there at the next start', async () => {
    const { fails, nodeArgs } = failingDisk();
    const ana = await new Service('Ana').start({ nodeArgs });
    await ana.does('create', 'Ward 3');
    await ana.does('append', 'saved before');
    // What follows from it is written a little later; then only who asks for something meets the disk.
    let before = -1;
    await until('nothing is left to be written', async () => {
      const written = (await ana.scrape()).value('synod_disk_write_duration_seconds_count', { part: 'mark' });
      const isQuiet = written === before;
      before = written;
      await sleep(250);
      return isQuiet;
    });
    writeFileSync(fails, '');
    const asked = await ana.synod(['append', 'not saved']);
    expect(asked).toMatchObject({ code: 74, error: 'DISK_FAILED' });
    const { code, error, err } = await ana.running.ended;
    expect({ code, error }).toEqual({ code: 74, error: 'DISK_FAILED' });
    expectLog(linesOf(err));
    rmSync(fails);
    await ana.start({ nodeArgs });
    const { lines } = await ana.synod(['log']);
    expect(lines[0]).toMatchObject({ position: 1, text: 'saved before' });
    expect((await ana.stop()).code).toBe(0);
  });

  test('that hangs: /livez says so after 10 s, health and /readyz as well, and all is well again once it answers', async () => {
    const { hangs, nodeArgs } = failingDisk();
    const ana = await new Service('Ana').start({ nodeArgs });
    const { group } = await ana.does('create', 'Ward 3');
    writeFileSync(hangs, '');
    // It needs something to write.
    const asked = ana.synod(['append', 'while it hangs']);
    await until('the hang is noticed', async () => (await ana.page('/livez'))[0] === 503);
    expect((await ana.page('/livez'))[1]).toMatch(new RegExp(`^${group} a disk write has not ended for 1\\d s\n$`));
    expect(await ana.page('/readyz')).toEqual([
      503,
      expect.stringContaining(`${group} DISK_FAILED The disk does not answer`),
    ]);
    const health = await ana.synod(['health']);
    expect(health).toMatchObject({ code: 4, lines: [{ ok: false, problems: [{ code: 'DISK_FAILED' }] }] });
    expect((await ana.scrape()).value('synod_turn_age_seconds')).toBeGreaterThan(10);
    rmSync(hangs);
    expect(await asked).toMatchObject({ code: 0, lines: [{ status: 'committed' }] });
    await until('it goes on', async () => (await ana.page('/livez'))[0] === 200);
    expect(await ana.page('/readyz')).toEqual([200, 'ok\n']);
    expect((await ana.stop()).code).toBe(0);
  });
});

describe('a store that a newer version wrote', () => {
  async function makeNewer({ dir }: Service, group: string): Promise<void> {
    const db = new ClassicLevel<string, Uint8Array>(join(dir, 'groups', group, 'db'), { valueEncoding: 'view' });
    const record = await db.get(GROUP_KEY);
    const { payload } = unseal(GROUP_KEY, record as Uint8Array);
    await db.put(GROUP_KEY, seal(GROUP_KEY, 2, payload), { sync: true });
    await db.close();
  }

  test('and nothing beside it: 78, before anything is served', async () => {
    const ana = await new Service('Ana').start();
    const { group } = await ana.does('create', 'Ward 3');
    await ana.stop();
    await makeNewer(ana, group);
    const { code, error, lines, err } = await ana.launch().ended;
    expect({ code, error, lines }).toEqual({ code: 78, error: 'NEWER_FORMAT', lines: [] });
    expectLog(linesOf(err));
    expect(linesOf(err)).toContainEqual(expect.objectContaining({ level: 'error', group }));
    expect((await ana.synod(['health'])).code).toBe(3);
  });

  test('beside another: that one is served, and health tells of the first', async () => {
    const ana = await new Service('Ana').start();
    const { group } = await ana.does('create', 'Ward 3');
    const other = (await ana.does('create', 'Ward 4')).group;
    await ana.stop();
    await makeNewer(ana, group);
    await ana.start();
    expect(await ana.does('append', '--group', other, 'still here')).toMatchObject({ status: 'committed' });
    expect(await ana.synod(['append', '--group', group, 'x'])).toMatchObject({ code: 78, error: 'NEWER_FORMAT' });
    expect(await ana.synod(['health'])).toMatchObject({
      code: 4,
      lines: [{ problems: [{ group, code: 'NEWER_FORMAT' }] }],
    });
    expect(await ana.page('/readyz')).toEqual([503, expect.stringMatching(new RegExp(`^${group} NEWER_FORMAT `))]);
    const read = await ana.scrape();
    expect(read.value('synod_group_open', { group })).toBe(0);
    expect(read.value('synod_group_open', { group: other })).toBe(1);
    expect((await ana.stop()).code).toBe(0);
  });
});
