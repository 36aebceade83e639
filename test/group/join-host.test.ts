import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { concat } from '../../shared/base/bytes.ts';
import { encodeCbor } from '../../shared/base/cbor.ts';
import { incarnationBytes, type PeerId } from '../../shared/base/ids.ts';
import { invitationBytes } from '../../shared/document/invitation.ts';
import {
  decodeJoinAnswer,
  decodeJoinRequest,
  encodeJoinRequest,
  type JoinAnswer,
  type JoinRequest,
} from '../../src-main/group/join-messages.ts';
import { signerFromSeed } from '../../src-main/group/keys.ts';
import { admitted, GROUP, GUEST, HOST, INVITATION_KEY, JoinWorld, OTHER } from './join-world.ts';
import { seeded, someGroup, someIncarnation } from './made-up.ts';
import { settle } from './manual-clock.ts';
import type { StreamEnd } from './stream-pair.ts';

const signal = new AbortController().signal;

function request(world: JoinWorld, change: Partial<JoinRequest> = {}, signedBy: PeerId = GUEST): JoinRequest {
  const fields = { group: GROUP, incarnation: someIncarnation(5), name: 'Ben', ...change };
  const { group, incarnation, name } = fields;
  const signature = signerFromSeed(world.ticket().seed).sign(
    invitationBytes({ group, peer: signedBy, incarnation, name }),
  );
  return { invitationKey: INVITATION_KEY, signature, ...fields };
}

/** What has arrived by now. */
async function answers(stream: StreamEnd): Promise<JoinAnswer[]> {
  const all: JoinAnswer[] = [];
  for (;;) {
    const enough = new AbortController();
    settle().then(() => enough.abort());
    const frame = await stream.receive(enough.signal).catch(() => null);
    if (frame === null) return all;
    all.push(decodeJoinAnswer(frame));
  }
}

/** Sends one frame and hears the host out. */
async function ask(world: JoinWorld, frame: Uint8Array, peer: PeerId = GUEST): Promise<JoinAnswer[]> {
  const stream = world.call(peer);
  stream.send(frame);
  const heard = await answers(stream);
  await stream.close();
  await settle();
  return heard;
}

const refused = (code: string) => [expect.objectContaining({ type: 'refused', code })];

/** Nothing is left behind: no conversation, no timer. */
function expectQuiet(world: JoinWorld): void {
  expect(world.host.inspect()).toMatchObject({ conversations: 0, admitting: 0 });
  expect(world.clock.timers).toBe(0);
  expect(world.problems).toEqual([]);
  expect(world.streams.every(({ host }) => host.closed)).toBe(true);
}

