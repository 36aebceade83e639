import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Stream } from '@libp2p/interface';
import { describe, expect, test } from 'vitest';
import { concat, uint32 } from '../../../shared/base/bytes.ts';
import { encodeCbor } from '../../../shared/base/cbor.ts';
import { incarnationFromBytes, type PeerId, slot } from '../../../shared/base/ids.ts';
import { Random } from '../../../shared/base/random.ts';
import { type Ballot, ROUND_MAX } from '../../../shared/consensus/ballot.ts';
import { encodeMessage } from '../../../shared/consensus/codec.ts';
import type { Message } from '../../../shared/consensus/messages.ts';
import { commandsValue, NOOP } from '../../../shared/consensus/value.ts';
import { batchHash, encodeBatch, type Run } from '../../../shared/document/index.ts';
import { Outbox } from '../../../shared/session/index.ts';
import { encodeNote } from '../../../shared/wire/note.ts';
import { encodeSessionMessage } from '../../../shared/wire/session-messages.ts';
import { encodeFrame } from '../../../src-main/network/framing.ts';
import type { Host } from '../../../src-main/network/libp2p-host.ts';
import { FRAME_BYTES_MAX } from '../../../src-main/network/network.ts';
import { DATA_PROTOCOLS, JOIN_PROTOCOL, PULSE_PROTOCOL } from '../../../src-main/network/protocols.ts';
import { after, agree, alone, expectSound, Machine, type Trio, trio, until, WARN } from './harness.ts';
import { BadMember, dial, enter, sendPulse, startRogue, steal } from './rogue.ts';

function knock({ port }: Machine): Promise<{ socket: Socket; closed: Promise<void> }> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    const closed = new Promise<void>((done) => socket.once('close', () => done()));
    socket.once('connect', () => resolve({ socket, closed }));
    socket.once('error', reject);
    socket.on('error', () => {}); // a reset is one way to be thrown out
    socket.resume();
    after(() => socket.destroy());
  });
}

/** A stream of the join protocol, or null where none is had just now. */
async function atTheDoor(rogue: Host, host: Machine): Promise<{ stream: Stream; leave: () => void } | null> {
  try {
    const connection = await dial(rogue, host);
    const stream = await connection.newStream(JOIN_PROTOCOL, { signal: AbortSignal.timeout(5_000) });
    return { stream, leave: () => connection.abort(new Error('no more to say')) };
  } catch {
    return null;
  }
}

const closedSoon = (stream: Stream): Promise<unknown> =>
  until(() => stream.status !== 'open' || stream.remoteWriteStatus === 'closed', 'the end of the stream');

