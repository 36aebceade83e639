import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Cbor, encodeCbor } from '../../shared/base/cbor.ts';
import { keyFromPeer } from '../../shared/base/ids.ts';
import { JoinError } from '../../src-main/group/join-guest.ts';
import { encodeJoinAnswer, type JoinAnswer } from '../../src-main/group/join-messages.ts';
import { placesOf } from '../../src-main/group/join-words.ts';
import { admitted, GENESIS, GROUP, HOST, JoinWorld, OTHER } from './join-world.ts';
import { someGenesis, somePeer } from './made-up.ts';
import { settle } from './manual-clock.ts';

const welcome = {
  type: 'admitted',
  genesis: GENESIS,
  title: 'Ward 3',
  rights: 'writer',
  role: 'learner',
  members: [],
  info: new Uint8Array(),
} satisfies JoinAnswer;

/** A host that answers whatever it is asked with these frames. */
const saying = (world: JoinWorld, ...frames: Uint8Array[]) => {
  world.dial = (stream) => {
    for (const frame of frames) stream.send(frame);
  };
};

describe('a guest', () => {
  test('is let in, and says nothing about an agreement that takes no time', async () => {
    const world = new JoinWorld();
    const join = world.join();
    await settle();
    world.asked[0]?.wait('asking 2 of 3 voters');
    await world.clock.pass(999);
    world.asked[0]?.judge(admitted);
    await settle();
    expect(join.joined).toEqual({
      group: GROUP,
      genesis: GENESIS,
      title: 'Ward 3',
      rights: 'writer',
      role: 'learner',
      members: [{ peer: HOST, name: 'Ana', addresses: ['/ip4/10.20.4.17/tcp/4747'] }],
      info: Uint8Array.of(1, 2, 3),
    });
    expect(join.outcomes).toEqual([]);
    expect(world.host.wantsDoor()).toBe(false);
    expect(world.clock.timers).toBe(0);
    expect(world.streams.every(({ guest, host }) => guest.closed && host.closed)).toBe(true);
  });

  test('is told that it waits for the group, once, over many conversations, until it is let in', async () => {
    const world = new JoinWorld();
    const join = world.join();
    await settle();
    world.asked[0]?.wait('needs 2 of 3 voters');
    await world.clock.pass(1_000);
    expect(join.outcomes).toEqual([
      { code: 'WAITING', message: 'Ana let you in; waiting for the group: needs 2 of 3 voters' },
    ]);
    await world.clock.pass(600_000);
    expect(join.codes).toEqual(['WAITING']);
    expect(world.dials).toBeGreaterThan(20);
    expect(world.asked).toHaveLength(1);
    world.asked[0]?.judge(admitted);
    await world.clock.pass(1_000);
    expect(join.joined?.role).toBe('learner');
  });

  test('whose time runs out while the group is asked can run the same command again', async () => {
    const world = new JoinWorld();
    const join = world.join();
    await settle();
    world.asked[0]?.wait('needs 2 of 3 voters');
    await world.clock.pass(20_000);
    await join.abort();
    expect(join.error).toBeInstanceOf(JoinError);
    expect(join.error).toMatchObject({
      code: 'NOT_YET',
      final: false,
      message: "The group hasn't let you in yet. Run the same command again.",
    });
    world.asked[0]?.judge(admitted);
    await settle();
    world.invitation = { state: 'used', by: world.asked[0]?.request.joiner ?? OTHER };
    const again = world.join();
    await settle();
    world.asked[1]?.judge(admitted);
    await settle();
    expect(again.joined?.group).toBe(GROUP);
    expect(world.clock.timers).toBe(0);
  });

  test.each([
    ['NO_ANSWER', /^No answer from 10\.20\.4\.17\. A firewall or a Wi-Fi that separates devices is likely/],
    ['WRONG_PEER', /^Another machine answers at 10\.20\.4\.17/],
    ['REFUSED', /^10\.20\.4\.17 lets nobody in just now\. .*used or expired/],
  ] as const)('is told %s once it has lasted, goes on, and gets it as the error at the end', async (code, words) => {
    const world = new JoinWorld();
    world.dial = code;
    const join = world.join();
    await world.clock.pass(4_999);
    expect(join.outcomes).toEqual([]);
    await world.clock.pass(1);
    expect(join.outcomes).toEqual([{ code, message: expect.stringMatching(words) }]);
    await world.clock.pass(55_000);
    expect(join.outcomes).toHaveLength(1);
    expect(world.dials).toBeGreaterThan(10);
    expect(world.dials).toBeLessThan(30);
    await join.abort();
    expect(join.error).toMatchObject({ code, final: false, message: expect.stringMatching(words) });
    expect(world.clock.timers).toBe(0);
  });

  test('gets in after all when the host comes back', async () => {
    const world = new JoinWorld();
    world.dial = 'NO_ANSWER';
    const join = world.join();
    await world.clock.pass(20_000);
    world.dial = 'host';
    await world.clock.pass(5_000);
    world.asked[0]?.judge(admitted);
    await settle();
    expect(join.joined?.group).toBe(GROUP);
    expect(join.codes).toEqual(['NO_ANSWER']);
  });

  test('is told NO_ANSWER within 30 s where nothing comes back at all', async () => {
    const world = new JoinWorld();
    world.dial = 'hang';
    const join = world.join();
    await world.clock.pass(29_000);
    expect(join.codes).toEqual(['NO_ANSWER']);

    const silent = new JoinWorld();
    silent.dial = () => {};
    const other = silent.join({ times: { silenceMs: 100_000 } });
    await silent.clock.pass(29_000);
    expect(other.outcomes).toEqual([
      { code: 'NO_ANSWER', message: expect.stringContaining('the connection was made, but nothing came back') },
    ]);
  });

  test('calls again where a host falls silent', async () => {
    const world = new JoinWorld();
    world.dial = () => {};
    const join = world.join();
    await world.clock.pass(13_000);
    expect(world.dials).toBe(2);
    expect(join.codes).toEqual(['NO_ANSWER']);
    expect(world.streams[0]?.guest.closed).toBe(true);
  });

  test('of a ticket whose date is past is told so where the door is shut', async () => {
    const world = new JoinWorld();
    world.dial = 'REFUSED';
    const join = world.join({ ticket: world.ticket({ expiresMs: world.clock.nowMs() - 1 }) });
    await world.clock.pass(6_000);
    expect(join.outcomes).toEqual([
      {
        code: 'TICKET_EXPIRED',
        message: expect.stringMatching(/^This ticket was good until \d{4}-\d\d-\d\d \d\d:\d\d\. Ask/),
      },
    ]);
    expect(join.error).toBeUndefined();
  });

  test.each([
    ['TICKET_EXPIRED', { state: 'open', rights: 'writer', pinnedRole: null, expiresMs: 5 }],
    ['INVITATION_USED', { state: 'used', by: OTHER }],
    ['INVITATION_REVOKED', { state: 'revoked' }],
    ['INVITATION_UNKNOWN', { state: 'unknown' }],
  ] as const)('is told %s at once, and for good', async (code, invitation) => {
    const world = new JoinWorld();
    world.invitation = invitation;
    const join = world.join();
    await settle();
    expect(join.codes).toEqual([code]);
    expect(join.error).toMatchObject({ code, final: true, message: join.outcomes[0]?.message });
    expect(join.outcomes[0]?.message).toMatch(/Ask for a new one\.$/);
    expect(world.dials).toBe(1);
    await settle();
    expect(world.clock.timers).toBe(0);
  });

  test('of another machine that is being let in with the same ticket waits, and then knows', async () => {
    const world = new JoinWorld();
    world.join();
    const second = world.join({}, OTHER);
    await world.clock.pass(6_000);
    expect(second.outcomes).toEqual([
      { code: 'REFUSED', message: 'Another machine is just being let in with this ticket.' },
    ]);
    world.asked[0]?.judge(admitted);
    world.invitation = { state: 'used', by: world.asked[0]?.request.joiner ?? OTHER };
    await world.clock.pass(6_000);
    expect(second.codes).toEqual(['REFUSED', 'INVITATION_USED']);
    expect(second.error).toMatchObject({ code: 'INVITATION_USED', final: true });
  });

  test('with its own ticket is told so without a call', async () => {
    const world = new JoinWorld();
    const join = world.join({}, HOST);
    await settle();
    expect(join.error).toMatchObject({ code: 'OWN_TICKET', final: true });
    expect(world.dials).toBe(0);
  });

  test('that is aborted before it begins does not call', async () => {
    const world = new JoinWorld();
    const join = world.join({ signal: AbortSignal.abort() });
    await settle();
    expect(join.error).toMatchObject({ code: 'NO_ANSWER', final: false });
    expect(world.dials).toBe(0);
    expect(world.clock.timers).toBe(0);
  });

  test('aborted in the middle of a call, or just after the question, ends at once', async () => {
    const world = new JoinWorld();
    world.dial = 'hang';
    const dialling = world.join();
    await settle();
    await dialling.abort();
    expect(dialling.error).toMatchObject({ code: 'NO_ANSWER', final: false });
    world.dial = 'host';
    const asking = world.join();
    await settle();
    await asking.abort();
    expect(asking.error).toMatchObject({ code: 'NOT_YET', final: false });
  });

  test('brings its name in one clean line, or a part of its id', async () => {
    const world = new JoinWorld();
    world.join({ name: ' Ben\u202e\n the   nurse ' });
    await settle();
    expect(world.asked[0]?.request.name).toBe('Ben the nurse');
    const nameless = new JoinWorld();
    nameless.join({ name: '\u0007' });
    await settle();
    expect(nameless.asked[0]?.request.name).toBe(somePeer(2).slice(-6));
  });
});

