import { spawnSync } from 'node:child_process';
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ClassicLevel } from 'classic-level';
import { describe, expect, onTestFinished, test } from 'vitest';
import { concat, uint32 } from '../../shared/base/bytes.ts';
import { encodeCbor } from '../../shared/base/cbor.ts';
import { crc32c } from '../../shared/base/crc32c.ts';
import { peerFromKey } from '../../shared/base/ids.ts';
import {
  ADDRESSES_PER_PEER_MAX,
  type LocalSettings,
  openLocal,
  PEERS_MAX,
  type PendingJoin,
} from '../../src-main/group/local.ts';
import { seeded, someGroup, someIncarnation, somePeer, temporaryDir } from './made-up.ts';

async function open(dir: string): Promise<LocalSettings> {
  const local = await openLocal(dir);
  onTestFinished(() => local.close());
  return local;
}

async function raw(dir: string, key: string, value: Uint8Array): Promise<void> {
  const db = new ClassicLevel<string, Uint8Array>(join(dir, 'local'), { valueEncoding: 'view' });
  await db.put(key, value, { sync: true });
  await db.close();
}

const record = (...fields: Parameters<typeof encodeCbor>[0][]) => {
  const body = encodeCbor(fields);
  return concat(body, uint32(crc32c(body)));
};

const pending: PendingJoin = {
  group: someGroup(1),
  ticket: 'synod1abc',
  incarnation: someIncarnation(2),
  startedMs: 1_800_000_000_000,
};

