/**
 * A copy of a directory runs beside the original: two processes with one identity and one store's past. The lock guards a directory, not its copies. Whatever
 * each of the two makes of it, the group agrees, and nothing that was acknowledged is lost.
 */
import { cpSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Appended, LogLine } from '../../../shared/ipc/contract.ts';
import { PeerError } from '../../../shared/ipc/errors.ts';
import { never, type Peer, untilAgreed, untilTogether, worldForAll } from '../harness.ts';

/** An append that is in nobody's way takes far less; one that has to wait is saved by then. Milliseconds. */
const WAIT_MS = 2_000;
const ROUNDS = 6;
interface Answered {
  readonly by: Peer;
  readonly text: string;
  readonly answer: Appended;
}

describe('a copied directory', () => {
  const world = worldForAll();
  let peers: [Peer, Peer, Peer];
  let copy: Peer;
  const answers: Answered[] = [];
  /** What was refused, by the word for it. */
  const refusals: { by: string; code: string }[] = [];

  beforeAll(async () => {
    peers = await world.group('Ana', 'Ben', 'Cleo');
    const [, , cleo] = peers;
    await cleo.does('append', 'before the copy');
    await untilAgreed(...peers);
    await cleo.stop();
    copy = world.peer('Copy');
    cpSync(cleo.dir, copy.dir, { recursive: true });
  }, 120_000);

  async function write(by: Peer, text: string): Promise<void> {
    try {
      const service = await by.service();
      const answer = await service.append({ text, wait: 'committed', timeoutMs: WAIT_MS }, never);
      answers.push({ by, text, answer });
    } catch (error) {
      if (!(error instanceof PeerError)) throw error;
      refusals.push({ by: by.name, code: error.code });
    }
  }

  async function writeEverywhere(when: string): Promise<void> {
    const running = [...peers, copy].filter(({ isRunning }) => isRunning);
    for (let round = 0; round < ROUNDS; round++) {
      await Promise.all(running.map((by) => write(by, `${by.name} ${when} ${round}`)));
    }
  }

  const standing = async (peer: Peer): Promise<string> => {
    if (!peer.isRunning) return `${peer.name}: ended. ${peer.stderr.split('\n').slice(-3).join(' ')}`;
    const { why, whyCode, pending, applied, canCommit } = await peer.status();
    return `${peer.name}: ${JSON.stringify({ canCommit, whyCode, why, pending, applied })}`;
  };

  test('both run, one after the other, and all write', async () => {
    const [ana, ben, cleo] = peers;
    await cleo.start();
    await untilTogether(ana, 3);
    await writeEverywhere('before the other one runs');
    await copy.start();
    await writeEverywhere('with both');
    // The two Cleos in turn are the ones without whom nothing is decided.
    await ana.kill();
    await writeEverywhere('without Ana');
    await ana.start();
    await ben.kill();
    await writeEverywhere('without Ben');
    await ben.start();
  });

  test('one of the two is ended: the group is whole, and every acknowledged entry is there', async () => {
    const [ana, ben, cleo] = peers;
    for (const peer of [...peers, copy]) console.log(await standing(peer));
    const pendingAtCopy = copy.isRunning ? await pendingOf(copy) : [];
    copy.troubles.splice(0);
    await copy.kill();
    await untilAgreed(ana, ben);
    console.log(`${answers.length} answers; refused: ${JSON.stringify(refusals)}`);
    const pendingAtCleo = cleo.isRunning ? await pendingOf(cleo) : [];
    const log = await ana.log();
    expect(await ben.log()).toEqual(log);
    expect(log.filter(({ text }) => text === 'before the copy')).toHaveLength(1);
    for (const { by, text, answer } of answers) {
      const there = log.filter((line) => line.id === answer.id);
      const what = `${text}, ${answer.status} at ${answer.position} (${answer.whyCode})`;
      if (answer.status === 'committed') expect(there, what).toMatchObject([{ text, position: answer.position }]);
      else {
        const waiting = by === copy ? pendingAtCopy : by === cleo ? pendingAtCleo : [];
        const isKept = there.some((line) => line.text === text) || waiting.some((line) => line.text === text);
        expect(isKept, what).toBe(true);
      }
    }
  });

  const pendingOf = async (peer: Peer): Promise<LogLine[]> =>
    (await peer.log('--pending')).filter(({ status }) => status === 'pending');
});
