import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { concat } from '../../../shared/base/bytes.ts';
import { encodeCbor } from '../../../shared/base/cbor.ts';
import { hashFor } from '../../../shared/base/hash.ts';
import { base32 } from '../../../shared/base/ids.ts';
import { formatTicket, parseTicket } from '../../../src-main/group/ticket.ts';
import { after, agree, alone, Machine, objects, trio, until } from './harness.ts';

/** Named outcomes have to come within this. Milliseconds. */
const TOLD_WITHIN_MS = 30_000;

const NAMED: Readonly<Record<string, RegExp>> = {
  NO_ANSWER: /^No answer\b/,
  WRONG_PEER: /^Another machine answers\b/,
  DOOR_SHUT: /lets nobody in just now/,
};

/** The named outcomes on standard error: as steps, or in the words of the error where the time was up before. */
function outcomesIn(err: string): unknown[] {
  const said = objects(err);
  const steps = said.filter((line) => line.event === 'join').map(({ step }) => step);
  const named = Object.keys(NAMED).filter((name) => said.some(({ message }) => NAMED[name]?.test(String(message))));
  return [...new Set([...steps, ...named])];
}

async function guest(): Promise<Machine> {
  return new Machine('Ben').serve();
}

/** A join that can't come to an end: what was said first, and when; then its end at the timeout. */
async function joinInVain(machine: Machine, ticket: string, timeout: string) {
  const startMs = performance.now();
  const ran = await machine.run('join', ticket, '--timeout', timeout);
  return { ...ran, outcomes: outcomesIn(ran.err), ms: performance.now() - startMs };
}

async function deadPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe('tickets that are none: 1 at once, in words, and nothing is left behind', () => {
  test.each([
    ['garbage', (_: string) => 'hello', /begins with synod1/],
    ['nothing', (_: string) => '', null],
    ['the prefix alone', (_: string) => 'synod1', /wrong or missing/],
    [
      'a mistyped letter',
      (ticket: string) => ticket.slice(0, 40) + (ticket[40] === 'a' ? 'b' : 'a') + ticket.slice(41),
      /wrong or missing/,
    ],
    ['two letters swapped', (ticket: string) => swapped(ticket), /wrong or missing/],
    ['the end missing', (ticket: string) => ticket.slice(0, -7), /wrong or missing/],
    ['something behind it', (ticket: string) => `${ticket}aaaa`, /wrong or missing/],
    ['a letter that is none', (ticket: string) => `${ticket.slice(0, 30)}1${ticket.slice(31)}`, /wrong or missing/],
    ['another version of the text', (ticket: string) => `synod2${ticket.slice(6)}`, /newer Synod/],
    ['a newer version inside', (_: string) => newer(), /newer Synod/],
    ['far too long', (ticket: string) => ticket.repeat(100), null],
    ['another kind of letters', (_: string) => 'synod1💥💥💥', /wrong or missing/],
  ])('%s', async (_, make, words) => {
    const { machine: ana } = await alone();
    const ben = await guest();
    const ran = await ben.runWith({ stdin: make(await ana.invite()) }, 'join', '-');
    expect([ran.code, ran.error?.error]).toEqual([1, 'BAD_TICKET']);
    if (words !== null) expect(ran.error?.message).toMatch(words);
    expect(await ben.ask((service, signal) => service.groups({}, signal))).toEqual([]);
    expect((await ana.status()).members).toHaveLength(1);
  });

  test('as people hand it over, it is taken: in capitals, broken over lines, in quotes, as a link', async () => {
    const { machine: ana } = await alone();
    const ben = await guest();
    const ticket = await ana.invite('learner');
    const worn = `  "synod:${ticket.toUpperCase().replace(/(.{20})/g, '$1\r\n ')}"\n`;
    const ran = await ben.runWith({ stdin: worn }, 'join', '-');
    expect([ran.code, ran.json[0]?.role]).toEqual([0, 'learner']);
  });
});