describe('local settings', () => {
  test('are empty at first', async () => {
    const local = await open(temporaryDir());
    expect([
      local.name(),
      local.listenPort(),
      local.pendingJoins(),
      local.addresses(somePeer(1)),
      local.get('x'),
    ]).toEqual([null, null, [], [], undefined]);
  });

  test('are read at once and survive a restart', async () => {
    const dir = temporaryDir();
    const first = await open(dir);
    const writes = [
      first.setName("Ana's laptop"),
      first.setListenPort(50_123),
      first.rememberAddresses(somePeer(1), ['/ip4/10.0.0.1/tcp/4747']),
      first.setPendingJoin(pending),
      first.set('away-until', 1_900_000_000_000),
      first.set('gone', 'x'),
      first.set('gone', undefined),
    ];
    expect(first.name()).toBe("Ana's laptop");
    await Promise.all(writes);
    await first.close();
    await first.close();

    const second = await open(dir);
    expect(second.name()).toBe("Ana's laptop");
    expect(second.listenPort()).toBe(50_123);
    expect(second.addresses(somePeer(1))).toEqual(['/ip4/10.0.0.1/tcp/4747']);
    expect(second.pendingJoins()).toEqual([pending]);
    expect(second.get('away-until')).toBe(1_900_000_000_000);
    expect(second.get('gone')).toBeUndefined();
    expect(second.damaged).toEqual([]);
    await second.removePendingJoin(pending.group);
    await second.setListenPort(null);
    expect([second.pendingJoins(), second.listenPort()]).toEqual([[], null]);
  });

  test('keep the latest addresses of a member in front, and not too many', async () => {
    const local = await open(temporaryDir());
    const peer = somePeer(1);
    await local.rememberAddresses(peer, ['a:1', 'b:1']);
    await local.rememberAddresses(peer, ['c:1', 'a:1', 'no address\n']);
    expect(local.addresses(peer)).toEqual(['c:1', 'a:1', 'b:1']);
    for (let i = 0; i < 50; i++) await local.rememberAddresses(peer, [`h${i}:1`]);
    expect(local.addresses(peer)).toHaveLength(ADDRESSES_PER_PEER_MAX);
    expect(local.addresses(peer)[0]).toBe('h49:1');
    await local.forgetAddresses(peer);
    expect(local.addresses(peer)).toEqual([]);
  });

  test('keep addresses of so many peers, those refreshed last', async () => {
    const dir = temporaryDir();
    const local = await open(dir);
    const peer = (n: number) => peerFromKey(seeded(n)(32));
    for (let n = 0; n < PEERS_MAX; n++) await local.rememberAddresses(peer(n), ['a:1']);
    await local.rememberAddresses(peer(0), ['a:1']);
    await local.rememberAddresses(peer(PEERS_MAX), ['a:1']);
    expect(local.addresses(peer(0))).toEqual(['a:1']);
    expect(local.addresses(peer(1))).toEqual([]);
    expect(local.addresses(peer(PEERS_MAX))).toEqual(['a:1']);
    await local.close();
    const again = await open(dir);
    expect(again.addresses(peer(1))).toEqual([]);
    expect(again.addresses(peer(PEERS_MAX))).toEqual(['a:1']);
  });

  test('are written in the order of the calls', async () => {
    const dir = temporaryDir();
    const local = await open(dir);
    const writes = [];
    for (let i = 0; i < 100; i++) writes.push(local.set('n', i, { sync: i % 7 === 0 }));
    await local.close();
    await Promise.all(writes);
    expect((await open(dir)).get('n')).toBe(99);
    await expect(local.set('n', 1)).rejects.toThrow('closed');
  });

  test('refuse a value that they could not read back', async () => {
    const local = await open(temporaryDir());
    await expect(local.setListenPort(0)).rejects.toThrow(RangeError);
    expect(local.listenPort()).toBeNull();
  });

  test('leave out damaged records and say which', async () => {
    const dir = temporaryDir();
    const local = await open(dir);
    await local.setName('Ana');
    await local.close();
    const flipped = record(1, 'NAS');
    flipped[4] = (flipped[4] as number) ^ 1;
    await raw(dir, 'other/flipped', flipped);
    await raw(dir, 'other/empty', new Uint8Array());
    await raw(dir, 'listen-port', record(1, 'not a port'));
    await raw(dir, 'joining/x', record(1, ['x']));
    await raw(dir, 'addresses/nobody', record(1, ['a:1']));
    const again = await open(dir);
    expect(again.damaged).toEqual(['addresses/nobody', 'joining/x', 'listen-port', 'other/empty', 'other/flipped']);
    expect([again.name(), again.listenPort(), again.pendingJoins()]).toEqual(['Ana', null, []]);
  });

  test('of a newer version are left alone', async () => {
    const dir = temporaryDir();
    await (await open(dir)).close();
    await raw(dir, 'name', record(2, ['Ana', 'purple']));
    await expect(openLocal(dir)).rejects.toMatchObject({ name: 'SetupError', code: 'LOCAL_NEWER' });
  });

  test('that can not be opened are named', async () => {
    const spoil: ((place: string) => void)[] = [
      (place) => writeFileSync(join(place, 'CURRENT'), 'garbage'),
      (place) => {
        for (const name of readdirSync(place)) if (name.startsWith('MANIFEST')) rmSync(join(place, name));
      },
    ];
    for (const each of spoil) {
      const dir = temporaryDir();
      const local = await open(dir);
      await local.setName('Ana');
      await local.close();
      each(join(dir, 'local'));
      await expect(openLocal(dir)).rejects.toMatchObject({ code: 'LOCAL_DAMAGED' });
    }
    const dir = temporaryDir();
    writeFileSync(join(dir, 'local'), '');
    await expect(openLocal(dir)).rejects.toMatchObject({ code: 'NOT_A_DIRECTORY' });
  });
});

describe('the lock', () => {
  test('keeps a second one in this process out, until the first closes', async () => {
    const dir = temporaryDir();
    const local = await open(dir);
    await expect(openLocal(dir)).rejects.toMatchObject({
      code: 'DIR_LOCKED',
      message: expect.stringContaining(`Another Synod is running on ${dir}`),
    });
    await local.close();
    await open(dir);
  });

  test('keeps a second process out', async () => {
    const dir = temporaryDir();
    await open(dir);
    const module = new URL('../../src-main/group/local.ts', import.meta.url).href;
    const script = `const { openLocal } = await import(${JSON.stringify(module)});
      await openLocal(${JSON.stringify(dir)}).then(() => console.log('opened'), (error) => console.log(error.code));`;
    const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
    expect(stdout.trim()).toBe('DIR_LOCKED');
  });
});
