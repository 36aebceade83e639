// Who is not let in, who is put out, and what they are told.
import { randomBytes } from 'node:crypto';
import { connect as connectTcp } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Stream } from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import { afterEach, describe, expect, test } from 'vitest';
import { createInvitationKey, formatTicket, parseTicket, type Ticket } from '../../src-main/group/ticket.ts';
import { type Host, startHost } from '../../src-main/network/libp2p-host.ts';
import { DATA_PROTOCOLS, JOIN_PROTOCOL, PULSE_PROTOCOL } from '../../src-main/network/protocols.ts';
import {
  enter,
  type Outcome,
  type Peer,
  textsOf,
  ticketOf,
  until,
  untilAgreed,
  untilStatus,
  worldForEach,
} from './harness.ts';

const world = worldForEach();

/** One machine with a group of its own. */
async function founder(): Promise<Peer> {
  const ana = await world().start('Ana');
  await ana.does('create', 'Log');
  return ana;
}

/** What `join` said on the way. */
function stepsOf({ err }: Outcome): string[] {
  const said = err.split('\n').filter((line) => line !== '');
  return said.map((line) => JSON.parse(line)).flatMap(({ event, step }) => (event === 'join' ? [step] : []));
}

function messageOf({ err }: Outcome): string {
  return JSON.parse(err.trim().split('\n').at(-1) ?? '{}').message;
}

const forged = (real: string, changes: Partial<Ticket>): string => formatTicket({ ...parseTicket(real), ...changes });

describe('a stranger on the wire', () => {
  const hosts: Host[] = [];
  afterEach(async () => {
    for (const host of hosts.splice(0)) await host.node.stop();
  });

  async function stranger(): Promise<Host> {
    const seed = new Uint8Array(randomBytes(32));
    const host = await startHost({ privateKeySeed: seed, listen: ['/ip4/127.0.0.1/tcp/0'], gater: {}, onSeen: null });
    hosts.push(host);
    return host;
  }

  /** A stream of the protocol, or null where it gets none. */
  async function streamTo(peer: Peer, host: Host, protocol: string): Promise<Stream | null> {
    try {
      const connection = await host.node.dial(multiaddr(peer.address));
      return await connection.newStream(protocol);
    } catch {
      return null;
    }
  }

  const memberProtocols = [PULSE_PROTOCOL, ...Object.values(DATA_PROTOCOLS)];

  test('is not connected at all while no invitation is open', async () => {
    const ana = await founder();
    const mallory = await stranger();
    for (const protocol of [...memberProtocols, JOIN_PROTOCOL]) {
      expect(await streamTo(ana, mallory, protocol), protocol).toBeNull();
    }
    expect(mallory.node.getConnections()).toEqual([]);
    expect((await ana.status()).members).toHaveLength(1);
  });

  test('reaches the join protocol alone while one is', async () => {
    const ana = await founder();
    await ticketOf(ana);
    const mallory = await stranger();
    const join = await until('the door is open', () => streamTo(ana, mallory, JOIN_PROTOCOL));
    for (const protocol of memberProtocols) {
      const stream = await streamTo(ana, mallory, protocol);
      if (stream === null) continue;
      let heard = 0;
      stream.addEventListener('message', ({ data }) => {
        heard += data.byteLength;
      });
      await until(`${protocol} is shut`, () => stream.status !== 'open');
      expect(heard).toBe(0);
    }
    join.abort(new Error('only a look'));
    expect((await ana.status()).members).toHaveLength(1);
  });

  test('does not stall the group, in any number', async () => {
    const [ana, ben] = await world().group('Ana', 'Ben', 'Cleo');
    const port = Number(/tcp\/(\d+)/.exec(ana.address)?.[1]);
    const sockets = Array.from({ length: 200 }, () => {
      const socket = connectTcp(port, '127.0.0.1', () => socket.write(randomBytes(500)));
      return socket.on('error', () => undefined).resume();
    });
    try {
      for (let n = 0; n < 10; n++) {
        expect(await [ana, ben][n % 2]?.does('append', `entry ${n}`)).toMatchObject([
          { status: 'committed', position: n + 1 },
        ]);
      }
    } finally {
      for (const socket of sockets) socket.destroy();
    }
  });
});