describe('somebody on the network who is nobody', () => {
  test('raw TCP: rubbish on the port is thrown out, and the peer goes on', async () => {
    const { ana, all } = await trio();
    const rubbish = [
      randomBytes(100_000),
      Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'),
      Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03]),
      Buffer.from('\x13/multistream/1.0.0\n\x07/noise\nabcdefghijklmnopqrstuvwxyz'),
      Buffer.concat([
        Buffer.from('\x13/multistream/1.0.0\n\x07/noise\n'),
        Buffer.from([0xff, 0xff]),
        randomBytes(70_000),
      ]),
      Buffer.from('\x13/multistream/1.0.0\n'.repeat(10_000)),
      Buffer.alloc(0),
    ];
    for (let round = 0; round < 3; round++) {
      await Promise.all(
        rubbish.map(async (bytes) => {
          const { socket, closed } = await knock(ana);
          socket.write(bytes);
          await closed;
        }),
      );
    }
    await expectSound(all);
  });

  test('many connections, open and silent: members go on, and one that restarts comes back in', async () => {
    const { ana, ben, cy, all } = await trio();
    let stop = false;
    const flood = (async () => {
      while (!stop) {
        await Promise.all(Array.from({ length: 40 }, () => knock(ana).catch(() => null)));
        await sleep(250);
      }
    })();
    await sleep(1_000);
    await ben.write('under fire');
    await cy.stop();
    await ana.write('without Cy');
    stop = true;
    await flood;
    await cy.serve();
    await agree(all);
    await expectSound(all);
  });

  test('a stranger who proves who they are: no protocol is spoken with them, and the log says so', async () => {
    const { ana, all } = await trio();
    const rogue = await startRogue(new Uint8Array(randomBytes(32)));
    const outcomes: string[] = [];
    for (const protocol of [
      PULSE_PROTOCOL,
      ...Object.values(DATA_PROTOCOLS),
      JOIN_PROTOCOL,
      '/ipfs/ping/1.0.0',
      '/ipfs/id/1.0.0',
    ]) {
      const heard: Uint8Array[] = [];
      try {
        const connection = await dial(rogue, ana);
        const stream = await connection.newStream(protocol, { signal: AbortSignal.timeout(5_000) });
        stream.addEventListener('message', ({ data }) => heard.push(data.subarray()));
        stream.send(encodeFrame(randomBytes(100)));
        await closedSoon(stream);
      } catch {
        // Not even the connection lasts, which is meant.
      }
      outcomes.push(`${protocol} ${heard.length}`);
    }
    expect(outcomes.filter((line) => !line.endsWith(' 0'))).toEqual([]);
    await until(() => ana.logged('STRANGER').length > 0, 'the warning');
    expect(ana.logged('STRANGER')[0]?.level).toBe(WARN);
    await expectSound(all);
  });

  test('strangers while an invitation is open: the join protocol alone, and rubbish there lets nobody in', async () => {
    const { ana, all } = await trio();
    await ana.invite('learner');
    const rogue = await startRogue(new Uint8Array(randomBytes(32)));
    const connection = await until(() => dial(rogue, ana).catch(() => null), 'an open door');
    for (const protocol of [PULSE_PROTOCOL, ...Object.values(DATA_PROTOCOLS)]) {
      const stream = await connection.newStream(protocol, { signal: AbortSignal.timeout(5_000) }).catch(() => null);
      if (stream !== null) await closedSoon(stream);
    }
    await connection.close().catch(() => {});
    const questions = [
      encodeFrame(randomBytes(500)),
      encodeFrame(encodeCbor([])),
      encodeFrame(encodeCbor([1, 'join'])),
      encodeFrame(encodeCbor([99, 'join', 'from the future'])),
      encodeFrame(
        encodeCbor([1, 'join', 'g'.repeat(26), new Uint8Array(32), new Uint8Array(16), 'X', new Uint8Array(64)]),
      ),
      encodeFrame(new Uint8Array(200_000)),
      uint32(0xffffffff),
      concat(encodeFrame(new Uint8Array(0)), encodeFrame(new Uint8Array(0)), encodeFrame(new Uint8Array(0))),
      uint32(0),
    ];
    for (const question of questions) {
      const { stream, leave } = await until(() => atTheDoor(rogue, ana), 'an open door');
      stream.send(question);
      await closedSoon(stream);
      leave();
    }
    expect((await ana.status()).members).toHaveLength(3);
    await expectSound(all);
    const dora = await new Machine('Dora').serve();
    await dora.join(await ana.invite('learner'));
    await agree([...all, dora]);
  });

  test('strangers who take all places at the door and say nothing: a guest gets in all the same', async () => {
    const { machine: ana } = await alone();
    const ticket = await ana.invite('learner');
    for (let n = 0; n < 10; n++) {
      const rogue = await startRogue(new Uint8Array(randomBytes(32)));
      const connection = await dial(rogue, ana).catch(() => null);
      await connection?.newStream(JOIN_PROTOCOL, { signal: AbortSignal.timeout(5_000) }).catch(() => null);
    }
    const ben = await new Machine('Ben').serve();
    await ben.join(ticket);
    await agree([ana, ben]);
    await ben.write('in');
  });
});