describe('a hostile host', () => {
  test("can not pass off another group's genesis", async () => {
    const world = new JoinWorld();
    world.genesis = someGenesis(8);
    const join = world.join();
    await settle();
    world.asked[0]?.judge(admitted);
    await settle();
    expect(join.joined).toBeUndefined();
    expect(join.error).toMatchObject({ code: 'BAD_ANSWER', final: true });
  });

  test.each<[string, Uint8Array]>([
    ['nothing', new Uint8Array()],
    ['noise', Uint8Array.of(9, 9, 9)],
    ['nesting without end', new Uint8Array(256 * 1024).fill(0x81)],
    ['too much', new Uint8Array(256 * 1024 + 1)],
    ['another word', encodeCbor([1, 'hello'])],
    ['no version', encodeCbor(['admitted'])],
    ['unknown rights', encodeCbor([1, 'admitted', GENESIS, 't', 'owner', 'learner', [], new Uint8Array()])],
    ['unknown role', encodeCbor([1, 'admitted', GENESIS, 't', 'writer', 'leader', [], new Uint8Array()])],
    ['a field too few', encodeCbor([1, 'admitted', GENESIS, 't', 'writer', 'learner', []])],
    [
      'a bad member',
      encodeCbor([1, 'admitted', GENESIS, 't', 'writer', 'learner', [['x', 'y', []]], new Uint8Array()]),
    ],
    [
      'too many members',
      encodeCbor([
        1,
        'admitted',
        GENESIS,
        't',
        'writer',
        'learner',
        Array.from({ length: 1025 }, (): Cbor => [keyFromPeer(HOST), 'n', []]),
        new Uint8Array(),
      ]),
    ],
  ])('that says %s is refused for good', async (_what, frame) => {
    const world = new JoinWorld();
    saying(world, frame);
    const join = world.join();
    await settle();
    expect(join.error).toMatchObject({ code: 'BAD_ANSWER', final: true });
    expect(world.clock.timers).toBe(0);
  });

  test('of a newer version is named', async () => {
    const world = new JoinWorld();
    saying(world, encodeCbor([2, 'admitted', 'differently']));
    const join = world.join();
    await settle();
    expect(join.error).toMatchObject({ code: 'UPDATE_NEEDED', final: true });
  });

  test('with a reason that this version does not know is shown in its words, cleaned, and asked again', async () => {
    const world = new JoinWorld();
    saying(world, encodeCbor([1, 'refused', 'MOON_TOO_FULL', `The moon\u001b[2J\nis full${'!'.repeat(1000)}`]));
    const join = world.join();
    await world.clock.pass(6_000);
    expect(join.outcomes).toMatchObject([
      { code: 'REFUSED', message: expect.stringMatching(/^The moon \[2J is full!+$/) },
    ]);
    expect(join.outcomes[0]?.message.length).toBeLessThanOrEqual(500);
    expect(world.dials).toBeGreaterThan(2);
  });

  test('that only ever says "waiting" does not keep the guest from calling again, nor in a hurry', async () => {
    const world = new JoinWorld();
    const flood = Array.from({ length: 5_000 }, () => encodeJoinAnswer({ type: 'waiting', host: 'Eve', why: 'so' }));
    saying(world, ...flood);
    world.join();
    await settle();
    expect(world.streams[0]?.guest.closed).toBe(true);
    await world.clock.pass(60_000);
    expect(world.dials).toBeGreaterThan(60);
    expect(world.dials).toBeLessThan(130);
    expect(world.streams.every(({ guest }, i) => guest.closed || i === world.streams.length - 1)).toBe(true);
  });

  test('that hangs up without a word counts as no answer', async () => {
    const world = new JoinWorld();
    world.dial = (stream) => void stream.close();
    const join = world.join();
    await world.clock.pass(6_000);
    expect(join.codes).toEqual(['NO_ANSWER']);
  });

  test('whatever it says, the guest is let in by the right genesis alone', async () => {
    const answer = encodeJoinAnswer(welcome);
    await fc.assert(
      fc.asyncProperty(fc.nat(answer.length - 1), fc.integer({ min: 1, max: 255 }), async (at, bits) => {
        const world = new JoinWorld();
        const bad = answer.slice();
        bad[at] = (bad[at] as number) ^ bits;
        saying(world, bad);
        const join = world.join();
        await settle();
        if (join.joined) expect(join.joined.genesis).toEqual(GENESIS);
        else expect(join.error).toBeInstanceOf(JoinError);
      }),
      { numRuns: 60 },
    );
  });
});

describe('the answer of a large group', () => {
  test('fits a frame: the members in front are named', () => {
    const members = Array.from({ length: 2000 }, (_, n) => ({
      peer: somePeer(n % 5),
      name: 'N'.repeat(500),
      addresses: Array.from({ length: 20 }, () => '/dns/'.padEnd(199, 'x')),
    }));
    const frame = encodeJoinAnswer({
      ...welcome,
      members,
      info: new Uint8Array(64 * 1024),
      genesis: new Uint8Array(64 * 1024),
    });
    expect(frame.length).toBeLessThan(256 * 1024);
    expect(frame.length).toBeGreaterThan(200 * 1024);
    expect(() => encodeJoinAnswer({ ...welcome, info: new Uint8Array(64 * 1024 + 1) })).toThrow(RangeError);
  });
});

test('places are shown as people know them', () => {
  expect(placesOf([])).toBe('the other machine');
  expect(placesOf(['/ip4/10.0.0.1/tcp/4747/p2p/12D3KooW'])).toBe('10.0.0.1');
  expect(placesOf(['10.0.0.1:5000', '/ip6/fd00::1/tcp/5000'])).toBe('10.0.0.1:5000 or [fd00::1]:5000');
  expect(placesOf(['a', 'b', 'c', 'd', 'e', 'a'])).toBe('a, b, c and 2 more');
});
