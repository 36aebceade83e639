// Forced recovery between production replicas on memory disks, in virtual time.
import { describe, expect, it } from 'vitest';
import { toHex } from '../../shared/base/bytes.ts';
import { position } from '../../shared/base/ids.ts';
import { Random } from '../../shared/base/random.ts';
import { inKeyOrder, signRenunciation } from '../../shared/replica/recovery-consent.ts';
import type { Replica } from '../../shared/replica/replica.ts';
import type { SimNode } from '../../shared/sim/node.ts';
import { QuietGroup } from './quiet-group.ts';

const create = (text: string) => ({ kind: 'create', key: null, text }) as const;

function fiveVoters(seed: number): QuietGroup {
  const group = new QuietGroup(5, { seed, stayOn: 5 });
  for (let i = 0; i < 60 && group.voters !== '01234'; i++) group.run(1);
  expect(group.voters).toBe('01234');
  return group;
}

const node = (group: QuietGroup, i: number): SimNode => group.nodes[i] as SimNode;
const peersOf = (group: QuietGroup, of: readonly number[]) => of.map((i) => group.peer(i));

/** Ids in the order of their positions. */
const logOf = ({ reader }: Replica): string[] =>
  Array.from({ length: reader.positions() }, (_, i) => reader.entryAt(position(i + 1))?.id ?? '');

const fingerprint = (replica: Replica): string =>
  [replica.applied, toHex(replica.appliedDigest), toHex(replica.reader.stateHash())].join(' ');

const isRecovered = (group: QuietGroup, of: readonly number[]): boolean =>
  of.every((i) => {
    const replica = node(group, i).replica;
    return replica !== null && replica.recovery === null && replica.recovered.length > 0;
  });

function untilRecovered(group: QuietGroup, of: readonly number[], seconds = 20): void {
  for (let i = 0; i < seconds * 10 && !isRecovered(group, of); i++) group.run(0.1);
  expect(of.map((i) => [i, group.at(i).recovery, group.at(i).recovered.length])).toEqual(of.map((i) => [i, null, 1]));
}

function destroy(group: QuietGroup, gone: readonly number[]): void {
  group.cut(...gone);
  for (const i of gone) node(group, i).crash(true);
}

