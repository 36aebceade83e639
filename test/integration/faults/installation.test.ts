/**
 * The files beside the groups: who this machine is, where its endpoint is, its own settings. Each is damaged in each way; then the peer is started, and where it
 * refuses, what its words say is done.
 */
import { cpSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Peer, textsOf, until, worldForAll } from '../harness.ts';
import { type DamageCase, installationCases } from './damage.ts';

/** Every second one, of each kind of file and each kind of damage half of them; SYNOD_FAULT_FILES=all takes all. */
const cases = installationCases.filter(
  (_, at) => process.env.SYNOD_FAULT_FILES === 'all' || (at + Math.floor(at / 4)) % 2 === 0,
);

// The copies lie elsewhere than the directory that they were made from, and run one at a time.
const world = worldForAll({ argsOf: () => ({ serveArgs: ['--moved'] }) });
let whole: Peer;
const table: string[] = [];

beforeAll(async () => {
  whole = await world.start('Ana');
  await whole.does('create', 'Log');
  await whole.does('append', 'before');
  // As a power cut leaves it, with an endpoint that nobody serves.
  await whole.kill();
}, 60_000);
afterAll(() => console.log(table.join('\n')));

/** How to go on after each refusal, as its message says. */
const REMEDIES: Readonly<Record<string, { readonly words: RegExp; follow(dir: string): void }>> = {
  IDENTITY_DAMAGED: { words: /Put the file back from a backup/, follow: putIdentityBack },
  IDENTITY_MISSING: { words: /Put the file back from a backup/, follow: putIdentityBack },
  LOCAL_DAMAGED: {
    words: /move it away and start again/,
    follow: (dir) => renameSync(join(dir, 'local'), join(dir, 'moved away')),
  },
};

function putIdentityBack(dir: string): void {
  cpSync(join(whole.dir, 'identity'), join(dir, 'identity'));
}

async function expectWhole(peer: Peer): Promise<void> {
  await until('what was agreed is there', async () => (await peer.log()).length > 0);
  expect(textsOf(await peer.log())).toEqual(['before']);
  expect(await peer.does('append', 'after')).toMatchObject([{ status: 'committed', position: 2 }]);
  expect(await peer.stop()).toBe(0);
  expect(await peer.does('verify')).toMatchObject([{ ok: true }]);
}

async function tried(each: DamageCase): Promise<string> {
  const peer = world.peer(`${each.file.replaceAll(/[ :]/g, '-')} ${each.damage.replaceAll(/[ %]/g, '-')}`);
  cpSync(whole.dir, peer.dir, { recursive: true });
  each.apply(peer.dir);
  const isStarted = await peer.start().then(
    () => true,
    () => false,
  );
  let outcome = 'starts, whole';
  if (!isStarted) {
    const { error, message } = JSON.parse(peer.stderr.split('\n').find((line) => line.startsWith('{"error"')) ?? '{}');
    const remedy = REMEDIES[error];
    expect(message).toMatch(remedy?.words ?? /a documented refusal/);
    expect(peer.troubles).toContain('ended by itself: code 5');
    peer.troubles.splice(0);
    remedy?.follow(peer.dir);
    await peer.start();
    outcome = `5, ${error}; after what it says: whole`;
  }
  await expectWhole(peer);
  rmSync(peer.dir, { recursive: true, force: true });
  return outcome;
}

test.each(cases.map((each) => [each.file, each.damage, each] as const))('%s, %s', async (file, name, each) => {
  table.push(`${file.padEnd(26)}${name.padEnd(24)}${await tried(each)}`);
});