describe("a member's key in the wrong hands: frames that are none", () => {
  async function withRogue() {
    const group = await trio();
    await group.cy.stop();
    const rogue = await startRogue((await steal(group.cy)).seed);
    return { ...group, rogue };
  }

  /** The two who are themselves go on, and so does the third once it is itself again. */
  async function expectUnharmed({ ana, ben, cy, all }: Trio): Promise<void> {
    await expectSound([ana, ben]);
    await cy.serve();
    await expectSound(all);
  }

  test('garbage, lengths over the limit, other versions: cut off, and the log says why', async () => {
    const world = await withRogue();
    const { ana, rogue } = world;
    const bad: readonly [Uint8Array, string][] = [
      [uint32(FRAME_BYTES_MAX + 2), 'FRAME_TOO_LARGE'],
      [uint32(0xffffffff), 'FRAME_TOO_LARGE'],
      [uint32(0), 'FRAME_BAD'],
      [Uint8Array.of(0, 0, 0, 1, 99), 'FRAME_BAD'],
      [concat(encodeFrame(uint32(5)), new Uint8Array(64).fill(255)), 'FRAME_TOO_LARGE'],
    ];
    for (const [index, [bytes, code]] of bad.entries()) {
      const { data, connection } = await enter(rogue, ana);
      const before = ana.logged(code).length;
      data[(['consensus', 'session', 'bulk'] as const)[index % 3] as 'bulk'].send(bytes);
      await until(() => connection.status !== 'open', 'the cut');
      await until(() => ana.logged(code).length > before, `${code} in the log`);
    }
    await expectUnharmed(world);
  });

  test('garbage on the pulse, and a handshake out of turn', async () => {
    const world = await withRogue();
    const { ana, rogue } = world;
    const pulses: readonly ((pulse: Stream) => void)[] = [
      (pulse) => pulse.send(encodeFrame(randomBytes(100))),
      (pulse) => pulse.send(uint32(0x7fffffff)),
      (pulse) => sendPulse(pulse, { type: 'open', addresses: [] }),
      (pulse) => sendPulse(pulse, { type: 'accept', addresses: [] }),
      (pulse) => sendPulse(pulse, { type: 'ack', purpose: 'bulk', bytes: 1_000_000_000 }),
    ];
    for (const speak of pulses) {
      const { pulse, connection } = await enter(rogue, ana);
      speak(pulse);
      await until(() => connection.status !== 'open', 'the cut');
    }
    expect(ana.logged('FRAME_BAD').length + ana.logged('FRAME_TOO_LARGE').length).toBeGreaterThanOrEqual(pulses.length);
    await expectUnharmed(world);
  });

  test('a frame that never ends, and a line that falls silent: it is cut off, and nobody waits for it', async () => {
    const world = await withRogue();
    const { ana, ben, rogue } = world;
    const { data, connection, fallSilent } = await enter(rogue, ana);
    data.consensus.send(concat(uint32(1_000_000), Uint8Array.of(1), new Uint8Array(10)));
    const drip = setInterval(() => {
      if (data.consensus.writeStatus === 'writable') data.consensus.send(new Uint8Array(1));
    }, 500);
    after(() => clearInterval(drip));
    for (let n = 0; n < 3; n++) await ben.write(`meanwhile ${n}`);
    clearInterval(drip);
    fallSilent();
    await until(() => connection.status !== 'open', 'the cut');
    expect(ana.logged('PEER_SILENT').length).toBeGreaterThan(0);
    await expectUnharmed(world);
  });
});