describe('forced recovery of several', () => {
  it('two of five go on, once both have consented, and are a group again', () => {
    const group = fiveVoters(3);
    for (const text of ['a', 'b', 'c']) group.write(1, create(text));
    group.run(1);
    destroy(group, [2, 3, 4]);
    group.write(0, create('alone'));
    group.run(1);
    const before = logOf(group.at(0));
    expect(before).toHaveLength(3);

    for (const i of [0, 1]) node(group, i).crash(false);
    node(group, 0).recover(peersOf(group, [0, 1]));
    for (const i of [0, 1]) node(group, i).start();
    group.run(5);
    expect(group.at(0).recovery).toMatchObject({ step: 'consents', waitsFor: [group.peer(1)] });
    expect([group.at(0).inspect().votes, group.at(1).inspect().votes]).toEqual([false, true]);

    node(group, 1).crash(false);
    node(group, 1).recover(peersOf(group, [0, 1]));
    node(group, 1).start();
    untilRecovered(group, [0, 1]);
    group.run(5);
    expect(group.voters).toBe('01');
    group.write(1, create('together'));
    group.run(2);
    expect(fingerprint(group.at(0))).toBe(fingerprint(group.at(1)));
    expect(logOf(group.at(1)).slice(0, 3)).toEqual(before);
    expect(logOf(group.at(1))).toHaveLength(5);
  });

  it('whatever was under way, and however often they are killed: one log, and no entry loses its place', {
    timeout: 120_000,
  }, () => {
    let lossless = 0;
    let kills = 0;
    for (let seed = 1; seed <= 25; seed++) {
      const random = new Random(seed);
      const group = fiveVoters(seed);
      const shuffled = [0, 1, 2, 3, 4].sort(() => random.number() - 0.5);
      const survivors = shuffled.slice(0, 1 + random.below(4)).sort();
      const gone = shuffled.filter((i) => !survivors.includes(i));
      for (let i = 0; i < 40; i++) {
        group.write(random.below(5), create(`${seed}/${i}`));
        if (random.chance(0.1)) group.cut(random.below(5));
        if (random.chance(0.1)) group.join(0, 1, 2, 3, 4);
        group.run(random.number() * 0.05);
      }
      const shown = [0, 1, 2, 3, 4].map((i) => logOf(group.at(i)));
      destroy(group, gone);
      group.join(...survivors);
      for (const i of survivors) node(group, i).crash(random.chance(0.5));

      // Each consents at a moment of its own; some commands are cut off after their first write and repeated.
      for (const i of survivors) {
        node(group, i).recover(peersOf(group, survivors), 1);
        if (random.chance(0.7)) node(group, i).start();
        group.run(random.number());
        if (random.chance(0.5)) {
          node(group, i).crash(true);
          node(group, i).recover(peersOf(group, survivors));
        }
      }
      for (const i of survivors) node(group, i).start();
      for (let tries = 0; tries < 400 && !isRecovered(group, survivors); tries++) {
        group.run(random.number() * 0.6);
        const i = survivors[random.below(survivors.length)] as number;
        if (tries < 30 && random.chance(0.5) && !isRecovered(group, [i])) {
          node(group, i).crash(random.chance(0.5));
          node(group, i).start();
          kills++;
        }
      }
      untilRecovered(group, survivors);
      group.run(10);

      const [first] = survivors as [number];
      for (const i of survivors)
        expect([seed, i, fingerprint(group.at(i))]).toEqual([seed, i, fingerprint(group.at(first))]);
      const log = logOf(group.at(first));
      for (const i of survivors) expect([seed, i, log.slice(0, shown[i]?.length)]).toEqual([seed, i, shown[i]]);
      expect(new Set(log).size).toBe(log.length);
      // All that a survivor wrote is there.
      for (const i of survivors) expect([seed, i, group.at(i).outbox.pending]).toEqual([seed, i, 0]);
      if (survivors.length < 3) continue;
      lossless++;
      for (const each of shown) expect([seed, log.slice(0, each.length)]).toEqual([seed, each]);
    }
    expect([lossless > 5, kills > 20]).toEqual([true, true]);
  });

  it('who names other survivors is told, and so are those whom it did not name', () => {
    const group = fiveVoters(5);
    destroy(group, [3, 4]);
    for (const i of [0, 1, 2]) node(group, i).crash(false);
    node(group, 1).recover(peersOf(group, [0, 1]));
    node(group, 2).recover(peersOf(group, [1, 2]));
    for (const i of [1, 2]) node(group, i).start();
    group.run(5);
    const told = group.at(2).recovery;
    expect(told).toMatchObject({ step: 'consents', waitsFor: [group.peer(1)] });
    expect(told?.step === 'consents' && [...told.others.keys()]).toEqual([group.peer(1)]);

    // It follows them, consents anew, and all three go on.
    for (const i of [1, 2]) node(group, i).crash(false);
    for (const i of [0, 1, 2]) node(group, i).recover(peersOf(group, [0, 1, 2]));
    for (const i of [0, 1, 2]) node(group, i).start();
    untilRecovered(group, [0, 1, 2]);
    group.run(5);
    expect(group.voters).toBe('012');
  });

  it('a consent that its peer did not sign counts for nothing', () => {
    const group = fiveVoters(23);
    const survivors = inKeyOrder(peersOf(group, [0, 1]));
    node(group, 0).crash(false);
    node(group, 0).recover(survivors);
    node(group, 0).start();
    const { prefix, digest, configuration } = group.at(1).inspect();
    const consent = {
      group: group.at(0).group,
      epoch: configuration.configuration.epoch,
      peer: group.peer(1),
      survivors,
      nonce: new Uint8Array(16),
      report: {
        incarnation: node(group, 1).incarnation,
        votes: true,
        prefix,
        digest,
        inForce: [configuration],
        accepted: [],
      },
    };
    const tell = (signer: SimNode['signer']): void => {
      const message = { type: 'recovery', renunciations: [signRenunciation(consent, signer).bytes] } as const;
      group.at(0).receive(group.peer(1), node(group, 1).incarnation, { layer: 'session', message });
    };
    tell(node(group, 2).signer);
    expect(group.at(0).recovery).toMatchObject({ step: 'consents', waitsFor: [group.peer(1)] });
    tell(node(group, 1).signer);
    expect(group.at(0).recovery).toMatchObject({ step: 'fetching' });
  });

  it('who consented accepts nothing from the old quorum, even where that is still alive', () => {
    const group = fiveVoters(7);
    node(group, 0).crash(false);
    node(group, 0).recover(peersOf(group, [0, 1]));
    node(group, 0).start();
    const { prefix } = group.at(0);
    group.run(2);
    group.write(1, create('without it'));
    group.run(2);
    expect(group.at(1).prefix).toBeGreaterThan(prefix);
    expect(group.at(0).prefix).toBe(prefix);
    expect(group.at(0).isFlushed).toBe(true);
  });

  it('an old member that returns follows, votes again only by a change of the new group, and an alive quorum never follows', () => {
    const group = fiveVoters(11);
    group.write(2, create('before'));
    group.run(1);
    destroy(group, [3, 4]);
    for (const i of [0, 1, 2]) node(group, i).crash(true);
    for (const i of [0, 1, 2]) node(group, i).recover(peersOf(group, [0, 1, 2]));
    for (const i of [0, 1, 2]) node(group, i).start();
    untilRecovered(group, [0, 1, 2]);
    group.write(0, create('without them'));
    group.run(3);
    group.join(3, 4);
    node(group, 3).start();
    group.write(3, create('written on the lost machine'));
    group.run(8);
    expect([group.at(3).recovery, group.at(3).recovered.length]).toEqual([null, 0]);
    group.run(4);
    expect(group.at(3).recovered).toHaveLength(1);
    group.run(4);
    expect(fingerprint(group.at(3))).toBe(fingerprint(group.at(0)));
    expect(logOf(group.at(0))).toHaveLength(3);
    expect(group.at(3).outbox.pending).toBe(0);
    node(group, 4).start();
    for (let i = 0; i < 60 && group.voters !== '01234'; i++) group.run(1);
    expect(group.voters).toBe('01234');
    expect(fingerprint(group.at(4))).toBe(fingerprint(group.at(1)));
  });

  it('what a lost machine had only accepted is no acceptance in the new epoch; its commands are offered again', () => {
    const group = fiveVoters(19);
    const { leader } = group;
    const [other, ...rest] = [0, 1, 2, 3, 4].filter((i) => i !== leader) as [number, ...number[]];
    group.write(leader, create('before'));
    group.run(1);
    // Two of five accept, which is not enough.
    group.cut(...rest);
    for (const text of ['x', 'y', 'z']) {
      group.write(leader, create(text));
      group.run(0.1);
    }
    const held = (i: number): number[] =>
      [...node(group, i).disk.rows]
        .filter(([at, { ballot }]) => ballot !== null && at > node(group, i).disk.prefix)
        .map(([at]) => at);
    const accepted = held(other).length;
    expect(accepted).toBeGreaterThan(1);
    destroy(group, [leader, other]);
    for (const i of rest) node(group, i).crash(true);
    for (const i of rest) node(group, i).recover(peersOf(group, rest));
    group.join(...rest);
    for (const i of rest) node(group, i).start();
    untilRecovered(group, rest);
    const [first] = rest as [number];
    expect(logOf(group.at(first))).toHaveLength(1);
    expect(group.at(first).recovered[0]?.slot).toBeLessThanOrEqual(Math.max(...held(other)));

    group.join(other);
    node(group, other).start();
    for (let k = 0; k < 8_000 && group.at(other).recovery?.step !== 'following'; k++) group.run(0.002);
    expect([group.at(other).recovery?.step, held(other)]).toEqual(['following', []]);
    group.run(5);
    expect(fingerprint(group.at(other))).toBe(fingerprint(group.at(first)));
    expect(logOf(group.at(first))).toHaveLength(1 + accepted);
    // Their author comes back as well, and finds them there; what nobody else had accepted is still with it.
    group.join(leader);
    node(group, leader).start();
    group.run(20);
    expect(group.at(leader).outbox.pending).toBe(0);
    expect(logOf(group.at(leader))).toEqual(logOf(group.at(first)));
    expect(logOf(group.at(first))).toHaveLength(4);
  });

  it('the old majority that returns all at once makes no second log while it follows', () => {
    const group = fiveVoters(13);
    group.write(2, create('before'));
    group.run(1);
    destroy(group, [2, 3, 4]);
    for (const i of [0, 1]) node(group, i).crash(true);
    for (const i of [0, 1]) node(group, i).recover(peersOf(group, [0, 1]));
    for (const i of [0, 1]) node(group, i).start();
    untilRecovered(group, [0, 1]);
    const { at } = { at: group.at(0).recovered[0]?.slot ?? 0 };
    // One by one, so that no quorum of the old epoch is there while they wait; then the survivors are gone, and the three are among themselves in the new one.
    for (const i of [2, 3, 4]) {
      group.join(i);
      node(group, i).start();
      for (let k = 0; k < 8_000 && group.at(i).recovery?.step !== 'following'; k++) group.run(0.002);
      expect([i, group.at(i).recovery]).toMatchObject([i, { step: 'following' }]);
      const { prefix } = group.at(i);
      expect(prefix).toBeLessThan(at);
      group.cut(i);
    }
    group.cut(0, 1);
    group.join(2, 3, 4);
    const prefixes = [2, 3, 4].map((i) => group.at(i).prefix);
    group.write(3, create('not yet'));
    group.run(30);
    expect([2, 3, 4].map((i) => group.at(i).prefix)).toEqual(prefixes);
    group.join(0, 1);
    group.run(30);
    for (const i of [1, 2, 3, 4]) expect(fingerprint(group.at(i))).toBe(fingerprint(group.at(0)));
    expect(logOf(group.at(0))).toHaveLength(2);
  });

  it('who slept through two recoveries follows both, one after the other', () => {
    const group = fiveVoters(29);
    group.write(2, create('a'));
    group.run(1);
    destroy(group, [3, 4]);
    for (const i of [0, 1, 2]) node(group, i).crash(true);
    for (const i of [0, 1, 2]) node(group, i).recover(peersOf(group, [0, 1, 2]));
    for (const i of [0, 1, 2]) node(group, i).start();
    untilRecovered(group, [0, 1, 2]);
    group.write(0, create('b'));
    group.run(3);
    destroy(group, [0, 1]);
    node(group, 2).crash(true);
    node(group, 2).recover(peersOf(group, [2]));
    node(group, 2).start();
    group.run(3);
    group.write(2, create('c'));
    group.run(1);
    expect(group.at(2).recovered.map(({ renunciations }) => renunciations.length)).toEqual([3, 1]);

    for (const i of [0, 4]) {
      group.join(i);
      node(group, i).start();
      group.run(30);
      expect(group.at(i).recovered).toHaveLength(2);
      expect(fingerprint(group.at(i))).toBe(fingerprint(group.at(2)));
    }
    expect(logOf(group.at(4))).toHaveLength(3);
    // Also after a restart.
    node(group, 4).crash(true);
    node(group, 4).start();
    group.run(3);
    expect(group.at(4).recovery).toBeNull();
  });

  it('a machine alone that went on beside a living group disturbs nobody', () => {
    const group = fiveVoters(17);
    node(group, 4).crash(false);
    group.run(3);
    node(group, 4).recover(peersOf(group, [4]));
    node(group, 4).start();
    untilRecovered(group, [4]);
    group.run(30);
    expect([0, 1, 2, 3].map((i) => group.at(i).recovered.length)).toEqual([0, 0, 0, 0]);
    group.write(1, create('as ever'));
    group.run(2);
    expect(logOf(group.at(0))).toHaveLength(1);
    expect(logOf(group.at(4))).toHaveLength(0);
  });

  it('after a second recovery it still says that the first one may have lost something, and from where on', () => {
    const group = fiveVoters(31);
    group.write(2, create('a'));
    group.run(1);
    destroy(group, [2, 3, 4]);
    recover(group, [0, 1]);
    const first = group.at(0).lastRecovery;
    expect(first).toMatchObject({ lossless: false });
    group.write(0, create('b'));
    group.run(3);
    // Of two, one is enough to lose nothing.
    destroy(group, [1]);
    node(group, 0).crash(true);
    node(group, 0).recover(peersOf(group, [0]));
    node(group, 0).start();
    group.run(3);
    expect(group.at(0).recovered).toHaveLength(2);
    expect(group.at(0).lastRecovery).toEqual(first);
  });
});