describe('a ticket', () => {
  test('that was made up opens nothing', async () => {
    const ana = await founder();
    const mallory = await world().start('Mallory');
    const real = await ticketOf(ana, '--expires', '1h');
    const madeUp = await mallory.synod('join', '--timeout', '20s', forged(real, { seed: createInvitationKey().seed }));
    expect(madeUp).toMatchObject({ code: 4, lines: [], error: 'INVITATION_EXPIRED' });
    expect(messageOf(madeUp)).toMatch(/doesn't know it/);
    const otherGroup = forged(real, { group: `g${'a'.repeat(25)}` as Ticket['group'] });
    expect(await mallory.synod('join', '--timeout', '20s', otherGroup)).toMatchObject({ code: 4, lines: [] });
    expect(await mallory.synod('log')).toMatchObject({ code: 1, error: 'NO_GROUP' });
    expect((await ana.status()).members).toHaveLength(1);
  });

  test('lets in one machine, once', async () => {
    const ana = await founder();
    const [ben, mallory] = [await world().start('Ben'), await world().start('Mallory')];
    const ticket = await ticketOf(ana);
    const [joined] = await ben.does('join', ticket);
    expect(joined).toEqual({ group: (await ana.status()).group, role: 'learner' });
    // The same machine may ask again; it needs no second ticket.
    expect(await ben.does('join', ticket)).toEqual([joined]);
    await untilAgreed(ana, ben);
    expect(await ben.does('join', ticket)).toEqual([joined]);
    expect(await ana.synod('join', ticket)).toMatchObject({ code: 1, error: 'ALREADY_MEMBER' });

    // With nobody else invited the door is shut, and the machine says no more than that.
    const shut = await mallory.synod('join', '--timeout', '8s', ticket);
    expect(shut).toMatchObject({ code: 4, lines: [], error: expect.stringMatching(/^(TIMED_OUT|INVITATION_USED)$/) });
    expect(stepsOf(shut)).toEqual(['DIALLING', 'DOOR_SHUT']);
    expect(messageOf(shut)).toMatch(/used or expired/);

    const another = await ticketOf(ana);
    expect(await ben.synod('join', another)).toMatchObject({ code: 1, error: 'ALREADY_MEMBER' });
    const used = await mallory.synod('join', '--timeout', '20s', ticket);
    expect(used).toMatchObject({ code: 4, lines: [], error: 'INVITATION_USED' });
    expect(messageOf(used)).toMatch(/already used/);
    expect((await ana.status()).members.map(({ name }) => name).toSorted()).toEqual(['Ana', 'Ben']);
  });

  test('runs out', async () => {
    const ana = await founder();
    const mallory = await world().start('Mallory');
    const ticket = await ticketOf(ana, '--expires', '100ms');
    await sleep(150);
    const expired = await mallory.synod('join', '--timeout', '8s', ticket);
    expect(expired).toMatchObject({ code: 4, lines: [] });
    expect(messageOf(expired)).toMatch(/was good until/);
    await ticketOf(ana, '--expires', '1h');
    const again = await mallory.synod('join', '--timeout', '20s', ticket);
    expect(again).toMatchObject({ code: 4, lines: [], error: 'INVITATION_EXPIRED' });
    expect((await ana.status()).members).toHaveLength(1);
  });

  test('with a slip of the pen is told from no ticket', async () => {
    const ana = await founder();
    const mallory = await world().start('Mallory');
    const ticket = await ticketOf(ana);
    const at = 40;
    const slip = ticket.slice(0, at) + (ticket[at] === 'a' ? 'b' : 'a') + ticket.slice(at + 1);
    for (const text of [slip, ticket.slice(0, -3)]) {
      const mistyped = await mallory.synod('join', text);
      expect(mistyped).toMatchObject({ code: 1, lines: [], error: 'BAD_TICKET' });
      expect(messageOf(mistyped)).toMatch(/wrong or missing/);
    }
    const other = await mallory.synod('join', 'let me in');
    expect(other).toMatchObject({ code: 1, lines: [], error: 'BAD_TICKET' });
    expect(messageOf(other)).toMatch(/begins with synod1/);
    // As mail programs leave it, it is still good.
    const mailed = `<${ticket.toUpperCase().replace(/(.{30})/g, '$1\n ')}>\n`;
    expect((await mallory.launch(['join', '-'], mailed).ended).lines).toMatchObject([{ role: 'learner' }]);
  });

  test('of a machine that is away, or that another one has replaced', async () => {
    const ana = await founder();
    const ben = await world().start('Ben');
    const ticket = await ticketOf(ana);
    await ana.stop();
    const away = await ben.synod('join', '--timeout', '6s', ticket);
    expect(away).toMatchObject({ code: 4, lines: [], error: 'TIMED_OUT' });
    expect(stepsOf(away)).toContain('NO_ANSWER');
    expect(messageOf(away)).toMatch(/No answer from 127\.0\.0\.1/);

    const cleo = await world().start('Cleo');
    const other = forged(ticket, { addresses: [cleo.address.replace(/\/p2p\/.*/, '')] });
    const wrong = await ben.synod('join', '--timeout', '6s', other);
    expect(wrong).toMatchObject({ code: 4, lines: [], error: 'TIMED_OUT' });
    expect(stepsOf(wrong)).toContain('WRONG_PEER');

    // Back again, it still keeps its word.
    await ana.start();
    expect(await ben.does('join', ticket)).toMatchObject([{ role: 'learner' }]);
  });

  test('waits for a group that can not agree, and is let in when it can', async () => {
    const [ana, ben, cleo] = await world().group('Ana', 'Ben', 'Cleo');
    const dora = await world().start('Dora');
    const ticket = await ticketOf(ana, '--role', 'learner');
    await Promise.all([ben.kill(), cleo.kill()]);
    const early = await dora.synod('join', '--timeout', '15s', ticket);
    expect(early).toMatchObject({ code: 4, lines: [], error: 'TIMED_OUT' });
    expect(stepsOf(early)).toContain('WAITING_FOR_GROUP');
    expect(early.err).toMatch(/Ana let you in; waiting for the group: Needs 2 of 3 voters/);
    await ben.start();
    expect(await dora.does('join', ticket)).toMatchObject([{ role: 'learner' }]);
    await untilAgreed(ana, ben, dora);
  });
});

describe('rights', () => {
  test('a reader reads and does not write', async () => {
    const ana = await founder();
    const rita = await world().start('Rita');
    await ana.does('append', 'for all to read');
    await enter(rita, ana, '--rights', 'reader');
    await untilAgreed(ana, rita);
    expect(await rita.status()).toMatchObject({ rights: 'reader', role: 'learner' });
    expect(textsOf(await rita.log())).toEqual(['for all to read']);

    const refused = await rita.synod('append', '--timeout', '60s', 'mine');
    expect(refused).toMatchObject({ code: 1, lines: [], error: 'REFUSED_NO_RIGHTS' });
    expect(messageOf(refused)).toMatch(/rights/);
    for (const command of [['edit', '1', 'x'], ['remove', '1'], ['invite'], ['expel', 'Ana'], ['promote', 'Rita']]) {
      expect(await rita.synod(...command), command.join(' ')).toMatchObject({ code: 1, error: 'REFUSED_NO_RIGHTS' });
    }
    await ana.does('append', 'goes on');
    await untilAgreed(ana, rita);
    for (const peer of [ana, rita]) expect(textsOf(await peer.log())).toEqual(['for all to read', 'goes on']);
  });

  test('a writer does not decide who is in', async () => {
    const ana = await founder();
    const ben = await world().start('Ben');
    await enter(ben, ana);
    await untilAgreed(ana, ben);
    for (const command of [['invite'], ['expel', 'Ana'], ['promote', 'Ben'], ['demote', 'Ana']]) {
      const answer = await ben.synod(...command);
      expect(answer.code, command.join(' ')).toBe(1);
      expect(answer.error).toMatch(/^(REFUSED_NO_RIGHTS|LAST_VOTER)$/);
    }
    expect((await ana.status()).members).toHaveLength(2);
    expect(await ana.synod('expel', 'Ana')).toMatchObject({ code: 1, error: 'REFUSED_LAST_KEEPER' });
  });
});

describe('a member that is expelled', () => {
  test('is cut off, is told why, and needs a new invitation', async () => {
    const [ana, ben, cleo] = await world().group('Ana', 'Ben', 'Cleo');
    const dora = await world().start('Dora');
    const ticket = await ticketOf(ana);
    await dora.does('join', ticket);
    await dora.does('append', 'while a member');
    await untilAgreed(ana, ben, cleo, dora);

    expect(await ana.does('expel', 'Dora')).toEqual([{ peer: dora.id, role: null }]);
    expect((await ana.status()).members.map(({ name }) => name)).not.toContain('Dora');
    await ana.does('append', 'without her');
    await untilAgreed(ana, ben, cleo);

    // She keeps what she had, and every way to write says what happened.
    const cutOff = await untilStatus(dora, 'she is told', ({ whyCode }) => whyCode === 'REMOVED');
    expect(cutOff.why).toMatch(/no longer a member/);
    expect(cutOff.canCommit).toBe(false);
    expect(textsOf(await dora.log())).toEqual(['while a member']);
    const [kept] = await dora.does('append', '--timeout', '2s', 'still here?');
    expect(kept).toMatchObject({ status: 'saved', position: null, whyCode: 'REMOVED' });
    expect(kept.why).toMatch(/no longer a member/);
    const strict = await dora.synod('append', '--strict', '--timeout', '2s', 'and now?');
    expect(strict).toMatchObject({ code: 4, lines: [{ status: 'saved', whyCode: 'REMOVED' }] });
    await dora.stop();
    await dora.start();
    expect(await dora.status()).toMatchObject({ whyCode: 'REMOVED', pending: 2 });
    expect(await dora.log('--pending')).toMatchObject([
      { text: 'while a member', status: 'committed' },
      { text: 'still here?', status: 'pending', whyCode: 'REMOVED' },
      { text: 'and now?', status: 'pending', whyCode: 'REMOVED' },
    ]);
    expect((await ana.status()).members.filter(({ connected }) => connected)).toHaveLength(3);

    // The old ticket is of no use, neither with the door shut nor open.
    expect(await dora.synod('join', '--timeout', '6s', ticket)).toMatchObject({ code: 4, lines: [] });
    const invitation = await ticketOf(ana);
    const old = await dora.synod('join', '--timeout', '20s', ticket);
    expect(old).toMatchObject({ code: 4, lines: [], error: 'INVITATION_USED' });
    expect(await dora.does('join', invitation)).toMatchObject([{ role: 'learner' }]);
    expect(await dora.does('append', '--timeout', '60s', 'back')).toMatchObject([{ status: 'committed' }]);
    await untilAgreed(ana, ben, cleo, dora);
    // What she saved meanwhile got its place as soon as it could, before what she wrote later.
    const texts = ['while a member', 'without her', 'still here?', 'and now?', 'back'];
    for (const peer of [ben, dora]) expect(textsOf(await peer.log())).toEqual(texts);
  });

  test('a voter that is expelled votes no more, and the others decide', async () => {
    const [ana, ben, cleo] = await world().group('Ana', 'Ben', 'Cleo');
    expect(await ana.does('expel', 'Cleo')).toEqual([{ peer: cleo.id, role: null }]);
    expect((await ana.status()).quorum).toMatchObject({ voters: 2, phase1: 2, phase2: 2 });
    await untilStatus(cleo, 'she is told', ({ whyCode }) => whyCode === 'REMOVED');
    await cleo.kill();
    expect(await ben.does('append', 'two are enough')).toMatchObject([{ status: 'committed', position: 1 }]);
    await untilAgreed(ana, ben);
  });

  test('while it is away: what it wrote meanwhile stays readable there, with the reason', async () => {
    const [ana, ben, cleo] = await world().group('Ana', 'Ben', 'Cleo');
    const dora = await world().start('Dora');
    await enter(dora, ana);
    await dora.does('append', 'together');
    await untilAgreed(ana, ben, cleo, dora);
    for (const peer of [ana, ben, cleo]) await peer.stop();
    const [saved] = await dora.does('append', '--timeout', '300ms', 'alone at sea');
    expect(saved).toMatchObject({ status: 'saved', whyCode: expect.stringMatching(/^(ALONE|NO_QUORUM)$/) });
    await dora.stop();

    for (const peer of [ana, ben, cleo]) await peer.start();
    await ana.does('expel', '--timeout', '60s', 'Dora');
    await dora.start();
    // Nobody speaks with her any more, so she may not even learn of it; but what she wrote stands there, and why it waits.
    const page = await until('her entry is there with its reason', async () => {
      const log = await dora.log('--pending');
      return log.some(({ status }) => status === 'pending') && log;
    });
    expect(page.at(-1)).toMatchObject({ text: 'alone at sea', status: 'pending', why: expect.stringMatching(/\w+/) });
    // Alone until, and unless, somebody answers her.
    expect(['REMOVED', 'ALONE', 'NO_QUORUM', 'REFUSED_NOT_MEMBER']).toContain(
      (page.at(-1) as { whyCode?: string } | undefined)?.whyCode,
    );
    await sleep(3_000);
    expect(textsOf(await ben.log())).toEqual(['together']);
  });
});