describe("a member's key in the wrong hands: frames with something wrong inside", () => {
  async function withBadMember() {
    const group = await trio();
    await group.cy.stop();
    const stolen = await steal(group.cy);
    const bad = await BadMember.start(stolen, [group.ana, group.ben]);
    return { ...group, bad, stolen, victims: [group.ana, group.ben] as const };
  }
  type World = Awaited<ReturnType<typeof withBadMember>>;

  async function expectUnharmed({ ana, ben, cy, all, bad }: World): Promise<void> {
    for (const victim of [ana, ben]) await bad.settled(victim);
    await expectSound([ana, ben]);
    await bad.network.stop();
    await cy.serve();
    // Whatever was said in its name may cost Cy its vote, but not its reading, and not the others anything.
    await agree(all);
    await expectSound([ana, ben]);
  }

  test('bodies of nothing, noise, another group, another epoch, cut off, bent: dropped, and the log says so', async () => {
    const world = await withBadMember();
    const { ana, bad, victims } = world;
    const random = new Random(7);
    const { frame: whole } = bad.heard[0] as { frame: Uint8Array };
    const beat = encodeMessage({ type: 'fetch', from: slot(1) });
    const frames: Uint8Array[] = [
      new Uint8Array(0),
      randomBytes(1),
      randomBytes(50_000),
      new Uint8Array(FRAME_BYTES_MAX).fill(0x81),
      new Uint8Array(100_000).fill(0x9f),
      Uint8Array.of(0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
      Uint8Array.of(0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
      encodeCbor([]),
      encodeCbor(['__proto__']),
      encodeCbor([2, 'a later envelope', 1]),
      bad.frame('consensus', beat, { group: `g${'a'.repeat(25)}` as never }),
      bad.frame('consensus', beat, { epoch: new Uint8Array(32) }),
      bad.frame('consensus', beat, { turn: Number.MAX_SAFE_INTEGER }),
      bad.frame('consensus', new Uint8Array(0)),
      bad.frame('consensus', randomBytes(1_000)),
      bad.frame('consensus', encodeCbor([99])),
      bad.frame('consensus', encodeCbor([-1, 2, 3])),
      bad.frame('consensus', encodeCbor(['accept'])),
      bad.frame('session', encodeCbor([1, [new Uint8Array(10), new Uint8Array(0)]])),
      bad.frame('session', encodeCbor([1, Array.from({ length: 5_000 }, () => new Uint8Array(1))])),
      bad.frame('session', encodeCbor([2, ['/ip4/1.2.3.4/tcp/1', 'not an address', '\0'], 1, 'x'])),
      bad.frame('session', encodeCbor([77])),
      bad.frame('session', new Uint8Array(1_000_000)),
    ];
    for (let n = 0; n < 200; n++) frames.push(whole.slice(0, random.below(whole.length)));
    for (let n = 0; n < 400; n++) {
      const bent = whole.slice();
      const at = random.below(bent.length);
      bent[at] = (bent[at] as number) ^ (1 << random.below(8));
      frames.push(bent);
    }
    for (const victim of victims) {
      for (const purpose of ['consensus', 'session', 'bulk'] as const) {
        for (const frame of frames) {
          while (bad.network.queuedBytes(victim.id as PeerId, purpose) > 4_000_000) await sleep(5);
          bad.send(victim, purpose, frame);
        }
      }
    }
    await expectUnharmed(world);
    expect(
      ana.log.some(({ level, message }) => level === WARN && /could not be read|can't be read/.test(message)),
    ).toBe(true);
  });

  test("old frames, frames twice, and the others' own frames sent back to them", async () => {
    const world = await withBadMember();
    const { bad, victims, ana } = world;
    for (let n = 0; n < 30; n++) await ana.write(`makes frames ${n}`);
    const recorded = [...bad.heard];
    expect(recorded.length).toBeGreaterThan(20);
    for (let n = 0; n < 20; n++) await ana.write(`makes them old ${n}`);
    for (const victim of victims) {
      for (const { frame, envelope } of recorded) {
        const purpose = envelope.layer === 'snapshot' ? 'bulk' : envelope.layer;
        bad.send(victim, purpose, frame);
        bad.send(victim, purpose, frame);
      }
    }
    await expectUnharmed(world);
  });

  /** Commands in somebody else's name: right in all but the signature. */
  function forged(world: World, name: Machine, incarnation: string, text: string): Run {
    const outbox = new Outbox({
      group: world.group as never,
      peer: name.id as PeerId,
      incarnation: incarnation as never,
      random: (length) => new Uint8Array(randomBytes(length)),
    });
    const written = { writer: name.name, timeMs: Date.now(), offsetMinutes: 0, saw: slot(0), level: 1 };
    outbox.add({ kind: 'create', key: null, text }, written);
    return outbox.cut({ ...world.stolen.signer }).runs[0] as Run;
  }

  test('commands with a forged signature, proposed, offered and served: never an entry, and the log says so', async () => {
    const world = await withBadMember();
    const { ana, ben, bad, stolen, victims } = world;
    const { ballot, chosen } = await ana.status();
    const anas = (await ana.ask((service, signal) => service.status({}, signal))).groups[0]?.ballot[2] as string;
    const runs = [
      forged(world, ana, anas, 'FORGED in the name of Ana'),
      forged(world, ben, '00'.repeat(16), 'FORGED in the name of Ben'),
    ];
    const value = commandsValue(encodeBatch(Date.now(), runs), batchHash);
    const own: Ballot = { round: ballot[0] + 1, peer: stolen.peer, incarnation: stolen.incarnation };
    for (const victim of victims) {
      for (let at = chosen; at < chosen + 4; at++) {
        bad.say(victim, {
          type: 'accept',
          ballot: own,
          configuration: slot(0),
          slot: slot(at + 1),
          value,
          watermark: slot(at),
        });
      }
      bad.send(
        victim,
        'session',
        bad.frame('session', encodeSessionMessage({ type: 'offer', runs: runs.map((run) => run.bytes) })),
      );
      const served: Message = {
        type: 'values',
        from: slot(chosen + 1),
        values: [value],
        digest: new Uint8Array(32),
        prefix: slot(chosen + 1),
      };
      bad.send(victim, 'bulk', bad.frame('consensus', encodeMessage(served)));
    }
    await until(
      () => victims.every((victim) => victim.logged('BAD_SIGNATURE').length > 0),
      'BAD_SIGNATURE in both logs',
    );
    await expectUnharmed(world);
    for (const machine of world.all) {
      expect((await machine.texts()).filter((text) => text?.includes('FORGED'))).toEqual([]);
    }
  });

  const FAR = slot(Number.MAX_SAFE_INTEGER);
  const HASH = new Uint8Array(32);

  /** Messages that decode, with fields at their ends. `round` is one that nobody has used. */
  function extremes(round: number, peer: PeerId, incarnation: string): readonly Message[] {
    const ballot: Ballot = { round, peer, incarnation: incarnation as never };
    const note = encodeNote({
      levelMax: Number.MAX_SAFE_INTEGER,
      applied: FAR,
      state: HASH,
      staysOn: true,
      logBytes: Number.MAX_SAFE_INTEGER,
      stateBytes: 0,
    });
    return [slot(0), slot(1), FAR].flatMap((at): Message[] => {
      const open = slot(Math.max(1, at));
      return [
        { type: 'prepare', ballot, configuration: at, slot: open, transferFrom: ballot },
        {
          type: 'promise',
          ballot,
          configuration: at,
          floor: at,
          digest: HASH,
          listing: new Uint8Array(8),
          part: 0,
          parts: 4096,
          accepted: [],
        },
        {
          type: 'promise',
          ballot,
          configuration: at,
          floor: at,
          digest: HASH,
          listing: new Uint8Array(8),
          part: 0,
          parts: 1,
          accepted: [{ slot: open, ballot, value: NOOP }],
        },
        { type: 'accept', ballot, configuration: at, slot: open, value: NOOP, watermark: at },
        { type: 'accepted', ballot, slots: [open, open, FAR], prefix: at },
        { type: 'nack', ballot, promised: null, reason: 'ballot' },
        { type: 'nack', ballot, promised: ballot, reason: 'leader' },
        { type: 'behind', ballot, slot: open, lacks: 'you', prefix: at, digest: HASH },
        { type: 'behind', ballot, slot: open, lacks: 'me', prefix: at, digest: HASH },
        { type: 'commit', ballot, watermark: at, digest: HASH },
        {
          type: 'heartbeat',
          promised: ballot,
          leading: null,
          hearsLeader: null,
          hears: [peer, peer],
          prefix: at,
          digest: HASH,
          durable: FAR,
          votes: true,
          note,
        },
        {
          type: 'heartbeat',
          promised: null,
          leading: null,
          hearsLeader: ballot,
          hears: [],
          prefix: at,
          digest: HASH,
          durable: at,
          votes: false,
          note: new Uint8Array(0),
        },
        {
          type: 'heartbeat',
          promised: null,
          leading: null,
          hearsLeader: null,
          hears: [],
          prefix: at,
          digest: HASH,
          durable: at,
          votes: false,
          note: randomBytes(1024),
        },
        { type: 'fetch', from: open },
        { type: 'values', from: open, values: [NOOP, NOOP], digest: HASH, prefix: at },
        { type: 'values', from: open, values: [], digest: HASH, prefix: FAR },
        { type: 'transfer', ballot },
        { type: 'barrier', id: Number.MAX_SAFE_INTEGER },
        { type: 'barrier-reached', id: 0, slot: open },
      ];
    });
  }

  test('messages with fields at their ends: the others go on', async () => {
    const world = await withBadMember();
    const { ana, bad, stolen, victims } = world;
    const { ballot } = await ana.status();
    for (const message of extremes(ballot[0] + 1, stolen.peer, stolen.incarnation)) {
      for (const victim of victims) bad.say(victim, message);
      for (const victim of victims) {
        await sleep(20);
        expect(
          victim.isRunning,
          `${victim.name} after ${JSON.stringify(message).slice(0, 300)}: ${victim.stderr.slice(-1_500)}`,
        ).toBe(true);
      }
    }
    await expectUnharmed(world);
  });

  test('messages in the name of a ballot or a store that is not theirs: the others go on', async () => {
    const world = await withBadMember();
    const { ana, bad, victims } = world;
    const { ballot } = await ana.status();
    for (const message of extremes(ballot[0], ballot[1] as PeerId, ballot[2])) {
      // A value under the real leader's ballot is what nobody but the leader may say.
      for (const victim of victims) {
        bad.send(
          victim,
          'consensus',
          bad.frame('consensus', encodeMessage(message), { incarnation: incarnationFromBytes(new Uint8Array(16)) }),
        );
        bad.say(victim, message);
      }
    }
    await expectUnharmed(world);
  });

  test('the highest round there is: the others still find a leader', async () => {
    const world = await withBadMember();
    const { ana, ben, bad, stolen, victims } = world;
    const ballot: Ballot = { round: ROUND_MAX - 1, peer: stolen.peer, incarnation: stolen.incarnation };
    for (const victim of victims) {
      bad.say(victim, { type: 'prepare', ballot, configuration: slot(0), slot: slot(1), transferFrom: null });
      bad.say(victim, { type: 'nack', ballot, promised: ballot, reason: 'ballot' });
      bad.say(victim, { type: 'commit', ballot, watermark: slot(1), digest: HASH });
    }
    await bad.settled(ana);
    await bad.settled(ben);
    await bad.network.stop();
    await expectSound([ana, ben]);
    await ana.stop();
    await ana.serve();
    await expectSound([ana, ben]);
  });

  test('a member that claims another state: whoever agrees with the others goes on', async () => {
    const world = await withBadMember();
    const { ana, bad, victims } = world;
    const { applied, chosen, digest } = await ana.status();
    const note = encodeNote({
      levelMax: 1,
      applied: slot(applied),
      state: new Uint8Array(32).fill(1),
      staysOn: false,
      logBytes: 0,
      stateBytes: 0,
    });
    const prefix = slot(chosen);
    const beat: Message = {
      type: 'heartbeat',
      promised: null,
      leading: null,
      hearsLeader: null,
      hears: [],
      prefix,
      digest: Buffer.from(digest, 'hex'),
      durable: prefix,
      votes: true,
      note,
    };
    for (const victim of victims) bad.say(victim, beat);
    await expectUnharmed(world);
  });

  test('a flood of questions: memory stays bounded, and the others go on', async () => {
    const world = await withBadMember();
    const { ana, ben, bad } = world;
    await ana.write('x'.repeat(1_000_000));
    for (let n = 0; n < 3_000; n++) {
      bad.say(ana, { type: 'fetch', from: slot(1) });
      bad.say(ana, { type: 'barrier', id: n });
      if (n % 500 === 0) await ben.write(`meanwhile ${n}`);
    }
    await expectUnharmed(world);
    const rss = process.platform === 'linux' ? await readFile(`/proc/${ana.pid}/status`, 'utf8') : 'VmRSS: 0 kB';
    expect(Number(/VmRSS:\s+(\d+) kB/.exec(rss)?.[1])).toBeLessThan(700 * 1024);
  });
});