describe('a host', () => {
  test('asks the group, says what is waited for, and welcomes', async () => {
    const world = new JoinWorld();
    const stream = world.call();
    const sent = request(world);
    stream.send(encodeJoinRequest(sent));
    await settle();
    expect(world.asked).toHaveLength(1);
    const { signature, incarnation } = sent;
    expect(world.asked[0]?.request).toEqual({
      group: GROUP,
      invitationKey: INVITATION_KEY,
      joiner: GUEST,
      incarnation,
      signature,
      name: 'Ben',
    });
    expect(await answers(stream)).toEqual([]);
    world.asked[0]?.wait('needs 2 of 3 voters');
    world.asked[0]?.wait('needs 2 of 3 voters');
    expect(await answers(stream)).toEqual([{ type: 'waiting', host: 'Ana', why: 'needs 2 of 3 voters' }]);
    expect(world.host.wantsDoor()).toBe(true);
    world.asked[0]?.judge(admitted);
    expect(await answers(stream)).toEqual([
      {
        type: 'admitted',
        genesis: world.genesis,
        title: 'Ward 3',
        rights: 'writer',
        role: 'learner',
        members: [{ peer: HOST, name: 'Ana', addresses: ['/ip4/10.20.4.17/tcp/4747'] }],
        info: Uint8Array.of(1, 2, 3),
      },
    ]);
    expect(world.host.wantsDoor()).toBe(true);
    await stream.close();
    await settle();
    expect(world.host.wantsDoor()).toBe(false);
    expectQuiet(world);
  });

  test('repeats itself while the group is silent, and ends the conversation before the network does', async () => {
    const world = new JoinWorld();
    const stream = world.call();
    stream.send(encodeJoinRequest(request(world)));
    await world.clock.pass(4_999);
    expect(await answers(stream)).toEqual([]);
    await world.clock.pass(1);
    expect(await answers(stream)).toEqual([{ type: 'waiting', host: 'Ana', why: '' }]);
    world.asked[0]?.wait('a');
    await world.clock.pass(5_000);
    expect(await answers(stream)).toEqual([
      { type: 'waiting', host: 'Ana', why: 'a' },
      { type: 'waiting', host: 'Ana', why: 'a' },
    ]);
    await world.clock.pass(15_000);
    expect(world.streams[0]?.host.closed).toBe(true);
    expect(world.host.inspect()).toEqual({ conversations: 0, admitting: 1, uncollected: 0 });
    expect(world.asked[0]?.signal.aborted).toBe(false);
  });

  test.each(['closes', 'breaks'])(
    'goes on with the admission of a guest that %s midway, and tells it next time',
    async (how) => {
      const world = new JoinWorld();
      const stream = world.call();
      stream.send(encodeJoinRequest(request(world)));
      await settle();
      if (how === 'closes') await stream.close();
      else stream.break();
      await settle();
      expect(world.host.inspect()).toEqual({ conversations: 0, admitting: 1, uncollected: 0 });
      expect(world.asked[0]?.signal.aborted).toBe(false);

      const again = world.call();
      again.send(encodeJoinRequest(request(world)));
      await settle();
      expect(world.asked).toHaveLength(1);
      world.asked[0]?.judge(admitted);
      await settle();
      expect(await answers(again)).toMatchObject([{ type: 'admitted' }]);
      await again.close();
      await settle();
      expectQuiet(world);
    },
  );

  test('keeps the door for a guest that was admitted but did not hear it, and not for ever', async () => {
    const world = new JoinWorld();
    const stream = world.call();
    stream.send(encodeJoinRequest(request(world)));
    await settle();
    stream.break();
    world.asked[0]?.judge(admitted);
    await settle();
    world.invitation = { state: 'used', by: GUEST };
    expect(world.host.wantsDoor()).toBe(true);
    await world.clock.pass(24 * 3_600_000 + 1);
    expect(world.host.wantsDoor()).toBe(false);
    expectQuiet(world);
  });

  test('admits the same joiner again with the same invitation, even past its expiry', async () => {
    const world = new JoinWorld();
    world.invitation = { state: 'used', by: GUEST };
    const stream = world.call();
    stream.send(encodeJoinRequest(request(world)));
    await settle();
    world.asked[0]?.judge(admitted);
    expect(await answers(stream)).toMatchObject([{ type: 'admitted' }]);
    expect(await ask(world, encodeJoinRequest(request(world, {}, OTHER)), OTHER)).toEqual(refused('INVITATION_USED'));
  });

  test('lets one machine at a time try an invitation', async () => {
    const world = new JoinWorld();
    const stream = world.call();
    stream.send(encodeJoinRequest(request(world)));
    await settle();
    expect(await ask(world, encodeJoinRequest(request(world, {}, OTHER)), OTHER)).toEqual(refused('TRY_LATER'));
    const otherStore = request(world, { incarnation: someIncarnation(6) });
    expect(await ask(world, encodeJoinRequest(otherStore))).toEqual(refused('TRY_LATER'));
    expect(world.asked).toHaveLength(1);
    world.asked[0]?.judge({ ok: false, code: 'INVITATION_UNKNOWN' });
    expect(await answers(stream)).toEqual(refused('INVITATION_UNKNOWN'));
    expect(world.host.wantsDoor()).toBe(false);
  });

  test('judges expiry before it asks the group, and not again while the group is asked', async () => {
    const world = new JoinWorld();
    const expiresMs = world.clock.nowMs() + 60_000;
    world.invitation = { state: 'open', rights: 'writer', pinnedRole: null, expiresMs };
    const inTime = world.call();
    inTime.send(encodeJoinRequest(request(world)));
    await settle();
    await inTime.close();
    await world.clock.pass(60_000);
    const again = world.call();
    again.send(encodeJoinRequest(request(world)));
    await settle();
    world.asked[0]?.judge(admitted);
    expect(await answers(again)).toMatchObject([{ type: 'admitted' }]);
    await again.close();
    await settle();
    expect(await ask(world, encodeJoinRequest(request(world, {}, OTHER)), OTHER)).toEqual(refused('TICKET_EXPIRED'));
    expect(world.asked).toHaveLength(1);
  });

  test.each([
    [{ state: 'unknown' }, 'INVITATION_UNKNOWN'],
    [{ state: 'revoked' }, 'INVITATION_REVOKED'],
    [{ state: 'used', by: OTHER }, 'INVITATION_USED'],
    [{ state: 'open', rights: 'writer', pinnedRole: null, expiresMs: 5 }, 'TICKET_EXPIRED'],
  ] as const)('answers an invitation that is %o with %s', async (state, code) => {
    const world = new JoinWorld();
    world.invitation = state;
    expect(await ask(world, encodeJoinRequest(request(world)))).toEqual(refused(code));
    expect(world.asked).toEqual([]);
    expectQuiet(world);
  });

  test('answers another group as one that has no such invitation', async () => {
    const world = new JoinWorld();
    expect(await ask(world, encodeJoinRequest(request(world, { group: someGroup(99) })))).toEqual(
      refused('INVITATION_UNKNOWN'),
    );
  });

  test('that stops says so, and aborts what is under way', async () => {
    const world = new JoinWorld();
    const stream = world.call();
    stream.send(encodeJoinRequest(request(world)));
    await settle();
    world.host.stop();
    expect(await answers(stream)).toEqual(refused('TRY_LATER'));
    expect(world.asked[0]?.signal.aborted).toBe(true);
    world.asked[0]?.fail(new Error('aborted'));
    await stream.close();
    await settle();
    expect(world.host.wantsDoor()).toBe(false);
    expectQuiet(world);
  });

  test('that fails to ask the group lets the guest try later, and says so in its log', async () => {
    const world = new JoinWorld();
    const stream = world.call();
    stream.send(encodeJoinRequest(request(world)));
    await settle();
    const error = new Error('no group');
    world.asked[0]?.fail(error);
    await settle();
    expect(await answers(stream)).toEqual(refused('TRY_LATER'));
    expect(world.problems).toEqual([error]);
  });
});