function recover(group: QuietGroup, survivors: readonly number[]): void {
  for (const i of survivors) node(group, i).crash(true);
  for (const i of survivors) node(group, i).recover(peersOf(group, survivors));
  for (const i of survivors) node(group, i).start();
  untilRecovered(group, survivors);
}

/** Whom each of these names as having gone on with another log. */
const splits = (group: QuietGroup, of: readonly number[]): string[] => of.map((i) => group.namesOf(group.at(i).split));

describe('two logs', () => {
  it('two sides that each went on by a recovery name each other as long as they are heard, and go on', () => {
    const group = fiveVoters(37);
    group.cut(2, 3, 4);
    recover(group, [0, 1]);
    group.join(2, 3, 4);
    group.cut(0, 1);
    destroy(group, [3, 4]);
    recover(group, [2]);
    group.run(2);
    expect(splits(group, [0, 1, 2])).toEqual(['', '', '']);
    group.join(0, 1);
    group.run(8);
    expect(splits(group, [0, 1, 2])).toEqual(['2', '2', '01']);
    group.write(0, create('here'));
    group.write(2, create('there'));
    group.run(60);
    expect(splits(group, [0, 1, 2])).toEqual(['2', '2', '01']);
    expect([logOf(group.at(1)), logOf(group.at(2))].map((log) => log.length)).toEqual([1, 1]);
    group.cut(2);
    group.run(11);
    expect(splits(group, [0, 1, 2])).toEqual(['', '', '']);

    // Who comes back from before can go either way, and names nobody until it has gone one.
    group.cut(0, 1);
    group.join(2, 3);
    node(group, 3).start();
    for (let i = 0; i < 300; i++) {
      group.run(0.1);
      expect(splits(group, [2, 3])).toEqual(['', '']);
    }
    expect(fingerprint(group.at(3))).toBe(fingerprint(group.at(2)));
    group.join(0, 1);
    group.run(8);
    expect(splits(group, [0, 1, 2, 3])).toEqual(['23', '23', '01', '01']);
  });

  it('a living group names the machine that went on beside it', () => {
    const group = fiveVoters(41);
    node(group, 4).crash(false);
    group.run(3);
    recover(group, [4]);
    group.run(10);
    expect(splits(group, [0, 1, 2, 3])).toEqual(['4', '4', '4', '4']);
    expect(group.at(0).recovered).toHaveLength(0);
  });

  it('whoever returns after a recovery, or two, and whoever slept is not taken for another log', () => {
    const group = fiveVoters(43);
    destroy(group, [3, 4]);
    recover(group, [0, 1, 2]);
    group.write(0, create('b'));
    group.run(3);
    destroy(group, [0, 1]);
    node(group, 2).crash(true);
    node(group, 2).recover(peersOf(group, [2]));
    node(group, 2).start();
    group.run(3);
    group.join(0, 4);
    for (const i of [0, 4]) node(group, i).start();
    for (let i = 0; i < 600; i++) {
      group.run(0.1);
      const up = [0, 2, 4].filter((n) => node(group, n).replica !== null);
      expect([i, splits(group, up)]).toEqual([i, up.map(() => '')]);
    }
    expect(fingerprint(group.at(4))).toBe(fingerprint(group.at(2)));
  });
});