function swapped(ticket: string): string {
  const at = [...ticket].findIndex((letter, i) => i > 20 && letter !== ticket[i + 1]);
  return ticket.slice(0, at) + ticket[at + 1] + ticket[at] + ticket.slice(at + 2);
}

function newer(): string {
  const body = encodeCbor([2, 'whatever comes then']);
  return `synod1${base32(concat(body, hashFor('ticket', body).subarray(0, 4)))}`;
}

describe('hosts that are not there: one named outcome within 30 s, and 4 at the timeout', () => {
  test('nobody runs', async () => {
    const { machine: ana } = await alone();
    const ticket = await ana.invite();
    await ana.stop();
    const ben = await guest();
    const ran = await joinInVain(ben, ticket, '5s');
    expect([ran.code, ran.error?.error]).toEqual([4, 'TIMED_OUT']);
    expect(ran.outcomes).toContain('NO_ANSWER');
    expect(ran.err).toMatch(/No answer from 127\.0\.0\.1/);
    // And the ticket is still good once the host is there again.
    await ana.serve({ listen: `/ip4/127.0.0.1/tcp/${ana.port}` });
    await ben.join(ticket);
    await agree([ana, ben]);
  });

  test('something else answers there, or takes the call and says nothing', async () => {
    const { machine: ana } = await alone();
    const ticket = parseTicket(await ana.invite());
    const talkative = createServer((socket) => socket.on('error', () => {}).end('220 mail.example ESMTP\r\n'));
    const silent = createServer((socket) => socket.on('error', () => {}));
    for (const server of [talkative, silent]) {
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      after(() => server.close());
    }
    const guests = [await new Machine('Ben').serve(), await new Machine('Cy').serve()];
    await Promise.all(
      [talkative, silent].map(async (server, i) => {
        const { port } = server.address() as { port: number };
        const there = formatTicket({ ...ticket, addresses: [`/ip4/127.0.0.1/tcp/${port}`] });
        const ran = await joinInVain(guests[i] as Machine, there, '30s');
        expect(ran.code).toBe(4);
        expect(ran.outcomes.length > 0).toBe(true);
        expect(ran.ms).toBeLessThan(TOLD_WITHIN_MS + 20_000);
      }),
    );
  });

  test('the outcome comes while the command still waits, not only at its end', async () => {
    const { machine: ana } = await alone();
    const ticket = parseTicket(await ana.invite());
    const ben = await guest();
    const told: string[] = [];
    const gone = formatTicket({ ...ticket, addresses: [`/ip4/127.0.0.1/tcp/${await deadPort()}`] });
    await ben.ask(async (service, signal) => {
      for await (const event of service.join({ ticket: gone, timeoutMs: 60_000 }, signal)) {
        if (event.kind === 'step') told.push(event.step);
        if (told.includes('NO_ANSWER')) break;
      }
    });
    expect(told).toContain('NO_ANSWER');
  });

  test('another Synod listens there now', async () => {
    const { machine: ana } = await alone();
    const other = await new Machine('Other').serve();
    const ticket = parseTicket(await ana.invite());
    const ben = await guest();
    const ran = await joinInVain(
      ben,
      formatTicket({ ...ticket, addresses: [`/ip4/127.0.0.1/tcp/${other.port}`] }),
      '5s',
    );
    expect([ran.code, ran.error?.error]).toEqual([4, 'TIMED_OUT']);
    expect(ran.outcomes).toContain('WRONG_PEER');
  });

  test('no address at all, and addresses of no kind', async () => {
    const { machine: ana } = await alone();
    const ticket = parseTicket(await ana.invite());
    const ben = await guest();
    for (const addresses of [[], ['nonsense', '/ip4/999.1.1.1/tcp/99999', '/unix/tmp/x', 'a'.repeat(190)]]) {
      const ran = await joinInVain(ben, formatTicket({ ...ticket, addresses }), '3s');
      expect([ran.code, ran.error?.error]).toEqual([4, 'TIMED_OUT']);
      expect(ran.outcomes).toContain('NO_ANSWER');
    }
  });
});

