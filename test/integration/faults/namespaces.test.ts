// Three machines on a network where packets are lost without a word: links.test.ts has more of it, with links that pass through the test.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { until } from '../harness.ts';
import { Network, type Station } from './namespaces.ts';

const network = Network.make(['Ana', 'Ben', 'Cleo']);
const where = network === null ? 'not run: takes Linux, root and network namespaces' : 'network namespaces';

describe.runIf(network !== null)(`three machines (${where})`, () => {
  const { stations } = network ?? { stations: [] };
  const written: string[] = [];

  beforeAll(async () => {
    const [ana, ...others] = stations as [Station, ...Station[]];
    await Promise.all(stations.map((station) => station.start()));
    expect((await ana.run('create', 'Log')).code).toBe(0);
    for (const other of others) {
      const { lines } = await ana.run('invite', '--role', 'voter');
      expect((await other.run('join', lines[0].ticket)).code).toBe(0);
    }
    await untilWhole();
  }, 120_000);
  afterEach(({ task }) => {
    if (task.result?.state !== 'fail') return;
    for (const { name, stderr } of stations) console.error(`--- ${name}\n${stderr.slice(-3_000)}`);
  });
  afterAll(() => network?.close());

  async function untilWhole(): Promise<void> {
    await until('three that agree', async () => {
      const all = await Promise.all(stations.map((station) => station.status()));
      const [first] = all;
      return all.every(({ canCommit, quorum, applied, digest, state, pending }) => {
        const isEqual = applied === first?.applied && digest === first.digest && state === first.state;
        return canCommit && quorum.voters === 3 && quorum.reachable === 3 && isEqual && pending === 0;
      });
    });
  }

  async function commits(station: Station): Promise<void> {
    const text = `${station.name} ${written.length}`;
    const { lines } = await station.run('append', '--timeout', '80s', text);
    expect(lines).toMatchObject([{ status: 'committed' }]);
    written.push(text);
  }

  async function leaderFirst(): Promise<[Station, Station, Station]> {
    const all = await Promise.all(stations.map(async (station) => ({ station, status: await station.status() })));
    const leader = all.find(({ status }) => status.leader === status.self)?.station as Station;
    return [leader, ...stations.filter((station) => station !== leader)] as [Station, Station, Station];
  }

  async function expectAllThere(): Promise<void> {
    network?.heal();
    await untilWhole();
    for (const station of stations) {
      const texts = (await station.run('log')).lines.map(({ text }) => text);
      expect(texts).toEqual(written);
    }
  }

  test('the leader falls silent: the others go on, and it follows when packets pass again', async () => {
    const [leader, one, other] = await leaderFirst();
    network?.cut(leader, one);
    network?.cut(leader, other);
    await commits(one);
    await commits(other);
    await until('it says so', async () => !(await leader.status()).canCommit);
    await expectAllThere();
  });

  test('one way only: the leader is heard by nobody, and hears all', async () => {
    const [leader, one, other] = await leaderFirst();
    leader.loseWay(one);
    leader.loseWay(other);
    await commits(one);
    await commits(other);
    await expectAllThere();
  });

  test('one way only: a follower hears the leader, which does not hear it', async () => {
    const [leader, one, other] = await leaderFirst();
    one.loseWay(leader);
    await commits(leader);
    await commits(other);
    await expectAllThere();
  });
});