describe('a hostile guest', () => {
  test("can not use another guest's signature", async () => {
    const world = new JoinWorld();
    const overheard = request(world);
    expect(await ask(world, encodeJoinRequest(overheard), OTHER)).toEqual(refused('BAD_REQUEST'));
    expect(world.asked).toEqual([]);
    expectQuiet(world);
  });

  test('can not change what was signed, nor sign with another key', async () => {
    const world = new JoinWorld();
    const good = request(world);
    const forged = signerFromSeed(seeded(77)(32)).sign(
      invitationBytes({ group: GROUP, peer: GUEST, incarnation: good.incarnation, name: 'Ben' }),
    );
    for (const bad of [
      { ...good, incarnation: someIncarnation(6) },
      { ...good, name: 'Ana' },
      { ...good, group: someGroup(99) },
      { ...good, signature: forged },
      { ...good, signature: new Uint8Array(64) },
      { ...good, invitationKey: new Uint8Array(32).fill(9) },
    ]) {
      expect(await ask(world, encodeJoinRequest(bad))).toEqual(refused('BAD_REQUEST'));
    }
    expect(world.asked).toEqual([]);
    expectQuiet(world);
  });

  test('is understood exactly or not at all', async () => {
    const world = new JoinWorld();
    const { group, invitationKey, incarnation, signature } = request(world);
    const good = [1, 'join', group, invitationKey, incarnationBytes(incarnation), 'Ben', signature];
    const signedAs = (name: string) =>
      good
        .with(5, name)
        .with(6, signerFromSeed(world.ticket().seed).sign(invitationBytes({ group, peer: GUEST, incarnation, name })));
    const replaced = (at: number, value: (typeof good)[number]) => good.with(at, value);
    for (const fields of [
      [],
      good.slice(0, -1),
      [...good, 0],
      replaced(0, 0),
      replaced(0, 'x'),
      replaced(1, 'leave'),
      replaced(2, 'g'),
      replaced(3, new Uint8Array(31)),
      replaced(4, new Uint8Array(17)),
      ...['', 'Ben\u001b[31m', 'Ben ', 'B'.repeat(201)].map((name) => signedAs(name)),
      replaced(6, new Uint8Array(65)),
    ]) {
      expect(await ask(world, encodeCbor(fields))).toEqual(refused('BAD_REQUEST'));
    }
    expect(await ask(world, encodeCbor([2, 'join', 'with', 'more']))).toEqual(refused('UPDATE_NEEDED'));
    expect(() => decodeJoinRequest(new Uint8Array(1025))).toThrow('length');
    expect(await ask(world, new Uint8Array(256 * 1024).fill(0x81))).toEqual(refused('BAD_REQUEST'));
    expect(await ask(world, new Uint8Array(1000).fill(0x81))).toEqual(refused('BAD_REQUEST'));
    expect(world.asked).toEqual([]);
    expectQuiet(world);
  });

  test('with garbage gets one answer and leaves nothing behind', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 2000 }), async (bytes) => {
        const world = new JoinWorld();
        expect(await ask(world, bytes)).toMatchObject([{ type: 'refused' }]);
        expect(world.asked).toEqual([]);
        expectQuiet(world);
      }),
      { numRuns: 40 },
    );
  });

  test('that changes any one bit of a good question is refused', async () => {
    const world = new JoinWorld();
    const good = encodeJoinRequest(request(world));
    for (let at = 0; at < good.length; at++) {
      const bad = good.slice();
      bad[at] = (bad[at] as number) ^ (1 << (at % 8));
      expect(await ask(world, bad), `byte ${at}`).toMatchObject([{ type: 'refused' }]);
    }
    expect(world.asked).toEqual([]);
    expectQuiet(world);
  });

  test('that says nothing, or hangs up at once, is let go', async () => {
    const world = new JoinWorld();
    const silent = world.call();
    await world.clock.pass(9_999);
    expect(world.host.inspect().conversations).toBe(1);
    await world.clock.pass(1);
    expect(await silent.receive(signal)).toBeNull();
    await world.call().close();
    world.call().break();
    await settle();
    expectQuiet(world);
  });

  test('that never hangs up is let go after the answer', async () => {
    const world = new JoinWorld();
    const stream = world.call();
    stream.send(encodeJoinRequest(request(world, {}, OTHER)));
    await world.clock.pass(3_000);
    expect(world.streams[0]?.host.closed).toBe(true);

    const welcome = world.call();
    welcome.send(encodeJoinRequest(request(world)));
    await settle();
    world.asked[0]?.judge(admitted);
    await world.clock.pass(3_000);
    expect(world.streams[1]?.host.closed).toBe(true);
    expect(world.host.wantsDoor()).toBe(true); // it may not have heard
    expectQuiet(world);
  });

  test('that talks on is hung up on; the admission goes on', async () => {
    const world = new JoinWorld();
    const stream = world.call();
    const question = encodeJoinRequest(request(world));
    stream.send(question);
    stream.send(concat(question, question));
    await settle();
    expect(world.streams[0]?.host.closed).toBe(true);
    expect(world.host.inspect()).toMatchObject({ conversations: 0, admitting: 1 });

    const again = world.call();
    again.send(question);
    await settle();
    world.asked[0]?.judge(admitted);
    await settle();
    again.send(question);
    await settle();
    expect(world.streams[1]?.host.closed).toBe(true);
    expect(world.host.inspect()).toEqual({ conversations: 0, admitting: 0, uncollected: 1 });
  });
});