describe('invitations that are over: 4, by their own name', () => {
  test('used by another machine, while the door is shut and while another invitation is open', async () => {
    const { machine: ana } = await alone();
    const ticket = await ana.invite('learner');
    const ben = await guest();
    await ben.join(ticket);
    const cy = await new Machine('Cy').serve();
    // The door shuts a moment after the last invitation was used; whoever comes before that is told so.
    await until(async () => {
      const { code, error, outcomes } = await joinInVain(cy, ticket, '5s');
      expect(code).toBe(4);
      if (!outcomes.includes('DOOR_SHUT')) expect(error?.error).toBe('INVITATION_USED');
      return outcomes.includes('DOOR_SHUT');
    }, 'the door is shut');
    await ana.invite('learner');
    const open = await joinInVain(cy, ticket, '60s');
    expect([open.code, open.error?.error]).toEqual([4, 'INVITATION_USED']);
    expect((await ana.status()).members).toHaveLength(2);
    // The one who used it may say so again.
    expect((await ben.run('join', ticket)).code).toBe(0);
  });

  test('two machines with one ticket at once: one is in, the other is told', async () => {
    const { machine: ana } = await alone();
    const ticket = await ana.invite('learner');
    await ana.invite('learner');
    const guests = [await new Machine('Ben').serve(), await new Machine('Cy').serve()];
    const ran = await Promise.all(guests.map((machine) => machine.run('join', ticket, '--timeout', '60s')));
    expect(ran.map(({ code }) => code).toSorted()).toEqual([0, 4]);
    expect(ran.find(({ code }) => code === 4)?.error?.error).toBe('INVITATION_USED');
    expect((await ana.status()).members).toHaveLength(2);
  });

  test('expired', async () => {
    const { machine: ana } = await alone();
    const { json } = await ana.run('invite', '--expires', '1s');
    await ana.invite();
    const ben = await guest();
    await sleep(1_500);
    const ran = await joinInVain(ben, json[0]?.ticket as string, '60s');
    expect([ran.code, ran.error?.error]).toEqual([4, 'INVITATION_EXPIRED']);
    expect(await ben.ask((service, signal) => service.groups({}, signal))).toEqual([]);
  });

  test('of a group that this host is not in, and with a key that it never made', async () => {
    const { machine: ana } = await alone();
    const { machine: other } = await alone('Other');
    const good = parseTicket(await ana.invite());
    const foreign = parseTicket(await other.invite());
    const ben = await guest();
    const elsewhere = formatTicket({ ...good, group: foreign.group });
    const unknown = formatTicket({ ...good, seed: new Uint8Array(32).fill(5) });
    for (const ticket of [elsewhere, unknown]) {
      const ran = await joinInVain(ben, ticket, '60s');
      expect([ran.code, ran.error?.error]).toEqual([4, 'INVITATION_EXPIRED']);
    }
    expect((await ana.status()).members).toHaveLength(1);
    // The good one still works, with the same machine.
    await ben.join(formatTicket(good));
  });

  test("one's own ticket", async () => {
    const { machine: ana } = await alone();
    const ran = await ana.run('join', await ana.invite());
    expect([ran.code, ran.error?.error]).toEqual([1, 'ALREADY_MEMBER']);
  });
});

test('without a quorum: let in, told what is missing, 4 at the timeout; it comes in later with the same ticket', async () => {
  const { ana, ben, cy } = await trio();
  const ticket = await ana.invite('learner');
  await Promise.all([ben.stop(), cy.stop()]);
  const dora = await new Machine('Dora').serve();
  const ran = await joinInVain(dora, ticket, '15s');
  expect([ran.code, ran.error?.error]).toEqual([4, 'TIMED_OUT']);
  expect(ran.outcomes).toContain('WAITING_FOR_GROUP');
  expect(ran.err).toMatch(/Needs 2 of 3 voters/);
  for (const machine of [ben, cy]) await machine.serve();
  await until(async () => (await ana.status()).canCommit, 'a quorum');
  await dora.join(ticket);
  await agree([ana, ben, cy, dora]);
});
